//! What a start finds on the disk.

use raft::eraftpb::ConfState;

use super::{DiskError, Files, Wal, snapshots};
use crate::{
    consensus::{LogWrite, Recovered},
    snapshot::Frozen,
};

/// The log, open, and the replica's beginnings. `founders` are the members of a group that begins now.
pub(crate) fn recover<F: Files>(mut files: F, founders: &ConfState) -> Result<(Wal<F>, Recovered), DiskError> {
    let frozen = snapshots::load(&mut files)?;
    let (mut wal, replay) = Wal::open(files)?;
    let is_new = replay.members.is_none() && frozen.is_none();
    let frozen = frozen.unwrap_or_else(|| Frozen {
        conf_state: replay.members.clone().unwrap_or_else(|| founders.clone()),
        ..Frozen::default()
    });
    let damaged = |what| DiskError::Damaged { file: "the log".into(), at: 0, what };
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
    if hard_state.commit > last && !is_new {
        return Err(damaged("committed entries are missing"));
    }
    hard_state.commit = hard_state.commit.max(frozen.index);
    let write = LogWrite {
        reset: (frozen.index > 0 && entries.is_empty()).then_some((frozen.index, frozen.term)),
        members: is_new.then(|| frozen.conf_state.clone()),
        ..LogWrite::default()
    };
    if write != LogWrite::default() {
        wal.append([&write])?;
        wal.sync()?;
    }
    Ok((wal, Recovered { hard_state, frozen, entries }))
}
