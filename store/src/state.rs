//! The published state: immutable, structurally shared, behind an atomic pointer.

use std::sync::Arc;

use bytes::Bytes;
use imbl::OrdMap;

use crate::{Key, Revision, Topic};

/// One stored value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The finished bytes, revision included.
    pub value: Bytes,
    /// Where the revision's digits stand in `value`, and how many there are.
    pub stamp: Option<(u32, u8)>,
    /// When the key came to life.
    pub created: Revision,
    /// When it was last written.
    pub modified: Revision,
    /// The second way to watch it.
    pub index: Option<Arc<str>>,
    /// When it may be removed: Unix time in milliseconds.
    pub expires_ms: Option<u64>,
}

/// All keys at one revision. Cloning is cheap; a clone never changes.
#[derive(Clone, Debug, Default)]
pub struct State {
    revision: Revision,
    entries: OrdMap<Key, Arc<Entry>>,
    /// When each topic was last written; topics that are missing were not since `since`.
    touched: OrdMap<Topic, Revision>,
    since: Revision,
}

impl State {
    /// The revision that this state shows.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// What lives at a key.
    pub fn get(&self, key: &Key) -> Option<&Arc<Entry>> {
        self.entries.get(key)
    }

    /// The entries of a topic whose name begins with `prefix` and comes after `after`, in order.
    pub fn range<'a>(
        &'a self,
        topic: &'a str,
        prefix: &'a str,
        after: Option<&'a str>,
    ) -> impl Iterator<Item = (&'a Key, &'a Arc<Entry>)> + 'a {
        let from = Key::new(topic, after.map_or_else(|| prefix.to_owned(), |name| format!("{name}\0")));
        self.entries.range(from..).take_while(move |(key, _)| &*key.topic == topic && key.name.starts_with(prefix))
    }

    /// The topic is as it was at this revision: what was made of its entries then still holds. A member that began with a
    /// snapshot knows of no earlier one than that.
    pub fn touched(&self, topic: &str) -> Revision {
        self.touched.get(topic).copied().unwrap_or(self.since)
    }

    /// How many keys live.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing lives.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Everything, in key order.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, &Arc<Entry>)> {
        self.entries.iter()
    }

    /// A digest of the revision and every entry: equal on replicas at the same revision. Reads every value.
    pub fn hash(&self) -> u64 {
        let mut hasher = crc32fast::Hasher::new();
        let mut digest = mix(self.revision);
        for (key, entry) in &self.entries {
            hasher.update(key.topic.as_bytes());
            hasher.update(&[0]);
            hasher.update(key.name.as_bytes());
            hasher.update(&[0]);
            hasher.update(&entry.value);
            hasher.update(entry.index.as_deref().unwrap_or_default().as_bytes());
            let text = std::mem::take(&mut hasher).finalize();
            let numbers = [entry.created, entry.modified, entry.expires_ms.unwrap_or(u64::MAX), u64::from(text)];
            digest = numbers.into_iter().fold(digest, |digest, number| mix(digest ^ number));
        }
        digest
    }

    pub(crate) fn get_key_value(&self, key: &Key) -> Option<(&Key, &Arc<Entry>)> {
        self.entries.get_key_value(key)
    }

    pub(crate) fn insert(&mut self, key: Key, entry: Arc<Entry>) {
        self.entries.insert(key, entry);
    }

    pub(crate) fn remove(&mut self, key: &Key) -> Option<(Key, Arc<Entry>)> {
        self.entries.remove_with_key(key)
    }

    /// Notes that a topic was written.
    pub(crate) fn touch(&mut self, topic: &Topic, revision: Revision) {
        self.touched.insert(Topic::clone(topic), revision);
    }

    /// The state now shows `revision`.
    pub(crate) fn advance(&mut self, revision: Revision) {
        self.revision = revision;
    }

    /// The state shows `revision`, and nothing is known of what was before.
    pub(crate) fn settle(&mut self, revision: Revision) {
        (self.revision, self.since) = (revision, revision);
        self.touched.clear();
    }
}

/// The finalizer of SplitMix64.
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
