//! What claims, volumes and classes say of each other, and which volume a claim may have.
//! Source: `staging/src/k8s.io/component-helpers/storage/volume`, `pkg/volume/util` in Kubernetes.

use std::sync::Arc;

use k8s_openapi::{
    api::{
        core::v1::{PersistentVolume, PersistentVolumeClaim, PersistentVolumeSpec},
        storage::v1::StorageClass,
    },
    apimachinery::pkg::api::resource::Quantity as Text,
};

use crate::{
    Quantity,
    meta::{annotation, created, is_deleting},
    selector::label::Selector,
    well_known::annotation::DEFAULT_STORAGE_CLASS,
};

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

/// The volume is for this claim, by its name alone where the user has bound it beforehand. Source: `IsVolumeBoundToClaim`.
pub fn is_for(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let Some(reference) = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref()) else { return false };
    let uid = reference.uid.as_ref().filter(|uid| !uid.is_empty());
    reference.namespace == claim.metadata.namespace
        && reference.name == claim.metadata.name
        && uid.is_none_or(|uid| claim.metadata.uid.as_ref() == Some(uid))
}

/// What a claim asks of volumes. Source: `FindMatchingVolume`, which finds for the binder and for the scheduler; both go
/// through volumes in an order of their own, which their sizes are a part of.
pub struct Wanted<'a> {
    claim: &'a PersistentVolumeClaim,
    selector: Option<Selector>,
}

impl<'a> Wanted<'a> {
    /// What this claim asks for.
    pub fn by(claim: &'a PersistentVolumeClaim) -> Self {
        let selector = claim.spec.as_ref().and_then(|spec| spec.selector.as_ref());
        // The apiserver has validated the selector.
        let selector = selector.map(|selector| Selector::from_typed(Some(selector)).unwrap_or(Selector::Nothing));
        Self { claim, selector }
    }

    /// The volume is reserved for the claim and will do, its size aside.
    pub fn has_reserved(&self, volume: &PersistentVolume) -> bool {
        is_for(volume, self.claim) && self.will_do(volume)
    }

    /// The volume is free and will do, its size aside.
    pub fn may_take(&self, volume: &PersistentVolume) -> bool {
        volume.spec.as_ref().is_some_and(|spec| spec.claim_ref.is_none())
            && phase(volume) == "Available"
            && class_of_volume(volume) == class_of_claim(self.claim)
            && self.selector.as_ref().is_none_or(|selector| selector.matches(volume.metadata.labels.as_ref()))
            && self.will_do(volume)
    }

    fn will_do(&self, volume: &PersistentVolume) -> bool {
        has_access_modes(volume, self.claim)
            && !modes_differ(self.claim, volume)
            && attributes_match(volume, self.claim)
            && !is_deleting(&volume.metadata)
    }
}

fn attributes_match(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let wanted = claim.spec.as_ref().and_then(|spec| spec.volume_attributes_class_name.as_deref());
    let offered = volume.spec.as_ref().and_then(|spec| spec.volume_attributes_class_name.as_deref());
    wanted.unwrap_or_default() == offered.unwrap_or_default()
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
}
