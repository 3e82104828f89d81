//! A node has room for what a pod asks for; which of the nodes with room are better is the scoring strategy's to say.

use k8s_openapi::api::core::v1::Node;

use super::resource_strategy::Strategy;
use crate::framework::{
    ClusterEvent, CycleState, Events, Filter, NodeInfo, Plugin, PodInfo, PreFilter, PreFiltered, Reason, Rejection,
    Resources, Score, Snapshot, Verdict,
};

/// Upstream: `NodeResourcesFit`.
#[derive(Clone, Debug, Default)]
pub struct Fit {
    /// Extended resources that need no room, by name.
    pub ignored: Vec<String>,
    /// The same by the part of the name before `/`.
    pub ignored_groups: Vec<String>,
    /// What nodes are better.
    pub strategy: Strategy,
}

impl Fit {
    fn ignores(&self, resource: &str) -> bool {
        let group = resource.split_once('/').map(|(group, _)| group);
        self.ignored.iter().any(|ignored| ignored == resource)
            || group.is_some_and(|group| self.ignored_groups.iter().any(|ignored| ignored == group))
    }

    /// What a pod asks for beyond what is free, and whether the node could ever have it.
    fn missing(&self, asked: &Resources, allocatable: &Resources, requested: &Resources) -> (Vec<Reason>, bool) {
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
        for (name, amount) in asked.scalar.iter().filter(|(name, _)| !self.ignores(name)) {
            let of = |resources: &Resources| resources.scalar.get(name).copied().unwrap_or_default();
            check(*amount, of(allocatable), of(requested), &|| format!("Insufficient {name}").into());
        }
        (reasons, resolvable)
    }

    fn could_have(&self, node: &Node, pod: &PodInfo) -> bool {
        let allocatable = Resources::parse(node.status.as_ref().and_then(|status| status.allocatable.as_ref()));
        self.missing(&pod.requests, &allocatable, &Resources::default()).0.is_empty()
    }
}

impl Plugin for Fit {
    fn name(&self) -> &'static str {
        "NodeResourcesFit"
    }

    fn events(&self) -> Events {
        Events::NODE_ADDED | Events::NODE_ALLOCATABLE | Events::POD_REMOVED | Events::POD_UPDATED
    }

    fn wakes(&self, pod: &PodInfo, event: &ClusterEvent) -> bool {
        match event {
            ClusterEvent::NodeAdded(node) => self.could_have(node, pod),
            ClusterEvent::NodeUpdated { old, new } => {
                let allocatable = |node: &Node| node.status.as_ref().and_then(|status| status.allocatable.clone());
                allocatable(old) != allocatable(new) && self.could_have(new, pod)
            }
            // It was resized and asks for less of something.
            ClusterEvent::PodUpdated { old, new } => {
                let (old, new) = (&old.requests, &new.requests);
                new.milli_cpu < old.milli_cpu
                    || new.memory < old.memory
                    || new.ephemeral_storage < old.ephemeral_storage
            }
            _ => true,
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
        let full = node.pods.len() as i64 + 1 > node.allocatable.pods;
        let (mut reasons, resolvable) = self.missing(&pod.requests, &node.allocatable, &node.requested);
        if full {
            reasons.insert(0, "Too many pods".into());
        }
        if reasons.is_empty() {
            return Ok(());
        }
        Err(Rejection { plugin: self.name(), reasons, resolvable })
    }
}

impl Score for Fit {
    fn score(&self, _: &CycleState, pod: &PodInfo, node: &NodeInfo) -> i64 {
        self.strategy.score(pod, node)
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
            assert_eq!(said(Fit::default().filter(&CycleState::default(), &pod, &node)), expected, "{requests}");
        }
        node.add_pod(Arc::new(pod(json!({ "name": "other" }))));
        assert_eq!(said(Fit::default().filter(&CycleState::default(), &asking(json!({})), &node)), "Too many pods");
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
        let score =
            |requests: Value, node: &NodeInfo| Fit::default().score(&CycleState::default(), &asking(requests), node);
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
        assert!(Fit::default().wakes(&small, &added) && !Fit::default().wakes(&large, &added));
        assert!(Fit::default().wakes(&large, &ClusterEvent::PodRemoved(Arc::new(small))));
    }
}
