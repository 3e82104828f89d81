//! Gives each node a range of pod addresses out of the cluster's.
//!
//! Watches nodes. Writes their `spec.podCIDR(s)`.
//! Source: `pkg/controller/nodeipam/ipam/range_allocator.go` in Kubernetes.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ipnet::Ipv4Net;
use k8s_openapi::api::core::v1::Node;
use kubelab_api::Error;
use kubelab_client::{
    Action, Cache, Change, Client, Controller, Patch, Recorder, controller::Key, queue::Queue, recorder::Kind,
};
use serde_json::json;

use crate::Context;

const NAME: &str = "node-ipam-controller";
/// The recorder of these events upstream.
const COMPONENT: &str = "cidrAllocator";
const WORKERS: usize = 4;

/// Runs the loop.
pub async fn run(context: Context) {
    let options = &context.options;
    let this = Arc::new(Loop {
        client: context.client.clone(),
        recorder: context.recorder(COMPONENT),
        nodes: context.caches.of(),
        ranges: Arc::new(Mutex::new(Ranges::new(options.cluster_cidr, options.node_cidr_mask_size))),
        queue: Queue::new(NAME),
    });
    // What nodes have must be known before anything is given.
    this.nodes.synced().await;
    this.watch();
    Controller::new(NAME, this.queue.clone())
        .run_on(WORKERS, this, |this, key| async move { this.reconcile(key).await })
        .await;
}

struct Loop {
    client: Client,
    recorder: Recorder,
    nodes: Cache<Node>,
    ranges: Arc<Mutex<Ranges>>,
    queue: Queue<Key>,
}

impl Loop {
    fn watch(&self) {
        let (queue, ranges) = (self.queue.clone(), Arc::clone(&self.ranges));
        self.nodes.on_change(move |change| {
            let node = change.object();
            let name = node.metadata.name.as_deref().unwrap_or_default();
            match (change, range_of(node)) {
                (Change::Deleted(_), _) => lock(&ranges).release(name),
                (_, Some(range)) => lock(&ranges).occupy(name, range),
                (_, None) => queue.add(Key::of(&**node)),
            }
        });
    }

    async fn reconcile(&self, key: Key) -> Result<Action, Error> {
        let Some(node) = self.nodes.get("", &key.name).filter(|node| range_of(node).is_none()) else {
            return Ok(Action::Done);
        };
        let Some(range) = lock(&self.ranges).give(&key.name) else {
            let message = format!("Node {} status is now: CIDRNotAvailable", key.name);
            self.recorder.event(&*node, Kind::Normal, "CIDRNotAvailable", message);
            return Err(Error::internal(
                "CIDR allocation failed; there are no remaining CIDRs left to allocate in the accepted range",
            ));
        };
        let cidr = range.to_string();
        let patch = json!({"metadata": {"uid": node.metadata.uid}, "spec": {"podCIDR": cidr, "podCIDRs": [cidr]}});
        // After a failure the range stays this node's: the write may have been done, and the next attempt tries the same.
        if let Err(error) = self.client.patch::<Node>("", &key.name, Patch::Strategic(patch)).await {
            let message = format!("Node {} status is now: CIDRAssignmentFailed", key.name);
            self.recorder.event(&*node, Kind::Normal, "CIDRAssignmentFailed", message);
            return Err(error);
        }
        Ok(Action::Done)
    }
}

fn lock(ranges: &Mutex<Ranges>) -> MutexGuard<'_, Ranges> {
    ranges.lock().unwrap_or_else(PoisonError::into_inner)
}

fn range_of(node: &Node) -> Option<Ipv4Net> {
    let spec = node.spec.as_ref()?;
    let mut cidrs = spec.pod_cidrs.iter().flatten().chain(&spec.pod_cidr);
    cidrs.find_map(|cidr| cidr.parse().ok())
}

/// Which node has which range.
struct Ranges {
    cluster: Ipv4Net,
    mask_size: u8,
    by_node: HashMap<String, Ipv4Net>,
    used: HashSet<u32>,
    /// Where the search begins: a range that was released comes up again as late as possible.
    next: u32,
}

impl Ranges {
    fn new(cluster: Ipv4Net, mask_size: u8) -> Self {
        Self { cluster: cluster.trunc(), mask_size, by_node: HashMap::new(), used: HashSet::new(), next: 0 }
    }

    fn count(&self) -> u32 {
        // The flags are checked at the start: the difference is at most 16 bits.
        1 << (self.mask_size - self.cluster.prefix_len())
    }

    fn range(&self, index: u32) -> Option<Ipv4Net> {
        let address = u32::from(self.cluster.addr()) + (index << (32 - self.mask_size));
        Ipv4Net::new(address.into(), self.mask_size).ok()
    }

    /// The places of the table that a range covers: several, if the mask was smaller when it was given.
    fn indices(&self, range: Ipv4Net) -> std::ops::RangeInclusive<u32> {
        let first = u32::from(self.cluster.addr());
        let index = |address: u32| (address.saturating_sub(first)) >> (32 - self.mask_size);
        index(range.network().into())..=index(range.broadcast().into()).min(self.count() - 1)
    }

    fn occupy(&mut self, node: &str, range: Ipv4Net) {
        if self.cluster.contains(&range) || range.contains(&self.cluster) {
            self.used.extend(self.indices(range));
        } else {
            tracing::warn!(node, %range, cluster = %self.cluster, "the node's range is not one of the cluster's");
        }
        self.by_node.insert(node.to_owned(), range);
    }

    fn release(&mut self, node: &str) {
        if let Some(range) = self.by_node.remove(node)
            && self.cluster.contains(&range)
        {
            for index in self.indices(range) {
                self.used.remove(&index);
            }
        }
    }

    /// A node's range: the one it has, or a free one.
    fn give(&mut self, node: &str) -> Option<Ipv4Net> {
        if let Some(range) = self.by_node.get(node) {
            return Some(*range);
        }
        let count = self.count();
        let index = (0..count).map(|step| (self.next + step) % count).find(|index| !self.used.contains(index))?;
        let range = self.range(index)?;
        self.next = (index + 1) % count;
        self.occupy(node, range);
        Some(range)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn ranges(cluster: &str, mask_size: u8) -> Ranges {
        Ranges::new(cluster.parse().unwrap(), mask_size)
    }

    fn give(ranges: &mut Ranges, node: &str) -> String {
        ranges.give(node).map_or("none".to_owned(), |range| range.to_string())
    }

    #[test]
    fn each_node_gets_its_own() {
        let mut ranges = ranges("10.244.0.0/16", 24);
        assert_eq!(give(&mut ranges, "node-1"), "10.244.0.0/24");
        assert_eq!(give(&mut ranges, "node-2"), "10.244.1.0/24");
        assert_eq!(give(&mut ranges, "node-1"), "10.244.0.0/24", "asked again");
        ranges.release("node-1");
        assert_eq!(give(&mut ranges, "node-3"), "10.244.2.0/24", "not at once what was just released");
    }

    #[test]
    fn after_a_restart_nothing_is_given_twice() {
        let mut ranges = ranges("10.244.0.0/22", 24);
        ranges.occupy("node-1", "10.244.0.0/24".parse().unwrap());
        ranges.occupy("wide", "10.244.2.0/23".parse().unwrap());
        ranges.occupy("foreign", "192.168.0.0/24".parse().unwrap());
        assert_eq!(give(&mut ranges, "node-2"), "10.244.1.0/24");
        assert_eq!(give(&mut ranges, "node-3"), "none", "all are taken");
        ranges.release("wide");
        assert_eq!(give(&mut ranges, "node-3"), "10.244.2.0/24");
        ranges.release("foreign");
        ranges.release("unknown");
        assert_eq!(give(&mut ranges, "node-4"), "10.244.3.0/24");
        assert_eq!(give(&mut ranges, "node-5"), "none");
    }
}
