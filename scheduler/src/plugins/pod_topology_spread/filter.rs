//! Constraints that must be kept. Source: `podtopologyspread/filtering.go`.

use std::sync::Arc;

use super::{Constraint, Eligible, PodTopologySpread, Wish};
use crate::framework::{
    Adjusted, CycleState, Filter, NodeInfo, Plugin, PodInfo, PreFilter, PreFiltered, Rejection, Snapshot, Verdict,
    WhatIf,
};

const UNEVEN: &str = "node(s) didn't match pod topology spread constraints";
const NO_LABEL: &str = "node(s) didn't match pod topology spread constraints (missing required label)";

/// The pod's constraints with what is counted for each.
#[derive(Clone)]
struct Spread {
    eligible: Arc<Eligible>,
    constraints: Vec<Counted>,
}

#[derive(Clone)]
struct Counted {
    constraint: Constraint,
    pods: Adjusted,
    /// How many pods the domain with the fewest has.
    least: i64,
    /// The pod itself would count.
    itself: bool,
}

impl Counted {
    /// A cluster without any domain has nothing to be uneven to.
    fn find_least(&mut self) {
        let Some(axis) = self.pods.tally.axis(&self.constraint.key) else {
            self.least = i64::from(i32::MAX);
            return;
        };
        let (mut domains, mut least) = (0, i64::from(i32::MAX));
        for (domain, sum) in axis.known() {
            domains += 1;
            least = least.min(sum + self.pods.adjustment(&self.constraint.key, domain));
        }
        self.least = if domains < self.constraint.min_domains { 0 } else { least };
    }
}

impl PreFilter for PodTopologySpread {
    fn pre_filter(&self, state: &mut CycleState, pod: &PodInfo, snapshot: &Snapshot) -> Result<PreFiltered, Rejection> {
        let constraints = self.constraints(pod, Wish::Must, snapshot.objects());
        if constraints.is_empty() {
            return Ok(PreFiltered::Skip);
        }
        // Constraints that must be kept need all their labels, defaults too.
        let eligible = Eligible::new(pod, &constraints, true);
        let count = |constraint: Constraint| {
            let pods = eligible.tally(&constraint, snapshot);
            let itself = constraint.selector.matches(pod.labels());
            let mut counted = Counted { constraint, pods, least: 0, itself };
            counted.find_least();
            counted
        };
        let constraints = constraints.into_iter().map(count).collect();
        state.put(Spread { eligible: Arc::new(eligible), constraints });
        Ok(PreFiltered::All)
    }

    fn what_if(&self, state: &mut CycleState, pod: &PodInfo, change: &WhatIf<'_>) {
        let Some(Spread { eligible, constraints }) = state.get_mut::<Spread>() else { return };
        for counted in constraints {
            let constraint = &counted.constraint;
            if constraint.counts(change.other, pod.namespace()) && eligible.node(constraint, change.node) {
                counted.pods.add(change.snapshot, &constraint.key, change.node, change.sign);
                counted.find_least();
            }
        }
    }
}

impl Filter for PodTopologySpread {
    fn filter(&self, state: &CycleState, _: &PodInfo, node: &NodeInfo) -> Verdict {
        let Some(spread) = state.get::<Spread>() else { return Ok(()) };
        for counted in &spread.constraints {
            let Counted { constraint, pods, least, itself } = counted;
            let present = match pods.at(&constraint.key, node.place) {
                Some(pods) => pods,
                None if node.labels().is_some_and(|labels| labels.contains_key(&*constraint.key)) => 0,
                None => return Err(Rejection::unresolvable(self.name(), NO_LABEL)),
            };
            if present + i64::from(*itself) - least > constraint.max_skew {
                return Err(Rejection::unschedulable(self.name(), UNEVEN));
            }
        }
        Ok(())
    }
}
