//! The nodes as they are at the beginning of a cycle.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    NodeInfo, Objects, PodInfo,
    tally::{Changes, Emit, Indexes, Tally},
};

/// Nodes in the order in which they are looked at. Sharing makes it cheap: a cycle replaces only what has changed, and
/// what was counted over all nodes is counted anew only for those.
#[derive(Default)]
pub struct Snapshot {
    nodes: Vec<Arc<NodeInfo>>,
    places: HashMap<String, usize>,
    pub(crate) nominated: Arc<HashMap<String, Vec<Arc<PodInfo>>>>,
    pub(crate) images: Arc<HashMap<String, usize>>,
    objects: Arc<Objects>,
    changes: Changes,
    /// On how many nodes there are pods with inter-pod terms of any kind, and with required anti-affinity.
    with_affinity: usize,
    with_anti_affinity: usize,
    indexes: Mutex<Indexes>,
}

impl Snapshot {
    /// These nodes, in this order.
    pub fn new(nodes: Vec<Arc<NodeInfo>>) -> Self {
        Self::with_objects(nodes, Arc::default())
    }

    /// These nodes, in this order, and what else there is.
    pub fn with_objects(nodes: Vec<Arc<NodeInfo>>, objects: Arc<Objects>) -> Self {
        let mut snapshot = Self { objects, ..Self::default() };
        snapshot.reset(nodes);
        snapshot
    }

    /// Other nodes, or another order.
    pub(crate) fn reset(&mut self, mut nodes: Vec<Arc<NodeInfo>>) {
        for (place, node) in nodes.iter_mut().enumerate() {
            if node.place != place {
                Arc::make_mut(node).place = place;
            }
        }
        self.places = nodes.iter().enumerate().map(|(at, node)| (node.name().to_owned(), at)).collect();
        self.with_affinity = nodes.iter().filter(|node| !node.with_affinity.is_empty()).count();
        self.with_anti_affinity = nodes.iter().filter(|node| node.has_anti_affinity()).count();
        self.nodes = nodes;
        self.changes.all();
    }

    /// All nodes.
    pub fn nodes(&self) -> &[Arc<NodeInfo>] {
        &self.nodes
    }

    /// The node with this name.
    pub fn get(&self, name: &str) -> Option<&NodeInfo> {
        self.place(name).map(|at| &*self.nodes[at])
    }

    /// Where the node with this name stands.
    pub fn place(&self, name: &str) -> Option<usize> {
        self.places.get(name).copied()
    }

    /// What else there is in the cluster, as it is now.
    pub fn objects(&self) -> &Objects {
        &self.objects
    }

    pub(crate) fn set_objects(&mut self, objects: Arc<Objects>) {
        self.objects = objects;
    }

    /// The pods that wait for room which preemption makes for them on a node.
    pub fn nominated(&self, node: &str) -> &[Arc<PodInfo>] {
        if self.nominated.is_empty() {
            return &[];
        }
        self.nominated.get(node).map_or(&[], Vec::as_slice)
    }

    /// On how many nodes an image is.
    pub fn nodes_with_image(&self, image: &str) -> usize {
        self.images.get(image).copied().unwrap_or_default()
    }

    /// Some pod on a node has inter-pod terms.
    pub fn any_affinity(&self) -> bool {
        self.with_affinity > 0
    }

    /// Some pod on a node refuses to be beside others.
    pub fn any_anti_affinity(&self) -> bool {
        self.with_anti_affinity > 0
    }

    /// What `count` gives for each node, summed up by topology. `key` must say all that the counts depend on besides the
    /// nodes: with the same key only nodes that have changed since are counted anew.
    pub fn tally(&self, key: &str, count: &dyn Fn(&NodeInfo, &mut Emit<'_>)) -> Arc<Tally> {
        let mut indexes = self.indexes.lock().unwrap_or_else(PoisonError::into_inner);
        indexes.tally(key, &self.nodes, &self.changes, count)
    }

    /// Which nodes share a value of this label.
    pub(super) fn topology(&self, key: &Arc<str>) -> Arc<Vec<u32>> {
        let mut indexes = self.indexes.lock().unwrap_or_else(PoisonError::into_inner);
        indexes.topology(key, &self.nodes, &self.changes)
    }

    /// The node changed; it keeps its place.
    pub(crate) fn replace(&mut self, node: Arc<NodeInfo>) {
        let Some(at) = self.place(node.name()) else { return };
        let adjust = |count: &mut usize, before: bool, after: bool| match (before, after) {
            (true, false) => *count -= 1,
            (false, true) => *count += 1,
            _ => {}
        };
        let old = &self.nodes[at];
        adjust(&mut self.with_affinity, !old.with_affinity.is_empty(), !node.with_affinity.is_empty());
        adjust(&mut self.with_anti_affinity, old.has_anti_affinity(), node.has_anti_affinity());
        self.nodes[at] = node;
        self.changes.one(at);
    }
}
