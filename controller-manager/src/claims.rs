//! What claims, volumes, classes and pods say of each other.
//! Source: `staging/src/k8s.io/component-helpers/storage/volume`, `pkg/volume/util` in Kubernetes.

use k8s_openapi::api::core::v1::{PersistentVolume, Pod};
use kubelab_api::pod::is_terminal;
pub use kubelab_api::volume::{
    NO_PROVISIONER, STORAGE, access_modes, amount, annotations, capacity, class_of_claim, class_of_volume,
    default_class, is_for, modes_differ, phase, reclaim_policy, requested, says_class, volume_of, waits_for_consumer,
};
use kubelab_client::{Cache, controller::Key};

use crate::relation::Relation;

/// The claim that a volume is for: its key, and its uid where it is said.
pub fn claim_of(volume: &PersistentVolume) -> Option<(Key, Option<&str>)> {
    let reference = volume.spec.as_ref()?.claim_ref.as_ref()?;
    let namespace = reference.namespace.clone().unwrap_or_default();
    let name = reference.name.clone().unwrap_or_default();
    Some((Key { namespace, name }, reference.uid.as_deref().filter(|uid| !uid.is_empty())))
}

/// The claims that a pod names, and those that are made for it.
pub fn claims_of(pod: &Pod) -> impl Iterator<Item = String> {
    let pod_name = pod.metadata.name.as_deref().unwrap_or_default();
    pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten()).filter_map(move |volume| {
        match (&volume.persistent_volume_claim, &volume.ephemeral) {
            (Some(claim), _) => Some(claim.claim_name.clone()),
            (None, Some(_)) => Some(format!("{pod_name}-{}", volume.name)),
            (None, None) => None,
        }
    })
}

/// Which pods use which claims.
pub fn users(pods: &Cache<Pod>) -> Relation<Pod> {
    Relation::of(pods, |pod| {
        let namespace = pod.metadata.namespace.clone().unwrap_or_default();
        claims_of(pod).map(|name| Key { namespace: namespace.clone(), name }).collect()
    })
}

/// The pod has ended, or is being deleted and none of its containers runs. Source: `IsPodTerminated`.
pub fn has_ended(pod: &Pod) -> bool {
    let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    let runs = |state: Option<&k8s_openapi::api::core::v1::ContainerState>| {
        state.is_some_and(|state| state.terminated.is_none() && state.waiting.is_none())
    };
    is_terminal(pod)
        || (pod.metadata.deletion_timestamp.is_some()
            && statuses.into_iter().all(|status| !runs(status.state.as_ref())))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_that_is_being_deleted_has_ended_when_nothing_runs() {
        let running = json!({"running": {}});
        let terminated = json!({"terminated": {"exitCode": 0}});
        for (phase, deleting, state, expected) in [
            ("Running", false, running.clone(), false),
            ("Running", true, running, false),
            ("Running", true, terminated.clone(), true),
            ("Running", false, terminated.clone(), false),
            ("Failed", false, terminated, true),
        ] {
            let pod: Pod = serde_json::from_value(json!({
                "metadata": {"deletionTimestamp": deleting.then_some("2026-11-20T12:00:00Z")},
                "status": {"phase": phase, "containerStatuses": [
                    {"name": "c", "state": state, "image": "", "imageID": "", "ready": false, "restartCount": 0}]},
            }))
            .unwrap();
            assert_eq!(has_ended(&pod), expected, "{phase} {deleting}");
        }
    }
}
