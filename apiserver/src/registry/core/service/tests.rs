#![allow(clippy::unwrap_used)]

use k8s_openapi::api::core::v1::Service;
use serde_json::{Value, json};

use super::{ServiceKind, allocation};
use crate::registry::{
    kind::Kind,
    validation::tests::{merged, new_errors, object, update_errors},
};

fn minimal() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]},
    })
}

fn created(json: Value) -> Service {
    let mut service = object::<ServiceKind>(json);
    ServiceKind::prepare_create(&mut service);
    service
}

#[test]
fn a_minimal_service_is_completed() {
    let expected = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
        "spec": {
            "internalTrafficPolicy": "Cluster", "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack",
            "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}],
            "selector": {"app": "web"}, "sessionAffinity": "None", "type": "ClusterIP",
        },
        "status": {"loadBalancer": {}},
    });
    let service = created(minimal());
    assert_eq!(serde_json::to_value(&service).unwrap(), expected);
    assert!(allocation::wants_cluster_ip(service.spec.as_ref().unwrap()));
}

#[test]
fn each_type_has_its_own_defaults() {
    let balancer =
        created(merged(&minimal(), json!({"spec": {"type": "LoadBalancer", "sessionAffinity": "ClientIP"}})));
    let spec = serde_json::to_value(balancer.spec.as_ref().unwrap()).unwrap();
    assert_eq!(spec["externalTrafficPolicy"], "Cluster");
    assert_eq!(spec["allocateLoadBalancerNodePorts"], true);
    assert_eq!(spec["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"], 10800);

    let headless = created(merged(&minimal(), json!({"spec": {"clusterIP": "None", "selector": null}})));
    let spec = serde_json::to_value(headless.spec.as_ref().unwrap()).unwrap();
    assert_eq!(spec["clusterIPs"], json!(["None"]));
    assert_eq!(spec["ipFamilyPolicy"], "RequireDualStack");
    assert!(!allocation::wants_cluster_ip(headless.spec.as_ref().unwrap()));
}

#[test]
fn what_was_given_is_kept_until_the_type_changes() {
    let old = created(merged(
        &minimal(),
        json!({"spec": {"type": "NodePort", "clusterIP": "10.96.0.9", "ports": [{"port": 80, "nodePort": 30080}]}}),
    ));
    let updated = |patch: Value| {
        let mut new = object::<ServiceKind>(merged(&minimal(), patch));
        ServiceKind::prepare_update(&mut new, &old);
        serde_json::to_value(new.spec.unwrap()).unwrap()
    };
    let same = updated(json!({"spec": {"type": "NodePort"}}));
    assert_eq!((&same["clusterIPs"], &same["ports"][0]["nodePort"]), (&json!(["10.96.0.9"]), &json!(30080)));
    let inner =
        updated(json!({"spec": {"ports": [{"port": 80, "nodePort": 30080}], "externalTrafficPolicy": "Cluster"}}));
    assert_eq!((&inner["clusterIP"], inner["ports"][0].get("nodePort")), (&json!("10.96.0.9"), None));
    assert_eq!(inner.get("externalTrafficPolicy"), None);
    let outer = updated(json!({"spec": {"type": "ExternalName", "externalName": "example.com",
        "clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9"]}}));
    assert_eq!(outer.get("clusterIP"), None);
}

#[test]
fn a_bad_service_is_refused_in_upstreams_words() {
    let cases = [
        (json!({"spec": {"ports": null}}), vec!["spec.ports: Required value"]),
        (
            json!({"spec": {"ports": [{"port": 0}, {"port": 80, "name": "a"}]}}),
            vec![
                "spec.ports[0].name: Required value",
                "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
                "spec.ports[0].targetPort: Invalid value: 0: must be between 1 and 65535, inclusive",
            ],
        ),
        (
            json!({"spec": {"type": "X"}}),
            vec![
                "spec.type: Unsupported value: \"X\": supported values: \"ClusterIP\", \"ExternalName\", \
                 \"LoadBalancer\", \"NodePort\"",
            ],
        ),
        (
            json!({"spec": {"ports": [{"port": 80, "nodePort": 30000}]}}),
            vec!["spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"],
        ),
        (
            json!({"spec": {"type": "NodePort", "ports": [{"port": 80, "nodePort": 80}]}}),
            vec![
                "spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid range. The range of valid \
                 ports is 30000-32767",
            ],
        ),
        (json!({"spec": {"type": "ExternalName", "ports": null}}), vec!["spec.externalName: Required value"]),
        (
            json!({"spec": {"type": "NodePort", "clusterIP": "None", "clusterIPs": ["None"]}}),
            vec!["spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort services"],
        ),
        (
            json!({"spec": {"sessionAffinity": "Cookie"}}),
            vec!["spec.sessionAffinity: Unsupported value: \"Cookie\": supported values: \"ClientIP\", \"None\""],
        ),
        (
            json!({"spec": {"externalTrafficPolicy": "Local"}}),
            vec![
                "spec.externalTrafficPolicy: Invalid value: \"Local\": may only be set for externally-accessible services",
            ],
        ),
        (
            json!({"spec": {"externalIPs": ["127.0.0.1", "x"]}}),
            vec![
                "spec.externalIPs[0]: Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, \
                 ::1/128)",
                "spec.externalIPs[1]: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or \
                 2001:db8::ffff)",
            ],
        ),
    ];
    for (patch, expected) in cases {
        assert_eq!(new_errors::<ServiceKind>(merged(&minimal(), patch.clone())), expected, "{patch}");
    }
    let with_ip = |ip: &str| merged(&minimal(), json!({"spec": {"clusterIP": ip}}));
    assert_eq!(
        update_errors::<ServiceKind>(with_ip("10.96.0.9"), with_ip("10.96.0.8")),
        ["spec.clusterIPs[0]: Invalid value: [\"10.96.0.8\"]: may not change once set"]
    );
}

#[test]
fn columns_tell_what_upstreams_tell() {
    let now = "2026-01-01T00:00:30Z".parse().unwrap();
    let cases = [
        (json!({"spec": {"clusterIP": "10.96.0.9"}}), ["ClusterIP", "10.96.0.9", "<none>", "80/TCP"]),
        (
            json!({"spec": {"type": "NodePort", "clusterIP": "10.96.0.9", "ports": [{"port": 80, "nodePort": 30080}]}}),
            ["NodePort", "10.96.0.9", "<none>", "80:30080/TCP"],
        ),
        (json!({"spec": {"type": "LoadBalancer"}}), ["LoadBalancer", "<none>", "<pending>", "80/TCP"]),
        (
            json!({"spec": {"type": "LoadBalancer"}, "status": {"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}]}}}),
            ["LoadBalancer", "<none>", "1.2.3.4", "80/TCP"],
        ),
        (
            json!({"spec": {"type": "ExternalName", "externalName": "example.com", "ports": null}}),
            ["ExternalName", "<none>", "example.com", "<none>"],
        ),
    ];
    for (patch, expected) in cases {
        let patch = merged(&patch, json!({"metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"}}));
        let cells = ServiceKind::cells(&object::<ServiceKind>(merged(&minimal(), patch.clone())), now);
        assert_eq!(cells[1..5], expected.map(Value::from), "{patch}");
        assert_eq!(cells[5..], [json!("30s"), json!("app=web")]);
    }
}
