//! What the node does with requests: proposals, changes of members, reads, and the repetition of what may have been lost.

use bytes::Bytes;
use raft::{
    StateRole,
    eraftpb::{Entry, Message, MessageType},
};

use super::{
    io::{Output, Refusal},
    node::{INTERNAL, Node},
};
use crate::{
    Precondition, Transaction, Write,
    command::{self, Header, internal_origin},
    members,
};

/// Bytes of proposals after which a message takes no more of them.
const MESSAGE: usize = 1 << 20;
/// Keys that the leader removes at a time when their time has come.
const EXPIRE: usize = 64;

impl Node {
    pub(super) fn propose(&mut self, token: u64, body: Bytes, outputs: &mut Vec<Output>) {
        let added = if self.disk_full { Err(Refusal::DiskFull) } else { self.proposals.add(token, body, self.now) };
        match added {
            Ok(sequence) => self.fresh.push(sequence),
            Err(refusal) => outputs.push(Output::Answer { token, result: Err(refusal) }),
        }
    }

    /// Proposes a change of members. A leader that is to go hands its office on first.
    pub(super) fn propose_change(&mut self, change: &members::Change) {
        let id = self.config.id;
        let raft = &self.raw.raft;
        if raft.state == StateRole::Leader && *change == (members::Change::Remove { id }) {
            let others = raft.prs().iter().filter(|(other, _)| **other != id);
            let next = others.max_by_key(|(other, progress)| (progress.matched, **other)).map(|(other, _)| *other);
            next.into_iter().for_each(|next| self.raw.transfer_leader(next));
            return;
        }
        let _ = self.raw.propose_conf_change(Vec::new(), change.encode());
    }

    /// Hands the proposals that came since the last time to raft, all that fit into one message at once: a message to
    /// each peer costs more than what is in it.
    pub(super) fn attempt_fresh(&mut self) {
        let fresh = std::mem::take(&mut self.fresh);
        self.attempt(fresh);
    }

    /// Hands proposals to raft, which passes them to the leader; without one they are repeated later.
    fn attempt(&mut self, sequences: Vec<u64>) {
        let mut sequences = sequences.into_iter().peekable();
        while sequences.peek().is_some() {
            let (mut batch, mut entries, mut size) = (Vec::new(), Vec::new(), 0);
            while size < MESSAGE
                && let Some(sequence) = sequences.next()
            {
                let Some((header, body)) = self.proposals.attempt(sequence) else { continue };
                size += body.len();
                batch.push(sequence);
                entries.push(Entry { data: body, context: Header::encode(&header), ..Default::default() });
            }
            let mut message = Message { msg_type: MessageType::MsgPropose, from: self.config.id, ..Default::default() };
            message.set_entries(entries.into());
            let raft = &mut self.raw.raft;
            if !batch.is_empty() && raft.step(message).is_ok() && raft.state == StateRole::Leader {
                batch.into_iter().for_each(|sequence| self.proposals.logged(sequence, raft.term));
            }
        }
    }

    /// The leader proposes the removal of keys whose time has come, unless they were written again meanwhile.
    pub(super) fn expire(&mut self, now_ms: u64) {
        if self.raw.raft.state != StateRole::Leader || self.proposals.waits(INTERNAL) {
            return;
        }
        for (key, revision) in self.machine.expired(now_ms, EXPIRE) {
            let transaction = Transaction {
                preconditions: vec![Precondition::Modified(key.clone(), revision)],
                writes: vec![Write::Delete { key }],
                origin: internal_origin("delete", "expired", now_ms * 1000),
            };
            self.propose(INTERNAL, command::encode(&transaction), &mut Vec::new());
        }
    }

    /// Repeats what may have been lost, and begins a read round if one is due.
    pub(super) fn repeat(&mut self) -> bool {
        let raft = &self.raw.raft;
        let relies_on = (raft.leader_id, raft.term, self.raw.store().applied().1 == raft.term);
        let changed = relies_on != self.relied_on;
        self.relied_on = relies_on;
        if raft.leader_id == 0 {
            return false;
        }
        let leads_in = (raft.state == StateRole::Leader).then_some(raft.term);
        let due = self.proposals.due(self.now, leads_in, changed);
        let repeats = !due.is_empty();
        self.attempt(due);
        let round = self.reads.begin(self.now, changed);
        if let Some(context) = round {
            self.raw.read_index(context.to_vec());
        }
        repeats || round.is_some()
    }
}
