//! A node with the pods on it, summed up so that a filter need not look at each.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use k8s_openapi::api::core::v1::{Node, Taint};

use super::{HostPort, PodInfo, Resources};

/// A node as plugins see it.
#[derive(Clone, Debug, Default)]
pub struct NodeInfo {
    /// Unset while only its pods are known.
    pub node: Option<Arc<Node>>,
    /// Where it stands in the snapshot.
    pub place: usize,
    /// The pods that run there or are assumed to.
    pub pods: Vec<Arc<PodInfo>>,
    /// Those of them that have inter-pod terms.
    pub with_affinity: Vec<Arc<PodInfo>>,
    /// What it has for pods.
    pub allocatable: Resources,
    /// What its pods ask for.
    pub requested: Resources,
    /// The same with defaults for pods that do not say, for scoring.
    pub scored_requested: Resources,
    /// The ports that its pods have taken.
    pub used_ports: Vec<HostPort>,
    /// The images that it has, by each of their names, with their sizes in bytes.
    pub images: Arc<HashMap<String, i64>>,
    unschedulable: bool,
    tainted: bool,
}

impl NodeInfo {
    /// A node without pods.
    pub fn new(node: Arc<Node>) -> Self {
        let mut info = Self::default();
        info.set_node(node);
        info
    }

    /// The node changed.
    pub fn set_node(&mut self, node: Arc<Node>) {
        self.allocatable = Resources::parse(node.status.as_ref().and_then(|status| status.allocatable.as_ref()));
        let spec = node.spec.as_ref();
        self.unschedulable = spec.and_then(|spec| spec.unschedulable).unwrap_or_default();
        self.tainted = spec.and_then(|spec| spec.taints.as_ref()).is_some_and(|taints| !taints.is_empty());
        let images = images(&node);
        if images != *self.images {
            self.images = Arc::new(images);
        }
        self.node = Some(node);
    }

    /// A pod came.
    pub fn add_pod(&mut self, pod: Arc<PodInfo>) {
        self.requested += &pod.requests;
        self.scored_requested += &pod.scored_requests;
        self.used_ports.extend(pod.host_ports.iter().cloned());
        if pod.affinity.is_some() {
            self.with_affinity.push(pod.clone());
        }
        self.pods.push(pod);
    }

    /// A pod went; says whether it was there.
    pub fn remove_pod(&mut self, uid: &str) -> bool {
        let Some(at) = self.pods.iter().position(|pod| pod.uid() == uid) else { return false };
        let pod = self.pods.swap_remove(at);
        self.requested -= &pod.requests;
        self.scored_requested -= &pod.scored_requests;
        for port in &pod.host_ports {
            if let Some(at) = self.used_ports.iter().position(|used| used == port) {
                self.used_ports.swap_remove(at);
            }
        }
        if pod.affinity.is_some() {
            self.with_affinity.retain(|other| other.uid() != uid);
        }
        true
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.node.as_ref().and_then(|node| node.metadata.name.as_deref()).unwrap_or_default()
    }

    /// Its labels.
    pub fn labels(&self) -> Option<&BTreeMap<String, String>> {
        self.node.as_ref()?.metadata.labels.as_ref()
    }

    /// Its taints.
    pub fn taints(&self) -> &[Taint] {
        if !self.tainted {
            return &[];
        }
        let taints = self.node.as_ref().and_then(|node| node.spec.as_ref()?.taints.as_deref());
        taints.unwrap_or_default()
    }

    /// It is cordoned.
    pub fn unschedulable(&self) -> bool {
        self.unschedulable
    }

    /// A pod on it refuses to be beside others.
    pub fn has_anti_affinity(&self) -> bool {
        let refuses = |pod: &Arc<PodInfo>| pod.affinity.as_ref().is_some_and(|terms| !terms.required_anti.is_empty());
        self.with_affinity.iter().any(refuses)
    }
}

/// Each name of each image, with its size.
fn images(node: &Node) -> HashMap<String, i64> {
    let images = node.status.iter().flat_map(|status| status.images.iter().flatten());
    images
        .flat_map(|image| {
            let size = image.size_bytes.unwrap_or_default();
            image.names.iter().flatten().map(move |name| (name.clone(), size))
        })
        .collect()
}
