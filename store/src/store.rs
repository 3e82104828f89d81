//! The handle that the apiserver holds.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use crate::{Event, Outcome, Revision, State, Topic, Transaction};

/// How one member of the store is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// This member's id, from 1, never used again after its disk was lost.
    pub id: u64,
    /// Every member's id and peer address (`host:port`), this one's included.
    pub peers: BTreeMap<u64, String>,
    /// Where the log and the snapshots live.
    pub data_dir: PathBuf,
}

/// A failure of the store itself; a precondition that does not hold is an [`Outcome`], not an error.
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
    /// This member is shutting down.
    #[error("this member of the store is shutting down")]
    Stopped,
}

/// What a member is within its raft group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Orders the writes.
    Leader,
    /// Follows a leader.
    Follower,
    /// Knows no leader.
    Candidate,
}

/// A member's own view of its group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// This member.
    pub id: u64,
    /// Its place.
    pub role: Role,
    /// The leader that it knows; 0 for none.
    pub leader: u64,
    /// Its term.
    pub term: u64,
    /// The revision it has applied.
    pub revision: Revision,
    /// Who votes.
    pub voters: Vec<u64>,
}

/// Which events a watcher wants.
#[derive(Clone, Debug)]
pub struct Scope {
    /// The family.
    pub topic: Topic,
    /// Only names that begin with this; empty for all.
    pub prefix: Arc<str>,
    /// Only entries that had or have this index.
    pub index: Option<Arc<str>>,
}

/// What a cursor yields: whole revisions, in order.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The events of the scope; may be empty, when only time has passed.
    pub events: Vec<Arc<Event>>,
    /// Everything up to here has been seen: resume after it.
    pub revision: Revision,
}

/// A place in the watch history. It holds no queue: a slow reader costs nothing and, once it falls behind the window,
/// gets [`Error::Compacted`].
pub struct Cursor {}

impl Cursor {
    /// Waits for events of the scope. Returns at the latest after `idle`, then with an empty batch that says how far
    /// the store has come.
    pub async fn next(&mut self, idle: std::time::Duration) -> Result<Batch, Error> {
        let _ = idle;
        unimplemented!()
    }
}

/// One member of the replicated store. Cheap to clone.
#[derive(Clone)]
pub struct Store {}

impl Store {
    /// Proposes a transaction and waits until it is committed and applied here.
    pub async fn commit(&self, transaction: Transaction) -> Result<Outcome, Error> {
        let _ = transaction;
        unimplemented!()
    }

    /// What this member has applied; may be behind the leader.
    pub fn local(&self) -> Arc<State> {
        unimplemented!()
    }

    /// A state that holds every write acknowledged before this call (ReadIndex, batched with other callers').
    pub async fn latest(&self) -> Result<Arc<State>, Error> {
        unimplemented!()
    }

    /// Waits until this member has applied `revision`.
    pub async fn at_least(&self, revision: Revision) -> Result<Arc<State>, Error> {
        let _ = revision;
        unimplemented!()
    }

    /// The state exactly at `revision`, rebuilt from the watch history.
    pub fn at(&self, revision: Revision) -> Result<Arc<State>, Error> {
        let _ = revision;
        unimplemented!()
    }

    /// A cursor that yields what comes after `revision`.
    pub fn watch(&self, scope: Scope, after: Revision) -> Result<Cursor, Error> {
        let _ = (scope, after);
        unimplemented!()
    }

    /// The remembered writes of one key, oldest first, and the write at one revision: what `why` is told from.
    pub fn journal(&self) -> Journal {
        unimplemented!()
    }

    /// This member's view of its group, and every change of it.
    pub fn member(&self) -> tokio::sync::watch::Receiver<Member> {
        unimplemented!()
    }
}

/// The remembered origins: revision → what was written and why. Bounded; the oldest are forgotten.
pub struct Journal {}
