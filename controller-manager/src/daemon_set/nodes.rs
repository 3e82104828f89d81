//! The nodes of a DaemonSet, with its pods on each.

use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::DaemonSet,
    core::v1::{Node, Pod},
};
use kubelab_api::{
    meta::is_deleting,
    pod::{is_available, is_terminal, node_name},
};

use super::placement::{Placement, is_updated, placement, target};

/// A set and where its pods are.
pub struct View<'a> {
    /// The set.
    pub set: &'a DaemonSet,
    /// The hash of its present template's revision.
    pub hash: &'a str,
    /// What the set has to do with each node that there is, by name.
    pub placements: BTreeMap<String, Placement>,
    /// Its pods by the node that they are on or meant for, each node's in the order of [`View::order`]. Pods that have ended
    /// and are being deleted do not count.
    pub pods: BTreeMap<String, Vec<Arc<Pod>>>,
    /// The present.
    pub now: Timestamp,
}

impl<'a> View<'a> {
    /// Looks at all nodes.
    pub fn of(set: &'a DaemonSet, hash: &'a str, nodes: &[Arc<Node>], pods: &[Arc<Pod>], now: Timestamp) -> Self {
        let name = |node: &Node| node.metadata.name.clone().unwrap_or_default();
        let placements = nodes.iter().map(|node| (name(node), placement(set, node))).collect();
        let mut by_node: BTreeMap<String, Vec<Arc<Pod>>> = BTreeMap::new();
        for pod in pods.iter().filter(|pod| !(is_terminal(pod) && is_deleting(&pod.metadata))) {
            if let Some(node) = target(pod) {
                by_node.entry(node.to_owned()).or_default().push(Arc::clone(pod));
            }
        }
        by_node.values_mut().for_each(|pods| Self::order(pods));
        Self { set, hash, placements, pods: by_node, now }
    }

    /// Pods that are bound to their node first, then the oldest. Source: `podByCreationTimestampAndPhase`.
    fn order(pods: &mut [Arc<Pod>]) {
        pods.sort_by_key(|pod| {
            (Reverse(node_name(pod).is_some()), pod.metadata.creation_timestamp.clone(), pod.metadata.name.clone())
        });
    }

    /// The pods on a node.
    pub fn on(&self, node: &str) -> &[Arc<Pod>] {
        self.pods.get(node).map(Vec::as_slice).unwrap_or_default()
    }

    /// The number of nodes that the set is to run on.
    pub fn desired(&self) -> usize {
        self.placements.values().filter(|placement| placement.run).count()
    }

    /// The pod has been ready for as long as the set wants.
    pub fn is_available(&self, pod: &Pod) -> bool {
        is_available(pod, self.set.spec.min_ready_seconds.unwrap_or(0), self.now)
    }

    /// The pod is made of the set's present template.
    pub fn is_updated(&self, pod: &Pod) -> bool {
        is_updated(self.set, pod, self.hash)
    }
}
