//! What a client asks the store for, and what came of it.

use std::sync::Arc;

use bytes::Bytes;

use crate::{Key, Origin, Revision};

/// Names one attempt of one client to write, so that a retry after a leader change applies once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestId {
    /// The writing process: random, new at each start.
    pub client: u64,
    /// Counts that process's writes.
    pub sequence: u64,
}

/// All or nothing: the writes happen if every precondition holds when the transaction is applied.
#[derive(Clone, Debug)]
pub struct Transaction {
    /// Checked in order.
    pub preconditions: Vec<Precondition>,
    /// Applied in order, all at one revision.
    pub writes: Vec<Write>,
    /// Stored beside the revision.
    pub origin: Origin,
}

/// What must be true for a transaction to apply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// Nothing lives at the key.
    Absent(Key),
    /// Something lives at the key.
    Exists(Key),
    /// The key was last written at this revision.
    Modified(Key, Revision),
}

/// One change to one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Creates or replaces a value.
    Put {
        /// Where.
        key: Key,
        /// The value, without the revision it will get.
        value: Bytes,
        /// Where in `value` the decimal digits of the revision are inserted as it is applied, so that readers and
        /// watchers get finished bytes and nobody encodes twice.
        stamp: Option<u32>,
        /// A second way to watch the key: for pods, the node's name.
        index: Option<Arc<str>>,
        /// When the value may be removed: Unix time in milliseconds. The leader proposes the removal.
        expires_ms: Option<u64>,
    },
    /// Removes a value; without effect where there is none.
    Delete {
        /// Where.
        key: Key,
    },
}

/// What came of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Applied, at this revision, on a quorum's disks and on this member's state.
    Committed(Revision),
    /// The first precondition that did not hold, and the revision at which its key was last written, if it lives.
    /// Nothing was written.
    Conflict(Precondition, Option<Revision>),
}
