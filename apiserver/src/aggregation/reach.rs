//! The way to a server in a pod. Pods are on a network of their own, so it leads through the kubelet of the node whose part
//! of that network has the address; all other addresses are on the apiserver's network.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use ipnet::IpNet;
use k8s_openapi::api::core::v1::Node;
use kubelab_store::Store;
use tokio::io::DuplexStream;

use crate::nodes::Nodes;

/// Finds pods.
pub struct Reach {
    store: Store,
    nodes: Arc<Nodes>,
}

impl Reach {
    /// Finds pods by the nodes in this store.
    pub fn new(store: Store, nodes: Arc<Nodes>) -> Self {
        Self { store, nodes }
    }

    /// A connection to a pod, or why there is none; `None` if the address is no pod's.
    pub async fn dial(&self, address: &str) -> Option<Result<DuplexStream, String>> {
        let address: SocketAddr = address.parse().ok()?;
        let node = {
            let state = self.store.local();
            let nodes = state.range("core/nodes", "", None);
            node_of(nodes.filter_map(|(_, entry)| serde_json::from_slice(&entry.value).ok()), address.ip())?
        };
        Some(self.nodes.dial(&node, address).await)
    }
}

/// The node that an address was given to.
fn node_of(mut nodes: impl Iterator<Item = Node>, address: IpAddr) -> Option<Node> {
    let has = |node: &Node| {
        let spec = node.spec.as_ref();
        let all = spec.into_iter().flat_map(|spec| spec.pod_cidrs.iter().flatten().chain(&spec.pod_cidr));
        all.filter_map(|network| network.parse::<IpNet>().ok()).any(|network| network.contains(&address))
    };
    nodes.find(has)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pods_address_leads_to_its_node() {
        let node = |name: &str, network: &str| -> Node {
            let node = json!({"metadata": {"name": name}, "spec": {"podCIDR": network, "podCIDRs": [network]}});
            serde_json::from_value(node).unwrap()
        };
        let nodes = || [node("n1", "10.244.1.0/24"), node("n2", "10.244.2.0/24"), node("n3", "")].into_iter();
        for (address, expected) in
            [("10.244.1.7", Some("n1")), ("10.244.2.255", Some("n2")), ("10.244.3.1", None), ("127.0.0.1", None)]
        {
            let found = node_of(nodes(), address.parse().unwrap());
            assert_eq!(found.and_then(|node| node.metadata.name).as_deref(), expected, "{address}");
        }
    }
}
