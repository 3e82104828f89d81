//! The remembered origins: which revision wrote what, and why.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use crate::{Event, Key, Origin, Revision, view::View};

/// How many revisions are remembered; the oldest are forgotten.
const RECORDS: usize = 32 * 1024;

/// What one revision wrote, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// When.
    pub revision: Revision,
    /// The keys that it wrote or removed.
    pub keys: Vec<Key>,
    /// Who, how, and because of what.
    pub origin: Arc<Origin>,
}

/// The remembered origins: revision → what was written and why. Bounded; the oldest are forgotten.
#[derive(Clone)]
pub struct Journal(pub(crate) Arc<View>);

impl Journal {
    /// The write at one revision.
    pub fn get(&self, revision: Revision) -> Option<Record> {
        self.0.ledger(|ledger| ledger.get(revision).map(|page| Record::clone(&page.record)))
    }

    /// The remembered writes of one key, oldest first.
    pub fn of_key(&self, key: &Key) -> Vec<Record> {
        self.0.ledger(|ledger| ledger.of_key(key))
    }

    /// The remembered writes after a revision, oldest first, at most `limit`.
    pub fn after(&self, revision: Revision, limit: usize) -> Vec<Record> {
        self.0.ledger(|ledger| ledger.after(revision).take(limit).map(|page| Record::clone(&page.record)).collect())
    }
}

pub(crate) struct Page {
    pub(crate) record: Arc<Record>,
    /// For each key of the record, the revision that wrote it before; 0 for none.
    previous: Box<[Revision]>,
}

/// The records in order of revision, and for each key a chain through them.
#[derive(Default)]
pub(crate) struct Ledger {
    pages: VecDeque<Page>,
    newest: HashMap<Key, Revision>,
}

impl Ledger {
    /// Enters the events of whole revisions.
    pub(crate) fn enter(&mut self, events: &[Arc<Event>]) {
        for revision in events.chunk_by(|a, b| a.revision == b.revision) {
            let mut keys: Vec<Key> = Vec::with_capacity(revision.len());
            for event in revision {
                if revision.len() == 1 || !keys.contains(&event.key) {
                    keys.push(event.key.clone());
                }
            }
            let origin = Arc::clone(&revision[0].origin);
            self.push(Arc::new(Record { revision: revision[0].revision, keys, origin }));
        }
    }

    pub(crate) fn push(&mut self, record: Arc<Record>) {
        let newest = &mut self.newest;
        let enter = |key: &Key| newest.insert(key.clone(), record.revision).unwrap_or(0);
        let previous = record.keys.iter().map(enter).collect();
        self.pages.push_back(Page { record, previous });
        while self.pages.len() > RECORDS {
            self.forget();
        }
    }

    fn forget(&mut self) {
        let Some(Page { record, .. }) = self.pages.pop_front() else { return };
        for key in &record.keys {
            if self.newest.get(key) == Some(&record.revision) {
                self.newest.remove(key);
            }
        }
    }

    pub(crate) fn records(&self) -> Vec<Arc<Record>> {
        self.pages.iter().map(|page| Arc::clone(&page.record)).collect()
    }

    pub(crate) fn get(&self, revision: Revision) -> Option<&Page> {
        let at = self.pages.binary_search_by_key(&revision, |page| page.record.revision).ok()?;
        self.pages.get(at)
    }

    fn after(&self, revision: Revision) -> impl Iterator<Item = &Page> {
        let from = self.pages.partition_point(|page| page.record.revision <= revision);
        self.pages.range(from..)
    }

    fn of_key(&self, key: &Key) -> Vec<Record> {
        let mut found = Vec::new();
        let mut revision = self.newest.get(key).copied().unwrap_or(0);
        while let Some(page) = self.get(revision) {
            found.push(Record::clone(&page.record));
            let place = page.record.keys.iter().position(|written| written == key);
            revision = place.map_or(0, |place| page.previous[place]);
        }
        found.reverse();
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::internal_origin;

    fn record(revision: Revision, names: &[&str]) -> Arc<Record> {
        let keys = names.iter().map(|name| Key::new("pods", *name)).collect();
        Arc::new(Record { revision, keys, origin: Arc::new(internal_origin("update", "", revision)) })
    }

    #[test]
    fn a_key_tells_its_story() {
        let mut ledger = Ledger::default();
        ledger.push(record(1, &["a"]));
        ledger.push(record(2, &["b"]));
        ledger.push(record(3, &["b", "a"]));
        ledger.push(record(4, &["c"]));
        let story =
            |name| ledger.of_key(&Key::new("pods", name)).iter().map(|record| record.revision).collect::<Vec<_>>();
        assert_eq!(story("a"), [1, 3]);
        assert_eq!(story("b"), [2, 3]);
        assert_eq!(story("none"), [0; 0]);
        assert_eq!(ledger.after(2).map(|page| page.record.revision).collect::<Vec<_>>(), [3, 4]);
        assert!(ledger.get(5).is_none());
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let mut ledger = Ledger::default();
        for revision in 1..=RECORDS as u64 + 2 {
            ledger.push(record(revision, &[if revision == 1 { "first" } else { "rest" }]));
        }
        assert_eq!(ledger.pages.len(), RECORDS);
        assert_eq!(ledger.newest.len(), 1, "a key without records leaves nothing behind");
        assert_eq!(ledger.of_key(&Key::new("pods", "rest")).len(), RECORDS);
    }
}
