#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};

use super::{ingress::IngressKind, ingress_class::IngressClassKind, network_policy::NetworkPolicyKind};
use crate::registry::{
    kind::Kind,
    validation::tests::{merged, new_errors, object},
};

fn ingress() -> Value {
    json!({"metadata": {"name": "web"}, "spec": {"rules": [{"host": "web.example.com", "http": {"paths": [
        {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "web", "port": {"number": 80}}}}]}}]}})
}

fn with_path(path: Value) -> Value {
    json!({"spec": {"rules": [{"http": {"paths": [path]}}]}})
}

#[test]
fn bad_ingresses_are_refused_in_upstreams_words() {
    let backend = json!({"service": {"name": "web", "port": {"number": 80}}});
    let cases = [
        (json!({}), vec![]),
        (
            json!({"spec": {"rules": null}}),
            vec!["spec: Invalid value: \"null\": either `defaultBackend` or `rules` must be specified"],
        ),
        (
            with_path(json!({"path": "/", "backend": backend})),
            vec!["spec.rules[0].http.paths[0].pathType: Required value: pathType must be specified"],
        ),
        (
            with_path(json!({"path": "x", "pathType": "Exact", "backend": backend})),
            vec!["spec.rules[0].http.paths[0].path: Invalid value: \"x\": must be an absolute path"],
        ),
        (
            with_path(json!({"path": "/a//b", "pathType": "Fuzzy", "backend": {}})),
            vec![
                "spec.rules[0].http.paths[0].pathType: Unsupported value: \"Fuzzy\": supported values: \"Exact\", \
                 \"ImplementationSpecific\", \"Prefix\"",
                "spec.rules[0].http.paths[0].backend: Invalid value: \"\": resource or service backend is required",
            ],
        ),
        (
            with_path(json!({"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "web"}}})),
            vec!["spec.rules[0].http.paths[0].backend: Required value: port name or number is required"],
        ),
    ];
    for (patch, expected) in cases {
        assert_eq!(new_errors::<IngressKind>(merged(&ingress(), patch.clone())), expected, "{patch}");
    }
}

#[test]
fn ingress_columns_tell_what_upstreams_tell() {
    let now = "2026-01-01T00:00:00Z".parse().unwrap();
    let cells = |patch: Value| IngressKind::cells(&object::<IngressKind>(merged(&ingress(), patch)), now);
    assert_eq!(cells(json!({})), ["web", "<none>", "web.example.com", "", "80", "<unknown>"]);
    let rules: Vec<_> = (1..=5).map(|i| json!({"host": format!("h{i}")})).collect();
    let many = cells(json!({"spec": {"ingressClassName": "lab", "rules": rules, "tls": [{}]},
        "status": {"loadBalancer": {"ingress": [{"ip": "10.0.0.2"}, {"hostname": "a.b"}]}}}));
    assert_eq!(many[1..5], ["lab", "h1,h2,h3 + 2 more...", "10.0.0.2,a.b", "80, 443"]);
}

#[test]
fn ingress_classes_name_their_controller() {
    assert_eq!(new_errors::<IngressClassKind>(json!({"spec": {}})), ["spec.controller: Required value"]);
    let class = object::<IngressClassKind>(json!({"spec": {"controller": "lab.io/ingress",
        "parameters": {"apiGroup": "lab.io", "kind": "Config", "name": "c"}}}));
    let cells = IngressClassKind::cells(&class, "2026-01-01T00:00:00Z".parse().unwrap());
    assert_eq!(cells[1..3], ["lab.io/ingress", "Config.lab.io/c"]);
}

#[test]
fn network_policies_are_completed_and_checked() {
    let policy =
        object::<NetworkPolicyKind>(json!({"spec": {"podSelector": {}, "egress": [{"ports": [{"port": 53}]}]}}));
    let json = serde_json::to_value(&policy).unwrap();
    assert_eq!(json["spec"]["policyTypes"], json!(["Ingress", "Egress"]));
    assert_eq!(json["spec"]["egress"][0]["ports"][0], json!({"port": 53, "protocol": "TCP"}));
    assert_eq!(
        new_errors::<NetworkPolicyKind>(json!({"spec": {"podSelector": {}, "ingress": [
            {"from": [{}, {"ipBlock": {"cidr": "x"}}], "ports": [{"endPort": 5}]}]}})),
        [
            "spec.ingress[0].ports[0].endPort: Invalid value: 5: may not be specified when `port` is not specified",
            "spec.ingress[0].from[0]: Required value: must specify a peer",
            "spec.ingress[0].from[1].ipBlock.cidr: Invalid value: \"x\": must be a valid CIDR value, (e.g. 10.9.8.0/24 \
             or 2001:db8::/64)",
        ]
    );
}
