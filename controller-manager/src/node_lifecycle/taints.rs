//! Which taints a node should have. Source: `node_lifecycle_controller.go` in Kubernetes and KEP-382 (taint nodes by
//! condition).

use k8s_openapi::{
    api::core::v1::{Node, Taint},
    apimachinery::pkg::apis::meta::v1::Time,
};
use kubelab_api::well_known::taint::{
    DISK_PRESSURE, MEMORY_PRESSURE, NETWORK_UNAVAILABLE, NO_EXECUTE, NO_SCHEDULE, NOT_READY, PID_PRESSURE, UNREACHABLE,
    UNSCHEDULABLE,
};

use super::health::{READY, condition};

/// A condition with this status means this taint.
const BY_CONDITION: [(&str, &str, &str); 6] = [
    (READY, "False", NOT_READY),
    (READY, "Unknown", UNREACHABLE),
    ("MemoryPressure", "True", MEMORY_PRESSURE),
    ("DiskPressure", "True", DISK_PRESSURE),
    ("PIDPressure", "True", PID_PRESSURE),
    ("NetworkUnavailable", "True", NETWORK_UNAVAILABLE),
];

/// What has to happen to the pods on a node that is not ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Eviction {
    /// They may go now.
    Begin,
    /// They are told to go if they were before; no other is.
    Hold,
    /// None is told to go.
    Withdraw,
}

/// The taints that a node should have, if they differ from those it has. Taints of others stay as they are.
pub fn wanted(node: &Node, eviction: Eviction, now: &Time) -> Option<Vec<Taint>> {
    let current = node.spec.as_ref().and_then(|spec| spec.taints.clone()).unwrap_or_default();
    let trouble = trouble(node);

    let mut keys: Vec<(&str, &str)> = BY_CONDITION
        .iter()
        .filter(|(type_, status, _)| condition(node, type_).is_some_and(|condition| condition.status == *status))
        .map(|(_, _, key)| (*key, NO_SCHEDULE))
        .collect();
    if node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true) {
        keys.push((UNSCHEDULABLE, NO_SCHEDULE));
    }
    let is_evicting = current.iter().any(is_ours_to_evict);
    match (trouble, eviction) {
        (Some(key), Eviction::Begin) => keys.push((key, NO_EXECUTE)),
        (Some(key), Eviction::Hold) if is_evicting => keys.push((key, NO_EXECUTE)),
        _ => {}
    }

    let is_wanted = |taint: &Taint| keys.iter().any(|(key, effect)| taint.key == *key && taint.effect == *effect);
    let mut taints: Vec<Taint> = current.iter().filter(|taint| !is_ours(taint) || is_wanted(taint)).cloned().collect();
    for (key, effect) in &keys {
        if !taints.iter().any(|taint| taint.key == *key && taint.effect == *effect) {
            taints.push(Taint {
                key: (*key).to_owned(),
                effect: (*effect).to_owned(),
                time_added: Some(now.clone()),
                value: None,
            });
        }
    }
    (taints != current).then_some(taints)
}

/// The pods of this node should go and have not been told to.
pub fn awaits_eviction(node: &Node) -> bool {
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_ref());
    trouble(node).is_some() && !taints.into_iter().flatten().any(is_ours_to_evict)
}

fn trouble(node: &Node) -> Option<&'static str> {
    let ready = condition(node, READY)?;
    BY_CONDITION.iter().find(|row| row.0 == READY && row.1 == ready.status).map(|row| row.2)
}

fn is_ours(taint: &Taint) -> bool {
    let by_condition = BY_CONDITION.iter().any(|row| row.2 == taint.key) || taint.key == UNSCHEDULABLE;
    (by_condition && taint.effect == NO_SCHEDULE) || is_ours_to_evict(taint)
}

fn is_ours_to_evict(taint: &Taint) -> bool {
    taint.effect == NO_EXECUTE && (taint.key == NOT_READY || taint.key == UNREACHABLE)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Value, json};

    use super::*;

    fn node(ready: &str, unschedulable: bool, taints: &[(&str, &str)], more: Value) -> Node {
        let taints: Vec<Value> = taints.iter().map(|(key, effect)| json!({"key": key, "effect": effect})).collect();
        let mut conditions = vec![json!({"type": READY, "status": ready})];
        conditions.extend(more.as_array().cloned().unwrap_or_default());
        serde_json::from_value(json!({
            "metadata": {"name": "node-1"},
            "spec": {"unschedulable": unschedulable, "taints": taints},
            "status": {"conditions": conditions},
        }))
        .unwrap()
    }

    #[test]
    fn taints_follow_conditions() {
        let now = Time("2026-11-20T12:00:00Z".parse().unwrap());
        let pressure =
            json!([{"type": "MemoryPressure", "status": "True"}, {"type": "DiskPressure", "status": "False"}]);
        let none = json!([]);
        for (why, node, eviction, expected) in [
            ("all is well", node("True", false, &[], none.clone()), Eviction::Begin, None),
            (
                "under pressure",
                node("True", false, &[], pressure),
                Eviction::Hold,
                Some(vec![(MEMORY_PRESSURE, NO_SCHEDULE)]),
            ),
            (
                "cordoned",
                node("True", true, &[], none.clone()),
                Eviction::Hold,
                Some(vec![(UNSCHEDULABLE, NO_SCHEDULE)]),
            ),
            (
                "silent, evictions held back",
                node("Unknown", false, &[("team", NO_SCHEDULE)], none.clone()),
                Eviction::Hold,
                Some(vec![("team", NO_SCHEDULE), (UNREACHABLE, NO_SCHEDULE)]),
            ),
            (
                "silent, evicting",
                node("Unknown", false, &[(UNREACHABLE, NO_SCHEDULE)], none.clone()),
                Eviction::Begin,
                Some(vec![(UNREACHABLE, NO_SCHEDULE), (UNREACHABLE, NO_EXECUTE)]),
            ),
            (
                "it speaks again, and is not ready: the reason is swapped at once",
                node("False", false, &[(UNREACHABLE, NO_SCHEDULE), (UNREACHABLE, NO_EXECUTE)], none.clone()),
                Eviction::Hold,
                Some(vec![(NOT_READY, NO_SCHEDULE), (NOT_READY, NO_EXECUTE)]),
            ),
            (
                "ready again",
                node(
                    "True",
                    false,
                    &[(NOT_READY, NO_SCHEDULE), ("team", NO_EXECUTE), (NOT_READY, NO_EXECUTE)],
                    none.clone(),
                ),
                Eviction::Hold,
                Some(vec![("team", NO_EXECUTE)]),
            ),
            (
                "all nodes are silent: it must be us",
                node("Unknown", false, &[(UNREACHABLE, NO_SCHEDULE), (UNREACHABLE, NO_EXECUTE)], none.clone()),
                Eviction::Withdraw,
                Some(vec![(UNREACHABLE, NO_SCHEDULE)]),
            ),
            ("nothing changes", node("False", false, &[(NOT_READY, NO_SCHEDULE)], none), Eviction::Hold, None),
        ] {
            let taints = wanted(&node, eviction, &now);
            let shown = taints.as_ref().map(|taints| {
                taints.iter().map(|taint| (taint.key.as_str(), taint.effect.as_str())).collect::<Vec<_>>()
            });
            assert_eq!(shown, expected, "{why}");
        }
    }
}
