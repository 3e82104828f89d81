//! A pod's status as the API shows it: phase, conditions and container statuses.
//! Source of the rules: `pkg/kubelet/kubelet_pods.go` and `pkg/kubelet/status/generate.go` of Kubernetes.

mod conditions;
mod containers;
mod past;
mod phase;

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use k8s_openapi::{
    api::core::v1::{HostIP, Pod, PodIP, PodSpec, PodStatus},
    apimachinery::pkg::apis::meta::v1::Time,
};
use serde_json::{Map, Value, json};

pub use containers::{container_id, first_reason};
pub use past::past;

use super::{Memory, ephemeral};
use crate::runtime::Sandbox;

/// What a status is made from.
pub struct Input<'a> {
    /// The pod, with the status that the API has.
    pub pod: &'a Pod,
    /// What the runtime has of it.
    pub sandbox: Option<&'a Sandbox>,
    /// What the kubelet remembers of it.
    pub memory: &'a Memory,
    /// See [`super::plan::Plan::backing_off`].
    pub backing_off: &'a BTreeMap<String, Duration>,
    /// The node's address.
    pub host_ip: IpAddr,
    /// See [`super::plan::Plan::restarts_all`].
    pub restarts_all: bool,
    /// The pod has ended for good: nothing runs and nothing will.
    pub over: bool,
    /// The present.
    pub now: Time,
}

/// A pod's status. Fields that the kubelet does not own are empty.
pub fn status(input: &Input<'_>) -> PodStatus {
    let default_spec = PodSpec::default();
    let spec = input.pod.spec.as_ref().unwrap_or(&default_spec);
    let start_time = input.memory.start_time.clone();
    if let Some(ending) = input.memory.ending.as_ref().filter(|ending| ending.rejected) {
        return PodStatus {
            phase: Some("Failed".to_owned()),
            reason: Some(ending.reason.clone()),
            message: Some(format!("Pod was rejected: {}", ending.message)),
            start_time,
            observed_generation: input.pod.metadata.generation,
            ..Default::default()
        };
    }
    let init = spec.init_containers.as_deref().unwrap_or_default();
    let init_statuses: Vec<_> = init.iter().map(|container| containers::status(input, spec, container)).collect();
    let statuses: Vec<_> = spec.containers.iter().map(|container| containers::status(input, spec, container)).collect();
    let added: Vec<_> = ephemeral::containers(spec).map(|added| containers::status(input, spec, &added)).collect();
    let ending = input.memory.ending.as_ref().filter(|_| input.over);
    let phase = match ending {
        Some(_) => "Failed",
        None if input.restarts_all => "Running",
        None => phase::phase(spec, &init_statuses, &statuses, input.over),
    };
    // Source: the status manager, which reports the last phase only once nothing runs any more (KEP-3329).
    let still_runs = input.sandbox.is_some_and(Sandbox::is_running);
    let phase = if still_runs && is_last(Some(phase)) { "Running" } else { phase };
    let conditions = conditions::conditions(input, spec, &init_statuses, &statuses, phase);
    let address = if spec.host_network == Some(true) {
        Some(input.host_ip.to_string())
    } else {
        input.sandbox.map(|sandbox| sandbox.address.to_string())
    };
    // What ended before a restart of the machine has no sandbox any more, but keeps its address.
    let address = address.or_else(|| input.pod.status.as_ref()?.pod_ip.clone());
    PodStatus {
        phase: Some(phase.to_owned()),
        reason: ending.map(|ending| ending.reason.clone()),
        message: ending.map(|ending| ending.message.clone()),
        conditions: Some(conditions),
        host_ip: Some(input.host_ip.to_string()),
        host_ips: Some(vec![HostIP { ip: input.host_ip.to_string() }]),
        pod_ips: address.clone().map(|ip| vec![PodIP { ip }]),
        pod_ip: address,
        start_time,
        init_container_statuses: (!init.is_empty()).then_some(init_statuses),
        container_statuses: Some(statuses),
        ephemeral_container_statuses: (!added.is_empty()).then_some(added),
        observed_generation: input.pod.metadata.generation,
        ..Default::default()
    }
}

/// Whether a phase is the last.
pub fn is_last(phase: Option<&str>) -> bool {
    matches!(phase, Some("Succeeded" | "Failed"))
}

/// The fields of a status that the kubelet owns: it may clear them.
const OWNED: [&str; 11] = [
    "phase",
    "reason",
    "message",
    "hostIP",
    "hostIPs",
    "podIP",
    "podIPs",
    "startTime",
    "initContainerStatuses",
    "containerStatuses",
    "ephemeralContainerStatuses",
];

/// The strategic merge patch that turns one status into another; `None` if there is nothing to change. Conditions merge
/// by type, so those of others stay.
pub fn patch(uid: &str, old: &PodStatus, new: &PodStatus) -> Option<Value> {
    let fields = |status: &PodStatus| match serde_json::to_value(status) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    };
    let (old, mut new) = (fields(old), fields(new));
    if let Some(conditions) = new.remove("conditions") {
        let changed = changed_conditions(old.get("conditions"), conditions);
        if !changed.is_empty() {
            new.insert("conditions".to_owned(), Value::Array(changed));
        }
    }
    let mut changes: Map<String, Value> = new
        .iter()
        .filter(|(name, value)| old.get(*name) != Some(*value))
        .map(|(n, v)| (n.clone(), v.clone()))
        .collect();
    for name in OWNED {
        if old.contains_key(name) && !new.contains_key(name) {
            changes.insert(name.to_owned(), Value::Null);
        }
    }
    // A later observation alone is worth no write: upstream's status manager leaves it for the next change too.
    let is_news = changes.keys().any(|name| name != "observedGeneration");
    is_news.then(|| json!({"metadata": {"uid": uid}, "status": changes}))
}

/// The conditions that differ; what a condition no longer says is cleared explicitly.
fn changed_conditions(old: Option<&Value>, new: Value) -> Vec<Value> {
    let old = old.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let Value::Array(new) = new else { return Vec::new() };
    let is_over = |condition: &&Value| {
        conditions::PASSING.iter().any(|passing| condition["type"] == *passing)
            && new.iter().all(|new| new["type"] != condition["type"])
    };
    let delete = |condition: &Value| json!({"$patch": "delete", "type": condition["type"]});
    let mut changed: Vec<Value> = old.iter().filter(is_over).map(delete).collect();
    for mut condition in new {
        let before = old.iter().find(|before| before["type"] == condition["type"]);
        let differs = before.is_none_or(|before| {
            ["status", "reason", "message"].iter().any(|field| before.get(field) != condition.get(field))
        });
        if !differs {
            continue;
        }
        if let (Some(Value::Object(before)), Value::Object(condition)) = (before, &mut condition) {
            for field in ["reason", "message"] {
                if before.contains_key(field) {
                    condition.entry(field).or_insert(Value::Null);
                }
            }
        }
        changed.push(condition);
    }
    changed
}

#[cfg(test)]
mod tests;
