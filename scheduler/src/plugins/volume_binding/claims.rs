//! A pod's claims: which are bound, to what; which wait for a node; which cannot be used at all.

use std::{collections::HashMap, sync::Arc};

use k8s_openapi::api::{
    core::v1::{PersistentVolume, PersistentVolumeClaim},
    storage::v1::StorageClass,
};
use kubelab_api::{
    meta::annotation,
    selector::node::Terms,
    volume::{
        NO_PROVISIONER,
        annotations::{BIND_COMPLETED, SELECTED_NODE},
        class_of_claim, requested, waits_for_consumer,
    },
};

use super::matching::{Available, Pools, fits_topology};
use crate::framework::{NodeInfo, Objects, PodInfo};

const UNBOUND_IMMEDIATE: &str = "pod has unbound immediate PersistentVolumeClaims";
const NO_VOLUME: &str = "node(s) didn't find available persistent volumes to bind";
const CONFLICT: &str = "node(s) had volume node affinity conflict";
const NO_SPACE: &str = "node(s) did not have enough free storage";
const GONE: &str = "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)";

/// The claims of a pod that can be used, looked up once a cycle.
pub struct Claims {
    /// The volumes that claims are bound to, each with the nodes it can be used from; unset if it does not exist.
    bound: Vec<Option<Option<Terms>>>,
    /// Those that wait, the smallest first.
    waiting: Vec<Waiting>,
    /// The volumes that they may be bound to, by class, the smallest first.
    available: HashMap<String, Vec<Available>>,
    pools: Pools,
}

struct Waiting {
    claim: Arc<PersistentVolumeClaim>,
    class_name: String,
    class: Option<Arc<StorageClass>>,
}

/// What is to become of a claim.
pub enum Decision {
    /// It is bound to this volume.
    Bind(Arc<PersistentVolumeClaim>, Arc<PersistentVolume>),
    /// A volume is made for it.
    Provision(Arc<PersistentVolumeClaim>),
}

fn volume_name(claim: &PersistentVolumeClaim) -> Option<&str> {
    claim.spec.as_ref()?.volume_name.as_deref().filter(|name| !name.is_empty())
}

/// It has its volume, and the binder has said so.
pub fn is_bound(claim: &PersistentVolumeClaim) -> bool {
    volume_name(claim).is_some() && annotation(&claim.metadata, BIND_COMPLETED).is_some()
}

/// The nodes that a volume can be used from; unset for all.
pub fn reach(volume: &PersistentVolume) -> Option<Terms> {
    volume.spec.as_ref()?.node_affinity.as_ref()?.required.as_ref().map(Terms::new)
}

/// A pod's claims, or why one of them cannot be used. Source: `podHasPVCs`.
fn look_up(pod: &PodInfo, objects: &Objects) -> Result<Vec<Arc<PersistentVolumeClaim>>, String> {
    let mut claims = Vec::new();
    for own in pod.claims.iter() {
        let (namespace, name) = (pod.namespace(), &own.name);
        let claim = objects.claims.get(namespace, name).ok_or_else(|| match own.ephemeral {
            true => format!("waiting for ephemeral volume controller to create the persistentvolumeclaim {name:?}"),
            false => format!("persistentvolumeclaim {name:?} not found"),
        })?;
        if claim.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Lost") {
            let volume = volume_name(&claim).unwrap_or_default();
            return Err(format!("persistentvolumeclaim {name:?} bound to non-existent persistentvolume {volume:?}"));
        }
        if claim.metadata.deletion_timestamp.is_some() {
            return Err(format!("persistentvolumeclaim {name:?} is being deleted"));
        }
        let mut owners = claim.metadata.owner_references.iter().flatten();
        if own.ephemeral && !owners.any(|owner| owner.controller == Some(true) && owner.uid == pod.uid()) {
            let place = format!("{namespace}/{name} was not created for pod {namespace}/{}", pod.name());
            return Err(format!("PVC {place} (pod is not owner)"));
        }
        claims.push(claim);
    }
    Ok(claims)
}

impl Claims {
    /// The pod's claims, or why they cannot be used on any node.
    pub fn of(pod: &PodInfo, objects: &Objects) -> Result<Self, String> {
        let mut claims =
            Self { bound: Vec::new(), waiting: Vec::new(), available: HashMap::new(), pools: Pools::of(objects) };
        for claim in look_up(pod, objects)? {
            if let Some(volume) = volume_name(&claim).filter(|_| is_bound(&claim)) {
                claims.bound.push(objects.volumes.get("", volume).map(|volume| reach(&volume)));
                continue;
            }
            let class_name = class_of_claim(&claim).to_owned();
            let class = objects.classes.get("", &class_name);
            if !class.as_ref().is_some_and(|class| waits_for_consumer(class)) || volume_name(&claim).is_some() {
                return Err(UNBOUND_IMMEDIATE.to_owned());
            }
            claims.waiting.push(Waiting { claim, class_name, class });
        }
        claims.waiting.sort_by_key(|waiting| requested(&waiting.claim));
        for Waiting { class_name, .. } in &claims.waiting {
            if !claims.available.contains_key(class_name) {
                claims.available.insert(class_name.clone(), Available::of_class(class_name, objects));
            }
        }
        Ok(claims)
    }

    /// What is to become of the claims if the pod goes to this node, or why it cannot. Source: `FindPodVolumes`.
    pub fn on(&self, node: &NodeInfo) -> Result<Vec<Decision>, Vec<&'static str>> {
        let mut reasons = Vec::new();
        let reaches = |terms: &Option<Terms>| terms.as_ref().is_none_or(|terms| terms.matches("", node.labels()));
        if self.bound.iter().flatten().any(|terms| !reaches(terms)) {
            reasons.push(CONFLICT);
        }
        let decided = self.decide(node);
        match &decided {
            Err(reason) => reasons.push(reason),
            Ok(_) if self.bound.iter().any(Option::is_none) => reasons.push(GONE),
            Ok(_) => {}
        }
        match decided {
            Ok(decisions) if reasons.is_empty() => Ok(decisions),
            _ => Err(reasons),
        }
    }

    fn decide(&self, node: &NodeInfo) -> Result<Vec<Decision>, &'static str> {
        let mut decisions = Vec::new();
        let mut taken: Vec<&str> = Vec::new();
        for waiting in &self.waiting {
            let claim = &waiting.claim;
            match annotation(&claim.metadata, SELECTED_NODE) {
                // Its volume is being made, and not here.
                Some(selected) if selected != node.name() => return Err(NO_VOLUME),
                Some(_) => {}
                None => {
                    let available = self.available.get(&waiting.class_name).map_or(&[][..], Vec::as_slice);
                    if let Some(found) = Available::smallest(available, claim, node, &taken) {
                        taken.push(found.name());
                        decisions.push(Decision::Bind(claim.clone(), found.volume.clone()));
                        continue;
                    }
                }
            }
            let Some(class) = &waiting.class else { return Err(NO_VOLUME) };
            if class.provisioner.is_empty() || class.provisioner == NO_PROVISIONER || !fits_topology(class, node) {
                return Err(NO_VOLUME);
            }
            if !self.pools.have_room(class, claim, node) {
                return Err(NO_SPACE);
            }
            decisions.push(Decision::Provision(claim.clone()));
        }
        Ok(decisions)
    }
}
