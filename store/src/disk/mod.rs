//! What survives: a log in segments, and snapshots beside it.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`files`] | the few things asked of a file system; the simulator has its own |
//! | [`frame`] | one batch of the log as bytes, and how damage shows |
//! | [`wal`] | the log: append, sync, rotate, compact, replay |
//! | [`snapshots`] | snapshot files |
//! | [`writer`] | the thread that writes: one sync for all that waits |
//! | [`recover`] | what a start finds |

mod files;
mod frame;
mod recover;
mod snapshots;
#[cfg(test)]
mod tests;
mod wal;
mod writer;

pub(crate) use files::{DirFiles, Files};
pub(crate) use recover::{Beginning, recover};
pub(crate) use snapshots::{export, import, save};
pub(crate) use wal::Wal;
#[cfg(test)]
pub(crate) use writer::write_all;
pub(crate) use writer::{Report, Writer};

/// A failure of the disk.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DiskError {
    /// Nothing was written; there may be space later.
    #[error("the disk is full")]
    Full,
    /// It is unknown what is on the disk now, so the process must not go on (the fsync failures of PostgreSQL in 2018).
    #[error("{0}: {1}")]
    Failed(&'static str, std::io::Error),
    /// What was written and synced is no longer there as it was.
    #[error(
        "{file} is damaged at byte {at}: {what}; stop this member, remove it from the group and add a new one with a new id"
    )]
    Damaged { file: String, at: u64, what: &'static str },
}
