//! What a Service may say. Source: `ValidateService` in `pkg/apis/core/validation/validation.go`.

use std::{collections::BTreeSet, net::IpAddr};

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use kubelab_api::{
    field::{Errors, Path},
    name,
    selector::label,
};
use serde_json::{Value, json};

use super::{
    allocation::{HEADLESS, NODE_PORTS, has_cluster_ip, has_health_check_port},
    defaults::is_external,
};
use crate::registry::{
    cells::{list, text},
    validation::{choice, cidr, endpoint_ip, form, ip, label_key, port, port_or_name, required_choice},
};

const PROTOCOLS: &[&str] = &["TCP", "UDP", "SCTP"];

/// The kubelet's port: a service there would let anyone reach it.
const KUBELET_PORT: i32 = 10250;

pub(super) fn service(service: &Service, errors: &mut Errors) {
    let path = Path::new("spec");
    let none = ServiceSpec::default();
    let spec = service.spec.as_ref().unwrap_or(&none);
    let kind = text(&spec.type_);
    let headless = list(&spec.cluster_ips).first().is_some_and(|ip| ip == HEADLESS);
    let ports = list(&spec.ports);

    if ports.is_empty() && !headless && kind != "ExternalName" {
        errors.required(&path.child("ports"), "");
    }
    match kind {
        "LoadBalancer" => {
            for (i, port) in ports.iter().enumerate().filter(|(_, port)| port.port == KUBELET_PORT) {
                let detail = format!("may not expose port {KUBELET_PORT} externally since it is used by kubelet");
                errors.invalid(&path.child("ports").index(i), port.port, &detail);
            }
            if headless {
                let detail = "may not be set to 'None' for LoadBalancer services";
                errors.invalid(&path.child("clusterIPs").index(0), HEADLESS, detail);
            }
        }
        "NodePort" if headless => {
            let detail = "may not be set to 'None' for NodePort services";
            errors.invalid(&path.child("clusterIPs").index(0), HEADLESS, detail);
        }
        "ExternalName" => external_name(spec, &path, errors),
        _ => {}
    }

    let mut names = BTreeSet::new();
    for (i, entry) in ports.iter().enumerate() {
        service_port(entry, ports.len() > 1, &mut names, &path.child("ports").index(i), errors);
    }
    label::validate_labels(spec.selector.as_ref(), &path.child("selector"), errors);
    affinity(spec, &path, errors);
    cluster_ips(spec, &path, errors);
    for (i, address) in list(&spec.external_ips).iter().enumerate() {
        endpoint_ip(address, &path.child("externalIPs").index(i), errors);
    }
    required_choice(kind, &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"], &path.child("type"), errors);
    if kind == "ClusterIP" {
        for (i, _) in ports.iter().enumerate().filter(|(_, port)| port.node_port.unwrap_or_default() != 0) {
            let path = path.child("ports").index(i).child("nodePort");
            errors.forbidden(&path, "may not be used when `type` is 'ClusterIP'");
        }
    }
    unique_ports(ports, &path.child("ports"), errors);
    load_balancer(spec, &path, errors);
    traffic(spec, &path, errors);
}

fn external_name(spec: &ServiceSpec, path: &Path, errors: &mut Errors) {
    let detail = "may not be set for ExternalName services";
    if !list(&spec.cluster_ips).is_empty() {
        errors.forbidden(&path.child("clusterIPs"), detail);
    }
    if !list(&spec.ip_families).is_empty() {
        errors.forbidden(&path.child("ipFamilies"), detail);
    }
    if spec.ip_family_policy.is_some() {
        errors.forbidden(&path.child("ipFamilyPolicy"), detail);
    }
    // A trailing dot says that the name is complete.
    match text(&spec.external_name).trim_end_matches('.') {
        "" => errors.required(&path.child("externalName"), ""),
        name => form(name, name::dns1123_subdomain, &path.child("externalName"), errors),
    }
}

fn service_port<'a>(
    entry: &'a ServicePort,
    needs_name: bool,
    names: &mut BTreeSet<&'a str>,
    path: &Path,
    errors: &mut Errors,
) {
    let name = text(&entry.name);
    if needs_name && name.is_empty() {
        errors.required(&path.child("name"), "");
    } else if !name.is_empty() {
        form(name, name::dns1123_label, &path.child("name"), errors);
        if !names.insert(name) {
            errors.duplicate(&path.child("name"), name);
        }
    }
    port(entry.port, &path.child("port"), errors);
    required_choice(text(&entry.protocol), PROTOCOLS, &path.child("protocol"), errors);
    if let Some(target) = &entry.target_port {
        port_or_name(target, &path.child("targetPort"), errors);
    }
    if let Some(protocol) = &entry.app_protocol {
        label_key(protocol, &path.child("appProtocol"), errors);
    }
    if let Some(number) = entry.node_port.filter(|number| *number != 0 && !NODE_PORTS.contains(number)) {
        let (low, high) = (NODE_PORTS.start(), NODE_PORTS.end());
        let detail = format!("provided port is not in the valid range. The range of valid ports is {low}-{high}");
        errors.invalid(&path.child("nodePort"), number, &detail);
    }
}

fn unique_ports(ports: &[ServicePort], path: &Path, errors: &mut Errors) {
    let mut used = BTreeSet::new();
    for (i, port) in ports.iter().enumerate() {
        if let Some(node_port) = port.node_port.filter(|port| *port != 0)
            && !used.insert((text(&port.protocol), node_port))
        {
            errors.duplicate(&path.index(i).child("nodePort"), node_port);
        }
    }
    let mut used = BTreeSet::new();
    for (i, port) in ports.iter().enumerate() {
        if !used.insert((text(&port.protocol), port.port)) {
            // Upstream shows its internal type.
            let value = json!({"Name": "", "Protocol": text(&port.protocol), "AppProtocol": null, "Port": port.port,
                "TargetPort": 0, "NodePort": 0});
            errors.duplicate(&path.index(i), value);
        }
    }
}

fn affinity(spec: &ServiceSpec, path: &Path, errors: &mut Errors) {
    required_choice(text(&spec.session_affinity), &["ClientIP", "None"], &path.child("sessionAffinity"), errors);
    let path = path.child("sessionAffinityConfig");
    match (text(&spec.session_affinity), &spec.session_affinity_config) {
        ("None", Some(_)) => errors.forbidden(&path, "must not be set when session affinity is None"),
        ("ClientIP", config) => {
            let seconds = config.as_ref().and_then(|config| config.client_ip.as_ref()?.timeout_seconds);
            if let Some(seconds) = seconds.filter(|seconds| !(1..=86400).contains(seconds)) {
                let detail = "must be greater than 0 and less than 86400";
                errors.invalid(&path.child("clientIP").child("timeoutSeconds"), seconds, detail);
            }
        }
        _ => {}
    }
}

fn cluster_ips(spec: &ServiceSpec, path: &Path, errors: &mut Errors) {
    if !has_cluster_ip(spec) {
        return;
    }
    let ips = list(&spec.cluster_ips);
    let path = path.child("clusterIPs");
    let Some(first) = ips.first() else { return };
    if text(&spec.cluster_ip) != first {
        errors.invalid(&path, json!(ips), "first value must match `clusterIP`");
    }
    if ips.len() > 2 {
        errors.invalid(&path, json!(ips), "may only hold up to 2 values");
    }
    for (i, address) in ips.iter().enumerate() {
        match address.as_str() {
            HEADLESS if i > 0 => errors.invalid(&path.index(i), HEADLESS, "must be a valid IP"),
            HEADLESS => {}
            "" => errors.invalid(&path.index(i), "", "must be empty when `clusterIPs` is not specified"),
            address => {
                ip(address, &path.index(i), errors);
            }
        }
    }
    let families = list(&spec.ip_families);
    let path = Path::new("spec").child("ipFamilies");
    for (i, family) in families.iter().enumerate() {
        choice(family, &["IPv4", "IPv6"], &path.index(i), errors);
    }
    for (i, (family, address)) in families.iter().zip(ips).enumerate() {
        let is_v6 = address.parse::<IpAddr>().map(|address| address.is_ipv6());
        if is_v6.is_ok_and(|is_v6| is_v6 != (family == "IPv6")) {
            let detail = format!("expected an {family} value as indicated by `ipFamilies[{i}]`");
            errors.invalid(&Path::new("spec").child("clusterIPs").index(i), json!(ips), &detail);
        }
    }
    if let Some(policy) = &spec.ip_family_policy {
        let policies = ["SingleStack", "PreferDualStack", "RequireDualStack"];
        choice(policy, &policies, &Path::new("spec").child("ipFamilyPolicy"), errors);
    }
}

fn load_balancer(spec: &ServiceSpec, path: &Path, errors: &mut Errors) {
    let balanced = text(&spec.type_) == "LoadBalancer";
    let detail = "may only be used when `type` is 'LoadBalancer'";
    let ranges = list(&spec.load_balancer_source_ranges);
    if !ranges.is_empty() && !balanced {
        errors.forbidden(&path.child("loadBalancerSourceRanges"), detail);
    }
    for (i, range) in ranges.iter().enumerate() {
        cidr(range.trim(), &path.child("loadBalancerSourceRanges").index(i), errors);
    }
    if spec.allocate_load_balancer_node_ports.is_some() && !balanced {
        errors.forbidden(&path.child("allocateLoadBalancerNodePorts"), detail);
    }
    match &spec.load_balancer_class {
        Some(class) if balanced => label_key(class, &path.child("loadBalancerClass"), errors),
        Some(_) => errors.forbidden(&path.child("loadBalancerClass"), detail),
        None => {}
    }
}

fn traffic(spec: &ServiceSpec, path: &Path, errors: &mut Errors) {
    let policies = ["Cluster", "Local"];
    let policy = text(&spec.external_traffic_policy);
    let at = path.child("externalTrafficPolicy");
    match (is_external(spec), policy) {
        (true, _) => required_choice(policy, &policies, &at, errors),
        (false, "") => {}
        (false, _) => errors.invalid(&at, policy, "may only be set for externally-accessible services"),
    }
    let health_check = spec.health_check_node_port.unwrap_or_default();
    if health_check != 0 && !has_health_check_port(spec) {
        let detail = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
        errors.invalid(&path.child("healthCheckNodePort"), health_check, detail);
    }
    if let Some(policy) = &spec.internal_traffic_policy {
        choice(policy, &policies, &path.child("internalTrafficPolicy"), errors);
    }
    if let Some(preferred) = &spec.traffic_distribution {
        let choices = ["PreferClose", "PreferSameNode", "PreferSameZone"];
        choice(preferred, &choices, &path.child("trafficDistribution"), errors);
    }
}

/// A cluster address stays as long as the service has any.
pub(super) fn update(new: &Service, old: &Service, errors: &mut Errors) {
    let (Some(new), Some(old)) = (&new.spec, &old.spec) else { return };
    if !has_cluster_ip(new) || !has_cluster_ip(old) {
        return;
    }
    let path = Path::new("spec").child("clusterIPs").index(0);
    match (list(&old.cluster_ips), list(&new.cluster_ips)) {
        ([], _) => {}
        ([_, ..], []) => errors.invalid(&path, Value::Null, "primary clusterIP can not be unset"),
        ([old, ..], ips @ [new, ..]) if old != new => {
            errors.invalid(&path, json!(ips), "may not change once set");
        }
        _ => {}
    }
    let path = Path::new("spec").child("ipFamilies").index(0);
    if let ([old, ..], [new, ..]) = (list(&old.ip_families), list(&new.ip_families))
        && old != new
    {
        errors.invalid(&path, new.as_str(), "may not change once set");
    }
}
