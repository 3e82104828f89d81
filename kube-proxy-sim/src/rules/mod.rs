//! What Services and EndpointSlices mean on a node. Source of the rules: `pkg/proxy` of Kubernetes (`serviceport.go`,
//! `endpointslicecache.go`, `topology.go`).
//!
//! | module | what it is |
//! | --- | --- |
//! | [`iptables`] | the table as `iptables-save` would print it |

pub mod iptables;

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use k8s_openapi::api::{
    core::v1::{Service, ServicePort as PortSpec},
    discovery::v1::EndpointSlice,
};
use kubelab_api::well_known::label;

/// What `sessionAffinity: ClientIP` lasts without a timeout of its own. Source: the API's default, three hours.
const DEFAULT_AFFINITY_SECONDS: i32 = 10_800;

/// One port of one Service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortName {
    /// The Service's namespace.
    pub namespace: String,
    /// The Service's name.
    pub service: String,
    /// The port's name; empty where there is one port only.
    pub port: String,
}

impl fmt::Display for PortName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.service)?;
        if self.port.is_empty() { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

/// A pod behind a Service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    /// Where it listens.
    pub address: SocketAddr,
    /// The node that it is on.
    pub node: String,
    /// New connections may go to it.
    pub ready: bool,
    /// It would still answer, though it is being deleted.
    pub serving_while_terminating: bool,
}

/// What one port of one Service means on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The virtual address.
    pub cluster_ip: IpAddr,
    /// The port there.
    pub port: u16,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: String,
    /// The port of each node that leads here too.
    pub node_port: Option<u16>,
    /// How long connections of a client stay with one endpoint.
    pub affinity: Option<Duration>,
    /// Connections from outside stay on the node where they arrive.
    pub external_local: bool,
    /// Where connections from inside go.
    pub cluster: Vec<Endpoint>,
    /// Where connections from outside go.
    pub external: Vec<Endpoint>,
}

/// All rules of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table(pub BTreeMap<PortName, Rule>);

/// The rules that these Services and EndpointSlices mean on this node.
pub fn table(node: &str, services: &[Arc<Service>], slices: &[Arc<EndpointSlice>]) -> Table {
    let mut slices_of: BTreeMap<(&str, &str), Vec<&EndpointSlice>> = BTreeMap::new();
    for slice in slices.iter().filter(|slice| slice.address_type == "IPv4") {
        let labels = slice.metadata.labels.as_ref();
        if let Some(service) = labels.and_then(|labels| labels.get(label::SERVICE_NAME)) {
            let namespace = slice.metadata.namespace.as_deref().unwrap_or_default();
            slices_of.entry((namespace, service)).or_default().push(slice);
        }
    }
    let mut rules = BTreeMap::new();
    for service in services {
        let Some(cluster_ip) = virtual_address(service) else { continue };
        let meta = &service.metadata;
        let (namespace, name) =
            (meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default());
        let slices = slices_of.get(&(namespace, name)).map(Vec::as_slice).unwrap_or_default();
        for port in service.spec.iter().flat_map(|spec| spec.ports.iter().flatten()) {
            let port_name = PortName {
                namespace: namespace.to_owned(),
                service: name.to_owned(),
                port: port.name.clone().unwrap_or_default(),
            };
            if let Some(rule) = rule(node, service, cluster_ip, port, slices) {
                rules.insert(port_name, rule);
            }
        }
    }
    Table(rules)
}

/// The address of a Service that this proxy serves: not of headless or external ones, nor of those for another proxy.
fn virtual_address(service: &Service) -> Option<IpAddr> {
    let spec = service.spec.as_ref()?;
    let is_elsewhere = service.metadata.labels.iter().flatten().any(|(key, _)| key == label::SERVICE_PROXY_NAME);
    if is_elsewhere || spec.type_.as_deref() == Some("ExternalName") {
        return None;
    }
    spec.cluster_ip.as_deref()?.parse().ok()
}

fn rule(node: &str, service: &Service, cluster_ip: IpAddr, port: &PortSpec, slices: &[&EndpointSlice]) -> Option<Rule> {
    let spec = service.spec.as_ref()?;
    let all = endpoints(port, slices);
    let external_local = spec.external_traffic_policy.as_deref() == Some("Local");
    let internal_local = spec.internal_traffic_policy.as_deref() == Some("Local");
    let here: Vec<Endpoint> = all.iter().filter(|endpoint| endpoint.node == node).cloned().collect();
    let pick = |only_here: bool| usable(if only_here { &here } else { &all });
    let affinity = (spec.session_affinity.as_deref() == Some("ClientIP")).then(|| {
        let config = spec.session_affinity_config.as_ref().and_then(|config| config.client_ip.as_ref());
        let seconds = config.and_then(|config| config.timeout_seconds).unwrap_or(DEFAULT_AFFINITY_SECONDS);
        Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
    });
    Some(Rule {
        cluster_ip,
        port: u16::try_from(port.port).ok()?,
        protocol: port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
        node_port: port.node_port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0),
        affinity,
        external_local,
        cluster: pick(internal_local),
        external: pick(external_local),
    })
}

/// The endpoints of a Service's port: slices name it as the Service does.
fn endpoints(port: &PortSpec, slices: &[&EndpointSlice]) -> Vec<Endpoint> {
    let mut endpoints = Vec::new();
    for slice in slices {
        let named = slice.ports.iter().flatten().find(|candidate| {
            candidate.name.as_deref().unwrap_or_default() == port.name.as_deref().unwrap_or_default()
        });
        let Some(number) = named.and_then(|port| port.port).and_then(|port| u16::try_from(port).ok()) else { continue };
        for endpoint in slice.endpoints.iter().flatten() {
            let Some(ip) = endpoint.addresses.first().and_then(|address| address.parse().ok()) else { continue };
            let conditions = endpoint.conditions.clone().unwrap_or_default();
            // Source: the API, which reads unknown as ready and serving, but not as terminating.
            let ready = conditions.ready != Some(false);
            let terminating = conditions.terminating == Some(true);
            let serving = conditions.serving.unwrap_or(ready);
            endpoints.push(Endpoint {
                address: SocketAddr::new(ip, number),
                node: endpoint.node_name.clone().unwrap_or_default(),
                ready: ready && !terminating,
                serving_while_terminating: serving && terminating,
            });
        }
    }
    endpoints.sort();
    // While endpoints move between slices, one may stand in two.
    endpoints.dedup_by(|a, b| a.address == b.address);
    endpoints
}

/// Those that connections may go to: the ready ones, or else those that still serve while they end (KEP-1669).
fn usable(endpoints: &[Endpoint]) -> Vec<Endpoint> {
    let ready: Vec<Endpoint> = endpoints.iter().filter(|endpoint| endpoint.ready).cloned().collect();
    if ready.is_empty() {
        endpoints.iter().filter(|endpoint| endpoint.serving_while_terminating).cloned().collect()
    } else {
        ready
    }
}

#[cfg(test)]
mod tests;
