//! The nodes as they are at the beginning of a cycle.

use std::{collections::HashMap, sync::Arc};

use super::NodeInfo;

/// Nodes in the order in which they are looked at. Sharing makes it cheap: a cycle replaces only what has changed.
#[derive(Debug, Default)]
pub struct Snapshot {
    nodes: Vec<Arc<NodeInfo>>,
    places: HashMap<String, usize>,
}

impl Snapshot {
    /// These nodes, in this order.
    pub fn new(nodes: Vec<Arc<NodeInfo>>) -> Self {
        let places = nodes.iter().enumerate().map(|(at, node)| (node.name().to_owned(), at)).collect();
        Self { nodes, places }
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

    /// The node changed; it keeps its place.
    pub(crate) fn replace(&mut self, node: Arc<NodeInfo>) {
        if let Some(at) = self.place(node.name()) {
            self.nodes[at] = node;
        }
    }
}
