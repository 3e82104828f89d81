//! The endpoints behind a backend.

use std::{net::SocketAddr, sync::Arc};

use k8s_openapi::api::{core::v1::Service, discovery::v1::EndpointSlice};

use super::routes::Port;

/// The ready endpoints of a Service's port. Like nginx, the controller goes to them itself, not to the Service's address.
pub fn endpoints(service: &Service, slices: &[Arc<EndpointSlice>], port: &Port) -> Vec<SocketAddr> {
    let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
    let Some(port) = ports.into_iter().find(|candidate| match port {
        Port::Number(number) => candidate.port == *number,
        Port::Name(name) => candidate.name.as_ref() == Some(name),
    }) else {
        return Vec::new();
    };
    let name = port.name.as_deref().unwrap_or_default();
    let mut found = Vec::new();
    for slice in slices {
        let number = slice.ports.iter().flatten().find(|port| port.name.as_deref().unwrap_or_default() == name);
        let Some(number) = number.and_then(|port| u16::try_from(port.port?).ok()) else { continue };
        let ready = slice
            .endpoints
            .iter()
            .flatten()
            .filter(|endpoint| endpoint.conditions.as_ref().and_then(|conditions| conditions.ready) != Some(false));
        let addresses = ready.filter_map(|endpoint| endpoint.addresses.first()?.parse().ok());
        found.extend(addresses.map(|ip| SocketAddr::new(ip, number)));
    }
    found.sort();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn a_backend_is_its_ready_endpoints() {
        let ports = json!([{"name": "http", "port": 80}, {"name": "admin", "port": 81}]);
        let service: Service = serde_json::from_value(json!({"spec": {"ports": ports}})).unwrap();
        let slice: EndpointSlice = serde_json::from_value(json!({"metadata": {}, "addressType": "IPv4",
            "ports": [{"name": "http", "port": 8080}],
            "endpoints": [{"addresses": ["10.0.0.2"]}, {"addresses": ["10.0.0.1"], "conditions": {"ready": true}},
                          {"addresses": ["10.0.0.3"], "conditions": {"ready": false}}]}))
        .unwrap();
        let slices = [Arc::new(slice)];
        let found = |port| endpoints(&service, &slices, &port).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(found(Port::Number(80)), ["10.0.0.1:8080", "10.0.0.2:8080"]);
        assert_eq!(found(Port::Name("http".into())).len(), 2);
        assert!(found(Port::Number(81)).is_empty() && found(Port::Number(8080)).is_empty());
    }
}
