//! Resources that change while a pod runs. Source: KEP-1287 and `pkg/kubelet/allocation` of Kubernetes.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Container, Pod, ResourceRequirements};
use kubelab_api::{Quantity, pod};
use serde::Serialize;

use super::admission::{Allocatable, Lack, lack};

/// What the containers of a pod have, by name.
pub type Allocated = BTreeMap<String, ResourceRequirements>;

/// A change that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// `Deferred`: it may fit later; `Infeasible`: it never will.
    pub reason: &'static str,
    /// Why, in words.
    pub message: String,
}

/// What is told of a change of a pod's resources, in upstream's form. `what` is `started`, `completed`, or why it waits;
/// `error` is why in words. Source: `pkg/kubelet/events` of Kubernetes.
pub fn message(pod: &Pod, what: &str, error: Option<&str>) -> String {
    let spec = pod.spec.clone().unwrap_or_default();
    let of = |container: &Container| Part {
        name: container.name.clone(),
        resources: container.resources.clone().unwrap_or_default(),
    };
    let init = spec.init_containers.iter().flatten().filter(|container| pod::is_sidecar(container));
    let told = Told {
        init_containers: init.map(of).collect(),
        containers: spec.containers.iter().map(of).collect(),
        generation: pod.metadata.generation.unwrap_or_default(),
        error,
    };
    format!("Pod resize {what}: {}", serde_json::to_string(&told).unwrap_or_default())
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Told<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    init_containers: Vec<Part>,
    containers: Vec<Part>,
    generation: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

#[derive(Serialize)]
struct Part {
    name: String,
    resources: ResourceRequirements,
}

/// What a pod's containers should have.
pub fn wanted(pod: &Pod) -> Allocated {
    let of = |container: &Container| (container.name.clone(), container.resources.clone().unwrap_or_default());
    pod::containers(pod).map(of).collect()
}

/// What a pod's containers had when this kubelet did not run yet, as far as its status tells.
pub fn known(pod: &Pod) -> Allocated {
    let mut all = wanted(pod);
    let status = pod.status.as_ref();
    let statuses = status.iter().flat_map(|status| {
        status.container_statuses.iter().flatten().chain(status.init_container_statuses.iter().flatten())
    });
    for status in statuses {
        if let (Some(had), Some(now)) = (&status.resources, all.get_mut(&status.name)) {
            *now = had.clone();
        }
    }
    all
}

/// Whether a pod with the resources that it should have fits beside the others; otherwise why it waits.
pub fn fits<'a>(pod: &Pod, others: impl Iterator<Item = &'a Pod>, allocatable: &Allocatable) -> Result<(), Pending> {
    let requested = pod::requests(pod);
    if let Some(Lack { resource, requested, capacity, .. }) = lack(&requested, &BTreeMap::new(), allocatable) {
        let message =
            format!("Node didn't have enough capacity: {resource}, requested: {requested}, capacity: {capacity}");
        return Err(Pending { reason: "Infeasible", message });
    }
    let mut used: BTreeMap<String, Quantity> = BTreeMap::new();
    for other in others {
        for (resource, amount) in pod::requests(other) {
            *used.entry(resource).or_default() += amount;
        }
    }
    match lack(&requested, &used, allocatable) {
        Some(lack) => Err(Pending { reason: "Deferred", message: lack.to_string() }),
        None => Ok(()),
    }
}

/// A pod whose containers have these resources.
pub fn with(pod: &Pod, allocated: &Allocated) -> Pod {
    let mut pod = pod.clone();
    if let Some(spec) = &mut pod.spec {
        for container in spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()) {
            container.resources = allocated.get(&container.name).cloned();
        }
    }
    pod
}

/// The containers that must be restarted for what changed.
pub fn restarted(pod: &Pod, before: &Allocated, after: &Allocated) -> BTreeSet<String> {
    let empty = ResourceRequirements::default();
    let changed = |name: &str, resource: &str| {
        let part = |all: &Allocated| {
            let all = all.get(name).unwrap_or(&empty);
            let of = |list: &Option<BTreeMap<String, _>>| list.as_ref().and_then(|list| list.get(resource)).cloned();
            (of(&all.requests), of(&all.limits))
        };
        part(before) != part(after)
    };
    let must = |container: &&Container| {
        let mut policies = container.resize_policy.iter().flatten();
        policies.any(|policy| {
            policy.restart_policy == "RestartContainer" && changed(&container.name, &policy.resource_name)
        })
    };
    pod::containers(pod).filter(must).map(|container| container.name.clone()).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    fn pod(cpu: &str) -> Pod {
        let policy = json!([{"resourceName": "cpu", "restartPolicy": "RestartContainer"}]);
        serde_json::from_value(json!({"spec": {"containers": [
            {"name": "a", "resizePolicy": policy, "resources": {"requests": {"cpu": cpu, "memory": "1Gi"}}},
            {"name": "b", "resources": {"requests": {"cpu": "100m"}}}]}}))
        .unwrap()
    }

    #[test]
    fn a_change_fits_now_or_later_or_never() {
        let allocatable = Allocatable::from([("cpu".to_owned(), "2".parse().unwrap())]);
        let never = "Node didn't have enough capacity: cpu, requested: 2100, capacity: 2000";
        let later = "Node didn't have enough resource: cpu, requested: 1600, used: 600, capacity: 2000";
        for (cpu, expected) in [("1", None), ("1500m", Some(("Deferred", later))), ("2", Some(("Infeasible", never)))] {
            let other = pod("500m");
            let refused = fits(&pod(cpu), [&other].into_iter(), &allocatable).err();
            let refused = refused.as_ref().map(|pending| (pending.reason, pending.message.as_str()));
            assert_eq!(refused, expected, "{cpu}");
        }
    }

    #[test]
    fn changes_are_told_of_in_upstreams_form() {
        let mut pod = pod("100m");
        pod.metadata.generation = Some(2);
        let containers = r#""containers":[{"name":"a","resources":{"requests":{"cpu":"100m","memory":"1Gi"}}},{"name":"b","resources":{"requests":{"cpu":"100m"}}}],"generation":2"#;
        assert_eq!(message(&pod, "started", None), format!("Pod resize started: {{{containers}}}"));
        let deferred = message(&pod, "Deferred", Some("Node didn't have enough resource: cpu"));
        let error = r#""error":"Node didn't have enough resource: cpu""#;
        assert_eq!(deferred, format!("Pod resize Deferred: {{{containers},{error}}}"));
    }

    #[test]
    fn only_what_changed_and_asks_for_it_is_restarted() {
        let (before, after) = (wanted(&pod("1")), wanted(&pod("2")));
        assert_eq!(restarted(&pod("2"), &before, &after), BTreeSet::from(["a".to_owned()]));
        assert_eq!(restarted(&pod("2"), &after, &after), BTreeSet::new());
        assert_eq!(with(&pod("2"), &before), pod("1"));
    }
}
