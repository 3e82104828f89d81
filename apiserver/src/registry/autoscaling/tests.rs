#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};

use super::horizontal_pod_autoscaler::HorizontalPodAutoscalerKind as Hpa;
use crate::registry::{
    kind::Kind,
    validation::tests::{merged, new_errors, object},
};

fn autoscaler() -> Value {
    json!({"metadata": {"name": "web"},
        "spec": {"maxReplicas": 5, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}}})
}

#[test]
fn an_autoscaler_aims_at_the_cpu_unless_told() {
    let json = serde_json::to_value(object::<Hpa>(merged(&autoscaler(), json!({"spec": {"behavior": {}}})))).unwrap();
    assert_eq!(json["spec"]["minReplicas"], 1);
    assert_eq!(
        json["spec"]["metrics"],
        json!([{"type": "Resource",
            "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}])
    );
    assert_eq!(
        json["spec"]["behavior"],
        json!({
            "scaleDown": {"selectPolicy": "Max", "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}]},
            "scaleUp": {"selectPolicy": "Max", "stabilizationWindowSeconds": 0, "policies": [
                {"type": "Pods", "value": 4, "periodSeconds": 15}, {"type": "Percent", "value": 100, "periodSeconds": 15}]},
        })
    );
}

#[test]
fn bad_autoscalers_are_refused_in_upstreams_words() {
    let cases = [
        (json!({}), vec![]),
        (
            json!({"spec": {"minReplicas": 6}}),
            vec!["spec.maxReplicas: Invalid value: 5: must be greater than or equal to `minReplicas`"],
        ),
        (
            json!({"spec": {"maxReplicas": 0, "minReplicas": 0}}),
            vec![
                "spec.minReplicas: Invalid value: 0: must be greater than or equal to 1",
                "spec.maxReplicas: Invalid value: 0: must be greater than 0",
            ],
        ),
        (
            json!({"spec": {"scaleTargetRef": {"name": ""}, "metrics": [{"type": "Pods"}]}}),
            vec![
                "spec.scaleTargetRef.name: Required value",
                "spec.metrics[0].pods: Required value: must populate information for the given metric source",
            ],
        ),
    ];
    for (patch, expected) in cases {
        assert_eq!(new_errors::<Hpa>(merged(&autoscaler(), patch.clone())), expected, "{patch}");
    }
}

#[test]
fn targets_read_as_upstreams() {
    let now = "2026-01-01T00:00:00Z".parse().unwrap();
    let targets = |patch: Value| Hpa::cells(&object::<Hpa>(merged(&autoscaler(), patch)), now)[2].clone();
    assert_eq!(targets(json!({})), "cpu: <unknown>/80%");
    let usage = json!([{"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 20}}}]);
    assert_eq!(targets(json!({"status": {"desiredReplicas": 1, "currentMetrics": usage}})), "cpu: 20%/80%");
    let pods = json!({"type": "Pods", "pods": {"metric": {"name": "rps"},
        "target": {"type": "AverageValue", "averageValue": "10"}}});
    let external = json!({"type": "External", "external": {"metric": {"name": "queue"},
        "target": {"type": "AverageValue", "averageValue": "3"}}});
    assert_eq!(
        targets(json!({"spec": {"metrics": [pods, external, pods]}})),
        "<unknown>/10, <unknown>/3 (avg) + 1 more..."
    );
}
