//! What the kubelet remembers of a pod between two looks at it. It is lost when the kubelet restarts, as upstream's is.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Container as ContainerSpec, ContainerStatus, Pod, PodStatus},
    apimachinery::pkg::apis::meta::v1::Time,
};

use super::{
    backoff::Backoff,
    plan::Start,
    resize::{Allocated, Pending},
};
use crate::{
    probe::{Answer, Check, Kind, Worker, worker},
    runtime::{Container, Sandbox},
};

/// Failures of containers that were there already.
const RUN_ERRORS: [&str; 2] = ["RunContainerError", "PostStartHookError"];

/// What is remembered of a pod.
#[derive(Debug, Default)]
pub struct Memory {
    /// Why containers could not be started, by name.
    pub failures: BTreeMap<String, Failure>,
    /// Those that are being started now, by name.
    pub starting: BTreeSet<String>,
    /// How long crashed containers wait, by name.
    pub restarts: BTreeMap<String, Backoff>,
    /// How long failed pulls wait, by image.
    pub pulls: BTreeMap<String, Backoff>,
    /// The waits for a restart that an event has told of, by name.
    pub told: BTreeMap<String, Duration>,
    /// It has no address yet, and an event has told of that.
    pub waits_for_network: bool,
    /// The runs that the API tells of and of which nothing is left here, until there is a sandbox for them.
    pub past: Vec<Container>,
    /// How often in a row its volumes could not be mounted.
    pub failed_mounts: u32,
    /// When the kubelet first saw the pod.
    pub start_time: Option<Time>,
    /// Why the pod ended before its containers did.
    pub ending: Option<Ending>,
    /// The runs that are being killed for their restart or for good, by id.
    pub stopping: BTreeMap<String, Timestamp>,
    /// What its containers have; what the spec says later may have to wait.
    pub allocated: Allocated,
    /// What they really have: a container that has to be restarted for a change keeps what it had until then.
    pub actuated: Allocated,
    /// Not all have what was allocated to them.
    pub resizing: bool,
    /// The change of what is allocated that waits.
    pub resize: Option<Pending>,
    /// Containers that are to be restarted for a change, by name.
    pub resized: BTreeSet<String>,
    /// By container id.
    probes: BTreeMap<String, BTreeMap<Kind, Worker>>,
}

/// Why a container could not be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// `ErrImagePull`, `CreateContainerConfigError`, …
    pub reason: String,
    /// Why, in words.
    pub message: Option<String>,
    /// When to try again.
    pub retry_at: Timestamp,
    /// What the waiting is called after a while, and from when on.
    pub later: Option<Later>,
}

/// What a failure is called once it lasts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Later {
    /// From when on.
    pub at: Timestamp,
    /// `ImagePullBackOff`.
    pub reason: String,
    /// Why, in words.
    pub message: String,
    /// The image that could not be pulled.
    pub image: String,
}

/// Why a pod ended before its containers did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// `OutOfcpu`, `DeadlineExceeded`, …
    pub reason: String,
    /// Why, in words.
    pub message: String,
    /// It was never let in.
    pub rejected: bool,
    /// What its containers have to end in, if not what the pod says.
    pub grace: Option<Duration>,
}

/// A question that is due.
#[derive(Debug)]
pub struct Question {
    /// The container's name.
    pub name: String,
    /// The container's id.
    pub id: String,
    /// What to ask, or why that is not possible.
    pub check: Result<Check, String>,
    /// For which probe.
    pub kind: Kind,
}

impl Memory {
    /// Whether this container counts as started: it runs and its startup probe, if any, has succeeded.
    pub fn has_started(&self, spec: &ContainerSpec, container: &Container) -> bool {
        !self.runs_hook(spec, container)
            && container.is_running()
            && (spec.startup_probe.is_none() || self.verdict(container, Kind::Startup) == Some(true))
    }

    /// Whether this container runs its postStart hook, or ends because that failed: it does not count as running until that is done.
    pub fn runs_hook(&self, spec: &ContainerSpec, container: &Container) -> bool {
        let has_hook = spec.lifecycle.as_ref().is_some_and(|lifecycle| lifecycle.post_start.is_some());
        let hook_failed = self.failures.get(&spec.name).is_some_and(|failure| failure.reason == "PostStartHookError");
        has_hook && container.is_running() && (hook_failed || self.starting.contains(&spec.name))
    }

    /// Whether this container counts as ready: it has started and its readiness probe, if any, succeeds.
    pub fn is_ready(&self, spec: &ContainerSpec, container: &Container) -> bool {
        self.has_started(spec, container)
            && (spec.readiness_probe.is_none() || self.verdict(container, Kind::Readiness) == Some(true))
    }

    /// The probe because of which this container is to be restarted.
    pub fn failed_probe(&self, container: &Container) -> Option<Kind> {
        [Kind::Startup, Kind::Liveness].into_iter().find(|kind| self.verdict(container, *kind) == Some(false))
    }

    fn verdict(&self, container: &Container, kind: Kind) -> Option<bool> {
        self.probes.get(&container.id)?.get(&kind)?.verdict()
    }

    /// The questions that are due to running containers, and when to look again. `before` is the status from before a
    /// restart of the kubelet: containers that were ready stay so until a probe says otherwise.
    pub fn questions(&mut self, pod: &Pod, sandbox: &Sandbox, now: Timestamp) -> (Vec<Question>, Option<Timestamp>) {
        let terminating = pod.metadata.deletion_timestamp.is_some();
        let mut questions = Vec::new();
        let mut wake: Option<Timestamp> = None;
        self.probes.retain(|id, _| sandbox.containers.iter().any(|run| run.id == *id && run.is_running()));
        for container in kubelab_api::pod::containers(pod) {
            let Some(run) = sandbox.latest(&container.name).filter(|run| run.is_running()) else { continue };
            self.watch(pod, container, run);
            let view = worker::View {
                started_at: run.started_at.0,
                has_started: self.has_started(container, run),
                terminating,
            };
            for (kind, worker) in self.probes.entry(run.id.clone()).or_default() {
                match worker.next(view, now) {
                    worker::Next::Probe => {
                        if let Some(probe) = kind.of(container) {
                            let check = Check::new(*kind, probe, container, sandbox.address);
                            let (name, id) = (container.name.clone(), run.id.clone());
                            questions.push(Question { name, id, check, kind: *kind });
                        }
                    }
                    worker::Next::Wait(at) => wake = Some(wake.map_or(at, |wake| wake.min(at))),
                    worker::Next::Idle => {}
                }
            }
        }
        (questions, wake)
    }

    /// Makes the workers of a container's probes.
    fn watch(&mut self, pod: &Pod, spec: &ContainerSpec, run: &Container) {
        let workers = self.probes.entry(run.id.clone()).or_default();
        for kind in Kind::ALL {
            if let Some(probe) = kind.of(spec) {
                workers.entry(kind).or_insert_with(|| {
                    let before = status_of(pod.status.as_ref(), run);
                    let was = before.is_some_and(|before| match kind {
                        Kind::Readiness => before.ready,
                        Kind::Startup | Kind::Liveness => before.started == Some(true),
                    });
                    Worker::new(kind, probe, was)
                });
            }
        }
    }

    /// Takes the answer to a question in. Returns when the next one is due, or nothing if this one changed the verdict.
    pub fn answer(&mut self, id: &str, kind: Kind, answer: &Answer) -> Option<Timestamp> {
        let worker = self.probes.get_mut(id)?.get_mut(&kind)?;
        if worker.record(answer) { None } else { worker.due() }
    }

    /// Takes in that a container is being started.
    pub fn begin(&mut self, start: &Start, now: Timestamp) {
        if let Some(failed_at) = start.failed_at
            && !self.failures.contains_key(&start.name)
        {
            let backoff = Backoff::next(self.restarts.get(&start.name), failed_at, now);
            self.restarts.insert(start.name.clone(), backoff);
        }
        self.starting.insert(start.name.clone());
        if self.resized.remove(&start.name)
            && let Some(allocated) = self.allocated.get(&start.name)
        {
            self.actuated.insert(start.name.clone(), allocated.clone());
        }
    }

    /// Allocates other resources: the containers named get them once they are restarted, the others at once.
    pub fn allocate(&mut self, allocated: Allocated, restarted: BTreeSet<String>) {
        self.resized.extend(restarted);
        for (name, resources) in &allocated {
            if !self.resized.contains(name) {
                self.actuated.insert(name.clone(), resources.clone());
            }
        }
        self.allocated = allocated;
        self.resize = None;
        self.resizing = true;
    }

    /// Takes in whether a change of resources is done. Says so once.
    pub fn has_resized(&mut self) -> bool {
        let done = self.resizing && self.resized.is_empty() && self.starting.is_empty();
        self.resizing &= !done;
        done
    }

    /// Takes in that a container has been started, or why it has not.
    pub fn end_start(&mut self, name: &str, outcome: Result<(), Failure>) {
        self.starting.remove(name);
        match outcome {
            Ok(()) => self.failures.remove(name),
            Err(failure) => self.failures.insert(name.to_owned(), failure),
        };
    }

    /// Forgets that containers could not be run, or their hooks not, once that has been shown: then they wait like those that crashed.
    pub fn forget_run_errors(&mut self, now: Timestamp) {
        self.failures.retain(|_, failure| !RUN_ERRORS.contains(&failure.reason.as_str()) || now < failure.retry_at);
    }

    /// Gives failures their later names when the time has come; returns those that were renamed.
    pub fn rename_failures(&mut self, now: Timestamp) -> Vec<(String, Later)> {
        let mut renamed = Vec::new();
        for (name, failure) in &mut self.failures {
            if let Some(later) = failure.later.take_if(|later| later.at <= now) {
                (failure.reason, failure.message) = (later.reason.clone(), Some(later.message.clone()));
                renamed.push((name.clone(), later));
            }
        }
        renamed
    }
}

fn status_of<'a>(status: Option<&'a PodStatus>, run: &Container) -> Option<&'a ContainerStatus> {
    let id = super::status::container_id(run);
    let statuses = |list: &'a Option<Vec<ContainerStatus>>| list.iter().flatten();
    status
        .into_iter()
        .flat_map(|status| statuses(&status.container_statuses).chain(statuses(&status.init_container_statuses)))
        .find(|status| status.container_id.as_deref() == Some(&id))
}
