//! What is to be done next about a StatefulSet's pods. Source: `updateStatefulSet`, `processReplica`, `processCondemned` and
//! `updateStatefulSetAfterInvariantEstablished` in `pkg/controller/statefulset/stateful_set_control.go` in Kubernetes.
//!
//! Ordered sets do one thing at a time and wait until what comes before is available; parallel ones do all that they can.

mod update;

use std::{cmp::Reverse, sync::Arc};

use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{PersistentVolumeClaim, Pod},
};
use kubelab_api::{
    meta::is_deleting,
    pod::{is_available, is_ready, is_terminal, phase},
};

pub use self::update::{on_delete, partition};
use super::{
    claims::{self, Owners},
    identity::{self, ordinals},
};

/// What a plan is made from.
pub struct View<'a> {
    /// The set.
    pub set: &'a StatefulSet,
    /// Its pods, all named after it.
    pub pods: &'a [Arc<Pod>],
    /// The name of the revision that pods are updated to.
    pub update: &'a str,
    /// Finds a claim by its name.
    pub claim: &'a dyn Fn(&str) -> Option<Arc<PersistentVolumeClaim>>,
    /// The present.
    pub now: Timestamp,
}

/// Something to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Create the pod with this ordinal, and its claims before.
    Create(i32),
    /// Delete this pod: it has ended, is one too many, or is to be made anew of the next revision.
    Delete(Arc<Pod>),
    /// Create what claims this pod lacks, and set the owners of all.
    Claims(Arc<Pod>),
    /// Give this pod back its labels and volumes, and its claims their owners.
    Restore(Arc<Pod>),
    /// Set the owners of this pod's claims.
    Owners(Arc<Pod>),
}

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// The next of these begins when the one before has succeeded; the steps of one are done in order, or together where the
    /// set allows that.
    pub phases: Vec<Vec<Step>>,
    /// The pods that the last phase deletes so that they are made anew. They no longer count as current.
    pub outdated: Vec<Arc<Pod>>,
}

/// The set does not care for order.
pub fn is_parallel(set: &StatefulSet) -> bool {
    set.spec.pod_management_policy.as_deref() == Some("Parallel")
}

/// What is to be done now.
pub fn plan(view: &View<'_>) -> Plan {
    let mut condemned: Vec<Arc<Pod>> = Vec::new();
    let mut replicas: Vec<Option<Arc<Pod>>> = vec![None; usize::try_from(identity::replicas(view.set)).unwrap_or(0)];
    let range = ordinals(view.set);
    for pod in view.pods {
        let Some(ordinal) = identity::ordinal(view.set, pod) else { continue };
        let place = ordinal.checked_sub(range.start).and_then(|place| usize::try_from(place).ok());
        match place.and_then(|place| replicas.get_mut(place)) {
            Some(replica) => *replica = Some(Arc::clone(pod)),
            None => condemned.push(Arc::clone(pod)),
        }
    }
    condemned.sort_by_key(|pod| Reverse(identity::ordinal(view.set, pod)));

    let mut plan = Plan::default();
    let (steps, goes_on) = view.keep(&replicas);
    plan.phases.push(steps);
    if !goes_on {
        return plan;
    }
    let wrongly_owned = condemned.iter().filter(|pod| !view.claims_are_owned_rightly(pod));
    plan.phases.push(wrongly_owned.cloned().map(Step::Owners).collect());
    let (steps, goes_on) = view.scale_down(&replicas, &condemned);
    plan.phases.push(steps);
    if goes_on {
        plan.outdated = view.outdated(&replicas);
        plan.phases.push(plan.outdated.iter().cloned().map(Step::Delete).collect());
    }
    plan
}

impl View<'_> {
    /// Ended pods go, missing ones are made, changed ones restored.
    fn keep(&self, replicas: &[Option<Arc<Pod>>]) -> (Vec<Step>, bool) {
        let ordered = !is_parallel(self.set);
        let mut steps = Vec::new();
        for (ordinal, replica) in ordinals(self.set).zip(replicas) {
            let Some(pod) = replica else {
                if !self.has_stale_claims(ordinal) {
                    steps.push(Step::Create(ordinal));
                }
                if ordered {
                    return (steps, false);
                }
                continue;
            };
            if is_terminal(pod) {
                if !is_deleting(&pod.metadata) {
                    steps.push(Step::Delete(Arc::clone(pod)));
                }
                if ordered {
                    return (steps, false);
                }
                continue;
            }
            if phase(pod) == "Pending" && !self.has_its_claims(pod, ordinal) {
                steps.push(Step::Claims(Arc::clone(pod)));
            }
            if ordered && (is_deleting(&pod.metadata) || !is_running_and_ready(pod) || !self.is_available(pod)) {
                return (steps, false);
            }
            let restored =
                identity::is_identified(self.set, pod, ordinal) && identity::has_storage(self.set, pod, ordinal);
            if !restored || !self.claims_are_owned_rightly(pod) {
                steps.push(Step::Restore(Arc::clone(pod)));
            }
        }
        (steps, true)
    }

    /// Those with the highest ordinals go first; in an ordered set each waits for the next lower one to be available.
    fn scale_down(&self, replicas: &[Option<Arc<Pod>>], condemned: &[Arc<Pod>]) -> (Vec<Step>, bool) {
        if is_parallel(self.set) {
            let going = condemned.iter().filter(|pod| !is_deleting(&pod.metadata));
            return (going.cloned().map(Step::Delete).collect(), true);
        }
        let Some(next) = condemned.first() else { return (Vec::new(), true) };
        let all = replicas.iter().flatten().chain(condemned.iter().rev());
        let first_unavailable = all.into_iter().find(|pod| self.is_unavailable(pod));
        let is_first = first_unavailable.is_some_and(|pod| Arc::ptr_eq(pod, next));
        let blocked =
            is_deleting(&next.metadata) || (!is_first && (!is_running_and_ready(next) || !self.is_available(next)));
        (if blocked { Vec::new() } else { vec![Step::Delete(Arc::clone(next))] }, false)
    }

    fn has_stale_claims(&self, ordinal: i32) -> bool {
        let pod = identity::pod_name(self.set, ordinal);
        claims::deletes_when_scaled(self.set)
            && claims::names(self.set, ordinal)
                .any(|name| (self.claim)(&name).is_some_and(|claim| claims::is_stale(&claim, &pod)))
    }

    fn has_its_claims(&self, pod: &Pod, ordinal: i32) -> bool {
        let mut claims = claims::names(self.set, ordinal).map(|name| (self.claim)(&name));
        claims.all(|claim| claim.is_some_and(|claim| claims::owners(self.set, pod, &claim) == Owners::Right))
    }

    /// Missing claims count as right: they are made as they should be.
    fn claims_are_owned_rightly(&self, pod: &Pod) -> bool {
        let Some(ordinal) = identity::ordinal(self.set, pod) else { return true };
        let mut claims = claims::names(self.set, ordinal).filter_map(|name| (self.claim)(&name));
        claims.all(|claim| claims::owners(self.set, pod, &claim) == Owners::Right)
    }

    fn is_available(&self, pod: &Pod) -> bool {
        is_available(pod, self.set.spec.min_ready_seconds.unwrap_or(0), self.now)
    }

    fn is_unavailable(&self, pod: &Pod) -> bool {
        is_deleting(&pod.metadata) || !self.is_available(pod)
    }
}

fn is_running_and_ready(pod: &Pod) -> bool {
    phase(pod) == "Running" && is_ready(pod)
}

#[cfg(test)]
mod tests;
