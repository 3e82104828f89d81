//! A CSI driver can attach only so many volumes to a node. Source: upstream's `plugins/nodevolumelimits`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use kubelab_api::volume::class_of_claim;

use crate::framework::{
    ClusterEvent, CycleState, Events, Filter, NodeInfo, Objects, Plugin, PodInfo, PreFilter, PreFiltered, Rejection,
    Snapshot, Verdict,
};

/// Upstream: `NodeVolumeLimits`.
#[derive(Clone, Copy, Debug, Default)]
pub struct NodeVolumeLimits;

const TOO_MANY: &str = "node(s) exceed max volume count";

/// The names of volumes, by driver.
type ByDriver = BTreeMap<String, BTreeSet<String>>;

/// What the pod would attach, and what limits there are on nodes with what is attached there already.
struct Limits {
    wanted: ByDriver,
    /// By node: limit and attached volumes of each driver that the pod wants volumes of.
    nodes: BTreeMap<String, Vec<(String, usize)>>,
    attached: Vec<(String, ByDriver)>,
}

/// Driver and name of the volume behind a pod's claim. A volume that is still to be made has its claim's name.
fn volume(namespace: &str, claim: &str, objects: &Objects) -> Option<(String, String)> {
    let found = objects.claims.get(namespace, claim)?;
    let name = found.spec.as_ref()?.volume_name.as_deref().unwrap_or_default();
    if let Some(volume) = (!name.is_empty()).then(|| objects.volumes.get("", name)).flatten() {
        let csi = volume.spec.as_ref()?.csi.as_ref()?;
        return Some((csi.driver.clone(), csi.volume_handle.clone()));
    }
    let class = objects.classes.get("", class_of_claim(&found))?;
    Some((class.provisioner.clone(), format!("{namespace}/{claim}")))
}

fn collect(pod: &PodInfo, objects: &Objects, into: &mut ByDriver) {
    for claim in pod.claims.iter() {
        if let Some((driver, name)) = volume(pod.namespace(), &claim.name, objects) {
            into.entry(driver).or_default().insert(name);
        }
    }
}

impl Limits {
    fn of(pod: &PodInfo, objects: &Objects) -> Option<Self> {
        let mut wanted = ByDriver::new();
        collect(pod, objects, &mut wanted);
        let mut nodes = BTreeMap::new();
        objects.csi_nodes.each(|node| {
            let limit = |driver: &k8s_openapi::api::storage::v1::CSINodeDriver| {
                let count = driver.allocatable.as_ref()?.count?;
                wanted.contains_key(&driver.name).then(|| (driver.name.clone(), usize::try_from(count).unwrap_or(0)))
            };
            let limits: Vec<_> = node.spec.drivers.iter().filter_map(limit).collect();
            if !limits.is_empty() {
                nodes.insert(node.metadata.name.clone().unwrap_or_default(), limits);
            }
        });
        (!nodes.is_empty()).then_some(Self { wanted, nodes, attached: Vec::new() })
    }

    /// What the pods on a limited node have attached, and what else is.
    fn look(&mut self, snapshot: &Snapshot) {
        let objects = snapshot.objects();
        let mut all: BTreeMap<String, ByDriver> = BTreeMap::new();
        for node in self.nodes.keys().filter_map(|name| snapshot.get(name)) {
            let attached = all.entry(node.name().to_owned()).or_default();
            node.pods.iter().for_each(|pod: &Arc<PodInfo>| collect(pod, objects, attached));
        }
        objects.attachments.each(|attachment| {
            let spec = &attachment.spec;
            let Some(attached) = all.get_mut(&spec.node_name) else { return };
            let name = spec.source.persistent_volume_name.as_deref().unwrap_or_default();
            let volume = objects.volumes.get("", name);
            if let Some(csi) = volume.as_ref().and_then(|volume| volume.spec.as_ref()?.csi.as_ref()) {
                attached.entry(csi.driver.clone()).or_default().insert(csi.volume_handle.clone());
            }
        });
        self.attached = all.into_iter().collect();
    }

    fn allow(&self, node: &str) -> bool {
        let Some(limits) = self.nodes.get(node) else { return true };
        let at = self.attached.binary_search_by(|(name, _)| name.as_str().cmp(node));
        let attached = at.ok().map(|at| &self.attached[at].1);
        let none = BTreeSet::new();
        limits.iter().all(|(driver, limit)| {
            let wanted = self.wanted.get(driver).unwrap_or(&none);
            let attached = attached.and_then(|attached| attached.get(driver)).unwrap_or(&none);
            let new = wanted.difference(attached).count();
            new == 0 || attached.len() + new <= *limit
        })
    }
}

impl Plugin for NodeVolumeLimits {
    fn name(&self) -> &'static str {
        "NodeVolumeLimits"
    }

    fn events(&self) -> Events {
        Events::CSI_NODE | Events::POD_REMOVED | Events::CLAIM | Events::DETACHED
    }

    fn wakes(&self, pod: &PodInfo, event: &ClusterEvent) -> bool {
        match event {
            ClusterEvent::PodRemoved(other) => !other.claims.is_empty(),
            ClusterEvent::Claim(claim) => claim.metadata.namespace.as_deref() == Some(pod.namespace()),
            ClusterEvent::CsiNode { old: Some(old), new } => old.spec.drivers != new.spec.drivers,
            _ => true,
        }
    }
}

impl PreFilter for NodeVolumeLimits {
    fn pre_filter(&self, state: &mut CycleState, pod: &PodInfo, snapshot: &Snapshot) -> Result<PreFiltered, Rejection> {
        if pod.claims.is_empty() {
            return Ok(PreFiltered::Skip);
        }
        let Some(mut limits) = Limits::of(pod, snapshot.objects()) else { return Ok(PreFiltered::Skip) };
        limits.look(snapshot);
        state.put(limits);
        Ok(PreFiltered::All)
    }
}

impl Filter for NodeVolumeLimits {
    fn filter(&self, state: &CycleState, _: &PodInfo, node: &NodeInfo) -> Verdict {
        match state.get::<Limits>() {
            Some(limits) if !limits.allow(node.name()) => Err(Rejection::unschedulable(self.name(), TOO_MANY)),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::{labelled, object, plain, said};

    fn with(name: &str, claims: &[&str]) -> PodInfo {
        let volumes: Vec<Value> = claims
            .iter()
            .map(|claim| json!({ "name": claim, "persistentVolumeClaim": { "claimName": claim } }))
            .collect();
        labelled("shop", name, json!({}), json!({ "volumes": volumes }))
    }

    #[test]
    fn drivers_limit_volumes_by_node() {
        let objects = Objects::default();
        for name in ["a", "b", "c"] {
            objects.claims.put(object(json!({
                "metadata": { "namespace": "shop", "name": name }, "spec": { "volumeName": name },
            })));
            let csi = json!({ "driver": "d.example", "volumeHandle": name });
            objects.volumes.put(object(json!({ "metadata": { "name": name }, "spec": { "csi": csi } })));
        }
        objects.claims.put(object(json!({
            "metadata": { "namespace": "shop", "name": "new" }, "spec": { "storageClassName": "fast" },
        })));
        objects.classes.put(object(json!({ "metadata": { "name": "fast" }, "provisioner": "d.example" })));
        let driver = json!({ "name": "d.example", "nodeID": "n", "allocatable": { "count": 2 } });
        objects.csi_nodes.put(object(json!({ "metadata": { "name": "limited" }, "spec": { "drivers": [driver] } })));
        objects.attachments.put(object(json!({
            "metadata": { "name": "x" },
            "spec": { "attacher": "d.example", "nodeName": "limited", "source": { "persistentVolumeName": "b" } },
        })));
        let mut limited = plain("limited");
        limited.add_pod(Arc::new(with("there", &["a"])));
        let nodes = vec![Arc::new(limited), Arc::new(plain("free"))];
        let snapshot = Snapshot::with_objects(nodes, Arc::new(objects));
        for (claims, expected) in [
            (&["a"][..], ["fits", "fits"]),
            (&["b"], ["fits", "fits"]),
            (&["c"], [TOO_MANY, "fits"]),
            (&["a", "c"], [TOO_MANY, "fits"]),
            (&["new"], [TOO_MANY, "fits"]),
            (&[], ["skip", ""]),
        ] {
            let (pod, mut state) = (with("web", claims), CycleState::default());
            if NodeVolumeLimits.pre_filter(&mut state, &pod, &snapshot) == Ok(PreFiltered::Skip) {
                assert_eq!(expected[0], "skip");
                continue;
            }
            let verdicts = [0, 1].map(|at| said(NodeVolumeLimits.filter(&state, &pod, &snapshot.nodes()[at])));
            assert_eq!(verdicts, expected, "{claims:?}");
        }
    }
}
