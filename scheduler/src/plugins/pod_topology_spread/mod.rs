//! Pods of a kind are spread evenly over zones, hosts or whatever label of nodes (KEP-895): `maxSkew` is how many more of
//! them a domain may have than the one that has least.

mod constraint;
mod filter;
mod score;

use k8s_openapi::api::core::v1::TopologySpreadConstraint;
use kubelab_api::well_known::label;

use self::constraint::{Constraint, Eligible, Wish};
use crate::framework::{ClusterEvent, Events, Objects, Plugin, PodInfo};

/// Upstream: `PodTopologySpread`.
#[derive(Clone, Debug)]
pub struct PodTopologySpread {
    /// For pods without constraints of their own that a Service or a controller selects.
    defaults: Vec<TopologySpreadConstraint>,
    /// The defaults are the built-in ones, which nodes without a zone do not fall out of.
    system: bool,
}

impl Default for PodTopologySpread {
    /// Source: `systemDefaultConstraints`.
    fn default() -> Self {
        let soft = |key: &str, max_skew: i32| TopologySpreadConstraint {
            topology_key: key.to_owned(),
            when_unsatisfiable: "ScheduleAnyway".to_owned(),
            max_skew,
            ..TopologySpreadConstraint::default()
        };
        Self { defaults: vec![soft(label::HOSTNAME, 3), soft(label::ZONE, 5)], system: true }
    }
}

impl PodTopologySpread {
    /// With these defaults instead of the built-in ones.
    pub fn with_defaults(defaults: Vec<TopologySpreadConstraint>) -> Self {
        Self { defaults, system: false }
    }

    /// The constraints that hold for a pod: its own of this kind, or the defaults.
    fn constraints(&self, pod: &PodInfo, wish: Wish, objects: &Objects) -> Vec<Constraint> {
        let own = own(pod);
        if !own.is_empty() {
            return own.iter().filter(|own| wish.is(own)).map(|own| Constraint::of_pod(own, pod)).collect();
        }
        if !self.defaults.iter().any(|default| wish.is(default)) {
            return Vec::new();
        }
        let selector = constraint::default_selector(pod, objects);
        if selector.requirements().is_none_or(<[_]>::is_empty) {
            return Vec::new();
        }
        let defaults = self.defaults.iter().filter(|default| wish.is(default));
        defaults.map(|default| Constraint::with_selector(default, selector.clone())).collect()
    }

    /// What the pod's constraints are about, for its counts.
    fn eligible(&self, pod: &PodInfo, constraints: &[Constraint]) -> Eligible {
        Eligible::new(pod, constraints, !own(pod).is_empty() || !self.system)
    }
}

fn own(pod: &PodInfo) -> &[TopologySpreadConstraint] {
    pod.spec().and_then(|spec| spec.topology_spread_constraints.as_deref()).unwrap_or_default()
}

impl Plugin for PodTopologySpread {
    fn name(&self) -> &'static str {
        "PodTopologySpread"
    }

    fn events(&self) -> Events {
        Events::NODE_ADDED
            | Events::NODE_LABELS
            | Events::NODE_TAINTS
            | Events::NODE_REMOVED
            | Events::POD_ASSIGNED
            | Events::POD_UPDATED
            | Events::POD_REMOVED
    }

    fn wakes(&self, pod: &PodInfo, event: &ClusterEvent) -> bool {
        let constraints: Vec<Constraint> =
            own(pod).iter().filter(|own| Wish::Must.is(own)).map(|own| Constraint::of_pod(own, pod)).collect();
        if constraints.is_empty() {
            return true;
        }
        let counts = |other: &PodInfo| {
            other.namespace() == pod.namespace()
                && constraints.iter().any(|constraint| constraint.selector.matches(other.labels()))
        };
        let has_all = |labels: Option<&std::collections::BTreeMap<String, String>>| {
            constraints.iter().all(|constraint| labels.is_some_and(|labels| labels.contains_key(&*constraint.key)))
        };
        match event {
            ClusterEvent::PodAssigned(other) | ClusterEvent::PodRemoved(other) => counts(other),
            ClusterEvent::PodUpdated { old, new } => counts(old) != counts(new),
            ClusterEvent::NodeAdded(node) | ClusterEvent::NodeRemoved(node) => has_all(node.metadata.labels.as_ref()),
            ClusterEvent::NodeUpdated { old, new } => {
                has_all(old.metadata.labels.as_ref()) || has_all(new.metadata.labels.as_ref())
            }
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests;
