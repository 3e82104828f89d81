//! The rules of one node: those of the cluster, and those that are different here.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    ops::Deref,
    sync::Arc,
};

use ipnet::{IpNet, Ipv4Net};

use super::{Endpoint, PortName, Protocol, ServicePort, Services, topology::Usable};

/// Which node's rules they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The node's name.
    pub node: String,
    /// The node's address, where node ports are.
    pub ip: Option<IpAddr>,
    /// The zone that the node says it is in.
    pub zone: Option<String>,
    /// The network that pods have their addresses from. What comes from elsewhere is masqueraded.
    pub cluster_cidr: IpNet,
}

impl Default for Place {
    /// No node in particular, and kubeadm's usual network of pods.
    fn default() -> Self {
        let cluster_cidr = Ipv4Net::new_assert(Ipv4Addr::new(10, 244, 0, 0), 16).into();
        Self { node: String::new(), ip: None, zone: None, cluster_cidr }
    }
}

/// By which of its addresses a Service is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Via {
    /// The virtual address.
    ClusterIp,
    /// One of `spec.externalIPs`.
    ExternalIp,
    /// An address of its load balancer.
    LoadBalancer,
    /// A port of a node.
    NodePort,
}

/// What one port of one Service means on a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What the Service asks for.
    pub wanted: Arc<ServicePort>,
    /// Where connections may go.
    pub usable: Usable,
}

impl Deref for Rule {
    type Target = ServicePort;

    fn deref(&self) -> &ServicePort {
        &self.wanted
    }
}

impl Rule {
    /// A rule of these two halves.
    pub fn new(wanted: Arc<ServicePort>, usable: Usable) -> Self {
        Self { wanted, usable }
    }

    /// Where connections to the virtual address go.
    pub fn internal(&self) -> &[Endpoint] {
        if self.internal_local { &self.usable.local } else { &self.usable.cluster }
    }

    /// Where connections from outside go that arrive at a node port, an external address or a load balancer's.
    pub fn external(&self) -> &[Endpoint] {
        if self.external_local { &self.usable.local } else { &self.usable.cluster }
    }

    /// Connections from outside may go to this endpoint.
    pub fn leads_to(&self, endpoint: SocketAddr) -> bool {
        self.external().binary_search_by_key(&endpoint, |known| known.address).is_ok()
    }

    /// Where a connection goes, given the address that it was made to. Pods that use an external address are spared
    /// `externalTrafficPolicy`, as if they had gone out to a load balancer and come back.
    pub fn endpoints(&self, via: Via, from_pod: bool) -> &[Endpoint] {
        match via {
            Via::ClusterIp => self.internal(),
            _ if from_pod => &self.usable.cluster,
            _ => self.external(),
        }
    }

    /// Connections are dropped in silence and not refused: there are endpoints, but a policy keeps them from here.
    pub fn drops(&self, via: Via) -> bool {
        self.usable.any && self.endpoints(via, false).is_empty()
    }
}

/// A Service's port that an address leads to.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// Which.
    pub name: &'a PortName,
    /// What it means here.
    pub rule: &'a Rule,
    /// Which of its addresses it was.
    pub via: Via,
}

/// All rules of a node.
#[derive(Clone, Debug, Default)]
pub struct Table {
    place: Place,
    services: Arc<Services>,
    /// Those that are not as [`Services`] has them.
    here: BTreeMap<Arc<PortName>, Rule>,
}

impl Table {
    /// The rules that these Services mean on this node.
    pub fn new(place: Place, services: Arc<Services>) -> Self {
        let here = services.differing.iter().filter_map(|name| {
            let port = services.ports.get(name)?;
            Some((name.clone(), Rule::new(port.wanted.clone(), port.choices.on(&place))))
        });
        Self { here: here.collect(), place, services }
    }

    /// Whose rules they are.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The rule of a port.
    pub fn get(&self, name: &PortName) -> Option<&Rule> {
        self.here.get(name).or_else(|| self.services.ports.get(name).map(|port| &port.rule))
    }

    /// All rules, by the ports' names.
    pub fn iter(&self) -> impl Iterator<Item = (&PortName, &Rule)> {
        self.services.ports.iter().map(|(name, port)| (&**name, self.here.get(name).unwrap_or(&port.rule)))
    }

    /// The rules that the node has to listen for, or may have to, by the ports' names.
    pub fn exposed(&self) -> impl Iterator<Item = (&PortName, &Rule)> {
        self.services.exposed.iter().filter_map(|name| Some((&**name, self.get(name)?)))
    }

    /// The rules of one Service.
    pub fn of_service(&self, namespace: &str, service: &str) -> impl Iterator<Item = &Rule> {
        let first = PortName { namespace: namespace.into(), service: service.into(), port: String::new() };
        let ports = self.services.ports.range::<PortName, _>(&first..);
        let own = ports
            .take_while(move |(name, _)| (&*name.namespace, &*name.service) == (&*first.namespace, &*first.service));
        own.map(|(name, port)| self.here.get(name).unwrap_or(&port.rule))
    }

    /// The Service that a connection to this address is for, if it is one's: by its virtual, external or load balancer's
    /// address, or as a node port of this node.
    pub fn find(&self, address: SocketAddr, protocol: Protocol) -> Option<Target<'_>> {
        let (name, via) = match self.services.addresses.get(&(address.ip(), address.port(), protocol)) {
            Some((name, via)) => (name, *via),
            None if Some(address.ip()) == self.place.ip => {
                (self.services.node_ports.get(&(address.port(), protocol))?, Via::NodePort)
            }
            None => return None,
        };
        Some(Target { rule: self.get(name)?, name, via })
    }

    /// There is no rule at all.
    pub fn is_empty(&self) -> bool {
        self.services.ports.is_empty()
    }
}
