//! Services. Source: `pkg/quota/v1/evaluator/core/services.go`.

use k8s_openapi::api::core::v1::Service;

use super::Amounts;
use crate::{Quantity, quantity::Format};

const COUNT: &str = "count/services";
const SERVICES: &str = "services";
const NODE_PORTS: &str = "services.nodeports";
const LOAD_BALANCERS: &str = "services.loadbalancers";

pub(super) fn tracks(name: &str) -> bool {
    matches!(name, COUNT | SERVICES | NODE_PORTS | LOAD_BALANCERS)
}

/// Node ports are counted by intent: they are given out later.
pub(super) fn usage(service: &Service) -> Amounts {
    let spec = service.spec.as_ref();
    let ports = spec.and_then(|spec| spec.ports.as_deref()).unwrap_or_default();
    let asked_for = ports.iter().filter(|port| port.node_port.unwrap_or_default() != 0).count();
    let allocates = spec.and_then(|spec| spec.allocate_load_balancer_node_ports) != Some(false);
    let (node_ports, balancers) = match spec.and_then(|spec| spec.type_.as_deref()) {
        Some("NodePort") => (ports.len(), 0),
        Some("LoadBalancer") => (if allocates { ports.len() } else { asked_for }, 1),
        _ => (0, 0),
    };
    let count = |number: usize| Quantity::new(i64::try_from(number).unwrap_or(i64::MAX), Format::DecimalSi);
    [(COUNT, 1), (SERVICES, 1), (NODE_PORTS, node_ports), (LOAD_BALANCERS, balancers)]
        .map(|(name, number)| (name.to_owned(), count(number)))
        .into()
}
