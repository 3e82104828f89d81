//! One look at one pod: decide, act, report. It never waits for anything that takes simulated time; whatever it begins
//! makes the pod be looked at again when it is done.

use std::{net::IpAddr, sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container as ContainerSpec, Node as NodeObject, NodeStatus, Pod, PodSpec};
use kubelab_api::{pod as pods, selector};
use kubelab_client::{Cause, Error, clock, recorder::Kind};

use super::{
    Node, lock, object,
    worker::{State, Worker},
};
use crate::{
    pod::{
        admission, ephemeral, eviction,
        memory::{Ending, Question},
        plan::{self, Kill, Plan},
        resize,
        status::{self, Input},
    },
    probe::Answer,
    runtime::PodRef,
};

/// How soon a change of resources that did not fit is tried again.
const RESIZE_RETRY: Duration = Duration::from_secs(10);

/// What a look came to.
struct Look {
    status: k8s_openapi::api::core::v1::PodStatus,
    /// Nothing runs any more and nothing will.
    over: bool,
    /// When to look again even if nothing changes.
    wake: Option<Timestamp>,
}

impl Node {
    /// Looks at a pod.
    pub(super) async fn sync(self: &Arc<Self>, key: &PodRef) -> Result<(), Error> {
        let cached = self.pods.get(&key.namespace, &key.name);
        let Some(cached) = cached.filter(|pod| pod.metadata.uid.as_deref() == Some(&key.uid)) else {
            self.forget(key);
            return Ok(());
        };
        let worker = self.worker(&key.uid);
        let pod = worker.newest(cached);
        if pods::is_terminal(&pod) {
            return self.finish(key, &worker, &pod).await;
        }
        if !worker.state().met {
            let node = self.as_known_for(&pod).await;
            if self.runtime.sandbox(&key.uid).is_some() {
                tokio::spawn(self.clone().hold(pod.clone()));
            }
            self.meet(&worker, &pod, &node);
        }
        let look = self.look(key, &worker, &pod);
        let pod = self.report(&worker, pod, look.status).await?;
        if look.over {
            return self.finish(key, &worker, &pod).await;
        }
        if let Some(wake) = look.wake {
            let delay = wake.duration_since(clock::now_micro().0).try_into().unwrap_or(Duration::ZERO);
            self.queue.add_after(key.clone(), delay);
        }
        Ok(())
    }

    /// The node's object as a pod is judged by it. Where the mirror's would turn the pod away the API is asked, as a label
    /// may have come just before the pod; where it does not answer, the mirror's has to do.
    async fn as_known_for(&self, pod: &Pod) -> Arc<NodeObject> {
        let mirrored = self.object.get("", &self.config.name);
        let suits = |node: &NodeObject| pod.spec.as_ref().is_none_or(|spec| selector::node::allows(spec, node));
        match mirrored {
            Some(node) if suits(&node) => node,
            other => match (self.client.get::<NodeObject>("", &self.config.name).await, other) {
                (Ok(node), _) => Arc::new(node),
                (Err(_), Some(node)) => node,
                (Err(_), None) => Arc::new(object::node(&self.config, NodeStatus::default())),
            },
        }
    }

    /// The first look at a pod: is it let in?
    fn meet(&self, worker: &Worker, pod: &Arc<Pod>, node: &NodeObject) {
        // One at a time, or two pods could each take the room that is left for one.
        let _admitting = lock(&self.admitting);
        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
        {
            let mut state = worker.state();
            if std::mem::replace(&mut state.met, true) {
                return;
            }
            let known = pod.status.as_ref().and_then(|status| status.start_time.clone());
            state.memory.start_time = Some(known.unwrap_or_else(clock::now));
            state.memory.allocated =
                if self.runtime.sandbox(uid).is_some() { resize::known(pod) } else { resize::wanted(pod) };
            state.memory.actuated = state.memory.allocated.clone();
            if self.runtime.sandbox(uid).is_none() {
                // What was in a sandbox has ended with it.
                state.memory.past = status::past(pod, clock::now_micro().0);
            }
        }
        if self.runtime.sandbox(uid).is_some() || pod.metadata.deletion_timestamp.is_some() {
            return;
        }
        for problem in self.runtime.check(pod) {
            self.recorder.event(&**pod, Kind::Warning, "InvalidBehavior", problem);
        }
        let here = self.pods.list();
        let others = here.iter().filter(|other| other.metadata.uid != pod.metadata.uid && self.is_admitted(other));
        let others = others.map(|pod| &**pod);
        let admitted = if self.has_memory_pressure() && eviction::turns_away(pod) {
            let message = "The node had condition: [MemoryPressure]. ".to_owned();
            Err(Ending { reason: "Evicted".to_owned(), message, rejected: true, grace: None })
        } else {
            admission::admit(pod, others, &self.config.capacity, node)
        };
        if let Err(ending) = admitted {
            self.recorder.event(&**pod, Kind::Warning, &ending.reason, ending.message.clone());
            worker.state().memory.ending = Some(ending);
        }
    }

    /// Whether a pod was let in and has not ended. Those from before a restart have a sandbox.
    fn is_admitted(&self, pod: &Pod) -> bool {
        let Some(uid) = pod.metadata.uid.as_deref().filter(|_| !pods::is_terminal(pod)) else { return false };
        let worker = lock(&self.workers).get(uid).cloned();
        let was_met = worker.is_some_and(|worker| {
            let state = worker.state();
            state.met && state.memory.ending.is_none()
        });
        was_met || self.runtime.sandbox(uid).is_some()
    }

    /// Decides what a pod needs, begins it, and says how the pod is now.
    fn look(self: &Arc<Self>, key: &PodRef, worker: &Arc<Worker>, pod: &Arc<Pod>) -> Look {
        let default_spec = PodSpec::default();
        let spec = pod.spec.as_ref().unwrap_or(&default_spec);
        let now = clock::now_micro().0;
        let mut guard = worker.state();
        let state = &mut *guard;
        let deadline = self.keep_deadline(pod, spec, state, now);
        let measure = self.keep_limits(pod, state, now);
        let deleting = pod.metadata.deletion_timestamp.is_some();
        let ending = deleting || state.memory.ending.is_some();
        if !ending {
            self.ensure_sandbox(key, pod, state);
        }
        if state.memory.has_resized() {
            self.recorder.event(&**pod, Kind::Normal, "ResizeCompleted", resize::message(pod, "completed", None));
        }
        let deferred = self.resize(pod, state, now);
        self.take_in(pod, state);
        let sandbox = self.runtime.sandbox(&key.uid);
        state.memory.forget_run_errors(now);
        for (name, waits) in state.memory.rename_failures(now) {
            self.tell_of_back_off(pod, &name, &waits);
        }
        let mut plan = Plan::default();
        let mut wake = [deadline, deferred, measure].into_iter().flatten().min();
        if let Some(sandbox) = &sandbox {
            state
                .memory
                .stopping
                .retain(|id, _| sandbox.containers.iter().any(|run| run.id == *id && run.is_running()));
            let (questions, next_question) = state.memory.questions(pod, sandbox, now);
            for question in questions {
                self.ask(key, worker, pod, question);
            }
            plan = if ending {
                state.stop_starting();
                let grace = pod.metadata.deletion_grace_period_seconds.and_then(|grace| u64::try_from(grace).ok());
                let own = state.memory.ending.as_ref().and_then(|ending| ending.grace);
                let mut grace = own.or(grace.map(Duration::from_secs)).unwrap_or_else(|| plan::grace(spec));
                if plan::only_sidecars_run(spec, sandbox)
                    && let Some(end) = &pod.metadata.deletion_timestamp
                {
                    // What the others took of the time is gone.
                    let left = end.0.duration_since(now).try_into().unwrap_or(Duration::ZERO);
                    grace = grace.min(left.max(plan::MINIMUM_GRACE));
                }
                Plan { kill: plan::terminate(spec, sandbox, grace), ..Plan::default() }
            } else {
                plan::plan(spec, sandbox, &state.memory, now)
            };
            wake = [wake, next_question, plan.wake].into_iter().flatten().min();
        }
        if plan.restarts_all {
            state.stop_starting();
        }
        for kill in &plan.kill {
            self.kill(key, pod, state, kill, now);
        }
        if !plan.start.is_empty() && state.starting.is_none() {
            for start in &plan.start {
                state.memory.begin(start, now);
            }
            let starting = self.clone().start_all(worker.clone(), pod.clone(), plan.start.clone());
            let task = tokio::spawn(Cause::current().scope(starting));
            state.starting = Some(task.abort_handle());
        }
        if plan.restarts_all && plan.kill.is_empty() {
            let names: Vec<String> = pods::containers(pod).map(|container| container.name.clone()).collect();
            self.runtime.retire(&key.uid, &names);
            // The status tells of it once; the next look goes on.
            wake = Some(now);
        }
        self.tell_of_crashes(pod, state, &plan);
        let over = ending && !sandbox.as_ref().is_some_and(|sandbox| sandbox.is_running());
        let input = Input {
            pod,
            sandbox: sandbox.as_deref(),
            memory: &state.memory,
            backing_off: &plan.backing_off,
            restarts_all: plan.restarts_all,
            host_ip: self.config.ip,
            over,
            now: clock::now(),
        };
        Look { status: status::status(&input), over, wake }
    }

    /// Ends a pod that has been active for longer than it may. Returns when that will be.
    fn keep_deadline(&self, pod: &Pod, spec: &PodSpec, state: &mut State, now: Timestamp) -> Option<Timestamp> {
        let seconds = u64::try_from(spec.active_deadline_seconds?).ok()?;
        let deadline = state.memory.start_time.as_ref()?.0 + Duration::from_secs(seconds);
        if now < deadline {
            return Some(deadline);
        }
        if state.memory.ending.is_none() {
            let message = "Pod was active on the node longer than the specified deadline".to_owned();
            self.recorder.event(pod, Kind::Normal, "DeadlineExceeded", message.clone());
            let reason = "DeadlineExceeded".to_owned();
            state.memory.ending = Some(Ending { reason, message, rejected: false, grace: None });
        }
        None
    }

    /// Makes a pod's sandbox, with an address of its own, once the node has a network.
    fn ensure_sandbox(&self, key: &PodRef, pod: &Pod, state: &mut State) {
        if self.runtime.sandbox(&key.uid).is_some() {
            return;
        }
        if pod.spec.as_ref().and_then(|spec| spec.host_network) == Some(true) {
            return self.make_sandbox(key, state, self.config.ip);
        }
        let taken = match &mut *lock(&self.addresses) {
            None => Err((
                "NetworkNotReady",
                format!("network is not ready: {}", object::NETWORK_NOT_READY),
            )),
            Some(pool) => pool.take().map_err(|exhausted| {
                let message = format!(
                    "Failed to create pod sandbox: rpc error: code = Unknown desc = failed to setup network for sandbox: \
                     plugin type=\"kubelab\" failed (add): failed to allocate for range 0: {exhausted}"
                );
                ("FailedCreatePodSandBox", message)
            }),
        };
        match taken {
            Ok(address) => {
                self.make_sandbox(key, state, address);
                state.memory.waits_for_network = false;
            }
            Err((reason, message)) => {
                if !std::mem::replace(&mut state.memory.waits_for_network, true) {
                    self.recorder.event(pod, Kind::Warning, reason, message);
                }
                // The pool tells nobody that an address came free.
                self.queue.add_after(key.clone(), super::RETRY);
            }
        }
    }

    /// Makes a sandbox, for what was in another one, too.
    fn make_sandbox(&self, key: &PodRef, state: &mut State, address: IpAddr) {
        self.runtime.create(key.clone(), address);
        for run in std::mem::take(&mut state.memory.past) {
            self.runtime.remember(&key.uid, run);
        }
    }

    /// Gives a pod's containers the resources that its spec says now, if there is room. Returns when to look again.
    fn resize(&self, pod: &Pod, state: &mut State, now: Timestamp) -> Option<Timestamp> {
        let memory = &mut state.memory;
        let wanted = resize::wanted(pod);
        if wanted == memory.allocated {
            memory.resize = None;
            return None;
        }
        let here = self.pods.list();
        let others = here.iter().filter(|other| other.metadata.uid != pod.metadata.uid && self.is_admitted(other));
        match resize::fits(pod, others.map(|pod| &**pod), &self.config.capacity) {
            Ok(()) => {
                let restarted = resize::restarted(pod, &memory.allocated, &wanted);
                memory.allocate(wanted, restarted);
                state.taken_in = None;
                self.recorder.event(pod, Kind::Normal, "ResizeStarted", resize::message(pod, "started", None));
                // The next look finds it done.
                Some(now)
            }
            Err(pending) => {
                if memory.resize.as_ref() != Some(&pending) {
                    let reason = format!("Resize{}", pending.reason);
                    let message = resize::message(pod, pending.reason, Some(&pending.message));
                    self.recorder.event(pod, Kind::Warning, &reason, message);
                }
                memory.resize = Some(pending);
                Some(now + RESIZE_RETRY)
            }
        }
    }

    /// Lets the runtime know what has changed about a pod.
    fn take_in(&self, pod: &Pod, state: &mut State) {
        if state.taken_in != pod.metadata.resource_version {
            if state.memory.resize.is_some() {
                self.runtime.update(&resize::with(pod, &state.memory.allocated));
            } else {
                self.runtime.update(pod);
            }
            state.taken_in.clone_from(&pod.metadata.resource_version);
        }
    }

    /// Asks a container how it is, beside the queue: an answer may take until the probe's timeout.
    fn ask(self: &Arc<Self>, key: &PodRef, worker: &Arc<Worker>, pod: &Arc<Pod>, question: Question) {
        let (node, key, worker, pod) = (self.clone(), key.clone(), worker.clone(), pod.clone());
        let ask = async move {
            let answer = match &question.check {
                Ok(check) => node.runtime.probe(&key.uid, &question.id, check).await,
                Err(why) => Answer::unknown(why),
            };
            if let Some((reason, message)) = answer.event(question.kind) {
                node.tell(&pod, &question.name, Kind::Warning, reason, message);
            }
            let next = worker.state().memory.answer(&question.id, question.kind, &answer);
            match next {
                Some(next) => {
                    let delay = next.duration_since(clock::now_micro().0).try_into().unwrap_or(Duration::ZERO);
                    node.queue.add_after(key, delay);
                }
                None => node.queue.add(key),
            }
        };
        tokio::spawn(Cause::current().scope(ask));
    }

    /// Asks a container to end, unless it was asked already and has no longer than now.
    pub(super) fn kill(self: &Arc<Self>, key: &PodRef, pod: &Arc<Pod>, state: &mut State, kill: &Kill, now: Timestamp) {
        let deadline = now + kill.grace;
        match state.memory.stopping.insert(kill.id.clone(), deadline) {
            Some(earlier) if earlier <= deadline => {
                state.memory.stopping.insert(kill.id.clone(), earlier);
                return;
            }
            Some(_) => {}
            None => {
                self.tell(pod, &kill.name, Kind::Normal, "Killing", kill.message.clone());
                if self.stop_after_hook(key, pod, kill) {
                    return;
                }
            }
        }
        self.runtime.stop(&key.uid, &kill.id, kill.grace);
    }

    /// Tells once of each wait for a restart.
    fn tell_of_crashes(&self, pod: &Pod, state: &mut State, plan: &Plan) {
        let pod_ref = PodRef::of(pod);
        for (name, delay) in &plan.backing_off {
            if state.memory.told.insert(name.clone(), *delay) != Some(*delay) {
                let message = format!("Back-off restarting failed container {name} in pod {pod_ref}");
                self.tell(pod, name, Kind::Warning, "BackOff", message);
            }
        }
    }

    /// Records an event about a container.
    pub(super) fn tell(&self, pod: &Pod, container: &str, kind: Kind, reason: &str, message: String) {
        let is_init = pod.spec.iter().flat_map(|spec| spec.init_containers.iter().flatten());
        let field = if is_init.into_iter().any(|init: &ContainerSpec| init.name == container) {
            format!("spec.initContainers{{{container}}}")
        } else if pod.spec.as_ref().is_some_and(|spec| ephemeral::has(spec, container)) {
            format!("spec.ephemeralContainers{{{container}}}")
        } else {
            format!("spec.containers{{{container}}}")
        };
        self.recorder.event_at(pod, &field, kind, reason, message);
    }
}
