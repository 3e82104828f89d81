//! The scheduler's work: what it watches keeps queue and cluster up to date; pods are placed one after the other and bound
//! in parallel.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use k8s_openapi::api::core::v1::{Node, Pod, PodCondition};
use kubelab_api::{Reason, pod};
use kubelab_client::{Cache, Cause, Change, Client, Error, Patch, Recorder, Scope, clock, recorder::Kind};
use serde_json::json;
use tokio::{
    sync::{Notify, Semaphore},
    task::JoinSet,
};

use crate::{
    cluster::Cluster,
    cycle::{Cycle, Failure},
    framework::{ClusterEvent, PodInfo, Profile, Snapshot},
    metrics::{Attempt, METRICS},
    queue::{Queue, QueuedPod},
};

/// How many bindings and status updates are under way at most; the next pod waits for one of them.
const UNDER_WAY: usize = 64;
/// Pods that have ended take no room; they are not mirrored at all. Source: upstream's `NewInformerFactory`.
const NOT_ENDED: &str = "status.phase!=Succeeded,status.phase!=Failed";
/// The longest message that an event may have. Source: `NoteLengthLimit`.
const MESSAGE_LIMIT: usize = 1024;

/// A scheduler that has begun to mirror the cluster. It places pods while [`Scheduler::run`] runs.
pub struct Scheduler {
    pods: Cache<Pod>,
    nodes: Cache<Node>,
    work: Work,
}

/// What placing and binding share.
#[derive(Clone)]
struct Work {
    client: Client,
    recorder: Recorder,
    profile: Arc<Profile>,
    pods: Cache<Pod>,
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    /// A pod may wait that did not before.
    changed: Notify,
    scheduler_name: &'static str,
}

struct State {
    cluster: Cluster,
    queue: Queue,
}

impl Scheduler {
    /// Starts mirroring pods and nodes.
    pub fn new(client: &Client) -> Self {
        let profile = Arc::new(Profile::default());
        let state = State { cluster: Cluster::default(), queue: Queue::new(profile.clone()) };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            changed: Notify::new(),
            scheduler_name: profile.scheduler_name,
        });
        let scope = Scope { fields: NOT_ENDED.to_owned(), ..Scope::default() };
        let (nodes, pods) = (Cache::start(client, Scope::default()), Cache::start(client, scope));
        nodes.on_change({
            let shared = shared.clone();
            move |change| shared.node_changed(change)
        });
        pods.on_change({
            let shared = shared.clone();
            move |change| shared.pod_changed(change)
        });
        let recorder = Recorder::new(client, profile.scheduler_name, "");
        let work = Work { client: client.clone(), recorder, profile, pods: pods.clone(), shared };
        Self { pods, nodes, work }
    }

    /// Waits until all pods and nodes are known.
    pub async fn synced(&self) {
        self.nodes.synced().await;
        self.pods.synced().await;
    }

    /// Places pods until dropped; bindings under way are then given up, and whoever leads next sees what came of them.
    pub async fn run(&self) {
        let work = &self.work;
        let (mut cycle, mut snapshot) = (Cycle::default(), Snapshot::default());
        let slots = Arc::new(Semaphore::new(UNDER_WAY));
        let mut under_way = JoinSet::new();
        while let Ok(slot) = slots.clone().acquire_owned().await {
            while under_way.try_join_next().is_some() {}
            let queued = work.shared.next().await;
            if work.is_settled(&queued) {
                work.shared.lock().queue.done(queued.info.uid());
                continue;
            }
            work.shared.lock().cluster.update(&mut snapshot);
            let start = clock::instant();
            let outcome = cycle.place(&work.profile, &snapshot, &queued.info);
            METRICS.algorithm.observe(start.elapsed().as_secs_f64());
            let work = work.clone();
            match outcome {
                Ok(placement) => {
                    work.shared.lock().cluster.assume(queued.info.clone(), &placement.node);
                    under_way.spawn(async move {
                        let _slot = slot;
                        queued.cause.clone().scope(work.bind(queued, &placement.node)).await;
                    });
                }
                Err(failure) => {
                    under_way.spawn(async move {
                        let _slot = slot;
                        queued.cause.clone().scope(work.unschedulable(queued, &failure)).await;
                    });
                }
            }
        }
    }
}

impl Work {
    /// The pod need not be placed any more.
    fn is_settled(&self, queued: &QueuedPod) -> bool {
        let info = &queued.info;
        let present = self.pods.get(info.namespace(), info.name());
        let waits = present.is_some_and(|pod| {
            pod.metadata.uid == info.pod.metadata.uid && !is_leaving(&pod) && pod::node_name(&pod).is_none()
        });
        !waits || self.shared.lock().cluster.is_assumed(info.uid())
    }

    async fn bind(&self, queued: QueuedPod, node: &str) {
        let info = queued.info.clone();
        match self.profile.bind.bind(&self.client, &info, node).await {
            Ok(()) => {
                self.count("scheduled");
                METRICS.waited.observe((clock::instant() - queued.first_queued).as_secs_f64());
                self.shared.lock().queue.done(info.uid());
                let message = format!("Successfully assigned {}/{} to {node}", info.namespace(), info.name());
                tracing::info!(pod = %format_args!("{}/{}", info.namespace(), info.name()), node, "bound");
                self.recorder.event(&*info.pod, Kind::Normal, "Scheduled", message);
            }
            Err(error) => self.binding_failed(queued, node, &error).await,
        }
    }

    /// The pod does not run there. Where another scheduler was quicker, the mirror will say so; else it is tried again.
    async fn binding_failed(&self, queued: QueuedPod, node: &str, error: &Error) {
        let info = queued.info.clone();
        {
            let mut state = self.shared.lock();
            state.cluster.forget(info.uid());
            // The room that was held for it is free again.
            state.queue.on_event(ClusterEvent::PodRemoved(info.clone()), clock::instant());
        }
        tracing::debug!(pod = info.name(), node, %error, "binding failed");
        if self.is_settled(&queued) || error.reason == Reason::NotFound {
            self.shared.lock().queue.done(info.uid());
            return;
        }
        self.count("error");
        self.shared.lock().queue.failed(queued, clock::instant());
        self.shared.changed.notify_one();
        if error.reason == Reason::Conflict {
            // Another scheduler was quicker and the mirror is late, most likely: nobody needs to hear of it.
            return;
        }
        let message = format!("running Bind plugin {:?}: {error}", self.profile.bind.name());
        self.tell(&info, "SchedulerError", &message).await;
    }

    async fn unschedulable(&self, queued: QueuedPod, failure: &Failure) {
        self.count("unschedulable");
        let plugins = match failure {
            // Any node may help.
            Failure::NoNodes => self.profile.filter.iter().map(|plugin| plugin.name()).collect(),
            Failure::Unfit(error) => error.diagnosis.plugins.clone(),
        };
        let info = queued.info.clone();
        self.shared.lock().queue.unschedulable(queued, plugins, clock::instant());
        self.shared.changed.notify_one();
        self.tell(&info, "Unschedulable", &failure.to_string()).await;
    }

    /// The event and the pod's condition say why it was not placed.
    async fn tell(&self, info: &PodInfo, reason: &str, message: &str) {
        let limited: String = message.chars().take(MESSAGE_LIMIT).collect();
        self.recorder.event(&*info.pod, Kind::Warning, "FailedScheduling", limited);
        let (namespace, name) = (info.namespace(), info.name());
        let Some(present) = self.pods.get(namespace, name) else { return };
        let old = pod::get_condition(&present, pod::condition::SCHEDULED);
        let same = |old: &PodCondition| {
            old.status == "False" && old.reason.as_deref() == Some(reason) && old.message.as_deref() == Some(message)
        };
        if old.is_some_and(same) {
            return;
        }
        let since = old.filter(|old| old.status == "False").and_then(|old| old.last_transition_time.clone());
        let condition = json!({
            "type": pod::condition::SCHEDULED,
            "status": "False",
            "reason": reason,
            "message": message,
            "lastTransitionTime": since.unwrap_or_else(clock::now),
        });
        let patch = json!({ "metadata": { "uid": info.uid() }, "status": { "conditions": [condition] } });
        if let Err(error) = self.client.patch_status::<Pod>(namespace, name, Patch::Strategic(patch)).await {
            tracing::debug!(pod = name, %error, "cannot write the pod's condition");
        }
    }

    fn count(&self, result: &'static str) {
        METRICS.attempts.get_or_create(&Attempt { result, profile: self.profile.scheduler_name }).inc();
    }
}

/// It is being deleted, or has ended.
fn is_leaving(pod: &Pod) -> bool {
    !pod::is_active(pod)
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next pod to place; waits for one.
    async fn next(&self) -> QueuedPod {
        loop {
            let changed = self.changed.notified();
            let due = {
                let mut state = self.lock();
                let popped = state.queue.pop(clock::instant());
                METRICS.pending(state.queue.counts());
                if let Some(queued) = popped {
                    return queued;
                }
                state.queue.next_due()
            };
            match due {
                Some(due) => tokio::select! {
                    () = changed => {}
                    () = clock::sleep_until(due) => {}
                },
                None => changed.await,
            }
        }
    }

    fn node_changed(&self, change: &Change<Node>) {
        let mut state = self.lock();
        let now = clock::instant();
        let event = match change {
            Change::Added(node) => {
                state.cluster.put_node(node.clone());
                Some(ClusterEvent::NodeAdded(node.clone()))
            }
            Change::Modified { old, new } => {
                state.cluster.put_node(new.clone());
                ClusterEvent::of_node_update(old, new)
            }
            Change::Deleted(node) => {
                state.cluster.remove_node(node.metadata.name.as_deref().unwrap_or_default());
                None
            }
        };
        if let Some(event) = event {
            state.queue.on_event(event, now);
            drop(state);
            self.changed.notify_one();
        }
    }

    fn pod_changed(&self, change: &Change<Pod>) {
        let pod = change.object();
        let gone = matches!(change, Change::Deleted(_)) || pod::is_terminal(pod);
        match pod::node_name(pod) {
            _ if gone => self.pod_gone(pod),
            Some(node) => self.pod_on_node(pod, node),
            None if is_leaving(pod) => self.lock().queue.remove(uid(pod)),
            None => self.pod_waits(pod),
        }
    }

    fn pod_gone(&self, pod: &Arc<Pod>) {
        let mut state = self.lock();
        state.queue.remove(uid(pod));
        if let Some(info) = state.cluster.remove_pod(uid(pod)) {
            state.queue.on_event(ClusterEvent::PodRemoved(info), clock::instant());
            drop(state);
            self.changed.notify_one();
        }
    }

    fn pod_on_node(&self, pod: &Arc<Pod>, node: &str) {
        let mut state = self.lock();
        let known = state.cluster.pod(uid(pod)).cloned();
        // What a pod asks for is read anew only when its spec may have changed: most updates are of its status.
        let info = match &known {
            Some(info) if same_but_for_node(&info.pod, pod) => info.with_status_of(pod.clone()),
            _ => PodInfo::new(pod.clone()),
        };
        let info = Arc::new(info);
        state.cluster.put_pod(info.clone(), node);
        state.queue.remove(uid(pod));
        if known.is_none_or(|known| pod::node_name(&known.pod).is_none()) {
            state.queue.on_event(ClusterEvent::PodAssigned(info), clock::instant());
        }
        drop(state);
        self.changed.notify_one();
    }

    fn pod_waits(&self, pod: &Arc<Pod>) {
        let name = pod.spec.as_ref().and_then(|spec| spec.scheduler_name.as_deref());
        if name.is_some_and(|name| name != self.scheduler_name) {
            return;
        }
        let mut state = self.lock();
        // An update from before the binding may come after it.
        if !state.cluster.is_assumed(uid(pod)) {
            state.queue.put(Arc::new(PodInfo::new(pod.clone())), Cause::current(), clock::instant());
            drop(state);
            self.changed.notify_one();
        }
    }
}

fn uid(pod: &Pod) -> &str {
    pod.metadata.uid.as_deref().unwrap_or_default()
}

/// The generation grows with the spec. Binding a pod changes its spec too, but not what it asks for.
fn same_but_for_node(old: &Pod, new: &Pod) -> bool {
    old.metadata.generation.is_some() && old.metadata.generation == new.metadata.generation
        || match (&old.spec, &new.spec) {
            (Some(old), Some(new)) => {
                old.containers == new.containers
                    && old.init_containers == new.init_containers
                    && old.resources == new.resources
                    && old.overhead == new.overhead
                    && old.priority == new.priority
            }
            _ => false,
        }
}
