#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};

use super::*;

/// The lab of these tests: `web` and `db` in `shop`, `probe` in `ops`; each by its address.
struct Lab {
    pods: Vec<(IpAddr, Pod, Namespace)>,
}

impl Lab {
    fn new() -> Self {
        let pod = |ip: &str, namespace: &str, app: &str| {
            let pod = json!({"metadata": {"name": app, "namespace": namespace, "labels": {"app": app}},
                "spec": {"containers": [{"name": "c", "ports": [
                    {"name": "http", "containerPort": 80}, {"name": "dns", "containerPort": 53, "protocol": "UDP"}]}]}});
            let namespace = json!({"metadata": {"name": namespace, "labels": {"team": namespace}}});
            (ip.parse().unwrap(), serde_json::from_value(pod).unwrap(), serde_json::from_value(namespace).unwrap())
        };
        Self {
            pods: vec![
                pod("10.244.0.2", "shop", "web"),
                pod("10.244.0.3", "shop", "db"),
                pod("10.244.1.2", "ops", "probe"),
            ],
        }
    }

    fn end(&self, who: &str) -> End<'_> {
        let found = self.pods.iter().find(|(_, pod, _)| pod.metadata.name.as_deref() == Some(who));
        match found {
            Some((ip, pod, namespace)) => End { ip: *ip, pod: Some(pod), namespace: Some(namespace) },
            None => End { ip: who.parse().unwrap(), pod: None, namespace: None },
        }
    }

    /// Whether `web→db:80` and the like is allowed.
    fn allows(&self, policies: &[Value], connection: &str) -> bool {
        let policies: Vec<Arc<NetworkPolicy>> = policies
            .iter()
            .map(|spec| json!({"metadata": {"name": "p", "namespace": "shop"}, "spec": spec}))
            .map(|policy| Arc::new(serde_json::from_value(policy).unwrap()))
            .collect();
        let (from, to) = connection.split_once('>').unwrap();
        let (to, port) = to.split_once(':').unwrap();
        let (port, protocol) = port.split_once('/').unwrap_or((port, "TCP"));
        allows(&policies, &self.end(from), &self.end(to), port.parse().unwrap(), protocol)
    }
}

#[test]
fn what_policies_allow() {
    let db = json!({"matchLabels": {"app": "db"}});
    let ingress = |rules: Value| vec![json!({"podSelector": db, "ingress": rules, "policyTypes": ["Ingress"]})];
    let egress = |rules: Value| {
        vec![json!({"podSelector": {"matchLabels": {"app": "web"}}, "egress": rules, "policyTypes": ["Egress"]})]
    };
    let only_web = json!([{"from": [{"podSelector": {"matchLabels": {"app": "web"}}}]}]);
    for (why, policies, yes, no) in [
        ("none", vec![], vec!["web>db:80", "8.8.8.8>web:1"], vec![]),
        (
            "default deny of ingress isolates the chosen pods alone",
            vec![json!({"podSelector": db, "policyTypes": ["Ingress"]})],
            vec!["db>web:80", "db>db:80", "probe>web:80"],
            vec!["web>db:80", "8.8.8.8>db:80"],
        ),
        (
            "an empty selector means all pods of the namespace",
            vec![json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"]})],
            vec!["probe>8.8.8.8:80"],
            vec!["web>db:80", "db>web:80", "web>probe:80", "probe>web:80"],
        ),
        ("no types: ingress", vec![json!({"podSelector": db})], vec!["db>web:80"], vec!["web>db:80"]),
        (
            "no types, but egress rules: both",
            vec![json!({"podSelector": db, "egress": [{"to": [{"ipBlock": {"cidr": "9.0.0.0/8"}}]}]})],
            vec!["db>9.1.1.1:1"],
            vec!["web>db:80", "db>web:80"],
        ),
        ("an empty rule allows all", ingress(json!([{}])), vec!["web>db:1", "8.8.8.8>db:1"], vec![]),
        (
            "pods of the same namespace",
            ingress(only_web.clone()),
            vec!["web>db:80"],
            vec!["probe>db:80", "10.244.9.9>db:80"],
        ),
        (
            "pods of other namespaces",
            ingress(json!([{"from": [{"namespaceSelector": {"matchLabels": {"team": "ops"}}}]}])),
            vec!["probe>db:80"],
            vec!["web>db:80"],
        ),
        (
            "both selectors in one peer must fit",
            ingress(json!([{"from": [{"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "probe"}}}]}])),
            vec!["probe>db:80"],
            vec!["web>db:80"],
        ),
        (
            "two peers: either",
            ingress(json!([{"from": [{"namespaceSelector": {"matchLabels": {"team": "ops"}}},
                                     {"podSelector": {"matchLabels": {"app": "web"}}}]}])),
            vec!["probe>db:80", "web>db:80"],
            vec!["8.8.8.8>db:80"],
        ),
        (
            "blocks of addresses, with exceptions",
            ingress(json!([{"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.244.1.0/24"]}}]}])),
            vec!["web>db:80", "10.1.1.1>db:80"],
            vec!["probe>db:80", "8.8.8.8>db:80"],
        ),
        (
            "ports: by number, range, name, protocol",
            ingress(
                json!([{"ports": [{"port": "http"}, {"port": 9000, "endPort": 9010}, {"protocol": "UDP", "port": 53}]}]),
            ),
            vec!["web>db:80", "web>db:9000", "web>db:9010", "web>db:53/UDP"],
            vec!["web>db:81", "web>db:9011", "web>db:53", "web>db:80/UDP"],
        ),
        (
            "a protocol alone",
            ingress(json!([{"ports": [{"protocol": "UDP"}]}])),
            vec!["web>db:9/UDP"],
            vec!["web>db:9"],
        ),
        (
            "ports and peers must fit both",
            ingress(json!([{"from": [{"podSelector": {}}], "ports": [{"port": 80}]}])),
            vec!["web>db:80"],
            vec!["web>db:81", "probe>db:80"],
        ),
        (
            "egress",
            egress(json!([{"to": [{"podSelector": db}]}, {"ports": [{"protocol": "UDP", "port": 53}]}])),
            vec!["web>db:80", "web>probe:53/UDP", "db>web:80", "probe>web:80"],
            vec!["web>probe:80", "web>8.8.8.8:443"],
        ),
        (
            "policies add up",
            [ingress(only_web), ingress(json!([{"from": [{"ipBlock": {"cidr": "8.8.8.8/32"}}]}]))].concat(),
            vec!["web>db:80", "8.8.8.8>db:80"],
            vec!["probe>db:80"],
        ),
        (
            "egress of the one and ingress of the other",
            [egress(json!([{}])), ingress(json!([]))].concat(),
            vec!["web>probe:80"],
            vec!["web>db:80"],
        ),
    ] {
        let lab = Lab::new();
        for connection in yes {
            assert!(lab.allows(&policies, connection), "{why}: {connection} should be allowed");
        }
        for connection in no {
            assert!(!lab.allows(&policies, connection), "{why}: {connection} should be denied");
        }
    }
}
