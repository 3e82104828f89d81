//! What the scheduler believes the cluster to be: the nodes, the pods that run on them, and the pods that it has placed and
//! assumes to run there before the apiserver says so. Upstream: `backend/cache`.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use k8s_openapi::api::core::v1::Node;
use kubelab_api::well_known::label;

use crate::{
    framework::{NodeInfo, Objects, PodInfo, Snapshot},
    metrics::METRICS,
};

/// Nodes and pods.
#[derive(Default)]
pub struct Cluster {
    nodes: HashMap<String, Arc<NodeInfo>>,
    pods: HashMap<String, Placed>,
    /// The pods for which preemption makes room, by node, and each one's node by its uid.
    nominated: Arc<HashMap<String, Vec<Arc<PodInfo>>>>,
    nominations: HashMap<String, String>,
    /// On how many nodes each image is.
    images: Arc<HashMap<String, usize>>,
    objects: Arc<Objects>,
    /// How many of the pods are assumed.
    assumed: usize,
    /// Nodes that differ from the latest snapshot.
    changed: HashSet<String>,
    /// Nodes came, went or moved to another zone.
    reordered: bool,
}

struct Placed {
    info: Arc<PodInfo>,
    node: String,
    assumed: bool,
}

impl Cluster {
    /// An empty cluster whose other objects are kept there.
    pub fn new(objects: Arc<Objects>) -> Self {
        Self { objects, ..Self::default() }
    }

    /// A node is there, or changed.
    pub fn put_node(&mut self, node: Arc<Node>) {
        let name = node.metadata.name.clone().unwrap_or_default();
        let info = self.nodes.entry(name.clone()).or_default();
        self.reordered |= info.node.as_ref().is_none_or(|old| zone(old) != zone(&node));
        let before = info.images.clone();
        Arc::make_mut(info).set_node(node);
        let after = info.images.clone();
        self.count_images(&before, &after);
        self.changed.insert(name);
    }

    fn count_images(&mut self, before: &Arc<HashMap<String, i64>>, after: &Arc<HashMap<String, i64>>) {
        if Arc::ptr_eq(before, after) {
            return;
        }
        let images = Arc::make_mut(&mut self.images);
        for image in before.keys() {
            if let Some(nodes) = images.get_mut(image) {
                *nodes -= 1;
            }
        }
        for image in after.keys() {
            *images.entry(image.clone()).or_default() += 1;
        }
        images.retain(|_, nodes| *nodes > 0);
    }

    /// A node is gone. Its pods stay known until they are gone themselves.
    pub fn remove_node(&mut self, name: &str) {
        let Some(info) = self.nodes.get_mut(name) else { return };
        let before = info.images.clone();
        Arc::make_mut(info).images = Arc::default();
        if info.pods.is_empty() {
            self.nodes.remove(name);
        } else {
            Arc::make_mut(info).node = None;
        }
        self.count_images(&before, &Arc::default());
        self.reordered = true;
    }

    /// Preemption makes room for a pod on a node; on none if that is unset.
    pub fn nominate(&mut self, info: Arc<PodInfo>, node: Option<&str>) {
        self.withdraw(info.uid());
        if let Some(node) = node {
            self.nominations.insert(info.uid().to_owned(), node.to_owned());
            Arc::make_mut(&mut self.nominated).entry(node.to_owned()).or_default().push(info);
        }
    }

    /// No room is made for a pod any more.
    pub fn withdraw(&mut self, uid: &str) {
        let Some(node) = self.nominations.remove(uid) else { return };
        let nominated = Arc::make_mut(&mut self.nominated);
        if let Some(pods) = nominated.get_mut(&node) {
            pods.retain(|pod| pod.uid() != uid);
            if pods.is_empty() {
                nominated.remove(&node);
            }
        }
    }

    /// The node on which room is made for a pod.
    pub fn nomination(&self, uid: &str) -> Option<&str> {
        self.nominations.get(uid).map(String::as_str)
    }

    /// A pod runs on a node, or changed there. Confirms it if it was assumed.
    pub fn put_pod(&mut self, info: Arc<PodInfo>, node: &str) {
        self.place(info, node, false);
    }

    /// The scheduler has placed a pod on a node.
    pub fn assume(&mut self, info: Arc<PodInfo>, node: &str) {
        self.place(info, node, true);
    }

    fn place(&mut self, info: Arc<PodInfo>, node: &str, assumed: bool) {
        self.remove_pod(info.uid());
        self.withdraw(info.uid());
        self.change(node, |node| node.add_pod(info.clone()));
        self.pods.insert(info.uid().to_owned(), Placed { info, node: node.to_owned(), assumed });
        self.assumed += usize::from(assumed);
    }

    /// The binding failed: the pod does not run there after all.
    pub fn forget(&mut self, uid: &str) {
        if self.is_assumed(uid) {
            self.remove_pod(uid);
        }
    }

    /// It was placed, and the apiserver has not said so yet.
    pub fn is_assumed(&self, uid: &str) -> bool {
        self.pods.get(uid).is_some_and(|placed| placed.assumed)
    }

    /// The pod with this uid, if it is on a node.
    pub fn pod(&self, uid: &str) -> Option<&Arc<PodInfo>> {
        self.pods.get(uid).map(|placed| &placed.info)
    }

    /// A pod is gone; returns it if it was on a node.
    pub fn remove_pod(&mut self, uid: &str) -> Option<Arc<PodInfo>> {
        let placed = self.pods.remove(uid)?;
        self.assumed -= usize::from(placed.assumed);
        self.change(&placed.node, |node| {
            node.remove_pod(uid);
        });
        if self.nodes.get(&placed.node).is_some_and(|node| node.node.is_none() && node.pods.is_empty()) {
            self.nodes.remove(&placed.node);
        }
        Some(placed.info)
    }

    fn change(&mut self, node: &str, change: impl FnOnce(&mut NodeInfo)) {
        if !self.nodes.contains_key(node) {
            self.nodes.insert(node.to_owned(), Arc::default());
        }
        if let Some(info) = self.nodes.get_mut(node) {
            change(Arc::make_mut(info));
        }
        if !self.changed.contains(node) {
            self.changed.insert(node.to_owned());
        }
    }

    /// Brings a snapshot up to date: nodes that have not changed cost nothing.
    pub fn update(&mut self, snapshot: &mut Snapshot) {
        METRICS.cached(self.nodes.len(), self.pods.len(), self.assumed);
        snapshot.set_objects(self.objects.clone());
        snapshot.nominated = self.nominated.clone();
        snapshot.images = self.images.clone();
        if self.reordered {
            // The nodes are this cluster's alone then, so that their places are set without copying them.
            snapshot.reset(Vec::new());
            snapshot.reset(self.in_order());
            self.reordered = false;
            self.changed.clear();
        }
        for name in self.changed.drain() {
            if let Some(info) = self.nodes.get(&name).filter(|info| info.node.is_some()) {
                snapshot.replace(info.clone());
            }
        }
    }

    /// One node of each zone after the other, so that a search that ends early has seen all zones. Upstream: `nodeTree`.
    fn in_order(&mut self) -> Vec<Arc<NodeInfo>> {
        let mut zones: BTreeMap<String, Vec<&mut Arc<NodeInfo>>> = BTreeMap::new();
        for info in self.nodes.values_mut() {
            if let Some(node) = &info.node {
                zones.entry(zone(node)).or_default().push(info);
            }
        }
        for nodes in zones.values_mut() {
            nodes.sort_by(|one, other| one.name().cmp(other.name()));
        }
        let longest = zones.values().map(Vec::len).max().unwrap_or_default();
        let mut ordered = Vec::new();
        for at in 0..longest {
            for info in zones.values_mut().filter_map(|nodes| nodes.get_mut(at)) {
                Arc::make_mut(info).place = ordered.len();
                ordered.push(info.clone());
            }
        }
        ordered
    }
}

/// Region and zone.
fn zone(node: &Node) -> String {
    let of = |key: &str| node.metadata.labels.as_ref().and_then(|labels| labels.get(key)).map_or("", String::as_str);
    format!("{}:{}", of(label::REGION), of(label::ZONE))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{asking, node, plain};

    fn requested(snapshot: &Snapshot, name: &str) -> i64 {
        snapshot.get(name).unwrap().requested.milli_cpu
    }

    #[test]
    fn assumed_pods_take_room_until_forgotten_or_confirmed() {
        let (mut cluster, mut snapshot) = (Cluster::default(), Snapshot::default());
        for name in ["a", "b"] {
            cluster.put_node(plain(name).node.unwrap());
        }
        let pod = Arc::new(asking(json!({ "cpu": "1" })));
        cluster.assume(pod.clone(), "a");
        cluster.update(&mut snapshot);
        assert_eq!(requested(&snapshot, "a"), 1000);
        assert!(cluster.is_assumed("web"));

        cluster.forget("web");
        cluster.update(&mut snapshot);
        assert_eq!(requested(&snapshot, "a"), 0);

        cluster.assume(pod.clone(), "a");
        cluster.put_pod(pod.clone(), "b");
        cluster.forget("web");
        cluster.update(&mut snapshot);
        assert_eq!((requested(&snapshot, "a"), requested(&snapshot, "b")), (0, 1000), "what the apiserver says holds");
        assert!(cluster.remove_pod("web").is_some() && cluster.remove_pod("web").is_none());
    }

    #[test]
    fn a_snapshot_does_not_change_by_itself_and_shares_what_is_the_same() {
        let (mut cluster, mut snapshot) = (Cluster::default(), Snapshot::default());
        for name in ["a", "b"] {
            cluster.put_node(plain(name).node.unwrap());
        }
        cluster.update(&mut snapshot);
        let before = snapshot.nodes().to_vec();
        cluster.assume(Arc::new(asking(json!({ "cpu": "1" }))), "a");
        assert_eq!(requested(&snapshot, "a"), 0);
        cluster.update(&mut snapshot);
        assert_eq!(requested(&snapshot, "a"), 1000);
        assert!(Arc::ptr_eq(&before[1], &snapshot.nodes()[1]));
    }

    #[test]
    fn pods_may_come_before_their_node_and_stay_after_it() {
        let (mut cluster, mut snapshot) = (Cluster::default(), Snapshot::default());
        cluster.put_pod(Arc::new(asking(json!({ "cpu": "1" }))), "a");
        cluster.update(&mut snapshot);
        assert!(snapshot.nodes().is_empty());
        cluster.put_node(plain("a").node.unwrap());
        cluster.update(&mut snapshot);
        assert_eq!(requested(&snapshot, "a"), 1000);
        cluster.remove_node("a");
        cluster.update(&mut snapshot);
        assert!(snapshot.nodes().is_empty());
        cluster.remove_pod("web");
        assert!(cluster.nodes.is_empty());
    }

    #[test]
    fn zones_alternate() {
        let (mut cluster, mut snapshot) = (Cluster::default(), Snapshot::default());
        for (name, zone) in [("a1", "a"), ("a2", "a"), ("b1", "b"), ("a3", "a")] {
            let labels = json!({ "topology.kubernetes.io/zone": zone });
            cluster.put_node(node(name, labels, json!({}), json!({})).node.unwrap());
        }
        cluster.update(&mut snapshot);
        let names: Vec<&str> = snapshot.nodes().iter().map(|node| node.name()).collect();
        assert_eq!(names, ["a1", "b1", "a2", "a3"]);
    }
}
