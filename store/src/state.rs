//! The published state: immutable, structurally shared, behind an atomic pointer.

use std::sync::Arc;

use bytes::Bytes;
use imbl::OrdMap;

use crate::{Key, Revision};

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
}
