//! Cases for `manage`, `update` and `status`: which pods come and go, told in a line.

#![allow(clippy::unwrap_used)]

use std::{cell::Cell, time::Duration};

use serde_json::{Value, json};

use super::*;

const NOW: &str = "2026-11-20T12:00:30Z";

fn set(strategy: Value) -> DaemonSet {
    serde_json::from_value(json!({
        "metadata": {"name": "logs", "namespace": "default", "uid": "u", "generation": 2},
        "spec": {
            "minReadySeconds": 10, "updateStrategy": strategy, "selector": {"matchLabels": {"app": "logs"}},
            "template": {"spec": {"containers": [], "nodeSelector": {"logs": "yes"}}},
        },
    }))
    .unwrap()
}

fn rolling(max_surge: i32, max_unavailable: i32) -> Value {
    json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": max_surge, "maxUnavailable": max_unavailable}})
}

/// `n1` is meant for the set, `-n1` is not, `!n1` drives its pods out.
fn node(text: &str) -> Arc<Node> {
    let name = text.trim_start_matches(['-', '!']);
    let wanted = if text.starts_with('-') { "no" } else { "yes" };
    let taints = if text.starts_with('!') { json!([{"key": "x", "effect": "NoExecute"}]) } else { json!([]) };
    let node = json!({"metadata": {"name": name, "labels": {"logs": wanted}}, "spec": {"taints": taints}});
    Arc::new(serde_json::from_value(node).unwrap())
}

/// `a n1 new ready`: name, node, hash, state.
fn pod(text: &str) -> Arc<Pod> {
    let [name, node, hash, state] = text.split(' ').collect::<Vec<_>>()[..] else { panic!("{text}") };
    let (phase, ready, since) = match state {
        "ready" | "going" => ("Running", "True", "2026-11-20T12:00:00Z"),
        "fresh" => ("Running", "True", "2026-11-20T12:00:25Z"),
        "running" => ("Running", "False", "2026-11-20T12:00:00Z"),
        "failed" | "failed-going" => ("Failed", "False", "2026-11-20T12:00:00Z"),
        "succeeded" => ("Succeeded", "False", "2026-11-20T12:00:00Z"),
        "unbound" => ("Pending", "False", "2026-11-20T12:00:00Z"),
        _ => panic!("{state}"),
    };
    let mut spec = json!({"containers": [], "nodeName": node});
    if state == "unbound" {
        let fields = json!([{"key": "metadata.name", "operator": "In", "values": [node]}]);
        let terms = json!({"nodeSelectorTerms": [{"matchFields": fields}]});
        let affinity = json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}});
        spec = json!({"containers": [], "affinity": affinity});
    }
    let mut pod = json!({
        "metadata": {"name": name, "namespace": "default", "uid": name, "labels": {"controller-revision-hash": hash},
            "creationTimestamp": "2026-11-20T12:00:00Z"},
        "spec": spec,
        "status": {"phase": phase, "conditions": [{"type": "Ready", "status": ready, "lastTransitionTime": since}]},
    });
    if state.ends_with("going") {
        pod["metadata"]["deletionTimestamp"] = json!(NOW);
    }
    Arc::new(serde_json::from_value(pod).unwrap())
}

fn told(changes: &Changes) -> String {
    let create = changes.create.iter().map(|node| format!("+{node}"));
    let delete = changes.delete.iter().map(|pod| format!("-{}", pod.metadata.name.as_deref().unwrap()));
    create.chain(delete).collect::<Vec<_>>().join(", ")
}

fn with<T>(set: &DaemonSet, nodes: &[&str], pods: &[&str], look: impl Fn(&View<'_>) -> T) -> T {
    let nodes: Vec<_> = nodes.iter().map(|text| node(text)).collect();
    let pods: Vec<_> = pods.iter().map(|text| pod(text)).collect();
    look(&View::of(set, "new", &nodes, &pods, NOW.parse().unwrap()))
}

#[test]
fn there_is_one_pod_on_each_node() {
    let at_once = |_: &str| None;
    for (why, surge, nodes, pods, expected) in [
        ("none yet", 0, &["n1", "n2", "-n3"][..], &[][..], "+n1, +n2"),
        ("a new node", 0, &["n1", "n2"], &["a n1 new ready"], "+n2"),
        ("not meant for it any more", 0, &["-n1"], &["a n1 new ready"], "-a"),
        ("driven out", 0, &["!n1"], &["a n1 new ready"], "-a"),
        ("one too many: the older stays", 0, &["n1"], &["b n1 new ready", "a n1 new ready"], "-b"),
        ("the bound one stays", 0, &["n1"], &["a n1 new unbound", "b n1 new ready"], "-a"),
        ("it waits for one that goes", 0, &["n1"], &["a n1 new going"], ""),
        ("it does not with surge", 1, &["n1"], &["a n1 new going"], "+n1"),
        ("an ended one that goes does not count", 0, &["n1"], &["a n1 new failed-going"], "+n1"),
        ("failed", 0, &["n1"], &["a n1 new failed"], "-a"),
        ("ended well", 0, &["n1"], &["a n1 new succeeded"], "-a"),
        ("failed, with surge", 1, &["n1"], &["a n1 new failed"], "+n1, -a"),
        ("the node is gone before it was bound", 0, &["n1"], &["a n1 new ready", "b n9 new unbound"], "-b"),
        ("a bound one on a node that is gone is no concern", 0, &["n1"], &["a n1 new ready", "b n9 new ready"], ""),
        ("old and new while surging", 1, &["n1"], &["a n1 old ready", "b n1 new running"], ""),
        ("the new one is not ready for long enough", 1, &["n1"], &["a n1 old ready", "b n1 new fresh"], ""),
        ("the new one is available", 1, &["n1"], &["a n1 old ready", "b n1 new ready"], "-a"),
        ("the old one is broken", 1, &["n1"], &["a n1 old running", "b n1 new running"], "-a"),
        ("two new ones while surging", 1, &["n1"], &["a n1 new ready", "b n1 new ready"], "-b"),
    ] {
        let changes = with(&set(rolling(surge, 1 - surge)), nodes, pods, |view| manage::changes(view, &at_once));
        assert_eq!(told(&changes), expected, "{why}");
    }
}

#[test]
fn failed_pods_are_kept_for_a_while() {
    let asked = Cell::new(0);
    let keep = |node: &str| {
        asked.set(asked.get() + 1);
        (node != "n1").then_some(Duration::from_secs(if node == "n2" { 9 } else { 4 }))
    };
    let pods = ["a n1 new failed", "b n2 new failed", "c n3 new failed", "d n4 new ready"];
    let changes = with(&set(rolling(0, 1)), &["n1", "n2", "n3", "n4"], &pods, |view| manage::changes(view, &keep));
    assert_eq!((told(&changes).as_str(), changes.again, asked.get()), ("-a", Some(Duration::from_secs(4)), 3));
    assert_eq!(changes.ended[0].1, "n1");
}

#[test]
fn an_update_without_surge_deletes() {
    let nodes = ["n1", "n2", "n3", "-n4"];
    for (why, unavailable, pods, expected) in [
        ("one", 1, &["a n1 old ready", "b n2 old ready", "c n3 old ready"][..], "-a"),
        ("two", 2, &["a n1 old ready", "b n2 old ready", "c n3 old ready"], "-a, -b"),
        ("one is missing", 1, &["b n2 old ready", "c n3 old ready"], ""),
        ("one goes", 1, &["a n1 old going", "b n2 old ready", "c n3 old ready"], ""),
        ("one is new and not available", 1, &["a n1 new fresh", "b n2 old ready", "c n3 old ready"], ""),
        ("one is new and available", 1, &["a n1 new ready", "b n2 old ready", "c n3 old ready"], "-b"),
        ("broken ones cost nothing", 1, &["a n1 old ready", "b n2 old running", "c n3 old running"], "-b, -c"),
        ("a broken one and another", 2, &["a n1 old ready", "b n2 old running", "c n3 old ready"], "-b, -a"),
        ("done", 1, &["a n1 new ready", "b n2 new ready", "c n3 new ready"], ""),
    ] {
        let changes = with(&set(rolling(0, unavailable)), &nodes, pods, update::changes);
        assert_eq!(told(&changes), expected, "{why}");
    }
}

#[test]
fn an_update_with_surge_adds_first() {
    let nodes = ["n1", "n2", "n3", "-n4"];
    for (why, surge, pods, expected) in [
        ("one", 1, &["a n1 old ready", "b n2 old ready", "c n3 old ready"][..], "+n1"),
        ("two", 2, &["a n1 old ready", "b n2 old ready", "c n3 old ready"], "+n1, +n2"),
        ("one is on its way", 1, &["a n1 old ready", "x n1 new running", "b n2 old ready", "c n3 old ready"], ""),
        ("it is available", 1, &["a n1 old ready", "x n1 new ready", "b n2 old ready", "c n3 old ready"], "+n2, -a"),
        ("a broken old one", 1, &["a n1 old running", "b n2 old ready", "c n3 old ready"], "+n1, +n2"),
        (
            "not meant for it any more",
            1,
            &["a n1 new ready", "b n2 new ready", "c n3 new ready", "d n4 old ready"],
            "-d",
        ),
        ("but it is needed yet", 1, &["a n1 new ready", "b n2 new ready", "c n3 new fresh", "d n4 old ready"], ""),
        ("nor is it of use", 1, &["a n1 new ready", "b n2 new ready", "c n3 new fresh", "d n4 old running"], "-d"),
    ] {
        let changes = with(&set(rolling(surge, 0)), &nodes, pods, update::changes);
        assert_eq!(told(&changes), expected, "{why}");
    }
}

#[test]
fn the_status_counts_nodes() {
    let pods = ["a n1 new ready", "b n2 old fresh", "c n3 new running", "d n5 new ready", "e n1 old ready"];
    let set = set(rolling(0, 1));
    let of = |observed| {
        with(&set, &["n1", "n2", "n3", "n4", "-n5", "-n6"], &pods, |view| {
            serde_json::to_value(status::calculate(view, observed)).unwrap()
        })
    };
    let expected = json!({
        "desiredNumberScheduled": 4, "currentNumberScheduled": 3, "numberMisscheduled": 1, "numberReady": 2,
        "numberAvailable": 1, "numberUnavailable": 3, "updatedNumberScheduled": 2, "observedGeneration": 2,
    });
    assert_eq!(of(true), expected);
    assert_eq!(of(false).get("observedGeneration"), None);
}

/// Runs the loop's decisions against pods that become ready one after the other; the most and the fewest pods seen.
fn simulated(strategy: Value) -> (usize, usize, Vec<Arc<Pod>>) {
    let (set, nodes) = (set(strategy), ["n1", "n2", "n3", "n4"].map(node));
    let mut pods: Vec<Arc<Pod>> = (1..=4).map(|i| pod(&format!("old{i} n{i} old ready"))).collect();
    let (mut most, mut fewest) = (0, usize::MAX);
    for round in 0..100 {
        let changes = {
            let view = View::of(&set, "new", &nodes, &pods, NOW.parse().unwrap());
            let changes = manage::changes(&view, &|_| None);
            if changes.is_empty() { update::changes(&view) } else { changes }
        };
        pods.retain(|pod| changes.delete.iter().all(|gone| gone.metadata.uid != pod.metadata.uid));
        pods.extend(changes.create.iter().map(|node| pod(&format!("new{round}{node} {node} new running"))));
        most = most.max(pods.len());
        fewest = fewest.min(pods.iter().filter(|pod| kubelab_api::pod::is_ready(pod)).count());
        if changes.is_empty() {
            let Some(index) = pods.iter().position(|pod| !kubelab_api::pod::is_ready(pod)) else {
                return (most, fewest, pods);
            };
            let (name, node) = (pods[index].metadata.name.clone().unwrap(), placement::target(&pods[index]).unwrap());
            pods[index] = pod(&format!("{name} {node} new ready"));
        }
    }
    panic!("this never ends");
}

#[test]
fn every_update_ends_within_its_limits() {
    for (surge, unavailable, limits) in [(0, 1, (4, 3)), (0, 3, (4, 1)), (1, 0, (5, 4)), (4, 0, (8, 4))] {
        let (most, fewest, pods) = simulated(rolling(surge, unavailable));
        assert_eq!((most, fewest), limits, "surge {surge}, unavailable {unavailable}");
        let all_new =
            pods.iter().all(|pod| kubelab_api::meta::label(&pod.metadata, "controller-revision-hash") == Some("new"));
        assert!(all_new && pods.len() == 4, "{pods:?}");
    }
}
