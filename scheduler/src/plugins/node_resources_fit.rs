//! A node has room for what a pod asks for; emptier nodes are better (`LeastAllocated`, upstream's default strategy).

use k8s_openapi::api::core::v1::Node;

use crate::framework::{
    ClusterEvent, CycleState, Filter, MAX_NODE_SCORE, NodeInfo, Plugin, PodInfo, PreFilter, PreFiltered, Reason,
    Rejection, Resources, Score, Snapshot, Verdict,
};

/// Upstream: `NodeResourcesFit`.
pub struct Fit;

/// What is scored, each with weight 1.
const SCORED: [&str; 2] = ["cpu", "memory"];

/// What a pod asks for beyond what is free, and whether the node could ever have it.
fn missing(asked: &Resources, allocatable: &Resources, requested: &Resources) -> (Vec<Reason>, bool) {
    let mut reasons: Vec<Reason> = Vec::new();
    let mut resolvable = true;
    let mut check = |asked: i64, allocatable: i64, requested: i64, reason: &dyn Fn() -> Reason| {
        if asked > 0 && asked > allocatable - requested {
            reasons.push(reason());
            resolvable &= asked <= allocatable;
        }
    };
    check(asked.milli_cpu, allocatable.milli_cpu, requested.milli_cpu, &|| "Insufficient cpu".into());
    check(asked.memory, allocatable.memory, requested.memory, &|| "Insufficient memory".into());
    check(asked.ephemeral_storage, allocatable.ephemeral_storage, requested.ephemeral_storage, &|| {
        "Insufficient ephemeral-storage".into()
    });
    for (name, amount) in &asked.scalar {
        check(*amount, allocatable.amount(name), requested.amount(name), &|| format!("Insufficient {name}").into());
    }
    (reasons, resolvable)
}

impl Plugin for Fit {
    fn name(&self) -> &'static str {
        "NodeResourcesFit"
    }

    fn wakes(&self, pod: &PodInfo, event: &ClusterEvent) -> bool {
        let has_room = |node: &Node| {
            let allocatable = Resources::parse(node.status.as_ref().and_then(|status| status.allocatable.as_ref()));
            missing(&pod.requests, &allocatable, &Resources::default()).0.is_empty()
        };
        match event {
            ClusterEvent::NodeAdded(node) => has_room(node),
            ClusterEvent::NodeUpdated { old, new } => {
                let allocatable = |node: &Node| node.status.as_ref().and_then(|status| status.allocatable.clone());
                allocatable(old) != allocatable(new) && has_room(new)
            }
            ClusterEvent::PodRemoved(_) => true,
            ClusterEvent::PodAssigned(_) => false,
        }
    }
}

impl PreFilter for Fit {
    fn pre_filter(&self, _: &mut CycleState, _: &PodInfo, _: &Snapshot) -> Result<PreFiltered, Rejection> {
        Ok(PreFiltered::All)
    }
}

impl Filter for Fit {
    fn filter(&self, _: &CycleState, pod: &PodInfo, node: &NodeInfo) -> Verdict {
        let (mut reasons, resolvable) = missing(&pod.requests, &node.allocatable, &node.requested);
        if node.pods.len() as i64 + 1 > node.allocatable.pods {
            reasons.insert(0, "Too many pods".into());
        }
        if reasons.is_empty() {
            return Ok(());
        }
        Err(Rejection { plugin: self.name(), reasons, resolvable })
    }
}

impl Score for Fit {
    /// The share that stays free, over the resources that the node has.
    fn score(&self, _: &CycleState, pod: &PodInfo, node: &NodeInfo) -> i64 {
        let (mut sum, mut count) = (0, 0);
        for name in SCORED {
            let allocatable = node.allocatable.amount(name);
            if allocatable == 0 {
                continue;
            }
            let requested = node.scored_requested.amount(name) + pod.scored_requests.amount(name);
            count += 1;
            if requested <= allocatable {
                // The product of a score and a number of bytes may pass 64 bits.
                let free = i128::from(allocatable - requested) * i128::from(MAX_NODE_SCORE) / i128::from(allocatable);
                sum += i64::try_from(free).unwrap_or(MAX_NODE_SCORE);
            }
        }
        if count == 0 { 0 } else { sum / count }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;
    use crate::testing::{asking, node, plain, pod, said};

    #[test]
    fn room_is_what_is_not_asked_for() {
        let mut node = node(
            "node-1",
            json!({}),
            json!({}),
            json!({ "cpu": "4", "memory": "8Gi", "ephemeral-storage": "10Gi", "pods": "2", "gpu.example/x": "1" }),
        );
        node.add_pod(Arc::new(asking(json!({ "cpu": "3", "memory": "1Gi" }))));
        for (requests, expected) in [
            (json!({}), "fits"),
            (json!({ "cpu": "1" }), "fits"),
            (json!({ "cpu": "1001m" }), "Insufficient cpu"),
            (json!({ "cpu": "5" }), "Insufficient cpu!"),
            (json!({ "cpu": "2", "memory": "7.5Gi" }), "Insufficient cpu, Insufficient memory"),
            (json!({ "ephemeral-storage": "11Gi" }), "Insufficient ephemeral-storage!"),
            (json!({ "gpu.example/x": "1" }), "fits"),
            (json!({ "gpu.example/y": "1" }), "Insufficient gpu.example/y!"),
        ] {
            let pod = asking(requests.clone());
            assert_eq!(said(Fit.filter(&CycleState::default(), &pod, &node)), expected, "{requests}");
        }
        node.add_pod(Arc::new(pod(json!({ "name": "other" }))));
        assert_eq!(said(Fit.filter(&CycleState::default(), &asking(json!({})), &node)), "Too many pods");
    }

    #[test]
    fn init_containers_and_overhead_count() {
        let container = |cpu: &str| json!({ "name": "c", "resources": { "requests": { "cpu": cpu } } });
        let pod = pod(json!({
            "initContainers": [container("3")],
            "containers": [container("1"), container("1")],
            "overhead": { "cpu": "500m" },
        }));
        assert_eq!(pod.requests.milli_cpu, 3500);
    }

    #[test]
    fn emptier_nodes_score_higher() {
        let mut busy = plain("busy");
        busy.add_pod(Arc::new(asking(json!({ "cpu": "2", "memory": "4Gi" }))));
        let score = |requests: Value, node: &NodeInfo| Fit.score(&CycleState::default(), &asking(requests), node);
        for (requests, empty, half) in [
            (json!({ "cpu": "1", "memory": "2Gi" }), 75, 25),
            (json!({ "cpu": "4", "memory": "8Gi" }), 0, 0),
            (json!({ "cpu": "0", "memory": "0" }), 100, 50),
            // Containers that ask for nothing count as 100m and 200Mi.
            (json!({}), 97, 47),
        ] {
            let scores = (score(requests.clone(), &plain("empty")), score(requests.clone(), &busy));
            assert_eq!(scores, (empty, half), "{requests}");
        }
    }

    #[test]
    fn room_wakes() {
        let small = asking(json!({ "cpu": "1" }));
        let large = asking(json!({ "cpu": "5" }));
        let added = ClusterEvent::NodeAdded(plain("node-1").node.unwrap());
        assert!(Fit.wakes(&small, &added) && !Fit.wakes(&large, &added));
        assert!(Fit.wakes(&large, &ClusterEvent::PodRemoved(Arc::new(small))));
    }
}
