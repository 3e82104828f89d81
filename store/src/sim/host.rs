//! One member: its disk, and the process on it while it runs.

use std::sync::Arc;

use raft::eraftpb::ConfState;

use super::{Mutant, disk::SimDisk};
use crate::{
    HistoryLimits, Revision,
    consensus::{Config, Input, Node, Output, Persist},
    disk::{Beginning, Wal, recover},
    snapshot::Frozen,
    view::View,
};

/// Small, so that cursors fall behind now and then.
const HISTORY: HistoryLimits = HistoryLimits { events: 60, bytes: 1 << 20 };

/// A running process.
pub(super) struct Process {
    pub(super) node: Node,
    pub(super) view: Arc<View>,
    pub(super) wal: Wal<SimDisk>,
    pub(super) queue: Vec<Persist>,
    pub(super) writing: bool,
    pub(super) saving: Option<Arc<Frozen>>,
    /// What the checker has seen of it.
    pub(super) seen: Revision,
}

/// A machine that a process runs on, most of the time.
pub(super) struct Host {
    pub(super) id: u64,
    pub(super) disk: SimDisk,
    pub(super) process: Option<Process>,
    /// Whether it was there from the beginning; others join.
    pub(super) founder: bool,
    /// Counts its starts.
    pub(super) starts: u64,
    pub(super) paused: bool,
    /// Milliseconds between its ticks: clocks differ.
    pub(super) tick: u64,
}

impl Host {
    pub(super) fn new(id: u64, founder: bool, tick: u64) -> Self {
        Self { id, disk: SimDisk::default(), process: None, founder, starts: 0, paused: false, tick }
    }

    /// Starts the process from what the disk holds.
    pub(super) fn start(&mut self, founders: u64, mutant: Option<Mutant>) {
        let founders = ConfState { voters: (1..=founders).collect(), ..ConfState::default() };
        let beginning = if self.founder { Beginning::found(&founders) } else { Beginning::Join };
        let (wal, recovered) = recover(self.disk.clone(), beginning).unwrap();
        self.starts += 1;
        let election = 8 + 2 * self.id as usize;
        let config = Config {
            id: self.id,
            epoch: self.id << 32 | self.starts,
            election: election..election + 1,
            heartbeat: 2,
            snapshot_entries: 40,
            snapshot_bytes: 1 << 20,
            snapshot_part: u64::MAX,
            keep: 10,
        };
        let view = Arc::new(View::new(HISTORY));
        let mut node = Node::new(config, recovered, Arc::clone(&view)).unwrap();
        node.mutate(mutant);
        let process = Process { node, view, wal, queue: Vec::new(), writing: false, saving: None, seen: 0 };
        self.process = Some(process);
        self.paused = false;
    }

    pub(super) fn step(&mut self, inputs: impl IntoIterator<Item = Input>) -> Vec<Output> {
        self.process.as_mut().map_or_else(Vec::new, |process| process.node.step(inputs))
    }
}
