//! What claims, volumes, classes and pods say of each other.
//! Source: `staging/src/k8s.io/component-helpers/storage/volume`, `pkg/volume/util` in Kubernetes.

use std::sync::Arc;

use k8s_openapi::{
    api::{
        core::v1::{PersistentVolume, PersistentVolumeClaim, PersistentVolumeSpec, Pod},
        storage::v1::StorageClass,
    },
    apimachinery::pkg::api::resource::Quantity as Text,
};
use kubelab_api::{
    Quantity,
    meta::{annotation, created},
    pod::is_terminal,
    well_known::annotation::DEFAULT_STORAGE_CLASS,
};
use kubelab_client::{Cache, controller::Key};

use crate::relation::Relation;

/// The annotations by which the storage loops, the scheduler and provisioners speak with each other.
pub mod annotations {
    /// On a claim: it was bound once, so its volume must be there. Any value.
    pub const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";
    /// On a claim or a volume: the loop chose the other, not the user. Any value.
    pub const BOUND_BY_CONTROLLER: &str = "pv.kubernetes.io/bound-by-controller";
    /// On a volume: who made it.
    pub const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";
    /// On a claim: who is to make its volume.
    pub const PROVISIONER: &str = "volume.kubernetes.io/storage-provisioner";
    /// The same, as it was called before.
    pub const PROVISIONER_BETA: &str = "volume.beta.kubernetes.io/storage-provisioner";
    /// On a claim that waits for its first consumer: the node that the scheduler chose for that pod.
    pub const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
    /// On a claim or a volume: its class, before there was a field.
    pub const CLASS_BETA: &str = "volume.beta.kubernetes.io/storage-class";
    /// On a class: it is the default, before that was stable.
    pub const DEFAULT_CLASS_BETA: &str = "storageclass.beta.kubernetes.io/is-default-class";
}

/// The provisioner of classes whose volumes are made by hand. Source: the documentation of local volumes.
pub const NO_PROVISIONER: &str = "kubernetes.io/no-provisioner";

/// The name of storage among resources.
pub const STORAGE: &str = "storage";

/// A claim's class; empty where it wants none. Source: `GetPersistentVolumeClaimClass`.
pub fn class_of_claim(claim: &PersistentVolumeClaim) -> &str {
    let of_spec = || claim.spec.as_ref()?.storage_class_name.as_deref();
    annotation(&claim.metadata, annotations::CLASS_BETA).or_else(of_spec).unwrap_or_default()
}

/// The claim says which class it wants, be it none. Source: `PersistentVolumeClaimHasClass`.
pub fn says_class(claim: &PersistentVolumeClaim) -> bool {
    annotation(&claim.metadata, annotations::CLASS_BETA).is_some()
        || claim.spec.as_ref().is_some_and(|spec| spec.storage_class_name.is_some())
}

/// A volume's class. Source: `GetPersistentVolumeClass`.
pub fn class_of_volume(volume: &PersistentVolume) -> &str {
    let of_spec = || volume.spec.as_ref()?.storage_class_name.as_deref();
    annotation(&volume.metadata, annotations::CLASS_BETA).or_else(of_spec).unwrap_or_default()
}

/// Claims of this class wait until a pod that uses them is placed.
pub fn waits_for_consumer(class: &StorageClass) -> bool {
    class.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer")
}

/// The class of claims that name none: of several the newest, then the first by name. Source: `GetDefaultClass`.
pub fn default_class(classes: &[Arc<StorageClass>]) -> Option<&Arc<StorageClass>> {
    let is_default = |class: &&Arc<StorageClass>| {
        [DEFAULT_STORAGE_CLASS, annotations::DEFAULT_CLASS_BETA]
            .into_iter()
            .any(|key| annotation(&class.metadata, key) == Some("true"))
    };
    classes.iter().filter(is_default).min_by(|a, b| {
        created(&b.metadata).cmp(&created(&a.metadata)).then_with(|| a.metadata.name.cmp(&b.metadata.name))
    })
}

/// The volume that a claim names; empty for none.
pub fn volume_of(claim: &PersistentVolumeClaim) -> &str {
    claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref()).unwrap_or_default()
}

/// How much a claim asks for.
pub fn requested(claim: &PersistentVolumeClaim) -> Quantity {
    let resources = claim.spec.as_ref().and_then(|spec| spec.resources.as_ref());
    amount(resources.and_then(|resources| resources.requests.as_ref()?.get(STORAGE)))
}

/// How large a volume is.
pub fn capacity(volume: &PersistentVolume) -> Quantity {
    amount(volume.spec.as_ref().and_then(|spec| spec.capacity.as_ref()?.get(STORAGE)))
}

/// An amount that is said, or none.
pub fn amount(text: Option<&Text>) -> Quantity {
    text.and_then(|text| Quantity::try_from(text).ok()).unwrap_or(Quantity::ZERO)
}

/// A volume's phase.
pub fn phase(volume: &PersistentVolume) -> &str {
    volume.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

/// What becomes of a volume when its claim is gone.
pub fn reclaim_policy(volume: &PersistentVolume) -> &str {
    let policy = volume.spec.as_ref().and_then(|spec| spec.persistent_volume_reclaim_policy.as_deref());
    policy.unwrap_or("Retain")
}

/// The claim that a volume is for: its key, and its uid where it is said.
pub fn claim_of(volume: &PersistentVolume) -> Option<(Key, Option<&str>)> {
    let reference = volume.spec.as_ref()?.claim_ref.as_ref()?;
    let namespace = reference.namespace.clone().unwrap_or_default();
    let name = reference.name.clone().unwrap_or_default();
    Some((Key { namespace, name }, reference.uid.as_deref().filter(|uid| !uid.is_empty())))
}

/// The volume is for this claim, by its name alone where the user has bound it beforehand. Source: `IsVolumeBoundToClaim`.
pub fn is_for(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    claim_of(volume).is_some_and(|(key, uid)| {
        key == Key::of(claim) && uid.is_none_or(|uid| claim.metadata.uid.as_deref() == Some(uid))
    })
}

/// One is a file system, the other a device. Source: `CheckVolumeModeMismatches`.
pub fn modes_differ(claim: &PersistentVolumeClaim, volume: &PersistentVolume) -> bool {
    const DEFAULT: &str = "Filesystem";
    let wanted = claim.spec.as_ref().and_then(|spec| spec.volume_mode.as_deref()).unwrap_or(DEFAULT);
    let offered = volume.spec.as_ref().and_then(|spec| spec.volume_mode.as_deref()).unwrap_or(DEFAULT);
    wanted != offered
}

/// The volume can be accessed in every way that the claim asks for. Source: `CheckAccessModes`.
pub fn has_access_modes(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let offered = access_modes(volume.spec.as_ref());
    claim.spec.iter().flat_map(|spec| spec.access_modes.iter().flatten()).all(|mode| offered.contains(mode))
}

/// How a volume can be accessed.
pub fn access_modes(spec: Option<&PersistentVolumeSpec>) -> &[String] {
    spec.and_then(|spec| spec.access_modes.as_deref()).unwrap_or_default()
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

    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_volume_is_for_one_claim() {
        let claim: PersistentVolumeClaim =
            serde_json::from_value(json!({"metadata": {"namespace": "shop", "name": "data", "uid": "u1"}})).unwrap();
        for (reference, expected) in [
            (Value::Null, false),
            (json!({"namespace": "shop", "name": "data"}), true),
            (json!({"namespace": "shop", "name": "data", "uid": "u1"}), true),
            (json!({"namespace": "shop", "name": "data", "uid": "u0"}), false),
            (json!({"namespace": "shop", "name": "logs"}), false),
            (json!({"namespace": "team", "name": "data"}), false),
        ] {
            let volume = json!({"metadata": {"name": "pv"}, "spec": {"claimRef": reference}});
            let volume: PersistentVolume = serde_json::from_value(volume).unwrap();
            assert_eq!(is_for(&volume, &claim), expected, "{reference}");
        }
    }

    #[test]
    fn the_newest_default_class_counts() {
        let class = |name: &str, second: u8, default: &str| -> Arc<StorageClass> {
            Arc::new(
                serde_json::from_value(json!({"provisioner": "p", "metadata": {
                    "name": name,
                    "creationTimestamp": format!("2026-11-20T12:00:{second:02}Z"),
                    "annotations": {DEFAULT_STORAGE_CLASS: default},
                }}))
                .unwrap(),
            )
        };
        for (classes, expected) in [
            (vec![], None),
            (vec![class("a", 1, "false")], None),
            (vec![class("a", 1, "true"), class("b", 2, "true"), class("c", 3, "no")], Some("b")),
            (vec![class("b", 1, "true"), class("a", 1, "true")], Some("a")),
        ] {
            let default = default_class(&classes).and_then(|class| class.metadata.name.as_deref());
            assert_eq!(default, expected);
        }
    }

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
