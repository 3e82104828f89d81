//! What a cache knows, by name and by controlling owner; and what each event means for it.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::Change;
use crate::partial::Mirrored;

/// The objects of one resource.
pub(super) struct Index<K> {
    /// Namespace, then name.
    objects: HashMap<String, HashMap<String, Arc<K>>>,
    /// The controlling owner's uid, then the object's.
    controlled: HashMap<String, HashMap<String, Arc<K>>>,
}

impl<K> Default for Index<K> {
    fn default() -> Self {
        Self { objects: HashMap::new(), controlled: HashMap::new() }
    }
}

/// The namespaces and names that a resync has shown so far.
#[derive(Default)]
pub(super) struct Seen(HashMap<String, HashSet<String>>);

impl<K> Index<K> {
    pub(super) fn get(&self, namespace: &str, name: &str) -> Option<&Arc<K>> {
        self.objects.get(namespace)?.get(name)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<K>> {
        self.objects.values().flat_map(HashMap::values)
    }

    pub(super) fn iter_in(&self, namespace: &str) -> impl Iterator<Item = &Arc<K>> {
        self.objects.get(namespace).into_iter().flat_map(HashMap::values)
    }

    pub(super) fn controlled_by(&self, uid: &str) -> impl Iterator<Item = &Arc<K>> {
        self.controlled.get(uid).into_iter().flat_map(HashMap::values)
    }
}

impl<K: Mirrored> Index<K> {
    /// The object is now like this.
    pub(super) fn put(&mut self, object: K) -> Vec<Change<K>> {
        let object = Arc::new(object);
        let Some(old) = self.insert(object.clone()) else { return vec![Change::Added(object)] };
        let (before, after) = (old.meta(), object.meta());
        if before.uid != after.uid {
            // Another object took the name, and the stream did not show the end of the first one.
            vec![Change::Deleted(old), Change::Added(object)]
        } else if before.resource_version == after.resource_version {
            Vec::new()
        } else {
            vec![Change::Modified { old, new: object }]
        }
    }

    /// The object is gone, having last been like this.
    pub(super) fn delete(&mut self, last: K) -> Vec<Change<K>> {
        match self.remove(namespace(last.meta()), name(last.meta())) {
            Some(_) => vec![Change::Deleted(Arc::new(last))],
            None => Vec::new(),
        }
    }

    /// A resync has ended: what it did not show is gone.
    pub(super) fn keep(&mut self, seen: &Seen) -> Vec<Change<K>> {
        let missing: Vec<_> = self.iter().filter(|object| !seen.has(object.meta())).cloned().collect();
        for object in &missing {
            self.remove(namespace(object.meta()), name(object.meta()));
        }
        missing.into_iter().map(Change::Deleted).collect()
    }

    fn insert(&mut self, object: Arc<K>) -> Option<Arc<K>> {
        let meta = object.meta();
        if !self.objects.contains_key(namespace(meta)) {
            self.objects.insert(namespace(meta).to_owned(), HashMap::new());
        }
        let old = self.objects.get_mut(namespace(meta))?.insert(name(meta).to_owned(), object.clone());
        if let Some(old) = &old {
            self.release(old.meta());
        }
        if let Some(owner) = controller(meta) {
            let uid = meta.uid.clone().unwrap_or_default();
            self.controlled.entry(owner.to_owned()).or_default().insert(uid, object.clone());
        }
        old
    }

    fn remove(&mut self, namespace: &str, name: &str) -> Option<Arc<K>> {
        let objects = self.objects.get_mut(namespace)?;
        let old = objects.remove(name)?;
        if objects.is_empty() {
            self.objects.remove(namespace);
        }
        self.release(old.meta());
        Some(old)
    }

    fn release(&mut self, meta: &ObjectMeta) {
        let Some(owner) = controller(meta) else { return };
        let Some(owned) = self.controlled.get_mut(owner) else { return };
        owned.remove(meta.uid.as_deref().unwrap_or_default());
        if owned.is_empty() {
            self.controlled.remove(owner);
        }
    }
}

impl Seen {
    pub(super) fn add(&mut self, meta: &ObjectMeta) {
        self.0.entry(namespace(meta).to_owned()).or_default().insert(name(meta).to_owned());
    }

    fn has(&self, meta: &ObjectMeta) -> bool {
        self.0.get(namespace(meta)).is_some_and(|names| names.contains(name(meta)))
    }
}

fn namespace(meta: &ObjectMeta) -> &str {
    meta.namespace.as_deref().unwrap_or_default()
}

fn name(meta: &ObjectMeta) -> &str {
    meta.name.as_deref().unwrap_or_default()
}

fn controller(meta: &ObjectMeta) -> Option<&str> {
    meta.owner_references.iter().flatten().find(|owner| owner.controller == Some(true)).map(|owner| owner.uid.as_str())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

    use super::*;
    use crate::partial::Partial;

    fn object(name: &str, uid: &str, version: &str, owner: Option<&str>) -> Partial {
        let owner = owner.map(|uid| OwnerReference { controller: Some(true), uid: uid.into(), ..Default::default() });
        Partial {
            metadata: ObjectMeta {
                namespace: Some("shop".into()),
                name: Some(name.into()),
                uid: Some(uid.into()),
                resource_version: Some(version.into()),
                owner_references: owner.map(|owner| vec![owner]),
                ..Default::default()
            },
            ..Default::default()
        }
    }

    fn told(changes: &[Change<Partial>]) -> Vec<String> {
        let version = |object: &Partial| object.metadata.resource_version.clone().unwrap_or_default();
        let tell = |change: &Change<Partial>| match change {
            Change::Added(new) => format!("+{}", version(new)),
            Change::Modified { old, new } => format!("{}→{}", version(old), version(new)),
            Change::Deleted(old) => format!("-{}", version(old)),
        };
        changes.iter().map(tell).collect()
    }

    #[test]
    fn events_become_changes() {
        let mut index = Index::default();
        assert_eq!(told(&index.put(object("web", "u1", "1", None))), ["+1"]);
        assert_eq!(told(&index.put(object("web", "u1", "1", None))), [""; 0], "a repeated state is no change");
        assert_eq!(told(&index.put(object("web", "u1", "2", None))), ["1→2"]);
        assert_eq!(told(&index.put(object("web", "u2", "3", None))), ["-2", "+3"], "another object of that name");
        assert_eq!(told(&index.delete(object("web", "u2", "4", None))), ["-4"]);
        assert_eq!(told(&index.delete(object("web", "u2", "4", None))), [""; 0]);
        assert!(index.objects.is_empty(), "empty namespaces take no room");
    }

    #[test]
    fn a_resync_shows_what_is_gone() {
        let mut index = Index::default();
        for name in ["a", "b", "c"] {
            index.put(object(name, name, "1", None));
        }
        let mut seen = Seen::default();
        seen.add(&object("a", "a", "1", None).metadata);
        seen.add(&object("c", "c", "1", None).metadata);
        assert_eq!(told(&index.keep(&seen)), ["-1"]);
        assert!(index.get("shop", "b").is_none() && index.get("shop", "a").is_some());
        assert_eq!(index.iter_in("shop").count(), 2);
    }

    #[test]
    fn owners_find_what_they_control() {
        let mut index = Index::default();
        index.put(object("a", "a", "1", Some("owner-1")));
        index.put(object("b", "b", "1", Some("owner-1")));
        assert_eq!(index.controlled_by("owner-1").count(), 2);

        index.put(object("b", "b", "2", Some("owner-2")));
        assert_eq!((index.controlled_by("owner-1").count(), index.controlled_by("owner-2").count()), (1, 1));

        index.delete(object("a", "a", "3", Some("owner-1")));
        index.put(object("b", "b", "4", None));
        assert!(index.controlled.is_empty());
    }
}
