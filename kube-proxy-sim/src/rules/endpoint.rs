//! What EndpointSlices say of a Service's port.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use k8s_openapi::api::discovery::v1::EndpointSlice;
use kubelab_api::well_known::label;

use super::{PortName, Protocol};

/// Where a connection may go.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    /// Where it listens.
    pub address: SocketAddr,
    /// The node that it is on; empty for what is on none, as an apiserver.
    pub node: Arc<str>,
}

/// An endpoint with what decides whether it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Where it is.
    pub endpoint: Endpoint,
    /// New connections may go to it.
    pub ready: bool,
    /// It would still answer, though it is being deleted.
    pub serving_while_terminating: bool,
    /// The zones that it is meant for.
    pub zone_hints: Vec<Arc<str>>,
    /// The nodes that it is meant for.
    pub node_hints: Vec<Arc<str>>,
}

/// The namespace and name of the Service that a slice is for; none for slices that are not for this proxy.
pub fn service_of(slice: &EndpointSlice) -> Option<(&str, &str)> {
    let labels = slice.metadata.labels.as_ref()?;
    // Source: kube-proxy leaves out the slices of headless services.
    let elsewhere = labels.contains_key(label::SERVICE_PROXY_NAME) || labels.contains_key(label::HEADLESS_SERVICE);
    if slice.address_type != "IPv4" || elsewhere {
        return None;
    }
    Some((slice.metadata.namespace.as_deref().unwrap_or_default(), labels.get(label::SERVICE_NAME)?))
}

/// The endpoints of a Service's port, by address: slices name the port as the Service does. While endpoints move between
/// slices, one may stand in two; it counts once.
pub fn candidates<'a>(
    name: &PortName,
    protocol: Protocol,
    slices: impl Iterator<Item = &'a EndpointSlice>,
) -> Vec<Candidate> {
    let mut found: BTreeMap<SocketAddr, Candidate> = BTreeMap::new();
    for slice in slices {
        let named = slice.ports.iter().flatten().find(|candidate| {
            candidate.name.as_deref().unwrap_or_default() == name.port
                && Protocol::of(candidate.protocol.as_deref()) == Some(protocol)
        });
        let Some(number) = named.and_then(|port| port.port).and_then(|port| u16::try_from(port).ok()) else { continue };
        for endpoint in slice.endpoints.iter().flatten() {
            let Some(ip) = endpoint.addresses.first().and_then(|address| address.parse().ok()) else { continue };
            let conditions = endpoint.conditions.clone().unwrap_or_default();
            // Source: the API, which reads unknown as ready and serving, but not as terminating.
            let ready = conditions.ready != Some(false);
            let hints = endpoint.hints.as_ref();
            let zones = hints.iter().flat_map(|hints| hints.for_zones.iter().flatten());
            let nodes = hints.iter().flat_map(|hints| hints.for_nodes.iter().flatten());
            let address = SocketAddr::new(ip, number);
            found.insert(
                address,
                Candidate {
                    endpoint: Endpoint { address, node: endpoint.node_name.as_deref().unwrap_or_default().into() },
                    ready,
                    serving_while_terminating: !ready
                        && conditions.serving.unwrap_or(ready)
                        && conditions.terminating == Some(true),
                    zone_hints: zones.map(|zone| zone.name.as_str().into()).collect(),
                    node_hints: nodes.map(|node| node.name.as_str().into()).collect(),
                },
            );
        }
    }
    found.into_values().collect()
}
