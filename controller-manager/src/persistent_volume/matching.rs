//! Which volume a claim gets. Source: `FindMatchingVolume` in `component-helpers/storage/volume` and
//! `checkVolumeSatisfyClaim` in `pv_controller.go` of Kubernetes.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kubelab_api::{
    meta::is_deleting,
    volume::{Wanted, has_access_modes},
};

use crate::claims::{access_modes, capacity, class_of_claim, class_of_volume, modes_differ, requested};

/// The volume for a claim that names none: one that is reserved for it; else, unless the scheduler is to choose, the
/// smallest that suffices, of those with the fewest ways of access.
pub fn best<'a>(
    claim: &PersistentVolumeClaim,
    volumes: &'a [Arc<PersistentVolume>],
    waits: bool,
) -> Option<&'a Arc<PersistentVolume>> {
    let (wanted, size) = (Wanted::by(claim), requested(claim));
    let is_large_enough = |volume: &PersistentVolume| capacity(volume) >= size;
    let reserved = volumes.iter().find(|volume| wanted.has_reserved(volume) && is_large_enough(volume));
    if reserved.is_some() || waits {
        return reserved;
    }
    let free = volumes.iter().filter(|volume| wanted.may_take(volume) && is_large_enough(volume));
    free.min_by_key(|volume| {
        (access_modes(volume.spec.as_ref()).len(), capacity(volume), volume.metadata.name.as_deref())
    })
}

/// Why a claim cannot have the volume that it names.
pub fn objection(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> Option<String> {
    let name = volume.metadata.name.as_deref().unwrap_or_default();
    if is_deleting(&volume.metadata) {
        Some(format!("the volume is marked for deletion {name:?}"))
    } else if capacity(volume) < requested(claim) {
        Some("requested PV is too small".to_owned())
    } else if class_of_volume(volume) != class_of_claim(claim) {
        Some("storageClassName does not match".to_owned())
    } else if modes_differ(claim, volume) {
        Some("incompatible volumeMode".to_owned())
    } else if !has_access_modes(volume, claim) {
        Some("incompatible accessMode".to_owned())
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Value, json};

    use super::*;

    fn claim(more: Value) -> PersistentVolumeClaim {
        let mut spec = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "5Gi"}}});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let metadata = json!({"namespace": "shop", "name": "data", "uid": "u1"});
        serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap()
    }

    fn volume(name: &str, size: &str, more: Value) -> Arc<PersistentVolume> {
        let mut spec = json!({"accessModes": ["ReadWriteOnce"], "capacity": {"storage": size}});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let metadata = json!({"name": name, "labels": {"disk": name}});
        let volume = json!({"metadata": metadata, "spec": spec, "status": {"phase": "Available"}});
        Arc::new(serde_json::from_value(volume).unwrap())
    }

    #[test]
    fn the_smallest_that_suffices() {
        let none = || json!({});
        let reserved = || json!({"claimRef": {"namespace": "shop", "name": "data"}});
        let taken = || json!({"claimRef": {"namespace": "shop", "name": "logs"}});
        let mut pending = (*volume("pending", "5Gi", none())).clone();
        pending.status.get_or_insert_default().phase = Some("Pending".into());
        let mut deleted = (*volume("deleted", "5Gi", none())).clone();
        deleted.metadata.deletion_timestamp = Some(kubelab_client::clock::now());
        for (why, claim, volumes, expected) in [
            ("none is there", claim(none()), vec![], None),
            ("too small", claim(none()), vec![volume("a", "4Gi", none())], None),
            (
                "the smallest of three",
                claim(none()),
                vec![volume("a", "9Gi", none()), volume("b", "5Gi", none()), volume("c", "7Gi", none())],
                Some("b"),
            ),
            (
                "units do not matter",
                claim(none()),
                vec![volume("a", "6G", none()), volume("b", "6000Mi", none())],
                Some("a"),
            ),
            ("of another class", claim(json!({"storageClassName": "fast"})), vec![volume("a", "9Gi", none())], None),
            (
                "of its class",
                claim(json!({"storageClassName": "fast"})),
                vec![volume("a", "5Gi", none()), volume("b", "9Gi", json!({"storageClassName": "fast"}))],
                Some("b"),
            ),
            (
                "more ways of access than needed, only where it must be",
                claim(none()),
                vec![
                    volume("a", "5Gi", json!({"accessModes": ["ReadWriteOnce", "ReadWriteMany"]})),
                    volume("b", "9Gi", none()),
                ],
                Some("b"),
            ),
            (
                "not accessible so",
                claim(json!({"accessModes": ["ReadWriteOnce", "ReadWriteMany"]})),
                vec![volume("a", "5Gi", none())],
                None,
            ),
            ("a device", claim(json!({"volumeMode": "Block"})), vec![volume("a", "5Gi", none())], None),
            (
                "chosen by its labels",
                claim(json!({"selector": {"matchLabels": {"disk": "b"}}})),
                vec![volume("a", "5Gi", none()), volume("b", "9Gi", none())],
                Some("b"),
            ),
            (
                "reserved for it, although another is smaller",
                claim(none()),
                vec![volume("a", "5Gi", none()), volume("b", "9Gi", reserved())],
                Some("b"),
            ),
            ("reserved for it, and too small", claim(none()), vec![volume("b", "1Gi", reserved())], None),
            ("taken by another", claim(none()), vec![volume("a", "5Gi", taken())], None),
            ("not available yet", claim(none()), vec![Arc::new(pending)], None),
            ("going away", claim(none()), vec![Arc::new(deleted)], None),
            (
                "with other attributes",
                claim(json!({"volumeAttributesClassName": "quick"})),
                vec![volume("a", "5Gi", none())],
                None,
            ),
        ] {
            let found = best(&claim, &volumes, false).and_then(|volume| volume.metadata.name.as_deref());
            assert_eq!(found, expected, "{why}");
        }
        let volumes = [volume("a", "5Gi", none()), volume("b", "9Gi", reserved())];
        assert!(best(&claim(none()), &volumes[..1], true).is_none(), "the scheduler chooses");
        assert!(best(&claim(none()), &volumes, true).is_some(), "it has chosen");
    }

    #[test]
    fn what_is_asked_for_by_name_must_suit_too() {
        for (volume, claim, expected) in [
            (volume("a", "5Gi", json!({})), claim(json!({})), None),
            (volume("a", "1Gi", json!({})), claim(json!({})), Some("requested PV is too small")),
            (
                volume("a", "5Gi", json!({})),
                claim(json!({"storageClassName": "x"})),
                Some("storageClassName does not match"),
            ),
            (volume("a", "5Gi", json!({"volumeMode": "Block"})), claim(json!({})), Some("incompatible volumeMode")),
            (
                volume("a", "5Gi", json!({"accessModes": ["ReadOnlyMany"]})),
                claim(json!({})),
                Some("incompatible accessMode"),
            ),
        ] {
            assert_eq!(objection(&volume, &claim).as_deref(), expected);
        }
    }
}
