//! Where a volume is to be attached and detached. Source: `reconcile` and `reportMultiAttachError` in
//! `pkg/controller/volume/attachdetach/reconciler/reconciler.go` of Kubernetes.

use std::{collections::BTreeSet, time::Duration};

use k8s_openapi::api::core::v1::{Node, PersistentVolume};
use kubelab_api::well_known::taint::OUT_OF_SERVICE;

use crate::{claims::access_modes, node_lifecycle::is_ready};

/// How long a node that does not work may keep a volume. Source: `ReconcilerMaxWaitForUnmountDuration`.
const LONGEST_WAIT: Duration = Duration::from_secs(6 * 60);

/// A volume at a node, or on the way there or away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Present {
    /// The node.
    pub node: String,
    /// It is being detached.
    pub leaving: bool,
}

/// What is to be done about a volume.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Nodes that it is to be attached to.
    pub attach: Vec<String>,
    /// Nodes that it may leave now.
    pub detach: Vec<String>,
    /// Nodes that cannot have it, as another has it.
    pub refused: Vec<String>,
    /// Nodes that it should leave, and that still use it.
    pub held: Vec<String>,
}

/// What is to be done about a volume that these nodes want.
pub fn plan(wanted: &BTreeSet<String>, present: &[Present], exclusive: bool, may_leave: impl Fn(&str) -> bool) -> Plan {
    let mut plan = Plan::default();
    for at in present.iter().filter(|at| !at.leaving && !wanted.contains(&at.node)) {
        let list = if may_leave(&at.node) { &mut plan.detach } else { &mut plan.held };
        list.push(at.node.clone());
    }
    // One that leaves is still there: whoever comes next must wait until it is gone.
    let is_taken =
        |node: &str, attach: &[String]| exclusive && (present.iter().any(|at| at.node != node) || !attach.is_empty());
    for node in wanted {
        if present.iter().any(|at| at.node == *node) {
            continue;
        }
        let list = if is_taken(node, &plan.attach) { &mut plan.refused } else { &mut plan.attach };
        list.push(node.clone());
    }
    plan
}

/// Only one node at a time may have the volume. Source: `IsMultiAttachAllowed`.
pub fn is_exclusive(volume: &PersistentVolume) -> bool {
    let modes = access_modes(volume.spec.as_ref());
    !modes.is_empty() && !modes.iter().any(|mode| mode == "ReadWriteMany" || mode == "ReadOnlyMany")
}

/// Whether a volume that nobody wants any more may leave a node, after so long a time. A node that is gone holds nothing.
/// One that still uses the volume keeps it; unless it does not work, and for long, or somebody has said that it is out
/// of service.
pub fn may_leave(node: Option<&Node>, volume: &str, waited: Duration) -> bool {
    let Some(node) = node else { return true };
    let in_use =
        node.status.iter().flat_map(|status| status.volumes_in_use.iter().flatten()).any(|name| name == volume);
    !in_use || is_out_of_service(node) || (!is_ready(node) && waited > LONGEST_WAIT)
}

/// Somebody has said that the node will not come back.
pub fn is_out_of_service(node: &Node) -> bool {
    node.spec.iter().flat_map(|spec| spec.taints.iter().flatten()).any(|taint| taint.key == OUT_OF_SERVICE)
}

/// What a pod is told whose node cannot have the volume, as these pods, each with its namespace, have it elsewhere.
pub fn refusal(volume: &str, namespace: &str, holders: &[(String, String)]) -> String {
    let near: Vec<&str> = holders.iter().filter(|(of, _)| of == namespace).map(|(_, name)| name.as_str()).collect();
    let far = holders.len() - near.len();
    let why = match (near.is_empty(), far) {
        (true, 0) => "Volume is already exclusively attached to one node and can't be attached to another".to_owned(),
        (true, far) => format!("Volume is already used by {far} pod(s) in different namespaces"),
        (false, 0) => format!("Volume is already used by pod(s) {}", near.join(", ")),
        (false, far) => {
            format!("Volume is already used by pod(s) {} and {far} pod(s) in different namespaces", near.join(", "))
        }
    };
    format!("Multi-Attach error for volume {volume:?} {why}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    fn nodes(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn list(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_volume_is_where_its_pods_are() {
        let at = |node: &str| Present { node: node.into(), leaving: false };
        let leaving = |node: &str| Present { node: node.into(), leaving: true };
        for (why, wanted, present, exclusive, stays, expected) in [
            ("nobody wants it", nodes(&[]), vec![], true, false, Plan::default()),
            ("a pod comes", nodes(&["a"]), vec![], true, false, Plan { attach: list(&["a"]), ..Plan::default() }),
            ("it is there", nodes(&["a"]), vec![at("a")], true, false, Plan::default()),
            (
                "the pod is gone",
                nodes(&[]),
                vec![at("a")],
                true,
                false,
                Plan { detach: list(&["a"]), ..Plan::default() },
            ),
            ("it is still used", nodes(&[]), vec![at("a")], true, true, Plan { held: list(&["a"]), ..Plan::default() }),
            ("it is leaving", nodes(&[]), vec![leaving("a")], true, false, Plan::default()),
            (
                "the pod moves: one after the other",
                nodes(&["b"]),
                vec![at("a")],
                true,
                false,
                Plan { detach: list(&["a"]), refused: list(&["b"]), ..Plan::default() },
            ),
            (
                "and still leaving",
                nodes(&["b"]),
                vec![leaving("a")],
                true,
                false,
                Plan { refused: list(&["b"]), ..Plan::default() },
            ),
            (
                "two nodes want it, and only one can have it",
                nodes(&["a", "b"]),
                vec![],
                true,
                false,
                Plan { attach: list(&["a"]), refused: list(&["b"]), ..Plan::default() },
            ),
            (
                "two nodes share it",
                nodes(&["a", "b"]),
                vec![at("a")],
                false,
                false,
                Plan { attach: list(&["b"]), ..Plan::default() },
            ),
        ] {
            assert_eq!(plan(&wanted, &present, exclusive, |_| !stays), expected, "{why}");
        }
    }

    #[test]
    fn a_node_keeps_what_it_uses() {
        let node = |used: bool, ready: &str, taint: Option<&str>| -> Node {
            serde_json::from_value(json!({
                "spec": {"taints": taint.map(|key| json!([{"key": key, "effect": "NoExecute"}]))},
                "status": {
                    "volumesInUse": if used { vec!["v"] } else { vec![] },
                    "conditions": [{"type": "Ready", "status": ready}],
                },
            }))
            .unwrap()
        };
        let (soon, late) = (Duration::from_secs(1), LONGEST_WAIT + Duration::from_secs(1));
        for (why, node, waited, expected) in [
            ("gone", None, soon, true),
            ("not used", Some(node(false, "True", None)), soon, true),
            ("used", Some(node(true, "True", None)), late, false),
            ("silent", Some(node(true, "Unknown", None)), soon, false),
            ("silent for long", Some(node(true, "Unknown", None)), late, true),
            ("out of service", Some(node(true, "Unknown", Some(OUT_OF_SERVICE))), soon, true),
        ] {
            assert_eq!(may_leave(node.as_ref(), "v", waited), expected, "{why}");
        }
    }

    #[test]
    fn modes_say_who_shares() {
        for (modes, expected) in [
            (json!(["ReadWriteOnce"]), true),
            (json!(["ReadWriteOncePod"]), true),
            (json!(["ReadWriteOnce", "ReadOnlyMany"]), false),
            (json!(["ReadWriteMany"]), false),
        ] {
            let volume = serde_json::from_value(json!({"metadata": {}, "spec": {"accessModes": modes}})).unwrap();
            assert_eq!(is_exclusive(&volume), expected, "{modes}");
        }
    }

    #[test]
    fn a_refusal_names_neighbours_alone() {
        let pod = |namespace: &str, name: &str| (namespace.to_owned(), name.to_owned());
        for (holders, expected) in [
            (vec![], "Volume is already exclusively attached to one node and can't be attached to another"),
            (vec![pod("shop", "a"), pod("shop", "b")], "Volume is already used by pod(s) a, b"),
            (
                vec![pod("shop", "a"), pod("team", "b")],
                "Volume is already used by pod(s) a and 1 pod(s) in different namespaces",
            ),
            (vec![pod("team", "b")], "Volume is already used by 1 pod(s) in different namespaces"),
        ] {
            assert_eq!(refusal("pv", "shop", &holders), format!("Multi-Attach error for volume \"pv\" {expected}"));
        }
    }
}
