//! What happens in the cluster that may make room for a pod.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Node;

use super::PodInfo;

/// A change after which a pod that fitted nowhere may fit.
#[derive(Clone, Debug)]
pub enum ClusterEvent {
    /// A node came.
    NodeAdded(Arc<Node>),
    /// A node changed in a way that matters to scheduling.
    NodeUpdated {
        /// As it was.
        old: Arc<Node>,
        /// As it is.
        new: Arc<Node>,
    },
    /// A pod was bound to a node.
    PodAssigned(Arc<PodInfo>),
    /// A pod is gone from its node.
    PodRemoved(Arc<PodInfo>),
}

impl ClusterEvent {
    /// The node that came or changed, as it is now.
    pub fn node(&self) -> Option<&Node> {
        match self {
            Self::NodeAdded(node) | Self::NodeUpdated { new: node, .. } => Some(node),
            Self::PodAssigned(_) | Self::PodRemoved(_) => None,
        }
    }

    /// The change of a node, unless nothing of it matters to scheduling: heartbeats do not.
    pub fn of_node_update(old: &Arc<Node>, new: &Arc<Node>) -> Option<Self> {
        let allocatable = |node: &Node| node.status.as_ref().and_then(|status| status.allocatable.clone());
        let spec =
            |node: &Node| node.spec.as_ref().map(|spec| (spec.taints.clone(), spec.unschedulable.unwrap_or_default()));
        let matters = spec(old) != spec(new)
            || old.metadata.labels != new.metadata.labels
            || allocatable(old) != allocatable(new);
        matters.then(|| Self::NodeUpdated { old: old.clone(), new: new.clone() })
    }
}
