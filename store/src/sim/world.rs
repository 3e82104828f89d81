//! Hosts, network, clients and misfortune under one virtual clock.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    sync::Arc,
};

use super::{
    Mutant,
    checker::Checker,
    client::Client,
    host::Host,
    network::{Frame, Network, Parcel},
    rng::Rng,
    watcher::Watcher,
};
use crate::{
    Revision, Role,
    consensus::{Input, Output},
    disk::{DiskError, save, write_all},
    snapshot::{Frozen, Thawing},
};

/// What happens at some time.
pub(super) enum Happening {
    Tick { host: u64, start: u64 },
    Arrive { frame: Box<Frame>, start: u64 },
    Write { host: u64, start: u64 },
    Save { host: u64, start: u64 },
    SnapshotSent { host: u64, start: u64, to: u64, ok: bool },
    Request { host: u64, start: u64, input: Option<Box<Input>> },
    Resume { host: u64, start: u64 },
    Client(usize),
    Watcher(usize),
    Misfortune,
}

/// What was seen to happen, to know that a simulation tests something.
#[derive(Default, Debug)]
pub(crate) struct Tally {
    pub(crate) writes: u64,
    pub(crate) conflicts: u64,
    pub(crate) reads: u64,
    pub(crate) unknown: u64,
    pub(crate) crashes: u64,
    pub(crate) snapshots: u64,
    pub(crate) resumed: u64,
    pub(crate) compacted: u64,
    pub(crate) terms: u64,
    pub(crate) changes: u64,
}

/// An operation under way.
pub(super) struct Operation {
    pub(super) client: usize,
    pub(super) host: u64,
    pub(super) start: u64,
    /// What was known when it began.
    pub(super) known: Revision,
}

/// Everything.
pub(crate) struct World {
    pub(super) rng: Rng,
    pub(super) now: u64,
    pub(super) hosts: Vec<Host>,
    pub(super) network: Network,
    pub(super) checker: Checker,
    pub(crate) tally: Tally,
    happenings: BinaryHeap<Reverse<(u64, u64)>>,
    what: BTreeMap<u64, Happening>,
    pub(super) count: u64,
    pub(super) clients: Vec<Client>,
    pub(super) watchers: Vec<Watcher>,
    pub(super) operations: BTreeMap<u64, Operation>,
    mutant: Option<Mutant>,
    trace: u64,
    /// Misfortune strikes until here.
    pub(super) calm_at: u64,
}

impl World {
    pub(crate) fn new(seed: u64, founders: u64, mutant: Option<Mutant>) -> Self {
        let mut rng = Rng::new(seed);
        // One more may join.
        let hosts = (1..=founders + 1).map(|id| Host::new(id, id <= founders, rng.range(45, 56))).collect();
        let mut world = Self {
            rng,
            now: 0,
            hosts,
            network: Network::default(),
            checker: Checker::default(),
            tally: Tally::default(),
            happenings: BinaryHeap::new(),
            what: BTreeMap::new(),
            count: 0,
            clients: (0..12).map(Client::new).collect(),
            watchers: (0..4).map(|id| Watcher::new(id, mutant)).collect(),
            operations: BTreeMap::new(),
            mutant,
            trace: 0,
            calm_at: 20_000,
        };
        for id in 1..=founders {
            world.start(id);
        }
        for client in 0..world.clients.len() {
            world.after(client as u64, Happening::Client(client));
        }
        for watcher in 0..world.watchers.len() {
            world.after(watcher as u64, Happening::Watcher(watcher));
        }
        world.after(300, Happening::Misfortune);
        world
    }

    /// Runs through misfortune and calm to the end; a digest of all that happened.
    pub(crate) fn run(&mut self) -> u64 {
        while self.now < self.calm_at {
            self.advance();
        }
        self.calm();
        let settled = self.now + 40_000;
        while !self.is_settled() {
            assert!(self.now < settled, "the group does not recover: {}", self.describe());
            self.advance();
        }
        self.tally.terms = self.checker.terms() as u64;
        self.trace
    }

    /// Every host runs, all have applied everything, and every client's last operation is over.
    fn is_settled(&self) -> bool {
        let newest = self.checker.newest();
        let members = self.members();
        let applied = |host: &Host| host.process.as_ref().is_some_and(|process| process.seen == newest);
        self.hosts.iter().all(|host| applied(host) || !members.contains(&host.id))
            && self.clients.iter().all(|client| client.is_done(self.calm_at))
            && self.watchers.iter().all(|watcher| watcher.after == newest)
    }

    /// The members, as whoever has applied most knows them.
    pub(super) fn members(&self) -> Vec<u64> {
        let processes = self.hosts.iter().filter_map(|host| host.process.as_ref());
        let newest = processes.max_by_key(|process| process.node.applied());
        newest.map_or_else(Vec::new, |process| {
            let conf_state = process.node.conf_state();
            conf_state.voters.iter().chain(&conf_state.learners).copied().collect()
        })
    }

    fn describe(&self) -> String {
        let hosts = self.hosts.iter().map(|host| host.process.as_ref().map(|process| process.seen));
        format!("{:?} of {}, {} operations", hosts.collect::<Vec<_>>(), self.checker.newest(), self.operations.len())
    }

    pub(super) fn after(&mut self, delay: u64, happening: Happening) {
        self.count += 1;
        self.happenings.push(Reverse((self.now + delay, self.count)));
        self.what.insert(self.count, happening);
    }

    fn note(&mut self, what: u64) {
        let mixed = (self.trace ^ what).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.trace = mixed ^ (mixed >> 29);
    }

    fn advance(&mut self) {
        let Some(Reverse((at, count))) = self.happenings.pop() else { return };
        self.now = at;
        self.note(at);
        match self.what.remove(&count).unwrap() {
            Happening::Tick { host, start } if self.runs(host, start) => {
                let now_ms = self.now;
                self.step(host, [Input::Tick, Input::Expire { now_ms }]);
                let delay = self.host(host).tick;
                self.after(delay, Happening::Tick { host, start });
            }
            Happening::Arrive { frame, start } if self.host(frame.to).starts == start => {
                if self.host(frame.to).paused {
                    self.after(5, Happening::Arrive { frame, start });
                } else if self.network.arrives(&frame) {
                    self.arrive(*frame);
                }
            }
            Happening::Write { host, start } if self.runs(host, start) => self.write(host),
            Happening::Save { host, start } if self.runs(host, start) => self.save(host),
            Happening::SnapshotSent { host, start, to, ok } if self.runs(host, start) => {
                self.step(host, [Input::SnapshotSent { to, ok }]);
            }
            Happening::Request { host, start, input } if self.runs(host, start) => {
                self.step(host, input.map(|input| *input));
            }
            Happening::Resume { host, start } if self.host(host).starts == start => self.host(host).paused = false,
            Happening::Client(client) => self.client(client),
            Happening::Watcher(watcher) => self.watcher(watcher),
            Happening::Misfortune if self.now < self.calm_at => {
                self.misfortune();
                let delay = self.rng.range(50, 900);
                self.after(delay, Happening::Misfortune);
            }
            // A paused process goes on later where it was.
            happening @ (Happening::Tick { host, start }
            | Happening::Write { host, start }
            | Happening::Save { host, start }
            | Happening::Request { host, start, .. })
                if self.host(host).starts == start && self.host(host).paused =>
            {
                self.after(5, happening);
            }
            _ => {}
        }
    }

    pub(super) fn host(&mut self, id: u64) -> &mut Host {
        &mut self.hosts[id as usize - 1]
    }

    fn runs(&mut self, id: u64, start: u64) -> bool {
        let host = self.host(id);
        host.process.is_some() && host.starts == start && !host.paused
    }

    pub(super) fn start(&mut self, id: u64) {
        let founders = self.hosts.iter().filter(|host| host.founder).count() as u64;
        let mutant = self.mutant;
        let host = self.host(id);
        host.start(founders, mutant);
        let (start, tick) = (host.starts, host.tick);
        self.after(tick, Happening::Tick { host: id, start });
        self.step(id, []);
    }

    /// The process is not scheduled for a while.
    pub(super) fn pause(&mut self, id: u64) {
        let delay = self.rng.range(100, 3000);
        let host = self.host(id);
        host.paused = true;
        let start = host.starts;
        self.after(delay, Happening::Resume { host: id, start });
    }

    pub(super) fn crash(&mut self, id: u64) {
        self.tally.crashes += 1;
        let Self { hosts, rng, .. } = self;
        let host = &mut hosts[id as usize - 1];
        host.process = None;
        host.starts += 1;
        host.disk.crash(rng);
        self.network.reconnect(id);
        self.operations.retain(|_, operation| operation.host != id);
    }

    pub(super) fn step(&mut self, id: u64, inputs: impl IntoIterator<Item = Input>) {
        let outputs = self.host(id).step(inputs);
        for output in outputs {
            self.carry_out(id, output);
        }
        self.observe(id);
    }

    /// Shows the checker what a replica has newly published.
    pub(super) fn observe(&mut self, id: u64) {
        let host = &mut self.hosts[id as usize - 1];
        let Some(process) = &mut host.process else { return };
        let state = process.view.state();
        if state.revision() != process.seen {
            let seen = process.seen;
            let newer = |history: &crate::history::History| -> Vec<_> {
                history.events().filter(|event| event.revision > seen).cloned().collect()
            };
            let events = process.view.history(newer);
            process.seen = state.revision();
            self.checker.published(&state, &events);
            self.note(state.hash());
        }
    }

    fn carry_out(&mut self, id: u64, output: Output) {
        let start = self.host(id).starts;
        match output {
            Output::Send(message) => self.send(id, message.to, Parcel::Message(Box::new(message))),
            Output::SendSnapshot { message, frozen } => {
                let to = message.to;
                self.send(id, to, Parcel::Snapshot(Box::new(message), Arc::new(through_the_wire(&frozen))));
                let (delay, ok) = (self.rng.range(1, 50), self.rng.percent(80));
                self.after(delay, Happening::SnapshotSent { host: id, start, to, ok });
            }
            Output::Persist(persist) => {
                self.tally.snapshots += u64::from(persist.install.is_some());
                let delay = self.rng.range(0, 12);
                let Some(process) = &mut self.host(id).process else { return };
                process.queue.push(persist);
                if !std::mem::replace(&mut process.writing, true) {
                    self.after(delay, Happening::Write { host: id, start });
                }
            }
            Output::Save(frozen) => {
                let delay = self.rng.range(10, 300);
                if let Some(process) = &mut self.host(id).process {
                    process.saving = Some(frozen);
                }
                self.after(delay, Happening::Save { host: id, start });
            }
            Output::Compact { index } => {
                if let Some(process) = &mut self.host(id).process {
                    process.wal.compact(index).unwrap();
                }
            }
            Output::Answer { token, result } => self.answered(id, token, result),
            Output::Readable { token, result } => self.readable(id, token, result),
            Output::Member(member) => {
                self.note(member.term << 8 | member.leader);
                if member.role == Role::Leader {
                    self.checker.leads(member.term, id);
                }
            }
            Output::Joined { .. } | Output::Left { .. } => {}
            Output::Fatal(reason) => panic!("host {id}: {reason}"),
        }
    }

    fn send(&mut self, from: u64, to: u64, parcel: Parcel) {
        let start = self.host(to).starts;
        for (delay, frame) in self.network.send(from, to, parcel, &mut self.rng) {
            self.after(delay, Happening::Arrive { frame: Box::new(frame), start });
        }
    }

    fn arrive(&mut self, frame: Frame) {
        self.note(frame.from << 8 | frame.to);
        let input = match frame.parcel {
            Parcel::Message(message) => Input::Message(*message),
            Parcel::Snapshot(message, frozen) => Input::Snapshot { message: *message, frozen },
        };
        self.step(frame.to, [input]);
    }

    fn write(&mut self, id: u64) {
        let host = &mut self.hosts[id as usize - 1];
        let Some(process) = &mut host.process else { return };
        process.writing = false;
        match write_all(&mut process.wal, &mut host.disk, &mut process.queue) {
            Ok(number) => {
                let persisted = number.map(|number| Input::Persisted { number });
                self.step(id, persisted.into_iter().chain([Input::DiskFull(false)]));
            }
            Err(DiskError::Full) => {
                process.writing = true;
                let start = host.starts;
                self.step(id, [Input::DiskFull(true)]);
                self.after(500, Happening::Write { host: id, start });
            }
            Err(DiskError::Failed(..)) => self.crash(id),
            Err(error) => panic!("host {id}: {error}"),
        }
    }

    fn save(&mut self, id: u64) {
        let host = &mut self.hosts[id as usize - 1];
        let Some(frozen) = host.process.as_mut().and_then(|process| process.saving.take()) else { return };
        match save(&mut host.disk, &frozen) {
            Ok(written) => self.step(id, [Input::Saved { index: frozen.index, written: Some(written) }]),
            Err(DiskError::Full) => self.step(id, [Input::Saved { index: frozen.index, written: None }]),
            Err(_) => self.crash(id),
        }
    }
}

/// What a peer makes of a snapshot.
fn through_the_wire(frozen: &Frozen) -> Frozen {
    let mut thawing = Thawing::default();
    for chunk in frozen.chunks() {
        thawing.push(chunk).unwrap();
    }
    thawing.finish().unwrap()
}
