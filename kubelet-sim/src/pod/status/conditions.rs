//! A pod's conditions. Source: `pkg/kubelet/status/generate.go` of Kubernetes.

use k8s_openapi::{
    api::core::v1::{ContainerStatus, PodCondition, PodSpec},
    apimachinery::pkg::apis::meta::v1::Time,
};
use kubelab_api::pod::is_sidecar;

use super::{super::restart::may_restart_all, Input, is_last};

/// A condition's verdict: whether it holds, and otherwise why not.
#[derive(Default)]
struct Verdict {
    holds: bool,
    reason: Option<&'static str>,
    message: Option<String>,
}

impl Verdict {
    fn holds() -> Self {
        Self { holds: true, ..Self::default() }
    }
    fn fails(reason: &'static str, message: Option<String>) -> Self {
        Self { holds: false, reason: Some(reason), message }
    }
}

/// The conditions that the kubelet owns, in upstream's order.
pub fn conditions(
    input: &Input<'_>,
    spec: &PodSpec,
    init: &[ContainerStatus],
    statuses: &[ContainerStatus],
    phase: &str,
) -> Vec<PodCondition> {
    let has_sandbox = input.sandbox.is_some() && !input.over && !is_last(Some(phase));
    let sandbox = Verdict { holds: has_sandbox, ..Verdict::default() };
    let ready = containers_ready(spec, init, statuses, phase);
    let pod_ready =
        if ready.holds { readiness_gates(input, spec) } else { containers_ready(spec, init, statuses, phase) };
    [
        ("PodReadyToStartContainers", sandbox),
        ("Initialized", initialized(spec, init, statuses, phase)),
        ("Ready", pod_ready),
        ("ContainersReady", ready),
    ]
    .map(|(type_, verdict)| condition(input, type_, verdict))
    .into_iter()
    .chain(begins_anew(input, spec, phase))
    .chain(extraordinary(input))
    .collect()
}

/// Whether all containers of a pod begin anew, where that may be. Source: `GenerateAllContainersRestartingCondition`.
fn begins_anew(input: &Input<'_>, spec: &PodSpec, phase: &str) -> Option<PodCondition> {
    if !may_restart_all(spec) {
        return None;
    }
    let verdict = match phase {
        "Succeeded" => Verdict::fails("PodCompleted", None),
        "Failed" => Verdict::fails("PodFailed", None),
        _ if input.restarts_all => {
            let message = "container exited with restart policy rule".to_owned();
            Verdict { holds: true, reason: Some("RestartAllContainersStarted"), message: Some(message) }
        }
        _ => Verdict::default(),
    };
    Some(condition(input, "AllContainersRestarting", verdict))
}

/// Conditions that the kubelet owns and takes away again.
pub const PASSING: [&str; 2] = ["PodResizePending", "PodResizeInProgress"];

/// Conditions that most pods do not have.
fn extraordinary(input: &Input<'_>) -> impl Iterator<Item = PodCondition> {
    let resize = input.memory.resize.as_ref().map(|pending| {
        let verdict = Verdict { holds: true, reason: Some(pending.reason), message: Some(pending.message.clone()) };
        condition(input, "PodResizePending", verdict)
    });
    let resizing = input.memory.resizing.then(|| condition(input, "PodResizeInProgress", Verdict::holds()));
    // Source: KEP-3329.
    let evicted = input.memory.ending.as_ref().filter(|ending| ending.reason == "Evicted").map(|ending| {
        let verdict =
            Verdict { holds: true, reason: Some("TerminationByKubelet"), message: Some(ending.message.clone()) };
        condition(input, "DisruptionTarget", verdict)
    });
    resize.into_iter().chain(resizing).chain(evicted)
}

fn condition(input: &Input<'_>, type_: &str, verdict: Verdict) -> PodCondition {
    let status = if verdict.holds { "True" } else { "False" };
    let before = before(input, type_).filter(|before| before.status == status);
    let since: Option<Time> = before.and_then(|before| before.last_transition_time.clone());
    PodCondition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: verdict.reason.map(str::to_owned),
        message: verdict.message,
        last_transition_time: Some(since.unwrap_or_else(|| input.now.clone())),
        observed_generation: input.pod.metadata.generation,
        ..Default::default()
    }
}

fn before<'a>(input: &'a Input<'_>, type_: &str) -> Option<&'a PodCondition> {
    input.pod.status.as_ref()?.conditions.iter().flatten().find(|condition| condition.type_ == type_)
}

fn initialized(spec: &PodSpec, init: &[ContainerStatus], statuses: &[ContainerStatus], phase: &str) -> Verdict {
    if phase == "Succeeded" {
        return Verdict { holds: true, reason: Some("PodCompleted"), message: None };
    }
    let has_run = |status: &ContainerStatus| {
        status.started == Some(true)
            || status.state.as_ref().is_some_and(|state| state.terminated.is_some() || state.running.is_some())
            || status.last_state.as_ref().is_some_and(|state| state.terminated.is_some())
    };
    if statuses.iter().any(has_run) {
        return Verdict::holds();
    }
    let containers = spec.init_containers.iter().flatten().zip(init);
    let incomplete: Vec<&str> = containers
        .filter(|(container, status)| if is_sidecar(container) { status.started != Some(true) } else { !status.ready })
        .map(|(container, _)| container.name.as_str())
        .collect();
    if incomplete.is_empty() {
        return Verdict::holds();
    }
    let message = format!("containers with incomplete status: [{}]", incomplete.join(" "));
    Verdict::fails("ContainersNotInitialized", Some(message))
}

fn containers_ready(spec: &PodSpec, init: &[ContainerStatus], statuses: &[ContainerStatus], phase: &str) -> Verdict {
    match phase {
        "Succeeded" => return Verdict::fails("PodCompleted", None),
        "Failed" => return Verdict::fails("PodFailed", None),
        _ => {}
    }
    let sidecars = spec.init_containers.iter().flatten().zip(init).filter(|(container, _)| is_sidecar(container));
    let all = sidecars.map(|(_, status)| status).chain(statuses);
    let unready: Vec<&str> = all.filter(|status| !status.ready).map(|status| status.name.as_str()).collect();
    if unready.is_empty() {
        return Verdict::holds();
    }
    let message = format!("containers with unready status: [{}]", unready.join(" "));
    Verdict::fails("ContainersNotReady", Some(message))
}

fn readiness_gates(input: &Input<'_>, spec: &PodSpec) -> Verdict {
    let unmet = |gate: &str| match before(input, gate) {
        None => Some(format!("corresponding condition of pod readiness gate {gate:?} does not exist.")),
        Some(condition) if condition.status != "True" => {
            Some(format!("the status of pod readiness gate {gate:?} is not \"True\", but {}", condition.status))
        }
        Some(_) => None,
    };
    let unmet: Vec<String> =
        spec.readiness_gates.iter().flatten().filter_map(|gate| unmet(&gate.condition_type)).collect();
    if unmet.is_empty() {
        return Verdict::holds();
    }
    Verdict::fails("ReadinessGatesNotReady", Some(unmet.join(", ")))
}
