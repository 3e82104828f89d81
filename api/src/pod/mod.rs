//! What a pod's fields say about it. Source: `pkg/api/v1/pod`, `pkg/controller`.

mod resources;
mod toleration;
mod trim;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::core::v1::{Container, Pod, PodCondition, ServicePort},
    apimachinery::pkg::{apis::meta::v1::Time, util::intstr::IntOrString},
};

pub use resources::{QosClass, limits, qos_class, requests};
pub use toleration::{any_tolerates, tolerates};
pub use trim::trim;

/// Types of pod conditions.
#[allow(missing_docs)]
pub mod condition {
    pub const SCHEDULED: &str = "PodScheduled";
    pub const READY: &str = "Ready";
    pub const INITIALIZED: &str = "Initialized";
    pub const CONTAINERS_READY: &str = "ContainersReady";
    pub const READY_TO_START_CONTAINERS: &str = "PodReadyToStartContainers";
    pub const DISRUPTION_TARGET: &str = "DisruptionTarget";
}

/// `Pending`, `Running`, `Succeeded`, `Failed`, `Unknown`; empty before there is a status.
pub fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

/// Its containers have stopped for good: it succeeded or failed.
pub fn is_terminal(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// It runs or will run: neither terminal nor being deleted. What a ReplicaSet counts.
pub fn is_active(pod: &Pod) -> bool {
    !is_terminal(pod) && pod.metadata.deletion_timestamp.is_none()
}

/// It is being deleted and its containers may still run.
pub fn is_terminating(pod: &Pod) -> bool {
    !is_terminal(pod) && pod.metadata.deletion_timestamp.is_some()
}

/// The node that it is bound to.
pub fn node_name(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref().filter(|name| !name.is_empty())
}

/// The condition of a type.
pub fn get_condition<'a>(pod: &'a Pod, kind: &str) -> Option<&'a PodCondition> {
    pod.status.as_ref()?.conditions.as_ref()?.iter().find(|condition| condition.type_ == kind)
}

/// Puts a condition into the pod's status; its transition time stays when its status does. Says whether anything changed.
/// Source: `UpdatePodCondition`.
pub fn set_condition(pod: &mut Pod, mut new: PodCondition, now: Timestamp) -> bool {
    let conditions = pod.status.get_or_insert_default().conditions.get_or_insert_default();
    new.last_transition_time = Some(Time(now));
    let Some(old) = conditions.iter_mut().find(|condition| condition.type_ == new.type_) else {
        conditions.push(new);
        return true;
    };
    if old.status == new.status {
        new.last_transition_time = old.last_transition_time.clone();
    }
    let changed = *old != new;
    *old = new;
    changed
}

/// It serves: its Ready condition is true.
pub fn is_ready(pod: &Pod) -> bool {
    get_condition(pod, condition::READY).is_some_and(|ready| ready.status == "True")
}

/// It has been ready for `min_ready_seconds`.
pub fn is_available(pod: &Pod, min_ready_seconds: i32, now: Timestamp) -> bool {
    let Some(ready) = get_condition(pod, condition::READY).filter(|ready| ready.status == "True") else { return false };
    let wait = SignedDuration::from_secs(min_ready_seconds.into());
    min_ready_seconds == 0
        || ready.last_transition_time.as_ref().is_some_and(|since| now.duration_since(since.0) >= wait)
}

/// Its containers, init containers first, in the order in which they start.
pub fn containers(pod: &Pod) -> impl Iterator<Item = &Container> {
    pod.spec.iter().flat_map(|spec| spec.init_containers.iter().flatten().chain(&spec.containers))
}

/// An init container that keeps running beside the main ones (KEP-753).
pub fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

/// How often its containers were restarted, taken together.
pub fn restarts(pod: &Pod) -> i32 {
    let statuses = pod.status.iter().flat_map(|status| {
        status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten())
    });
    statuses.map(|status| status.restart_count).sum()
}

/// The number of the pod's port that a Service's port means. Source: `FindPort`.
pub fn find_port(pod: &Pod, port: &ServicePort) -> Option<i32> {
    let name = match &port.target_port {
        None => return Some(port.port),
        Some(IntOrString::Int(0)) => return Some(port.port),
        Some(IntOrString::Int(number)) => return Some(*number),
        Some(IntOrString::String(name)) => name,
    };
    let protocol = port.protocol.as_deref().unwrap_or("TCP");
    let spec = pod.spec.as_ref()?;
    let sidecars = spec.init_containers.iter().flatten().filter(|container| is_sidecar(container));
    let ports = spec.containers.iter().chain(sidecars).flat_map(|container| container.ports.iter().flatten());
    ports
        .filter(|candidate| candidate.protocol.as_deref().unwrap_or("TCP") == protocol)
        .find(|candidate| candidate.name.as_ref() == Some(name))
        .map(|candidate| candidate.container_port)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Value, json};

    use super::*;

    fn pod(value: Value) -> Pod {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn phases_and_deletion_tell_what_counts() {
        let deleted = json!({"deletionTimestamp": "2024-01-01T00:00:00Z"});
        for (phase, meta, active, terminating) in [
            ("Running", json!({}), true, false),
            ("Pending", json!({}), true, false),
            ("Failed", json!({}), false, false),
            ("Succeeded", deleted.clone(), false, false),
            ("Running", deleted, false, true),
        ] {
            let pod = pod(json!({"metadata": meta, "status": {"phase": phase}}));
            assert_eq!((is_active(&pod), is_terminating(&pod)), (active, terminating), "{phase}");
        }
    }

    #[test]
    fn a_pod_becomes_available_after_a_while() {
        let mut pod = Pod::default();
        let start: Timestamp = "2024-01-01T00:00:00Z".parse().unwrap();
        let later = start + SignedDuration::from_secs(10);
        assert!(!is_ready(&pod) && !is_available(&pod, 0, later));
        let ready = |status: &str| PodCondition { type_: "Ready".into(), status: status.into(), ..Default::default() };
        assert!(set_condition(&mut pod, ready("True"), start));
        assert!(!set_condition(&mut pod, ready("True"), later));
        assert!(is_ready(&pod) && is_available(&pod, 0, start) && is_available(&pod, 10, later));
        assert!(!is_available(&pod, 11, later));
        assert!(set_condition(&mut pod, ready("False"), later));
        assert!(!is_ready(&pod));
    }

    #[test]
    fn services_find_ports_by_number_and_name() {
        let pod = pod(json!({"spec": {
            "containers": [{"name": "a", "ports": [
                {"name": "dns", "containerPort": 53, "protocol": "UDP"},
                {"name": "dns", "containerPort": 54, "protocol": "TCP"},
            ]}],
            "initContainers": [
                {"name": "s", "restartPolicy": "Always", "ports": [{"name": "side", "containerPort": 15}]},
                {"name": "i", "ports": [{"name": "init", "containerPort": 16}]},
            ],
        }}));
        for (target, found) in [
            (json!(null), Some(80)),
            (json!(8080), Some(8080)),
            (json!("dns"), Some(54)),
            (json!("side"), Some(15)),
            (json!("init"), None),
            (json!("other"), None),
        ] {
            let port: ServicePort = serde_json::from_value(json!({"port": 80, "targetPort": target})).unwrap();
            assert_eq!(find_port(&pod, &port), found, "{target}");
        }
    }
}
