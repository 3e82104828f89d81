//! The table as `ipvsadm -Ln` would print it in IPVS mode: a virtual server for each address that leads to a Service, and
//! its endpoints with the connections that they have.

use std::{collections::BTreeMap, fmt::Write, net::SocketAddr};

use super::{Protocol, Rule, Table, Via};
use crate::balance::{Scheduler, Server, Servers};

/// The whole table.
pub fn list(table: &Table, scheduler: Scheduler, servers: &Servers) -> String {
    let mut text = String::from(
        "IP Virtual Server version 1.2.1 (size=4096)\nProt LocalAddress:Port Scheduler Flags\n  -> RemoteAddress:Port           \
         Forward Weight ActiveConn InActConn\n",
    );
    for ((address, protocol), (via, rule)) in virtual_servers(table) {
        let persistent = rule.affinity.map(|timeout| format!(" persistent {}", timeout.as_secs())).unwrap_or_default();
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{:<4} {address} {scheduler}{persistent}", protocol.to_string());
        for endpoint in rule.endpoints(via, false) {
            let (endpoint, weight) = (endpoint.address, 1);
            let load = servers.load((address, protocol), endpoint);
            let remote = endpoint.to_string();
            let _ =
                writeln!(text, "  -> {remote:<28} {:<7} {weight:<6} {:<10} {:<10}", "Masq", load.active, load.inactive);
        }
    }
    text
}

/// How many virtual servers there are.
pub fn count(table: &Table) -> usize {
    virtual_servers(table).len()
}

fn virtual_servers(table: &Table) -> BTreeMap<(SocketAddr, Protocol), (Via, &Rule)> {
    let mut servers: BTreeMap<Server, (Via, &Rule)> = BTreeMap::new();
    for (_, rule) in table.iter() {
        let mut add = |ip, port, via| {
            servers.entry((SocketAddr::new(ip, port), rule.protocol)).or_insert((via, rule));
        };
        add(rule.cluster_ip, rule.port, Via::ClusterIp);
        rule.external_ips.iter().for_each(|ip| add(*ip, rule.port, Via::ExternalIp));
        rule.load_balancer_ips.iter().for_each(|ip| add(*ip, rule.port, Via::LoadBalancer));
        if let (Some(ip), Some(port)) = (table.place().ip, rule.node_port) {
            add(ip, port, Via::NodePort);
        }
    }
    servers
}
