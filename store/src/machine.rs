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
        self.state.insert(key.clone(), Arc::clone(&after));
        (key, Change::Put { after, before })
    }

    fn delete(&mut self, revision: Revision, key: Key) -> Option<(Key, Change)> {
        let (key, before) = self.state.remove(&key)?;
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
