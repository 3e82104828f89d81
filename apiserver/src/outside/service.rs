//! Where a Service's endpoints are. Pods are simulated and run no server of a user's, so the endpoints that answer are those
//! that somebody wrote by hand, such as an address of this machine.

use std::net::{IpAddr, SocketAddr};

use k8s_openapi::api::{core::v1::Service, discovery::v1::EndpointSlice};
use kubelab_store::{Key, State};
use serde::de::DeserializeOwned;

const SERVICES: &str = "core/services";
const SLICES: &str = "discovery.k8s.io/endpointslices";
const NAME_LABEL: &str = "kubernetes.io/service-name";

/// Host and port of an endpoint, or why there is none. Source of the wording: `ResolveCluster` and `ResolveEndpoint` in
/// `k8s.io/apiserver/pkg/util/proxy/proxy.go`.
pub fn resolve(state: &State, namespace: &str, name: &str, port: u16) -> Result<(String, u16), String> {
    let entry = state.get(&Key::new(SERVICES, format!("{namespace}/{name}")));
    let service: Service =
        entry.and_then(|entry| read(&entry.value)).ok_or_else(|| format!("service {name:?} not found"))?;
    let spec = service.spec.as_ref();
    if let Some(name) =
        spec.filter(|spec| spec.type_.as_deref() == Some("ExternalName")).and_then(|spec| spec.external_name.clone())
    {
        return Ok((name, port));
    }
    let ports = service.spec.as_ref().and_then(|spec| spec.ports.as_ref());
    let served = ports.and_then(|ports| ports.iter().find(|served| served.port == i32::from(port)));
    let served = served.ok_or_else(|| format!("no service port {port} found for service {name:?}"))?;
    let wanted = served.name.as_deref().unwrap_or_default();
    let prefix = format!("{namespace}/");
    let slices = state.range(SLICES, &prefix, None);
    let slices = slices.filter_map(|(_, entry)| read::<EndpointSlice>(&entry.value));
    let owned = |slice: &EndpointSlice| {
        slice.metadata.labels.as_ref().and_then(|labels| labels.get(NAME_LABEL)).is_some_and(|owner| owner == name)
    };
    let mut found = Vec::new();
    for slice in slices.filter(owned) {
        let ports = slice.ports.unwrap_or_default();
        let ports = ports.iter().filter(|port| port.name.as_deref().unwrap_or_default() == wanted);
        let ports: Vec<u16> = ports.filter_map(|port| u16::try_from(port.port?).ok()).collect();
        let ready = |conditions: &Option<_>| {
            let conditions: &Option<k8s_openapi::api::discovery::v1::EndpointConditions> = conditions;
            conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true)
        };
        let endpoints = slice.endpoints.iter().flatten().filter(|endpoint| ready(&endpoint.conditions));
        let addresses = endpoints.flat_map(|endpoint| endpoint.addresses.iter());
        let addresses = addresses.filter_map(|address| address.parse::<IpAddr>().ok());
        found.extend(addresses.flat_map(|ip| ports.iter().map(move |port| SocketAddr::new(ip, *port))));
    }
    let first = found.iter().find(|address| address.ip().is_loopback()).or(found.first());
    first
        .map(|address| (address.ip().to_string(), address.port()))
        .ok_or_else(|| format!("no endpoints available for service {name:?}"))
}

fn read<T: DeserializeOwned>(json: &[u8]) -> Option<T> {
    serde_json::from_slice(json).ok()
}
