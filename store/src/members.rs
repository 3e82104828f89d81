//! Changes of who belongs to the group.

use bytes::Bytes;
use raft::eraftpb::{ConfChangeSingle, ConfChangeType, ConfChangeV2};

use crate::Member;

/// A change of the members, one at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A new member joins as a learner: it follows, but does not vote. Its id must never have been used, and it is
    /// started with [`Options::join`](crate::Options::join).
    Add {
        /// The new member.
        id: u64,
        /// Where the others reach it.
        address: String,
    },
    /// A learner becomes a voter. Better once it has caught up: until then it counts, but can't help.
    Promote {
        /// The learner.
        id: u64,
    },
    /// A member leaves, for ever.
    Remove {
        /// Who.
        id: u64,
    },
}

impl Change {
    /// Whether a member sees the change done.
    pub(crate) fn is_done(&self, member: &Member) -> bool {
        let is_member = |id| member.voters.contains(id) || member.learners.contains(id);
        match self {
            Self::Add { id, .. } => is_member(id),
            Self::Promote { id } => member.voters.contains(id),
            Self::Remove { id } => !is_member(id),
        }
    }

    /// As raft has it; the context carries a new member's address.
    pub(crate) fn encode(&self) -> ConfChangeV2 {
        let (change_type, node_id, context) = match self {
            Self::Add { id, address } => (ConfChangeType::AddLearnerNode, *id, Bytes::from(address.clone())),
            Self::Promote { id } => (ConfChangeType::AddNode, *id, Bytes::new()),
            Self::Remove { id } => (ConfChangeType::RemoveNode, *id, Bytes::new()),
        };
        let mut change = ConfChangeV2 { context, ..ConfChangeV2::default() };
        change.set_changes(vec![ConfChangeSingle { change_type, node_id, ..ConfChangeSingle::default() }].into());
        change
    }
}
