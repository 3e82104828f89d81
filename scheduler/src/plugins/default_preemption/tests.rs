use serde_json::{Value, json};

use super::*;
use crate::{
    cycle::{Cycle, Failure},
    framework::{NodeInfo, Objects, Profile, Snapshot},
    testing::{asking, labelled, node, object, plain, pod},
};

fn wanting(name: &str, cpu: &str, priority: i32, mut more: Value) -> PodInfo {
    let requests = json!({ "requests": { "cpu": cpu } });
    more["containers"] = json!([{ "name": "c", "resources": requests }]);
    more["priority"] = json!(priority);
    labelled("shop", name, json!({ "app": name }), more)
}

fn with(mut node: NodeInfo, pods: &[(&str, &str, i32)]) -> Arc<NodeInfo> {
    for (name, cpu, priority) in pods {
        node.add_pod(Arc::new(wanting(name, cpu, *priority, json!({}))));
    }
    Arc::new(node)
}

fn failure(snapshot: &Snapshot, pod: &PodInfo) -> (String, Nomination) {
    match Cycle::default().place(&Profile::default(), snapshot, pod) {
        Err(Failure::Unfit(error, nomination)) => (error.to_string(), nomination),
        Err(Failure::NoNodes) => panic!("there are nodes"),
        Ok(placement) => panic!("it fits on {}", placement.node),
    }
}

/// The node, and the victims' names.
fn preempted(snapshot: &Snapshot, pod: &PodInfo) -> (String, Vec<String>) {
    match failure(snapshot, pod) {
        (message, Nomination::Node(preemption)) => {
            assert!(!message.contains("preemption"), "{message}");
            let names = preemption.victims.iter().map(|victim| victim.name().to_owned()).collect();
            (preemption.node.clone(), names)
        }
        (message, _) => panic!("{message}"),
    }
}

#[test]
fn says_why_it_cannot_help() {
    let tainted = node("t", json!({}), json!({ "taints": [{ "key": "a", "effect": "NoSchedule" }] }), json!({}));
    let nodes = vec![Arc::new(tainted), with(plain("a"), &[("x", "3", 0)]), with(plain("b"), &[("y", "3", 0)])];
    let (message, nomination) = failure(&Snapshot::new(nodes), &asking(json!({ "cpu": "2" })));
    assert_eq!(
        message,
        "0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 Insufficient cpu. preemption: 0/3 nodes are \
         available: 1 Preemption is not helpful for scheduling, 2 No preemption victims found for incoming pod.",
    );
    assert!(matches!(nomination, Nomination::Clear));
    let (message, _) = failure(&Snapshot::new(vec![Arc::new(plain("a"))]), &asking(json!({ "cpu": "9" })));
    assert_eq!(
        message,
        "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: 1 Preemption is not \
         helpful for scheduling.",
    );
}

#[test]
fn a_policy_may_forbid_it() {
    let snapshot = Snapshot::new(vec![with(plain("a"), &[("low", "3", 0)])]);
    let modest = wanting("p", "2", 10, json!({ "preemptionPolicy": "Never" }));
    let (message, nomination) = failure(&snapshot, &modest);
    assert_eq!(
        message,
        "0/1 nodes are available: 1 Insufficient cpu. preemption: not eligible due to preemptionPolicy=Never.",
    );
    assert!(matches!(nomination, Nomination::Keep));
}

#[test]
fn the_most_important_pods_stay() {
    let snapshot = Snapshot::new(vec![with(plain("a"), &[("low", "1", 1), ("lower", "1", 0), ("high", "1", 5)])]);
    let preemptor = wanting("p", "3", 5, json!({}));
    assert_eq!(preempted(&snapshot, &preemptor), ("a".into(), vec!["low".into(), "lower".into()]));
    let preemptor = wanting("p", "2", 5, json!({}));
    assert_eq!(preempted(&snapshot, &preemptor), ("a".into(), vec!["lower".into()]));
}

#[test]
fn budgets_are_kept_where_that_is_possible() {
    let objects = Objects::default();
    objects.budgets.put(object(json!({
        "metadata": { "namespace": "shop", "name": "guard" },
        "spec": { "selector": { "matchLabels": { "app": "guarded" } } },
        "status": { "disruptionsAllowed": 0, "currentHealthy": 1, "desiredHealthy": 1, "expectedPods": 1 },
    })));
    let nodes =
        vec![with(plain("a"), &[("guarded", "2", 0), ("free", "2", 3)]), with(plain("b"), &[("other", "4", 4)])];
    let snapshot = Snapshot::with_objects(nodes, Arc::new(objects));
    let preemptor = wanting("p", "2", 5, json!({}));
    assert_eq!(preempted(&snapshot, &preemptor), ("a".into(), vec!["free".into()]), "though it is more important");
    let preemptor = wanting("p", "4", 5, json!({}));
    assert_eq!(preempted(&snapshot, &preemptor), ("b".into(), vec!["other".into()]), "the other node violates nothing");
}

#[test]
fn anti_affinity_is_resolved_too() {
    let anti = json!({ "affinity": { "podAntiAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": [
        { "labelSelector": { "matchLabels": { "app": "loud" } }, "topologyKey": "zone" },
    ] } } });
    let zoned = |name: &str| {
        node(name, json!({ "zone": name }), json!({}), json!({ "cpu": "4", "memory": "8Gi", "pods": "110" }))
    };
    let nodes = vec![with(zoned("a"), &[("loud", "1", 0), ("quiet", "1", 0)]), with(zoned("b"), &[("loud", "1", 9)])];
    let preemptor = wanting("p", "1", 5, anti);
    assert_eq!(preempted(&Snapshot::new(nodes), &preemptor), ("a".into(), vec!["loud".into()]));
}

#[test]
fn it_waits_for_its_victims_to_go() {
    let status = json!({ "conditions": [{ "type": "DisruptionTarget", "status": "True", "reason": BY_SCHEDULER }] });
    let metadata = json!({
        "namespace": "shop", "name": "v", "uid": "v", "deletionTimestamp": "2026-01-01T00:00:00Z",
    });
    let requests = json!({ "requests": { "cpu": "3" } });
    let spec = json!({ "containers": [{ "name": "c", "resources": requests }] });
    let mut crowded = plain("a");
    crowded.add_pod(Arc::new(PodInfo::new(object(json!({ "metadata": metadata, "spec": spec, "status": status })))));
    let snapshot = Snapshot::new(vec![Arc::new(crowded), with(plain("b"), &[("low", "3", 0)])]);
    let spec = json!({ "priority": 5, "containers": [{ "name": "c", "resources": requests }] });
    let waiting = json!({
        "metadata": { "namespace": "shop", "name": "p", "uid": "p" }, "spec": spec, "status": { "nominatedNodeName": "a" },
    });
    let (message, nomination) = failure(&snapshot, &PodInfo::new(object(waiting)));
    assert!(message.ends_with("preemption: not eligible due to a terminating pod on the nominated node."), "{message}");
    assert!(matches!(nomination, Nomination::Keep));
}

#[test]
fn room_that_is_being_made_is_not_taken_by_others() {
    let mut snapshot = Snapshot::new(vec![Arc::new(plain("a"))]);
    let waiting = Arc::new(wanting("p", "3", 5, json!({})));
    snapshot.nominated = Arc::new([("a".to_owned(), vec![waiting.clone()])].into());
    let place = |pod: &PodInfo| Cycle::default().place(&Profile::default(), &snapshot, pod).is_ok();
    assert!(!place(&wanting("q", "2", 0, json!({}))), "it is less important");
    assert!(place(&wanting("q", "1", 0, json!({}))), "there is room for both");
    assert!(place(&wanting("q", "2", 9, json!({}))), "it is more important");
    assert!(place(&waiting), "it is for itself");
    assert!(!place(&pod(json!({ "priority": 9, "nodeSelector": { "a": "b" } }))));
}
