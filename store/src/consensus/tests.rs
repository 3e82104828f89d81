//! The rules for driving raft-rs, each with a test of its name.

#![allow(clippy::unwrap_used)]

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use raft::eraftpb::{ConfState, Message, MessageType};

use super::{Config, Input, Node, Output, Refusal};
use crate::{
    HistoryLimits, Key, Outcome, Role, State, Transaction, Write,
    command::{self, internal_origin},
    disk::{Beginning, Wal, recover, write_all},
    members,
    sim::{Mutant, disk::SimDisk},
    view::View,
};

struct Member {
    node: Node,
    view: Arc<View>,
    wal: Wal<SimDisk>,
    disk: SimDisk,
    starts: u64,
}

/// Three nodes whose messages the test carries by hand. Writes are synced at once, unless held.
struct Trio {
    members: BTreeMap<u64, Member>,
    messages: Vec<Message>,
    snapshots: Vec<(Message, Arc<crate::snapshot::Frozen>)>,
    answers: BTreeMap<u64, Result<Outcome, Refusal>>,
    readable: BTreeMap<u64, (Result<(), Refusal>, Arc<State>)>,
    hold: Option<u64>,
    held: Vec<Input>,
}

fn config(id: u64, starts: u64) -> Config {
    let election = 8 + 4 * id as usize;
    Config {
        id,
        epoch: id << 32 | starts,
        election: election..election + 1,
        heartbeat: 2,
        snapshot_entries: 20,
        snapshot_bytes: 1 << 30,
        snapshot_part: u64::MAX,
        keep: 0,
    }
}

fn open(disk: &SimDisk, id: u64, starts: u64) -> Member {
    let founders = ConfState { voters: vec![1, 2, 3], ..ConfState::default() };
    let (wal, recovered) = recover(disk.clone(), Beginning::found(&founders)).unwrap();
    let view = Arc::new(View::new(HistoryLimits::default()));
    let node = Node::new(config(id, starts), recovered, Arc::clone(&view)).unwrap();
    Member { node, view, wal, disk: disk.clone(), starts }
}

fn body(value: &'static str) -> Bytes {
    let write = Write::Put {
        key: Key::new("pods", "a"),
        value: Bytes::from_static(value.as_bytes()),
        stamp: None,
        index: None,
        expires_ms: None,
    };
    let origin = internal_origin("update", "", 0);
    command::encode(&Transaction { preconditions: Vec::new(), writes: vec![write], origin })
}

impl Trio {
    /// Member 1 leads.
    fn new() -> Self {
        let members = (1..=3).map(|id| (id, open(&SimDisk::default(), id, 1))).collect();
        let mut trio = Self {
            members,
            messages: Vec::new(),
            snapshots: Vec::new(),
            answers: BTreeMap::new(),
            readable: BTreeMap::new(),
            hold: None,
            held: Vec::new(),
        };
        trio.step(1, []);
        trio.carry();
        assert_eq!(trio.role(1), Role::Leader);
        trio
    }

    fn step(&mut self, id: u64, inputs: impl IntoIterator<Item = Input>) {
        let mut inputs: Vec<Input> = inputs.into_iter().collect();
        loop {
            let member = self.members.get_mut(&id).unwrap();
            let mut next = Vec::new();
            for output in member.node.step(inputs) {
                match output {
                    Output::Send(message) => self.messages.push(message),
                    Output::SendSnapshot { message, frozen } => self.snapshots.push((message, frozen)),
                    Output::Persist(persist) => {
                        let number = write_all(&mut member.wal, &mut member.disk, &mut vec![persist]).unwrap();
                        let persisted = number.map(|number| Input::Persisted { number });
                        if self.hold == Some(id) { self.held.extend(persisted) } else { next.extend(persisted) }
                    }
                    Output::Save(frozen) => {
                        crate::disk::save(&mut member.disk, &frozen).unwrap();
                        next.push(Input::Saved { index: frozen.index, written: Some(0) });
                    }
                    Output::Compact { index } => member.wal.compact(index).unwrap(),
                    Output::Answer { token, result } => drop(self.answers.insert(token, result)),
                    Output::Readable { token, result } => {
                        self.readable.insert(token, (result, member.view.state()));
                    }
                    Output::Member(_) | Output::Joined { .. } | Output::Left { .. } => {}
                    Output::Fatal(reason) => panic!("{reason}"),
                }
            }
            if next.is_empty() {
                return;
            }
            inputs = next;
        }
    }

    /// Carries the messages that pass, and those that they lead to; the rest is lost.
    fn carry_if(&mut self, mut passes: impl FnMut(&Message) -> bool) {
        while !self.messages.is_empty() {
            for message in std::mem::take(&mut self.messages) {
                if passes(&message) {
                    self.step(message.to, [Input::Message(message)]);
                }
            }
        }
    }

    fn carry(&mut self) {
        self.carry_if(|_| true);
    }

    fn tick(&mut self, id: u64, times: usize) {
        (0..times).for_each(|_| self.step(id, [Input::Tick]));
    }

    fn role(&self, id: u64) -> Role {
        self.members[&id].node.member().role
    }

    fn propose(&mut self, id: u64, token: u64, value: &'static str) {
        self.step(id, [Input::Propose { token, body: body(value) }]);
    }

    fn value(&self, id: u64) -> Bytes {
        self.members[&id].view.state().get(&Key::new("pods", "a")).unwrap().value.clone()
    }

    fn restart(&mut self, id: u64) {
        let (disk, starts) = (self.members[&id].disk.clone(), self.members[&id].starts + 1);
        self.members.insert(id, open(&disk, id, starts));
        self.step(id, []);
    }
}

fn is_alone(message: &Message, id: u64) -> bool {
    message.to == id || message.from == id
}

#[test]
fn persisted_messages_go_only_after_fsync() {
    let mut trio = Trio::new();
    trio.hold = Some(2);
    trio.propose(1, 1, "x");
    trio.carry_if(|message| !is_alone(message, 3));
    assert_eq!(trio.held.len(), 1, "member 2 has written the entry");
    assert!(!trio.answers.contains_key(&1), "its word does not count before the sync");
    let held = std::mem::take(&mut trio.held);
    trio.hold = None;
    trio.step(2, held);
    trio.carry_if(|message| !is_alone(message, 3));
    assert_eq!(trio.answers[&1], Ok(Outcome::Committed(1)));
}

#[test]
fn the_leaders_own_entry_counts_only_after_fsync() {
    let mut trio = Trio::new();
    trio.hold = Some(1);
    trio.propose(1, 1, "x");
    trio.carry_if(|message| !is_alone(message, 3));
    assert!(!trio.answers.contains_key(&1), "only member 2 has it on its disk");
    let held = std::mem::take(&mut trio.held);
    trio.hold = None;
    trio.step(1, held);
    assert_eq!(trio.answers[&1], Ok(Outcome::Committed(1)));
}

#[test]
fn check_quorum_a_leader_without_followers_steps_down() {
    let mut trio = Trio::new();
    trio.tick(1, 30);
    trio.carry_if(|_| false);
    assert_ne!(trio.role(1), Role::Leader);
}

#[test]
fn pre_vote_a_member_cut_off_does_not_raise_its_term() {
    let mut trio = Trio::new();
    let term = trio.members[&3].node.member().term;
    trio.tick(3, 200);
    trio.carry_if(|_| false);
    assert_eq!(trio.members[&3].node.member().term, term);
}

#[test]
fn messages_are_bounded_in_size_and_number() {
    let mut trio = Trio::new();
    let value: &'static str = "v".repeat(100_000).leak();
    for token in 1..=300 {
        trio.step(1, [Input::Propose { token, body: body(value) }]);
        trio.messages.retain(|message| message.to == 3);
    }
    let appends = trio.messages.iter().filter(|message| message.msg_type == MessageType::MsgAppend);
    assert!(appends.clone().count() <= 256, "max_inflight_msgs");
    trio.carry_if(|message| {
        let size: usize = message.get_entries().iter().map(|entry| entry.data.len()).sum();
        assert!(size <= 1 << 20, "max_size_per_msg");
        !is_alone(message, 2)
    });
    assert_eq!(trio.answers.values().filter(|answer| answer.is_ok()).count(), 300);
}

#[test]
fn a_lost_read_index_is_retried() {
    let mut trio = Trio::new();
    trio.step(2, [Input::Read { token: 1 }]);
    trio.carry_if(|message| message.msg_type != MessageType::MsgReadIndex);
    trio.tick(2, 3);
    trio.carry();
    assert!(!trio.readable.contains_key(&1), "lost, without a word");
    trio.tick(2, 1);
    trio.carry();
    assert_eq!(trio.readable[&1].0, Ok(()));
}

#[test]
fn a_read_without_a_quorum_is_refused_in_the_end() {
    let mut trio = Trio::new();
    trio.step(2, [Input::Read { token: 1 }]);
    trio.propose(2, 2, "x");
    trio.carry_if(|_| false);
    trio.tick(2, 140);
    assert_eq!(trio.readable[&1].0, Err(Refusal::Timeout));
    assert_eq!(trio.answers[&2], Err(Refusal::Timeout));
}

/// The leader asks for a read; the acknowledgement of member 2 arrives, that of member 3 is slow. The leader is paused,
/// the others go on without it. It wakes, is asked for another read, and then the slow acknowledgement arrives.
fn read_of_a_paused_leader(mutant: Option<Mutant>) -> Trio {
    let mut trio = Trio::new();
    trio.members.get_mut(&1).unwrap().node.mutate(mutant);
    trio.step(1, [Input::Read { token: 1 }]);
    let mut slow = Vec::new();
    trio.carry_if(|message| {
        let is_slow = message.from == 3 && message.msg_type == MessageType::MsgHeartbeatResponse;
        if is_slow {
            slow.push(message.clone());
        }
        !is_slow
    });
    assert_eq!(trio.readable[&1].0, Ok(()));
    trio.tick(3, 20);
    trio.carry_if(|_| false);
    trio.tick(2, 16);
    trio.carry_if(|message| !is_alone(message, 1));
    assert_eq!(trio.role(2), Role::Leader);
    trio.propose(2, 2, "new");
    trio.carry_if(|message| !is_alone(message, 1));
    assert_eq!(trio.answers[&2], Ok(Outcome::Committed(1)));
    trio.step(1, [Input::Read { token: 3 }]);
    trio.step(1, slow.into_iter().map(Input::Message));
    trio
}

#[test]
fn a_read_index_context_is_never_used_twice() {
    let trio = read_of_a_paused_leader(None);
    assert!(!trio.readable.contains_key(&3), "the old acknowledgement says nothing of the new round");
}

#[test]
fn a_reused_read_context_would_serve_a_stale_read() {
    let trio = read_of_a_paused_leader(Some(Mutant::ReuseContext));
    let (result, state) = &trio.readable[&3];
    assert_eq!((result, state.revision()), (&Ok(()), 0), "if this fails, raft has mended the defect");
}

#[test]
fn a_vanished_proposal_is_repeated() {
    let mut trio = Trio::new();
    trio.propose(2, 1, "x");
    trio.carry_if(|message| message.msg_type != MessageType::MsgPropose);
    trio.tick(2, 9);
    trio.carry();
    assert!(!trio.answers.contains_key(&1));
    trio.tick(2, 1);
    trio.carry();
    assert_eq!(trio.answers[&1], Ok(Outcome::Committed(1)));
}

#[test]
fn a_proposal_that_comes_twice_applies_once() {
    let mut trio = Trio::new();
    trio.propose(2, 1, "x");
    let twice = trio.messages.clone();
    trio.messages.extend(twice);
    trio.carry();
    trio.tick(1, 2);
    trio.carry();
    assert_eq!(trio.answers[&1], Ok(Outcome::Committed(1)));
    for id in 1..=3 {
        assert_eq!(trio.members[&id].view.state().revision(), 1);
    }
}

#[test]
fn members_last_through_a_restart() {
    let mut trio = Trio::new();
    let change = members::Change::Add { id: 4, address: "four:2380".into() };
    trio.step(1, [Input::Change(change)]);
    trio.carry_if(|message| message.to != 4);
    for id in 1..=3 {
        trio.restart(id);
        assert_eq!(trio.members[&id].node.conf_state().learners, [4], "member {id}");
    }
}

#[test]
fn snapshot_failure_is_reported_and_tried_again() {
    let mut trio = Trio::new();
    for token in 1..=60 {
        trio.propose(1, token, "x");
        trio.carry_if(|message| !is_alone(message, 3));
    }
    let ask = |trio: &mut Trio| {
        trio.tick(1, 2);
        trio.carry();
        trio.snapshots.pop()
    };
    let (lost, _) = ask(&mut trio).unwrap();
    assert_eq!(lost.to, 3);
    assert!(ask(&mut trio).is_none(), "one at a time");
    trio.step(1, [Input::SnapshotSent { to: 3, ok: false }]);
    let (message, frozen) = ask(&mut trio).unwrap();
    trio.step(1, [Input::SnapshotSent { to: 3, ok: true }]);
    trio.step(3, [Input::Snapshot { message, frozen }]);
    trio.carry();
    trio.propose(1, 61, "y");
    trio.carry();
    trio.tick(1, 2);
    trio.carry();
    assert_eq!((trio.value(3), trio.members[&3].view.state().revision()), (Bytes::from_static(b"y"), 61));
    trio.restart(3);
    assert!(trio.members[&3].view.state().revision() >= 60, "the snapshot lasts");
}

#[test]
fn a_full_disk_makes_a_member_read_only() {
    let mut trio = Trio::new();
    trio.step(1, [Input::DiskFull(true)]);
    trio.propose(1, 1, "x");
    assert_eq!(trio.answers[&1], Err(Refusal::DiskFull));
    assert!(trio.members[&1].node.member().disk_full, "the alarm");
    trio.step(1, [Input::Read { token: 2 }]);
    trio.carry();
    assert_eq!(trio.readable[&2].0, Ok(()));
    trio.step(1, [Input::DiskFull(false)]);
    trio.propose(1, 3, "x");
    trio.carry();
    assert_eq!(trio.answers[&3], Ok(Outcome::Committed(1)));
}

#[test]
fn a_request_whose_entry_came_in_a_snapshot_is_answered() {
    let mut trio = Trio::new();
    trio.propose(3, 1, "mine");
    // Member 3 hears nothing from now on, though the leader heard it.
    trio.carry_if(|message| message.to != 3);
    for token in 2..=60 {
        trio.propose(1, token, "x");
        trio.carry_if(|message| !is_alone(message, 3));
    }
    trio.tick(1, 2);
    trio.carry();
    let (message, frozen) = trio.snapshots.pop().unwrap();
    trio.step(3, [Input::Snapshot { message, frozen }]);
    trio.carry();
    assert_eq!(trio.answers[&1], Ok(Outcome::Committed(1)));
}
