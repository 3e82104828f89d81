//! Gives a service its addresses and ports, each of which there is one of in the cluster; and each address an object.
//! Source: `pkg/registry/core/service/{ipallocator,portallocator}`, KEP-3070 and KEP-3668.

use std::{collections::BTreeSet, net::Ipv4Addr};

use ipnet::Ipv4Net;
use k8s_openapi::api::core::v1::{Service, ServiceSpec};
use kubelab_api::field::{Errors, Path};
use serde_json::json;

use super::{
    allocation::{cluster_ips, has_health_check_port, has_node_ports, node_ports, set_cluster_ip, wants_cluster_ip},
    ip_address,
};
use crate::registry::claims::Claims;

/// Where cluster addresses come from. Source: kubeadm's `--service-cluster-ip-range`.
pub const CLUSTER_IPS: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(10, 96, 0, 0), 12);
/// The address of the service `kubernetes`.
pub const KUBERNETES: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 1);
/// The lowest addresses are left to those who ask for one.
const ASKED_FOR_IPS: u32 = 256;

const FIRST_PORT: i32 = 30_000;
const LAST_PORT: i32 = 32_767;
/// The lowest ports are left to those who ask for one.
const ASKED_FOR_PORTS: i32 = 86;

const IPS: &str = "clusterips";
const PORTS: &str = "nodeports";

/// See [`crate::registry::kind::Kind::claim`].
pub fn claim(new: Option<&mut Service>, old: Option<&Service>, claims: &mut Claims, errors: &mut Errors) {
    if let Some(old) = old.and_then(|old| old.spec.as_ref()) {
        cluster_ips(old).for_each(|ip| claims.release(IPS, ip));
        let ports: BTreeSet<_> = node_ports(old).map(|(port, _)| port).collect();
        ports.iter().for_each(|port| claims.release(PORTS, &port.to_string()));
    }
    let before: Vec<&str> = old.and_then(|old| old.spec.as_ref()).into_iter().flat_map(cluster_ips).collect();
    let mut after = Vec::new();
    if let Some(spec) = new.and_then(|new| new.spec.as_mut()) {
        claim_addresses(spec, &before, claims, errors);
        claim_ports(spec, claims, errors);
        after.extend(cluster_ips(spec).map(str::to_owned));
    }
    let gone = before.iter().filter(|ip| !after.iter().any(|kept| kept == *ip));
    gone.for_each(|ip| claims.dismiss(ip_address::key(ip)));
    after.iter().filter(|ip| !before.contains(&ip.as_str())).for_each(|ip| ip_address::give(claims, ip));
}

/// Nobody has it: neither a service, nor who made an IPAddress of that name.
fn is_free(ip: &str, before: &[&str], claims: &Claims) -> bool {
    claims.is_free(IPS, ip) && (before.contains(&ip) || !claims.exists(&ip_address::key(ip)))
}

fn claim_addresses(spec: &mut ServiceSpec, before: &[&str], claims: &mut Claims, errors: &mut Errors) {
    let path = Path::new("spec").child("clusterIPs");
    if wants_cluster_ip(spec) {
        match free_address(claims) {
            Some(ip) => {
                claims.take(IPS, &ip);
                set_cluster_ip(spec, &ip);
            }
            None => errors.invalid(&path, json!([]), "failed to allocate IP: range is full"),
        }
        return;
    }
    for ip in cluster_ips(spec) {
        let wrong = match ip.parse::<Ipv4Addr>() {
            Ok(address) if CLUSTER_IPS.contains(&address) && is_free(ip, before, claims) => {
                claims.take(IPS, ip);
                continue;
            }
            Ok(address) if CLUSTER_IPS.contains(&address) => "provided IP is already allocated".to_owned(),
            _ => format!("the provided IP ({ip}) is not in the valid range. The range of valid IPs is {CLUSTER_IPS}"),
        };
        errors.invalid(&path, json!(spec.cluster_ips), &format!("failed to allocate IP {ip}: {wrong}"));
    }
}

fn free_address(claims: &Claims) -> Option<String> {
    let (first, last) = (u32::from(CLUSTER_IPS.network()), u32::from(CLUSTER_IPS.broadcast()));
    let start = claims.start(first + ASKED_FOR_IPS..last);
    // The network's and the broadcast address are nobody's.
    let all = (start..last).chain(first + ASKED_FOR_IPS..start).chain(first + 2..first + ASKED_FOR_IPS);
    all.map(|ip| Ipv4Addr::from(ip).to_string()).find(|ip| is_free(ip, &[], claims))
}

fn claim_ports(spec: &mut ServiceSpec, claims: &mut Claims, errors: &mut Errors) {
    let path = Path::new("spec");
    let mut own = BTreeSet::new();
    let mut asked = |port: i32, path: &Path, claims: &mut Claims, errors: &mut Errors| {
        if !(FIRST_PORT..=LAST_PORT).contains(&port) {
            let range = format!("{FIRST_PORT}-{LAST_PORT}");
            let wrong = format!("provided port is not in the valid range. The range of valid ports is {range}");
            errors.invalid(path, port, &wrong);
        } else if own.insert(port) {
            if claims.is_free(PORTS, &port.to_string()) {
                claims.take(PORTS, &port.to_string());
            } else {
                errors.invalid(path, port, "provided port is already allocated");
            }
        }
    };
    let (with_ports, with_health_check) = (has_node_ports(spec), has_health_check_port(spec));
    let ports = spec.ports.as_deref_mut().unwrap_or_default();
    let at = |index| path.child("ports").index(index).child("nodePort");
    for (index, port) in ports.iter().enumerate() {
        if let Some(asked_for) = port.node_port.filter(|port| *port != 0) {
            asked(asked_for, &at(index), claims, errors);
        }
    }
    let health_check = path.child("healthCheckNodePort");
    if let Some(asked_for) = spec.health_check_node_port.filter(|port| *port != 0) {
        asked(asked_for, &health_check, claims, errors);
    }
    let mut give = |port: &mut Option<i32>, path: &Path, errors: &mut Errors| match free_port(claims) {
        Some(free) => {
            claims.take(PORTS, &free.to_string());
            *port = Some(free);
        }
        None => errors.invalid(path, 0, "failed to allocate a nodePort: range is full"),
    };
    for (index, port) in ports.iter_mut().enumerate().filter(|_| with_ports) {
        if port.node_port.unwrap_or_default() == 0 {
            give(&mut port.node_port, &at(index), errors);
        }
    }
    if with_health_check && spec.health_check_node_port.unwrap_or_default() == 0 {
        give(&mut spec.health_check_node_port, &health_check, errors);
    }
}

fn free_port(claims: &Claims) -> Option<i32> {
    let start = claims.start((FIRST_PORT + ASKED_FOR_PORTS) as u32..LAST_PORT as u32 + 1) as i32;
    let mut all =
        (start..=LAST_PORT).chain(FIRST_PORT + ASKED_FOR_PORTS..start).chain(FIRST_PORT..FIRST_PORT + ASKED_FOR_PORTS);
    all.find(|port| claims.is_free(PORTS, &port.to_string()))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ServicePort;
    use kubelab_store::{Key, State};

    use super::*;

    fn service(type_: &str, ip: Option<&str>, ports: &[i32]) -> Service {
        let port = |&node_port: &i32| ServicePort { port: 80, node_port: Some(node_port), ..Default::default() };
        Service {
            spec: Some(ServiceSpec {
                type_: Some(type_.into()),
                cluster_ip: ip.map(str::to_owned),
                cluster_ips: ip.map(|ip| vec![ip.to_owned()]),
                ports: Some(ports.iter().map(port).collect()),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    fn run(new: Option<&mut Service>, old: Option<&Service>) -> (usize, usize, String) {
        let state = State::default();
        let mut claims = Claims::new(&state, &Key::new("core/services", "default/web"));
        let mut errors = Errors::default();
        claim(new, old, &mut claims, &mut errors);
        let (preconditions, writes) = claims.into_parts();
        (preconditions.len(), writes.len(), errors.to_string())
    }

    #[test]
    fn addresses_and_ports_are_claimed_and_given_back() {
        let mut web = service("NodePort", None, &[0, 30_080]);
        // An address, its object, and two ports.
        assert_eq!(run(Some(&mut web), None), (4, 4, "[]".into()));
        let spec = web.spec.clone().unwrap_or_default();
        assert!(cluster_ips(&spec).all(|ip| ip.parse().is_ok_and(|ip: Ipv4Addr| CLUSTER_IPS.contains(&ip))));
        assert_eq!(cluster_ips(&spec).count(), 1);
        assert!(node_ports(&spec).all(|(port, _)| (FIRST_PORT..=LAST_PORT).contains(&port)));

        let mut same = web.clone();
        assert_eq!(run(Some(&mut same), Some(&web)), (0, 0, "[]".into()));
        assert_eq!(run(None, Some(&web)), (0, 4, "[]".into()));
        let mut headless = service("ClusterIP", Some("None"), &[]);
        assert_eq!(run(Some(&mut headless), None), (0, 0, "[]".into()));
    }

    #[test]
    fn what_is_out_of_range_is_refused() {
        let (.., wrong) = run(Some(&mut service("ClusterIP", Some("1.2.3.4"), &[])), None);
        assert_eq!(
            wrong,
            "spec.clusterIPs: Invalid value: [\"1.2.3.4\"]: failed to allocate IP 1.2.3.4: the provided IP (1.2.3.4) is \
             not in the valid range. The range of valid IPs is 10.96.0.0/12"
        );
        let (.., wrong) = run(Some(&mut service("NodePort", Some("10.96.0.9"), &[80])), None);
        assert_eq!(
            wrong,
            "spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid range. The range of valid ports \
             is 30000-32767"
        );
    }
}
