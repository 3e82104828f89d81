//! What watching, placing and binding share.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use k8s_openapi::api::core::v1::{Node, Pod};
use kubelab_api::pod;
use kubelab_client::{Cause, Change, clock};
use tokio::sync::Notify;

use crate::{
    cluster::Cluster,
    framework::{ClusterEvent, Objects, PodInfo, Profiles},
    metrics::METRICS,
    queue::{Queue, QueuedPod},
};

pub struct Shared {
    state: Mutex<State>,
    pub objects: Arc<Objects>,
    pub profiles: Arc<Profiles>,
    /// A pod may wait that did not before.
    pub changed: Notify,
    /// One of `objects` changed.
    pub objects_changed: Arc<Notify>,
    /// A pod is gone, or on a node.
    settled: Notify,
}

pub struct State {
    pub cluster: Cluster,
    pub queue: Queue,
}

impl Shared {
    pub fn new(profiles: Arc<Profiles>, queue: Queue) -> Self {
        let objects = Arc::new(Objects::default());
        let state = State { cluster: Cluster::new(objects.clone()), queue };
        Self {
            state: Mutex::new(state),
            objects,
            profiles,
            changed: Notify::new(),
            objects_changed: Arc::default(),
            settled: Notify::new(),
        }
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next pod to place; waits for one.
    pub async fn next(&self) -> QueuedPod {
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

    /// Waits until the apiserver has said something of a pod that was placed: it is gone, or on a node already.
    pub async fn no_longer_assumed(&self, uid: &str) {
        loop {
            let settled = self.settled.notified();
            tokio::pin!(settled);
            settled.as_mut().enable();
            if !self.lock().cluster.is_assumed(uid) {
                return;
            }
            settled.await;
        }
    }

    pub fn object_changed(&self, event: Option<ClusterEvent>) {
        self.objects_changed.notify_waiters();
        if let Some(event) = event {
            self.lock().queue.on_event(event, clock::instant());
            self.changed.notify_one();
        }
    }

    pub fn node_changed(&self, change: &Change<Node>) {
        let mut state = self.lock();
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
                Some(ClusterEvent::NodeRemoved(node.clone()))
            }
        };
        if let Some(event) = event {
            state.queue.on_event(event, clock::instant());
            drop(state);
            self.changed.notify_one();
        }
    }

    pub fn pod_changed(&self, change: &Change<Pod>) {
        let pod = change.object();
        let gone = matches!(change, Change::Deleted(_)) || pod::is_terminal(pod);
        match pod::node_name(pod) {
            _ if gone => self.pod_gone(pod),
            Some(node) => self.pod_on_node(pod, node),
            None if is_leaving(pod) => self.pod_gone(pod),
            None => {
                let old = match change {
                    Change::Modified { old, .. } => Some(&**old),
                    _ => None,
                };
                self.pod_waits(old, pod);
            }
        }
    }

    fn pod_gone(&self, pod: &Arc<Pod>) {
        let mut state = self.lock();
        let uid = uid(pod);
        state.queue.remove(uid);
        let freed = state.cluster.nomination(uid).is_some().then(|| Arc::new(PodInfo::new(pod.clone())));
        state.cluster.withdraw(uid);
        // Room that was being made for it is free for others, too.
        if let Some(info) = state.cluster.remove_pod(uid).or(freed) {
            state.queue.on_event(ClusterEvent::PodRemoved(info), clock::instant());
            drop(state);
            self.changed.notify_one();
            self.settled.notify_waiters();
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
        let event = match known {
            Some(old) if pod::node_name(&old.pod).is_some() => {
                let matters = old.labels() != info.labels() || old.requests != info.requests;
                matters.then_some(ClusterEvent::PodUpdated { old, new: info })
            }
            _ => Some(ClusterEvent::PodAssigned(info)),
        };
        if let Some(event) = event {
            state.queue.on_event(event, clock::instant());
        }
        drop(state);
        self.changed.notify_one();
        self.settled.notify_waiters();
    }

    fn pod_waits(&self, old: Option<&Pod>, pod: &Arc<Pod>) {
        let info = Arc::new(PodInfo::new(pod.clone()));
        if self.profiles.of(&info).is_none() {
            return;
        }
        let mut state = self.lock();
        // An update from before the binding may come after it.
        if state.cluster.is_assumed(uid(pod)) {
            return;
        }
        // An update that does not know of a nomination does not end it: it may be older.
        let named = |pod: &Pod| pod.status.as_ref().is_some_and(|status| status.nominated_node_name.is_some());
        let ended = old.is_some_and(named);
        let kept = state.cluster.nomination(info.uid()).filter(|_| !ended).map(str::to_owned);
        let node = info.nominated_node().map(str::to_owned).or(kept);
        state.cluster.nominate(info.clone(), node.as_deref());
        state.queue.put(info, Cause::current(), clock::instant());
        drop(state);
        self.changed.notify_one();
    }
}

fn uid(pod: &Pod) -> &str {
    pod.metadata.uid.as_deref().unwrap_or_default()
}

/// It is being deleted, or has ended.
pub fn is_leaving(pod: &Pod) -> bool {
    !pod::is_active(pod)
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
