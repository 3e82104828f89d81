//! What a node has to listen on (pure).

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash, Hasher},
    net::SocketAddr,
};

use super::health::Health;
use crate::{
    cluster::NodeFacts,
    rules::{PortName, Protocol, Rule, Table, Via},
};

/// How many nodes listen at a load balancer's address, so that the loss of one is not seen. Cloud providers use subsets
/// of the nodes as well, larger ones.
const BALANCING_NODES: usize = 3;
/// The same with `externalTrafficPolicy: Local`, where a node reaches its own endpoints only.
const MAX_LOCAL_NODES: usize = 64;

/// Where to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The address.
    pub address: SocketAddr,
    /// What is spoken there.
    pub protocol: Protocol,
}

/// What for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Connections are taken to a Service's port.
    Forward {
        /// Which.
        name: PortName,
        /// By which of its addresses.
        via: Via,
    },
    /// Nobody answers, as if packets were dropped.
    Silence {
        /// Whose port it is.
        name: PortName,
    },
    /// It is told how many endpoints the node has.
    Health(Health),
}

impl Purpose {
    /// The Service that it is for: its namespace and name.
    pub fn service(&self) -> (&str, &str) {
        match self {
            Self::Forward { name, .. } | Self::Silence { name } => (&name.namespace, &name.service),
            Self::Health(health) => (&health.namespace, &health.service),
        }
    }

    /// The same listener goes on.
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Health(a), Self::Health(b)) => (&a.namespace, &a.service) == (&b.namespace, &b.service),
            _ => self == other,
        }
    }
}

/// All that a node has to listen on. A port that leads nowhere is closed, so that clients are refused as by iptables'
/// REJECT. The addresses of load balancers are opened by several nodes at once; which ones is the same on all of them.
pub fn wanted(table: &Table, nodes: &[NodeFacts]) -> BTreeMap<Place, Purpose> {
    let mut wanted = BTreeMap::new();
    let Some(ip) = table.place().ip else { return wanted };
    let mut endpoints_here: BTreeMap<(&str, &str), BTreeSet<std::net::IpAddr>> = BTreeMap::new();
    for (name, rule) in table.iter().filter(|(_, rule)| rule.protocol != Protocol::Sctp) {
        if let Some(port) = rule.node_port {
            let place = Place { address: SocketAddr::new(ip, port), protocol: rule.protocol };
            if !rule.external().is_empty() {
                wanted.insert(place, Purpose::Forward { name: name.clone(), via: Via::NodePort });
            } else if rule.drops(Via::NodePort) && rule.protocol == Protocol::Tcp {
                wanted.insert(place, Purpose::Silence { name: name.clone() });
            }
        }
        let addresses = rule.load_balancer_ips.iter().filter(|ip| ip.is_loopback());
        for ip in addresses.filter(|_| !rule.external().is_empty() && listens(table, name, rule, nodes)) {
            let place = Place { address: SocketAddr::new(*ip, rule.port), protocol: rule.protocol };
            wanted.insert(place, Purpose::Forward { name: name.clone(), via: Via::LoadBalancer });
        }
        if rule.health_check_node_port.is_some() {
            let here = rule.usable.local.iter().take(rule.usable.local_ready).map(|endpoint| endpoint.address.ip());
            endpoints_here.entry((&name.namespace, &name.service)).or_default().extend(here);
        }
    }
    for (name, rule) in table.iter() {
        if let Some(port) = rule.health_check_node_port {
            let endpoints = endpoints_here.get(&(&*name.namespace, &*name.service)).map_or(0, BTreeSet::len);
            let health =
                Health { namespace: name.namespace.clone(), service: name.service.clone(), local_endpoints: endpoints };
            let place = Place { address: SocketAddr::new(ip, port), protocol: Protocol::Tcp };
            wanted.insert(place, Purpose::Health(health));
        }
    }
    wanted
}

/// This node is one of those that listen at the addresses of the Service's load balancer.
fn listens(table: &Table, name: &PortName, rule: &Rule, nodes: &[NodeFacts]) -> bool {
    let hosts: BTreeSet<&str> = table.hosts(name).collect();
    let can = |node: &&NodeFacts| !node.excluded && (!rule.external_local || hosts.contains(node.name.as_str()));
    let ready: Vec<&NodeFacts> = nodes.iter().filter(can).filter(|node| node.ready).collect();
    // As load balancers do: when no node seems well, all are tried.
    let mut able = if ready.is_empty() { nodes.iter().filter(can).collect() } else { ready };
    able.sort_by_cached_key(|node| (rank(name, &node.name), node.name.clone()));
    let most = if rule.external_local { MAX_LOCAL_NODES } else { BALANCING_NODES };
    able.iter().take(most).any(|node| node.name == table.place().node)
}

/// A node's place in the order of a Service's nodes. With each Service it is another, and the loss of a node leaves the
/// others where they are (rendezvous hashing).
fn rank(name: &PortName, node: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&name.namespace, &name.service, node).hash(&mut hasher);
    hasher.finish()
}
