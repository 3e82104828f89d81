//! What is watched, and which of its changes may help a pod that waits.

use std::sync::Arc;

use k8s_openapi::api::{
    apps::v1::{ReplicaSet, StatefulSet},
    core::v1::{Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod, ReplicationController, Service},
    policy::v1::PodDisruptionBudget,
    storage::v1::{CSIDriver, CSINode, CSIStorageCapacity, StorageClass, VolumeAttachment},
};
use kubelab_api::pod;
use kubelab_client::{Cache, Change, Client, Object, Scope};

use super::shared::Shared;
use crate::framework::{ClusterEvent, Objects, Store};

/// Pods that have ended take no room; they are not mirrored at all. Source: upstream's `NewInformerFactory`.
const NOT_ENDED: &str = "status.phase!=Succeeded,status.phase!=Failed";

/// The mirrors; they end when this is dropped.
pub struct Mirrors {
    pub pods: Cache<Pod>,
    pub nodes: Cache<Node>,
    others: Vec<Box<dyn Synced>>,
}

trait Synced: Send + Sync {
    fn synced(&self) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

impl<K: Object> Synced for Cache<K> {
    fn synced(&self) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(self.synced())
    }
}

impl Mirrors {
    /// Starts them all; they keep `shared` up to date.
    pub fn start(client: &Client, shared: &Arc<Shared>) -> Self {
        let scope = Scope { fields: NOT_ENDED.to_owned(), ..Scope::default() };
        let (nodes, pods) = (Cache::start(client, Scope::default()), Cache::start_with(client, scope, pod::trim));
        nodes.on_change({
            let shared = shared.clone();
            move |change| shared.node_changed(change)
        });
        pods.on_change({
            let shared = shared.clone();
            move |change| shared.pod_changed(change)
        });
        let others = vec![
            mirror::<Namespace>(client, shared, |objects| &objects.namespaces, |_| None),
            mirror::<Service>(client, shared, |objects| &objects.services, |_| None),
            mirror::<ReplicationController>(client, shared, |objects| &objects.replication_controllers, |_| None),
            mirror::<ReplicaSet>(client, shared, |objects| &objects.replica_sets, |_| None),
            mirror::<StatefulSet>(client, shared, |objects| &objects.stateful_sets, |_| None),
            mirror::<PodDisruptionBudget>(client, shared, |objects| &objects.budgets, |_| None),
            mirror::<PersistentVolumeClaim>(
                client,
                shared,
                |objects| &objects.claims,
                |change| {
                    let (_, new) = states(change)?;
                    Some(ClusterEvent::Claim(new))
                },
            ),
            mirror::<PersistentVolume>(
                client,
                shared,
                |objects| &objects.volumes,
                |change| {
                    let (old, new) = states(change)?;
                    Some(ClusterEvent::Volume { old, new })
                },
            ),
            mirror::<StorageClass>(
                client,
                shared,
                |objects| &objects.classes,
                |change| {
                    let (old, new) = states(change)?;
                    Some(ClusterEvent::Class { old, new })
                },
            ),
            mirror::<CSINode>(
                client,
                shared,
                |objects| &objects.csi_nodes,
                |change| {
                    let (old, new) = states(change)?;
                    Some(ClusterEvent::CsiNode { old, new })
                },
            ),
            mirror::<CSIDriver>(
                client,
                shared,
                |objects| &objects.csi_drivers,
                |change| {
                    let (old, new) = states(change)?;
                    old.map(|old| ClusterEvent::CsiDriver { old, new })
                },
            ),
            mirror::<CSIStorageCapacity>(
                client,
                shared,
                |objects| &objects.capacities,
                |change| {
                    let (old, new) = states(change)?;
                    Some(ClusterEvent::Capacity { old, new })
                },
            ),
            mirror::<VolumeAttachment>(
                client,
                shared,
                |objects| &objects.attachments,
                |change| match change {
                    Change::Deleted(attachment) => Some(ClusterEvent::Detached(attachment.clone())),
                    _ => None,
                },
            ),
        ];
        Self { pods, nodes, others }
    }

    /// Waits until everything is known.
    pub async fn synced(&self) {
        for other in &self.others {
            other.synced().await;
        }
        self.nodes.synced().await;
        self.pods.synced().await;
    }
}

/// As it was, if it was, and as it is, if it is.
fn states<K>(change: &Change<K>) -> Option<(Option<Arc<K>>, Arc<K>)> {
    match change {
        Change::Added(new) => Some((None, new.clone())),
        Change::Modified { old, new } => Some((Some(old.clone()), new.clone())),
        Change::Deleted(_) => None,
    }
}

fn mirror<K: Object>(
    client: &Client,
    shared: &Arc<Shared>,
    store: fn(&Objects) -> &Store<K>,
    event: fn(&Change<K>) -> Option<ClusterEvent>,
) -> Box<dyn Synced> {
    let cache = Cache::<K>::start(client, Scope::default());
    let shared = shared.clone();
    cache.on_change(move |change| {
        let store = store(&shared.objects);
        match change {
            Change::Added(new) | Change::Modified { new, .. } => store.put(new.clone()),
            Change::Deleted(old) => store.remove(old),
        }
        shared.object_changed(event(change));
    });
    Box::new(cache)
}
