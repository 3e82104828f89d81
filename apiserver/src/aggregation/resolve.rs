//! Where the servers of a Service are. Source: `k8s.io/apiserver/pkg/util/proxy/proxy.go` and
//! `controllers/status/remote/remote_available_controller.go` of kube-aggregator.

use k8s_openapi::api::{
    core::v1::{Endpoints, Service},
    discovery::v1::EndpointSlice,
};
use kubelab_store::{Key, State};
use serde::de::DeserializeOwned;

/// Why a Service leads nowhere: the reason and the message of an APIService's condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// `ServiceNotFound`, `MissingEndpoints`, ….
    pub reason: &'static str,
    /// In words.
    pub message: String,
}

impl Missing {
    /// This reason, in these words.
    pub fn new(reason: &'static str, message: String) -> Self {
        Self { reason, message }
    }
}

fn read<T: DeserializeOwned>(value: &[u8]) -> Option<T> {
    serde_json::from_slice(value).ok()
}

/// The addresses, `host:port`, at which a Service's port is served.
pub fn resolve(state: &State, namespace: &str, name: &str, port: i32) -> Result<Vec<String>, Missing> {
    let key = |topic: &str| Key::new(topic, format!("{namespace}/{name}"));
    let service: Service = state
        .get(&key("core/services"))
        .and_then(|entry| read(&entry.value))
        .ok_or_else(|| Missing::new("ServiceNotFound", format!("service/{name} in {namespace:?} is not present")))?;
    let spec = service.spec.unwrap_or_default();
    if spec.type_.as_deref() == Some("ExternalName") {
        return Ok(vec![format!("{}:{port}", spec.external_name.unwrap_or_default())]);
    }
    let listening = spec.ports.iter().flatten().find(|candidate| candidate.port == port);
    let Some(port_name) = listening.map(|port| port.name.clone().unwrap_or_default()) else {
        let message = format!("service/{name} in {namespace:?} is not listening on port {port}");
        return Err(Missing::new("ServicePortError", message));
    };
    let slices: Vec<EndpointSlice> = state
        .range("discovery.k8s.io/endpointslices", &format!("{namespace}/"), None)
        .filter_map(|(_, entry)| read::<EndpointSlice>(&entry.value))
        .filter(|slice| {
            let labels = slice.metadata.labels.as_ref();
            labels.and_then(|labels| labels.get("kubernetes.io/service-name")).is_some_and(|owner| owner == name)
        })
        .collect();
    let endpoints: Option<Endpoints> = state.get(&key("core/endpoints")).and_then(|entry| read(&entry.value));
    if slices.is_empty() && endpoints.is_none() {
        let message = format!("cannot find endpointslices for service/{name} in {namespace:?}");
        return Err(Missing::new("EndpointsNotFound", message));
    }
    let mut addresses = of_slices(&slices, &port_name);
    if addresses.is_empty() {
        // Endpoints that somebody wrote by hand and that nobody has mirrored yet.
        addresses = endpoints.map(|endpoints| of_endpoints(&endpoints, &port_name)).unwrap_or_default();
    }
    if addresses.is_empty() {
        let message = format!(
            "endpointslices for service/{name} in {namespace:?} have no addresses with port name {port_name:?}"
        );
        return Err(Missing::new("MissingEndpoints", message));
    }
    Ok(addresses)
}

fn of_slices(slices: &[EndpointSlice], port_name: &str) -> Vec<String> {
    let mut addresses = Vec::new();
    for slice in slices {
        let named = slice.ports.iter().flatten().find(|port| port.name.as_deref().unwrap_or_default() == port_name);
        let Some(port) = named.and_then(|port| port.port) else { continue };
        let ready =
            slice.endpoints.iter().flatten().filter(|endpoint| {
                endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true)
            });
        addresses.extend(ready.filter_map(|endpoint| endpoint.addresses.first()).map(|ip| join(ip, port)));
    }
    addresses
}

fn of_endpoints(endpoints: &Endpoints, port_name: &str) -> Vec<String> {
    let mut addresses = Vec::new();
    for subset in endpoints.subsets.iter().flatten() {
        let named = subset.ports.iter().flatten().find(|port| port.name.as_deref().unwrap_or_default() == port_name);
        let Some(port) = named.map(|port| port.port) else { continue };
        addresses.extend(subset.addresses.iter().flatten().map(|address| join(&address.ip, port)));
    }
    addresses
}

fn join(ip: &str, port: i32) -> String {
    if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
}
