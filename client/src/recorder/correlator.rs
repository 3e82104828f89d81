//! Which events are one event. Source of rules and numbers: client-go's `tools/record/events_cache.go`.

use std::{
    collections::{HashMap, HashSet},
    hash::Hash,
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{api::core::v1::ObjectReference, apimachinery::pkg::apis::meta::v1::Time};

use super::{Kind, Occurrence};
use crate::Cause;

/// Past this many different messages of one reason about one object within [`AGGREGATE_WITHIN`], they count as one event.
const AGGREGATE_PAST: usize = 10;
const AGGREGATE_WITHIN: SignedDuration = SignedDuration::from_mins(10);
/// A component may send this many events about one object at once, and then one every [`REFILL`].
const BURST: f64 = 25.0;
const REFILL: SignedDuration = SignedDuration::from_mins(5);
/// How many events, groups and objects are remembered.
const REMEMBERED: usize = 4096;

/// What makes two occurrences the same event. `message` is unset in aggregated events.
#[derive(Debug, PartialEq)]
pub(super) struct Key {
    pub(super) object: ObjectReference,
    pub(super) kind: Kind,
    pub(super) reason: String,
    message: Option<String>,
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        let object = &self.object;
        (&object.uid, &object.namespace, &object.name, &object.field_path).hash(state);
        (self.kind, &self.reason, &self.message).hash(state);
    }
}

/// The event as it should be by now.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) name: String,
    pub(super) message: String,
    pub(super) count: i32,
    pub(super) first: Time,
    pub(super) last: Time,
    pub(super) object_version: Option<String>,
    pub(super) cause: Cause,
    /// The apiserver has it.
    pub(super) exists: bool,
}

#[derive(Default)]
pub(super) struct Correlator {
    records: Recent<Arc<Key>, Record>,
    groups: Recent<Arc<Key>, Group>,
    budgets: Recent<(Option<String>, Option<String>), Budget>,
}

struct Group {
    messages: HashSet<String>,
    last: Timestamp,
}

struct Budget {
    left: f64,
    since: Timestamp,
}

impl Correlator {
    /// Counts an occurrence; returns the event to send, unless there are too many about this object.
    pub(super) fn observe(&mut self, occurrence: Occurrence, now: Timestamp) -> Option<Arc<Key>> {
        let Occurrence { mut object, kind, reason, message, cause } = occurrence;
        let object_version = object.resource_version.take();
        let subject = (object.uid.clone(), object.name.clone());
        let group = Arc::new(Key { object: object.clone(), kind, reason: reason.clone(), message: None });
        let aggregated = self.aggregates(&group, &message, now);
        let (key, message) = if aggregated {
            (group, format!("(combined from similar events): {message}"))
        } else {
            (Arc::new(Key { object, kind, reason, message: Some(message.clone()) }), message)
        };

        let record = self.records.entry(key.clone(), || Record {
            name: event_name(key.object.name.as_deref().unwrap_or_default(), now),
            message: String::new(),
            count: 0,
            first: Time(now),
            last: Time(now),
            object_version: None,
            cause: Cause::default(),
            exists: false,
        });
        record.message = message;
        record.count = record.count.saturating_add(1);
        record.last = Time(now);
        record.object_version = object_version;
        record.cause = cause;

        let budget = self.budgets.entry(subject, || Budget { left: BURST, since: now });
        budget.pays(now).then_some(key)
    }

    pub(super) fn record(&self, key: &Arc<Key>) -> Option<&Record> {
        self.records.get(key)
    }

    /// The event was sent or, if not, is to be made anew next time.
    pub(super) fn sent(&mut self, key: &Arc<Key>, exists: bool) {
        if let Some(record) = self.records.get_mut(key) {
            record.exists = exists;
        }
    }

    fn aggregates(&mut self, key: &Arc<Key>, message: &str, now: Timestamp) -> bool {
        let group = self.groups.entry(key.clone(), || Group { messages: HashSet::new(), last: now });
        if now.duration_since(group.last) > AGGREGATE_WITHIN {
            group.messages.clear();
        }
        group.last = now;
        if group.messages.len() < AGGREGATE_PAST {
            group.messages.insert(message.to_owned());
        }
        group.messages.len() >= AGGREGATE_PAST
    }
}

impl Budget {
    fn pays(&mut self, now: Timestamp) -> bool {
        let refilled = now.duration_since(self.since).as_secs_f64() / REFILL.as_secs_f64();
        self.left = (self.left + refilled.max(0.0)).min(BURST);
        self.since = now;
        let pays = self.left >= 1.0;
        if pays {
            self.left -= 1.0;
        }
        pays
    }
}

/// As upstream's: the object and the moment, in hexadecimal nanoseconds.
fn event_name(object: &str, now: Timestamp) -> String {
    format!("{object}.{:x}", now.as_nanosecond())
}

/// A bounded map: past [`REMEMBERED`] entries, the less recently used half is forgotten.
struct Recent<K, V> {
    entries: HashMap<K, (u64, V)>,
    uses: u64,
}

impl<K, V> Default for Recent<K, V> {
    fn default() -> Self {
        Self { entries: HashMap::new(), uses: 0 }
    }
}

impl<K: Hash + Eq, V> Recent<K, V> {
    fn entry(&mut self, key: K, new: impl FnOnce() -> V) -> &mut V {
        if self.entries.len() >= REMEMBERED && !self.entries.contains_key(&key) {
            let mut uses: Vec<u64> = self.entries.values().map(|(used, _)| *used).collect();
            let (_, middle, _) = uses.select_nth_unstable(REMEMBERED / 2);
            let middle = *middle;
            self.entries.retain(|_, (used, _)| *used >= middle);
        }
        self.uses += 1;
        let (used, value) = self.entries.entry(key).or_insert_with(|| (0, new()));
        *used = self.uses;
        value
    }

    fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(key).map(|(_, value)| value)
    }

    fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.entries.get_mut(key).map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(object: &str, message: &str) -> Occurrence {
        let object = ObjectReference { name: Some(object.into()), uid: Some(object.into()), ..Default::default() };
        Occurrence {
            object,
            kind: Kind::Normal,
            reason: "Pulled".into(),
            message: message.into(),
            cause: Cause::default(),
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).unwrap()
    }

    #[test]
    fn a_repeated_event_is_counted() {
        let mut correlator = Correlator::default();
        let first = correlator.observe(about("web", "done"), at(0)).unwrap();
        let again = correlator.observe(about("web", "done"), at(9)).unwrap();
        assert_eq!(first, again);
        let record = correlator.record(&again).unwrap();
        assert_eq!((record.count, record.first.0, record.last.0), (2, at(0), at(9)));
        assert_eq!(record.name, "web.17979cfe362a0000");

        let other = correlator.observe(about("web", "failed"), at(9)).unwrap();
        assert_ne!(first, other);
    }

    #[test]
    fn the_tenth_similar_event_stands_for_those_that_follow() {
        let mut correlator = Correlator::default();
        let mut keys = HashSet::new();
        for i in 0..15 {
            keys.insert(correlator.observe(about("web", &format!("try {i}")), at(i)).unwrap());
        }
        assert_eq!(keys.len(), 10);
        let combined = keys.iter().find(|key| key.message.is_none()).unwrap();
        let record = correlator.record(combined).unwrap();
        assert_eq!((record.count, record.message.as_str()), (6, "(combined from similar events): try 14"));

        let later = correlator.observe(about("web", "try 15"), at(700)).unwrap();
        assert!(later.message.is_some(), "after ten quiet minutes they stand alone again");
    }

    #[test]
    fn too_many_events_about_one_object_are_dropped() {
        let mut correlator = Correlator::default();
        let sent = (0..40).filter(|_| correlator.observe(about("web", "done"), at(0)).is_some()).count();
        assert_eq!(sent, 25);
        assert!(correlator.observe(about("db", "done"), at(0)).is_some(), "others have their own budget");
        assert!(correlator.observe(about("web", "done"), at(299)).is_none());
        assert!(correlator.observe(about("web", "done"), at(301)).is_some());
    }

    #[test]
    fn memory_is_bounded() {
        let mut correlator = Correlator::default();
        for i in 0..3 * REMEMBERED {
            correlator.observe(about(&format!("pod-{i}"), "done"), at(0));
        }
        assert!(correlator.records.entries.len() <= REMEMBERED);
        assert!(correlator.observe(about(&format!("pod-{}", 3 * REMEMBERED - 1), "done"), at(0)).is_some());
    }
}
