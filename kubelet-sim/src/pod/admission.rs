//! Whether a pod that was bound to this node may run here. Source: `pkg/kubelet/lifecycle/predicate.go` of Kubernetes.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Node, Pod};
use kubelab_api::{Quantity, pod, selector::node::allows};

use super::memory::Ending;

/// What a node offers, by resource.
pub type Allocatable = BTreeMap<String, Quantity>;

/// Checks a pod against what the node offers beside the pods that are here already, and against the node's labels and name.
pub fn admit<'a>(
    new: &Pod,
    others: impl Iterator<Item = &'a Pod>,
    allocatable: &Allocatable,
    node: &Node,
) -> Result<(), Ending> {
    if new.spec.as_ref().is_some_and(|spec| !allows(spec, node)) {
        return Err(rejection("NodeAffinity", "Predicate NodeAffinity failed".to_owned()));
    }
    let mut used = Allocatable::new();
    let mut count = 0;
    for other in others {
        count += 1;
        for (resource, amount) in pod::requests(other) {
            *used.entry(resource).or_default() += amount;
        }
    }
    let mut requested = pod::requests(new);
    let one = Quantity::new(1, Default::default());
    requested.insert("pods".to_owned(), one);
    used.insert("pods".to_owned(), Quantity::new(count, Default::default()));
    match lack(&requested, &used, allocatable) {
        Some(lack) => Err(rejection(&format!("OutOf{}", lack.resource), lack.to_string())),
        None => Ok(()),
    }
}

/// What a node has too little of. CPU counts in thousandths here, as upstream's messages have it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Node didn't have enough resource: {resource}, requested: {requested}, used: {used}, capacity: {capacity}")]
pub struct Lack {
    /// Of what.
    pub resource: String,
    /// How much is asked for.
    pub requested: i64,
    /// How much is taken.
    pub used: i64,
    /// How much there is.
    pub capacity: i64,
}

/// The first resource of which there is too little.
pub fn lack(requested: &Allocatable, used: &Allocatable, allocatable: &Allocatable) -> Option<Lack> {
    requested.iter().find_map(|(resource, request)| {
        // Upstream ignores what the node does not know, unless it is an extended resource.
        let capacity = allocatable.get(resource).copied()?;
        let used = used.get(resource).copied().unwrap_or_default();
        let unit = |amount: Quantity| if resource == "cpu" { amount.milli_value() } else { amount.value() };
        (!request.is_zero() && used + *request > capacity).then(|| Lack {
            resource: resource.clone(),
            requested: unit(*request),
            used: unit(used),
            capacity: unit(capacity),
        })
    })
}

fn rejection(reason: &str, message: String) -> Ending {
    Ending { reason: reason.to_owned(), message, rejected: true, grace: None }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    fn pod(cpu: &str, selector: serde_json::Value) -> Pod {
        serde_json::from_value(json!({"spec": {"nodeSelector": selector, "containers": [
            {"name": "a", "resources": {"requests": {"cpu": cpu, "example.com/unknown": "9"}}}]}}))
        .unwrap()
    }

    #[test]
    fn a_pod_is_let_in_if_it_fits() {
        let allocatable = |cpu: &str, pods: &str| {
            Allocatable::from([("cpu".to_owned(), cpu.parse().unwrap()), ("pods".to_owned(), pods.parse().unwrap())])
        };
        let node = json!({"metadata": {"name": "node-1", "labels": {"disk": "ssd"}}});
        let node: Node = serde_json::from_value(node).unwrap();
        let cpu = "Node didn't have enough resource: cpu, requested: 600, used: 500, capacity: 1000";
        let pods = "Node didn't have enough resource: pods, requested: 1, used: 1, capacity: 1";
        for (request, selector, offered, expected) in [
            ("500m", json!({}), ("1", "110"), None),
            ("600m", json!({}), ("1", "110"), Some(("OutOfcpu", cpu))),
            ("0", json!({}), ("1", "1"), Some(("OutOfpods", pods))),
            ("0", json!({"disk": "ssd"}), ("1", "110"), None),
            ("0", json!({"disk": "hdd"}), ("1", "110"), Some(("NodeAffinity", "Predicate NodeAffinity failed"))),
        ] {
            let other = pod("500m", json!({}));
            let admitted = admit(&pod(request, selector), [other].iter(), &allocatable(offered.0, offered.1), &node);
            let refused = admitted.err().map(|no| (no.reason, no.message));
            assert_eq!(
                refused,
                expected.map(|(reason, message): (&str, &str)| (reason.to_owned(), message.to_owned()))
            );
        }
    }
}
