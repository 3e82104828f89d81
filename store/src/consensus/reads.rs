//! Reads that wait for a ReadIndex round. All that wait when a round begins share it; those that come later need the
//! next one. A round can vanish (no leader, nothing committed in its term, a lost message), so it is given up after a
//! while and begun again under a new context.
//!
//! A context is never used twice: raft 0.7.0 would take the acknowledgements of an earlier round for those of the new
//! one and serve a stale read, the defect of etcd #20418.

use std::collections::VecDeque;

use super::{io::Refusal, proposals::GIVE_UP};

/// The most reads that wait on one member.
const WAITING: usize = 16 * 1024;
/// Ticks until a round is begun anew: 200 ms.
const RETRY: u64 = 4;

struct Waiting {
    token: u64,
    give_up_at: u64,
}

struct Round {
    context: [u8; 24],
    began: u64,
    reads: Vec<Waiting>,
}

/// The reads of this member.
pub(crate) struct Reads {
    id: u64,
    epoch: u64,
    rounds: u64,
    waiting: Vec<Waiting>,
    round: Option<Round>,
    /// Rounds that came back, and the index that must be applied before they may read.
    confirmed: VecDeque<(u64, Vec<Waiting>)>,
    /// The checker must catch this: one context for all rounds.
    #[cfg(test)]
    pub(crate) reuse_context: bool,
}

impl Reads {
    pub(crate) fn new(id: u64, epoch: u64) -> Self {
        Self {
            id,
            epoch,
            rounds: 0,
            waiting: Vec::new(),
            round: None,
            confirmed: VecDeque::new(),
            #[cfg(test)]
            reuse_context: false,
        }
    }

    pub(crate) fn add(&mut self, token: u64, now: u64) -> Result<(), Refusal> {
        if self.waiting.len() >= WAITING {
            return Err(Refusal::Busy);
        }
        self.waiting.push(Waiting { token, give_up_at: now + GIVE_UP });
        Ok(())
    }

    /// The context of a round to begin now, if one should. `anew`: what is under way can't be relied on.
    pub(crate) fn begin(&mut self, now: u64, anew: bool) -> Option<[u8; 24]> {
        if let Some(round) = &self.round {
            if !anew && now < round.began + RETRY {
                return None;
            }
            let round = self.round.take()?;
            self.waiting.splice(0..0, round.reads);
        }
        if self.waiting.is_empty() {
            return None;
        }
        let context = self.context();
        self.round = Some(Round { context, began: now, reads: std::mem::take(&mut self.waiting) });
        Some(context)
    }

    /// Node, epoch of its start, and a count: never the same twice.
    fn context(&mut self) -> [u8; 24] {
        self.rounds += 1;
        #[cfg(test)]
        if self.reuse_context {
            self.rounds = 1;
        }
        let mut context = [0; 24];
        context[..8].copy_from_slice(&self.id.to_le_bytes());
        context[8..16].copy_from_slice(&self.epoch.to_le_bytes());
        context[16..].copy_from_slice(&self.rounds.to_le_bytes());
        context
    }

    /// The quorum has confirmed a round: its reads may read once `index` is applied.
    pub(crate) fn confirm(&mut self, context: &[u8], index: u64) {
        if let Some(round) = self.round.take_if(|round| round.context == context) {
            self.confirmed.push_back((index, round.reads));
        }
    }

    /// The reads that may read, now that `applied` is.
    pub(crate) fn ready(&mut self, applied: u64) -> Vec<u64> {
        let mut tokens = Vec::new();
        while let Some((index, _)) = self.confirmed.front()
            && *index <= applied
        {
            let reads = self.confirmed.pop_front().map(|(_, reads)| reads);
            tokens.extend(reads.into_iter().flatten().map(|read| read.token));
        }
        tokens
    }

    /// The reads whose time is up.
    pub(crate) fn give_up(&mut self, now: u64) -> Vec<u64> {
        let mut tokens = Vec::new();
        let rounds = self.round.iter_mut().map(|round| &mut round.reads);
        let confirmed = self.confirmed.iter_mut().map(|(_, reads)| reads);
        for reads in rounds.chain(confirmed).chain([&mut self.waiting]) {
            if reads.first().is_some_and(|first| first.give_up_at <= now) {
                reads.retain(|read| {
                    let up = read.give_up_at <= now;
                    if up {
                        tokens.push(read.token);
                    }
                    !up
                });
            }
        }
        tokens
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn read_index_contexts_are_never_used_twice() {
        let mut reads = Reads::new(1, 2);
        let mut seen = std::collections::HashSet::new();
        for now in 0..100 {
            reads.add(now, now).unwrap();
            if let Some(context) = reads.begin(now, now % 7 == 0) {
                assert!(seen.insert(context), "also not for a retry");
            }
        }
        let mut restarted = Reads::new(1, 3);
        restarted.add(0, 0).unwrap();
        assert!(!seen.contains(&restarted.begin(0, false).unwrap()), "nor after a restart");
    }

    #[test]
    fn those_that_come_later_need_the_next_round() {
        let mut reads = Reads::new(1, 2);
        reads.add(1, 0).unwrap();
        let first = reads.begin(0, false).unwrap();
        reads.add(2, 0).unwrap();
        assert_eq!(reads.begin(0, false), None, "one round at a time");
        reads.confirm(&first, 10);
        assert_eq!(reads.ready(9), [0; 0], "not applied yet");
        assert_eq!(reads.ready(10), [1]);
        assert!(reads.begin(0, false).is_some());
    }

    #[test]
    fn a_lost_read_index_is_retried_with_a_new_context() {
        let mut reads = Reads::new(1, 2);
        reads.add(1, 0).unwrap();
        let lost = reads.begin(0, false).unwrap();
        assert_eq!(reads.begin(RETRY - 1, false), None);
        let retried = reads.begin(RETRY, false).unwrap();
        assert_ne!(lost, retried);
        reads.confirm(&lost, 1);
        assert_eq!(reads.ready(100), [0; 0], "the answer to the lost one counts for nothing");
        reads.confirm(&retried, 5);
        assert_eq!(reads.ready(5), [1]);
        reads.add(2, 0).unwrap();
        assert_eq!(reads.give_up(GIVE_UP), [2]);
    }
}
