//! What all proxies of a process share: the Services, their endpoints and the nodes, as the apiserver has them.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use k8s_openapi::api::{
    core::v1::{Node, Service},
    discovery::v1::EndpointSlice,
};
use kubelab_api::{meta::label, well_known::label::ZONE};
use kubelab_client::{Cache, Change, Client, Scope, clock, process::Connection};
use tokio::sync::{Notify, watch};

use crate::{
    dial::Nodes,
    metrics::METRICS,
    ports::wanted::Balancers,
    rules::{Services, Tracker},
};

/// Changes that come close together make one new table. Upstream waits a second (`minSyncPeriod`), since its tables are
/// dear; here a change should be seen at once.
const SETTLE: Duration = Duration::from_millis(10);
/// The same for each proxy that shares the process, so that many of them do not keep it busy.
const SETTLE_FOR_EACH: Duration = Duration::from_millis(1);
/// Keeps a node out of the service of load balancers. Source: `LabelNodeExcludeBalancers`.
const EXCLUDED: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

/// What concerns Services about a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeFacts {
    /// Its name.
    pub name: String,
    /// The zone that it says it is in.
    pub zone: Option<String>,
    /// It is well.
    pub ready: bool,
    /// No load balancer may use it.
    pub excluded: bool,
}

impl NodeFacts {
    fn of(node: &Node) -> Self {
        let status = node.status.as_ref();
        let conditions = status.into_iter().flat_map(|status| status.conditions.iter().flatten());
        Self {
            name: node.metadata.name.clone().unwrap_or_default(),
            zone: label(&node.metadata, ZONE).map(str::to_owned),
            ready: conditions.into_iter().any(|it| it.type_ == "Ready" && it.status == "True"),
            excluded: label(&node.metadata, EXCLUDED).is_some(),
        }
    }
}

/// The cluster at some moment.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// The Services with their endpoints.
    pub services: Arc<Services>,
    /// The nodes.
    pub nodes: Arc<Vec<NodeFacts>>,
    /// Which of them listen for load balancers.
    pub balancers: Arc<Balancers>,
}

/// The mirrors and what is made of them.
pub struct Cluster {
    services: Cache<Service>,
    slices: Cache<EndpointSlice>,
    nodes: Arc<Nodes>,
    tracker: Arc<Mutex<Tracker>>,
    changed: Arc<Notify>,
    view: watch::Sender<Option<View>>,
}

impl Cluster {
    /// Watches the cluster; `connection` is the identity that pods are reached with.
    pub fn new(client: &Client, connection: &Connection) -> anyhow::Result<Self> {
        let (services, slices) = (Cache::start(client, Scope::default()), Cache::start(client, Scope::default()));
        Ok(Self::of(services, slices, Arc::new(Nodes::new(client, connection)?)))
    }

    /// The same over mirrors that others use as well.
    pub fn of(services: Cache<Service>, slices: Cache<EndpointSlice>, nodes: Arc<Nodes>) -> Self {
        Self {
            services,
            slices,
            nodes,
            tracker: Arc::default(),
            changed: Arc::default(),
            view: watch::Sender::new(None),
        }
    }

    /// The cluster as it is; nothing until all of it is known.
    pub fn view(&self) -> watch::Receiver<Option<View>> {
        self.view.subscribe()
    }

    /// Ways to the nodes.
    pub fn nodes(&self) -> &Arc<Nodes> {
        &self.nodes
    }

    /// A Service.
    pub fn service(&self, namespace: &str, name: &str) -> Option<Arc<Service>> {
        self.services.get(namespace, name)
    }

    fn proxies(&self) -> u32 {
        u32::try_from(self.view.receiver_count()).unwrap_or(u32::MAX)
    }

    /// Follows the cluster until dropped.
    pub async fn run(&self) {
        tokio::join!(self.services.synced(), self.slices.synced(), self.nodes.synced());
        self.watch();
        loop {
            let nodes = self.nodes.cache().list();
            let mut facts: Vec<NodeFacts> = nodes.iter().map(|node| NodeFacts::of(node)).collect();
            facts.sort_by(|a, b| a.name.cmp(&b.name));
            let services = Arc::new(lock(&self.tracker).services());
            METRICS.service_changes_pending.set(0);
            METRICS.endpoint_changes_pending.set(0);
            let balancers = Arc::new(Balancers::choose(&services, &facts));
            self.view.send_replace(Some(View { services, nodes: Arc::new(facts), balancers }));
            self.changed.notified().await;
            clock::sleep(SETTLE + SETTLE_FOR_EACH.saturating_mul(self.proxies())).await;
        }
    }

    fn watch(&self) {
        let (tracker, changed) = (self.tracker.clone(), self.changed.clone());
        self.services.on_change(move |change| {
            match change {
                Change::Added(service) | Change::Modified { new: service, .. } => lock(&tracker).put_service(service),
                Change::Deleted(service) => lock(&tracker).remove_service(service),
            }
            METRICS.service_changes.inc();
            METRICS.service_changes_pending.inc();
            METRICS.last_queued.set(seconds());
            changed.notify_one();
        });
        let (tracker, changed) = (self.tracker.clone(), self.changed.clone());
        self.slices.on_change(move |change| {
            let mut tracker = lock(&tracker);
            match change {
                Change::Added(slice) => tracker.put_slice(slice),
                Change::Modified { old, new } => {
                    tracker.remove_slice(old);
                    tracker.put_slice(new);
                }
                Change::Deleted(slice) => tracker.remove_slice(slice),
            }
            METRICS.endpoint_changes.inc();
            METRICS.endpoint_changes_pending.inc();
            METRICS.last_queued.set(seconds());
            changed.notify_one();
        });
        let changed = self.changed.clone();
        self.nodes.cache().on_change(move |change| match change {
            // Heartbeats change nothing here.
            Change::Modified { old, new } if NodeFacts::of(old) == NodeFacts::of(new) => {}
            _ => changed.notify_one(),
        });
    }
}

/// The time as upstream's metrics show it.
pub fn seconds() -> f64 {
    clock::now().0.as_microsecond() as f64 / 1e6
}

fn lock(tracker: &Mutex<Tracker>) -> MutexGuard<'_, Tracker> {
    tracker.lock().unwrap_or_else(PoisonError::into_inner)
}
