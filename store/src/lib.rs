//! The replicated store: revisions, watch history, raft. It knows bytes, never Kubernetes.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`key`] | where a value lives: a topic and a name |
//! | [`transaction`] | what a client asks for, and what came of it |
//! | [`state`] | the published, immutable state: key → entry |
//! | [`event`] | what a watcher sees |

pub mod event;
pub mod key;
pub mod origin;
pub mod state;
mod store;
pub mod transaction;

pub use event::{Change, Event};
pub use key::{Key, Topic};
pub use origin::{Door, Origin};
pub use state::{Entry, State};
pub use store::{Batch, Cursor, Error, Member, Options, Role, Scope, Store};
pub use transaction::{Outcome, Precondition, RequestId, Transaction, Write};

/// The store's clock: one per committed, mutating transaction, from 1. Kubernetes shows it as `resourceVersion`.
pub type Revision = u64;
