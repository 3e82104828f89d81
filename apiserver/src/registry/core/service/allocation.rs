//! What the cluster gives a service: addresses and node ports. Which ones are free is known to the allocator; what is
//! wanted, kept or given back is decided here, purely. Source: `pkg/registry/core/service/storage/{storage,alloc}.go`,
//! `pkg/registry/core/service/strategy.go`.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
};

use k8s_openapi::api::core::v1::ServiceSpec;

use super::defaults::is_external;
use crate::registry::{
    cells::{list, text},
    defaults::each,
};

/// The `clusterIP` of a service that wants none.
pub const HEADLESS: &str = "None";

/// The node ports that may be given. Source: the apiserver's default `--service-node-port-range`.
pub const NODE_PORTS: RangeInclusive<i32> = 30000..=32767;

/// It has cluster addresses (`None` counts as one).
pub fn has_cluster_ip(spec: &ServiceSpec) -> bool {
    text(&spec.type_) != "ExternalName"
}

/// A cluster address must be allocated.
pub fn wants_cluster_ip(spec: &ServiceSpec) -> bool {
    has_cluster_ip(spec) && text(&spec.cluster_ip).is_empty()
}

/// It has a node port for each port.
pub fn has_node_ports(spec: &ServiceSpec) -> bool {
    match text(&spec.type_) {
        "NodePort" => true,
        "LoadBalancer" => spec.allocate_load_balancer_node_ports != Some(false),
        _ => false,
    }
}

/// It has a node port that tells load balancers which nodes have endpoints.
pub fn has_health_check_port(spec: &ServiceSpec) -> bool {
    text(&spec.type_) == "LoadBalancer" && text(&spec.external_traffic_policy) == "Local"
}

/// The cluster addresses that a service holds.
pub fn cluster_ips(spec: &ServiceSpec) -> impl Iterator<Item = &str> {
    list(&spec.cluster_ips).iter().map(String::as_str).filter(|ip| !matches!(*ip, "" | HEADLESS))
}

/// The node ports that a service holds, its health check's included, each with its protocol.
pub fn node_ports(spec: &ServiceSpec) -> impl Iterator<Item = (i32, &str)> {
    let ports = list(&spec.ports).iter().filter_map(|port| Some((port.node_port?, text(&port.protocol))));
    ports.chain(spec.health_check_node_port.map(|port| (port, "TCP"))).filter(|(port, _)| *port != 0)
}

/// Gives the service this address.
pub fn set_cluster_ip(spec: &mut ServiceSpec, ip: &str) {
    spec.cluster_ip = Some(ip.to_owned());
    spec.cluster_ips = Some(vec![ip.to_owned()]);
}

/// Keeps what the service was given before, gives back what its type no longer has, and settles its families.
pub(super) fn prepare(new: &mut ServiceSpec, old: Option<&ServiceSpec>) {
    settle_cluster_ips(new, old);
    if let Some(old) = old {
        keep(new, old);
        give_back(new, old);
    }
    settle_families(new);
}

/// `clusterIP` is the first of `clusterIPs`: who says one means both.
fn settle_cluster_ips(new: &mut ServiceSpec, old: Option<&ServiceSpec>) {
    let said = text(&new.cluster_ip).to_owned();
    let Some(old) = old else {
        if !said.is_empty() && list(&new.cluster_ips).is_empty() {
            new.cluster_ips = Some(vec![said]);
        }
        return;
    };
    let (list_now, list_before) = (list(&new.cluster_ips), list(&old.cluster_ips));
    if said == text(&old.cluster_ip) || !(list_now.is_empty() || list_now == list_before) {
        return;
    }
    // The client knows the one field only, and changed or cleared it.
    new.cluster_ips = if said.is_empty() { None } else { Some(vec![said]) };
}

fn keep(new: &mut ServiceSpec, old: &ServiceSpec) {
    if has_cluster_ip(old) && has_cluster_ip(new) {
        if text(&new.cluster_ip).is_empty() {
            new.cluster_ip.clone_from(&old.cluster_ip);
        }
        if list(&new.cluster_ips).is_empty() && new.cluster_ip == old.cluster_ip {
            new.cluster_ips.clone_from(&old.cluster_ips);
        }
        if new.ip_families.is_none() {
            new.ip_families.clone_from(&old.ip_families);
        }
        if new.ip_family_policy.is_none() {
            new.ip_family_policy.clone_from(&old.ip_family_policy);
        }
    }
    if has_node_ports(old) && has_node_ports(new) {
        let held: BTreeMap<_, _> = list(&old.ports)
            .iter()
            .filter_map(|port| Some(((text(&port.protocol).to_owned(), port.port), port.node_port?)))
            .collect();
        let mut used: BTreeSet<_> = node_ports(new).map(|(port, protocol)| (port, protocol.to_owned())).collect();
        for port in each(&mut new.ports).filter(|port| port.node_port.unwrap_or_default() == 0) {
            let protocol = text(&port.protocol).to_owned();
            if let Some(&kept) = held.get(&(protocol.clone(), port.port))
                && used.insert((kept, protocol))
            {
                port.node_port = Some(kept);
            }
        }
    }
    if has_health_check_port(old) && has_health_check_port(new) && new.health_check_node_port.unwrap_or_default() == 0 {
        new.health_check_node_port = old.health_check_node_port;
    }
}

/// A field that the old type had and the new one has not is cleared, unless the user changed it: then it is an error.
fn give_back(new: &mut ServiceSpec, old: &ServiceSpec) {
    fn clear<T: PartialEq>(field: &mut Option<T>, old: &Option<T>) {
        if field == old {
            *field = None;
        }
    }
    if has_cluster_ip(old) && !has_cluster_ip(new) {
        clear(&mut new.cluster_ip, &old.cluster_ip);
        clear(&mut new.cluster_ips, &old.cluster_ips);
        clear(&mut new.ip_families, &old.ip_families);
        clear(&mut new.ip_family_policy, &old.ip_family_policy);
        clear(&mut new.internal_traffic_policy, &old.internal_traffic_policy);
    }
    let had: BTreeSet<_> = list(&old.ports).iter().filter_map(|port| port.node_port).collect();
    let wants_node_ports = matches!(text(&new.type_), "NodePort" | "LoadBalancer");
    if has_node_ports(old) && !wants_node_ports {
        for port in each(&mut new.ports).filter(|port| port.node_port.is_some_and(|port| had.contains(&port))) {
            port.node_port = None;
        }
    }
    if has_health_check_port(old) && !has_health_check_port(new) {
        clear(&mut new.health_check_node_port, &old.health_check_node_port);
    }
    let balanced = |spec: &ServiceSpec| text(&spec.type_) == "LoadBalancer";
    if balanced(old) && !balanced(new) {
        clear(&mut new.allocate_load_balancer_node_ports, &old.allocate_load_balancer_node_ports);
        clear(&mut new.load_balancer_class, &old.load_balancer_class);
    }
    if is_external(old) && !is_external(new) {
        clear(&mut new.external_traffic_policy, &old.external_traffic_policy);
    }
}

/// The lab's network is IPv4 alone. A headless service without a selector may be given any endpoints, so upstream marks
/// it as of both families.
fn settle_families(spec: &mut ServiceSpec) {
    if !has_cluster_ip(spec) {
        return;
    }
    let any = text(&spec.cluster_ip) == HEADLESS && spec.selector.as_ref().is_none_or(BTreeMap::is_empty);
    let (policy, families): (_, &[&str]) =
        if any { ("RequireDualStack", &["IPv4", "IPv6"]) } else { ("SingleStack", &["IPv4"]) };
    spec.ip_family_policy.get_or_insert_with(|| policy.into());
    if list(&spec.ip_families).is_empty() {
        spec.ip_families = Some(families.iter().map(|&family| family.to_owned()).collect());
    }
}
