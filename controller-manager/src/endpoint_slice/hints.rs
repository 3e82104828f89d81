//! Hints that keep connections near. Source: `k8s.io/endpointslice/trafficdist`, KEP-4444 and KEP-3015.

use k8s_openapi::api::{
    core::v1::Service,
    discovery::v1::{Endpoint, EndpointHints, ForNode, ForZone},
};

/// The hints of an endpoint, as the Service's `trafficDistribution` wants them; only what is ready has any.
pub fn hints(service: &Service, endpoint: &Endpoint) -> Option<EndpointHints> {
    let distribution = service.spec.as_ref()?.traffic_distribution.as_deref()?;
    let ready = endpoint.conditions.as_ref().and_then(|conditions| conditions.ready) == Some(true);
    let zone = endpoint.zone.clone().filter(|_| ready).map(|name| vec![ForZone { name }]);
    let node = endpoint.node_name.clone().filter(|_| ready).map(|name| vec![ForNode { name }]);
    let hints = match distribution {
        "PreferClose" | "PreferSameZone" => EndpointHints { for_zones: zone, for_nodes: None },
        // The zone is for nodes without an endpoint of their own.
        "PreferSameNode" => EndpointHints { for_zones: zone, for_nodes: node },
        _ => return None,
    };
    Some(hints).filter(|hints| hints.for_zones.is_some() || hints.for_nodes.is_some())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn the_distribution_decides() {
        let zone = json!({"forZones": [{"name": "a"}]});
        let both = json!({"forZones": [{"name": "a"}], "forNodes": [{"name": "node-1"}]});
        let node = json!({"forNodes": [{"name": "node-1"}]});
        for (distribution, ready, in_zone, expected) in [
            (json!(null), true, true, json!(null)),
            (json!("PreferClose"), true, true, zone.clone()),
            (json!("PreferSameZone"), true, true, zone),
            (json!("PreferSameZone"), false, true, json!(null)),
            (json!("PreferSameZone"), true, false, json!(null)),
            (json!("PreferSameNode"), true, true, both),
            (json!("PreferSameNode"), true, false, node),
            (json!("PreferSameNode"), false, true, json!(null)),
        ] {
            let service: Service =
                serde_json::from_value(json!({"metadata": {}, "spec": {"trafficDistribution": distribution}})).unwrap();
            let mut endpoint =
                json!({"addresses": ["10.244.1.2"], "nodeName": "node-1", "conditions": {"ready": ready}});
            if in_zone {
                endpoint["zone"] = json!("a");
            }
            let endpoint: Endpoint = serde_json::from_value(endpoint).unwrap();
            let hints = serde_json::to_value(hints(&service, &endpoint)).unwrap();
            assert_eq!(hints, expected, "{distribution} ready {ready} in zone {in_zone}");
        }
    }
}
