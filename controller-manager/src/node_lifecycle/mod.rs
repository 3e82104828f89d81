//! Notices nodes that fall silent, says so in their conditions, taints and pods.
//!
//! Watches nodes, their leases and pods. Writes nodes' conditions and taints, and the readiness of pods on nodes that do
//! not work. Their pods are deleted by [`crate::taint_eviction`].
//! Source: `pkg/controller/nodelifecycle/node_lifecycle_controller.go` in Kubernetes.
//!
//! | module | what it is |
//! | --- | --- |
//! | `health` | signs of life |
//! | `taints` | which taints a node should have |
//! | `disruption` | how fast pods may be evicted when many nodes fail |
//! | `metrics` | what is counted of all this |

mod disruption;
mod health;
mod metrics;
mod taints;

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use k8s_openapi::api::{
    coordination::v1::Lease,
    core::v1::{Node, Pod, PodCondition, Taint},
};
use kubelab_api::{
    Error, Reason,
    pod::{self, node_name},
    well_known::namespace::NODE_LEASE,
};
use kubelab_client::{
    Action, Cache, Change, Client, Controller, Patch, Recorder,
    clock::{self, Instant},
    controller::Key,
    queue::Queue,
    recorder::Kind,
};
use serde_json::json;

pub use self::health::is_ready;
use self::{
    disruption::{Limits, Pace, Zone, paces, zone_of},
    health::{Grace, Heartbeat, READY, condition, unknown_conditions},
    metrics::METRICS,
    taints::{Eviction, awaits_eviction},
};
use crate::Context;

const NAME: &str = "node-lifecycle-controller";
/// The recorder of these events upstream.
const COMPONENT: &str = "node-controller";
/// Source: `scheduler.UpdateWorkerSize`.
const WORKERS: usize = 8;

/// Runs the loop.
pub async fn run(context: Context) {
    let this = Arc::new(Loop {
        client: context.client.clone(),
        recorder: context.recorder(COMPONENT),
        nodes: context.caches.of(),
        leases: context.caches.of(),
        pods: context.caches.of(),
        period: context.options.node_monitor_period,
        grace: Grace {
            usual: context.options.node_monitor_grace_period,
            startup: context.options.node_startup_grace_period,
        },
        limits: Limits {
            rate: context.options.node_eviction_rate,
            secondary_rate: context.options.secondary_node_eviction_rate,
            unhealthy: context.options.unhealthy_zone_threshold,
            large: context.options.large_cluster_size_threshold,
        },
        zones: Mutex::default(),
        queue: Queue::new("node_lifecycle_controller"),
    });
    tokio::join!(this.nodes.synced(), this.leases.synced(), this.pods.synced());
    this.watch();
    let monitor = Arc::clone(&this);
    let reconcile = Controller::new(NAME, this.queue.clone())
        .run_on(WORKERS, this, |this, key| async move { this.reconcile(key).await });
    tokio::join!(monitor.monitor(), reconcile);
}

struct Loop {
    client: Client,
    recorder: Recorder,
    nodes: Cache<Node>,
    leases: Cache<Lease>,
    pods: Cache<Pod>,
    period: Duration,
    grace: Grace,
    limits: Limits,
    zones: Mutex<HashMap<Zone, Evictions>>,
    queue: Queue<Key>,
}

/// What may happen in a zone, and when its next node's turn is.
struct Evictions {
    pace: Pace,
    next: Instant,
}

impl Loop {
    fn watch(&self) {
        let (queue, recorder) = (self.queue.clone(), self.recorder.clone());
        self.nodes.on_change(move |change| {
            let node = change.object();
            let name = node.metadata.name.as_deref().unwrap_or_default();
            let tell = |reason: &str, what: String| {
                recorder.event(&**node, Kind::Normal, reason, format!("Node {name} event: {what}"));
            };
            match change {
                Change::Added(_) => tell("RegisteredNode", format!("Registered Node {name} in Controller")),
                Change::Deleted(_) => tell("RemovingNode", format!("Removing Node {name} from Controller")),
                // A heartbeat alone changes nothing here.
                Change::Modified { old, new } if facts(old) == facts(new) => return,
                Change::Modified { .. } => {}
            }
            queue.add(Key::of(&**node));
        });
        // Leases of nodes that went while nobody looked. A lease without an owner may be older than its node.
        for lease in self.leases.list_in(NODE_LEASE) {
            let name = lease.metadata.name.clone().unwrap_or_default();
            if lease.metadata.owner_references.is_some() && self.nodes.get("", &name).is_none() {
                self.queue.add(Key { namespace: String::new(), name });
            }
        }
    }

    /// Looks at all nodes, again and again.
    async fn monitor(&self) {
        let mut heartbeats: HashMap<String, Heartbeat> = HashMap::new();
        let mut last = clock::instant();
        loop {
            let now = clock::instant();
            // Stopped, or starved: the nodes may have spoken meanwhile, and their words may still be on the way.
            if now.saturating_duration_since(last) > 2 * self.period + Duration::from_secs(1) {
                heartbeats.values_mut().for_each(|heartbeat| heartbeat.forgive(now));
            }
            last = now;
            let nodes = self.nodes.list();
            heartbeats.retain(|name, _| self.nodes.get("", name).is_some());
            let mut silent = HashSet::new();
            for node in &nodes {
                let name = node.metadata.name.clone().unwrap_or_default();
                let lease = self.leases.get(NODE_LEASE, &name);
                let heartbeat = Heartbeat::observe(heartbeats.get(&name), node, lease.as_deref(), now);
                if heartbeat.is_overdue(self.grace, now) {
                    silent.insert(name.clone());
                }
                heartbeats.insert(name, heartbeat);
            }
            let is_silent = |node: &Node| silent.contains(node.metadata.name.as_deref().unwrap_or_default());
            // The pace comes first: once a node's status tells of its silence, its pods' turn may come at any time.
            self.set_paces(&nodes, is_silent, now);
            for node in nodes.iter().filter(|node| is_silent(node)) {
                if let Err(error) = self.declare_unknown(node).await {
                    let name = &node.metadata.name;
                    tracing::warn!(name, %error, "cannot say in the node's status that it is silent; will try again");
                }
            }
            for node in nodes.iter().filter(|node| awaits_eviction(node)) {
                self.queue.add(Key::of(&**node));
            }
            METRICS.all_nodes_seconds.observe(now.elapsed().as_secs_f64());
            clock::sleep(self.period).await;
        }
    }

    async fn declare_unknown(&self, node: &Node) -> Result<(), Error> {
        let conditions = unknown_conditions(node, &clock::now());
        if conditions.is_empty() {
            return Ok(());
        }
        let name = node.metadata.name.as_deref().unwrap_or_default();
        let patch = json!({"metadata": {"uid": node.metadata.uid}, "status": {"conditions": conditions}});
        self.client.patch_status::<Node>("", name, Patch::Strategic(patch)).await?;
        let message = format!("Node {name} status is now: NodeNotReady");
        self.recorder.event(node, Kind::Normal, "NodeNotReady", message);
        Ok(())
    }

    fn set_paces(&self, nodes: &[Arc<Node>], is_silent: impl Fn(&Node) -> bool, now: Instant) {
        let works = || nodes.iter().map(|node| (zone_of(node), is_ready(node) && !is_silent(node)));
        METRICS.zones(works());
        let paces = paces(works(), &self.limits);
        let mut zones = self.zones();
        zones.retain(|zone, _| paces.contains_key(zone));
        for (zone, pace) in paces {
            let evictions = zones.entry(zone).or_insert(Evictions { pace, next: now });
            if evictions.pace != pace {
                tracing::info!(?pace, "the pace of evictions changes");
                // Those that were tainted before blindness set in are withdrawn, node by node.
                if pace == Pace::Blind {
                    nodes.iter().for_each(|node| self.queue.add(Key::of(&**node)));
                }
                evictions.pace = pace;
            }
        }
    }

    fn zones(&self) -> MutexGuard<'_, HashMap<Zone, Evictions>> {
        self.zones.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is this node's turn; taking the turn, if so.
    fn take_turn(&self, node: &Node) -> Eviction {
        let now = clock::instant();
        match self.zones().get_mut(&zone_of(node)) {
            Some(Evictions { pace: Pace::Blind, .. }) => Eviction::Withdraw,
            Some(Evictions { pace: Pace::Every(interval), next }) if awaits_eviction(node) && *next <= now => {
                *next = now + *interval;
                METRICS.evicted(&zone_of(node));
                Eviction::Begin
            }
            _ => Eviction::Hold,
        }
    }

    async fn reconcile(&self, key: Key) -> Result<Action, Error> {
        let Some(node) = self.nodes.get("", &key.name) else {
            self.delete_lease(&key.name).await?;
            return Ok(Action::Done);
        };
        let began = clock::instant();
        if let Some(taints) = taints::wanted(&node, self.take_turn(&node), &clock::now()) {
            let version = &node.metadata.resource_version;
            let taints = Some(taints).filter(|taints| !taints.is_empty());
            let patch = json!({"metadata": {"resourceVersion": version}, "spec": {"taints": taints}});
            self.client.patch::<Node>("", &key.name, Patch::Merge(patch)).await?;
        }
        if condition(&node, READY).is_some() && !is_ready(&node) {
            self.mark_pods_not_ready(&key.name).await?;
        }
        METRICS.node_seconds.observe(began.elapsed().as_secs_f64());
        Ok(Action::Done)
    }

    /// Services must stop sending to pods whose node does not work, long before they are deleted.
    async fn mark_pods_not_ready(&self, node: &str) -> Result<(), Error> {
        for pod in self.pods.list() {
            if node_name(&pod) != Some(node) || !pod::is_ready(&pod) {
                continue;
            }
            let ready = pod::get_condition(&pod, pod::condition::READY).cloned().unwrap_or_default();
            let ready = PodCondition { status: "False".to_owned(), last_transition_time: Some(clock::now()), ..ready };
            let patch = json!({"metadata": {"uid": pod.metadata.uid}, "status": {"conditions": [ready]}});
            let key = Key::of(&*pod);
            self.recorder.event(&*pod, Kind::Warning, "NodeNotReady", "Node is not ready");
            match self.client.patch_status::<Pod>(&key.namespace, &key.name, Patch::Strategic(patch)).await {
                Err(error) if error.reason != Reason::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// The garbage collector leaves Leases alone, as nothing else is written as often; a gone node's is removed here.
    async fn delete_lease(&self, node: &str) -> Result<(), Error> {
        if self.leases.get(NODE_LEASE, node).is_none() {
            return Ok(());
        }
        match self.client.delete::<Lease>(NODE_LEASE, node, Default::default()).await {
            Err(error) if error.reason != Reason::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// All about a node that shows in taints or pods.
fn facts(node: &Node) -> impl PartialEq + use<'_> {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let conditions: Vec<(&str, &str)> =
        conditions.map(|condition| (condition.type_.as_str(), condition.status.as_str())).collect();
    let spec = node.spec.as_ref();
    let taints: Option<&Vec<Taint>> = spec.and_then(|spec| spec.taints.as_ref());
    (conditions, taints, spec.and_then(|spec| spec.unschedulable))
}
