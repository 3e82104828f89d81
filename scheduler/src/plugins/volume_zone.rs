//! A volume that says which zone or region it is in is used from there alone. Source: upstream's `plugins/volumezone`.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Node, PersistentVolume};
use kubelab_api::{volume::class_of_claim, well_known::label};

use crate::framework::{
    ClusterEvent, CycleState, Events, Filter, NodeInfo, Objects, Plugin, PodInfo, PreFilter, PreFiltered, Rejection,
    Snapshot, Verdict,
};

/// Upstream: `VolumeZone`.
#[derive(Clone, Copy, Debug, Default)]
pub struct VolumeZone;

const CONFLICT: &str = "node(s) had no available volume zone";
const ZONE_BETA: &str = "failure-domain.beta.kubernetes.io/zone";
const REGION_BETA: &str = "failure-domain.beta.kubernetes.io/region";
const LABELS: [&str; 4] = [ZONE_BETA, REGION_BETA, label::ZONE, label::REGION];

/// Labels that nodes must have one of these values of.
#[derive(PartialEq)]
struct Zones(Vec<(&'static str, BTreeSet<String>)>);

impl Zones {
    /// A value may be several zones: `a__b`. Source: `LabelZonesToSet`.
    fn of(volume: &PersistentVolume) -> Self {
        let value = |key: &str| volume.metadata.labels.as_ref().and_then(|labels| labels.get(key));
        let zones = |key: &'static str| Some((key, value(key)?.split("__").map(str::to_owned).collect()));
        Self(LABELS.iter().filter_map(|key| zones(key)).collect())
    }
}

/// The volumes' zones, or why the pod's claims cannot be used.
fn zones(pod: &PodInfo, objects: &Objects) -> Result<Zones, String> {
    let mut all = Zones(Vec::new());
    for own in pod.claims.iter().filter(|own| !own.ephemeral) {
        let name = &own.name;
        let claim = objects.claims.get(pod.namespace(), name);
        let claim = claim.ok_or_else(|| format!("persistentvolumeclaim {name:?} not found"))?;
        let volume = claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref()).unwrap_or_default();
        if volume.is_empty() {
            let class = class_of_claim(&claim);
            if class.is_empty() {
                return Err("PersistentVolumeClaim had no pv name and storageClass name".to_owned());
            }
            let found = objects.classes.get("", class);
            let found = found.ok_or_else(|| format!("storageclass.storage.k8s.io {class:?} not found"))?;
            match found.volume_binding_mode.as_deref() {
                Some("WaitForFirstConsumer") => continue,
                Some(_) => return Err("PersistentVolume had no name".to_owned()),
                None => return Err(format!("VolumeBindingMode not set for StorageClass {class:?}")),
            }
        }
        let found = objects.volumes.get("", volume);
        let found = found.ok_or_else(|| format!("persistentvolume {volume:?} not found"))?;
        all.0.extend(Zones::of(&found).0);
    }
    Ok(all)
}

impl Plugin for VolumeZone {
    fn name(&self) -> &'static str {
        "VolumeZone"
    }

    fn events(&self) -> Events {
        Events::CLASS | Events::NODE_ADDED | Events::NODE_LABELS | Events::CLAIM | Events::VOLUME
    }

    fn wakes(&self, pod: &PodInfo, event: &ClusterEvent) -> bool {
        match event {
            ClusterEvent::Class { old, new } => {
                old.is_none() && new.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer")
            }
            ClusterEvent::Claim(claim) => {
                claim.metadata.namespace.as_deref() == Some(pod.namespace())
                    && pod.claims.iter().any(|own| claim.metadata.name.as_deref() == Some(&*own.name))
            }
            ClusterEvent::Volume { old: Some(old), new } => Zones::of(old) != Zones::of(new),
            _ => true,
        }
    }
}

impl PreFilter for VolumeZone {
    fn pre_filter(&self, state: &mut CycleState, pod: &PodInfo, snapshot: &Snapshot) -> Result<PreFiltered, Rejection> {
        if pod.claims.is_empty() {
            return Ok(PreFiltered::Skip);
        }
        let zones = zones(pod, snapshot.objects()).map_err(|why| Rejection::unresolvable(self.name(), why))?;
        if zones.0.is_empty() {
            return Ok(PreFiltered::Skip);
        }
        state.put(zones);
        Ok(PreFiltered::All)
    }
}

fn in_zones(node: &Node, zones: &Zones) -> bool {
    let value = |key: &str| node.metadata.labels.as_ref().and_then(|labels| labels.get(key));
    let modern = |key: &'static str| match key {
        ZONE_BETA => label::ZONE,
        REGION_BETA => label::REGION,
        other => other,
    };
    let within = |(key, values): &(&'static str, BTreeSet<String>)| {
        value(key).or_else(|| value(modern(key))).is_some_and(|value| values.contains(value))
    };
    // A cluster whose nodes know no zones is all one.
    LABELS.iter().all(|key| value(key).is_none()) || zones.0.iter().all(within)
}

impl Filter for VolumeZone {
    fn filter(&self, state: &CycleState, _: &PodInfo, node: &NodeInfo) -> Verdict {
        let (Some(zones), Some(node)) = (state.get::<Zones>(), &node.node) else { return Ok(()) };
        if in_zones(node, zones) { Ok(()) } else { Err(Rejection::unresolvable(self.name(), CONFLICT)) }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;
    use crate::testing::{node, object, pod, said};

    fn verdicts(volume: Value, claim: Value, class: Value) -> Vec<String> {
        let objects = Objects::default();
        objects.volumes.put(object(json!({ "metadata": { "name": "v", "labels": volume } })));
        objects.claims.put(object(json!({ "metadata": { "namespace": "shop", "name": "c" }, "spec": claim })));
        if !class.is_null() {
            objects.classes.put(object(json!({
                "metadata": { "name": "fast" }, "provisioner": "x", "volumeBindingMode": class,
            })));
        }
        let snapshot = Snapshot::with_objects(Vec::new(), Arc::new(objects));
        let pod = pod(json!({ "volumes": [{ "name": "v", "persistentVolumeClaim": { "claimName": "c" } }] }));
        let mut state = CycleState::default();
        match VolumeZone.pre_filter(&mut state, &pod, &snapshot) {
            Ok(PreFiltered::Skip) => vec!["skip".into()],
            Ok(_) => [
                json!({ "topology.kubernetes.io/zone": "a" }),
                json!({ "topology.kubernetes.io/zone": "b" }),
                json!({}),
            ]
            .into_iter()
            .map(|labels| said(VolumeZone.filter(&state, &pod, &node("n", labels, json!({}), json!({})))))
            .collect(),
            Err(rejection) => vec![said(Err(rejection))],
        }
    }

    #[test]
    fn volumes_are_used_in_their_zone() {
        let (no, bound) = (format!("{CONFLICT}!"), json!({ "volumeName": "v" }));
        let nothing = json!(null);
        for (volume, claim, class, expected) in [
            (json!({}), &bound, &nothing, vec!["skip"]),
            (json!({ "topology.kubernetes.io/zone": "a" }), &bound, &nothing, vec!["fits", &no, "fits"]),
            (json!({ "topology.kubernetes.io/zone": "a__b" }), &bound, &nothing, vec!["fits", "fits", "fits"]),
            (json!({ "failure-domain.beta.kubernetes.io/zone": "b" }), &bound, &nothing, vec![&no, "fits", "fits"]),
            (json!({}), &json!({ "volumeName": "w" }), &nothing, vec!["persistentvolume \"w\" not found!"]),
            (json!({}), &json!({}), &nothing, vec!["PersistentVolumeClaim had no pv name and storageClass name!"]),
            (
                json!({}),
                &json!({ "storageClassName": "fast" }),
                &nothing,
                vec!["storageclass.storage.k8s.io \"fast\" not found!"],
            ),
            (json!({}), &json!({ "storageClassName": "fast" }), &json!("WaitForFirstConsumer"), vec!["skip"]),
            (
                json!({}),
                &json!({ "storageClassName": "fast" }),
                &json!("Immediate"),
                vec!["PersistentVolume had no name!"],
            ),
        ] {
            assert_eq!(verdicts(volume.clone(), claim.clone(), class.clone()), expected, "{volume} {claim} {class}");
        }
    }
}
