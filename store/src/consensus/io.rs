//! What a node is told, and what it wants done.

use std::sync::Arc;

use bytes::Bytes;
use raft::eraftpb::{ConfState, Entry, HardState, Message};

use crate::{Member, Outcome, members, snapshot::Frozen};

/// Something happened.
#[derive(Debug)]
pub(crate) enum Input {
    /// One tick of raft's clock has passed.
    Tick,
    /// A peer sent a message.
    Message(Message),
    /// A peer sent a snapshot: the message, and what it stands for.
    Snapshot { message: Message, frozen: Arc<Frozen> },
    /// A client wants to write. Answered once, by [`Output::Answer`].
    Propose { token: u64, body: Bytes },
    /// A client wants to read. Answered once, by [`Output::Readable`].
    Read { token: u64 },
    /// The members of the group are to change. Not answered: it is seen in [`Output::Member`].
    Change(members::Change),
    /// Everything up to this [`Persist`] is on the disk.
    Persisted { number: u64 },
    /// A snapshot asked for by [`Output::Save`] is on the disk, or could not be written.
    Saved {
        index: u64,
        /// How many bytes it has; `None` if it could not be written.
        written: Option<u64>,
    },
    /// A snapshot was handed to a peer's connection, or the connection failed.
    SnapshotSent { to: u64, ok: bool },
    /// A connection to a peer has been made.
    Connected,
    /// A connection to a peer has failed.
    Unreachable { to: u64 },
    /// The disk has no space left, or has some again.
    DiskFull(bool),
    /// The lab's clock: keys whose time has come are to go.
    Expire { now_ms: u64 },
}

/// Something is to be done, in the order given.
#[derive(Debug)]
pub(crate) enum Output {
    /// Send a message to a peer; it may be lost.
    Send(Message),
    /// Send a snapshot to a peer, and report [`Input::SnapshotSent`].
    SendSnapshot { message: Message, frozen: Arc<Frozen> },
    /// Write to the log, and report [`Input::Persisted`] if the write has a number.
    Persist(Persist),
    /// Write a snapshot beside the log, and report [`Input::Saved`].
    Save(Arc<Frozen>),
    /// Entries up to here are covered by a snapshot on the disk.
    Compact { index: u64 },
    /// What came of a proposal.
    Answer { token: u64, result: Result<Outcome, Refusal> },
    /// The published state may be read.
    Readable { token: u64, result: Result<(), Refusal> },
    /// A member has joined, and is reached here.
    Joined { id: u64, address: String },
    /// A member has left.
    Left { id: u64 },
    /// The member's view of its group has changed.
    Member(Member),
    /// The replica can't go on.
    Fatal(String),
}

/// A write to the log.
#[derive(Debug)]
pub(crate) struct Persist {
    /// To be reported once everything up to here is synced; `None`: need not be synced by itself.
    pub(crate) number: Option<u64>,
    /// A snapshot to be put in place first; the log begins anew after it.
    pub(crate) install: Option<Arc<Frozen>>,
    /// One batch, all or nothing.
    pub(crate) write: LogWrite,
}

/// One batch of the log: it is found again whole, or not at all.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct LogWrite {
    /// The log is empty before this index, whose entry had this term: a snapshot was installed.
    pub(crate) reset: Option<(u64, u64)>,
    pub(crate) hard_state: Option<HardState>,
    /// The members at the log's beginning.
    pub(crate) members: Option<ConfState>,
    /// An entry replaces what the log holds at its index and after it.
    pub(crate) entries: Vec<Entry>,
}

/// Why a request was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// Too many wait already.
    #[error("too many requests are in flight")]
    Busy,
    /// No leader or quorum answered in time.
    #[error("no answer from a quorum in time")]
    Timeout,
    /// This member's disk is full.
    #[error("the disk is full, so this member only reads; free some space")]
    DiskFull,
}
