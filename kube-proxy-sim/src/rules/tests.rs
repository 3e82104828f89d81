#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};

use super::*;

fn service(spec: Value) -> Arc<Service> {
    let mut service = json!({"metadata": {"name": "web", "namespace": "shop"}, "spec": {
        "clusterIP": "10.96.0.10", "ports": [{"port": 80, "nodePort": 30080}]}});
    for (key, value) in spec.as_object().unwrap() {
        service["spec"][key] = value.clone();
    }
    Arc::new(serde_json::from_value(service).unwrap())
}

/// A slice with an endpoint for each letter: `R`eady, `N`ot ready, `T`erminating but serving, `D`one; on node-1, node-2,
/// node-1, …
fn slice(endpoints: &str) -> Arc<EndpointSlice> {
    let endpoint = |(i, letter): (usize, char)| {
        let (ready, serving, terminating) = match letter {
            'R' => (true, true, false),
            'N' => (false, false, false),
            'T' => (false, true, true),
            _ => (false, false, true),
        };
        json!({"addresses": [format!("10.244.1.{}", i + 2)], "nodeName": format!("node-{}", i % 2 + 1),
               "conditions": {"ready": ready, "serving": serving, "terminating": terminating}})
    };
    let endpoints: Vec<Value> = endpoints.chars().enumerate().map(endpoint).collect();
    let slice = json!({"metadata": {"name": "web-1", "namespace": "shop", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4", "ports": [{"name": "", "port": 8080}], "endpoints": endpoints});
    Arc::new(serde_json::from_value(slice).unwrap())
}

fn only(table: Table) -> Rule {
    table.0.into_values().next().unwrap()
}

fn last_parts(endpoints: &[Endpoint]) -> String {
    let parts =
        endpoints.iter().map(|endpoint| endpoint.address.to_string().replace("10.244.1.", "").replace(":8080", ""));
    parts.collect::<Vec<_>>().join(",")
}

#[test]
fn policies_and_conditions_decide_where_connections_go() {
    for (spec, endpoints, cluster, external) in [
        (json!({}), "RRN", "2,3", "2,3"),
        (json!({}), "NTD", "3", "3"),
        (json!({}), "RT", "2", "2"),
        (json!({}), "ND", "", ""),
        (json!({"externalTrafficPolicy": "Local"}), "RRR", "2,3,4", "2,4"),
        (json!({"externalTrafficPolicy": "Local"}), "NRN", "3", ""),
        (json!({"externalTrafficPolicy": "Local"}), "TRN", "3", "2"),
        (json!({"internalTrafficPolicy": "Local"}), "RR", "2", "2,3"),
    ] {
        let rule = only(table("node-1", &[service(spec.clone())], &[slice(endpoints)]));
        assert_eq!(
            (last_parts(&rule.cluster).as_str(), last_parts(&rule.external).as_str()),
            (cluster, external),
            "{spec} {endpoints}"
        );
    }
}

#[test]
fn some_services_have_no_rules() {
    for spec in [json!({"clusterIP": "None"}), json!({"clusterIP": null}), json!({"type": "ExternalName"})] {
        assert_eq!(table("node-1", &[service(spec.clone())], &[]), Table::default(), "{spec}");
    }
}

#[test]
fn ports_are_found_by_name() {
    let ports = json!([{"name": "http", "port": 80}, {"name": "metrics", "port": 9090}]);
    let mut slice = (*slice("R")).clone();
    slice.ports = serde_json::from_value(json!([{"name": "metrics", "port": 9100}])).unwrap();
    let table = table("node-1", &[service(json!({"ports": ports}))], &[Arc::new(slice)]);
    let shown: Vec<String> =
        table.0.iter().map(|(name, rule)| format!("{name} {} {}", rule.port, last_parts(&rule.cluster))).collect();
    assert_eq!(shown, ["shop/web:http 80 ", "shop/web:metrics 9090 2:9100"]);
}

#[test]
fn an_endpoint_in_two_slices_counts_once() {
    let rule = only(table("node-1", &[service(json!({}))], &[slice("RR"), slice("R")]));
    assert_eq!(last_parts(&rule.cluster), "2,3");
}

#[test]
fn affinity_has_a_time() {
    for (spec, expected) in [
        (json!({}), None),
        (json!({"sessionAffinity": "ClientIP"}), Some(10_800)),
        (
            json!({"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 60}}}),
            Some(60),
        ),
    ] {
        assert_eq!(only(table("node-1", &[service(spec)], &[])).affinity, expected.map(Duration::from_secs));
    }
}

#[test]
fn the_table_reads_as_iptables_save_prints_it() {
    let local = json!({"externalTrafficPolicy": "Local", "sessionAffinity": "ClientIP"});
    for (spec, endpoints, expected) in [
        (json!({}), "RR", include_str!("cases/two_endpoints.txt")),
        (json!({}), "N", include_str!("cases/no_endpoints.txt")),
        (local, "RR", include_str!("cases/local_with_affinity.txt")),
    ] {
        let printed = iptables::save(&table("node-1", &[service(spec.clone())], &[slice(endpoints)]));
        assert_eq!(printed, expected, "{spec} {endpoints}\n{printed}");
    }
}
