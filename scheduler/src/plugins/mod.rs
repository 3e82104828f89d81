//! The plugins, each a file or folder named as upstream's. Which run where is for the configuration to say
//! ([`crate::config`]).

mod default_binder;
mod default_preemption;
mod image_locality;
mod inter_pod_affinity;
mod node_affinity;
mod node_name;
mod node_ports;
mod node_resources_balanced_allocation;
mod node_resources_fit;
mod node_unschedulable;
mod node_volume_limits;
mod pod_topology_spread;
mod priority_sort;
mod resource_strategy;
mod scheduling_gates;
mod taint_toleration;
mod volume_binding;
mod volume_restrictions;
mod volume_zone;

pub use self::{
    default_binder::DefaultBinder,
    default_preemption::{BY_SCHEDULER, DefaultPreemption},
    image_locality::ImageLocality,
    inter_pod_affinity::InterPodAffinity,
    node_affinity::NodeAffinity,
    node_name::NodeName,
    node_ports::NodePorts,
    node_resources_balanced_allocation::BalancedAllocation,
    node_resources_fit::Fit,
    node_unschedulable::NodeUnschedulable,
    node_volume_limits::NodeVolumeLimits,
    pod_topology_spread::PodTopologySpread,
    priority_sort::PrioritySort,
    resource_strategy::{Shape, Strategy, Weights},
    scheduling_gates::SchedulingGates,
    taint_toleration::TaintToleration,
    volume_binding::VolumeBinding,
    volume_restrictions::VolumeRestrictions,
    volume_zone::VolumeZone,
};
