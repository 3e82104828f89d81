//! What all proxies of a process share: the Services, their endpoints and the nodes, as the apiserver has them.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
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
/// The longest that a change waits. Source: upstream's `minSyncPeriod`.
const MAX_SETTLE: Duration = Duration::from_secs(1);
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
    /// The nodes, by their names.
    pub nodes: Arc<Vec<NodeFacts>>,
    /// Which of them listen for load balancers.
    pub balancers: Arc<Balancers>,
}

impl View {
    /// The zone that a node says it is in.
    pub fn zone(&self, node: &str) -> Option<String> {
        let place = self.nodes.binary_search_by(|facts| facts.name.as_str().cmp(node)).ok()?;
        self.nodes[place].zone.clone()
    }
}

/// The mirrors and what is made of them.
pub struct Cluster {
    services: Cache<Service>,
    slices: Cache<EndpointSlice>,
    nodes: Arc<Nodes>,
    tracker: Arc<Mutex<Tracker>>,
    nodes_changed: Arc<AtomicBool>,
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
            nodes_changed: Arc::default(),
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

    fn settle(&self) -> Duration {
        let proxies = u32::try_from(self.view.receiver_count()).unwrap_or(u32::MAX);
        SETTLE.saturating_add(SETTLE_FOR_EACH.saturating_mul(proxies)).min(MAX_SETTLE)
    }

    fn facts(&self) -> Arc<Vec<NodeFacts>> {
        let mut facts: Vec<NodeFacts> = self.nodes.cache().list().iter().map(|node| NodeFacts::of(node)).collect();
        facts.sort_by(|a, b| a.name.cmp(&b.name));
        Arc::new(facts)
    }

    /// The cluster as it is now. What has not changed since `before` is taken from there.
    fn look(&self, before: Option<View>) -> View {
        let services = Arc::new(lock(&self.tracker).services());
        METRICS.service_changes_pending.set(0);
        METRICS.endpoint_changes_pending.set(0);
        let before = if self.nodes_changed.swap(false, Ordering::Relaxed) { None } else { before };
        let nodes = before.as_ref().map_or_else(|| self.facts(), |before| before.nodes.clone());
        let chosen = before.as_ref().map(|before| &*before.balancers);
        let balancers = Arc::new(Balancers::choose(&services, &nodes, chosen));
        View { services, nodes, balancers }
    }

    /// Follows the cluster until dropped.
    pub async fn run(&self) {
        tokio::join!(self.services.synced(), self.slices.synced(), self.nodes.synced());
        self.watch();
        loop {
            let before = self.view.borrow().clone();
            self.view.send_replace(Some(self.look(before)));
            self.changed.notified().await;
            clock::sleep(self.settle()).await;
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
        let (nodes_changed, changed) = (self.nodes_changed.clone(), self.changed.clone());
        self.nodes.cache().on_change(move |change| match change {
            // Heartbeats change nothing here.
            Change::Modified { old, new } if NodeFacts::of(old) == NodeFacts::of(new) => {}
            _ => {
                nodes_changed.store(true, Ordering::Relaxed);
                changed.notify_one();
            }
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
