use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::{
    framework::{CycleState, Filter, NodeInfo, Objects, PreFilter, PreFiltered, PreScore, Score, Snapshot, WhatIf},
    testing::{labelled, node, object, said},
};

const AFFINITY: &str = "node(s) didn't match pod affinity rules!";
const ANTI: &str = "node(s) didn't match pod anti-affinity rules";
const EXISTING: &str = "node(s) didn't satisfy existing pods anti-affinity rules";

fn term(app: &str, key: &str) -> Value {
    json!({ "labelSelector": { "matchLabels": { "app": app } }, "topologyKey": key })
}

fn beside(terms: Value) -> Value {
    json!({ "affinity": { "podAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": terms } } })
}

fn away(terms: Value) -> Value {
    json!({ "affinity": { "podAntiAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": terms } } })
}

fn rather(kind: &str, weight: i64, term: Value) -> Value {
    let terms = json!([{ "weight": weight, "podAffinityTerm": term }]);
    json!({ "affinity": { kind: { "preferredDuringSchedulingIgnoredDuringExecution": terms } } })
}

/// Two nodes in zone a, one in b, one in none; each has these pods: its place, namespace, `app`, spec.
fn cluster(pods: Vec<(usize, &str, &str, Value)>) -> Snapshot {
    let zones = [("h1", "a"), ("h2", "a"), ("h3", "b"), ("h4", "")];
    let mut nodes: Vec<NodeInfo> = zones
        .iter()
        .map(|(host, zone)| {
            let labels = if zone.is_empty() { json!({ "host": host }) } else { json!({ "host": host, "zone": zone }) };
            node(host, labels, json!({}), json!({ "pods": "110" }))
        })
        .collect();
    for (at, (place, namespace, app, spec)) in pods.into_iter().enumerate() {
        let pod = labelled(namespace, &format!("pod-{at}"), json!({ "app": app }), spec);
        nodes[place].add_pod(Arc::new(pod));
    }
    let objects = Objects::default();
    for (name, team) in [("shop", "x"), ("bank", "y")] {
        objects.namespaces.put(object(json!({ "metadata": { "name": name, "labels": { "team": team } } })));
    }
    Snapshot::with_objects(nodes.into_iter().map(Arc::new).collect(), Arc::new(objects))
}

fn filtered(snapshot: &Snapshot, pod: &PodInfo) -> Vec<String> {
    let (plugin, mut state) = (InterPodAffinity::default(), CycleState::default());
    match plugin.pre_filter(&mut state, pod, snapshot) {
        Ok(PreFiltered::Skip) => vec!["skip".into()],
        _ => snapshot.nodes().iter().map(|node| said(plugin.filter(&state, pod, node))).collect(),
    }
}

#[test]
fn required_terms_decide_in_both_directions() {
    let selecting = |selector: Value| {
        let mut term = term("db", "zone");
        term["namespaceSelector"] = selector;
        term
    };
    let in_bank = {
        let mut term = term("db", "zone");
        term["namespaces"] = json!(["bank"]);
        term
    };
    for (what, pods, namespace, spec, expected) in [
        ("nothing asked", vec![(0, "shop", "db", json!({}))], "shop", json!({}), vec!["skip"]),
        (
            "beside the database",
            vec![(0, "shop", "db", json!({}))],
            "shop",
            beside(json!([term("db", "zone")])),
            vec!["fits", "fits", AFFINITY, AFFINITY],
        ),
        (
            "on its host",
            vec![(0, "shop", "db", json!({}))],
            "shop",
            beside(json!([term("db", "host")])),
            vec!["fits", AFFINITY, AFFINITY, AFFINITY],
        ),
        (
            "all terms must hold",
            vec![(0, "shop", "db", json!({})), (2, "shop", "db", json!({}))],
            "shop",
            beside(json!([term("db", "zone"), term("db", "host")])),
            vec!["fits", AFFINITY, "fits", AFFINITY],
        ),
        (
            "other namespaces do not count",
            vec![(0, "bank", "db", json!({}))],
            "shop",
            beside(json!([term("db", "zone")])),
            vec![AFFINITY; 4],
        ),
        (
            "but those that are named",
            vec![(0, "bank", "db", json!({}))],
            "shop",
            beside(json!([in_bank])),
            vec!["fits", "fits", AFFINITY, AFFINITY],
        ),
        (
            "or selected",
            vec![(2, "bank", "db", json!({}))],
            "shop",
            beside(json!([selecting(json!({ "matchLabels": { "team": "y" } }))])),
            vec![AFFINITY, AFFINITY, "fits", AFFINITY],
        ),
        (
            "an empty selector is all namespaces",
            vec![(2, "bank", "db", json!({}))],
            "shop",
            beside(json!([selecting(json!({}))])),
            vec![AFFINITY, AFFINITY, "fits", AFFINITY],
        ),
        (
            "the first of a group",
            vec![],
            "shop",
            beside(json!([term("web", "zone")])),
            vec!["fits", "fits", "fits", AFFINITY],
        ),
        (
            "the second of it",
            vec![(2, "shop", "web", json!({}))],
            "shop",
            beside(json!([term("web", "zone")])),
            vec![AFFINITY, AFFINITY, "fits", AFFINITY],
        ),
        (
            "away from its like",
            vec![(0, "shop", "web", json!({}))],
            "shop",
            away(json!([term("web", "host")])),
            vec![ANTI, "fits", "fits", "fits"],
        ),
        (
            "away by zone; a node without one is away",
            vec![(0, "shop", "web", json!({})), (3, "shop", "web", json!({}))],
            "shop",
            away(json!([term("web", "zone")])),
            vec![ANTI, ANTI, "fits", "fits"],
        ),
        (
            "refused by who is there",
            vec![(2, "shop", "db", away(json!([term("web", "host")])))],
            "shop",
            json!({}),
            vec!["fits", "fits", EXISTING, "fits"],
        ),
        (
            "refused by namespace selector",
            vec![(2, "bank", "db", {
                let mut term = term("web", "host");
                term["namespaceSelector"] = json!({ "matchLabels": { "team": "x" } });
                away(json!([term]))
            })],
            "shop",
            json!({}),
            vec!["fits", "fits", EXISTING, "fits"],
        ),
        (
            "another namespace's refusal does not count",
            vec![(2, "bank", "db", away(json!([term("web", "host")])))],
            "shop",
            json!({}),
            vec!["skip"],
        ),
    ] {
        let pod = labelled(namespace, "web", json!({ "app": "web" }), spec);
        assert_eq!(filtered(&cluster(pods), &pod), expected, "{what}");
    }
}

#[test]
fn what_if_leaves_no_trace() {
    let snapshot = cluster(vec![(0, "shop", "web", away(json!([term("web", "zone")]))), (2, "shop", "db", json!({}))]);
    let mut spec = away(json!([term("web", "zone")]));
    spec["affinity"]["podAffinity"] = beside(json!([term("db", "host")]))["affinity"]["podAffinity"].clone();
    let pod = labelled("shop", "web", json!({ "app": "web" }), spec);
    let (plugin, mut state) = (InterPodAffinity::default(), CycleState::default());
    plugin.pre_filter(&mut state, &pod, &snapshot).unwrap();
    let all = |state: &CycleState| -> Vec<String> {
        snapshot.nodes().iter().map(|node| said(plugin.filter(state, &pod, node))).collect()
    };
    let before = all(&state);
    assert_eq!(before, [AFFINITY, AFFINITY, "fits", AFFINITY]);
    let what_if = |state: &mut CycleState, place: usize, pod_at: usize, sign| {
        let other = &snapshot.nodes()[pod_at].pods[0];
        plugin.what_if(state, &pod, &WhatIf { other, node: &snapshot.nodes()[place], sign, snapshot: &snapshot });
    };
    what_if(&mut state, 2, 0, 1);
    assert_eq!(all(&state)[2], ANTI);
    what_if(&mut state, 2, 0, -1);
    assert_eq!(all(&state), before);
    what_if(&mut state, 2, 2, -1);
    assert_eq!(all(&state)[2], AFFINITY);
    what_if(&mut state, 2, 2, 1);
    what_if(&mut state, 0, 2, 1);
    what_if(&mut state, 0, 0, -1);
    assert_eq!(all(&state)[0], "fits", "its like is gone from the zone, and the database came");
    what_if(&mut state, 0, 0, 1);
    what_if(&mut state, 0, 2, -1);
    assert_eq!(all(&state), before);
}

#[test]
fn preferences_add_up_from_both_sides() {
    let scores = |pods, spec, plugin: &InterPodAffinity| {
        let snapshot = cluster(pods);
        let nodes: Vec<&NodeInfo> = snapshot.nodes().iter().map(|node| &**node).collect();
        let (pod, mut state) = (labelled("shop", "web", json!({ "app": "web" }), spec), CycleState::default());
        if !plugin.pre_score(&mut state, &pod, &nodes, &snapshot) {
            return Vec::new();
        }
        let mut scores: Vec<i64> = nodes.iter().map(|node| plugin.score(&state, &pod, node)).collect();
        plugin.normalize(&state, &nodes, &mut scores);
        scores
    };
    let default = InterPodAffinity::default();
    let database = |spec| vec![(0, "shop", "db", spec)];
    for (pods, spec, expected) in [
        (database(json!({})), json!({}), vec![]),
        (database(json!({})), rather("podAffinity", 5, term("db", "zone")), vec![100, 100, 0, 0]),
        (database(json!({})), rather("podAntiAffinity", 5, term("db", "zone")), vec![0, 0, 100, 100]),
        (database(rather("podAffinity", 5, term("web", "host"))), json!({}), vec![100, 0, 0, 0]),
        (database(rather("podAntiAffinity", 5, term("web", "host"))), json!({}), vec![0, 100, 100, 100]),
        // A required term of the other counts 1.
        (database(beside(json!([term("web", "host")]))), json!({}), vec![100, 0, 0, 0]),
        (
            database(rather("podAffinity", 5, term("web", "host"))),
            rather("podAffinity", 5, term("db", "zone")),
            vec![100, 50, 0, 0],
        ),
    ] {
        assert_eq!(scores(pods, spec.clone(), &default), expected, "{spec}");
    }
    let ignoring = InterPodAffinity { ignore_preferred_terms_of_existing_pods: true, ..default };
    assert!(scores(database(rather("podAffinity", 5, term("web", "host"))), json!({}), &ignoring).is_empty());
    let soft = InterPodAffinity { hard_pod_affinity_weight: 0, ..InterPodAffinity::default() };
    assert!(scores(database(beside(json!([term("web", "host")]))), json!({}), &soft).is_empty());
}

#[test]
fn pods_that_come_and_go_wake() {
    let plugin = InterPodAffinity::default();
    let other = |app: &str, spec| Arc::new(labelled("shop", "other", json!({ "app": app }), spec));
    let wanting = labelled("shop", "web", json!({ "app": "web" }), beside(json!([term("db", "zone")])));
    let shy = labelled("shop", "web", json!({ "app": "web" }), away(json!([term("db", "zone")])));
    for (pod, event, expected) in [
        (&wanting, ClusterEvent::PodAssigned(other("db", json!({}))), true),
        (&wanting, ClusterEvent::PodAssigned(other("web", json!({}))), false),
        (&wanting, ClusterEvent::PodRemoved(other("db", json!({}))), false),
        (&shy, ClusterEvent::PodRemoved(other("db", json!({}))), true),
        (&shy, ClusterEvent::PodAssigned(other("db", json!({}))), false),
        (&shy, ClusterEvent::PodRemoved(other("x", away(json!([term("web", "zone")])))), true),
        (&shy, ClusterEvent::PodUpdated { old: other("db", json!({})), new: other("x", json!({})) }, true),
        (&wanting, ClusterEvent::PodUpdated { old: other("x", json!({})), new: other("db", json!({})) }, true),
    ] {
        assert_eq!(plugin.wakes(pod, &event), expected, "{event:?}");
    }
}
