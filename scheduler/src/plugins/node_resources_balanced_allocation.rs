//! Nodes whose CPU and memory would be used to like shares are better.

use crate::framework::{CycleState, MAX_NODE_SCORE, NodeInfo, Plugin, PodInfo, PreScore, Score};

/// Upstream: `NodeResourcesBalancedAllocation`.
pub struct BalancedAllocation;

const BALANCED: [&str; 2] = ["cpu", "memory"];

impl Plugin for BalancedAllocation {
    fn name(&self) -> &'static str {
        "NodeResourcesBalancedAllocation"
    }
}

impl PreScore for BalancedAllocation {
    /// Pods that ask for nothing would all go to the same node (kubernetes/kubernetes#129138).
    fn pre_score(&self, _: &mut CycleState, pod: &PodInfo, _: &[&NodeInfo]) -> bool {
        BALANCED.iter().any(|name| pod.requests.amount(name) != 0)
    }
}

impl Score for BalancedAllocation {
    /// The less, the more the shares deviate from each other: `(1 - standard deviation) × 100`.
    fn score(&self, _: &CycleState, pod: &PodInfo, node: &NodeInfo) -> i64 {
        let shares: Vec<f64> = BALANCED
            .iter()
            .filter(|name| node.allocatable.amount(name) != 0)
            .map(|name| {
                let requested = node.requested.amount(name) + pod.requests.amount(name);
                (requested as f64 / node.allocatable.amount(name) as f64).min(1.0)
            })
            .collect();
        ((1.0 - deviation(&shares)) * MAX_NODE_SCORE as f64) as i64
    }
}

fn deviation(shares: &[f64]) -> f64 {
    match shares {
        [] => 0.0,
        // Exact where the general formula is not.
        [one, other] => ((one - other) / 2.0).abs(),
        _ => {
            let mean = shares.iter().sum::<f64>() / shares.len() as f64;
            (shares.iter().map(|share| (share - mean).powi(2)).sum::<f64>() / shares.len() as f64).sqrt()
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
            let score = BalancedAllocation.score(&CycleState::default(), &asking(requests.clone()), &plain("node-1"));
            assert_eq!(score, expected, "{requests}");
        }
        assert!(!BalancedAllocation.pre_score(&mut CycleState::default(), &asking(json!({})), &[]));
    }
}
