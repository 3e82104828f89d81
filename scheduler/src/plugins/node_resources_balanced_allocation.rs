//! Nodes whose resources (CPU and memory, unless configured) would be used to like shares are better.

use super::resource_strategy::{Weights, cpu_and_memory};
use crate::framework::{CycleState, MAX_NODE_SCORE, NodeInfo, Plugin, PodInfo, PreScore, Score, Snapshot};

/// Upstream: `NodeResourcesBalancedAllocation`.
#[derive(Clone, Debug)]
pub struct BalancedAllocation {
    /// What is to be balanced; the weights do not matter.
    pub resources: Weights,
}

impl Default for BalancedAllocation {
    fn default() -> Self {
        Self { resources: cpu_and_memory() }
    }
}

impl Plugin for BalancedAllocation {
    fn name(&self) -> &'static str {
        "NodeResourcesBalancedAllocation"
    }
}

impl PreScore for BalancedAllocation {
    /// Pods that ask for nothing would all go to the same node (kubernetes/kubernetes#129138).
    fn pre_score(&self, _: &mut CycleState, pod: &PodInfo, _: &[&NodeInfo], _: &Snapshot) -> bool {
        self.resources.iter().any(|(name, _)| pod.requests.of(name) != 0)
    }
}

impl Score for BalancedAllocation {
    /// The less, the more the shares deviate from each other: `(1 - standard deviation) × 100`.
    fn score(&self, _: &CycleState, pod: &PodInfo, node: &NodeInfo) -> i64 {
        let shares = self.resources.iter().filter_map(|(name, _)| {
            let capacity = node.allocatable.of(name);
            let requested = node.requested.of(name) + pod.requests.of(name);
            (capacity != 0).then(|| (requested as f64 / capacity as f64).min(1.0))
        });
        ((1.0 - deviation(shares)) * MAX_NODE_SCORE as f64) as i64
    }
}

fn deviation(shares: impl Iterator<Item = f64> + Clone) -> f64 {
    let mut first = shares.clone();
    match (first.next(), first.next(), first.next()) {
        (None, ..) => 0.0,
        // Exact where the general formula is not.
        (Some(one), Some(other), None) => ((one - other) / 2.0).abs(),
        _ => {
            let count = shares.clone().count() as f64;
            let mean = shares.clone().sum::<f64>() / count;
            (shares.map(|share| (share - mean).powi(2)).sum::<f64>() / count).sqrt()
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{asking, plain};

    #[test]
    fn like_shares_score_higher() {
        for (requests, expected) in [
            (json!({ "cpu": "2", "memory": "4Gi" }), 100),
            (json!({ "cpu": "4", "memory": "4Gi" }), 75),
            (json!({ "cpu": "4" }), 50),
            (json!({ "cpu": "40" }), 50),
        ] {
            let score = BalancedAllocation::default().score(
                &CycleState::default(),
                &asking(requests.clone()),
                &plain("node-1"),
            );
            assert_eq!(score, expected, "{requests}");
        }
        assert!(!BalancedAllocation::default().pre_score(
            &mut CycleState::default(),
            &asking(json!({})),
            &[],
            &Snapshot::default()
        ));
    }
}
