//! What else the cluster has that plugins ask for: volumes, controllers, namespaces, budgets. Upstream: informers' listers,
//! and for volumes the assume cache.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use k8s_openapi::{
    Metadata,
    api::{
        apps::v1::{ReplicaSet, StatefulSet},
        core::v1::{Namespace, PersistentVolume, PersistentVolumeClaim, ReplicationController, Service},
        policy::v1::PodDisruptionBudget,
        storage::v1::{CSIDriver, CSINode, CSIStorageCapacity, StorageClass, VolumeAttachment},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

/// Objects by kind, as they are now. Cheap to read from any thread.
#[derive(Default)]
#[allow(missing_docs)]
pub struct Objects {
    pub namespaces: Store<Namespace>,
    pub services: Store<Service>,
    pub replication_controllers: Store<ReplicationController>,
    pub replica_sets: Store<ReplicaSet>,
    pub stateful_sets: Store<StatefulSet>,
    pub budgets: Store<PodDisruptionBudget>,
    pub claims: Store<PersistentVolumeClaim>,
    pub volumes: Store<PersistentVolume>,
    pub classes: Store<StorageClass>,
    pub csi_nodes: Store<CSINode>,
    pub csi_drivers: Store<CSIDriver>,
    pub capacities: Store<CSIStorageCapacity>,
    pub attachments: Store<VolumeAttachment>,
}

/// The objects of one kind.
pub struct Store<K>(RwLock<Known<K>>);

struct Known<K> {
    objects: HashMap<Name, Arc<K>>,
    /// What the scheduler has decided and the apiserver does not say yet, with the version that it was decided on.
    assumed: HashMap<Name, Arc<K>>,
}

/// Namespace (empty for cluster-wide kinds) and name.
type Name = (String, String);

impl<K> Default for Store<K> {
    fn default() -> Self {
        Self(RwLock::new(Known { objects: HashMap::new(), assumed: HashMap::new() }))
    }
}

impl<K: Metadata<Ty = ObjectMeta>> Store<K> {
    fn read(&self) -> RwLockReadGuard<'_, Known<K>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Known<K>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The object with this name, as assumed if it is.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        let known = self.read();
        let name = (namespace.to_owned(), name.to_owned());
        known.assumed.get(&name).or_else(|| known.objects.get(&name)).cloned()
    }

    /// The object as the apiserver has it.
    pub fn get_real(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        self.read().objects.get(&(namespace.to_owned(), name.to_owned())).cloned()
    }

    /// All of them, as assumed where they are, in no order.
    pub fn list(&self) -> Vec<Arc<K>> {
        let known = self.read();
        let present = |(name, object): (&Name, &Arc<K>)| known.assumed.get(name).unwrap_or(object).clone();
        known.objects.iter().map(present).collect()
    }

    /// Looks at all of them, as the apiserver has them, in no order.
    pub fn each(&self, look: impl FnMut(&Arc<K>)) {
        self.read().objects.values().for_each(look);
    }

    /// There is none.
    pub fn is_empty(&self) -> bool {
        self.read().objects.is_empty()
    }

    /// It is now like this. What was assumed of it on an older version is settled.
    pub fn put(&self, object: Arc<K>) {
        let mut known = self.write();
        let name = name(object.metadata());
        let older = |assumed: &Arc<K>| version(assumed.metadata()) < version(object.metadata());
        if known.assumed.get(&name).is_some_and(older) {
            known.assumed.remove(&name);
        }
        known.objects.insert(name, object);
    }

    /// It is gone.
    pub fn remove(&self, object: &K) {
        let mut known = self.write();
        let name = name(object.metadata());
        known.objects.remove(&name);
        known.assumed.remove(&name);
    }

    /// The scheduler has decided that it will be like this, which the apiserver does not know yet.
    pub fn assume(&self, object: Arc<K>) {
        let name = name(object.metadata());
        self.write().assumed.insert(name, object);
    }

    /// Nothing came of it.
    pub fn restore(&self, object: &K) {
        self.write().assumed.remove(&name(object.metadata()));
    }
}

fn name(meta: &ObjectMeta) -> Name {
    (meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
}

/// Revisions of the store are numbers; an object that never was in one counts as oldest.
fn version(meta: &ObjectMeta) -> u64 {
    meta.resource_version.as_deref().and_then(|version| version.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn volume(version: &str, class: &str) -> Arc<PersistentVolume> {
        let volume = json!({
            "metadata": { "name": "a", "resourceVersion": version }, "spec": { "storageClassName": class },
        });
        Arc::new(serde_json::from_value(volume).unwrap())
    }

    #[test]
    fn what_is_assumed_holds_until_the_apiserver_knows_better() {
        let store = Store::default();
        let class =
            || store.get("", "a").and_then(|volume: Arc<PersistentVolume>| volume.spec.clone()?.storage_class_name);
        store.put(volume("9", "real"));
        store.assume(volume("9", "assumed"));
        assert_eq!(class().as_deref(), Some("assumed"));
        assert_eq!(store.list().len(), 1);
        store.put(volume("9", "again"));
        assert_eq!(class().as_deref(), Some("assumed"), "a repeated state is no news");
        store.put(volume("10", "newer"));
        assert_eq!(class().as_deref(), Some("newer"));
        store.assume(volume("10", "assumed"));
        store.restore(&volume("10", "assumed"));
        assert_eq!(class().as_deref(), Some("newer"));
        store.remove(&volume("10", ""));
        assert!(class().is_none() && store.is_empty());
    }
}
