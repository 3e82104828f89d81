//! What the node does with committed entries and snapshots.

use std::sync::Arc;

use protobuf::Message as _;
use raft::{
    INVALID_ID, StateRole,
    eraftpb::{ConfChangeType, ConfChangeV2, Entry, EntryType},
};

use super::{
    io::{LogWrite, Output, Persist},
    node::{INTERNAL, Node},
};
use crate::{
    Event, Outcome, RequestId,
    codec::Malformed,
    command::Header,
    machine::{Applied, Machine},
    snapshot::Frozen,
};

impl Node {
    /// Applies committed entries, publishes the state once, then answers who waited.
    pub(super) fn apply(&mut self, entries: Vec<Entry>, outputs: &mut Vec<Output>) {
        let Some(newest) = entries.last().map(|entry| (entry.index, entry.term)) else { return };
        let mut events = Vec::new();
        let mut answers = Vec::new();
        for entry in entries {
            let index = entry.index;
            self.unsaved_bytes += entry.data.len() as u64;
            if let Err(error) = self.apply_entry(entry, &mut events, &mut answers, outputs) {
                outputs.push(Output::Fatal(format!("log entry {index}: {error}; it was written by another version?")));
                return;
            }
        }
        self.raw.mut_store().set_applied(newest);
        self.raw.advance_apply_to(newest.0);
        #[cfg(test)]
        if self.mutant == Some(crate::sim::Mutant::DropEvent) {
            events.retain(|event| event.revision % 16 != 0);
        }
        if !events.is_empty() {
            self.view.publish(self.machine.state().clone(), &events);
        }
        for (id, outcome) in answers {
            self.answer(id, outcome, outputs);
        }
        self.save_if_due(outputs);
    }

    fn apply_entry(
        &mut self,
        entry: Entry,
        events: &mut Vec<Arc<Event>>,
        answers: &mut Vec<(RequestId, Outcome)>,
        outputs: &mut Vec<Output>,
    ) -> Result<(), Malformed> {
        match entry.entry_type {
            EntryType::EntryNormal if entry.data.is_empty() => Ok(()),
            EntryType::EntryNormal => {
                let header = Header::decode(entry.context)?;
                #[cfg(test)]
                if self.mutant == Some(crate::sim::Mutant::ApplyTwice) {
                    self.machine.forget_sessions();
                }
                match self.machine.apply(entry.index, header, entry.data, events)? {
                    Applied::Now(outcome) | Applied::Before(Some(outcome)) => answers.push((header.id, outcome)),
                    Applied::Before(None) => {}
                }
                Ok(())
            }
            EntryType::EntryConfChange => {
                Err(Malformed("change of members of the first form, which is never proposed"))
            }
            EntryType::EntryConfChangeV2 => {
                let change = ConfChangeV2::parse_from_bytes(&entry.data).map_err(|_| Malformed("change of members"))?;
                self.change_members(&change, entry.index, outputs);
                Ok(())
            }
        }
    }

    /// A change of members takes effect as it is applied. It is made to last with its commit index: a restart replays the
    /// log at least up to here, and so finds the members as they are now.
    fn change_members(&mut self, change: &ConfChangeV2, index: u64, outputs: &mut Vec<Output>) {
        // Refused on every replica alike: a vote for one who is no member, the removal of the last voter.
        let learners = &self.raw.store().conf_state().learners;
        let mut promoted = change.get_changes().iter().filter(|single| single.change_type == ConfChangeType::AddNode);
        if promoted.any(|single| !learners.contains(&single.node_id)) {
            return;
        }
        let Ok(conf_state) = self.raw.apply_conf_change(change) else { return };
        for single in change.get_changes() {
            let id = single.node_id;
            match single.change_type {
                ConfChangeType::AddLearnerNode => {
                    let address = String::from_utf8_lossy(&change.context).into_owned();
                    self.joined.insert(id, address);
                }
                ConfChangeType::RemoveNode => {
                    self.joined.remove(&id);
                    outputs.push(Output::Left { id });
                }
                ConfChangeType::AddNode => {}
            }
        }
        let raft = &mut self.raw.raft;
        if raft.prs().get(raft.id).is_none() && raft.state != StateRole::Follower {
            // A leader, or a candidate that wins, without a place in the group panics in raft 0.7.0 (`maybe_commit`,
            // `become_leader`). Found by simulation.
            raft.become_follower(raft.term, INVALID_ID);
        }
        let log = self.raw.mut_store();
        log.set_conf_state(conf_state);
        let mut hard_state = log.hard_state().clone();
        hard_state.commit = hard_state.commit.max(index);
        let write = LogWrite { hard_state: Some(hard_state), ..LogWrite::default() };
        outputs.push(Output::Persist(Persist { number: None, install: None, write }));
    }

    fn answer(&mut self, id: RequestId, outcome: Outcome, outputs: &mut Vec<Output>) {
        if let Some(token) = self.proposals.finish(id)
            && token != INTERNAL
        {
            outputs.push(Output::Answer { token, result: Ok(outcome) });
        }
    }

    pub(super) fn release_reads(&mut self, outputs: &mut Vec<Output>) {
        let applied = self.raw.store().applied().0;
        for token in self.reads.ready(applied) {
            outputs.push(Output::Readable { token, result: Ok(()) });
        }
    }

    fn save_if_due(&mut self, outputs: &mut Vec<Output>) {
        let entries = self.raw.store().applied().0 - self.saved;
        let due = entries >= self.config.snapshot_entries || self.unsaved_bytes >= self.config.snapshot_bytes;
        if due && self.unsaved_bytes >= self.saved_bytes / self.config.snapshot_part && !self.saving {
            self.saving = true;
            self.unsaved_bytes = 0;
            outputs.push(Output::Save(self.freeze()));
        }
    }

    /// Becomes what a snapshot from the leader holds, now that it is on the disk.
    pub(super) fn install(&mut self, frozen: &Arc<Frozen>, outputs: &mut Vec<Output>) {
        let at = (frozen.index, frozen.term);
        self.joined.clone_from(&frozen.joined);
        self.machine = Machine::restore(frozen.state.clone(), frozen.sessions.clone());
        let log = self.raw.mut_store();
        log.set_conf_state(frozen.conf_state.clone());
        log.set_applied(at);
        self.raw.advance_apply_to(at.0);
        self.saved = at.0;
        self.unsaved_bytes = 0;
        self.view.restore(frozen);
        // The entries that held these requests will not be seen here.
        for id in self.proposals.ids() {
            if let Some(outcome) = self.machine.outcome(id) {
                self.answer(id, outcome, outputs);
            }
        }
    }
}
