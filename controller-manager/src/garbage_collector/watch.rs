//! Where the graph learns of objects: the caches that other loops have of whole objects, and streams of its own for all
//! other resources, of which nothing but the graph is kept.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use k8s_openapi::{
    api::{
        apps::v1::{ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet},
        batch::v1::{CronJob, Job},
        core::v1::{
            Endpoints, Namespace, Node as ClusterNode, PersistentVolume, PersistentVolumeClaim, Pod,
            ReplicationController, Service, ServiceAccount,
        },
        discovery::v1::EndpointSlice,
        storage::v1::VolumeAttachment,
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kubelab_api::{
    Resource,
    custom::resources,
    resource::{BUILT_IN, Verbs},
};
use kubelab_client::{
    Cache, Cause, Change, Client, Object,
    cache::{Mirror, Stream, follow},
    controller::Key,
    queue::Queue,
};
use tokio::{sync::Notify, time::timeout};

use super::{
    graph::Graph,
    key, lock,
    node::{Facts, Slim, Uid, uid},
};
use crate::{Context, context::Caches};

/// What belongs to objects of a kind that is gone is collected within this time; after it the kind counts as unknown.
const GRACE: Duration = Duration::from_secs(30);

/// Whole objects of these kinds are kept by other loops anyway.
static SHARED: [Shared; 18] = [
    Shared::of::<Pod>(),
    Shared::of::<ReplicaSet>(),
    Shared::of::<Deployment>(),
    Shared::of::<StatefulSet>(),
    Shared::of::<DaemonSet>(),
    Shared::of::<ControllerRevision>(),
    Shared::of::<ReplicationController>(),
    Shared::of::<Job>(),
    Shared::of::<CronJob>(),
    Shared::of::<Service>(),
    Shared::of::<EndpointSlice>(),
    Shared::of::<Endpoints>(),
    Shared::of::<ServiceAccount>(),
    Shared::of::<Namespace>(),
    Shared::of::<ClusterNode>(),
    Shared::of::<PersistentVolumeClaim>(),
    Shared::of::<PersistentVolume>(),
    Shared::of::<VolumeAttachment>(),
];

struct Shared {
    group: &'static str,
    kind: &'static str,
    follow: fn(&Watch, &Caches, &Arc<Resource>) -> Arc<Stream>,
}

impl Shared {
    const fn of<K: Object>() -> Self {
        Self { group: K::GROUP, kind: K::KIND, follow: Watch::cache::<K> }
    }

    fn find(resource: &Resource) -> Option<&'static Self> {
        SHARED.iter().find(|shared| shared.group == resource.group && shared.kind == resource.kind)
    }
}

/// Tells a graph of objects, and a queue of those that are to be looked at.
pub struct Watch {
    client: Client,
    graph: Arc<Mutex<Graph>>,
    queue: Queue<Key>,
}

impl Watch {
    /// For this graph and this queue.
    pub fn new(context: &Context, graph: &Arc<Mutex<Graph>>, queue: &Queue<Key>) -> Self {
        Self { client: context.client.clone(), graph: Arc::clone(graph), queue: queue.clone() }
    }

    /// Watches every built-in resource, for as long as the streams live.
    pub fn built_in(&self, caches: &Caches) -> Vec<(Arc<Resource>, Arc<Stream>)> {
        let start = |resource: &Resource| {
            let resource = Arc::new(resource.clone());
            let stream = match Shared::find(&resource) {
                Some(shared) => (shared.follow)(self, caches, &resource),
                None => self.stream(&resource),
            };
            (resource, stream)
        };
        collected().map(start).collect()
    }

    fn teller(&self, resource: &Arc<Resource>) -> Teller {
        Teller { resource: Arc::clone(resource), graph: Arc::clone(&self.graph), queue: self.queue.clone() }
    }

    fn stream(&self, resource: &Arc<Resource>) -> Arc<Stream> {
        Arc::new(follow(&self.client, resource, Arc::new(self.teller(resource))))
    }

    fn cache<K: Object>(&self, caches: &Caches, resource: &Arc<Resource>) -> Arc<Stream> {
        let (cache, teller) = (caches.of::<K>(), self.teller(resource));
        cache.on_change(move |change| match change {
            Change::Added(object) | Change::Modified { new: object, .. } => teller.is(Facts::of(object.metadata())),
            Change::Deleted(object) => teller.is_gone(object.metadata().uid.as_deref()),
        });
        cache.stream()
    }

    /// Watches custom resources as their definitions come and go.
    pub async fn custom(&self, definitions: Cache<CustomResourceDefinition>) {
        let changed = Arc::new(Notify::new());
        let notify = Arc::clone(&changed);
        definitions.on_change(move |_| notify.notify_one());
        let mut watched: HashMap<String, (Arc<Resource>, Arc<Stream>)> = HashMap::new();
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
                    self.look_at(lock(&self.graph).keep(resource, &HashSet::new()));
                }
                stays
            });
            if settled {
                known.retain(|topic, _| served.contains_key(topic));
            }
            known.extend(served.iter().map(|(topic, resource)| (topic.clone(), Arc::clone(resource))));
            self.look_at(lock(&self.graph).know(known.values().cloned().collect()));
            for (topic, resource) in served {
                watched.entry(topic).or_insert_with(|| (Arc::clone(&resource), self.stream(&resource)));
            }
        }
    }

    fn look_at(&self, objects: Vec<Uid>) {
        objects.into_iter().for_each(|uid| self.queue.add(key(uid)));
    }
}

/// Tells the graph of the objects of one resource.
struct Teller {
    resource: Arc<Resource>,
    graph: Arc<Mutex<Graph>>,
    queue: Queue<Key>,
}

impl Teller {
    fn is(&self, facts: Option<Facts<'_>>) {
        let Some(facts) = facts else { return };
        let affected = lock(&self.graph).put(&self.resource, &facts);
        self.look_at(affected);
    }

    fn is_gone(&self, gone: Option<&str>) {
        let Some(gone) = gone.and_then(uid) else { return };
        let affected = lock(&self.graph).remove(gone);
        self.look_at(affected);
    }

    fn look_at(&self, objects: Vec<Uid>) {
        objects.into_iter().for_each(|uid| self.queue.add(key(uid)));
    }
}

impl Mirror for Teller {
    type Object = Slim;
    type Seen = HashSet<Uid>;

    fn see(seen: &mut HashSet<Uid>, object: &Slim) {
        seen.extend(object.metadata.uid.as_deref().and_then(uid));
    }

    fn put(&self, object: Slim, cause: Cause) {
        cause.sync_scope(|| self.is(Facts::of_slim(&object.metadata)));
    }

    fn delete(&self, object: Slim, cause: Cause) {
        cause.sync_scope(|| self.is_gone(object.metadata.uid.as_deref()));
    }

    fn keep(&self, seen: &HashSet<Uid>, cause: Cause) {
        let affected = lock(&self.graph).keep(&self.resource, seen);
        cause.sync_scope(|| self.look_at(affected));
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_resource_is_watched_once() {
        let names: Vec<String> = collected().map(Resource::group_resource).collect();
        let count = |name: &str| names.iter().filter(|other| *other == name).count();
        assert_eq!(count("horizontalpodautoscalers.autoscaling"), 1);
        assert_eq!(count("pods"), 1);
        assert_eq!(count("events") + count("leases.coordination.k8s.io") + count("bindings"), 0);
    }

    #[test]
    fn what_is_shared_is_a_resource() {
        for Shared { group, kind, .. } in &SHARED {
            assert!(collected().any(|resource| resource.group == *group && resource.kind == *kind), "{kind}");
        }
    }
}
