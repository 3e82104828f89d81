//! Deletes what belongs to objects that are gone.
//!
//! Watches the metadata of every resource but events, which own and belong to nothing, and leases, which are written more
//! often than everything else. Deletes objects, removes owner references and the finalizers `foregroundDeletion` and
//! `orphan`. Source: `pkg/controller/garbagecollector` in Kubernetes, whose graph keeps virtual nodes for owners that were
//! never seen; here an owner that is not known is asked for whenever it matters, which needs no state.
//!
//! ```text
//! deleted with          the apiserver                                  this loop
//! Background            removes the object                             then deletes what it owned
//! Foreground            marks it, adds `foregroundDeletion`            deletes what it owns, then removes the finalizer
//! Orphan                marks it, adds `orphan`                        cuts what it owns loose, then removes the finalizer
//! ```
//!
//! | module | what it is |
//! | --- | --- |
//! | `node` | what is kept of an object |
//! | `graph` | who belongs to whom, and what follows from that |
//! | `watch` | where the graph learns of objects |

mod graph;
mod node;
#[cfg(test)]
mod tests;
mod watch;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::future::join_all;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, OwnerReference, Preconditions};
use kubelab_api::{
    Error, Reason, Resource,
    well_known::finalizer::{FOREGROUND, ORPHAN},
};
use kubelab_client::{Action, Client, Controller, Patch, controller::Key, queue::Queue};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::timeout;

use self::{
    graph::{Graph, Owner, Verdict},
    node::{Facts, Node, Slim, Uid, uid},
    watch::Watch,
};
use crate::Context;

const NAME: &str = "garbage-collector-controller";
/// How long to wait for all resources to be known: one that cannot be listed must not stop everything.
/// Source: `initialSyncTimeout`.
const PATIENCE: Duration = Duration::from_secs(30);
/// Upstream has 20 for each of its two queues; a lab's apiservers share two cores with everything else.
const WORKERS: usize = 10;

/// Runs the loop.
pub async fn run(context: Context) {
    let graph: Arc<Mutex<Graph>> = Arc::default();
    let queue = Queue::new("garbage_collector_attempt_to_delete");
    let watch = Watch::new(&context, &graph, &queue);
    let streams = watch.built_in(&context.caches);
    let all_synced = join_all(streams.iter().map(|(_, stream)| stream.synced()));
    if timeout(PATIENCE, all_synced).await.is_err() {
        let missing = streams.iter().filter(|(_, stream)| !stream.is_synced());
        let missing: Vec<String> = missing.map(|(resource, _)| resource.group_resource()).collect();
        tracing::warn!(
            ?missing,
            "going on without some resources: what belongs to their objects is looked up one by one"
        );
    }
    let this = Arc::new(Loop { client: context.client, graph, queue: queue.clone() });
    let collecting =
        Controller::new(NAME, queue).run_on(WORKERS, this, |this, key| async move { this.reconcile(key).await });
    tokio::join!(collecting, watch.custom(context.caches.of()));
}

struct Loop {
    client: Client,
    graph: Arc<Mutex<Graph>>,
    /// Uids, in the name's place.
    queue: Queue<Key>,
}

impl Loop {
    async fn reconcile(&self, key: Key) -> Result<Action, Error> {
        let Some(uid) = uid(&key.name) else { return Ok(Action::Done) };
        let Some(node) = lock(&self.graph).get(uid).cloned() else { return Ok(Action::Done) };
        let result = if node.waits_for_dependents() {
            self.delete_dependents(uid, &node).await
        } else if node.orphans_dependents() {
            self.orphan_dependents(uid, &node).await
        } else if node.is_deleting() {
            Ok(())
        } else {
            self.delete_if_garbage(uid, &node).await
        };
        match result {
            // It is gone already; its own deletion is on the way here.
            Err(error) if error.reason == Reason::NotFound => Ok(Action::Done),
            result => result.map(|()| Action::Done),
        }
    }

    /// Foreground: each dependent finds out by itself that its owner waits for it.
    async fn delete_dependents(&self, uid: Uid, node: &Node) -> Result<(), Error> {
        let is_blocked = {
            let graph = lock(&self.graph);
            for (dependent, _) in graph.dependents(uid).filter(|(_, dependent)| !dependent.is_deleting()) {
                self.queue.add(key(dependent));
            }
            graph.is_blocked(uid)
        };
        if is_blocked { Ok(()) } else { self.remove_finalizer(uid, node, FOREGROUND).await }
    }

    async fn orphan_dependents(&self, owner: Uid, node: &Node) -> Result<(), Error> {
        let dependents: Vec<(Uid, Node)> =
            lock(&self.graph).dependents(owner).map(|(uid, node)| (uid, node.clone())).collect();
        for (dependent, node) in dependents {
            let left = node.owners().iter().filter(|reference| uid(&reference.uid) != Some(owner)).cloned().collect();
            match self.set_owners(dependent, &node, left).await {
                Err(error) if error.reason != Reason::NotFound => return Err(error),
                _ => {}
            }
        }
        self.remove_finalizer(owner, node, ORPHAN).await
    }

    async fn delete_if_garbage(&self, uid: Uid, node: &Node) -> Result<(), Error> {
        let mut owners = Vec::with_capacity(node.owners().len());
        for reference in node.owners() {
            let owner = lock(&self.graph).owner(node, reference);
            owners.push(match owner {
                Owner::Unknown(resource) => self.ask_for(node, reference, &resource).await?,
                known => known,
            });
        }
        let (verdict, may_be_in_a_circle) = {
            let graph = lock(&self.graph);
            (graph.verdict(uid, node, &owners), graph.may_be_in_a_circle(uid))
        };
        match verdict {
            Verdict::Keep => Ok(()),
            Verdict::Reduce(owners) => self.set_owners(uid, node, owners).await,
            Verdict::Delete("Foreground") if may_be_in_a_circle => {
                let unblocked = node.owners().iter().cloned();
                let unblocked =
                    unblocked.map(|owner| OwnerReference { block_owner_deletion: Some(false), ..owner }).collect();
                self.set_owners(uid, node, unblocked).await?;
                self.delete(uid, node, "Foreground", false).await
            }
            Verdict::Delete(policy) => self.delete(uid, node, policy, true).await,
        }
    }

    /// Asks the apiserver for an owner that the graph does not know.
    async fn ask_for(&self, node: &Node, reference: &OwnerReference, resource: &Arc<Resource>) -> Result<Owner, Error> {
        let namespace = if resource.namespaced { node.namespace() } else { "" };
        let object = match self.client.get_dynamic(resource, namespace, &reference.name).await {
            Err(error) if error.reason == Reason::NotFound => return Ok(Owner::Dangling),
            result => Slim::deserialize(&result?).map_err(Error::internal)?,
        };
        // Another object of the same name is not the owner.
        if object.metadata.uid.as_ref() != Some(&reference.uid) {
            return Ok(Owner::Dangling);
        }
        let waits = Facts::of_slim(&object.metadata).is_some_and(|owner| owner.waits_for_dependents());
        Ok(if waits { Owner::Waiting } else { Owner::Solid })
    }

    async fn delete(&self, uid: Uid, node: &Node, policy: &str, as_known: bool) -> Result<(), Error> {
        let (kind, namespace, name) = (&node.resource.singular, node.namespace(), node.name());
        tracing::debug!(%kind, namespace, name, policy, "deleting what belongs to nobody");
        let options = DeleteOptions {
            propagation_policy: Some(policy.to_owned()),
            // What was written meanwhile may have got an owner.
            preconditions: Some(Preconditions {
                uid: Some(uid.to_string()),
                resource_version: node.resource_version().filter(|_| as_known),
            }),
            ..Default::default()
        };
        self.client.delete_dynamic(&node.resource, namespace, name, options).await
    }

    async fn set_owners(&self, uid: Uid, node: &Node, owners: Vec<OwnerReference>) -> Result<(), Error> {
        self.patch(uid, node, "ownerReferences", json!(owners)).await
    }

    async fn remove_finalizer(&self, uid: Uid, node: &Node, finalizer: &str) -> Result<(), Error> {
        let left: Vec<&String> = node.finalizers().iter().filter(|present| *present != finalizer).collect();
        self.patch(uid, node, "finalizers", json!(left)).await
    }

    async fn patch(&self, uid: Uid, node: &Node, field: &str, value: Value) -> Result<(), Error> {
        let value = if value == json!([]) { Value::Null } else { value };
        let version = node.resource_version();
        let patch = json!({"metadata": {"uid": uid.to_string(), "resourceVersion": version, field: value}});
        let patch = Patch::Merge(patch);
        self.client.patch_dynamic(&node.resource, node.namespace(), node.name(), patch).await.map(drop)
    }
}

fn lock(graph: &Mutex<Graph>) -> MutexGuard<'_, Graph> {
    graph.lock().unwrap_or_else(PoisonError::into_inner)
}

fn key(uid: Uid) -> Key {
    Key { namespace: String::new(), name: uid.to_string() }
}
