//! One container's status. Source: `convertToAPIContainerStatuses` in `pkg/kubelet/kubelet_pods.go` of Kubernetes.

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{
        Container as ContainerSpec, ContainerState, ContainerStateRunning, ContainerStateTerminated,
        ContainerStateWaiting, ContainerStatus, PodSpec, ResourceRequirements,
    },
    apimachinery::pkg::apis::meta::v1::Time,
};
use kubelab_api::pod::is_sidecar;

use super::{super::restart::restarts, Input, past};
use crate::{
    duration,
    runtime::{Container, PodRef},
};

/// A container's id as the API shows it.
pub fn container_id(run: &Container) -> String {
    format!("kubelab://{}", run.id)
}

/// A container's status.
pub fn status(input: &Input<'_>, spec: &PodSpec, container: &ContainerSpec) -> ContainerStatus {
    let name = &container.name;
    let past = || input.memory.past.iter().find(|run| run.name == *name);
    let run = input.sandbox.and_then(|sandbox| sandbox.latest(name)).or_else(past);
    let previous = input.sandbox.and_then(|sandbox| sandbox.previous(name)).and_then(terminated);
    let restarts = |run: &Container| run.exit.as_ref().is_some_and(|exit| restarts(spec, container, exit.code));
    let waits_to_restart = run.is_some_and(|run| run.retired || restarts(run)) && !input.over;
    let failure = input.memory.failures.get(name);
    let (state, last_state) = match (run, failure) {
        (None, Some(failure)) => (waiting(&failure.reason, failure.message.clone()), None),
        (None, None) => (waiting(first_reason(spec), None), None),
        (Some(run), Some(failure)) if waits_to_restart => {
            (waiting(&failure.reason, failure.message.clone()), terminated(run))
        }
        (Some(run), Some(failure)) if input.memory.runs_hook(container, run) => {
            (waiting(&failure.reason, failure.message.clone()), previous)
        }
        (Some(run), None) if input.memory.runs_hook(container, run) => (waiting(first_reason(spec), None), previous),
        (Some(run), _) => match input.backing_off.get(name) {
            Some(delay) if waits_to_restart => {
                let (delay, pod) = (duration::format(*delay), PodRef::of(input.pod));
                let message = format!("back-off {delay} restarting failed container={name} pod={pod}");
                (waiting("CrashLoopBackOff", Some(message)), terminated(run))
            }
            _ if run.retired && waits_to_restart => (waiting(first_reason(spec), None), terminated(run)),
            _ => (state(run), previous),
        },
    };
    let is_init = spec.init_containers.iter().flatten().any(|init| init.name == *name) && !is_sidecar(container);
    let current = run.filter(|run| !run.retired);
    let has_succeeded = current.and_then(|run| run.exit.as_ref()).is_some_and(|exit| exit.code == 0);
    let has_started = run.is_some_and(|run| input.memory.has_started(container, run));
    let allocated = input.memory.allocated.get(name).filter(|allocated| **allocated != ResourceRequirements::default());
    ContainerStatus {
        name: name.clone(),
        allocated_resources: allocated.and_then(|allocated| allocated.requests.clone()),
        resources: input.memory.actuated.get(name).or(allocated).cloned(),
        image: run.map_or_else(|| container.image.clone().unwrap_or_default(), |run| run.full_image.clone()),
        image_id: run.map(|run| run.image_id.clone()).unwrap_or_default(),
        container_id: run.filter(|run| !run.id.is_empty()).map(container_id),
        ready: if is_init { has_succeeded } else { run.is_some_and(|run| input.memory.is_ready(container, run)) },
        started: Some(has_started),
        restart_count: run.map_or(0, |run| i32::try_from(run.attempt).unwrap_or(i32::MAX)),
        state: Some(state),
        last_state: Some(ContainerState { terminated: last_state, ..Default::default() }),
        ..Default::default()
    }
}

fn waiting(reason: &str, message: Option<String>) -> ContainerState {
    ContainerState {
        waiting: Some(ContainerStateWaiting { reason: Some(reason.to_owned()), message }),
        ..Default::default()
    }
}

/// What a container that was never started waits for.
pub fn first_reason(spec: &PodSpec) -> &'static str {
    if spec.init_containers.iter().flatten().next().is_some() { "PodInitializing" } else { "ContainerCreating" }
}

fn state(run: &Container) -> ContainerState {
    match terminated(run) {
        Some(ended) => ContainerState { terminated: Some(ended), ..Default::default() },
        None => ContainerState {
            running: Some(ContainerStateRunning { started_at: Some(Time(run.started_at.0)) }),
            ..Default::default()
        },
    }
}

fn terminated(run: &Container) -> Option<ContainerStateTerminated> {
    let exit = run.exit.as_ref()?;
    let ended = ContainerStateTerminated {
        exit_code: exit.code,
        reason: Some(exit.reason().to_owned()),
        message: exit.message.clone(),
        ..Default::default()
    };
    if exit.reason() == past::UNKNOWN {
        return Some(ended);
    }
    Some(ContainerStateTerminated {
        container_id: Some(container_id(run)),
        // What never ran has no start: runtimes say zero.
        started_at: Some(Time(if exit.reason() == "StartError" { Timestamp::UNIX_EPOCH } else { run.started_at.0 })),
        finished_at: Some(Time(exit.finished_at.0)),
        ..ended
    })
}
