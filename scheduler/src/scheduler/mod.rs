//! The scheduler's work: what it watches keeps queue and cluster up to date; pods are placed one after the other and bound
//! in parallel.

mod mirrors;
mod preempting;
mod shared;

use std::{collections::HashMap, sync::Arc};

use k8s_openapi::api::core::v1::{Pod, PodCondition};
use kubelab_api::{Reason, pod};
use kubelab_client::{Cache, Client, Error, Patch, Recorder, clock, recorder::Kind};
use serde_json::{Value, json};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
};

use self::{
    mirrors::Mirrors,
    shared::{Shared, is_leaving},
};
use crate::{
    config::Configuration,
    cycle::{Cycle, Failure, Placement},
    framework::{ClusterEvent, CycleState, Handle, Nomination, PodInfo, Profile, Snapshot},
    metrics::{METRICS, SUCCESS},
    queue::{Queue, QueuedPod},
};

/// How many bindings and status updates are under way at most; the next pod waits for one of them.
const UNDER_WAY: usize = 64;
/// How many pods may wait for their volumes besides.
const WAITING: usize = 4096;
/// The longest message that an event may have. Source: `NoteLengthLimit`.
const MESSAGE_LIMIT: usize = 1024;

/// A scheduler that has begun to mirror the cluster. It places pods while [`Scheduler::run`] runs.
pub struct Scheduler {
    mirrors: Mirrors,
    work: Work,
}

/// What placing and binding share.
#[derive(Clone)]
struct Work {
    handle: Handle,
    recorders: Arc<HashMap<String, Recorder>>,
    pods: Cache<Pod>,
    shared: Arc<Shared>,
    slots: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

/// A pod that is being bound, on its way.
struct Bound {
    queued: QueuedPod,
    profile: Arc<Profile>,
    node: String,
    plans: CycleState,
}

impl Scheduler {
    /// Starts mirroring what scheduling needs to know.
    pub fn new(client: &Client, config: Configuration) -> Self {
        let Configuration { profiles, backoff } = config;
        let profiles = Arc::new(profiles);
        let names = profiles.iter().map(|profile| profile.scheduler_name.clone());
        let recorders = names.map(|name| (name.clone(), Recorder::new(client, &name, ""))).collect();
        let shared = Arc::new(Shared::new(profiles.clone(), Queue::new(profiles, backoff)));
        let mirrors = Mirrors::start(client, &shared);
        let handle =
            Handle { client: client.clone(), objects: shared.objects.clone(), changed: shared.objects_changed.clone() };
        let work = Work {
            handle,
            recorders: Arc::new(recorders),
            pods: mirrors.pods.clone(),
            shared,
            slots: Arc::new(Semaphore::new(UNDER_WAY)),
            waiting: Arc::new(Semaphore::new(WAITING)),
        };
        Self { mirrors, work }
    }

    /// Waits until everything is known.
    pub async fn synced(&self) {
        self.mirrors.synced().await;
    }

    /// Places pods until dropped; bindings under way are then given up, and whoever leads next sees what came of them.
    pub async fn run(&self) {
        let work = &self.work;
        let (mut cycle, mut snapshot) = (Cycle::default(), Snapshot::default());
        let mut under_way = JoinSet::new();
        while let Ok(slot) = work.slots.clone().acquire_owned().await {
            while under_way.try_join_next().is_some() {}
            let queued = work.shared.next().await;
            let Some(profile) = work.shared.profiles.of(&queued.info).cloned().filter(|_| !work.is_settled(&queued))
            else {
                work.shared.lock().queue.done(queued.info.uid());
                continue;
            };
            work.shared.lock().cluster.update(&mut snapshot);
            let start = clock::instant();
            let outcome = cycle.place(&profile, &snapshot, &queued.info);
            METRICS.algorithm.observe(start.elapsed().as_secs_f64());
            let work = work.clone();
            match outcome {
                Ok(Placement { node, plans, .. }) => {
                    work.shared.lock().cluster.assume(queued.info.clone(), &node);
                    let cause = queued.cause.clone();
                    let bound = Bound { queued, profile, node, plans };
                    under_way.spawn(async move { cause.scope(work.bind(bound, slot)).await });
                }
                Err(failure) => {
                    work.nominate(&queued.info, &failure);
                    under_way.spawn(async move {
                        let _slot = slot;
                        queued.cause.clone().scope(work.unschedulable(queued, &profile, &failure)).await;
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

    fn recorder(&self, info: &PodInfo) -> Option<&Recorder> {
        self.recorders.get(info.scheduler_name())
    }

    async fn bind(&self, bound: Bound, mut slot: OwnedSemaphorePermit) {
        for plugin in bound.profile.pre_bind.clone() {
            if !plugin.has_work(&bound.plans) {
                continue;
            }
            // Volumes may take minutes to be made: others are bound meanwhile.
            let Ok(_waits) = self.waiting.clone().acquire_owned().await else { return };
            drop(slot);
            let outcome = tokio::select! {
                outcome = plugin.pre_bind(&bound.plans, &bound.queued.info, &bound.node, &self.handle) => outcome,
                () = self.shared.no_longer_assumed(bound.queued.info.uid()) => Err("the pod is gone".to_owned()),
            };
            let Ok(again) = self.slots.clone().acquire_owned().await else { return };
            slot = again;
            if let Err(error) = outcome {
                let message = format!("running PreBind plugin {:?}: {error}", plugin.name());
                return self.not_bound(bound, Some(message)).await;
            }
        }
        let Bound { queued, profile, node, .. } = &bound;
        let (info, began) = (queued.info.clone(), clock::instant());
        match profile.bind.bind(&self.handle.client, &info, node).await {
            Ok(()) => {
                METRICS.ran("Bind", profile, SUCCESS, began);
                METRICS.attempted("scheduled", profile, queued);
                self.shared.lock().queue.done(info.uid());
                let message = format!("Successfully assigned {}/{} to {node}", info.namespace(), info.name());
                tracing::info!(pod = %format_args!("{}/{}", info.namespace(), info.name()), node, "bound");
                if let Some(recorder) = self.recorder(&info) {
                    recorder.event(&*info.pod, Kind::Normal, "Scheduled", message);
                }
            }
            Err(error) => {
                tracing::debug!(pod = info.name(), node, %error, "binding failed");
                let message = self.binding_message(profile, &error);
                self.not_bound(bound, message).await;
            }
        }
    }

    /// What to say of it. Where another scheduler was quicker and the mirror is late, nobody needs to hear of it.
    fn binding_message(&self, profile: &Profile, error: &Error) -> Option<String> {
        let quiet = matches!(error.reason, Reason::Conflict | Reason::NotFound);
        (!quiet).then(|| format!("running Bind plugin {:?}: {error}", profile.bind.name()))
    }

    /// The pod does not run there. Where another scheduler was quicker, the mirror will say so; else it is tried again.
    async fn not_bound(&self, bound: Bound, message: Option<String>) {
        let Bound { queued, profile, plans, .. } = bound;
        let info = queued.info.clone();
        for plugin in &profile.reserve {
            plugin.unreserve(&plans, &self.handle.objects);
        }
        {
            let mut state = self.shared.lock();
            state.cluster.forget(info.uid());
            // The room that was held for it is free again.
            state.queue.on_event(ClusterEvent::PodRemoved(info.clone()), clock::instant());
        }
        if self.is_settled(&queued) {
            self.shared.lock().queue.done(info.uid());
            return;
        }
        METRICS.attempted("error", &profile, &queued);
        self.shared.lock().queue.failed(queued, clock::instant());
        self.shared.changed.notify_one();
        if let Some(message) = message {
            self.tell(&info, "SchedulerError", &message, None).await;
        }
    }

    async fn unschedulable(&self, queued: QueuedPod, profile: &Profile, failure: &Failure) {
        METRICS.attempted("unschedulable", profile, &queued);
        let info = queued.info.clone();
        let plugins = match failure {
            // Any node may help.
            Failure::NoNodes => profile.filter.iter().map(|plugin| plugin.name()).collect(),
            Failure::Unfit(error, _) => error.diagnosis.plugins.clone(),
        };
        let nominated = match failure {
            Failure::Unfit(_, Nomination::Node(preemption)) => Some(json!(preemption.node)),
            Failure::Unfit(_, Nomination::Clear) if info.nominated_node().is_some() => Some(Value::Null),
            _ => None,
        };
        if let Failure::Unfit(_, Nomination::Node(preemption)) = failure {
            // Whoever sees the victims go is to know for whom, and while they go the pod is not tried again.
            self.tell(&info, "Unschedulable", &failure.to_string(), nominated).await;
            if !self.preempt(&info, preemption).await {
                self.shared.lock().cluster.withdraw(info.uid());
            }
            self.shared.lock().queue.unschedulable(queued, plugins, clock::instant());
            self.shared.changed.notify_one();
            return;
        }
        self.shared.lock().queue.unschedulable(queued, plugins, clock::instant());
        self.shared.changed.notify_one();
        self.tell(&info, "Unschedulable", &failure.to_string(), nominated).await;
    }

    /// The event and the pod's condition say why it was not placed; its status names the node that is nominated, if that
    /// changed.
    async fn tell(&self, info: &PodInfo, reason: &str, message: &str, nominated: Option<Value>) {
        let limited: String = message.chars().take(MESSAGE_LIMIT).collect();
        if let Some(recorder) = self.recorder(info) {
            recorder.event(&*info.pod, Kind::Warning, "FailedScheduling", limited);
        }
        let (namespace, name) = (info.namespace(), info.name());
        let Some(present) = self.pods.get(namespace, name) else { return };
        let old = pod::get_condition(&present, pod::condition::SCHEDULED);
        let same = |old: &PodCondition| {
            old.status == "False" && old.reason.as_deref() == Some(reason) && old.message.as_deref() == Some(message)
        };
        if nominated.is_none() && old.is_some_and(same) {
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
        let mut status = json!({ "conditions": [condition] });
        if let Some(node) = nominated {
            status["nominatedNodeName"] = node;
        }
        let patch = json!({ "metadata": { "uid": info.uid() }, "status": status });
        if let Err(error) = self.handle.client.patch_status::<Pod>(namespace, name, Patch::Strategic(patch)).await {
            tracing::debug!(pod = name, %error, "cannot write the pod's condition");
        }
    }
}
