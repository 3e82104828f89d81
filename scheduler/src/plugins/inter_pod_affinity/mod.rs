//! Pods that must, or would rather, run beside others or away from them. "Beside" is the same value of a label of nodes.
//!
//! Anti-affinity holds both ways: a pod may not come to where a pod runs that refuses to be beside it. For scoring, so does
//! all else: pods that run are asked what they think of the one that comes.

mod filter;
mod score;

use crate::framework::{ClusterEvent, Events, Plugin, PodInfo, Term};

/// Upstream: `InterPodAffinity`.
#[derive(Clone, Debug)]
pub struct InterPodAffinity {
    /// What a required term of a pod that runs counts for scoring, as if it were preferred with this weight.
    pub hard_pod_affinity_weight: i64,
    /// What pods that run prefer does not count where the pod that comes prefers nothing.
    pub ignore_preferred_terms_of_existing_pods: bool,
}

impl Default for InterPodAffinity {
    fn default() -> Self {
        Self { hard_pod_affinity_weight: 1, ignore_preferred_terms_of_existing_pods: false }
    }
}

fn required(pod: &PodInfo) -> &[Term] {
    pod.affinity.as_ref().map_or(&[], |terms| &terms.required)
}

fn required_anti(pod: &PodInfo) -> &[Term] {
    pod.affinity.as_ref().map_or(&[], |terms| &terms.required_anti)
}

impl Plugin for InterPodAffinity {
    fn name(&self) -> &'static str {
        "InterPodAffinity"
    }

    fn events(&self) -> Events {
        Events::NODE_ADDED | Events::NODE_LABELS | Events::POD_ASSIGNED | Events::POD_UPDATED | Events::POD_REMOVED
    }

    fn wakes(&self, pod: &PodInfo, event: &ClusterEvent) -> bool {
        let wanted = |other: &PodInfo| {
            let terms = required(pod);
            !terms.is_empty() && terms.iter().all(|term| term.may_match(other))
        };
        let in_the_way = |other: &PodInfo| {
            required_anti(pod).iter().any(|term| term.may_match(other))
                || required_anti(other).iter().any(|term| term.may_match(pod))
        };
        match event {
            ClusterEvent::PodAssigned(other) => wanted(other),
            ClusterEvent::PodRemoved(other) => in_the_way(other),
            ClusterEvent::PodUpdated { old, new } => {
                (wanted(new) && !wanted(old)) || (in_the_way(old) && !in_the_way(new))
            }
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests;
