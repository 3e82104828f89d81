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

mod graph;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::future::join_all;
use k8s_openapi::{
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
    apimachinery::pkg::apis::meta::v1::{DeleteOptions, OwnerReference, Preconditions},
};
use kubelab_api::{
    Error, Reason, Resource,
    custom::resources,
    meta::is_deleting,
    resource::{BUILT_IN, Verbs},
    well_known::finalizer::{FOREGROUND, ORPHAN},
};
use kubelab_client::{Action, Cache, Client, Controller, Partial, Patch, Scope, controller::Key, queue::Queue};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{sync::Notify, time::timeout};

use self::graph::{Graph, Node, Owner, Uid, Verdict, uid_of};
use crate::Context;

const NAME: &str = "garbage-collector-controller";
/// How long to wait for all resources to be known: one that cannot be listed must not stop everything.
/// Source: `initialSyncTimeout`.
const PATIENCE: Duration = Duration::from_secs(30);
/// Upstream has 20 for each of its two queues; a lab's apiservers share two cores with everything else.
const WORKERS: usize = 10;

/// What belongs to objects of a kind that is gone is collected within this time; after it the kind counts as unknown.
const GRACE: Duration = Duration::from_secs(30);

/// Runs the loop.
pub async fn run(context: Context) {
    let definitions: Cache<CustomResourceDefinition> = context.caches.of();
    let caches: Vec<(Arc<Resource>, Cache<Partial>)> = collected()
        .map(|resource| Arc::new(resource.clone()))
        .map(|resource| {
            let cache = Cache::start_dynamic(&context.client, &resource, Scope::default());
            (resource, cache)
        })
        .collect();
    let all_synced = join_all(caches.iter().map(|(_, cache)| cache.synced()));
    if timeout(PATIENCE, all_synced).await.is_err() {
        let missing = caches.iter().filter(|(_, cache)| !cache.is_synced());
        let missing: Vec<String> = missing.map(|(resource, _)| resource.group_resource()).collect();
        tracing::warn!(
            ?missing,
            "going on without some resources: what belongs to their objects is looked up one by one"
        );
    }
    let this = Arc::new(Loop { client: context.client, graph: Arc::default(), queue: Queue::new(NAME) });
    for (resource, cache) in &caches {
        this.watch(resource, cache);
    }
    let following = Arc::clone(&this);
    let collecting = Controller::new(NAME, this.queue.clone()).run(WORKERS, move |key| {
        let this = Arc::clone(&this);
        async move { this.reconcile(key).await }
    });
    tokio::join!(collecting, following.follow(definitions));
}

struct Loop {
    client: Client,
    graph: Arc<Mutex<Graph>>,
    /// Uids, in the name's place.
    queue: Queue<Key>,
}

impl Loop {
    fn watch(&self, resource: &Arc<Resource>, cache: &Cache<Partial>) {
        let (graph, queue, resource) = (Arc::clone(&self.graph), self.queue.clone(), Arc::clone(resource));
        cache.on_change(move |change| {
            for uid in lock(&graph).apply(&resource, change) {
                queue.add(key(uid));
            }
        });
    }

    /// Watches custom resources as their definitions come and go.
    async fn follow(&self, definitions: Cache<CustomResourceDefinition>) {
        let changed = Arc::new(Notify::new());
        let notify = Arc::clone(&changed);
        definitions.on_change(move |_| notify.notify_one());
        let mut watched: HashMap<String, (Arc<Resource>, Cache<Partial>)> = HashMap::new();
        // What was served a moment ago stays known for a while: its objects' dependents are still to be collected.
        let mut known: HashMap<String, Arc<Resource>> = HashMap::new();
        loop {
            let settled = timeout(GRACE, changed.notified()).await.is_err();
            let served: HashMap<String, Arc<Resource>> = definitions
                .list()
                .iter()
                .filter_map(|definition| resources(definition).into_iter().next())
                .map(|resource| (resource.topic(), Arc::new(resource)))
                .collect();
            watched.retain(|topic, (resource, _)| {
                let stays = served.get(topic).is_some_and(|now| now.version == resource.version);
                if !stays {
                    self.look_at(lock(&self.graph).forget(topic));
                }
                stays
            });
            if settled {
                known.retain(|topic, _| served.contains_key(topic));
            }
            known.extend(served.iter().map(|(topic, resource)| (topic.clone(), Arc::clone(resource))));
            self.look_at(lock(&self.graph).know(known.values().cloned().collect()));
            for (topic, resource) in served {
                watched.entry(topic).or_insert_with(|| {
                    let cache = Cache::start_dynamic(&self.client, &resource, Scope::default());
                    self.watch(&resource, &cache);
                    (resource, cache)
                });
            }
        }
    }

    fn look_at(&self, objects: Vec<Uid>) {
        objects.into_iter().for_each(|uid| self.queue.add(key(uid)));
    }

    async fn reconcile(&self, key: Key) -> Result<Action, Error> {
        let uid = key.name;
        let Some(node) = lock(&self.graph).get(&uid).cloned() else { return Ok(Action::Done) };
        let result = if node.waits_for_dependents() {
            self.delete_dependents(&uid, &node).await
        } else if node.orphans_dependents() {
            self.orphan_dependents(&uid, &node).await
        } else if is_deleting(node.meta()) {
            Ok(())
        } else {
            self.delete_if_garbage(&node).await
        };
        match result {
            // It is gone already; its own deletion is on the way here.
            Err(error) if error.reason == Reason::NotFound => Ok(Action::Done),
            result => result.map(|()| Action::Done),
        }
    }

    /// Foreground: each dependent finds out by itself that its owner waits for it.
    async fn delete_dependents(&self, uid: &str, node: &Node) -> Result<(), Error> {
        let is_blocked = {
            let graph = lock(&self.graph);
            for dependent in graph.dependents(uid).filter(|dependent| !is_deleting(dependent.meta())) {
                self.queue.add(key(uid_of(dependent.meta())));
            }
            graph.is_blocked(uid)
        };
        if is_blocked { Ok(()) } else { self.remove_finalizer(node, FOREGROUND).await }
    }

    async fn orphan_dependents(&self, uid: &str, node: &Node) -> Result<(), Error> {
        let dependents: Vec<Node> = lock(&self.graph).dependents(uid).cloned().collect();
        for dependent in dependents {
            let left = dependent.owners().iter().filter(|owner| owner.uid != uid).cloned().collect();
            match self.set_owners(&dependent, left).await {
                Err(error) if error.reason != Reason::NotFound => return Err(error),
                _ => {}
            }
        }
        self.remove_finalizer(node, ORPHAN).await
    }

    async fn delete_if_garbage(&self, node: &Node) -> Result<(), Error> {
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
            (graph.verdict(node, &owners), graph.may_be_in_a_circle(&uid_of(node.meta())))
        };
        match verdict {
            Verdict::Keep => Ok(()),
            Verdict::Reduce(owners) => self.set_owners(node, owners).await,
            Verdict::Delete("Foreground") if may_be_in_a_circle => {
                let unblocked = node.owners().iter().cloned();
                let unblocked =
                    unblocked.map(|owner| OwnerReference { block_owner_deletion: Some(false), ..owner }).collect();
                self.set_owners(node, unblocked).await?;
                self.delete(node, "Foreground", false).await
            }
            Verdict::Delete(policy) => self.delete(node, policy, true).await,
        }
    }

    /// Asks the apiserver for an owner that the graph does not know.
    async fn ask_for(&self, node: &Node, reference: &OwnerReference, resource: &Arc<Resource>) -> Result<Owner, Error> {
        let namespace = node.meta().namespace.as_deref().filter(|_| resource.namespaced).unwrap_or_default();
        let object = match self.client.get_dynamic(resource, namespace, &reference.name).await {
            Err(error) if error.reason == Reason::NotFound => return Ok(Owner::Dangling),
            result => result?,
        };
        let object = Arc::new(Partial::deserialize(&object).map_err(Error::internal)?);
        // Another object of the same name is not the owner.
        if object.metadata.uid.as_ref() != Some(&reference.uid) {
            return Ok(Owner::Dangling);
        }
        let owner = Node { resource: Arc::clone(resource), object };
        Ok(if owner.waits_for_dependents() { Owner::Waiting } else { Owner::Solid })
    }

    async fn delete(&self, node: &Node, policy: &str, as_known: bool) -> Result<(), Error> {
        let meta = node.meta();
        tracing::debug!(object = %describe(node), policy, "deleting what belongs to nobody");
        let options = DeleteOptions {
            propagation_policy: Some(policy.to_owned()),
            // What was written meanwhile may have got an owner.
            preconditions: Some(Preconditions {
                uid: meta.uid.clone(),
                resource_version: meta.resource_version.clone().filter(|_| as_known),
            }),
            ..Default::default()
        };
        let (namespace, name) = names(node);
        self.client.delete_dynamic(&node.resource, namespace, name, options).await
    }

    async fn set_owners(&self, node: &Node, owners: Vec<OwnerReference>) -> Result<(), Error> {
        self.patch(node, "ownerReferences", json!(owners)).await
    }

    async fn remove_finalizer(&self, node: &Node, finalizer: &str) -> Result<(), Error> {
        let mut left = node.meta().finalizers.clone().unwrap_or_default();
        left.retain(|present| present != finalizer);
        self.patch(node, "finalizers", json!(left)).await
    }

    async fn patch(&self, node: &Node, field: &str, value: Value) -> Result<(), Error> {
        let value = if value == json!([]) { Value::Null } else { value };
        let version = &node.meta().resource_version;
        let patch = json!({"metadata": {"uid": node.meta().uid, "resourceVersion": version, field: value}});
        let (namespace, name) = names(node);
        self.client.patch_dynamic(&node.resource, namespace, name, Patch::Merge(patch)).await.map(drop)
    }
}

fn lock(graph: &Mutex<Graph>) -> MutexGuard<'_, Graph> {
    graph.lock().unwrap_or_else(PoisonError::into_inner)
}

fn key(uid: Uid) -> Key {
    Key { namespace: String::new(), name: uid }
}

fn names(node: &Node) -> (&str, &str) {
    (node.meta().namespace.as_deref().unwrap_or_default(), node.meta().name.as_deref().unwrap_or_default())
}

fn describe(node: &Node) -> String {
    format!("{}/{}", node.resource.singular, Key::of(&*node.object))
}

/// Every resource that is watched, in one version each.
fn collected() -> impl Iterator<Item = &'static Resource> {
    let is_first =
        |index: usize, resource: &Resource| !BUILT_IN[..index].iter().any(|other| other.topic() == resource.topic());
    BUILT_IN
        .iter()
        .enumerate()
        .filter(|(_, resource)| resource.verbs == Verbs::All && !matches!(&*resource.plural, "events" | "leases"))
        .filter(move |(index, resource)| is_first(*index, resource))
        .map(|(_, resource)| resource)
}
