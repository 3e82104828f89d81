//! Whose address is whose: pods by their nodes' CIDRs, nodes by their own addresses.

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, PoisonError, RwLock},
};

use ipnet::Ipv4Net;
use k8s_openapi::api::core::v1::Node;
use kubelab_client::{Cache, cache::Change};

/// Where an address is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// It is in the network of this node's pods.
    Pod(Arc<str>),
    /// It is this node's own.
    Node(Arc<str>),
    /// Nobody's.
    Unknown,
}

/// The routes of the cluster.
#[derive(Debug, Default)]
pub struct Places {
    /// By a network's first address.
    pods: BTreeMap<Ipv4Addr, (Ipv4Net, Arc<str>)>,
    nodes: HashMap<IpAddr, Arc<str>>,
}

impl Places {
    /// Takes in a node as it is now.
    pub fn add(&mut self, node: &Node) {
        self.remove(node);
        let name: Arc<str> = node.metadata.name.as_deref().unwrap_or_default().into();
        let cidr = node.spec.as_ref().and_then(|spec| spec.pod_cidr.as_deref());
        if let Some(network) = cidr.and_then(|cidr| cidr.parse::<Ipv4Net>().ok()) {
            self.pods.insert(network.network(), (network, name.clone()));
        }
        let addresses = node.status.iter().flat_map(|status| status.addresses.iter().flatten());
        let own = addresses.filter(|address| address.type_ == "InternalIP");
        self.nodes.extend(own.filter_map(|address| Some((address.address.parse().ok()?, name.clone()))));
    }

    /// Forgets a node.
    pub fn remove(&mut self, node: &Node) {
        let name = node.metadata.name.as_deref().unwrap_or_default();
        self.pods.retain(|_, (_, owner)| **owner != *name);
        self.nodes.retain(|_, owner| **owner != *name);
    }

    /// Where an address is.
    pub fn place(&self, ip: IpAddr) -> Place {
        if let Some(node) = self.nodes.get(&ip) {
            return Place::Node(node.clone());
        }
        let IpAddr::V4(ip) = ip else { return Place::Unknown };
        match self.pods.range(..=ip).next_back() {
            Some((_, (network, node))) if network.contains(&ip) => Place::Pod(node.clone()),
            _ => Place::Unknown,
        }
    }
}

/// The routes, kept up to date.
pub struct Routes(Arc<RwLock<Places>>);

impl Routes {
    /// The routes that these nodes make.
    pub fn follow(nodes: &Cache<Node>) -> Self {
        let places = Arc::new(RwLock::new(Places::default()));
        let own = places.clone();
        nodes.on_change(move |change| {
            let mut places = own.write().unwrap_or_else(PoisonError::into_inner);
            match change {
                Change::Deleted(node) => places.remove(node),
                // Nodes' heartbeats are the most frequent change of all, and change no route.
                Change::Modified { old, new } if routes(old) == routes(new) => {}
                Change::Added(node) | Change::Modified { new: node, .. } => places.add(node),
            }
        });
        Self(places)
    }

    /// Where an address is.
    pub fn place(&self, ip: IpAddr) -> Place {
        self.0.read().unwrap_or_else(PoisonError::into_inner).place(ip)
    }
}

/// What of a node decides where packets go.
fn routes(node: &Node) -> (Option<&str>, Option<&[k8s_openapi::api::core::v1::NodeAddress]>) {
    let cidr = node.spec.as_ref().and_then(|spec| spec.pod_cidr.as_deref());
    (cidr, node.status.as_ref().and_then(|status| status.addresses.as_deref()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    fn node(name: &str, cidr: &str, ip: &str) -> Node {
        serde_json::from_value(json!({"metadata": {"name": name}, "spec": {"podCIDR": cidr},
            "status": {"addresses": [{"type": "InternalIP", "address": ip}, {"type": "Hostname", "address": name}]}}))
        .unwrap()
    }

    #[test]
    fn addresses_have_places() {
        let mut places = Places::default();
        places.add(&node("node-1", "10.244.0.0/24", "127.20.0.1"));
        places.add(&node("node-2", "10.244.1.0/24", "127.20.0.2"));
        places.add(&node("node-3", "10.244.2.0/24", "127.20.0.3"));
        places.remove(&node("node-3", "", ""));
        let (pod, own) = (|name: &str| Place::Pod(name.into()), |name: &str| Place::Node(name.into()));
        for (ip, expected) in [
            ("10.244.0.0", pod("node-1")),
            ("10.244.0.255", pod("node-1")),
            ("10.244.1.7", pod("node-2")),
            ("10.244.2.1", Place::Unknown),
            ("10.243.255.255", Place::Unknown),
            ("127.20.0.2", own("node-2")),
            ("127.20.0.3", Place::Unknown),
            ("127.0.0.1", Place::Unknown),
            ("8.8.8.8", Place::Unknown),
            ("::1", Place::Unknown),
        ] {
            assert_eq!(places.place(ip.parse().unwrap()), expected, "{ip}");
        }
        places.add(&node("node-2", "10.244.9.0/24", "127.20.0.9"));
        assert_eq!(places.place("10.244.1.7".parse().unwrap()), Place::Unknown, "a node that has moved");
        assert_eq!(places.place("10.244.9.7".parse().unwrap()), pod("node-2"));
    }
}
