use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::{
    framework::{CycleState, Filter, NodeInfo, PreFilter, PreFiltered, PreScore, Score, Snapshot, WhatIf},
    testing::{labelled, node, object, said},
};

const UNEVEN: &str = "node(s) didn't match pod topology spread constraints";
const NO_LABEL: &str = "node(s) didn't match pod topology spread constraints (missing required label)!";

fn constraint(key: &str, skew: i32, wish: &str, more: Value) -> Value {
    let mut constraint = json!({
        "topologyKey": key, "maxSkew": skew, "whenUnsatisfiable": wish,
        "labelSelector": { "matchLabels": { "app": "web" } },
    });
    constraint.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    constraint
}

fn must(key: &str, skew: i32, more: Value) -> Value {
    constraint(key, skew, "DoNotSchedule", more)
}

/// `(name, zone, pods that count)`: a node without a zone has none of both labels.
fn cluster(nodes: &[(&str, &str, usize)]) -> Vec<NodeInfo> {
    let one = |(name, zone, pods): &(&str, &str, usize)| {
        let labels = match *zone {
            "" => json!({}),
            zone => json!({ "topology.kubernetes.io/zone": zone, "zone": zone, "kubernetes.io/hostname": name }),
        };
        let mut node = node(name, labels, json!({}), json!({ "pods": "110" }));
        for at in 0..*pods {
            node.add_pod(Arc::new(labelled("shop", &format!("{name}-{at}"), json!({ "app": "web" }), json!({}))));
        }
        node
    };
    nodes.iter().map(one).collect()
}

fn snapshot(nodes: Vec<NodeInfo>) -> Snapshot {
    Snapshot::new(nodes.into_iter().map(Arc::new).collect())
}

fn web(constraints: Value, mut spec: Value) -> PodInfo {
    spec["topologySpreadConstraints"] = constraints;
    labelled("shop", "web", json!({ "app": "web", "hash": "1" }), spec)
}

fn filtered(snapshot: &Snapshot, pod: &PodInfo) -> Vec<String> {
    let (plugin, mut state) = (PodTopologySpread::default(), CycleState::default());
    match plugin.pre_filter(&mut state, pod, snapshot) {
        Ok(PreFiltered::Skip) => vec!["skip".into()],
        _ => snapshot.nodes().iter().map(|node| said(plugin.filter(&state, pod, node))).collect(),
    }
}

#[test]
fn skew_is_kept_within_its_bound() {
    let three = [("a1", "a", 2), ("a2", "a", 1), ("b1", "b", 1)];
    for (what, nodes, constraints, spec, expected) in [
        ("none", &three[..], json!([]), json!({}), vec!["skip"]),
        (
            "soft ones do not filter",
            &three,
            json!([constraint("zone", 1, "ScheduleAnyway", json!({}))]),
            json!({}),
            vec!["skip"],
        ),
        ("zones", &three, json!([must("zone", 1, json!({}))]), json!({}), vec![UNEVEN, UNEVEN, "fits"]),
        ("a wider skew", &three, json!([must("zone", 3, json!({}))]), json!({}), vec!["fits"; 3]),
        (
            "zones and hosts",
            &three,
            json!([must("zone", 3, json!({})), must("kubernetes.io/hostname", 1, json!({}))]),
            json!({}),
            vec![UNEVEN, "fits", "fits"],
        ),
        (
            "too few domains: the least is 0",
            &three,
            json!([must("zone", 1, json!({ "minDomains": 3 }))]),
            json!({}),
            vec![UNEVEN; 3],
        ),
        (
            "nodes without the label do not count",
            &[("a1", "a", 1), ("b1", "b", 1), ("c1", "", 0)],
            json!([must("zone", 1, json!({}))]),
            json!({}),
            vec!["fits", "fits", NO_LABEL],
        ),
        (
            "nodes that the pod cannot go to do not count",
            &three,
            json!([must("zone", 1, json!({}))]),
            json!({ "nodeSelector": { "zone": "a" } }),
            vec!["fits", "fits", "fits"],
        ),
        (
            "unless that is ignored",
            &three,
            json!([must("zone", 1, json!({ "nodeAffinityPolicy": "Ignore" }))]),
            json!({ "nodeSelector": { "zone": "a" } }),
            vec![UNEVEN, UNEVEN, "fits"],
        ),
        (
            "pods of another revision do not count",
            &three,
            json!([must("zone", 1, json!({ "matchLabelKeys": ["hash"] }))]),
            json!({}),
            vec!["fits"; 3],
        ),
    ] {
        assert_eq!(filtered(&snapshot(cluster(nodes)), &web(constraints, spec)), expected, "{what}");
    }
}

#[test]
fn tainted_nodes_count_unless_the_policy_is_to_honor() {
    let mut nodes = cluster(&[("a1", "a", 1), ("b1", "b", 0)]);
    let labels = json!({ "zone": "b" });
    nodes[1] = node("b1", labels, json!({ "taints": [{ "key": "x", "effect": "NoSchedule" }] }), json!({}));
    let snapshot = snapshot(nodes);
    for (policy, tolerations, expected) in [
        (json!({}), json!([]), UNEVEN),
        (json!({ "nodeTaintsPolicy": "Honor" }), json!([]), "fits"),
        (json!({ "nodeTaintsPolicy": "Honor" }), json!([{ "key": "x", "operator": "Exists" }]), UNEVEN),
    ] {
        let pod = web(json!([must("zone", 1, policy.clone())]), json!({ "tolerations": tolerations }));
        assert_eq!(filtered(&snapshot, &pod)[0], expected, "{policy}");
    }
}

#[test]
fn pods_elsewhere_or_leaving_do_not_count() {
    let mut nodes = cluster(&[("a1", "a", 0), ("b1", "b", 0)]);
    nodes[0].add_pod(Arc::new(labelled("bank", "x", json!({ "app": "web" }), json!({}))));
    let leaving = json!({ "metadata": {
        "namespace": "shop", "name": "y", "uid": "y", "labels": { "app": "web" }, "deletionTimestamp": "2026-01-01T00:00:00Z",
    } });
    nodes[0].add_pod(Arc::new(PodInfo::new(object(leaving))));
    assert_eq!(filtered(&snapshot(nodes), &web(json!([must("zone", 1, json!({}))]), json!({}))), ["fits", "fits"]);
}

#[test]
fn what_if_leaves_no_trace() {
    let snapshot = snapshot(cluster(&[("a1", "a", 2), ("b1", "b", 1)]));
    let pod = web(json!([must("zone", 1, json!({}))]), json!({}));
    let (plugin, mut state) = (PodTopologySpread::default(), CycleState::default());
    plugin.pre_filter(&mut state, &pod, &snapshot).unwrap();
    let all = |state: &CycleState| -> Vec<String> {
        snapshot.nodes().iter().map(|node| said(plugin.filter(state, &pod, node))).collect()
    };
    let node = &snapshot.nodes()[0];
    for (sign, expected) in [(-1, ["fits", "fits"]), (1, [UNEVEN, "fits"])] {
        plugin.what_if(&mut state, &pod, &WhatIf { other: &node.pods[0], node, sign, snapshot: &snapshot });
        assert_eq!(all(&state), expected);
    }
}

fn scores(plugin: &PodTopologySpread, snapshot: &Snapshot, pod: &PodInfo) -> Vec<i64> {
    let nodes: Vec<&NodeInfo> = snapshot.nodes().iter().map(|node| &**node).collect();
    let mut state = CycleState::default();
    if !plugin.pre_score(&mut state, pod, &nodes, snapshot) {
        return Vec::new();
    }
    let mut scores: Vec<i64> = nodes.iter().map(|node| plugin.score(&state, pod, node)).collect();
    plugin.normalize(&state, &nodes, &mut scores);
    scores
}

#[test]
fn emptier_domains_score_higher() {
    let plugin = PodTopologySpread::default();
    let soft = |key: &str| constraint(key, 1, "ScheduleAnyway", json!({}));
    for (nodes, constraints, expected) in [
        (&[("a1", "a", 2), ("a2", "a", 2), ("b1", "b", 1)][..], json!([soft("zone")]), vec![16, 16, 100]),
        (&[("a1", "a", 3), ("a2", "a", 0)], json!([soft("kubernetes.io/hostname")]), vec![0, 100]),
        (&[("a1", "a", 0), ("b1", "b", 0)], json!([soft("zone")]), vec![100, 100]),
        // Without the label it is worst.
        (&[("a1", "a", 1), ("c1", "", 0)], json!([soft("zone")]), vec![100, 0]),
        (&[("a1", "a", 1)], json!([must("zone", 1, json!({}))]), vec![]),
    ] {
        assert_eq!(scores(&plugin, &snapshot(cluster(nodes)), &web(constraints, json!({}))), expected, "{nodes:?}");
    }
}

#[test]
fn pods_of_a_service_or_controller_are_spread_by_default() {
    let nodes = cluster(&[("a1", "a", 2), ("b1", "b", 0), ("c1", "", 0)]);
    let pod = labelled("shop", "web", json!({ "app": "web" }), json!({}));
    let plugin = PodTopologySpread::default();
    let nodes: Vec<Arc<NodeInfo>> = nodes.into_iter().map(Arc::new).collect();
    let with = |objects: Objects| Snapshot::with_objects(nodes.clone(), Arc::new(objects));
    assert!(scores(&plugin, &with(Objects::default()), &pod).is_empty(), "nobody selects it");

    let objects = Objects::default();
    objects.services.put(object(json!({
        "metadata": { "namespace": "shop", "name": "web" }, "spec": { "selector": { "app": "web" } },
    })));
    let by_service = scores(&plugin, &with(objects), &pod);
    assert!(by_service[0] < by_service[1] && by_service[1] <= by_service[2], "{by_service:?}");

    let objects = Objects::default();
    objects.replica_sets.put(object(json!({
        "metadata": { "namespace": "shop", "name": "web-1" },
        "spec": { "selector": { "matchLabels": { "app": "web" } } },
    })));
    let owner =
        json!([{ "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-1", "uid": "u", "controller": true }]);
    let metadata =
        json!({ "namespace": "shop", "name": "w", "uid": "w", "labels": { "app": "web" }, "ownerReferences": owner });
    let owned = PodInfo::new(object(json!({ "metadata": metadata, "spec": { "containers": [{ "name": "c" }] } })));
    assert_eq!(scores(&plugin, &with(objects), &owned), by_service);

    let none = PodTopologySpread::with_defaults(Vec::new());
    assert!(scores(&none, &with(Objects::default()), &owned).is_empty());
}

#[test]
fn pods_that_count_wake() {
    let plugin = PodTopologySpread::default();
    let pod = web(json!([must("zone", 1, json!({}))]), json!({}));
    let other = |namespace: &str, app: &str| Arc::new(labelled(namespace, "x", json!({ "app": app }), json!({})));
    let with_labels = |labels: Value| node("n", labels, json!({}), json!({})).node.unwrap();
    for (event, expected) in [
        (ClusterEvent::PodRemoved(other("shop", "web")), true),
        (ClusterEvent::PodAssigned(other("shop", "web")), true),
        (ClusterEvent::PodRemoved(other("bank", "web")), false),
        (ClusterEvent::PodRemoved(other("shop", "db")), false),
        (ClusterEvent::NodeAdded(with_labels(json!({ "zone": "c" }))), true),
        (ClusterEvent::NodeAdded(with_labels(json!({}))), false),
    ] {
        assert_eq!(plugin.wakes(&pod, &event), expected, "{event:?}");
    }
}
