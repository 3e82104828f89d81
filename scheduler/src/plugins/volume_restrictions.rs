//! Disks that one pod alone, or one node alone, may use. Source: upstream's `plugins/volumerestrictions`.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Volume;

use crate::framework::{
    ClusterEvent, CycleState, Events, Filter, NodeInfo, Plugin, PodInfo, PreFilter, PreFiltered, Rejection, Snapshot,
    Verdict, WhatIf,
};

/// Upstream: `VolumeRestrictions`.
#[derive(Clone, Copy, Debug, Default)]
pub struct VolumeRestrictions;

const DISK: &str = "node(s) had no available disk";
const ONE_POD: &str = "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode";

/// The pod's claims that one pod alone may use, and how often other pods do.
#[derive(Clone)]
struct Exclusive {
    claims: Vec<String>,
    uses: i64,
}

fn volumes(pod: &PodInfo) -> &[Volume] {
    pod.spec().and_then(|spec| spec.volumes.as_deref()).unwrap_or_default()
}

/// Only these kinds can be in conflict.
fn is_disk(volume: &Volume) -> bool {
    volume.gce_persistent_disk.is_some()
        || volume.aws_elastic_block_store.is_some()
        || volume.rbd.is_some()
        || volume.iscsi.is_some()
}

/// Both are the same disk, and not both only read it.
fn conflict(one: &Volume, other: &Volume) -> bool {
    let both_read = |one: Option<bool>, other: Option<bool>| one == Some(true) && other == Some(true);
    if let (Some(one), Some(other)) = (&one.gce_persistent_disk, &other.gce_persistent_disk) {
        return one.pd_name == other.pd_name && !both_read(one.read_only, other.read_only);
    }
    if let (Some(one), Some(other)) = (&one.aws_elastic_block_store, &other.aws_elastic_block_store) {
        return one.volume_id == other.volume_id;
    }
    if let (Some(one), Some(other)) = (&one.iscsi, &other.iscsi) {
        return one.iqn == other.iqn && !both_read(one.read_only, other.read_only);
    }
    if let (Some(one), Some(other)) = (&one.rbd, &other.rbd) {
        let pool = |pool: &Option<String>| pool.clone().unwrap_or_else(|| "rbd".to_owned());
        return one.monitors.iter().any(|monitor| other.monitors.contains(monitor))
            && pool(&one.pool) == pool(&other.pool)
            && one.image == other.image
            && !both_read(one.read_only, other.read_only);
    }
    false
}

fn conflicts(pod: &PodInfo, other: &PodInfo) -> bool {
    let disks = volumes(pod).iter().filter(|volume| is_disk(volume));
    disks.into_iter().any(|own| volumes(other).iter().any(|theirs| conflict(own, theirs)))
}

/// How many of these claims the other pod uses.
fn uses(claims: &[String], pod: &PodInfo, other: &PodInfo) -> i64 {
    if other.namespace() != pod.namespace() {
        return 0;
    }
    other.claims.iter().filter(|claim| claims.contains(&claim.name)).count() as i64
}

impl Plugin for VolumeRestrictions {
    fn name(&self) -> &'static str {
        "VolumeRestrictions"
    }

    fn events(&self) -> Events {
        Events::POD_REMOVED | Events::NODE_ADDED | Events::CLAIM
    }

    fn wakes(&self, pod: &PodInfo, event: &ClusterEvent) -> bool {
        let own = |name: Option<&str>| pod.claims.iter().any(|claim| Some(&*claim.name) == name);
        match event {
            ClusterEvent::PodRemoved(other) => {
                conflicts(pod, other)
                    || other.namespace() == pod.namespace() && other.claims.iter().any(|claim| own(Some(&claim.name)))
            }
            ClusterEvent::Claim(claim) => {
                claim.metadata.namespace.as_deref() == Some(pod.namespace()) && own(claim.metadata.name.as_deref())
            }
            _ => true,
        }
    }
}

impl PreFilter for VolumeRestrictions {
    fn pre_filter(&self, state: &mut CycleState, pod: &PodInfo, snapshot: &Snapshot) -> Result<PreFiltered, Rejection> {
        let mut claims = Vec::new();
        for own in pod.claims.iter() {
            let claim = snapshot.objects().claims.get(pod.namespace(), &own.name).ok_or_else(|| {
                Rejection::unresolvable(self.name(), format!("persistentvolumeclaim {:?} not found", own.name))
            })?;
            let mut modes = claim.spec.iter().flat_map(|spec| spec.access_modes.iter().flatten());
            if modes.any(|mode| mode == "ReadWriteOncePod") {
                claims.push(own.name.clone());
            }
        }
        if claims.is_empty() {
            let any = volumes(pod).iter().any(is_disk);
            return Ok(if any { PreFiltered::All } else { PreFiltered::Skip });
        }
        let others = snapshot.nodes().iter().flat_map(|node| &node.pods);
        let uses = others.map(|other: &Arc<PodInfo>| uses(&claims, pod, other)).sum();
        state.put(Exclusive { claims, uses });
        Ok(PreFiltered::All)
    }

    fn what_if(&self, state: &mut CycleState, pod: &PodInfo, change: &WhatIf<'_>) {
        if let Some(exclusive) = state.get_mut::<Exclusive>() {
            exclusive.uses += change.sign * uses(&exclusive.claims, pod, change.other);
        }
    }
}

impl Filter for VolumeRestrictions {
    fn filter(&self, state: &CycleState, pod: &PodInfo, node: &NodeInfo) -> Verdict {
        if node.pods.iter().any(|other| conflicts(pod, other)) {
            return Err(Rejection::unschedulable(self.name(), DISK));
        }
        if state.get::<Exclusive>().is_some_and(|exclusive| exclusive.uses > 0) {
            return Err(Rejection::unschedulable(self.name(), ONE_POD));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        framework::Objects,
        testing::{labelled, object, plain, said},
    };

    fn with(name: &str, volume: Value) -> PodInfo {
        labelled("shop", name, json!({}), json!({ "volumes": [volume] }))
    }

    fn verdict(pod: &PodInfo, other: &PodInfo) -> String {
        let objects = Objects::default();
        for (name, mode) in [("one", "ReadWriteOncePod"), ("many", "ReadWriteMany")] {
            objects.claims.put(object(json!({
                "metadata": { "namespace": "shop", "name": name }, "spec": { "accessModes": [mode] },
            })));
        }
        let mut node = plain("n");
        node.add_pod(Arc::new(other.clone()));
        let snapshot = Snapshot::with_objects(vec![Arc::new(node)], Arc::new(objects));
        let mut state = CycleState::default();
        match VolumeRestrictions.pre_filter(&mut state, pod, &snapshot) {
            Ok(PreFiltered::Skip) => "skip".into(),
            Ok(_) => {
                let node = &snapshot.nodes()[0];
                let before = said(VolumeRestrictions.filter(&state, pod, node));
                let change = |sign| WhatIf { other, node, sign, snapshot: &snapshot };
                VolumeRestrictions.what_if(&mut state, pod, &change(-1));
                VolumeRestrictions.what_if(&mut state, pod, &change(1));
                assert_eq!(said(VolumeRestrictions.filter(&state, pod, node)), before);
                before
            }
            Err(rejection) => said(Err(rejection)),
        }
    }

    #[test]
    fn disks_and_claims_are_shared_only_where_that_is_allowed() {
        let gce = |read: bool| json!({ "name": "v", "gcePersistentDisk": { "pdName": "d", "readOnly": read } });
        let aws = |id: &str| json!({ "name": "v", "awsElasticBlockStore": { "volumeID": id, "readOnly": true } });
        let rbd = |monitor: &str, read: bool| json!({ "name": "v", "rbd": { "monitors": [monitor, "m"], "image": "i", "readOnly": read } });
        let iscsi = |iqn: &str| json!({ "name": "v", "iscsi": { "targetPortal": "p", "iqn": iqn, "lun": 0 } });
        let claim = |name: &str| json!({ "name": "v", "persistentVolumeClaim": { "claimName": name } });
        for (own, theirs, expected) in [
            (json!({ "name": "v", "emptyDir": {} }), gce(false), "skip"),
            (gce(false), gce(false), DISK),
            (gce(true), gce(true), "fits"),
            (gce(true), gce(false), DISK),
            (aws("a"), aws("a"), DISK),
            (aws("a"), aws("b"), "fits"),
            (rbd("x", false), rbd("y", true), DISK),
            (rbd("x", true), rbd("x", true), "fits"),
            (iscsi("a"), iscsi("a"), DISK),
            (iscsi("a"), iscsi("b"), "fits"),
            (gce(false), aws("d"), "fits"),
            (claim("one"), claim("one"), ONE_POD),
            (claim("one"), claim("many"), "fits"),
            (claim("many"), claim("many"), "skip"),
            (claim("none"), claim("one"), "persistentvolumeclaim \"none\" not found!"),
        ] {
            assert_eq!(verdict(&with("own", own.clone()), &with("theirs", theirs.clone())), expected, "{own} {theirs}");
        }
    }
}
