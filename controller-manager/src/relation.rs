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
            update(&mut index, &Key::of(&**change.object()), named(old), named(new));
        });
        Self { cache: cache.clone(), index }
    }

    /// The objects that name this, in the order of their keys.
    pub fn naming(&self, key: &Key) -> Vec<Arc<K>> {
        let keys: Vec<Key> = lock(&self.index).get(key).into_iter().flatten().cloned().collect();
        keys.iter().filter_map(|key| self.cache.get(&key.namespace, &key.name)).collect()
    }
}

/// An object that named some now names others.
fn update(index: &mut Index, object: &Key, before: Vec<Key>, after: Vec<Key>) {
    for key in before.iter().filter(|key| !after.contains(key)) {
        let Some(naming) = index.get_mut(key) else { continue };
        naming.remove(object);
        if naming.is_empty() {
            index.remove(key);
        }
    }
    for key in after {
        index.entry(key).or_default().insert(object.clone());
    }
}

fn lock(index: &Mutex<Index>) -> MutexGuard<'_, Index> {
    index.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(names: &[&str]) -> Vec<Key> {
        names.iter().map(|name| Key { namespace: "shop".into(), name: (*name).into() }).collect()
    }

    #[test]
    fn what_nobody_names_is_forgotten() {
        let mut index = Index::new();
        let [web, db] = [&keys(&["web"])[0], &keys(&["db"])[0]].map(Key::clone);
        let naming = |index: &Index, name: &str| {
            index.get(&keys(&[name])[0]).into_iter().flatten().map(|key| key.name.clone()).collect::<Vec<_>>()
        };
        update(&mut index, &web, vec![], keys(&["data", "logs"]));
        update(&mut index, &db, vec![], keys(&["data"]));
        assert_eq!(naming(&index, "data"), ["db", "web"]);
        update(&mut index, &web, keys(&["data", "logs"]), keys(&["logs", "tmp"]));
        assert_eq!((naming(&index, "data"), naming(&index, "tmp")), (vec!["db".to_owned()], vec!["web".to_owned()]));
        update(&mut index, &web, keys(&["logs", "tmp"]), vec![]);
        update(&mut index, &db, keys(&["data"]), vec![]);
        assert!(index.is_empty());
    }
}
