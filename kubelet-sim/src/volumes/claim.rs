//! Which volume a claim stands for. Source of the rules and the wording: `getPVCExtractPV` and `getPVSpec` in
//! `pkg/kubelet/volumemanager/populator` of Kubernetes.

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod, Volume};

/// Why a claim cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is not there, or cannot be read.
    #[error("failed to fetch PVC from API server: {0}")]
    NoClaim(String),
    /// It belongs to another pod.
    #[error("PVC {0:?} was not created for pod {1:?} (pod is not owner)")]
    NotOwned(String, String),
    /// It has no volume yet.
    #[error("PVC is not bound")]
    Unbound,
    /// Its volume is not there, or cannot be read.
    #[error("failed to fetch PV {0} from API server: {1}")]
    NoVolume(String, String),
    /// It is a file system, and used as a device; or the other way round.
    #[error("volume {0} has volumeMode {1}, but is specified in {2}")]
    Mode(String, String, &'static str),
    /// Its volume belongs to another claim.
    #[error("found PV object {0} with an unexpected PVC {1}")]
    OtherClaim(String, String),
}

/// The claim that a volume of a pod names, and whether the pod brought it along.
pub fn name(pod: &Pod, volume: &Volume) -> Option<(String, bool)> {
    if let Some(source) = &volume.persistent_volume_claim {
        return Some((source.claim_name.clone(), false));
    }
    volume.ephemeral.as_ref()?;
    Some((format!("{}-{}", pod.metadata.name.as_deref().unwrap_or_default(), volume.name), true))
}

/// The name of a claim's volume.
pub fn volume_name(pod: &Pod, claim: &PersistentVolumeClaim, own: bool) -> Result<String, Error> {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let owners = || claim.metadata.owner_references.iter().flatten();
    if own && !owners().any(|owner| Some(&owner.uid) == pod.metadata.uid.as_ref()) {
        return Err(Error::NotOwned(text(&claim.metadata.name), text(&pod.metadata.name)));
    }
    let is_bound = claim.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Bound");
    let name = claim.spec.as_ref().and_then(|spec| spec.volume_name.clone()).filter(|name| !name.is_empty());
    name.filter(|_| is_bound).ok_or(Error::Unbound)
}

/// Refuses a volume that is not bound to a claim.
pub fn check(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> Result<(), Error> {
    let bound_to = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref());
    let uid = bound_to.and_then(|reference| reference.uid.as_ref());
    if uid.is_some() && uid == claim.metadata.uid.as_ref() {
        return Ok(());
    }
    let name = volume.metadata.name.clone().unwrap_or_default();
    Err(Error::OtherClaim(name, uid.cloned().unwrap_or_default()))
}

/// Whether a claim's volume is a block device; refuses a pod that uses it as something else. `volume` is its name in the pod.
pub fn is_block(pod: &Pod, volume: &str, claim: &PersistentVolumeClaim) -> Result<bool, Error> {
    let mode = claim.spec.as_ref().and_then(|spec| spec.volume_mode.as_deref()).unwrap_or("Filesystem");
    let is_block = mode == "Block";
    let mut containers = kubelab_api::pod::containers(pod);
    let misused = containers.any(|container| match is_block {
        true => container.volume_mounts.iter().flatten().any(|mount| mount.name == volume),
        false => container.volume_devices.iter().flatten().any(|device| device.name == volume),
    });
    match misused {
        true => {
            let place = if is_block { "volumeMounts" } else { "volumeDevices" };
            Err(Error::Mode(volume.to_owned(), mode.to_owned(), place))
        }
        false => Ok(is_block),
    }
}

/// The name under which a node's status tells of a volume, if it is one that has to be attached.
pub fn unique_name(volume: &PersistentVolume) -> Option<String> {
    let source = volume.spec.as_ref()?.csi.as_ref()?;
    Some(format!("kubernetes.io/csi/{}^{}", source.driver, source.volume_handle))
}

/// What a pod is told whose claims cannot be used; `failed` are its volumes.
pub fn message(pod: &Pod, failed: &[(String, String, Error)]) -> String {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let volumes: Vec<&str> = failed.iter().map(|(volume, ..)| volume.as_str()).collect();
    let volumes = volumes.join(" ");
    let why = failed.iter().map(|(_, claim, error)| match error {
        Error::Mode(..) => error.to_string(),
        error => format!("error processing PVC {namespace}/{claim}: {error}"),
    });
    let why: Vec<String> = why.collect();
    format!(
        "Unable to attach or mount volumes: unmounted volumes=[{volumes}], unattached volumes=[{volumes}], \
         failed to process volumes=[{volumes}]: {}",
        why.join(", ")
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_device_is_no_folder() {
        let pod: Pod = serde_json::from_value(json!({"spec": {"containers": [{"name": "c",
            "volumeMounts": [{"name": "data", "mountPath": "/data"}],
            "volumeDevices": [{"name": "disk", "devicePath": "/dev/xvda"}]}]}}))
        .unwrap();
        for (volume, mode, expected) in [
            ("data", "Filesystem", Ok(false)),
            ("disk", "Block", Ok(true)),
            ("data", "Block", Err("volume data has volumeMode Block, but is specified in volumeMounts")),
            ("disk", "Filesystem", Err("volume disk has volumeMode Filesystem, but is specified in volumeDevices")),
        ] {
            let claim = serde_json::from_value(json!({"spec": {"volumeMode": mode}})).unwrap();
            let found = is_block(&pod, volume, &claim).map_err(|error| error.to_string());
            assert_eq!(found, expected.map_err(str::to_owned), "{volume} {mode}");
        }
    }

    #[test]
    fn a_claim_leads_to_its_volume() {
        let pod = json!({"metadata": {"name": "web", "namespace": "shop", "uid": "u-1"}});
        let pod: Pod = serde_json::from_value(pod).unwrap();
        let claim = |phase: &str, volume: &str, owner: &str| -> PersistentVolumeClaim {
            let owner = json!({"apiVersion": "v1", "kind": "Pod", "name": "web", "uid": owner});
            serde_json::from_value(json!({"metadata": {"name": "c", "uid": "c-1", "ownerReferences": [owner]},
                "spec": {"volumeName": volume}, "status": {"phase": phase}}))
            .unwrap()
        };
        assert_eq!(volume_name(&pod, &claim("Bound", "pv", ""), false), Ok("pv".to_owned()));
        assert_eq!(volume_name(&pod, &claim("Bound", "pv", "u-1"), true), Ok("pv".to_owned()));
        assert_eq!(volume_name(&pod, &claim("Pending", "pv", ""), false), Err(Error::Unbound));
        assert_eq!(volume_name(&pod, &claim("Bound", "", ""), false), Err(Error::Unbound));
        let foreign = volume_name(&pod, &claim("Bound", "pv", "u-2"), true);
        assert_eq!(foreign, Err(Error::NotOwned("c".into(), "web".into())));
        let volume = |claim: Value| -> PersistentVolume {
            serde_json::from_value(json!({"metadata": {"name": "pv"}, "spec": {"claimRef": claim,
                "csi": {"driver": "d", "volumeHandle": "h"}}}))
            .unwrap()
        };
        assert!(check(&volume(json!({"uid": "c-1"})), &claim("Bound", "pv", "")).is_ok());
        assert!(check(&volume(json!({"uid": "c-2"})), &claim("Bound", "pv", "")).is_err());
        assert_eq!(unique_name(&volume(json!({}))).unwrap(), "kubernetes.io/csi/d^h");
        assert_eq!(
            message(&pod, &[("data".into(), "c".into(), Error::Unbound)]),
            "Unable to attach or mount volumes: unmounted volumes=[data], unattached volumes=[data], failed to process \
             volumes=[data]: error processing PVC shop/c: PVC is not bound"
        );
    }
}
