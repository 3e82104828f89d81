//! What happens to pods and their owners becomes keys of owners; what an owner expected to happen is ticked off.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use kubelab_api::meta::controller_of;
use kubelab_client::{Cache, Object, cache::Change, controller::Key, queue::Queue};

use crate::{expectations::Expectations, ownership::owner_key};

/// Adds the key of an owner to its queue when it changes. What was expected of another object of its name is forgotten.
pub fn follow_owners<O: Object>(owners: &Cache<O>, queue: &Queue<Key>, expectations: &Arc<Expectations>) {
    let (queue, expectations) = (queue.clone(), Arc::clone(expectations));
    owners.on_change(move |change| {
        let key = Key::of(&**change.object());
        let is_another = |old: &O, new: &O| old.metadata().uid != new.metadata().uid;
        match change {
            Change::Deleted(_) => expectations.forget(&key),
            Change::Modified { old, new } if is_another(old, new) => expectations.forget(&key),
            _ => {}
        }
        queue.add(key);
    });
}

/// Adds the key of a pod's owner to its queue when the pod changes; those of all owners that `matches` when it has none,
/// as one of them may adopt it.
pub fn follow<O: Object>(
    pods: &Cache<Pod>,
    owners: &Cache<O>,
    queue: &Queue<Key>,
    expectations: &Arc<Expectations>,
    matches: fn(&O, &Pod) -> bool,
) {
    let (queue, owners, expectations) = (queue.clone(), owners.clone(), Arc::clone(expectations));
    pods.on_change(move |change| {
        let enqueue_owner_or_matching = |pod: &Pod| match owner_key::<O>(&pod.metadata) {
            Some(key) => queue.add(key),
            None if controller_of(&pod.metadata).is_none() => {
                for owner in owners.list_in(pod.metadata.namespace.as_deref().unwrap_or_default()) {
                    if matches(&*owner, pod) {
                        queue.add(Key::of(&*owner));
                    }
                }
            }
            None => {}
        };
        let gone = |pod: &Pod| {
            if let Some(key) = owner_key::<O>(&pod.metadata) {
                expectations.deletion_observed(&key, pod.metadata.uid.as_deref().unwrap_or_default());
                queue.add(key);
            }
        };
        match change {
            // A pod that is on its way out when this process starts counts as a deletion, never as a creation.
            Change::Added(pod) if pod.metadata.deletion_timestamp.is_some() => gone(pod),
            Change::Added(pod) => {
                if let Some(key) = owner_key::<O>(&pod.metadata) {
                    expectations.creations_observed(&key, 1);
                }
                enqueue_owner_or_matching(pod);
            }
            Change::Modified { old, new } => {
                let (before, after) = (owner_key::<O>(&old.metadata), owner_key::<O>(&new.metadata));
                if let Some(key) = before.filter(|_| controller_of(&old.metadata) != controller_of(&new.metadata)) {
                    queue.add(key);
                }
                if new.metadata.deletion_timestamp.is_some() {
                    gone(new);
                } else if after.is_some()
                    || old.metadata.labels != new.metadata.labels
                    || old.metadata.owner_references != new.metadata.owner_references
                {
                    enqueue_owner_or_matching(new);
                }
            }
            Change::Deleted(pod) => gone(pod),
        }
    });
}
