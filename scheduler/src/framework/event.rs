//! What happens in the cluster that may make room for a pod.

use std::{ops::BitOr, sync::Arc};

use k8s_openapi::api::{
    core::v1::{Node, PersistentVolume, PersistentVolumeClaim},
    storage::v1::{CSIDriver, CSINode, CSIStorageCapacity, StorageClass, VolumeAttachment},
};

use super::PodInfo;

/// Kinds of events. A plugin registers those that may help a pod that it rejected (upstream's `EventsToRegister`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Events(u32);

impl Events {
    /// None.
    pub const NONE: Self = Self(0);
    /// A node came.
    pub const NODE_ADDED: Self = Self(1);
    /// A node's labels changed.
    pub const NODE_LABELS: Self = Self(1 << 1);
    /// A node's taints changed, or it was cordoned or uncordoned.
    pub const NODE_TAINTS: Self = Self(1 << 2);
    /// A node has more or less to give.
    pub const NODE_ALLOCATABLE: Self = Self(1 << 3);
    /// A node is gone.
    pub const NODE_REMOVED: Self = Self(1 << 4);
    /// A pod was bound.
    pub const POD_ASSIGNED: Self = Self(1 << 5);
    /// A bound pod's labels or requests changed.
    pub const POD_UPDATED: Self = Self(1 << 6);
    /// A pod is gone from its node.
    pub const POD_REMOVED: Self = Self(1 << 7);
    /// A claim came or changed.
    pub const CLAIM: Self = Self(1 << 8);
    /// A volume came or changed.
    pub const VOLUME: Self = Self(1 << 9);
    /// A storage class came or changed.
    pub const CLASS: Self = Self(1 << 10);
    /// A node's CSI drivers came or changed.
    pub const CSI_NODE: Self = Self(1 << 11);
    /// A CSI driver changed.
    pub const CSI_DRIVER: Self = Self(1 << 12);
    /// A pool of storage came or changed.
    pub const CAPACITY: Self = Self(1 << 13);
    /// A volume was detached from a node.
    pub const DETACHED: Self = Self(1 << 14);

    /// One of them is among the others.
    pub fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

impl BitOr for Events {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// A change after which a pod that fitted nowhere may fit. `old` is unset where the object is new.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum ClusterEvent {
    NodeAdded(Arc<Node>),
    NodeUpdated { old: Arc<Node>, new: Arc<Node> },
    NodeRemoved(Arc<Node>),
    PodAssigned(Arc<PodInfo>),
    PodUpdated { old: Arc<PodInfo>, new: Arc<PodInfo> },
    PodRemoved(Arc<PodInfo>),
    Claim(Arc<PersistentVolumeClaim>),
    Volume { old: Option<Arc<PersistentVolume>>, new: Arc<PersistentVolume> },
    Class { old: Option<Arc<StorageClass>>, new: Arc<StorageClass> },
    CsiNode { old: Option<Arc<CSINode>>, new: Arc<CSINode> },
    CsiDriver { old: Arc<CSIDriver>, new: Arc<CSIDriver> },
    Capacity { old: Option<Arc<CSIStorageCapacity>>, new: Arc<CSIStorageCapacity> },
    Detached(Arc<VolumeAttachment>),
}

impl ClusterEvent {
    /// What kinds of event it is; an update of a node may be several.
    pub fn kinds(&self) -> Events {
        match self {
            Self::NodeAdded(_) => Events::NODE_ADDED,
            Self::NodeUpdated { old, new } => changes(old, new),
            Self::NodeRemoved(_) => Events::NODE_REMOVED,
            Self::PodAssigned(_) => Events::POD_ASSIGNED,
            Self::PodUpdated { .. } => Events::POD_UPDATED,
            Self::PodRemoved(_) => Events::POD_REMOVED,
            Self::Claim(_) => Events::CLAIM,
            Self::Volume { .. } => Events::VOLUME,
            Self::Class { .. } => Events::CLASS,
            Self::CsiNode { .. } => Events::CSI_NODE,
            Self::CsiDriver { .. } => Events::CSI_DRIVER,
            Self::Capacity { .. } => Events::CAPACITY,
            Self::Detached(_) => Events::DETACHED,
        }
    }

    /// Its name in metrics, after upstream's labels.
    pub fn name(&self) -> &'static str {
        match self {
            Self::NodeAdded(_) => "NodeAdd",
            Self::NodeUpdated { .. } => "NodeUpdate",
            Self::NodeRemoved(_) => "NodeDelete",
            Self::PodAssigned(_) => "AssignedPodAdd",
            Self::PodUpdated { .. } => "AssignedPodUpdate",
            Self::PodRemoved(_) => "AssignedPodDelete",
            Self::Claim(_) => "PersistentVolumeClaimUpdate",
            Self::Volume { .. } => "PersistentVolumeUpdate",
            Self::Class { .. } => "StorageClassUpdate",
            Self::CsiNode { .. } => "CSINodeUpdate",
            Self::CsiDriver { .. } => "CSIDriverUpdate",
            Self::Capacity { .. } => "CSIStorageCapacityUpdate",
            Self::Detached(_) => "VolumeAttachmentDelete",
        }
    }

    /// The node that came or changed, as it is now.
    pub fn node(&self) -> Option<&Node> {
        match self {
            Self::NodeAdded(node) | Self::NodeUpdated { new: node, .. } => Some(node),
            _ => None,
        }
    }

    /// The change of a node, unless nothing of it matters to scheduling: heartbeats do not.
    pub fn of_node_update(old: &Arc<Node>, new: &Arc<Node>) -> Option<Self> {
        (changes(old, new) != Events::NONE).then(|| Self::NodeUpdated { old: old.clone(), new: new.clone() })
    }
}

fn changes(old: &Node, new: &Node) -> Events {
    let allocatable = |node: &Node| node.status.as_ref().and_then(|status| status.allocatable.clone());
    let spec =
        |node: &Node| node.spec.as_ref().map(|spec| (spec.taints.clone(), spec.unschedulable.unwrap_or_default()));
    let mut changes = Events::NONE;
    for (changed, kind) in [
        (old.metadata.labels != new.metadata.labels, Events::NODE_LABELS),
        (spec(old) != spec(new), Events::NODE_TAINTS),
        (allocatable(old) != allocatable(new), Events::NODE_ALLOCATABLE),
    ] {
        if changed {
            changes = changes | kind;
        }
    }
    changes
}
