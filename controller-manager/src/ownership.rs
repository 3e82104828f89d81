//! Who controls an object: adoption of what a selector matches, release of what it no longer does.
//! Source: `controller_ref_manager.go` in Kubernetes.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kubelab_api::{
    Error, Reason,
    meta::{controller_of, controller_reference, is_deleting},
    selector::label::Selector,
};
use kubelab_client::{Cache, Client, Object, Patch, cache::Change, controller::Key};
use serde_json::json;

/// What an owner has to do about an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It is the owner's.
    Ours,
    /// Nobody controls it and it matches: take it.
    Adopt,
    /// It no longer matches: let it go.
    Release,
    /// It is none of the owner's business.
    Ignore,
}

impl Claim {
    /// What `owner` has to do about `object`.
    pub fn of(owner: &ObjectMeta, selector: &Selector, object: &ObjectMeta) -> Self {
        let matches = selector.matches(object.labels.as_ref());
        match controller_of(object) {
            Some(controller) if Some(&controller.uid) != owner.uid.as_ref() => Claim::Ignore,
            Some(_) if matches => Claim::Ours,
            Some(_) if is_deleting(owner) => Claim::Ignore,
            Some(_) => Claim::Release,
            None if is_deleting(owner) || is_deleting(object) => Claim::Ignore,
            None if matches && owner.namespace == object.namespace => Claim::Adopt,
            None => Claim::Ignore,
        }
    }
}

/// The key of the object that controls this one, if that is an `O`.
pub fn owner_key<O: Object>(object: &ObjectMeta) -> Option<Key> {
    let controller = controller_of(object)?;
    let group = |api_version: &str| api_version.rsplit_once('/').map(|(group, _)| group.to_owned());
    (controller.kind == O::KIND && group(&controller.api_version) == group(O::API_VERSION))
        .then(|| Key { namespace: object.namespace.clone().unwrap_or_default(), name: controller.name.clone() })
}

/// Those of `candidates` that `owner` controls, after adopting and releasing.
pub async fn claim<O: Object, K: Object>(
    client: &Client,
    owner: &O,
    selector: &Selector,
    candidates: Vec<Arc<K>>,
) -> Result<Vec<Arc<K>>, Error> {
    claim_with(client, owner, selector, candidates, &[]).await
}

/// The same; what is adopted gets these finalizers, and what is released loses them.
pub async fn claim_with<O: Object, K: Object>(
    client: &Client,
    owner: &O,
    selector: &Selector,
    candidates: Vec<Arc<K>>,
    finalizers: &[&str],
) -> Result<Vec<Arc<K>>, Error> {
    let mut ours = Vec::with_capacity(candidates.len());
    let mut may_adopt = None;
    for candidate in candidates {
        match Claim::of(owner.metadata(), selector, candidate.metadata()) {
            Claim::Ours => ours.push(candidate),
            Claim::Ignore => {}
            Claim::Adopt => {
                let allowed = match may_adopt {
                    Some(allowed) => allowed,
                    None => *may_adopt.insert(still_there(client, owner).await?),
                };
                if allowed && let Some(adopted) = adopt(client, owner, &*candidate, finalizers).await? {
                    ours.push(Arc::new(adopted));
                }
            }
            Claim::Release => release(client, owner, &*candidate, finalizers).await?,
        }
    }
    Ok(ours)
}

/// A cache may show an owner that is gone or about to go: what it adopts would be deleted with it.
async fn still_there<O: Object>(client: &Client, owner: &O) -> Result<bool, Error> {
    let meta = owner.metadata();
    let key = Key::of(owner);
    let live: O = client.get(&key.namespace, &key.name).await?;
    Ok(live.metadata().uid == meta.uid && !is_deleting(live.metadata()))
}

async fn adopt<O: Object, K: Object>(
    client: &Client,
    owner: &O,
    object: &K,
    finalizers: &[&str],
) -> Result<Option<K>, Error> {
    let uid = &object.metadata().uid;
    let mut patch = json!({"metadata": {"uid": uid, "ownerReferences": [controller_reference(owner)]}});
    if !finalizers.is_empty() {
        patch["metadata"]["finalizers"] = json!(finalizers);
    }
    let key = Key::of(object);
    gone_is_none(client.patch(&key.namespace, &key.name, Patch::Strategic(patch)).await)
}

async fn release<O: Object, K: Object>(
    client: &Client,
    owner: &O,
    object: &K,
    finalizers: &[&str],
) -> Result<(), Error> {
    let reference = json!({"$patch": "delete", "uid": owner.metadata().uid});
    let mut patch = json!({"metadata": {"uid": object.metadata().uid, "ownerReferences": [reference]}});
    if !finalizers.is_empty() {
        patch["metadata"]["$deleteFromPrimitiveList/finalizers"] = json!(finalizers);
    }
    let key = Key::of(object);
    gone_is_none(client.patch::<K>(&key.namespace, &key.name, Patch::Strategic(patch)).await)?;
    Ok(())
}

fn gone_is_none<T>(result: Result<T, Error>) -> Result<Option<T>, Error> {
    match result {
        Ok(object) => Ok(Some(object)),
        Err(error) if error.reason == Reason::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The objects of a cache that nobody controls, so that an owner need not look through a whole namespace for them.
pub struct Orphans<K> {
    cache: Cache<K>,
    keys: Arc<Mutex<HashSet<Key>>>,
}

impl<K: Object> Orphans<K> {
    /// Follows a cache.
    pub fn of(cache: &Cache<K>) -> Self {
        let keys: Arc<Mutex<HashSet<Key>>> = Arc::default();
        let shared = Arc::clone(&keys);
        cache.on_change(move |change| match change {
            Change::Added(object) | Change::Modified { new: object, .. } => {
                let orphaned = controller_of(object.metadata()).is_none();
                let mut keys = lock(&shared);
                if orphaned {
                    keys.insert(Key::of(&**object));
                } else if !keys.is_empty() {
                    keys.remove(&Key::of(&**object));
                }
            }
            Change::Deleted(object) => {
                lock(&shared).remove(&Key::of(&**object));
            }
        });
        Self { cache: cache.clone(), keys }
    }

    /// The objects that an owner controls or might adopt. Orphans are read first: one that is adopted meanwhile is then seen
    /// twice, and counted once, while the other way round it might be seen in neither place.
    pub fn and_controlled_by(&self, owner: &ObjectMeta) -> Vec<Arc<K>> {
        let mut orphans = self.list_in(owner.namespace.as_deref().unwrap_or_default());
        let controlled = self.cache.controlled_by(owner.uid.as_deref().unwrap_or_default());
        orphans.retain(|orphan| !controlled.iter().any(|object| object.metadata().uid == orphan.metadata().uid));
        orphans.extend(controlled);
        orphans
    }

    fn list_in(&self, namespace: &str) -> Vec<Arc<K>> {
        let keys: Vec<Key> = lock(&self.keys).iter().filter(|key| key.namespace == namespace).cloned().collect();
        keys.iter().filter_map(|key| self.cache.get(&key.namespace, &key.name)).collect()
    }
}

fn lock(keys: &Mutex<HashSet<Key>>) -> MutexGuard<'_, HashSet<Key>> {
    keys.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
    use serde_json::Value;

    use super::*;

    fn meta(value: Value) -> ObjectMeta {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn what_matches_and_is_free_is_adopted_and_what_no_longer_matches_is_released() {
        let labels: LabelSelector = serde_json::from_value(json!({"matchLabels": {"app": "web"}})).unwrap();
        let selector = Selector::from_typed(Some(&labels)).unwrap();
        let of = |uid: &str| json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "x", "uid": uid, "controller": true}]);
        let (web, db) = (json!({"app": "web"}), json!({"app": "db"}));
        let deletion = json!("2026-11-20T12:00:00Z");
        for (why, owner_deletion, labels, owners, deletion, expected) in [
            ("its own", json!(null), &web, of("me"), json!(null), Claim::Ours),
            ("another's", json!(null), &web, of("other"), json!(null), Claim::Ignore),
            ("free", json!(null), &web, json!([]), json!(null), Claim::Adopt),
            ("free, of no concern", json!(null), &db, json!([]), json!(null), Claim::Ignore),
            ("free, on its way out", json!(null), &web, json!([]), deletion.clone(), Claim::Ignore),
            ("relabelled", json!(null), &db, of("me"), json!(null), Claim::Release),
            ("the owner goes: nothing is adopted", deletion.clone(), &web, json!([]), json!(null), Claim::Ignore),
            ("the owner goes: nothing is released", deletion.clone(), &db, of("me"), json!(null), Claim::Ignore),
            ("the owner goes: it still counts", deletion, &web, of("me"), json!(null), Claim::Ours),
        ] {
            let owner = meta(json!({"uid": "me", "namespace": "default", "deletionTimestamp": owner_deletion}));
            let object = meta(json!({
                "uid": "pod", "namespace": "default", "labels": labels, "ownerReferences": owners,
                "deletionTimestamp": deletion,
            }));
            assert_eq!(Claim::of(&owner, &selector, &object), expected, "{why}");
        }
    }
}
