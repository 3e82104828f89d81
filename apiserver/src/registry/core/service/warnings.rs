//! What a Service may say and hardly means. Source: `pkg/api/service/warnings.go`, `GetWarningsForIP` and
//! `GetWarningsForCIDR` in `k8s.io/apimachinery/pkg/util/validation`.

use std::net::IpAddr;

use ipnet::IpNet;
use k8s_openapi::api::core::v1::{Service, ServiceSpec};
use kubelab_api::field::Path;

use super::{allocation::HEADLESS, validation::is_headless};
use crate::registry::cells::{list, text};

/// An address that other programs may read as another one.
pub fn address(path: &Path, value: &str, warnings: &mut Vec<String>) {
    let Ok(address) = value.parse::<IpAddr>() else { return };
    let plain = address.to_string();
    if let IpAddr::V6(v6) = address
        && let Some(v4) = v6.to_ipv4_mapped()
    {
        let v4 = v4.to_string();
        warnings.push(format!("{path}: non-standard IP address {value:?} is invalid: use {v4:?}"));
    } else if address.is_ipv6() && plain != value {
        warnings.push(format!("{path}: IPv6 address {value:?} should be in RFC 5952 canonical format ({plain:?})"));
    }
}

/// A block that other programs may read as another one.
pub fn block(path: &Path, value: &str, warnings: &mut Vec<String>) {
    let Ok(block) = value.trim().parse::<IpNet>() else { return };
    let plain = block.trunc();
    if plain.addr() != block.addr() {
        let (length, single) = (block.prefix_len(), block.addr());
        warnings.push(format!(
            "{path}: CIDR value {value:?} is ambiguous in this context (should be \"{}/{length}\" or \"{single}/{}\"?)",
            plain.addr(),
            block.max_prefix_len()
        ));
    } else if block.addr().is_ipv6() && plain.to_string() != value {
        let plain = plain.to_string();
        warnings.push(format!("{path}: IPv6 CIDR value {value:?} should be in RFC 5952 canonical format ({plain:?})"));
    }
}

pub(super) fn warnings(service: &Service) -> Vec<String> {
    let mut warnings = Vec::new();
    let (hints, mode) = ("service.kubernetes.io/topology-aware-hints", "service.kubernetes.io/topology-mode");
    if kubelab_api::meta::annotation(&service.metadata, hints).is_some() {
        warnings.push(format!("annotation {hints} is deprecated, please use {mode} instead"));
    }
    let none = ServiceSpec::default();
    let spec = service.spec.as_ref().unwrap_or(&none);
    let path = Path::new("spec");
    let external_name = text(&spec.type_) == "ExternalName";
    let headless = is_headless(spec) && text(&spec.type_) == "ClusterIP";
    let external_ips = list(&spec.external_ips);
    for (i, ip) in list(&spec.cluster_ips).iter().enumerate().filter(|(_, ip)| *ip != HEADLESS) {
        address(&path.child("clusterIPs").index(i), ip, &mut warnings);
    }
    if headless {
        if !text(&spec.load_balancer_ip).is_empty() {
            warnings.push("spec.loadBalancerIP is ignored for headless services".into());
        }
        if !external_ips.is_empty() {
            warnings.push("spec.externalIPs is ignored for headless services".into());
        }
        if text(&spec.session_affinity) != "None" {
            warnings.push("spec.SessionAffinity is ignored for headless services".into());
        }
    }
    for (i, ip) in external_ips.iter().enumerate() {
        address(&path.child("externalIPs").index(i), ip, &mut warnings);
    }
    if !external_ips.is_empty() && !headless && !external_name {
        warnings.push("spec.externalIPs is deprecated and may no longer be implemented in some clusters".into());
    }
    if !text(&spec.load_balancer_ip).is_empty() {
        address(&path.child("loadBalancerIP"), text(&spec.load_balancer_ip), &mut warnings);
    }
    for (i, range) in list(&spec.load_balancer_source_ranges).iter().enumerate() {
        block(&path.child("loadBalancerSourceRanges").index(i), range, &mut warnings);
    }
    if external_name && !external_ips.is_empty() {
        warnings.push("spec.externalIPs is ignored when spec.type is \"ExternalName\"".into());
    }
    if !external_name && !text(&spec.external_name).is_empty() {
        warnings.push("spec.externalName is ignored when spec.type is not \"ExternalName\"".into());
    }
    if text(&spec.traffic_distribution) == "PreferClose" {
        warnings.push("spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\"".into());
    }
    warnings
}
