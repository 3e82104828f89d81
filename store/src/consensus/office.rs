//! The node's place in its group: when it stands for election, and what it reports of itself.

use raft::StateRole;

use super::{io::Output, node::Node};
use crate::{Member, Role};

/// Ticks for which the first member of a new group insists on an election.
const INSIST: u64 = 40;

impl Node {
    /// The first election need not wait for a whole timeout: the first member of a new group insists on it, a lone
    /// member has nobody to wait for, and after a restart the members try one after the other. Pre-vote keeps all this
    /// from disturbing a group that has a leader.
    pub(super) fn first_election(&mut self, is_new: bool, voters: &[u64]) {
        let Some(rank) = voters.iter().position(|voter| *voter == self.config.id) else { return };
        self.insists = voters.len() == 1 || (is_new && rank == 0);
        if self.insists {
            self.campaign();
        } else if !is_new {
            self.campaigns_at = 2 + 2 * rank as u64;
        }
    }

    /// While a snapshot is on its way to the disk, raft must not campaign: it would look for entries that the snapshot has
    /// replaced (`hup` in raft 0.7.0 reads from the applied index on). Found by simulation seed 197.
    pub(super) fn is_installing(&self) -> bool {
        self.installing.is_some()
    }

    pub(super) fn insist(&mut self) {
        self.insists &= self.raw.raft.leader_id == 0 && self.now < INSIST;
        if self.insists {
            self.campaign();
        }
    }

    pub(super) fn campaign(&mut self) {
        if self.raw.raft.promotable() {
            let _ = self.raw.campaign();
        }
    }

    pub(super) fn report(&mut self, outputs: &mut Vec<Output>) {
        for (id, address) in &self.joined {
            if self.announced.insert(*id) {
                outputs.push(Output::Joined { id: *id, address: address.clone() });
            }
        }
        let member = self.member();
        let reported = self.member.as_ref();
        // The revision alone is reported once a tick.
        let same = reported.is_some_and(|last| Member { revision: last.revision, ..member.clone() } == *last);
        let moved = reported.is_some_and(|last| last.revision != member.revision);
        if !same || (moved && self.now != self.reported_at) {
            self.member = Some(member.clone());
            self.reported_at = self.now;
            outputs.push(Output::Member(member));
        }
    }

    /// The member's own view of its group.
    pub(crate) fn member(&self) -> Member {
        let raft = &self.raw.raft;
        let role = match raft.state {
            StateRole::Leader => Role::Leader,
            StateRole::Follower if raft.leader_id != 0 => Role::Follower,
            _ => Role::Candidate,
        };
        Member {
            id: self.config.id,
            role,
            leader: raft.leader_id,
            term: raft.term,
            revision: self.machine.state().revision(),
            voters: self.raw.store().conf_state().voters.clone(),
            learners: self.raw.store().conf_state().learners.clone(),
            disk_full: self.disk_full,
        }
    }
}
