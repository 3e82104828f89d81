use serde_json::json;

use super::*;
use crate::{
    framework::Snapshot,
    testing::{node, pod},
};

fn info(name: &str, zone: &str, pods: usize) -> Arc<NodeInfo> {
    let labels = if zone.is_empty() { json!({}) } else { json!({ "zone": zone }) };
    let mut info = node(name, labels, json!({}), json!({}));
    for at in 0..pods {
        info.add_pod(Arc::new(pod(json!({ "name": format!("{name}-{at}") }))));
    }
    Arc::new(info)
}

fn sums(tally: &Tally) -> Vec<i64> {
    tally.axes.first().map(|axis| axis.known().map(|(_, sum)| sum).collect()).unwrap_or_default()
}

#[test]
fn only_nodes_that_changed_are_counted_anew() {
    let mut snapshot = Snapshot::new(vec![info("a", "x", 1), info("b", "x", 2), info("c", "y", 0), info("d", "", 5)]);
    let counted = std::cell::Cell::new(0);
    let zone: Arc<str> = "zone".into();
    let count = |node: &NodeInfo, emit: &mut Emit<'_>| {
        counted.set(counted.get() + 1);
        emit(&zone, node.pods.len() as i64);
    };
    let tally = snapshot.tally("pods", &count);
    assert_eq!((sums(&tally), counted.replace(0)), (vec![3, 0], 4));
    assert_eq!(sums(&snapshot.tally("pods", &count)), [3, 0]);
    assert_eq!(counted.replace(0), 0, "nothing changed");

    let place = |mut node: Arc<NodeInfo>, place| {
        Arc::make_mut(&mut node).place = place;
        node
    };
    snapshot.replace(place(info("c", "y", 4), 2));
    assert_eq!((sums(&snapshot.tally("pods", &count)), counted.replace(0)), (vec![3, 4], 1));
    assert_eq!(sums(&tally), [3, 0], "who asked before keeps the answer");

    // A node moves to another zone, one that was not there; a node gets its first.
    snapshot.replace(place(info("a", "z", 1), 0));
    snapshot.replace(place(info("d", "y", 5), 3));
    let tally = snapshot.tally("pods", &count);
    assert_eq!((sums(&tally), counted.replace(0)), (vec![2, 9, 1], 2));
    let axis = tally.axis("zone").unwrap();
    assert_eq!(axis.domain(3), axis.domain(2));

    snapshot.reset(vec![info("b", "x", 2)]);
    assert_eq!((sums(&snapshot.tally("pods", &count)), counted.replace(0)), (vec![2], 1));
}

#[test]
fn questions_and_changes_are_remembered_up_to_a_bound() {
    let mut snapshot = Snapshot::new(vec![info("a", "x", 1)]);
    let zone: Arc<str> = "zone".into();
    let count = |node: &NodeInfo, emit: &mut Emit<'_>| emit(&zone, node.pods.len() as i64);
    for question in 0..2 * REMEMBERED {
        snapshot.tally(&question.to_string(), &count);
    }
    let changed = info("a", "x", 3);
    for _ in 0..2 * CHANGES {
        snapshot.replace(changed.clone());
    }
    assert_eq!(sums(&snapshot.tally("0", &count)), [3]);
}
