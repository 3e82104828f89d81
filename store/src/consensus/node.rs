//! Raft, the state machine and what waits for them.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::Range,
    sync::Arc,
};

use raft::{
    RawNode, ReadOnlyOption, SnapshotStatus,
    eraftpb::{Entry, HardState, Message, MessageType},
};

use super::{
    io::{Input, LogWrite, Output, Persist, Refusal},
    log::Log,
    proposals::Proposals,
    reads::Reads,
};
use crate::{Error, Member, machine::Machine, snapshot::Frozen, view::View};

/// The most log writes that wait for the disk; beyond, raft waits too.
pub(crate) const OUTSTANDING: usize = 256;

/// Index and term that the log of a new group begins after. Above zero, so that a member that joins later, whose log
/// begins at zero, is sent a snapshot: the log alone does not say who the founders were.
pub(crate) const FOUNDED: (u64, u64) = (1, 1);

/// How a node behaves.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// This member.
    pub(crate) id: u64,
    /// Never the same for two starts of a member: names the client of its proposals and its reads.
    pub(crate) epoch: u64,
    /// Ticks without a leader until an election; drawn from this range.
    pub(crate) election: Range<usize>,
    /// Ticks between a leader's heartbeats.
    pub(crate) heartbeat: usize,
    /// A snapshot is taken after so many entries,
    pub(crate) snapshot_entries: u64,
    /// or so many bytes of them,
    pub(crate) snapshot_bytes: u64,
    /// but not before they have this part (a half: 2) of the bytes of the last snapshot, so that a large state is not
    /// written again and again.
    pub(crate) snapshot_part: u64,
    /// Entries before a snapshot that are kept for followers a little behind.
    pub(crate) keep: u64,
}

/// What was found on the disk.
pub(crate) struct Recovered {
    pub(crate) hard_state: HardState,
    /// The newest snapshot; a default one that holds only the members for a new group.
    pub(crate) frozen: Frozen,
    /// The entries after it.
    pub(crate) entries: Vec<Entry>,
}

/// One replica.
pub(crate) struct Node {
    pub(super) config: Config,
    pub(super) raw: RawNode<Log>,
    pub(super) machine: Machine,
    pub(super) view: Arc<View>,
    pub(super) proposals: Proposals,
    /// Sequences of those that raft has not been given yet.
    pub(super) fresh: Vec<u64>,
    pub(super) reads: Reads,
    /// Ticks since the start.
    pub(super) now: u64,
    /// Whether this member should lead a new group, so that it needn't wait for a timeout.
    pub(super) insists: bool,
    /// When a restarted member tries its first election; 0 for never.
    pub(super) campaigns_at: u64,
    pub(super) disk_full: bool,
    /// The number of the newest `Ready`.
    newest: u64,
    /// Numbers of the writes under way.
    outstanding: VecDeque<u64>,
    /// Messages that must not go before a write is synced.
    held: VecDeque<(u64, Vec<Message>)>,
    /// A snapshot that raft is looking at.
    incoming: Option<Arc<Frozen>>,
    /// One that it has taken, until the write with this number is synced.
    pub(super) installing: Option<(u64, Arc<Frozen>)>,
    pub(super) saving: bool,
    /// Index of the newest snapshot, its bytes (0 until this member writes one), and bytes of entries applied since.
    pub(super) saved: u64,
    pub(super) saved_bytes: u64,
    pub(super) unsaved_bytes: u64,
    /// What the proposals and reads under way rely on: leader, term, and whether an entry of the term is applied.
    pub(super) relied_on: (u64, u64, bool),
    /// Where members that joined later are reached.
    pub(super) joined: BTreeMap<u64, String>,
    /// Those of them that the driver knows.
    pub(super) announced: BTreeSet<u64>,
    pub(super) member: Option<Member>,
    pub(super) reported_at: u64,
    #[cfg(test)]
    pub(crate) mutant: Option<crate::sim::Mutant>,
}

impl Node {
    /// A node that goes on from what was found on the disk and publishes to `view`.
    pub(crate) fn new(config: Config, recovered: Recovered, view: Arc<View>) -> Result<Self, Error> {
        let Recovered { mut hard_state, frozen, entries } = recovered;
        let base = (frozen.index, frozen.term);
        hard_state.commit = hard_state.commit.max(base.0);
        if hard_state.term < base.1 {
            // Had this member voted in the snapshot's term, that term would be on the disk.
            (hard_state.term, hard_state.vote) = (base.1, 0);
        }
        let is_new = hard_state.term == FOUNDED.1 && base == FOUNDED && entries.is_empty();
        let voters = frozen.conf_state.voters.clone();
        let log = Log::new(hard_state, frozen.conf_state.clone(), base, entries);
        let settings = raft::Config {
            id: config.id,
            election_tick: config.election.start,
            heartbeat_tick: config.heartbeat,
            min_election_tick: config.election.start,
            max_election_tick: config.election.end,
            applied: base.0,
            max_size_per_msg: 1 << 20,
            max_inflight_msgs: 256,
            batch_append: true,
            check_quorum: true,
            pre_vote: true,
            read_only_option: ReadOnlyOption::Safe,
            max_uncommitted_size: 32 << 20,
            max_committed_size_per_ready: 1 << 20,
            ..raft::Config::new(config.id)
        };
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let raw = RawNode::new(&settings, log, &logger).map_err(|error| Error::Broken(error.to_string()))?;
        view.restore(&frozen);
        let mut node = Self {
            raw,
            machine: Machine::restore(frozen.state, frozen.sessions),
            view,
            proposals: Proposals::new(config.epoch),
            fresh: Vec::new(),
            reads: Reads::new(config.id, config.epoch),
            now: 0,
            insists: false,
            campaigns_at: 0,
            disk_full: false,
            newest: 0,
            outstanding: VecDeque::new(),
            held: VecDeque::new(),
            incoming: None,
            installing: None,
            saving: false,
            saved: base.0,
            saved_bytes: 0,
            unsaved_bytes: 0,
            relied_on: (0, 0, false),
            joined: frozen.joined,
            announced: BTreeSet::new(),
            member: None,
            reported_at: 0,
            #[cfg(test)]
            mutant: None,
            config,
        };
        node.first_election(is_new, &voters);
        Ok(node)
    }

    /// Tells the node what happened; what it wants done.
    pub(crate) fn step(&mut self, inputs: impl IntoIterator<Item = Input>) -> Vec<Output> {
        let mut outputs = Vec::new();
        for input in inputs {
            self.take(input, &mut outputs);
        }
        self.attempt_fresh();
        self.drain(&mut outputs);
        if self.repeat() {
            self.drain(&mut outputs);
        }
        self.release_reads(&mut outputs);
        self.report(&mut outputs);
        outputs
    }

    fn take(&mut self, input: Input, outputs: &mut Vec<Output>) {
        match input {
            Input::Tick => self.tick(outputs),
            Input::Message(message) if self.is_installing() && message.msg_type == MessageType::MsgTimeoutNow => {}
            Input::Message(message) => drop(self.raw.step(message)),
            Input::Snapshot { message, frozen } => {
                self.incoming = Some(frozen);
                let _ = self.raw.step(message);
                self.drain(outputs);
                if self.raw.snap().is_none() {
                    self.incoming = None;
                }
            }
            Input::Propose { token, body } => self.propose(token, body, outputs),
            Input::Read { token } => match self.reads.add(token, self.now) {
                Ok(()) => {}
                Err(refusal) => outputs.push(Output::Readable { token, result: Err(refusal) }),
            },
            Input::Change(change) => self.propose_change(&change),
            Input::Persisted { number } => self.persisted(number, outputs),
            Input::Saved { index, written } => {
                self.saving = false;
                if let Some(written) = written
                    && index >= self.saved
                {
                    (self.saved, self.saved_bytes) = (index, written);
                    let keep = index.saturating_sub(self.config.keep);
                    self.raw.mut_store().compact(keep);
                    outputs.push(Output::Compact { index });
                }
            }
            Input::SnapshotSent { to, ok } => {
                self.raw.report_snapshot(to, if ok { SnapshotStatus::Finish } else { SnapshotStatus::Failure });
            }
            Input::Connected => self.insist(),
            Input::Unreachable { to } => self.raw.report_unreachable(to),
            Input::DiskFull(full) => self.disk_full = full,
            Input::Expire { now_ms } => self.expire(now_ms),
        }
    }

    fn tick(&mut self, outputs: &mut Vec<Output>) {
        self.now += 1;
        if !self.is_installing() {
            self.raw.tick();
            self.insist();
        }
        if self.now == self.campaigns_at && self.raw.raft.leader_id == 0 && !self.is_installing() {
            self.campaign();
        }
        for token in self.proposals.give_up(self.now) {
            outputs.push(Output::Answer { token, result: Err(Refusal::Timeout) });
        }
        for token in self.reads.give_up(self.now) {
            outputs.push(Output::Readable { token, result: Err(Refusal::Timeout) });
        }
    }

    fn persisted(&mut self, number: u64, outputs: &mut Vec<Output>) {
        while self.outstanding.front().is_some_and(|first| *first <= number) {
            self.outstanding.pop_front();
        }
        // What needed no sync and came after the last write counts as persisted with it.
        let persisted = if self.outstanding.is_empty() { self.newest } else { number };
        self.raw.on_persist_ready(persisted);
        if let Some((_, frozen)) = self.installing.take_if(|(at, _)| *at <= number) {
            self.install(&frozen, outputs);
        }
        while self.held.front().is_some_and(|(after, _)| *after <= number) {
            for message in self.held.pop_front().map_or_else(Vec::new, |(_, messages)| messages) {
                self.send(message, outputs);
            }
        }
    }

    /// Takes from raft what is to be done.
    fn drain(&mut self, outputs: &mut Vec<Output>) {
        while self.outstanding.len() < OUTSTANDING && self.raw.has_ready() {
            let mut ready = self.raw.ready();
            let number = ready.number();
            self.newest = number;
            for message in ready.take_messages() {
                self.send(message, outputs);
            }
            for state in ready.take_read_states() {
                self.reads.confirm(&state.request_ctx, state.index);
            }
            let mut write = LogWrite::default();
            let mut install = None;
            if !ready.snapshot().is_empty() {
                let metadata = ready.snapshot().get_metadata();
                let at = (metadata.index, metadata.term);
                let frozen = self.incoming.take().filter(|frozen| (frozen.index, frozen.term) == at);
                let Some(frozen) = frozen else {
                    outputs.push(Output::Fatal(format!("raft took a snapshot at index {} that was not given", at.0)));
                    return;
                };
                self.raw.mut_store().restore(at);
                self.installing = Some((number, Arc::clone(&frozen)));
                install = Some(frozen);
                write.reset = Some(at);
            }
            write.entries = ready.take_entries();
            self.raw.mut_store().append(&write.entries);
            if let Some(hard_state) = ready.hs() {
                self.raw.mut_store().set_hard_state(hard_state.clone());
                write.hard_state = Some(hard_state.clone());
            }
            let must_sync = ready.must_sync();
            if must_sync {
                self.outstanding.push_back(number);
            }
            if write != LogWrite::default() {
                outputs.push(Output::Persist(Persist { number: must_sync.then_some(number), install, write }));
            }
            let messages = ready.take_persisted_messages();
            self.hold(messages, outputs);
            let committed = ready.take_committed_entries();
            self.raw.advance_append_async(ready);
            if self.outstanding.is_empty() {
                self.raw.on_persist_ready(number);
            }
            self.apply(committed, outputs);
        }
    }

    /// Sends once what was handed to the disk before is synced.
    fn hold(&mut self, messages: Vec<Message>, outputs: &mut Vec<Output>) {
        let mut held = Vec::new();
        let after = self.outstanding.back().copied();
        #[cfg(test)]
        let after = after.filter(|_| self.mutant != Some(crate::sim::Mutant::SkipFsync));
        for message in messages {
            // A request passed on to the leader says nothing of this member's log.
            let is_request = matches!(message.msg_type, MessageType::MsgPropose | MessageType::MsgReadIndex);
            if after.is_none() || is_request {
                self.send(message, outputs);
            } else {
                held.push(message);
            }
        }
        if let Some(after) = after
            && !held.is_empty()
        {
            self.held.push_back((after, held));
        }
    }

    fn send(&mut self, message: Message, outputs: &mut Vec<Output>) {
        if message.msg_type != MessageType::MsgSnapshot {
            outputs.push(Output::Send(message));
            return;
        }
        let frozen = self.freeze();
        let metadata = message.get_snapshot().get_metadata();
        if (frozen.index, frozen.term) == (metadata.index, metadata.term) {
            outputs.push(Output::SendSnapshot { message, frozen });
        } else {
            // Applied further since raft asked; it asks again.
            self.raw.report_snapshot(message.to, SnapshotStatus::Failure);
        }
    }

    /// The replica as it is now.
    pub(crate) fn freeze(&self) -> Arc<Frozen> {
        let log = self.raw.store();
        let (index, term) = log.applied();
        let (floor, events) = self.view.history(|history| (history.floor(), history.events().cloned().collect()));
        Arc::new(Frozen {
            index,
            term,
            conf_state: log.conf_state().clone(),
            joined: self.joined.clone(),
            state: self.machine.state().clone(),
            sessions: self.machine.sessions().clone(),
            floor,
            events,
            records: self.view.ledger(|ledger| ledger.records()),
        })
    }

    /// The newest applied index.
    #[cfg(test)]
    pub(crate) fn applied(&self) -> u64 {
        self.raw.store().applied().0
    }

    /// The members as of the newest applied entry.
    #[cfg(test)]
    pub(crate) fn conf_state(&self) -> &raft::eraftpb::ConfState {
        self.raw.store().conf_state()
    }

    /// Puts a defect in.
    #[cfg(test)]
    pub(crate) fn mutate(&mut self, mutant: Option<crate::sim::Mutant>) {
        self.mutant = mutant;
        self.reads.reuse_context = mutant == Some(crate::sim::Mutant::ReuseContext);
    }
}

/// The token of the store's own proposals, which nobody waits for.
pub(super) const INTERNAL: u64 = 0;
