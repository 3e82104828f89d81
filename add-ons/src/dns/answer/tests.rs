#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use serde_json::{Value, json};

use super::*;

#[derive(Default)]
pub struct Objects {
    services: Vec<Arc<Service>>,
    slices: Vec<Arc<EndpointSlice>>,
}

impl Zone for Objects {
    fn service(&self, namespace: &str, name: &str) -> Option<Arc<Service>> {
        let found =
            self.services.iter().find(|service| own_name(service) == format!("{name}.{namespace}.svc.{DOMAIN}"));
        found.cloned()
    }

    fn slices(&self, _: &str, service: &str) -> Vec<Arc<EndpointSlice>> {
        self.slices.iter().filter(|slice| service_of(slice) == Some(service)).cloned().collect()
    }

    fn has_namespace(&self, name: &str) -> bool {
        name == "shop"
    }

    fn has_pod(&self, _: &str, address: IpAddr) -> bool {
        !self.slices_with(address).is_empty()
    }

    fn services_at(&self, address: IpAddr) -> Vec<Arc<Service>> {
        self.services.iter().filter(|service| addresses(service).any(|own| own == address)).cloned().collect()
    }

    fn slices_with(&self, address: IpAddr) -> Vec<Arc<EndpointSlice>> {
        let text = address.to_string();
        let has = |slice: &&Arc<EndpointSlice>| {
            slice.endpoints.iter().flatten().any(|endpoint| endpoint.addresses.first() == Some(&text))
        };
        self.slices.iter().filter(has).cloned().collect()
    }
}

pub fn lab() -> Objects {
    let service = |name: &str, spec: Value| {
        Arc::new(
            serde_json::from_value(json!({"metadata": {"name": name, "namespace": "shop"}, "spec": spec})).unwrap(),
        )
    };
    let slice = |service: &str, ports: Value, endpoints: Value| {
        let labels = json!({"kubernetes.io/service-name": service});
        let meta = json!({"name": format!("{service}-1"), "namespace": "shop", "labels": labels});
        Arc::new(
            serde_json::from_value(
                json!({"metadata": meta, "addressType": "IPv4", "ports": ports, "endpoints": endpoints}),
            )
            .unwrap(),
        )
    };
    let http = json!([{"name": "http", "port": 80, "protocol": "TCP"}]);
    Objects {
        services: vec![
            service("web", json!({"clusterIP": "10.96.0.7", "clusterIPs": ["10.96.0.7", "fd00::7"], "ports": http})),
            service("mysql", json!({"clusterIP": "None", "ports": [{"name": "sql", "port": 3306}]})),
            service("empty", json!({"clusterIP": "None"})),
            service("outside", json!({"type": "ExternalName", "externalName": "db.example.com."})),
            service("alias", json!({"type": "ExternalName", "externalName": "web.shop.svc.cluster.local"})),
            service("loop", json!({"type": "ExternalName", "externalName": "loop.shop.svc.cluster.local"})),
        ],
        slices: vec![
            slice("web", http, json!([{"addresses": ["10.244.0.9"], "conditions": {"ready": true}}])),
            slice(
                "mysql",
                json!([{"name": "sql", "port": 3306, "protocol": "TCP"}]),
                json!([
                    {"addresses": ["10.244.0.2"], "hostname": "mysql-0", "conditions": {"ready": true}},
                    {"addresses": ["10.244.1.2"], "hostname": "mysql-1", "conditions": {"ready": true}},
                    {"addresses": ["10.244.2.2"], "hostname": "mysql-2", "conditions": {"ready": false}},
                    {"addresses": ["10.244.2.3"], "conditions": {}},
                ]),
            ),
        ],
    }
}

/// Records in short: what they say, after the name where that is another.
fn shown(asked: &str, records: &[Record]) -> String {
    let one = |record: &Record| {
        let data = match &record.data {
            Data::Address(address) => address.to_string(),
            Data::Srv { weight, port, target } => format!("{weight} {port} {target}"),
            Data::Ptr(target) | Data::Cname(target) | Data::Txt(target) => target.clone(),
        };
        if record.name == asked { data } else { format!("{}={data}", record.name) }
    };
    records.iter().map(one).collect::<Vec<_>>().join(", ").replace(".svc.cluster.local", "~")
}

#[test]
fn questions_have_answers() {
    const GONE: &str = "NXDOMAIN";
    let zone = lab();
    for (name, kind, expected) in [
        ("web.shop.svc.cluster.local", Kind::A, "10.96.0.7"),
        ("web.shop.svc.cluster.local", Kind::Aaaa, "fd00::7"),
        ("web.shop.svc.cluster.local", Kind::Txt, ""),
        ("web.shop.svc.cluster.local", Kind::Srv, "100 80 web.shop~"),
        ("_http._tcp.web.shop.svc.cluster.local", Kind::Srv, "100 80 web.shop~"),
        ("_http._tcp.web.shop.svc.cluster.local", Kind::A, ""),
        ("_http._udp.web.shop.svc.cluster.local", Kind::Srv, GONE),
        ("_ftp._tcp.web.shop.svc.cluster.local", Kind::Srv, GONE),
        ("nobody.shop.svc.cluster.local", Kind::A, GONE),
        ("web.ops.svc.cluster.local", Kind::A, GONE),
        ("10-244-0-9.web.shop.svc.cluster.local", Kind::A, GONE),
        ("mysql.shop.svc.cluster.local", Kind::A, "10.244.0.2, 10.244.1.2, 10.244.2.3"),
        ("mysql.shop.svc.cluster.local", Kind::Aaaa, ""),
        ("mysql-0.mysql.shop.svc.cluster.local", Kind::A, "10.244.0.2"),
        ("mysql-0.mysql.shop.svc.cluster.local", Kind::Aaaa, ""),
        ("mysql-2.mysql.shop.svc.cluster.local", Kind::A, GONE),
        ("10-244-2-3.mysql.shop.svc.cluster.local", Kind::A, "10.244.2.3"),
        (
            "_sql._tcp.mysql.shop.svc.cluster.local",
            Kind::Srv,
            "33 3306 10-244-2-3.mysql.shop~, 33 3306 mysql-0.mysql.shop~, 33 3306 mysql-1.mysql.shop~",
        ),
        ("empty.shop.svc.cluster.local", Kind::A, GONE),
        ("outside.shop.svc.cluster.local", Kind::A, "db.example.com"),
        ("outside.shop.svc.cluster.local", Kind::Cname, "db.example.com"),
        ("alias.shop.svc.cluster.local", Kind::A, "web.shop~, web.shop~=10.96.0.7"),
        ("10-244-1-7.shop.pod.cluster.local", Kind::A, "10.244.1.7"),
        ("10-244-1-7.ops.pod.cluster.local", Kind::A, GONE),
        ("shop.svc.cluster.local", Kind::A, ""),
        ("ops.svc.cluster.local", Kind::A, GONE),
        ("svc.cluster.local", Kind::A, ""),
        ("dns-version.cluster.local", Kind::Txt, "1.1.0"),
        ("7.0.96.10.in-addr.arpa", Kind::Ptr, "web.shop~"),
        ("2.0.244.10.in-addr.arpa", Kind::Ptr, "mysql-0.mysql.shop~"),
        ("9.0.244.10.in-addr.arpa", Kind::Ptr, "10-244-0-9.web.shop~"),
        ("8.8.8.8.in-addr.arpa", Kind::Ptr, GONE),
        ("example.com", Kind::A, GONE),
    ] {
        let answer = answer(&zone, name, kind);
        let said = if answer.exists { shown(name, &answer.records) } else { GONE.to_owned() };
        assert_eq!(said, expected, "{name} {kind:?}");
    }
}

#[test]
fn the_targets_of_srv_records_come_along() {
    let answer = answer(&lab(), "_sql._tcp.mysql.shop.svc.cluster.local", Kind::Srv);
    let expected = "10-244-2-3.mysql.shop~=10.244.2.3, mysql-0.mysql.shop~=10.244.0.2, mysql-1.mysql.shop~=10.244.1.2";
    assert_eq!(shown("", &answer.additional), expected);
}

#[test]
fn aliases_that_turn_in_a_circle_end() {
    assert_eq!(answer(&lab(), "loop.shop.svc.cluster.local", Kind::A).records.len(), MAX_ALIASES);
}
