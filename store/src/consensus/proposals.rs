//! Writes that wait to be applied. A proposal may vanish or come late without a word, so it is repeated under the same
//! request id until it is applied or its time is up; the replicated sessions make the repetition harmless.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::io::Refusal;
use crate::{RequestId, command::Header};

/// The most writes that one member has in flight, from the oldest to the newest.
pub(crate) const IN_FLIGHT: u64 = 4096;
/// Ticks until a proposal is repeated: half a second, then twice as long each time, so that a group that is slow because
/// it has much to do is not given more.
const RETRY: u64 = 10;
/// Ticks until a proposal is given up: seven seconds, as etcd does (two election timeouts beyond five seconds).
pub(super) const GIVE_UP: u64 = 140;

struct Pending {
    token: u64,
    body: Bytes,
    retry_at: u64,
    retry_after: u64,
    give_up_at: u64,
    /// The term in whose leader's log it stands; only known on the leader itself.
    logged: Option<u64>,
}

/// The proposals of this member, by sequence.
pub(crate) struct Proposals {
    client: u64,
    next: u64,
    pending: BTreeMap<u64, Pending>,
}

impl Proposals {
    pub(crate) fn new(client: u64) -> Self {
        Self { client, next: 1, pending: BTreeMap::new() }
    }

    /// Takes a proposal on; its sequence.
    pub(crate) fn add(&mut self, token: u64, body: Bytes, now: u64) -> Result<u64, Refusal> {
        if self.next - self.oldest() >= IN_FLIGHT {
            return Err(Refusal::Busy);
        }
        let sequence = self.next;
        self.next += 1;
        let (retry_at, give_up_at) = (now + RETRY, now + GIVE_UP);
        let pending = Pending { token, body, retry_at, retry_after: 2 * RETRY, give_up_at, logged: None };
        self.pending.insert(sequence, pending);
        Ok(sequence)
    }

    /// What to put into the log for a proposal.
    pub(crate) fn attempt(&self, sequence: u64) -> Option<(Header, Bytes)> {
        let pending = self.pending.get(&sequence)?;
        let id = RequestId { client: self.client, sequence };
        Some((Header { id, oldest: self.oldest() }, pending.body.clone()))
    }

    /// This member leads in `term` and has put the proposal into its log: it can't vanish in this term.
    pub(crate) fn logged(&mut self, sequence: u64, term: u64) {
        if let Some(pending) = self.pending.get_mut(&sequence) {
            pending.logged = Some(term);
        }
    }

    /// The request was applied; who waits for it.
    pub(crate) fn finish(&mut self, id: RequestId) -> Option<u64> {
        if id.client != self.client {
            return None;
        }
        self.pending.remove(&id.sequence).map(|pending| pending.token)
    }

    /// Whether one of the tokens waits.
    pub(crate) fn waits(&self, token: u64) -> bool {
        self.pending.values().any(|pending| pending.token == token)
    }

    /// Every request that waits.
    pub(crate) fn ids(&self) -> Vec<RequestId> {
        self.pending.keys().map(|sequence| RequestId { client: self.client, sequence: *sequence }).collect()
    }

    /// Those to be repeated now: all of them after a change of leader, else those whose time has come and that don't
    /// stand in this leader's own log.
    pub(crate) fn due(&mut self, now: u64, leads_in: Option<u64>, new_leader: bool) -> Vec<u64> {
        let mut due = Vec::new();
        for (sequence, pending) in &mut self.pending {
            let safe = leads_in.is_some() && pending.logged == leads_in;
            if !safe && (new_leader || pending.retry_at <= now) {
                pending.retry_at = now + pending.retry_after;
                pending.retry_after *= 2;
                due.push(*sequence);
            }
        }
        due
    }

    /// Those whose time is up: no longer repeated, though they may still be applied.
    pub(crate) fn give_up(&mut self, now: u64) -> Vec<u64> {
        let mut tokens = Vec::new();
        // Sequences grow with time, so the first that may wait ends the search.
        while let Some(first) = self.pending.first_entry()
            && first.get().give_up_at <= now
        {
            tokens.push(first.remove().token);
        }
        tokens
    }

    fn oldest(&self) -> u64 {
        self.pending.first_key_value().map_or(self.next, |(sequence, _)| *sequence)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn vanished_proposals_are_repeated_under_the_same_id() {
        let mut proposals = Proposals::new(7);
        let sequence = proposals.add(1, Bytes::from_static(b"x"), 0).unwrap();
        let first = proposals.attempt(sequence).unwrap();
        assert!(proposals.due(RETRY - 1, None, false).is_empty());
        assert_eq!(proposals.due(RETRY, None, false), [sequence]);
        assert_eq!(proposals.attempt(sequence).unwrap(), first);
        assert_eq!(proposals.due(RETRY + 1, None, true), [sequence], "a new leader may not have it");
    }

    #[test]
    fn what_stands_in_the_own_log_is_not_repeated_in_that_term() {
        let mut proposals = Proposals::new(7);
        let sequence = proposals.add(1, Bytes::new(), 0).unwrap();
        proposals.logged(sequence, 3);
        assert!(proposals.due(100, Some(3), true).is_empty());
        assert_eq!(proposals.due(100, Some(4), false), [sequence]);
        assert_eq!(proposals.due(200, None, false), [sequence]);
    }

    #[test]
    fn in_flight_is_bounded_and_given_up() {
        let mut proposals = Proposals::new(7);
        for token in 0..IN_FLIGHT {
            proposals.add(token, Bytes::new(), token / 100).unwrap();
        }
        assert_eq!(proposals.add(0, Bytes::new(), 50), Err(Refusal::Busy));
        assert_eq!(proposals.give_up(GIVE_UP).len(), 100);
        assert_eq!(proposals.finish(RequestId { client: 8, sequence: 101 }), None);
        assert_eq!(proposals.finish(RequestId { client: 7, sequence: 101 }), Some(100));
        assert_eq!(proposals.attempt(102).unwrap().0.oldest, 102);
    }
}
