//! What must hold, whatever happens. The first replica to publish a revision fixes what it is; every later sight of it,
//! on any replica, in any read or watch, must agree, and so must a model that replays the transactions one by one.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use imbl::OrdMap;

use crate::{
    Change, Event, Key, Outcome, Precondition, Revision, Scope, State, Transaction, Write, command::internal_origin,
};

/// What a key holds in the model: value and revision.
type Model = OrdMap<Key, (Bytes, Revision)>;

struct Written {
    events: Vec<Arc<Event>>,
    after: Model,
}

/// What is known of all revisions so far.
#[derive(Default)]
pub(super) struct Checker {
    transactions: BTreeMap<u64, Transaction>,
    revisions: Vec<Written>,
    applied: BTreeMap<u64, Revision>,
    hashes: BTreeMap<Revision, u64>,
    leaders: BTreeMap<u64, u64>,
    /// The newest revision that any client has been told of.
    known: Revision,
}

/// The number of an operation, in its origin's note.
fn operation(event: &Event) -> Option<u64> {
    event.origin.note.parse().ok()
}

impl Checker {
    pub(super) fn known(&self) -> Revision {
        self.known
    }

    pub(super) fn newest(&self) -> Revision {
        self.revisions.len() as Revision
    }

    pub(super) fn invoked(&mut self, operation: u64, transaction: Transaction) {
        self.transactions.insert(operation, transaction);
    }

    fn model(&self, revision: Revision) -> Model {
        revision.checked_sub(1).map_or_else(Model::default, |place| self.revisions[place as usize].after.clone())
    }

    /// A replica has published a state; `events` led there.
    pub(super) fn published(&mut self, state: &State, events: &[Arc<Event>]) {
        for events in events.chunk_by(|a, b| a.revision == b.revision) {
            let revision = events[0].revision;
            if revision > self.newest() {
                assert_eq!(revision, self.newest() + 1, "P2: one revision per transaction, none skipped");
                self.first_sight(revision, events);
            }
            let first = &self.revisions[revision as usize - 1].events;
            let same = first.len() == events.len() && first.iter().zip(events).all(|(a, b)| is_same(a, b));
            assert!(same, "P1: revision {revision} was {first:?}, now it is {events:?}");
        }
        self.is_state(state);
    }

    /// A state must be what the model says, whole (P3), and hash alike everywhere (P12).
    pub(super) fn is_state(&mut self, state: &State) {
        let revision = state.revision();
        assert!(revision <= self.newest(), "P1: revision {revision} was never applied");
        let model = self.model(revision);
        let found: Model =
            state.iter().map(|(key, entry)| (key.clone(), (entry.value.clone(), entry.modified))).collect();
        assert_eq!(found, model, "P3: not the state at revision {revision}");
        let hash = state.hash();
        assert_eq!(*self.hashes.entry(revision).or_insert(hash), hash, "P12: hashes differ at revision {revision}");
    }

    fn first_sight(&mut self, revision: Revision, events: &[Arc<Event>]) {
        let before = self.model(revision - 1);
        let expired =
            || Transaction { preconditions: vec![], writes: deletes(events), origin: internal_origin("", "", 0) };
        let transaction = match operation(&events[0]) {
            Some(operation) => {
                let twice = self.applied.insert(operation, revision);
                assert_eq!(twice, None, "P4: operation {operation} applied again at revision {revision}");
                self.transactions[&operation].clone()
            }
            None => expired(),
        };
        for precondition in &transaction.preconditions {
            assert!(holds(precondition, &before), "P2: {precondition:?} did not hold at revision {revision}");
        }
        let mut after = before;
        for write in &transaction.writes {
            match write {
                Write::Put { key, value, .. } => {
                    let mut stamped = revision.to_string().into_bytes();
                    stamped.extend_from_slice(value);
                    after.insert(key.clone(), (stamped.into(), revision));
                }
                Write::Delete { key } => drop(after.remove(key)),
            }
        }
        self.revisions.push(Written { events: events.to_vec(), after });
    }

    /// A write was answered that began when `known` was known.
    pub(super) fn wrote(&mut self, operation: u64, outcome: &Outcome, known: Revision) {
        match outcome {
            Outcome::Committed(revision) => {
                let applied = self.applied.get(&operation);
                match applied {
                    Some(applied) => {
                        assert_eq!(applied, revision, "operation {operation} was told of another revision");
                        assert!(*revision > known, "P2: revision {revision} was given after {known} was known");
                    }
                    None => {
                        let writes = &self.transactions[&operation].writes;
                        let model = self.model(*revision);
                        let idle = |write: &Write| matches!(write, Write::Delete { key } if !model.contains_key(key));
                        assert!(writes.iter().all(idle), "P1: operation {operation} at {revision} is lost");
                        assert!(*revision >= known, "P2: a stale answer");
                    }
                }
                self.known = self.known.max(*revision);
            }
            Outcome::Conflict(precondition, found) => {
                let may = |revision| {
                    let model = self.model(revision);
                    !holds(precondition, &model) && model.get(key_of(precondition)).map(|(_, at)| *at) == *found
                };
                let any = (known..=self.newest()).any(may);
                assert!(any, "P2: {precondition:?} never failed with {found:?} since revision {known}");
                self.known = self.known.max(found.unwrap_or(0));
            }
        }
    }

    /// A linearizable read was answered that began when `known` was known.
    pub(super) fn read(&mut self, state: &State, known: Revision) {
        assert!(state.revision() >= known, "a stale read: {} after {known} was known", state.revision());
        self.is_state(state);
        self.known = self.known.max(state.revision());
    }

    /// A cursor went from one revision to another and yielded these events (P5 to P9).
    pub(super) fn watched(&self, scope: &Scope, from: Revision, to: Revision, events: &[Arc<Event>]) {
        assert!(to >= from, "P10: a watch went back from {from} to {to}");
        let all = self.revisions[from as usize..to as usize].iter().flat_map(|written| &written.events);
        let expected: Vec<_> = all.filter(|event| is_in(scope, event)).collect();
        let same = expected.len() == events.len() && expected.iter().zip(events).all(|(a, b)| is_same(a, b));
        assert!(same, "P5-P9: from {from} to {to} of {scope:?} expected {expected:?}, not {events:?}");
    }

    /// A member says that it leads.
    pub(super) fn leads(&mut self, term: u64, member: u64) {
        let leader = *self.leaders.entry(term).or_insert(member);
        assert_eq!(leader, member, "two leaders in term {term}");
    }

    pub(super) fn terms(&self) -> usize {
        self.leaders.len()
    }
}

fn deletes(events: &[Arc<Event>]) -> Vec<Write> {
    events.iter().map(|event| Write::Delete { key: event.key.clone() }).collect()
}

fn key_of(precondition: &Precondition) -> &Key {
    match precondition {
        Precondition::Absent(key) | Precondition::Exists(key) | Precondition::Modified(key, _) => key,
    }
}

fn holds(precondition: &Precondition, model: &Model) -> bool {
    let found = model.get(key_of(precondition)).map(|(_, revision)| *revision);
    match precondition {
        Precondition::Absent(_) => found.is_none(),
        Precondition::Exists(_) => found.is_some(),
        Precondition::Modified(_, revision) => found == Some(*revision),
    }
}

fn is_same(a: &Event, b: &Event) -> bool {
    let values = |event: &Event| match &event.change {
        Change::Put { after, before } => (Arc::clone(after), before.clone()),
        Change::Delete { last, before } => (Arc::clone(last), Some(Arc::clone(before))),
    };
    a.revision == b.revision && a.key == b.key && a.origin == b.origin && values(a) == values(b)
}

fn is_in(scope: &Scope, event: &Event) -> bool {
    let indexes = match &event.change {
        Change::Put { after, before } => [after.index.clone(), before.as_ref().and_then(|entry| entry.index.clone())],
        Change::Delete { before, .. } => [before.index.clone(), None],
    };
    event.key.topic == scope.topic
        && event.key.name.starts_with(&*scope.prefix)
        && (scope.index.is_none() || indexes.contains(&scope.index))
}
