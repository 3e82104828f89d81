//! What can go wrong.

use crate::Revision;

/// A failure of the store itself; a precondition that does not hold is an [`Outcome`](crate::Outcome), not an error.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// No leader, or no answer from a quorum, in time. The write may or may not have happened.
    #[error("the store has no quorum or no leader: {0}; try again, or start more members")]
    Unavailable(String),
    /// The revision asked for is older than the watch history, or compacted.
    #[error("revision {asked} has been compacted; the oldest is {oldest}")]
    Compacted {
        /// What was asked for.
        asked: Revision,
        /// The oldest that is still known.
        oldest: Revision,
    },
    /// The revision asked for has not happened yet.
    #[error("revision {asked} is in the future; the current one is {current}")]
    Future {
        /// What was asked for.
        asked: Revision,
        /// The newest one.
        current: Revision,
    },
    /// The transaction is too large to be replicated.
    #[error("a transaction of {bytes} bytes is too large; the limit is {limit}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The largest allowed.
        limit: usize,
    },
    /// This member is shutting down.
    #[error("this member of the store is shutting down")]
    Stopped,
    /// The disk can't be used, or holds what it should not.
    #[error("the store's disk: {0}")]
    Disk(String),
    /// The peers can't be reached as configured.
    #[error("the store's peers: {0}")]
    Peers(String),
    /// Raft refuses the configuration or the log.
    #[error("the store's raft group: {0}")]
    Broken(String),
}
