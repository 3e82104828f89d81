//! The plugins, each a file named as upstream's, and the default profile. Order and weights: upstream's
//! `apis/config/v1/default_plugins.go`.

mod default_binder;
mod default_preemption;
mod node_affinity;
mod node_name;
mod node_ports;
mod node_resources_balanced_allocation;
mod node_resources_fit;
mod node_unschedulable;
mod priority_sort;
mod scheduling_gates;
mod taint_toleration;
mod toleration;

use self::{
    default_binder::DefaultBinder, default_preemption::DefaultPreemption, node_affinity::NodeAffinity,
    node_name::NodeName, node_ports::NodePorts, node_resources_balanced_allocation::BalancedAllocation,
    node_resources_fit::Fit, node_unschedulable::NodeUnschedulable, priority_sort::PrioritySort,
    scheduling_gates::SchedulingGates, taint_toleration::TaintToleration,
};
use crate::framework::Profile;

impl Default for Profile {
    /// `default-scheduler`.
    fn default() -> Self {
        Self {
            scheduler_name: "default-scheduler",
            pre_enqueue: vec![Box::new(SchedulingGates)],
            queue_sort: Box::new(PrioritySort),
            pre_filter: vec![Box::new(NodeAffinity), Box::new(NodePorts), Box::new(Fit)],
            filter: vec![
                Box::new(NodeUnschedulable),
                Box::new(NodeName),
                Box::new(TaintToleration),
                Box::new(NodeAffinity),
                Box::new(NodePorts),
                Box::new(Fit),
            ],
            post_filter: vec![Box::new(DefaultPreemption)],
            pre_score: vec![Box::new(TaintToleration), Box::new(NodeAffinity), Box::new(BalancedAllocation)],
            score: vec![
                (Box::new(TaintToleration), 3),
                (Box::new(NodeAffinity), 2),
                (Box::new(Fit), 1),
                (Box::new(BalancedAllocation), 1),
            ],
            bind: Box::new(DefaultBinder),
        }
    }
}
