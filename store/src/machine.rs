//! The state machine: what a committed command does. No clock, no randomness, no I/O: replicas that apply the same log
//! are equal.

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;

use crate::{
    Change, Entry, Event, Key, Outcome, Precondition, Revision, State, Transaction, Write,
    codec::Malformed,
    command::{self, Header},
    intern::Interner,
    sessions::{Seen, Sessions},
    stamp,
};

/// What applying did.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Applied {
    /// The request took effect now.
    Now(Outcome),
    /// It had taken effect before; the outcome of then, unless the client had acknowledged it.
    Before(Option<Outcome>),
}

/// The replicated state and what is derived from it.
#[derive(Default)]
pub(crate) struct Machine {
    state: State,
    sessions: Sessions,
    /// Derived from `state`: when which key may go.
    expiry: BTreeSet<(u64, Key)>,
    interner: Interner,
}

impl Machine {
    pub(crate) fn restore(state: State, sessions: Sessions) -> Self {
        let expiry = state.iter().filter_map(|(key, entry)| Some((entry.expires_ms?, key.clone()))).collect();
        Self { state, sessions, expiry, interner: Interner::default() }
    }

    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    pub(crate) fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// Applies the command at a log index; what changed is appended to `events`.
    pub(crate) fn apply(
        &mut self,
        index: u64,
        header: Header,
        body: Bytes,
        events: &mut Vec<Arc<Event>>,
    ) -> Result<Applied, Malformed> {
        if let Seen::Before(outcome) = self.sessions.seen(header.id) {
            return Ok(Applied::Before(outcome));
        }
        let transaction = command::decode(body, &mut self.interner)?;
        let outcome = self.run(transaction, events);
        self.sessions.remember(index, header, outcome.clone());
        Ok(Applied::Now(outcome))
    }

    /// The outcome of a request that was applied, if it is still remembered.
    pub(crate) fn outcome(&self, id: crate::RequestId) -> Option<Outcome> {
        match self.sessions.seen(id) {
            Seen::Before(outcome) => outcome,
            Seen::Never => None,
        }
    }

    /// Keys whose time has come, with the revision at which they were last written.
    pub(crate) fn expired(&self, now_ms: u64, limit: usize) -> Vec<(Key, Revision)> {
        let due = self.expiry.iter().take_while(|(at, _)| *at <= now_ms).take(limit);
        due.filter_map(|(_, key)| Some((key.clone(), self.state.get(key)?.modified))).collect()
    }

    /// A mutant's doing.
    #[cfg(test)]
    pub(crate) fn forget_sessions(&mut self) {
        self.sessions = Sessions::default();
    }

    fn run(&mut self, transaction: Transaction, events: &mut Vec<Arc<Event>>) -> Outcome {
        for precondition in transaction.preconditions {
            if let Err(found) = self.check(&precondition) {
                return Outcome::Conflict(precondition, found);
            }
        }
        let revision = self.state.revision() + 1;
        let origin = Arc::new(transaction.origin);
        let first = events.len();
        for write in transaction.writes {
            let changed = match write {
                Write::Put { key, value, stamp, index, expires_ms } => {
                    Some(self.put(revision, key, value, stamp, index, expires_ms))
                }
                Write::Delete { key } => self.delete(revision, key),
            };
            if let Some((key, change)) = changed {
                events.push(Arc::new(Event { revision, key, change, origin: Arc::clone(&origin) }));
            }
        }
        if events.len() > first {
            self.state.advance(revision);
        }
        Outcome::Committed(self.state.revision())
    }

    fn check(&self, precondition: &Precondition) -> Result<(), Option<Revision>> {
        let modified = |key| self.state.get(key).map(|entry| entry.modified);
        let (found, holds) = match precondition {
            Precondition::Absent(key) => (modified(key), modified(key).is_none()),
            Precondition::Exists(key) => (modified(key), modified(key).is_some()),
            Precondition::Modified(key, revision) => (modified(key), modified(key) == Some(*revision)),
        };
        if holds { Ok(()) } else { Err(found) }
    }

    fn put(
        &mut self,
        revision: Revision,
        key: Key,
        value: Bytes,
        stamp: Option<u32>,
        index: Option<Arc<str>>,
        expires_ms: Option<u64>,
    ) -> (Key, Change) {
        let (value, stamp) = match stamp {
            None => (value, None),
            Some(at) => {
                let (value, stamp) = stamp::insert(&value, at, revision);
                (value, Some(stamp))
            }
        };
        let (key, before) = match self.state.get_key_value(&key) {
            Some((known, entry)) => (known.clone(), Some(Arc::clone(entry))),
            None => (key, None),
        };
        let created = before.as_ref().map_or(revision, |entry| entry.created);
        let after = Arc::new(Entry { value, stamp, created, modified: revision, index, expires_ms });
        if let Some(at) = before.as_ref().and_then(|entry| entry.expires_ms) {
            self.expiry.remove(&(at, key.clone()));
        }
        if let Some(at) = expires_ms {
            self.expiry.insert((at, key.clone()));
        }
        self.state.touch(&key.topic, revision);
        self.state.insert(key.clone(), Arc::clone(&after));
        (key, Change::Put { after, before })
    }

    fn delete(&mut self, revision: Revision, key: Key) -> Option<(Key, Change)> {
        let (key, before) = self.state.remove(&key)?;
        self.state.touch(&key.topic, revision);
        if let Some(at) = before.expires_ms {
            self.expiry.remove(&(at, key.clone()));
        }
        let last = last(&before, revision);
        Some((key, Change::Delete { last, before }))
    }
}

/// What a watcher is shown of an entry removed at `revision`.
pub(crate) fn last(before: &Arc<Entry>, revision: Revision) -> Arc<Entry> {
    let Some(stamp) = before.stamp else { return Arc::clone(before) };
    let (value, stamp) = stamp::replace(&before.value, stamp, revision);
    Arc::new(Entry { value, stamp: Some(stamp), ..Entry::clone(before) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{RequestId, command::internal_origin};

    /// A machine, and the events of all that it did.
    #[derive(Default)]
    struct Bench {
        machine: Machine,
        events: Vec<Arc<Event>>,
        sequence: u64,
    }

    fn key(name: &str) -> Key {
        Key::new("pods", name)
    }

    fn put(name: &str, value: &'static str) -> Write {
        let value = Bytes::from_static(value.as_bytes());
        Write::Put { key: key(name), value, stamp: Some(1), index: None, expires_ms: None }
    }

    fn delete(name: &str) -> Write {
        Write::Delete { key: key(name) }
    }

    impl Bench {
        fn run(&mut self, preconditions: Vec<Precondition>, writes: Vec<Write>) -> Outcome {
            self.sequence += 1;
            match self.again(self.sequence, preconditions, writes) {
                Applied::Now(outcome) => outcome,
                Applied::Before(outcome) => panic!("applied before: {outcome:?}"),
            }
        }

        fn again(&mut self, sequence: u64, preconditions: Vec<Precondition>, writes: Vec<Write>) -> Applied {
            let body = command::encode(&Transaction { preconditions, writes, origin: internal_origin("", "", 0) });
            let header = Header { id: RequestId { client: 1, sequence }, oldest: 1 };
            self.machine.apply(sequence, header, body, &mut self.events).unwrap()
        }

        fn value(&self, name: &str) -> &[u8] {
            &self.machine.state().get(&key(name)).unwrap().value
        }
    }

    #[test]
    fn a_revision_for_each_mutating_transaction_and_no_other() {
        let mut bench = Bench::default();
        assert_eq!(bench.run(vec![], vec![put("a", "[]"), put("b", "[]")]), Outcome::Committed(1));
        assert_eq!(bench.run(vec![], vec![delete("none")]), Outcome::Committed(1), "nothing changes");
        assert_eq!(bench.run(vec![], vec![]), Outcome::Committed(1));
        let failing = Precondition::Absent(key("a"));
        let conflict = bench.run(vec![failing.clone()], vec![delete("b")]);
        assert_eq!(conflict, Outcome::Conflict(failing, Some(1)));
        assert_eq!(bench.run(vec![], vec![delete("a"), delete("none")]), Outcome::Committed(2));
        assert_eq!(bench.events.iter().map(|event| event.revision).collect::<Vec<_>>(), [1, 1, 2]);
    }

    #[test]
    fn a_topic_remembers_when_it_was_written() {
        let mut bench = Bench::default();
        bench.run(vec![], vec![put("a", "[]")]);
        let other =
            Write::Put { key: Key::new("nodes", "n"), value: Bytes::new(), stamp: None, index: None, expires_ms: None };
        bench.run(vec![], vec![other]);
        let touched = |bench: &Bench| ["pods", "nodes", "none"].map(|topic| bench.machine.state().touched(topic));
        assert_eq!(touched(&bench), [1, 2, 0]);
        bench.run(vec![], vec![delete("a"), delete("none")]);
        assert_eq!(touched(&bench), [3, 2, 0]);
        bench.machine.state.settle(3);
        assert_eq!(touched(&bench), [3, 3, 3], "what was before is not known");
    }

    #[test]
    fn preconditions_are_checked_in_order() {
        let mut bench = Bench::default();
        bench.run(vec![], vec![put("a", "[]")]);
        bench.run(vec![], vec![put("a", "[]")]);
        let (absent, exists) = (Precondition::Absent, Precondition::Exists);
        let modified = |name, revision| Precondition::Modified(key(name), revision);
        let cases = [
            (vec![modified("a", 2), exists(key("a")), absent(key("b"))], None),
            (vec![modified("a", 1)], Some((modified("a", 1), Some(2)))),
            (vec![modified("b", 1)], Some((modified("b", 1), None))),
            (vec![exists(key("b"))], Some((exists(key("b")), None))),
            (vec![exists(key("a")), absent(key("a")), exists(key("b"))], Some((absent(key("a")), Some(2)))),
        ];
        for (preconditions, failing) in cases {
            let expected = failing.map_or(Outcome::Committed(2), |(failing, found)| Outcome::Conflict(failing, found));
            assert_eq!(bench.run(preconditions, vec![delete("none")]), expected);
        }
    }

    #[test]
    fn values_carry_the_revision_that_wrote_them() {
        let mut bench = Bench::default();
        bench.run(vec![], vec![put("a", "[]")]);
        assert_eq!(bench.value("a"), b"[1]");
        (0..9).for_each(|_| drop(bench.run(vec![], vec![put("b", "[]")])));
        assert_eq!((bench.value("a"), bench.value("b")), (&b"[1]"[..], &b"[10]"[..]));
        bench.run(vec![], vec![delete("a")]);
        let Change::Delete { last, before } = &bench.events.last().unwrap().change else { panic!("not a removal") };
        assert_eq!((&last.value[..], &before.value[..]), (&b"[11]"[..], &b"[1]"[..]));
        let entry = bench.machine.state().get(&key("b")).unwrap();
        assert_eq!((entry.created, entry.modified), (2, 10));
    }

    #[test]
    fn a_request_that_comes_again_applies_once() {
        let mut bench = Bench::default();
        bench.run(vec![], vec![put("a", "[]")]);
        let before = bench.machine.state().hash();
        let again = bench.again(1, vec![], vec![put("a", "[]")]);
        assert_eq!(again, Applied::Before(Some(Outcome::Committed(1))));
        assert_eq!((bench.machine.state().hash(), bench.events.len()), (before, 1));
    }

    #[test]
    fn expired_keys_are_found_in_order_and_forgotten_when_written_again() {
        let mut bench = Bench::default();
        for (name, expires_ms) in [("late", Some(30)), ("soon", Some(10)), ("never", None), ("renewed", Some(5))] {
            let value = Bytes::new();
            bench.run(vec![], vec![Write::Put { key: key(name), value, stamp: None, index: None, expires_ms }]);
        }
        bench.run(vec![], vec![put("renewed", "[]")]);
        assert_eq!(bench.machine.expired(9, 10), []);
        assert_eq!(bench.machine.expired(30, 10), [(key("soon"), 2), (key("late"), 1)]);
        assert_eq!(bench.machine.expired(30, 1), [(key("soon"), 2)]);
        let restored = Machine::restore(bench.machine.state().clone(), Sessions::default());
        assert_eq!(restored.expired(30, 10), bench.machine.expired(30, 10));
        bench.run(vec![], vec![delete("soon")]);
        assert_eq!(bench.machine.expired(30, 10), [(key("late"), 1)]);
    }
}
