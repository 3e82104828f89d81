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

const PROTOCOLS: &[&str] = &["SCTP", "TCP", "UDP"];

pub(super) fn service(service: &Service, errors: &mut Errors) {
    const HINTS: &str = "service.kubernetes.io/topology-aware-hints";
    const MODE: &str = "service.kubernetes.io/topology-mode";
    let said = |key: &str| kubelab_api::meta::annotation(&service.metadata, key);
    if let (Some(hints), Some(mode)) = (said(HINTS), said(MODE))
        && hints != mode
    {
        let detail = format!("must match annotations[{HINTS}] when both are specified");
        errors.invalid(&Path::new("metadata").child("annotations").key(MODE), mode, &detail);
    }
    let path = Path::new("spec");
    let none = ServiceSpec::default();
    let spec = service.spec.as_ref().unwrap_or(&none);
    let kind = text(&spec.type_);
    let headless = is_headless(spec);
    let ports = list(&spec.ports);

    if ports.is_empty() && !headless && kind != "ExternalName" {
        errors.required(&path.child("ports"), "");
    }
    match kind {
        "LoadBalancer" if headless => {
            let detail = "may not be set to 'None' for LoadBalancer services";
            errors.invalid(&path.child("clusterIPs").index(0), HEADLESS, detail);
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
    load_balancer(spec, said("service.beta.kubernetes.io/load-balancer-source-ranges"), &path, errors);
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
            // Upstream shows its internal type, with the fields in their order.
            errors.duplicate(&path.index(i), Value::Null);
            if let Some(error) = errors.0.last_mut() {
                error.message = format!(
                    "Duplicate value: {{\"Name\":\"\",\"Protocol\":{:?},\"AppProtocol\":null,\"Port\":{},\"TargetPort\":0,\
                     \"NodePort\":0}}",
                    text(&port.protocol),
                    port.port
                );
            }
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

/// Without a cluster address.
pub(super) fn is_headless(spec: &ServiceSpec) -> bool {
    matches!(list(&spec.cluster_ips), [only] if only == HEADLESS)
}

/// Source: `ValidateServiceClusterIPsRelatedFields`.
fn cluster_ips(spec: &ServiceSpec, path: &Path, errors: &mut Errors) {
    if !has_cluster_ip(spec) {
        return;
    }
    let (ips, families) = (list(&spec.cluster_ips), list(&spec.ip_families));
    let (at, at_families) = (path.child("clusterIPs"), path.child("ipFamilies"));
    match (text(&spec.cluster_ip), ips) {
        ("", []) => {}
        ("", _) => errors.invalid(&at, json!(ips), "must be empty when `clusterIP` is not specified"),
        (_, []) => errors.required(&at, ""),
        (own, [first, ..]) if own != first => errors.invalid(&at, json!(ips), "first value must match `clusterIP`"),
        _ => {}
    }
    let mut seen = BTreeSet::new();
    for (i, family) in families.iter().enumerate() {
        choice(family, &["IPv4", "IPv6"], &at_families.index(i), errors);
        if !seen.insert(family) {
            errors.duplicate(&at_families.index(i), family.as_str());
        }
    }
    if let Some(policy) = &spec.ip_family_policy {
        let policies = ["PreferDualStack", "RequireDualStack", "SingleStack"];
        choice(policy, &policies, &path.child("ipFamilyPolicy"), errors);
    }
    let mut sound = true;
    for (i, address) in ips.iter().enumerate() {
        if i == 0 && address == HEADLESS {
            if ips.len() > 1 {
                sound = false;
                errors.invalid(&at, json!(ips), "'None' must be the first and only value");
            }
            continue;
        }
        sound &= ip(address, &at.index(i), errors).is_some();
    }
    if ips.len() > 2 {
        errors.invalid(&at, json!(ips), "may only hold up to 2 values");
    }
    if !sound {
        return;
    }
    let is_v6 = |address: &String| address.parse::<IpAddr>().is_ok_and(|address| address.is_ipv6());
    if ips.len() > 1 && (ips.iter().all(is_v6) || !ips.iter().any(is_v6)) {
        errors.invalid(&at, json!(ips), "may specify no more than one IP for each IP family");
    }
    if is_headless(spec) {
        return;
    }
    for (i, (family, address)) in families.iter().zip(ips).enumerate() {
        if is_v6(address) != (family == "IPv6") && matches!(family.as_str(), "IPv4" | "IPv6") {
            let detail = format!("expected an {family} value as indicated by `ipFamilies[{i}]`");
            errors.invalid(&at.index(i), address.as_str(), &detail);
        }
    }
}

fn load_balancer(spec: &ServiceSpec, annotation: Option<&str>, path: &Path, errors: &mut Errors) {
    let balanced = text(&spec.type_) == "LoadBalancer";
    let detail = "may only be used when `type` is 'LoadBalancer'";
    let ranges = list(&spec.load_balancer_source_ranges);
    let at = path.child("LoadBalancerSourceRanges");
    if !ranges.is_empty() && !balanced {
        errors.forbidden(&at, detail);
    }
    for (i, range) in ranges.iter().enumerate() {
        cidr(range.trim(), &at.index(i), errors);
    }
    if let Some(said) = annotation.filter(|_| ranges.is_empty()) {
        let key = "service.beta.kubernetes.io/load-balancer-source-ranges";
        let at = Path::new("metadata").child("annotations").key(key);
        if !balanced {
            errors.forbidden(&at, detail);
        }
        let said = said.trim();
        said.split(',').filter(|_| !said.is_empty()).for_each(|range| cidr(range.trim(), &at, errors));
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
    } else if health_check != 0 {
        port(health_check, &path.child("healthCheckNodePort"), errors);
    }
    if let Some(policy) = &spec.internal_traffic_policy {
        choice(policy, &policies, &path.child("internalTrafficPolicy"), errors);
    }
    if let Some(preferred) = &spec.traffic_distribution {
        let choices = ["PreferClose", "PreferSameNode", "PreferSameZone"];
        choice(preferred, &choices, &path.child("trafficDistribution"), errors);
    }
}

/// What stays as long as the service has it. Source: `ValidateServiceUpdate`.
pub(super) fn update(new: &Service, old: &Service, errors: &mut Errors) {
    let (Some(new), Some(old)) = (&new.spec, &old.spec) else { return };
    let path = Path::new("spec");
    if has_cluster_ip(new) && has_cluster_ip(old) {
        let (headless, was) = (is_headless(new), is_headless(old));
        if !(headless && was) {
            kept(list(&new.cluster_ips), list(&old.cluster_ips), "clusterIPs", "clusterIP", errors);
            released(new, list(&new.cluster_ips).len(), list(&old.cluster_ips).len(), "clusterIP", errors);
        }
        if !headless && !was {
            kept(list(&new.ip_families), list(&old.ip_families), "ipFamilies", "ipFamily", errors);
            released(new, list(&new.ip_families).len(), list(&old.ip_families).len(), "ipFamily", errors);
        }
    }
    let balanced = |spec: &ServiceSpec| text(&spec.type_) == "LoadBalancer";
    if balanced(new) && balanced(old) && new.load_balancer_class != old.load_balancer_class {
        let value = crate::registry::validation::json(&new.load_balancer_class);
        errors.invalid(&path.child("loadBalancerClass"), value, "may not change once set");
    }
    let port = |spec: &ServiceSpec| spec.health_check_node_port.unwrap_or_default();
    if has_health_check_port(new) && has_health_check_port(old) && port(new) != port(old) {
        errors.forbidden(&path.child("healthCheckNodePort"), "field is immutable");
    }
}

fn kept(new: &[String], old: &[String], field: &str, one: &str, errors: &mut Errors) {
    let path = Path::new("spec").child(field);
    match (old, new) {
        ([_, ..], []) => errors.invalid(&path.index(0), json!(new), &format!("primary {one} can not be unset")),
        _ if old.len() == new.len() => {
            for (i, _) in old.iter().zip(new).enumerate().filter(|(_, (old, new))| old != new) {
                let i = if field == "ipFamilies" { 0 } else { i };
                errors.invalid(&path.index(i), json!(new), "may not change once set");
            }
        }
        ([old, ..], [first, ..]) if old != first => {
            errors.invalid(&path.index(0), json!(new), "may not change once set");
        }
        _ => {}
    }
}

fn released(spec: &ServiceSpec, now: usize, before: usize, one: &str, errors: &mut Errors) {
    if before > now && now == 1 && text(&spec.ip_family_policy) != "SingleStack" {
        let detail = format!("must be set to 'SingleStack' when releasing the secondary {one}");
        errors.invalid(&Path::new("spec").child("ipFamilyPolicy"), json!(spec.ip_family_policy), &detail);
    }
}

/// What is wrong with what a load balancer says of itself. Source: `ValidateLoadBalancerStatus`.
pub(super) fn status(service: &Service, errors: &mut Errors) {
    let status = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let ingress = status.map_or(&[][..], |status| list(&status.ingress));
    let path = Path::new("status").child("loadBalancer").child("ingress");
    let balanced = service.spec.as_ref().is_some_and(|spec| text(&spec.type_) == "LoadBalancer");
    if !balanced && !ingress.is_empty() {
        return errors.forbidden(&path, "may only be used when `spec.type` is 'LoadBalancer'");
    }
    for (i, point) in ingress.iter().enumerate() {
        let path = path.index(i);
        let address = text(&point.ip);
        if !address.is_empty() {
            ip(address, &path.child("ip"), errors);
        }
        let at = path.child("ipMode");
        match (&point.ip_mode, address) {
            (None, "") => {}
            (None, _) => errors.required(&at, "must be specified when `ip` is set"),
            (Some(_), "") => errors.forbidden(&at, "may not be specified when `ip` is not set"),
            (Some(mode), _) => choice(mode, &["Proxy", "VIP"], &at, errors),
        }
        host_name(text(&point.hostname), &path.child("hostname"), errors);
    }
}

/// A DNS name, if there is one.
pub fn host_name(host: &str, path: &Path, errors: &mut Errors) {
    if host.is_empty() {
        return;
    }
    form(host, name::dns1123_subdomain, path, errors);
    if host.parse::<IpAddr>().is_ok() {
        errors.invalid(path, host, "must be a DNS name, not an IP address");
    }
}
