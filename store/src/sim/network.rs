//! A network that loses, repeats, delays and overtakes messages, cuts links in either direction, and reconnects.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use raft::eraftpb::Message;

use super::rng::Rng;
use crate::{peer::Arrivals, snapshot::Frozen};

/// What travels.
#[derive(Clone)]
pub(super) enum Parcel {
    Message(Box<Message>),
    Snapshot(Box<Message>, Arc<Frozen>),
}

/// A parcel on its way, in a numbered frame of a connection.
#[derive(Clone)]
pub(super) struct Frame {
    pub(super) from: u64,
    pub(super) to: u64,
    connection: u64,
    sequence: u64,
    pub(super) parcel: Parcel,
}

/// The links between the hosts.
#[derive(Default)]
pub(super) struct Network {
    /// Links that deliver nothing, by direction.
    cut: BTreeSet<(u64, u64)>,
    pub(super) loss: u64,
    pub(super) repetition: u64,
    pub(super) slow: bool,
    connections: BTreeMap<(u64, u64), (u64, u64)>,
    newest: u64,
    arrivals: BTreeMap<(u64, u64), Arrivals>,
}

impl Network {
    /// The frames that come of sending a parcel, each with its delay in milliseconds.
    pub(super) fn send(&mut self, from: u64, to: u64, parcel: Parcel, rng: &mut Rng) -> Vec<(u64, Frame)> {
        let newest = &mut self.newest;
        let (connection, sequence) = self.connections.entry((from, to)).or_insert_with(|| {
            *newest += 1;
            (*newest, 0)
        });
        *sequence += 1;
        let frame = Frame { from, to, connection: *connection, sequence: *sequence, parcel };
        if self.cut.contains(&(from, to)) || rng.percent(self.loss) {
            return Vec::new();
        }
        let slowest = if self.slow { 400 } else { 8 };
        let copies = if rng.percent(self.repetition) { 2 } else { 1 };
        (0..copies).map(|_| (rng.range(0, slowest), frame.clone())).collect()
    }

    /// Whether a frame that has come to its end is to be taken.
    pub(super) fn arrives(&mut self, frame: &Frame) -> bool {
        let arrivals = self.arrivals.entry((frame.from, frame.to)).or_default();
        !self.cut.contains(&(frame.from, frame.to)) && arrivals.is_new(frame.connection, frame.sequence)
    }

    /// A host's connections end; frames of the old ones may still be under way.
    pub(super) fn reconnect(&mut self, host: u64) {
        self.connections.retain(|(from, to), _| *from != host && *to != host);
    }

    pub(super) fn cut(&mut self, from: u64, to: u64) {
        self.cut.insert((from, to));
    }

    pub(super) fn heal(&mut self) {
        self.cut.clear();
        (self.loss, self.repetition, self.slow) = (0, 0, false);
    }
}
