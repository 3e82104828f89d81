//! The Services of the cluster, kept up to date: a change of one Service or slice costs what that Service costs.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
    sync::Arc,
};

use k8s_openapi::api::{core::v1::Service, discovery::v1::EndpointSlice};

use super::{
    PortName, Protocol, Rule, ServicePort,
    endpoint::{self, Slice},
    service,
    table::Via,
    topology::Choices,
};

/// The namespace and name of a Service.
pub type Key = (String, String);

/// A port, and its rule on every node.
#[derive(Debug)]
pub struct Port {
    /// Whose.
    pub name: PortName,
    /// What is asked for.
    pub wanted: Arc<ServicePort>,
    /// What the nodes use.
    pub choices: Choices,
    /// The rule as it is on a node that nothing is special about.
    pub rule: Rule,
}

/// The Services of the cluster at some moment. Shared by all proxies of a process.
#[derive(Debug, Default)]
pub struct Services {
    /// Each port, by its name.
    pub ports: BTreeMap<Arc<PortName>, Arc<Port>>,
    /// Those whose rules are not the same on all nodes.
    pub(super) differing: Vec<Arc<PortName>>,
    /// Those that nodes have to listen for.
    pub(super) exposed: Vec<Arc<PortName>>,
    /// Which port an address belongs to.
    pub(super) addresses: HashMap<(IpAddr, u16, Protocol), (Arc<PortName>, Via)>,
    /// Which port a node port belongs to.
    pub(super) node_ports: HashMap<(u16, Protocol), Arc<PortName>>,
}

/// Follows Services and EndpointSlices. Source: `ServiceChangeTracker` and `EndpointsChangeTracker`.
#[derive(Debug, Default)]
pub struct Tracker {
    services: HashMap<Key, Arc<Service>>,
    slices: HashMap<Key, BTreeMap<String, Slice>>,
    changed: BTreeSet<Key>,
    ports: BTreeMap<Key, Vec<(Arc<PortName>, Arc<Port>)>>,
}

impl Tracker {
    /// A Service is new or other than it was.
    pub fn put_service(&mut self, service: &Arc<Service>) {
        let key = key(service);
        self.changed.insert(key.clone());
        self.services.insert(key, service.clone());
    }

    /// A Service is gone.
    pub fn remove_service(&mut self, service: &Service) {
        let key = key(service);
        self.services.remove(&key);
        self.changed.insert(key);
    }

    /// A slice is new or other than it was.
    pub fn put_slice(&mut self, slice: &EndpointSlice) {
        let Some((namespace, service)) = endpoint::service_of(slice) else { return };
        let key = (namespace.to_owned(), service.to_owned());
        let name = slice.metadata.name.clone().unwrap_or_default();
        self.slices.entry(key.clone()).or_default().insert(name, Slice::of(slice));
        self.changed.insert(key);
    }

    /// A slice is gone, or about to be another Service's.
    pub fn remove_slice(&mut self, slice: &EndpointSlice) {
        let Some((namespace, service)) = endpoint::service_of(slice) else { return };
        let key = (namespace.to_owned(), service.to_owned());
        if let Some(slices) = self.slices.get_mut(&key) {
            slices.remove(slice.metadata.name.as_deref().unwrap_or_default());
            if slices.is_empty() {
                self.slices.remove(&key);
            }
        }
        self.changed.insert(key);
    }

    /// The Services as they are now.
    pub fn services(&mut self) -> Services {
        for key in std::mem::take(&mut self.changed) {
            let Some(service) = self.services.get(&key) else {
                self.ports.remove(&key);
                continue;
            };
            let slices = self.slices.get(&key);
            let port = |(name, wanted): (PortName, ServicePort)| {
                let slices = slices.into_iter().flat_map(BTreeMap::values);
                let choices = Choices::of(&wanted, &endpoint::candidates(&name, wanted.protocol, slices));
                let wanted = Arc::new(wanted);
                let rule = Rule::new(wanted.clone(), choices.anywhere());
                (Arc::new(name.clone()), Arc::new(Port { name, wanted, choices, rule }))
            };
            self.ports.insert(key, service::ports(service).into_iter().map(port).collect());
        }
        let ports = self.ports.values().flatten().cloned().collect();
        let mut services = Services { ports, ..Services::default() };
        services.index();
        services
    }
}

impl Services {
    fn index(&mut self) {
        for (name, port) in &self.ports {
            if port.choices.differ() {
                self.differing.push(name.clone());
            }
            if port.wanted.is_listened_for() {
                self.exposed.push(name.clone());
            }
            let ServicePort { cluster_ip, port: number, protocol, .. } = *port.wanted;
            let mut add = |ip, via| {
                self.addresses.entry((ip, number, protocol)).or_insert_with(|| (name.clone(), via));
            };
            add(cluster_ip, Via::ClusterIp);
            port.wanted.external_ips.iter().for_each(|ip| add(*ip, Via::ExternalIp));
            port.wanted.load_balancer_ips.iter().for_each(|ip| add(*ip, Via::LoadBalancer));
            if let Some(node_port) = port.wanted.node_port {
                self.node_ports.entry((node_port, protocol)).or_insert_with(|| name.clone());
            }
        }
    }
}

fn key(service: &Service) -> Key {
    let meta = &service.metadata;
    (meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
}
