//! Pods, beyond their golden cases.
#![allow(clippy::unwrap_used)]

mod columns;
mod defaults;
mod validation;

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::PodKind;
use crate::registry::{
    kind::Kind,
    validation::tests::{merged, object},
};

fn minimal() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"},
        "spec": {"containers": [{"name": "web", "image": "nginx"}]},
    })
}

fn container(fields: Value) -> Value {
    let container = merged(&json!({"name": "web", "image": "nginx"}), fields);
    json!({"spec": {"containers": [container]}})
}

#[test]
fn notes_tell_the_story() {
    let pod = |patch: Value| object::<PodKind>(merged(&minimal(), patch));
    let pending = pod(json!({"status": {"phase": "Pending"}}));
    let bound = pod(json!({"spec": {"nodeName": "node-2"}, "status": {"phase": "Pending"}}));
    let running = pod(json!({"spec": {"nodeName": "node-2"}, "status": {"phase": "Running", "containerStatuses": [
        {"name": "web", "ready": true, "restartCount": 0, "image": "", "imageID": "", "state": {"running": {}}}]}}));
    assert_eq!(PodKind::note(&pending, None), "created");
    assert_eq!(PodKind::note(&bound, Some(&pending)), "bound to node-2");
    assert_eq!(PodKind::note(&running, Some(&bound)), "Pending → Running, ready 0/1 → 1/1");
    assert_eq!(PodKind::note(&running, Some(&running)), "");
}

#[test]
fn label_keys_become_requirements() {
    let mut pod = object::<PodKind>(merged(
        &minimal(),
        json!({"metadata": {"labels": {"hash": "1"}}, "spec": {
            "affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
                {"topologyKey": "zone", "labelSelector": {}, "matchLabelKeys": ["hash", "none"]}]}},
            "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule",
                "labelSelector": {"matchLabels": {"app": "web"}}, "matchLabelKeys": ["hash"]}],
        }}),
    ));
    PodKind::prepare_create(&mut pod);
    let spec = serde_json::to_value(pod.spec.unwrap()).unwrap();
    let required = json!([{"key": "hash", "operator": "In", "values": ["1"]}]);
    let term = &spec["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][0];
    assert_eq!(term["labelSelector"]["matchExpressions"], required);
    assert_eq!(spec["topologySpreadConstraints"][0]["labelSelector"]["matchExpressions"], required);
}

#[test]
fn what_is_hardly_meant_is_warned_of() {
    let pod = object::<PodKind>(merged(
        &minimal(),
        json!({"spec": {
            "nodeSelector": {"beta.kubernetes.io/os": "linux"},
            "containers": [{"name": "web", "image": "nginx",
                "env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}, {"name": "A", "value": "$(A)3"}],
                "ports": [{"containerPort": 80}, {"containerPort": 80}]}],
        }}),
    ));
    assert_eq!(
        PodKind::warnings(&pod),
        [
            "spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use \"kubernetes.io/os\" instead",
            "spec.containers[0].env[1]: hides previous definition of \"A\", which may be dropped when using apply",
            "spec.containers[0].ports[1]: duplicate port definition with spec.containers[0].ports[0]",
        ]
    );
}

#[test]
fn a_pod_is_given_the_time_it_asks_for() {
    let running = object::<PodKind>(merged(&minimal(), json!({"spec": {"nodeName": "n"}})));
    let pending = object::<PodKind>(minimal());
    let ended =
        object::<PodKind>(merged(&minimal(), json!({"spec": {"nodeName": "n"}, "status": {"phase": "Failed"}})));
    for (pod, asked, given) in [
        (&running, None, 30),
        (&running, Some(5), 5),
        (&running, Some(0), 0),
        (&running, Some(-3), 1),
        (&pending, None, 0),
        (&ended, Some(9), 0),
    ] {
        assert_eq!(PodKind::grace_seconds(pod, asked), Some(given), "{asked:?}");
    }
}
