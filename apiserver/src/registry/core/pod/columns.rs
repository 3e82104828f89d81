//! What `kubectl get pods` shows. Source: `printPod` in `pkg/printers/internalversion/printers.go`.

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod, PodCondition, PodSpec, PodStatus},
    apimachinery::pkg::apis::meta::v1::Time,
};
use serde_json::Value;

use crate::registry::{
    cells::{AGE, NAME, NONE, cells, count, list, name, since, text, text_or},
    kind::{Column, age, column, wide},
};

pub(super) const COLUMNS: &[Column] = &[
    NAME,
    column("Ready", "string"),
    column("Status", "string"),
    column("Restarts", "string"),
    AGE,
    wide("IP", "string"),
    wide("Node", "string"),
    wide("Nominated Node", "string"),
    wide("Readiness Gates", "string"),
];

pub(super) fn cells(pod: &Pod, now: Timestamp) -> Vec<Value> {
    let summary = Summary::of(pod);
    let restarts = match &summary.last_restart {
        Some(time) if summary.restarts > 0 => format!("{} ({} ago)", summary.restarts, since(Some(time), now)),
        _ => summary.restarts.to_string(),
    };
    let spec = pod.spec.as_ref();
    let status = pod.status.as_ref();
    let address = status.and_then(|status| list(&status.pod_ips).first()).map_or(NONE, |address| address.ip.as_str());
    cells![
        name(&pod.metadata),
        format!("{}/{}", summary.ready, summary.total),
        summary.reason,
        restarts,
        age(&pod.metadata, now),
        address,
        spec.map_or(NONE, |spec| text_or(&spec.node_name, NONE)),
        status.map_or(NONE, |status| text_or(&status.nominated_node_name, NONE)),
        readiness_gates(pod),
    ]
}

fn readiness_gates(pod: &Pod) -> String {
    let gates = pod.spec.as_ref().map_or(&[][..], |spec| list(&spec.readiness_gates));
    if gates.is_empty() {
        return NONE.into();
    }
    let is_true = |kind: &str| condition(pod, kind).is_some_and(|condition| condition.status == "True");
    let open = gates.iter().filter(|gate| is_true(&gate.condition_type)).count();
    format!("{open}/{}", gates.len())
}

fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<&'a PodCondition> {
    list(&pod.status.as_ref()?.conditions).iter().find(|condition| condition.type_ == kind)
}

/// A pod in a few words.
#[derive(Default)]
pub(super) struct Summary {
    pub ready: usize,
    pub total: usize,
    pub reason: String,
    pub restarts: i32,
    pub last_restart: Option<Time>,
}

impl Summary {
    pub fn of(pod: &Pod) -> Self {
        let (no_spec, no_status) = (PodSpec::default(), PodStatus::default());
        let (spec, status) = (pod.spec.as_ref().unwrap_or(&no_spec), pod.status.as_ref().unwrap_or(&no_status));
        let init_containers = list(&spec.init_containers);
        let is_sidecar = |name: &str| {
            init_containers.iter().any(|c| c.name == name && c.restart_policy.as_deref() == Some("Always"))
        };
        let sidecars = init_containers.iter().filter(|container| is_sidecar(&container.name)).count();
        let mut summary = Summary {
            total: spec.containers.len() + sidecars,
            reason: text_or(&status.reason, text(&status.phase)).to_owned(),
            ..Default::default()
        };
        let gated = list(&status.conditions).iter().any(|condition| {
            condition.type_ == "PodScheduled" && condition.reason.as_deref() == Some("SchedulingGated")
        });
        if gated {
            summary.reason = "SchedulingGated".into();
        }

        let statuses = list(&status.init_container_statuses);
        let initializing = summary.initialization(statuses, count(&spec.init_containers), is_sidecar);
        let initialized = condition(pod, "Initialized").is_some_and(|condition| condition.status == "True");
        if !initializing || initialized {
            // Restarts of finished init containers are of no interest any more; those of sidecars are.
            summary.restarts = 0;
            summary.last_restart = None;
            for status in statuses.iter().filter(|status| is_sidecar(&status.name)) {
                summary.count_restarts(status);
            }
            let ready = condition(pod, "Ready").is_some_and(|condition| condition.status == "True");
            summary.running(list(&status.container_statuses), ready);
        }

        let ended = matches!(text(&status.phase), "Succeeded" | "Failed");
        if pod.metadata.deletion_timestamp.is_some() {
            if status.reason.as_deref() == Some("NodeLost") {
                summary.reason = "Unknown".into();
            } else if !ended {
                summary.reason = "Terminating".into();
            }
        }
        summary
    }

    fn count_restarts(&mut self, status: &ContainerStatus) {
        self.restarts += status.restart_count;
        let ended = status.last_state.as_ref().and_then(|state| state.terminated.as_ref());
        if let Some(time) = ended.and_then(|ended| ended.finished_at.as_ref())
            && self.last_restart.as_ref().is_none_or(|last| last.0 < time.0)
        {
            self.last_restart = Some(time.clone());
        }
    }

    /// Takes the init containers into account, until the first that is not done. Says whether there is one.
    fn initialization(
        &mut self,
        statuses: &[ContainerStatus],
        total: usize,
        is_sidecar: impl Fn(&str) -> bool,
    ) -> bool {
        for (i, status) in statuses.iter().enumerate() {
            self.count_restarts(status);
            let state = status.state.as_ref();
            match (state.and_then(|s| s.terminated.as_ref()), state.and_then(|s| s.waiting.as_ref())) {
                (Some(ended), _) if ended.exit_code == 0 => continue,
                _ if is_sidecar(&status.name) && status.started == Some(true) => {
                    self.ready += usize::from(status.ready);
                    continue;
                }
                (Some(ended), _) => self.reason = format!("Init:{}", ended_reason(ended)),
                (_, Some(waiting)) if !matches!(text(&waiting.reason), "" | "PodInitializing") => {
                    self.reason = format!("Init:{}", text(&waiting.reason));
                }
                _ => self.reason = format!("Init:{i}/{total}"),
            }
            return true;
        }
        false
    }

    /// Takes the containers into account; of several reasons the first container's shows.
    fn running(&mut self, statuses: &[ContainerStatus], pod_is_ready: bool) {
        let mut some_run = false;
        for status in statuses.iter().rev() {
            self.count_restarts(status);
            let state = status.state.as_ref();
            match (state.and_then(|s| s.waiting.as_ref()), state.and_then(|s| s.terminated.as_ref())) {
                (Some(waiting), _) if !text(&waiting.reason).is_empty() => {
                    self.reason = text(&waiting.reason).to_owned();
                }
                (_, Some(ended)) => self.reason = ended_reason(ended),
                _ if status.ready && state.is_some_and(|s| s.running.is_some()) => {
                    some_run = true;
                    self.ready += 1;
                }
                _ => {}
            }
        }
        if self.reason == "Completed" && some_run {
            self.reason = if pod_is_ready { "Running" } else { "NotReady" }.into();
        }
    }
}

fn ended_reason(ended: &ContainerStateTerminated) -> String {
    match (text(&ended.reason), ended.signal.unwrap_or_default()) {
        ("", 0) => format!("ExitCode:{}", ended.exit_code),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}
