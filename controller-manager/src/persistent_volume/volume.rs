//! What is to be done about a volume. Source: `syncVolume` and `reclaimVolume` in `pv_controller.go` of Kubernetes.

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kubelab_api::meta::annotation;

use super::claim::Telling;
use crate::claims::{annotations::PROVISIONED_BY, claim_of, modes_differ, reclaim_policy, volume_of};

/// What is to be done about a volume.
#[derive(Debug, PartialEq)]
pub enum Step {
    /// It is in this phase.
    Phase(&'static str),
    /// Its claim has not named it yet: that has to be looked at.
    LookAtClaim,
    /// It was to be its claim's, but one is a file system and the other a device.
    Mismatch,
    /// Its claim is gone.
    Release,
    /// Its claim has another volume.
    Unbind,
}

/// What is to be done about a volume whose claim is this, or is gone.
pub fn decide(volume: &PersistentVolume, claim: Option<&PersistentVolumeClaim>) -> Step {
    let Some((_, Some(uid))) = claim_of(volume) else { return Step::Phase("Available") };
    // Another claim of that name is not the volume's.
    let Some(claim) = claim.filter(|claim| claim.metadata.uid.as_deref() == Some(uid)) else { return Step::Release };
    let name = volume_of(claim);
    if name.is_empty() {
        if modes_differ(claim, volume) { Step::Mismatch } else { Step::LookAtClaim }
    } else if Some(name) == volume.metadata.name.as_deref() {
        Step::Phase("Bound")
    } else if annotation(&volume.metadata, PROVISIONED_BY).is_some() && reclaim_policy(volume) == "Delete" {
        // It was made for this claim, which needs it no longer.
        Step::Release
    } else {
        Step::Unbind
    }
}

/// What becomes of a volume that was released.
#[derive(Debug, PartialEq)]
pub enum Reclaim {
    /// It stays as it is: an administrator decides, or whoever has made it.
    Leave,
    /// It is deleted.
    Delete,
    /// It is emptied and given to others.
    Recycle,
    /// That cannot be done yet.
    Postpone(Telling),
    /// That cannot be done.
    Fail(Telling),
}

/// What becomes of a volume that was released, and that these pods still use.
pub fn reclaim(volume: &PersistentVolume, users: &[String]) -> Reclaim {
    let Some(spec) = &volume.spec else { return Reclaim::Leave };
    let name = volume.metadata.name.as_deref().unwrap_or_default();
    match reclaim_policy(volume) {
        "Retain" => Reclaim::Leave,
        "Recycle" if !users.is_empty() => Reclaim::Postpone(Telling::normal(
            "VolumeFailedRecycle",
            format!("Volume is used by pods: {}", users.join(",")),
        )),
        "Recycle" if spec.host_path.is_some() || spec.nfs.is_some() => Reclaim::Recycle,
        "Recycle" => Reclaim::Fail(Telling::warning("VolumeFailedRecycle", "No recycler plugin found for the volume!")),
        "Delete" if annotation(&volume.metadata, PROVISIONED_BY).is_some_and(|by| !by.is_empty()) => Reclaim::Leave,
        "Delete" => match &spec.host_path {
            Some(source) if is_temporary(&source.path) => Reclaim::Delete,
            Some(source) => Reclaim::Fail(Telling::warning(
                "VolumeFailedDelete",
                format!("host_path deleter only supports /tmp/.+ but received provided {}", source.path),
            )),
            None => Reclaim::Fail(Telling::warning(
                "VolumeFailedDelete",
                format!("error getting deleter volume plugin for volume {name:?}: no volume plugin matched"),
            )),
        },
        _ => Reclaim::Fail(Telling::warning(
            "VolumeUnknownReclaimPolicy",
            "Volume has unrecognized PersistentVolumeReclaimPolicy",
        )),
    }
}

/// Only such paths are deleted. Source: `hostPathDeleter.Delete`.
fn is_temporary(path: &str) -> bool {
    path.strip_prefix("/tmp/").is_some_and(|rest| !rest.is_empty())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Value, json};

    use super::*;

    fn volume(spec: Value, provisioned: bool) -> PersistentVolume {
        let annotations = provisioned.then(|| json!({PROVISIONED_BY: "disk.example.com"}));
        serde_json::from_value(json!({"metadata": {"name": "pv", "annotations": annotations}, "spec": spec})).unwrap()
    }

    fn claim(uid: &str, volume: &str, mode: &str) -> PersistentVolumeClaim {
        serde_json::from_value(json!({
            "metadata": {"namespace": "shop", "name": "data", "uid": uid},
            "spec": {"volumeName": volume, "volumeMode": mode},
        }))
        .unwrap()
    }

    #[test]
    fn a_volume_follows_its_claim() {
        let file_system = "Filesystem";
        let reserved = json!({"claimRef": {"namespace": "shop", "name": "data"}});
        let bound = json!({"claimRef": {"namespace": "shop", "name": "data", "uid": "u1"}});
        let deletable = json!({
            "claimRef": {"namespace": "shop", "name": "data", "uid": "u1"},
            "persistentVolumeReclaimPolicy": "Delete",
        });
        for (why, volume, claim, expected) in [
            ("nobody's", volume(json!({}), false), None, Step::Phase("Available")),
            ("reserved", volume(reserved, false), None, Step::Phase("Available")),
            ("its claim is gone", volume(bound.clone(), false), None, Step::Release),
            ("a namesake", volume(bound.clone(), false), Some(claim("u2", "pv", file_system)), Step::Release),
            ("bound", volume(bound.clone(), false), Some(claim("u1", "pv", file_system)), Step::Phase("Bound")),
            ("half bound", volume(bound.clone(), false), Some(claim("u1", "", file_system)), Step::LookAtClaim),
            ("of another mode", volume(bound.clone(), false), Some(claim("u1", "", "Block")), Step::Mismatch),
            ("its claim has another", volume(bound, false), Some(claim("u1", "x", file_system)), Step::Unbind),
            (
                "its claim has another, and this was made for it",
                volume(deletable, true),
                Some(claim("u1", "x", file_system)),
                Step::Release,
            ),
        ] {
            assert_eq!(decide(&volume, claim.as_ref()), expected, "{why}");
        }
    }

    #[test]
    fn a_released_volume_meets_its_policy() {
        let spec = |policy: &str, source: Value| {
            let mut spec = source;
            spec["persistentVolumeReclaimPolicy"] = policy.into();
            spec
        };
        let disk = || json!({"csi": {"driver": "disk.example.com", "volumeHandle": "d"}});
        let path = |path: &str| json!({"hostPath": {"path": path}});
        for (why, volume, users, expected) in [
            ("kept", volume(spec("Retain", path("/tmp/a")), false), vec![], ""),
            ("deleted", volume(spec("Delete", path("/tmp/a")), false), vec![], "delete"),
            (
                "not deleted",
                volume(spec("Delete", path("/data")), false),
                vec![],
                "host_path deleter only supports /tmp/.+ but received provided /data",
            ),
            ("left to its provisioner", volume(spec("Delete", disk()), true), vec![], ""),
            (
                "made by hand",
                volume(spec("Delete", disk()), false),
                vec![],
                "error getting deleter volume plugin for volume \"pv\": no volume plugin matched",
            ),
            ("emptied", volume(spec("Recycle", path("/data")), false), vec![], "recycle"),
            (
                "still used",
                volume(spec("Recycle", path("/data")), false),
                vec!["shop/web".to_owned()],
                "Volume is used by pods: shop/web",
            ),
            (
                "not to be emptied",
                volume(spec("Recycle", disk()), false),
                vec![],
                "No recycler plugin found for the volume!",
            ),
        ] {
            let shown = match reclaim(&volume, &users) {
                Reclaim::Leave => String::new(),
                Reclaim::Delete => "delete".into(),
                Reclaim::Recycle => "recycle".into(),
                Reclaim::Postpone(telling) | Reclaim::Fail(telling) => telling.message,
            };
            assert_eq!(shown, expected, "{why}");
        }
    }
}
