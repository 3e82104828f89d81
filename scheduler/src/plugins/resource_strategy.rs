//! Which nodes with room are better: the scoring strategies of `NodeResourcesFit`.

use crate::framework::{MAX_NODE_SCORE, NodeInfo, PodInfo, ResourceName};

/// What is scored, with weights.
pub type Weights = Vec<(ResourceName, i64)>;

/// Upstream: `ScoringStrategy`.
#[derive(Clone, Debug)]
pub enum Strategy {
    /// Emptier nodes are better.
    LeastAllocated(Weights),
    /// Fuller nodes are better.
    MostAllocated(Weights),
    /// The score is a function of how full the node would be.
    RequestedToCapacityRatio(Weights, Shape),
}

/// Points of a function, percent used to score (0..=100), in ascending order; straight lines between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape(pub Vec<(i64, i64)>);

impl Shape {
    /// The score where `percent` of something is used.
    pub fn at(&self, percent: i64) -> i64 {
        let points = &self.0;
        let Some(after) = points.iter().position(|(used, _)| percent <= *used) else {
            return points.last().map_or(0, |(_, score)| *score);
        };
        if after == 0 {
            return points[0].1;
        }
        let ((left, low), (right, high)) = (points[after - 1], points[after]);
        low + (high - low) * (percent - left) / (right - left)
    }
}

/// CPU and memory, equally.
pub fn cpu_and_memory() -> Weights {
    vec![(ResourceName::Cpu, 1), (ResourceName::Memory, 1)]
}

impl Default for Strategy {
    fn default() -> Self {
        Self::LeastAllocated(cpu_and_memory())
    }
}

/// `part` of `whole` as a score; the product of a score and a number of bytes may pass 64 bits.
fn share(part: i64, whole: i64) -> i64 {
    i64::try_from(i128::from(part) * i128::from(MAX_NODE_SCORE) / i128::from(whole)).unwrap_or(MAX_NODE_SCORE)
}

impl Strategy {
    /// The score of a node if the pod ran there too.
    pub fn score(&self, pod: &PodInfo, node: &NodeInfo) -> i64 {
        match self {
            Self::LeastAllocated(weights) => {
                average(weights, pod, node, |requested, capacity| match capacity - requested {
                    free if free >= 0 => share(free, capacity),
                    _ => 0,
                })
            }
            Self::MostAllocated(weights) => {
                average(weights, pod, node, |requested, capacity| share(requested.min(capacity), capacity))
            }
            Self::RequestedToCapacityRatio(weights, shape) => ratio(weights, shape, pod, node),
        }
    }
}

/// What is asked for of a resource and what there is, if it counts: extended resources do only for pods that want them.
fn amounts(resource: &ResourceName, pod: &PodInfo, node: &NodeInfo) -> Option<(i64, i64)> {
    let asked = pod.scored_requests.of(resource);
    if matches!(resource, ResourceName::Scalar(_)) && asked == 0 {
        return None;
    }
    let capacity = node.allocatable.of(resource);
    (capacity > 0).then(|| (node.scored_requested.of(resource) + asked, capacity))
}

fn average(weights: &Weights, pod: &PodInfo, node: &NodeInfo, score: impl Fn(i64, i64) -> i64) -> i64 {
    let (mut sum, mut weight_sum) = (0, 0);
    for (resource, weight) in weights {
        if let Some((requested, capacity)) = amounts(resource, pod, node) {
            sum += score(requested, capacity) * weight;
            weight_sum += weight;
        }
    }
    if weight_sum == 0 { 0 } else { sum / weight_sum }
}

/// Resources that score nothing do not count. Source: `buildRequestedToCapacityRatioScorerFunction`.
fn ratio(weights: &Weights, shape: &Shape, pod: &PodInfo, node: &NodeInfo) -> i64 {
    let (mut sum, mut weight_sum) = (0, 0);
    for (resource, weight) in weights {
        let Some((requested, capacity)) = amounts(resource, pod, node) else { continue };
        let used = if requested > capacity { 100 } else { share(requested, capacity) };
        let score = shape.at(used);
        if score > 0 {
            sum += score * weight;
            weight_sum += weight;
        }
    }
    if weight_sum == 0 { 0 } else { (sum as f64 / weight_sum as f64).round() as i64 }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::testing::{asking, node, plain};

    #[test]
    fn strategies_prefer_what_they_are_named_after() {
        let mut busy = plain("busy");
        busy.add_pod(Arc::new(asking(json!({ "cpu": "2", "memory": "4Gi" }))));
        let pod = asking(json!({ "cpu": "1", "memory": "2Gi" }));
        let full = asking(json!({ "cpu": "4", "memory": "8Gi" }));
        let packing = Strategy::RequestedToCapacityRatio(cpu_and_memory(), Shape(vec![(0, 0), (100, 100)]));
        let peak = Strategy::RequestedToCapacityRatio(cpu_and_memory(), Shape(vec![(0, 20), (50, 100), (100, 0)]));
        for (strategy, empty, half, over) in [
            (Strategy::default(), 75, 25, 0),
            (Strategy::MostAllocated(cpu_and_memory()), 25, 75, 100),
            (packing, 25, 75, 100),
            (peak, 60, 50, 0),
        ] {
            let scores =
                (strategy.score(&pod, &plain("empty")), strategy.score(&pod, &busy), strategy.score(&full, &busy));
            assert_eq!(scores, (empty, half, over), "{strategy:?}");
        }
    }

    #[test]
    fn weights_and_extended_resources_count() {
        let gpu = ResourceName::Scalar("gpu.example/x".into());
        let allocatable = json!({ "cpu": "4", "memory": "8Gi", "pods": "110", "gpu.example/x": "4" });
        let node = node("n", json!({}), json!({}), allocatable);
        let strategy = Strategy::LeastAllocated(vec![(ResourceName::Cpu, 1), (gpu, 3)]);
        let with = asking(json!({ "cpu": "2", "memory": "1Gi", "gpu.example/x": "1" }));
        assert_eq!(strategy.score(&with, &node), (50 + 3 * 75) / 4);
        let without = asking(json!({ "cpu": "2", "memory": "1Gi" }));
        assert_eq!(strategy.score(&without, &node), 50);
    }
}
