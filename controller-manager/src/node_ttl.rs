//! Tells kubelets how long they may keep what they fetched: the longer, the more nodes there are.
//!
//! Watches nodes; writes an annotation of theirs. Source: `pkg/controller/ttl/ttl_controller.go` in Kubernetes.

use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::api::core::v1::Node;
use kubelab_api::{Error, Reason, meta::annotation, well_known::annotation::NODE_TTL};
use kubelab_client::{Action, Cache, Change, Client, Controller, Patch, controller::Key, queue::Queue};
use serde_json::json;

use crate::Context;

const NAME: &str = "ttl-controller";
/// Source: the number that upstream starts it with.
const WORKERS: usize = 5;

/// From how many nodes on a step is left for the one before, from how many on for the next one, and its seconds. They
/// overlap, so that one node more or less does not change all the others. Source: `ttlBoundaries`.
const STEPS: [(usize, usize, u32); 5] =
    [(0, 100, 0), (90, 500, 15), (450, 1000, 30), (900, 2000, 60), (1800, usize::MAX, 300)];

/// Runs the loop.
pub async fn run(context: Context) {
    let this = Arc::new(Loop {
        client: context.client.clone(),
        nodes: context.caches.of(),
        size: Arc::default(),
        queue: Queue::new("ttlcontroller"),
    });
    this.nodes.synced().await;
    this.watch();
    Controller::new(NAME, this.queue.clone())
        .run_on(WORKERS, this, |this, key| async move { this.reconcile(key).await })
        .await;
}

struct Loop {
    client: Client,
    nodes: Cache<Node>,
    size: Arc<Mutex<Size>>,
    queue: Queue<Key>,
}

impl Loop {
    fn watch(&self) {
        let (queue, size, nodes) = (self.queue.clone(), Arc::clone(&self.size), self.nodes.clone());
        self.nodes.on_change(move |change| {
            let mut size = size.lock().unwrap_or_else(PoisonError::into_inner);
            let before = size.seconds();
            match change {
                Change::Added(_) => size.grow(),
                Change::Deleted(_) => size.shrink(),
                Change::Modified { .. } => {}
            }
            if size.seconds() != before {
                nodes.list().iter().for_each(|node| queue.add(Key::of(&**node)));
            } else if !says(change.object(), before) {
                queue.add(Key::of(&**change.object()));
            }
        });
    }

    async fn reconcile(&self, key: Key) -> Result<Action, Error> {
        let seconds = self.size.lock().unwrap_or_else(PoisonError::into_inner).seconds();
        let Some(node) = self.nodes.get("", &key.name).filter(|node| !says(node, seconds)) else {
            return Ok(Action::Done);
        };
        let annotations = json!({NODE_TTL: seconds.to_string()});
        let patch = json!({"metadata": {"uid": node.metadata.uid, "annotations": annotations}});
        match self.client.patch::<Node>("", &key.name, Patch::Strategic(patch)).await {
            Err(error) if error.reason != Reason::NotFound => Err(error),
            _ => Ok(Action::Done),
        }
    }
}

fn says(node: &Node, seconds: u32) -> bool {
    annotation(&node.metadata, NODE_TTL).is_some_and(|value| value.parse() == Ok(seconds))
}

/// How many nodes there are, and the step that they are at.
#[derive(Default)]
struct Size {
    nodes: usize,
    step: usize,
}

impl Size {
    fn grow(&mut self) {
        self.nodes += 1;
        if self.nodes > STEPS[self.step].1 {
            self.step += 1;
        }
    }

    fn shrink(&mut self) {
        self.nodes = self.nodes.saturating_sub(1);
        if self.nodes < STEPS[self.step].0 {
            self.step -= 1;
        }
    }

    fn seconds(&self) -> u32 {
        STEPS[self.step].2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_nodes_fetch_less_often() {
        let mut size = Size::default();
        for (nodes, expected) in
            [(1, 0), (100, 0), (101, 15), (500, 15), (501, 30), (1001, 60), (2001, 300), (5000, 300)]
        {
            while size.nodes < nodes {
                size.grow();
            }
            assert_eq!(size.seconds(), expected, "up to {nodes}");
        }
        for (nodes, expected) in
            [(1800, 300), (1799, 60), (900, 60), (899, 30), (450, 30), (449, 15), (90, 15), (89, 0), (0, 0)]
        {
            while size.nodes > nodes {
                size.shrink();
            }
            assert_eq!(size.seconds(), expected, "down to {nodes}");
        }
    }
}
