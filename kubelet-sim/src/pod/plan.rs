//! Which containers of a pod to start and to kill now. Source of the rules: `computePodActions` in
//! `pkg/kubelet/kuberuntime` of Kubernetes, and KEP-753 for sidecars.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container as ContainerSpec, PodSpec};

use kubelab_api::pod::is_sidecar;

use super::{
    Memory, ephemeral,
    restart::{restarts, restarts_all},
};
use crate::{
    probe::Kind,
    runtime::{Container, Exit, Sandbox},
};

/// What to do.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Containers to start, in this order.
    pub start: Vec<Start>,
    /// Containers to kill.
    pub kill: Vec<Kill>,
    /// Crashed containers that wait for their restart, and how long the whole wait is.
    pub backing_off: BTreeMap<String, Duration>,
    /// All containers are to begin anew; until they can, those that run are killed.
    pub restarts_all: bool,
    /// When there is more to do even if nothing changes.
    pub wake: Option<Timestamp>,
}

/// A container to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// Its name.
    pub name: String,
    /// How many runs were before.
    pub attempt: u32,
    /// When the run before failed.
    pub failed_at: Option<Timestamp>,
}

/// A container to kill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kill {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Why, as the event says it.
    pub message: String,
    /// How long it has.
    pub grace: Duration,
}

/// What a pod that is to run needs next.
pub fn plan(spec: &PodSpec, sandbox: &Sandbox, memory: &Memory, now: Timestamp) -> Plan {
    if has_to_begin_anew(spec, sandbox) {
        let kill = sandbox.containers.iter().filter(|run| run.is_running() && !ephemeral::has(spec, &run.name));
        // Neither hooks nor the grace period are heeded.
        let kill = kill.map(|run| stop(run, Duration::ZERO)).collect();
        return Plan { restarts_all: true, kill, ..Plan::default() };
    }
    if is_finished(spec, sandbox) {
        return Plan { kill: terminate(spec, sandbox, grace(spec)), ..Plan::default() };
    }
    let mut planner = Planner { spec, sandbox, memory, now, plan: Plan::default() };
    planner.add();
    if planner.initialize() {
        planner.run();
    }
    planner.plan
}

/// What a pod that is to end needs next: its containers end first, then its sidecars, last one first.
/// Empty once nothing runs.
pub fn terminate(spec: &PodSpec, sandbox: &Sandbox, grace: Duration) -> Vec<Kill> {
    let is_sidecar_run = |run: &Container| {
        spec.init_containers.iter().flatten().any(|container| container.name == run.name && is_sidecar(container))
    };
    let running = || sandbox.containers.iter().filter(|run| run.is_running());
    let mut ending: Vec<&Container> = running().filter(|run| !is_sidecar_run(run)).collect();
    if ending.is_empty() {
        let order = |run: &Container| spec.init_containers.iter().flatten().position(|spec| spec.name == run.name);
        ending = running().max_by_key(|run| order(run)).into_iter().collect();
    }
    ending.into_iter().map(|run| stop(run, grace)).collect()
}

fn stop(run: &Container, grace: Duration) -> Kill {
    Kill { id: run.id.clone(), name: run.name.clone(), message: format!("Stopping container {}", run.name), grace }
}

/// Whether a container has ended in such a way that all are to begin anew.
fn has_to_begin_anew(spec: &PodSpec, sandbox: &Sandbox) -> bool {
    spec.containers.iter().chain(spec.init_containers.iter().flatten()).any(|container| {
        let exit = sandbox.current(&container.name).and_then(|run| run.exit.as_ref());
        exit.is_some_and(|exit| restarts_all(container, exit.code))
    })
}

/// Whether only sidecars of a pod still run.
pub fn only_sidecars_run(spec: &PodSpec, sandbox: &Sandbox) -> bool {
    let is_sidecar =
        |name: &str| spec.init_containers.iter().flatten().any(|init| init.name == name && is_sidecar(init));
    sandbox.containers.iter().filter(|run| run.is_running()).all(|run| is_sidecar(&run.name))
}

/// What containers always have to end in, when others before them have used up the time. Source: the kubelet's
/// `minimumGracePeriodInSeconds`.
pub const MINIMUM_GRACE: Duration = Duration::from_secs(2);

/// Whether all containers have ended for good, or will never start; only sidecars may still run.
pub fn is_finished(spec: &PodSpec, sandbox: &Sandbox) -> bool {
    let ended = |container: &ContainerSpec| {
        let exit = sandbox.current(&container.name).and_then(|run| run.exit.as_ref());
        exit.filter(|exit| !restarts(spec, container, exit.code)).map(|exit| exit.code)
    };
    let mut init = spec.init_containers.iter().flatten().filter(|container| !is_sidecar(container));
    let has_run = |container: &ContainerSpec| sandbox.current(&container.name).is_some();
    let init_failed = init.any(|container| ended(container).is_some_and(|code| code != 0));
    init_failed && !spec.containers.iter().any(has_run)
        || spec.containers.iter().all(|container| ended(container).is_some())
}

/// How long a pod's containers have between SIGTERM and SIGKILL.
pub fn grace(spec: &PodSpec) -> Duration {
    seconds(spec.termination_grace_period_seconds.unwrap_or(30))
}

fn seconds(seconds: i64) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

struct Planner<'a> {
    spec: &'a PodSpec,
    sandbox: &'a Sandbox,
    memory: &'a Memory,
    now: Timestamp,
    plan: Plan,
}

impl Planner<'_> {
    /// Runs the init containers one after the other. Says whether the others may run.
    fn initialize(&mut self) -> bool {
        // Containers that have run prove that the pod was initialized; sidecars may be between two runs then.
        let was_initialized = self.spec.containers.iter().any(|spec| self.sandbox.current(&spec.name).is_some());
        for container in self.spec.init_containers.iter().flatten() {
            let has_passed = match (self.sandbox.current(&container.name), is_sidecar(container)) {
                (None, _) => {
                    self.begin(container);
                    false
                }
                (Some(run), true) => self.keep(container, run),
                (Some(Container { exit: Some(Exit { code: 0, .. }), .. }), false) => true,
                (Some(run), false) => {
                    self.keep(container, run);
                    false
                }
            };
            if !has_passed && !was_initialized {
                return false;
            }
        }
        true
    }

    /// Starts what was added to a running pod, whether or not that is initialized.
    fn add(&mut self) {
        for container in ephemeral::containers(self.spec) {
            if self.sandbox.latest(&container.name).is_none() {
                self.start(&container, None);
            }
        }
    }

    fn run(&mut self) {
        for container in &self.spec.containers {
            match self.sandbox.current(&container.name) {
                None => self.begin(container),
                Some(run) => {
                    self.keep(container, run);
                }
            }
        }
    }

    /// Restarts or kills a container that has run, where needed. Says whether it has started and stays.
    fn keep(&mut self, container: &ContainerSpec, run: &Container) -> bool {
        let Some(exit) = &run.exit else {
            if self.memory.stopping.contains_key(&run.id) {
                return false;
            }
            let name = &container.name;
            if let Some(kind) = self.memory.failed_probe(run) {
                let probe = if kind == Kind::Startup { "startup" } else { "liveness" };
                let own = kind.of(container).and_then(|probe| probe.termination_grace_period_seconds);
                let message = format!("Container {name} failed {probe} probe, will be restarted");
                self.kill(run, message, own.map_or_else(|| grace(self.spec), seconds));
                return false;
            }
            if self.memory.resized.contains(name) {
                self.kill(run, format!("Container {name} resize requires restart"), grace(self.spec));
                return false;
            }
            if container.image.as_ref().is_some_and(|image| *image != run.image) {
                self.kill(run, format!("Container {name} definition changed, will be restarted"), grace(self.spec));
                return false;
            }
            return self.memory.has_started(container, run);
        };
        if let Some(failure) = self.memory.failures.get(&container.name) {
            self.wake_at(failure.retry_at);
        }
        if restarts(self.spec, container, exit.code) && !self.memory.starting.contains(&container.name) {
            self.again(container, run, exit);
        }
        false
    }

    /// Starts a container that has not run, or not since all began anew.
    fn begin(&mut self, container: &ContainerSpec) {
        if self.memory.starting.contains(&container.name) {
            return;
        }
        match self.sandbox.latest(&container.name).and_then(|run| Some((run, run.exit.as_ref()?))) {
            Some((run, exit)) => self.again(container, run, exit),
            None => self.start(container, None),
        }
    }

    /// Starts a container that has ended, once it has waited for long enough.
    fn again(&mut self, container: &ContainerSpec, run: &Container, exit: &Exit) {
        let failed = exit.finished_at.0;
        let backoff = self.memory.restarts.get(&container.name);
        match backoff.map(|backoff| (backoff.until(failed), backoff.delay())) {
            Some((until, delay)) if self.now < until => {
                self.plan.backing_off.insert(container.name.clone(), delay);
                self.wake_at(until);
            }
            _ => self.start(container, Some(run)),
        }
    }

    fn kill(&mut self, run: &Container, message: String, grace: Duration) {
        self.plan.kill.push(Kill { id: run.id.clone(), name: run.name.clone(), message, grace });
    }

    fn start(&mut self, container: &ContainerSpec, last: Option<&Container>) {
        if self.memory.starting.contains(&container.name) {
            return;
        }
        if let Some(failure) = self.memory.failures.get(&container.name) {
            if let Some(later) = &failure.later {
                self.wake_at(later.at);
            }
            if self.now < failure.retry_at {
                self.wake_at(failure.retry_at);
                return;
            }
        }
        self.plan.start.push(Start {
            name: container.name.clone(),
            attempt: last.map_or(0, |last| last.attempt + 1),
            failed_at: last.and_then(|last| last.exit.as_ref()).map(|exit| exit.finished_at.0),
        });
    }

    fn wake_at(&mut self, at: Timestamp) {
        self.plan.wake = Some(self.plan.wake.map_or(at, |wake| wake.min(at)));
    }
}
