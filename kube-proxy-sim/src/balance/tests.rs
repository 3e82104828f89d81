#![allow(clippy::unwrap_used)]
use std::{collections::BTreeSet, time::Duration};

use super::*;
use crate::rules::{PortName, Rule, ServicePort, Via, topology::Usable};

fn rule(endpoints: u8, affinity: Option<Duration>) -> Rule {
    let endpoint = |i| Endpoint { address: SocketAddr::from(([10, 244, 1, i], 80)), node: "node-1".into() };
    let wanted = ServicePort {
        cluster_ip: [10, 96, 0, 10].into(),
        port: 80,
        protocol: Protocol::Tcp,
        node_port: Some(30080),
        external_ips: Vec::new(),
        load_balancer_ips: Vec::new(),
        source_ranges: Vec::new(),
        health_check_node_port: None,
        affinity,
        internal_local: false,
        external_local: false,
    };
    let cluster = (0..endpoints).map(endpoint).collect();
    Rule::new(wanted.into(), Usable { cluster, any: true, ..Usable::default() })
}

fn name() -> PortName {
    PortName { namespace: "shop".into(), service: "web".into(), port: String::new() }
}

fn ask(balancer: &Balancer, rule: &Rule, to: [u8; 4], tried: &[SocketAddr], now: Instant) -> Option<Chosen> {
    let target = Target { name: &name(), rule, via: Via::NodePort };
    let call = Call { target, to: (to, 30080).into(), client: [127, 0, 0, 1].into(), from_pod: false };
    balancer.choose(&call, tried, now)
}

const NODE: [u8; 4] = [127, 20, 0, 1];

#[test]
fn every_endpoint_gets_its_turn_and_none_twice() {
    let (balancer, rule) = (Balancer::new(Mode::Iptables), rule(3, None));
    let now = kubelab_client::clock::instant();
    let choose = |tried: &[SocketAddr]| ask(&balancer, &rule, NODE, tried, now).map(|chosen| chosen.endpoint.address);
    let chosen: BTreeSet<SocketAddr> = (0..200).filter_map(|_| choose(&[])).collect();
    assert_eq!(chosen.len(), 3);
    let mut tried = Vec::new();
    while let Some(next) = choose(&tried) {
        assert!(!tried.contains(&next));
        tried.push(next);
    }
    assert_eq!(tried.len(), 3);
}

#[test]
fn a_client_stays_with_its_endpoint_for_a_while() {
    for mode in [Mode::Iptables, Mode::Ipvs(Scheduler::Rr)] {
        let (balancer, rule) = (Balancer::new(mode), rule(50, Some(Duration::from_secs(60))));
        let start = kubelab_client::clock::instant();
        let choose = |tried: &[SocketAddr], seconds| {
            ask(&balancer, &rule, NODE, tried, start + Duration::from_secs(seconds)).unwrap().endpoint.address
        };
        let first = choose(&[], 0);
        for seconds in [30, 80, 130] {
            assert_eq!(choose(&[], seconds), first, "each use renews it");
        }
        assert_ne!(choose(&[first], 131), first, "what does not answer is left");
        let forgotten = (0..20).any(|i| choose(&[], 300 + i * 100) != choose(&[], 350 + i * 100 + 20));
        assert!(forgotten, "{mode:?}");
    }
}

#[test]
fn round_robin_goes_around_at_each_virtual_server() {
    let (balancer, rule) = (Balancer::new(Mode::Ipvs(Scheduler::Rr)), rule(3, None));
    let now = kubelab_client::clock::instant();
    let last = |to| match ask(&balancer, &rule, to, &[], now).unwrap().endpoint.address.ip() {
        IpAddr::V4(ip) => ip.octets()[3],
        IpAddr::V6(_) => unreachable!(),
    };
    assert_eq!([0; 7].map(|_| last(NODE)), [0, 1, 2, 0, 1, 2, 0]);
    assert_eq!([0; 2].map(|_| last([127, 20, 251, 1])), [0, 1], "another address counts for itself");
}

#[test]
fn open_connections_weigh_until_they_end() {
    let (balancer, rule) = (Balancer::new(Mode::Ipvs(Scheduler::Lc)), rule(2, None));
    let now = kubelab_client::clock::instant();
    let open = |tried: &[SocketAddr]| ask(&balancer, &rule, NODE, tried, now).unwrap();
    let first = open(&[]);
    let second = open(&[]);
    assert_ne!(first.endpoint, second.endpoint);
    let address = first.endpoint.address;
    drop(first);
    assert_eq!(open(&[]).endpoint.address, address, "it has no open connection");
    let server = ((NODE, 30080).into(), Protocol::Tcp);
    let load = balancer.servers().load(server, address);
    assert_eq!((load.active, load.inactive), (0, 2));
    assert_eq!(balancer.servers().load(server, second.endpoint.address).active, 1);
}
