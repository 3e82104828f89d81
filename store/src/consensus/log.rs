//! Raft's view of the log: hard state, members, and the entries since some index, all in memory. The disk follows.

use std::collections::VecDeque;

use raft::{
    GetEntriesContext, RaftState, Storage, StorageError,
    eraftpb::{ConfState, Entry, HardState, Snapshot},
    util::limit_size,
};

/// The log in memory.
pub(crate) struct Log {
    hard_state: HardState,
    /// The members at `applied`.
    conf_state: ConfState,
    /// Index and term of the newest applied entry: what a snapshot taken now stands for.
    applied: (u64, u64),
    /// Index and term of the entry before the first.
    base: (u64, u64),
    entries: VecDeque<Entry>,
}

impl Log {
    pub(crate) fn new(hard_state: HardState, conf_state: ConfState, base: (u64, u64), entries: Vec<Entry>) -> Self {
        Self { hard_state, conf_state, applied: base, base, entries: entries.into() }
    }

    pub(crate) fn hard_state(&self) -> &HardState {
        &self.hard_state
    }

    pub(crate) fn set_hard_state(&mut self, hard_state: HardState) {
        self.hard_state = hard_state;
    }

    pub(crate) fn conf_state(&self) -> &ConfState {
        &self.conf_state
    }

    pub(crate) fn set_conf_state(&mut self, conf_state: ConfState) {
        self.conf_state = conf_state;
    }

    pub(crate) fn applied(&self) -> (u64, u64) {
        self.applied
    }

    pub(crate) fn set_applied(&mut self, applied: (u64, u64)) {
        self.applied = applied;
    }

    /// Adds entries; the first may replace what is there.
    pub(crate) fn append(&mut self, entries: &[Entry]) {
        let Some(first) = entries.first() else { return };
        let keep = first.index.saturating_sub(self.base.0 + 1) as usize;
        self.entries.truncate(keep);
        self.entries.extend(entries.iter().cloned());
    }

    /// Begins anew after a snapshot.
    pub(crate) fn restore(&mut self, at: (u64, u64)) {
        self.entries.clear();
        self.base = at;
        self.hard_state.commit = self.hard_state.commit.max(at.0);
    }

    /// Forgets entries up to an index, which must be applied.
    pub(crate) fn compact(&mut self, index: u64) {
        while self.base.0 < index
            && let Some(entry) = self.entries.pop_front()
        {
            self.base = (entry.index, entry.term);
        }
    }

    fn last(&self) -> u64 {
        self.base.0 + self.entries.len() as u64
    }
}

impl Storage for Log {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(RaftState::new(self.hard_state.clone(), self.conf_state.clone()))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        if low <= self.base.0 {
            return Err(StorageError::Compacted.into());
        }
        if high > self.last() + 1 {
            return Err(StorageError::Unavailable.into());
        }
        let from = (low - self.base.0 - 1) as usize;
        let to = (high - self.base.0 - 1) as usize;
        let limit = max_size.into().unwrap_or(u64::MAX);
        let mut size = 0;
        // Stops cloning soon after the limit; `limit_size` then has the last word.
        let within = self.entries.range(from..to).take_while(|entry| {
            let fits = size <= limit;
            size += entry.data.len() as u64;
            fits
        });
        let mut entries: Vec<Entry> = within.cloned().collect();
        limit_size(&mut entries, Some(limit));
        Ok(entries)
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        match index.checked_sub(self.base.0) {
            None => Err(StorageError::Compacted.into()),
            Some(0) => Ok(self.base.1),
            Some(place) => {
                let entry = self.entries.get(place as usize - 1);
                entry.map(|entry| entry.term).ok_or_else(|| StorageError::Unavailable.into())
            }
        }
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.base.0 + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last())
    }

    /// Only the metadata: whoever sends the message attaches the replica frozen at that index.
    fn snapshot(&self, request_index: u64, _to: u64) -> raft::Result<Snapshot> {
        if self.applied.0 < request_index {
            return Err(StorageError::SnapshotTemporarilyUnavailable.into());
        }
        let mut snapshot = Snapshot::default();
        let metadata = snapshot.mut_metadata();
        (metadata.index, metadata.term) = self.applied;
        metadata.set_conf_state(self.conf_state.clone());
        Ok(snapshot)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn entry(index: u64, term: u64) -> Entry {
        Entry { index, term, data: vec![0; 10].into(), ..Default::default() }
    }

    fn log() -> Log {
        let entries = (4..=8).map(|index| entry(index, 1)).collect();
        Log::new(HardState::default(), ConfState::default(), (3, 1), entries)
    }

    fn indexes(log: &Log, low: u64, high: u64, size: u64) -> raft::Result<Vec<u64>> {
        let entries = log.entries(low, high, size, GetEntriesContext::empty(false))?;
        Ok(entries.iter().map(|entry| entry.index).collect())
    }

    #[test]
    fn entries_are_bounded_by_size_but_never_none() {
        assert_eq!(indexes(&log(), 4, 9, u64::MAX).unwrap(), [4, 5, 6, 7, 8]);
        assert_eq!(indexes(&log(), 4, 9, 0).unwrap(), [4]);
        assert!(indexes(&log(), 5, 9, 40).unwrap().len() < 4);
        assert!(indexes(&log(), 3, 5, 1).is_err(), "compacted");
        assert!(indexes(&log(), 8, 10, 1).is_err(), "not there yet");
    }

    #[test]
    fn a_conflicting_entry_replaces_what_follows() {
        let mut log = log();
        log.append(&[entry(6, 2)]);
        assert_eq!((log.last_index().unwrap(), log.term(6).unwrap(), log.term(5).unwrap()), (6, 2, 1));
        assert!(log.term(7).is_err());
    }

    #[test]
    fn compaction_keeps_the_term_of_the_entry_before() {
        let mut log = log();
        log.append(&[entry(6, 2), entry(7, 2)]);
        log.compact(6);
        assert_eq!((log.first_index().unwrap(), log.term(6).unwrap()), (7, 2));
        assert!(log.term(5).is_err());
        log.restore((20, 3));
        assert_eq!((log.first_index().unwrap(), log.last_index().unwrap(), log.term(20).unwrap()), (21, 20, 3));
    }
}
