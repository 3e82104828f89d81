//! Defaults of a Service. Source: `SetDefaults_Service` in `pkg/apis/core/v1/defaults.go`.

use k8s_openapi::{
    api::core::v1::{Service, ServiceSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};

use crate::registry::{
    cells::{list, text},
    defaults::{self, each, missing},
};

/// How long a client sticks to its endpoint.
const AFFINITY_SECONDS: i32 = 3 * 60 * 60;

pub(super) fn service(service: &mut Service) {
    let spec = service.spec.get_or_insert_default();
    defaults::text(&mut spec.session_affinity, "None");
    defaults::text(&mut spec.type_, "ClusterIP");
    match text(&spec.session_affinity) {
        "None" => spec.session_affinity_config = None,
        "ClientIP" => {
            let config = spec.session_affinity_config.get_or_insert_default().client_ip.get_or_insert_default();
            missing(&mut config.timeout_seconds, AFFINITY_SECONDS);
        }
        _ => {}
    }
    for port in each(&mut spec.ports) {
        defaults::text(&mut port.protocol, "TCP");
        let unset = match &port.target_port {
            None => true,
            Some(IntOrString::Int(number)) => *number == 0,
            Some(IntOrString::String(name)) => name.is_empty(),
        };
        if unset {
            port.target_port = Some(IntOrString::Int(port.port));
        }
    }
    if is_external(spec) {
        defaults::text(&mut spec.external_traffic_policy, "Cluster");
    }
    if matches!(text(&spec.type_), "ClusterIP" | "NodePort" | "LoadBalancer") {
        missing(&mut spec.internal_traffic_policy, "Cluster".into());
    }
    if text(&spec.type_) == "LoadBalancer" {
        missing(&mut spec.allocate_load_balancer_node_ports, true);
        let balancer = service.status.as_mut().and_then(|status| status.load_balancer.as_mut());
        for point in balancer.into_iter().flat_map(|balancer| each(&mut balancer.ingress)) {
            if !text(&point.ip).is_empty() {
                missing(&mut point.ip_mode, "VIP".into());
            }
        }
    }
}

/// Traffic from outside can reach the service.
pub(super) fn is_external(spec: &ServiceSpec) -> bool {
    match text(&spec.type_) {
        "LoadBalancer" | "NodePort" => true,
        "ClusterIP" => !list(&spec.external_ips).is_empty(),
        _ => false,
    }
}
