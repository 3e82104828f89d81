//! Which objects name which: pods their claims, attachments their volumes. Kept along with a cache, so that nobody has to
//! look through all objects for those few.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use kubelab_client::{Cache, Change, Object, controller::Key};

type Index = HashMap<Key, BTreeSet<Key>>;

/// The objects of a cache by what they name.
pub struct Relation<K> {
    cache: Cache<K>,
    index: Arc<Mutex<Index>>,
}

impl<K> Clone for Relation<K> {
    fn clone(&self) -> Self {
        Self { cache: self.cache.clone(), index: Arc::clone(&self.index) }
    }
}

impl<K: Object> Relation<K> {
    /// Follows the cache; `names` says what an object names.
    pub fn of(cache: &Cache<K>, names: fn(&K) -> Vec<Key>) -> Self {
        let index: Arc<Mutex<Index>> = Arc::default();
        let follower = Arc::clone(&index);
        cache.on_change(move |change| {
            let mut index = lock(&follower);
            let (old, new) = match change {
                Change::Added(new) => (None, Some(new)),
                Change::Modified { old, new } => (Some(old), Some(new)),
                Change::Deleted(old) => (Some(old), None),
            };
            let named = |object: Option<&Arc<K>>| object.map(|object| names(object)).unwrap_or_default();
            let (before, after) = (named(old), named(new));
            let own = Key::of(&**change.object());
            for key in before.iter().filter(|key| !after.contains(key)) {
                remove(&mut index, key, &own);
            }
            for key in after {
                index.entry(key).or_default().insert(own.clone());
            }
        });
        Self { cache: cache.clone(), index }
    }

    /// The objects that name this, in the order of their keys.
    pub fn naming(&self, key: &Key) -> Vec<Arc<K>> {
        let keys: Vec<Key> = lock(&self.index).get(key).into_iter().flatten().cloned().collect();
        keys.iter().filter_map(|key| self.cache.get(&key.namespace, &key.name)).collect()
    }
}

fn remove(index: &mut Index, key: &Key, own: &Key) {
    let Some(naming) = index.get_mut(key) else { return };
    naming.remove(own);
    if naming.is_empty() {
        index.remove(key);
    }
}

fn lock(index: &Mutex<Index>) -> MutexGuard<'_, Index> {
    index.lock().unwrap_or_else(PoisonError::into_inner)
}
