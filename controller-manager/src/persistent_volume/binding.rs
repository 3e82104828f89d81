//! What is written when a volume and a claim come together or part. Each function gives the object to write, or nothing
//! where it is so already. Source: `bind`, `unbindVolume` and what they call in `pv_controller.go`, `GetBindVolumeToClaim`.

use k8s_openapi::{
    api::core::v1::{ObjectReference, PersistentVolume, PersistentVolumeClaim},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};
use kubelab_api::meta::annotation;

use crate::claims::{
    STORAGE, amount,
    annotations::{BIND_COMPLETED, BOUND_BY_CONTROLLER, PROVISIONER, PROVISIONER_BETA},
    is_for, phase, volume_of,
};

const YES: &str = "yes";

/// The volume, being the claim's.
pub fn volume_for(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> Option<PersistentVolume> {
    let mut new = volume.clone();
    let uid = &claim.metadata.uid;
    let reference = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref());
    if !is_for(volume, claim) || reference.is_none_or(|reference| reference.uid != *uid) {
        new.spec.get_or_insert_default().claim_ref = Some(ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("PersistentVolumeClaim".to_owned()),
            namespace: claim.metadata.namespace.clone(),
            name: claim.metadata.name.clone(),
            uid: uid.clone(),
            resource_version: claim.metadata.resource_version.clone(),
            field_path: None,
        });
    }
    // One that was reserved for the claim stays so when they part.
    if !is_for(volume, claim) {
        mark(&mut new.metadata, BOUND_BY_CONTROLLER, YES);
    }
    (new != *volume).then_some(new)
}

/// The claim, having the volume.
pub fn claim_with(claim: &PersistentVolumeClaim, volume: &PersistentVolume) -> Option<PersistentVolumeClaim> {
    let mut new = claim.clone();
    let name = volume.metadata.name.as_deref().unwrap_or_default();
    if volume_of(claim) != name {
        new.spec.get_or_insert_default().volume_name = Some(name.to_owned());
        mark(&mut new.metadata, BOUND_BY_CONTROLLER, YES);
    }
    mark(&mut new.metadata, BIND_COMPLETED, YES);
    (new != *claim).then_some(new)
}

/// The claim in this phase, with the size of its volume.
pub fn claim_in(
    claim: &PersistentVolumeClaim,
    phase: &str,
    volume: Option<&PersistentVolume>,
) -> Option<PersistentVolumeClaim> {
    let mut new = claim.clone();
    let status = new.status.get_or_insert_default();
    let enters = status.phase.as_deref() != Some(phase);
    status.phase = Some(phase.to_owned());
    match volume.and_then(|volume| volume.spec.as_ref()) {
        None => (status.access_modes, status.capacity) = (None, None),
        Some(spec) => {
            status.access_modes.clone_from(&spec.access_modes);
            let known = status.capacity.as_ref().and_then(|capacity| capacity.get(STORAGE));
            let size = spec.capacity.as_ref().and_then(|capacity| capacity.get(STORAGE));
            // Once the claim is bound, its size may rightly lag behind the volume's: the file system has to grow first.
            if enters && (known.is_none() || amount(known) != amount(size)) {
                status.capacity.clone_from(&spec.capacity);
            }
        }
    }
    (new != *claim).then_some(new)
}

/// The claim, for which this provisioner is to make a volume.
pub fn claim_asking(claim: &PersistentVolumeClaim, provisioner: &str) -> Option<PersistentVolumeClaim> {
    let mut new = claim.clone();
    for key in [PROVISIONER, PROVISIONER_BETA] {
        new.metadata.annotations.get_or_insert_default().insert(key.to_owned(), provisioner.to_owned());
    }
    (new != *claim).then_some(new)
}

/// The volume, being nobody's again; or only reserved, where the user had reserved it.
pub fn volume_alone(volume: &PersistentVolume) -> PersistentVolume {
    let mut new = volume.clone();
    let Some(spec) = &mut new.spec else { return new };
    if annotation(&volume.metadata, BOUND_BY_CONTROLLER).is_some() {
        spec.claim_ref = None;
        if let Some(annotations) = &mut new.metadata.annotations {
            annotations.remove(BOUND_BY_CONTROLLER);
        }
    } else if let Some(reference) = &mut spec.claim_ref {
        reference.uid = None;
    }
    new
}

/// The volume in this phase.
pub fn volume_in(volume: &PersistentVolume, wanted: &str, message: &str, now: &Time) -> Option<PersistentVolume> {
    if phase(volume) == wanted {
        return None;
    }
    let mut new = volume.clone();
    let status = new.status.get_or_insert_default();
    status.phase = Some(wanted.to_owned());
    status.message = (!message.is_empty()).then(|| message.to_owned());
    status.last_phase_transition_time = Some(now.clone());
    Some(new)
}

fn mark(meta: &mut ObjectMeta, key: &str, value: &str) {
    meta.annotations.get_or_insert_default().entry(key.to_owned()).or_insert_with(|| value.to_owned());
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Value, json};

    use super::*;

    fn claim() -> PersistentVolumeClaim {
        serde_json::from_value(json!({"metadata": {"namespace": "shop", "name": "data", "uid": "u1"}, "spec": {}}))
            .unwrap()
    }

    fn volume(reference: Value) -> PersistentVolume {
        serde_json::from_value(json!({
            "metadata": {"name": "pv"},
            "spec": {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "5Gi"}, "claimRef": reference},
            "status": {"phase": "Available"},
        }))
        .unwrap()
    }

    #[test]
    fn what_is_bound_can_be_told_from_what_was_reserved() {
        for (before, by_controller, after) in [
            (Value::Null, true, None),
            (json!({"namespace": "shop", "name": "data"}), false, Some(None)),
            (json!({"namespace": "shop", "name": "old", "uid": "u0"}), true, None),
        ] {
            let bound = volume_for(&volume(before.clone()), &claim()).unwrap();
            let reference = bound.spec.as_ref().unwrap().claim_ref.as_ref().unwrap();
            assert_eq!((reference.name.as_deref(), reference.uid.as_deref()), (Some("data"), Some("u1")));
            assert_eq!(annotation(&bound.metadata, BOUND_BY_CONTROLLER).is_some(), by_controller, "{before}");
            assert_eq!(volume_for(&bound, &claim()), None, "it is bound already");
            let alone = volume_alone(&bound);
            assert_eq!(alone.spec.unwrap().claim_ref.map(|reference| reference.uid), after, "{before}");
            assert_eq!(annotation(&alone.metadata, BOUND_BY_CONTROLLER), None);
        }
    }

    #[test]
    fn a_claim_takes_the_volume_and_its_size() {
        let volume = volume(Value::Null);
        let bound = claim_with(&claim(), &volume).unwrap();
        assert_eq!(volume_of(&bound), "pv");
        assert!(annotation(&bound.metadata, BOUND_BY_CONTROLLER).is_some());
        assert_eq!(claim_with(&bound, &volume), None);
        let mut asked = claim();
        asked.spec.get_or_insert_default().volume_name = Some("pv".into());
        let asked = claim_with(&asked, &volume).unwrap();
        assert!(annotation(&asked.metadata, BOUND_BY_CONTROLLER).is_none(), "the user chose");

        let told = claim_in(&bound, "Bound", Some(&volume)).unwrap();
        let size = |claim: &PersistentVolumeClaim| claim.status.clone().unwrap().capacity.map(|c| c[STORAGE].0.clone());
        assert_eq!(size(&told).as_deref(), Some("5Gi"));
        let mut grown = volume.clone();
        grown.spec.as_mut().unwrap().capacity.as_mut().unwrap().get_mut(STORAGE).unwrap().0 = "9Gi".into();
        assert_eq!(claim_in(&told, "Bound", Some(&grown)), None, "growing is another's business");
        let lost = claim_in(&told, "Lost", None).unwrap();
        assert_eq!(size(&lost), None);
    }

    #[test]
    fn a_phase_is_written_once() {
        let now = Time("2026-11-20T12:00:00Z".parse().unwrap());
        let bound = volume_in(&volume(Value::Null), "Bound", "", &now).unwrap();
        assert_eq!(bound.status.as_ref().unwrap().last_phase_transition_time, Some(now.clone()));
        assert_eq!(volume_in(&bound, "Bound", "", &now), None);
        let asking = claim_asking(&claim(), "disk.example.com").unwrap();
        assert_eq!(claim_asking(&asking, "disk.example.com"), None);
    }
}
