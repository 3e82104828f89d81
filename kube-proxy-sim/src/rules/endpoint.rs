//! What EndpointSlices say of a Service's port.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

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
    /// What its slice says of it.
    pub state: Arc<State>,
}

/// What decides whether an endpoint is used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// New connections may go to it.
    pub ready: bool,
    /// It would still answer, though it is being deleted.
    pub serving_while_terminating: bool,
    /// The zones that it is meant for.
    pub zone_hints: Vec<Arc<str>>,
    /// The nodes that it is meant for.
    pub node_hints: Vec<Arc<str>>,
}

/// A slice, read once when it changes, however often its Service is worked out anew.
#[derive(Debug)]
pub struct Slice {
    ports: Vec<(String, Protocol, u16)>,
    hosts: Vec<(IpAddr, Arc<str>, Arc<State>)>,
}

impl Slice {
    /// What this slice says.
    pub fn of(slice: &EndpointSlice) -> Self {
        let ports = slice.ports.iter().flatten().filter_map(|port| {
            let number = u16::try_from(port.port?).ok()?;
            Some((port.name.clone().unwrap_or_default(), Protocol::of(port.protocol.as_deref())?, number))
        });
        let hosts = slice.endpoints.iter().flatten().filter_map(|endpoint| {
            let ip = endpoint.addresses.first()?.parse().ok()?;
            let conditions = endpoint.conditions.clone().unwrap_or_default();
            // Source: the API, which reads unknown as ready and serving, but not as terminating.
            let ready = conditions.ready != Some(false);
            let hints = endpoint.hints.as_ref();
            let zones = hints.iter().flat_map(|hints| hints.for_zones.iter().flatten());
            let nodes = hints.iter().flat_map(|hints| hints.for_nodes.iter().flatten());
            let state = State {
                ready,
                serving_while_terminating: !ready
                    && conditions.serving.unwrap_or(ready)
                    && conditions.terminating == Some(true),
                zone_hints: zones.map(|zone| zone.name.as_str().into()).collect(),
                node_hints: nodes.map(|node| node.name.as_str().into()).collect(),
            };
            Some((ip, endpoint.node_name.as_deref().unwrap_or_default().into(), Arc::new(state)))
        });
        Self { ports: ports.collect(), hosts: hosts.collect() }
    }
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
    slices: impl DoubleEndedIterator<Item = &'a Slice>,
) -> Vec<Candidate> {
    let mut found: Vec<Candidate> = Vec::new();
    // The last one is right about an endpoint in two, and a stable order keeps it first.
    for slice in slices.rev() {
        let named = slice.ports.iter().find(|(own, spoken, _)| *own == name.port && *spoken == protocol);
        let Some((_, _, number)) = named else { continue };
        found.extend(slice.hosts.iter().map(|(ip, node, state)| Candidate {
            endpoint: Endpoint { address: SocketAddr::new(*ip, *number), node: node.clone() },
            state: state.clone(),
        }));
    }
    found.sort_by_key(|candidate| candidate.endpoint.address);
    found.dedup_by_key(|candidate| candidate.endpoint.address);
    found
}
