//! What a start finds on the disk.

use std::collections::BTreeMap;

use raft::eraftpb::ConfState;

use super::{DiskError, Files, Wal, snapshots};
use crate::{
    consensus::{FOUNDED, LogWrite, Recovered},
    sessions::Sessions,
    snapshot::Frozen,
};

/// What a member with an empty disk begins with.
pub(crate) enum Beginning {
    /// Nothing: it joins a group.
    Join,
    /// A group of these members, which begins with what a saved snapshot holds, or with nothing.
    Found(ConfState, Box<Frozen>),
}

impl Beginning {
    /// A group that begins with nothing.
    #[cfg(test)]
    pub(crate) fn found(members: &ConfState) -> Self {
        Self::Found(members.clone(), Box::default())
    }
}

/// The log, open, and the replica's beginnings.
pub(crate) fn recover<F: Files>(mut files: F, beginning: Beginning) -> Result<(Wal<F>, Recovered), DiskError> {
    let mut snapshot = snapshots::load(&mut files)?;
    let (mut wal, replay) = Wal::open(files.clone())?;
    let damaged = |what| DiskError::Damaged { file: "the log".into(), at: 0, what };
    let mut founders = None;
    if let (Beginning::Found(members, saved), None) = (beginning, &replay.members) {
        if saved.state.revision() > 0 && snapshot.is_none() {
            let frozen = founded(&members, *saved);
            snapshots::save(&mut files, &frozen)?;
            snapshot = Some(frozen);
        }
        founders = snapshot.as_ref().is_none_or(|frozen| frozen.index == FOUNDED.0).then_some(members);
    }
    let members = replay.members.as_ref().or(founders.as_ref());
    let frozen = match (snapshot, members) {
        (Some(snapshot), _) => snapshot,
        (None, Some(members)) => founded(members, Frozen::default()),
        (None, None) => Frozen::default(),
    };
    if replay.reset.0 > frozen.index {
        return Err(damaged("the snapshot it continues is gone"));
    }
    // Where the snapshot was installed but the log not yet begun anew, the log ends before the snapshot, or differs.
    let differs = replay.entries.iter().any(|entry| entry.index == frozen.index && entry.term != frozen.term);
    let entries: Vec<_> = replay.entries.into_iter().filter(|entry| entry.index > frozen.index && !differs).collect();
    if entries.first().is_some_and(|first| first.index != frozen.index + 1) {
        return Err(damaged("entries after the snapshot are missing"));
    }
    let last = entries.last().map_or(frozen.index, |entry| entry.index);
    let mut hard_state = replay.hard_state;
    if hard_state.commit > last {
        return Err(damaged("committed entries are missing"));
    }
    hard_state.commit = hard_state.commit.max(frozen.index);
    hard_state.term = hard_state.term.max(FOUNDED.1.min(frozen.term));
    let write = LogWrite {
        reset: (frozen.index > 0 && entries.is_empty()).then_some((frozen.index, frozen.term)),
        members: founders,
        ..LogWrite::default()
    };
    if write != LogWrite::default() {
        wal.append([&write])?;
        wal.sync()?;
    }
    Ok((wal, Recovered { hard_state, frozen, entries }))
}

/// A group's beginning: what was saved of another group, but its members and its clients.
fn founded(members: &ConfState, saved: Frozen) -> Frozen {
    let (index, term) = FOUNDED;
    let (sessions, joined) = (Sessions::default(), BTreeMap::new());
    Frozen { index, term, conf_state: members.clone(), sessions, joined, ..saved }
}
