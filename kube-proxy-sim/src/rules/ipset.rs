//! The sets of addresses that IPVS mode's few iptables rules look into, as `ipset list` would print them. Source:
//! `pkg/proxy/ipvs/ipset.go` and `syncProxyRules` in `pkg/proxy/ipvs/proxier.go`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
};

use super::{Protocol, Rule, Table};

/// Every set that kube-proxy makes, and its type.
const SETS: [(&str, &str); 16] = [
    ("KUBE-CLUSTER-IP", HASH),
    ("KUBE-EXTERNAL-IP", HASH),
    ("KUBE-EXTERNAL-IP-LOCAL", HASH),
    ("KUBE-HEALTH-CHECK-NODE-PORT", BITMAP),
    ("KUBE-LOAD-BALANCER", HASH),
    ("KUBE-LOAD-BALANCER-FW", HASH),
    ("KUBE-LOAD-BALANCER-LOCAL", HASH),
    ("KUBE-LOAD-BALANCER-SOURCE-CIDR", "hash:ip,port,net"),
    ("KUBE-LOAD-BALANCER-SOURCE-IP", "hash:ip,port,ip"),
    ("KUBE-LOOP-BACK", "hash:ip,port,ip"),
    ("KUBE-NODE-PORT-LOCAL-SCTP-HASH", HASH),
    ("KUBE-NODE-PORT-LOCAL-TCP", BITMAP),
    ("KUBE-NODE-PORT-LOCAL-UDP", BITMAP),
    ("KUBE-NODE-PORT-SCTP-HASH", HASH),
    ("KUBE-NODE-PORT-TCP", BITMAP),
    ("KUBE-NODE-PORT-UDP", BITMAP),
];

const HASH: &str = "hash:ip,port";
const BITMAP: &str = "bitmap:port";

type Sets = BTreeMap<&'static str, BTreeSet<String>>;

/// All sets.
pub fn list(table: &Table) -> String {
    let mut sets: Sets = SETS.iter().map(|(name, _)| (*name, BTreeSet::new())).collect();
    table.iter().for_each(|(_, rule)| add(&mut sets, table, rule));
    let mut text = String::new();
    for (name, kind) in SETS {
        let header = if kind == BITMAP { "range 0-65535" } else { "family inet hashsize 1024 maxelem 65536" };
        let members = &sets[name];
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "Name: {name}\nType: {kind}\nHeader: {header}\nNumber of entries: {}\nMembers:\n",
            members.len()
        );
        members.iter().for_each(|member| text.extend([member, "\n"]));
        text.push('\n');
    }
    text
}

fn add(sets: &mut Sets, table: &Table, rule: &Rule) {
    let protocol = rule.protocol.lower();
    let mut put = |set: &'static str, member: String| {
        sets.entry(set).or_default().insert(member);
    };
    let at = |ip: &dyn std::fmt::Display| format!("{ip},{protocol}:{}", rule.port);
    put("KUBE-CLUSTER-IP", at(&rule.cluster_ip));
    for ip in &rule.external_ips {
        put(if rule.external_local { "KUBE-EXTERNAL-IP-LOCAL" } else { "KUBE-EXTERNAL-IP" }, at(ip));
    }
    for ip in &rule.load_balancer_ips {
        put("KUBE-LOAD-BALANCER", at(ip));
        if rule.external_local {
            put("KUBE-LOAD-BALANCER-LOCAL", at(ip));
        }
        if !rule.source_ranges.is_empty() {
            put("KUBE-LOAD-BALANCER-FW", at(ip));
            for range in &rule.source_ranges {
                put("KUBE-LOAD-BALANCER-SOURCE-CIDR", format!("{},{range}", at(ip)));
            }
            if table.place().ip.is_some_and(|ip| rule.admits(ip)) {
                put("KUBE-LOAD-BALANCER-SOURCE-IP", format!("{},{ip}", at(ip)));
            }
        }
    }
    if let Some(port) = rule.node_port {
        let (all, local) = match rule.protocol {
            Protocol::Tcp => ("KUBE-NODE-PORT-TCP", "KUBE-NODE-PORT-LOCAL-TCP"),
            Protocol::Udp => ("KUBE-NODE-PORT-UDP", "KUBE-NODE-PORT-LOCAL-UDP"),
            Protocol::Sctp => ("KUBE-NODE-PORT-SCTP-HASH", "KUBE-NODE-PORT-LOCAL-SCTP-HASH"),
        };
        let member = match (rule.protocol, table.place().ip) {
            (Protocol::Sctp, Some(ip)) => format!("{ip},sctp:{port}"),
            _ => port.to_string(),
        };
        put(all, member.clone());
        if rule.external_local {
            put(local, member);
        }
    }
    if let Some(port) = rule.health_check_node_port {
        put("KUBE-HEALTH-CHECK-NODE-PORT", port.to_string());
    }
    let here = |node: &str| node == table.place().node;
    let usable = rule.usable.cluster.iter().chain(rule.usable.local.iter());
    for endpoint in usable.filter(|endpoint| here(&endpoint.node)) {
        let (ip, port) = (endpoint.address.ip(), endpoint.address.port());
        put("KUBE-LOOP-BACK", format!("{ip},{protocol}:{port},{ip}"));
    }
}
