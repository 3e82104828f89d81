//! The replicated store: revisions, watch history, raft. It knows bytes, never Kubernetes.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`key`] | where a value lives: a topic and a name |
//! | [`transaction`] | what a client asks for, and what came of it |
//! | [`origin`], [`journal`] | who wrote, and because of what; the memory of it |
//! | [`state`] | the published, immutable state: key → entry |
//! | [`event`], [`cursor`] | what a watcher sees, and where it stands |
//! | [`store`], [`options`], [`members`], [`error`] | the handle |
//! | `machine`, `sessions`, `stamp` | what a committed command does: pure |
//! | `history`, `view` | the ring of events; what a replica publishes |
//! | `snapshot` | a replica frozen at one log index |
//! | `consensus` | raft, the machine and what waits for them: pure, one `step` |
//! | `disk`, `peer`, `driver` | the log, the network, and the thread that joins them to the node |
//! | `codec`, `command`, `intern` | the binary form of all that |
//!
//! Invariants: everything below `driver`, `disk` and `peer` has no clock, no randomness and no I/O. Nothing waits for a
//! reader. What is acknowledged is on a quorum's disks and in the published state.

#![allow(clippy::disallowed_methods)] // see clippy.toml

mod codec;
mod command;
mod consensus;
pub mod cursor;
mod disk;
mod driver;
pub mod error;
pub mod event;
mod history;
mod intern;
pub mod journal;
pub mod key;
mod machine;
pub mod members;
pub mod options;
pub mod origin;
mod peer;
mod sessions;
#[cfg(test)]
mod sim;
mod snapshot;
mod stamp;
pub mod state;
pub mod store;
pub mod transaction;
mod view;

pub use cursor::{Batch, Cursor, Scope};
pub use error::Error;
pub use event::{Change, Event};
pub use history::HistoryLimits;
pub use journal::{Journal, Record};
pub use key::{Key, Topic};
pub use options::Options;
pub use origin::{Door, Origin};
pub use peer::PeerTls;
pub use state::{Entry, State};
pub use store::{Member, Role, Store};
pub use transaction::{Outcome, Precondition, RequestId, Transaction, Write};

/// The store's clock: one per committed, mutating transaction, from 1. Kubernetes shows it as `resourceVersion`.
pub type Revision = u64;
