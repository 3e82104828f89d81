#![allow(clippy::unwrap_used)]

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::{core::v1::Service, discovery::v1::EndpointSlice};
use serde_json::{Value, json};

use super::*;
use crate::balance::{Scheduler, Servers};

fn service(spec: Value) -> Arc<Service> {
    let mut service = json!({"metadata": {"name": "web", "namespace": "shop"}, "spec": {
        "clusterIP": "10.96.0.10", "ports": [{"port": 80, "nodePort": 30080}]}});
    for (key, value) in spec.as_object().unwrap() {
        service["spec"][key] = value.clone();
    }
    Arc::new(serde_json::from_value(service).unwrap())
}

/// The same with a load balancer at 127.20.251.1.
fn balanced(spec: Value) -> Arc<Service> {
    let mut service = serde_json::to_value(&*service(spec)).unwrap();
    service["spec"]["type"] = json!("LoadBalancer");
    service["status"] = json!({"loadBalancer": {"ingress": [{"ip": "127.20.251.1", "ipMode": "VIP"}]}});
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

fn table_on(place: Place, services: &[Arc<Service>], slices: &[Arc<EndpointSlice>]) -> Table {
    let mut tracker = Tracker::default();
    services.iter().for_each(|service| tracker.put_service(service));
    slices.iter().for_each(|slice| tracker.put_slice(slice));
    Table::new(place, Arc::new(tracker.services()))
}

fn table(services: &[Arc<Service>], slices: &[Arc<EndpointSlice>]) -> Table {
    let place =
        Place { node: "node-1".into(), ip: Some([127, 20, 0, 1].into()), zone: Some("a".into()), ..Place::default() };
    table_on(place, services, slices)
}

fn only(table: &Table) -> Rule {
    table.iter().next().unwrap().1.clone()
}

fn last_parts(endpoints: &[Endpoint]) -> String {
    let parts =
        endpoints.iter().map(|endpoint| endpoint.address.to_string().replace("10.244.1.", "").replace(":8080", ""));
    parts.collect::<Vec<_>>().join(",")
}

#[test]
fn policies_and_conditions_decide_where_connections_go() {
    for (spec, endpoints, internal, external, from_pod) in [
        (json!({}), "RRN", "2,3", "2,3", "2,3"),
        (json!({}), "NTD", "3", "3", "3"),
        (json!({}), "RT", "2", "2", "2"),
        (json!({}), "ND", "", "", ""),
        (json!({"externalTrafficPolicy": "Local"}), "RRR", "2,3,4", "2,4", "2,3,4"),
        (json!({"externalTrafficPolicy": "Local"}), "NRN", "3", "", "3"),
        (json!({"externalTrafficPolicy": "Local"}), "TRN", "3", "2", "3"),
        (json!({"internalTrafficPolicy": "Local"}), "RR", "2", "2,3", "2,3"),
        (json!({"internalTrafficPolicy": "Local"}), "NR", "", "3", "3"),
    ] {
        let table = table(&[service(spec.clone())], &[slice(endpoints)]);
        let rule = only(&table);
        let shown = [rule.internal(), rule.external(), rule.endpoints(Via::NodePort, true)].map(last_parts);
        assert_eq!(shown, [internal, external, from_pod], "{spec} {endpoints}");
        let somewhere = !endpoints.trim_matches(['N', 'D']).is_empty();
        assert_eq!(rule.drops(Via::NodePort), somewhere && external.is_empty(), "{spec} {endpoints}");
        assert_eq!(rule.drops(Via::ClusterIp), somewhere && internal.is_empty(), "{spec} {endpoints}");
    }
}

#[test]
fn hints_keep_connections_near() {
    let with_hints = |hints: &[Value]| {
        let mut slice = serde_json::to_value(&*slice(&"R".repeat(hints.len()))).unwrap();
        for (i, hint) in hints.iter().enumerate() {
            slice["endpoints"][i]["hints"] = hint.clone();
        }
        Arc::new(serde_json::from_value(slice).unwrap())
    };
    let zone = |zone: &str| json!({"forZones": [{"name": zone}]});
    let node = |node: &str, zone: &str| json!({"forZones": [{"name": zone}], "forNodes": [{"name": node}]});
    let none = Value::Null;
    for (hints, on_node_1_in_a, on_node_9_in_b, on_node_9_in_c) in [
        (vec![zone("a"), zone("b"), zone("a")], "2,4", "3", "2,3,4"),
        (vec![zone("a"), none, zone("b")], "2,3,4", "2,3,4", "2,3,4"),
        (vec![node("node-1", "a"), node("node-2", "a"), node("node-3", "b")], "2", "4", "2,3,4"),
    ] {
        let slice: Arc<EndpointSlice> = with_hints(&hints);
        for (node, zone, expected) in
            [("node-1", "a", on_node_1_in_a), ("node-9", "b", on_node_9_in_b), ("node-9", "c", on_node_9_in_c)]
        {
            let place = Place { node: node.into(), zone: Some(zone.into()), ..Place::default() };
            let table = table_on(place, &[service(json!({}))], std::slice::from_ref(&slice));
            assert_eq!(last_parts(only(&table).internal()), expected, "{hints:?} on {node} in {zone}");
        }
    }
}

#[test]
fn what_is_the_same_on_all_nodes_is_held_once() {
    let (plain, local) = (service(json!({})), service(json!({"externalTrafficPolicy": "Local"})));
    for service in [plain, local] {
        let mut tracker = Tracker::default();
        tracker.put_service(&service);
        tracker.put_slice(&slice("RR"));
        let services = Arc::new(tracker.services());
        let [a, b] = ["node-1", "node-2"].map(|node| {
            let place = Place { node: node.into(), ..Place::default() };
            only(&Table::new(place, services.clone())).usable.cluster
        });
        assert!(Arc::ptr_eq(&a, &b));
    }
}

/// Where nodes differ, what they use is still gone through once and not once for each node.
#[test]
fn what_nodes_of_a_zone_use_is_held_once() {
    let mut slice = serde_json::to_value(&*slice("RRRR")).unwrap();
    for (i, zone) in ["a", "b", "a", "b"].iter().enumerate() {
        slice["endpoints"][i]["hints"] = json!({"forZones": [{"name": zone}]});
    }
    let mut tracker = Tracker::default();
    tracker.put_service(&service(json!({})));
    tracker.put_slice(&serde_json::from_value(slice).unwrap());
    let services = Arc::new(tracker.services());
    let on = |node: &str, zone: &str| {
        let place = Place { node: node.into(), zone: Some(zone.into()), ..Place::default() };
        only(&Table::new(place, services.clone())).usable.cluster
    };
    assert!(Arc::ptr_eq(&on("node-1", "a"), &on("node-2", "a")));
    assert!(!Arc::ptr_eq(&on("node-1", "a"), &on("node-3", "b")));
}

#[test]
fn a_change_costs_what_its_service_costs() {
    let mut tracker = Tracker::default();
    let named = |name: &str| {
        let mut other = (*service(json!({}))).clone();
        other.metadata.name = Some(name.into());
        Arc::new(other)
    };
    ["web", "other"].iter().for_each(|name| tracker.put_service(&named(name)));
    let before = tracker.services();
    tracker.put_slice(&slice("RR"));
    let after = tracker.services();
    let port = |services: &Services, name: &str| {
        let ports = services.ports.iter();
        ports.into_iter().find(|(port, _)| port.service == name).map(|(_, port)| port.clone()).unwrap()
    };
    assert!(Arc::ptr_eq(&port(&before, "other"), &port(&after, "other")));
    assert!(!Arc::ptr_eq(&port(&before, "web"), &port(&after, "web")));
    // What is listened for is known without going through all ports on each node.
    let table = Table::new(Place::default(), Arc::new(after));
    assert_eq!(table.exposed().count(), 2);
}

#[test]
fn a_change_is_followed() {
    let mut tracker = Tracker::default();
    let mut shown = |change: &dyn Fn(&mut Tracker)| {
        change(&mut tracker);
        let table = Table::new(Place::default(), Arc::new(tracker.services()));
        let rules: Vec<String> =
            table.iter().map(|(name, rule)| format!("{name} {}", last_parts(rule.internal()))).collect();
        rules.join(" ")
    };
    let (two, one) = (slice("RR"), slice("NR"));
    assert_eq!(shown(&|tracker| tracker.put_slice(&two)), "", "endpoints may be there before their service");
    assert_eq!(shown(&|tracker| tracker.put_service(&service(json!({})))), "shop/web 2,3");
    assert_eq!(shown(&|tracker| tracker.put_slice(&one)), "shop/web 3");
    assert_eq!(shown(&|tracker| tracker.remove_slice(&one)), "shop/web ");
    assert_eq!(shown(&|tracker| tracker.remove_service(&service(json!({})))), "");
}

#[test]
fn addresses_lead_to_services() {
    let web = balanced(json!({"externalIPs": ["198.51.100.7"]}));
    let table = table(&[web], &[slice("R")]);
    for (address, expected) in [
        ("10.96.0.10:80", Some(Via::ClusterIp)),
        ("10.96.0.10:81", None),
        ("198.51.100.7:80", Some(Via::ExternalIp)),
        ("127.20.251.1:80", Some(Via::LoadBalancer)),
        ("127.20.0.1:30080", Some(Via::NodePort)),
        ("127.20.0.2:30080", None),
        ("10.244.1.2:8080", None),
    ] {
        let found = table.find(address.parse().unwrap(), Protocol::Tcp);
        assert_eq!(found.map(|target| target.via), expected, "{address}");
        assert!(table.find(address.parse().unwrap(), Protocol::Udp).is_none());
    }
}

#[test]
fn some_services_have_no_rules() {
    for spec in [json!({"clusterIP": "None"}), json!({"clusterIP": null}), json!({"type": "ExternalName"})] {
        assert!(table(&[service(spec.clone())], &[]).is_empty(), "{spec}");
    }
}

#[test]
fn ports_are_found_by_name_and_protocol() {
    let ports = json!([{"name": "http", "port": 80}, {"name": "metrics", "port": 9090},
        {"name": "dns", "port": 53, "protocol": "UDP"}]);
    let mut slice = (*slice("R")).clone();
    let named = json!([{"name": "metrics", "port": 9100}, {"name": "dns", "port": 5353, "protocol": "TCP"}]);
    slice.ports = serde_json::from_value(named).unwrap();
    let table = table(&[service(json!({"ports": ports}))], &[Arc::new(slice)]);
    let shown: Vec<String> =
        table.iter().map(|(name, rule)| format!("{name} {} {}", rule.port, last_parts(rule.internal()))).collect();
    assert_eq!(shown, ["shop/web:dns 53 ", "shop/web:http 80 ", "shop/web:metrics 9090 2:9100"]);
}

#[test]
fn an_endpoint_in_two_slices_counts_once() {
    let mut second = (*slice("R")).clone();
    second.metadata.name = Some("web-2".into());
    let table = table(&[service(json!({}))], &[slice("RR"), Arc::new(second)]);
    assert_eq!(last_parts(only(&table).internal()), "2,3");
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
        assert_eq!(only(&table(&[service(spec)], &[])).affinity, expected.map(Duration::from_secs));
    }
}

#[test]
fn source_ranges_admit() {
    for (ranges, client, expected) in [
        (json!(null), "127.0.0.1", true),
        (json!(["203.0.113.0/25"]), "203.0.113.9", true),
        (json!(["203.0.113.0/25"]), "127.0.0.1", false),
        (json!(["203.0.113.0/25", "0.0.0.0/0"]), "127.0.0.1", true),
    ] {
        let rule = only(&table(&[balanced(json!({"loadBalancerSourceRanges": ranges}))], &[]));
        assert_eq!(rule.admits(client.parse().unwrap()), expected, "{ranges} {client}");
    }
}

#[test]
fn the_table_reads_as_iptables_save_prints_it() {
    let local = json!({"externalTrafficPolicy": "Local", "sessionAffinity": "ClientIP", "healthCheckNodePort": 30999});
    let ranges = json!({"loadBalancerSourceRanges": ["127.0.0.0/8"], "externalIPs": ["198.51.100.7"]});
    for (name, service, endpoints, expected) in [
        ("two endpoints", service(json!({})), "RR", include_str!("cases/two_endpoints.txt")),
        ("no endpoints", service(json!({})), "N", include_str!("cases/no_endpoints.txt")),
        ("local", balanced(local.clone()), "RR", include_str!("cases/local_with_affinity.txt")),
        ("none here", balanced(local), "NR", include_str!("cases/local_elsewhere.txt")),
        ("ranges", balanced(ranges), "R", include_str!("cases/source_ranges.txt")),
    ] {
        let printed = iptables::save(&table(&[service], &[slice(endpoints)]));
        assert_eq!(printed, expected, "{name}\n{printed}");
    }
}

#[test]
fn the_table_reads_as_nft_prints_it() {
    let local = json!({"externalTrafficPolicy": "Local", "sessionAffinity": "ClientIP"});
    let ranges = json!({"loadBalancerSourceRanges": ["127.0.0.0/8"], "externalIPs": ["198.51.100.7"]});
    for (name, service, endpoints, expected) in [
        ("two endpoints", service(json!({})), "RR", include_str!("cases/nft_two_endpoints.txt")),
        ("no endpoints", service(json!({})), "N", include_str!("cases/nft_no_endpoints.txt")),
        ("local", balanced(local.clone()), "RR", include_str!("cases/nft_local_with_affinity.txt")),
        ("none here", balanced(local), "NR", include_str!("cases/nft_local_elsewhere.txt")),
        ("ranges", balanced(ranges), "R", include_str!("cases/nft_source_ranges.txt")),
    ] {
        let printed = nftables::list(&table(&[service], &[slice(endpoints)]));
        assert_eq!(printed, expected, "{name}\n{printed}");
    }
}

#[test]
fn rules_are_counted() {
    let counts = iptables::count(&table(&[service(json!({}))], &[slice("RR")]));
    assert_eq!(counts, iptables::Counts { filter: 4, nat: 16 });
}

#[test]
fn the_table_reads_as_the_tools_of_ipvs_print_it() {
    let web = balanced(json!({"sessionAffinity": "ClientIP", "loadBalancerSourceRanges": ["203.0.113.0/25"]}));
    let table = table(&[web], &[slice("RR")]);
    let printed = format!("{}\n{}", ipvs::list(&table, Scheduler::Wlc, &Servers::default()), ipset::list(&table));
    assert_eq!(printed, include_str!("cases/ipvs.txt"), "{printed}");
    assert_eq!(ipvs::count(&table), 3);
}
