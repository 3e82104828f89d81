//! Pods. Source: `pkg/quota/v1/evaluator/core/pods.go`.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Container, Pod, PodAffinityTerm, ScopedResourceSelectorRequirement};

use super::{Amounts, add, parsed, selects};
use crate::{
    Quantity,
    pod::{QosClass, is_terminal, limits, qos_class, requests},
};

const COUNT: &str = "count/pods";

const TRACKED: [&str; 11] = [
    COUNT,
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
];

/// Where one of these is limited, every container must set it.
const REQUIRED: [&str; 6] = ["cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"];

/// A resource of Kubernetes itself.
fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

pub(super) fn tracks(name: &str) -> bool {
    TRACKED.contains(&name)
        || name.starts_with("hugepages-")
        || name.starts_with("requests.hugepages-")
        || (name.starts_with("requests.") && !is_native(name))
}

pub(super) fn usage(pod: &Pod, now: Timestamp) -> Amounts {
    let mut usage = Amounts::from([(COUNT.to_owned(), Quantity::new(1, Default::default()))]);
    if is_charged(pod, now) {
        add(&mut usage, &compute(&requests(pod), &limits(pod)));
    }
    usage
}

/// It runs or may run. A pod that should long be gone, its node being lost, must not keep others from taking its place.
/// Source: `QuotaV1Pod`.
fn is_charged(pod: &Pod, now: Timestamp) -> bool {
    let overdue = match (&pod.metadata.deletion_timestamp, pod.metadata.deletion_grace_period_seconds) {
        (Some(end), Some(grace)) => now > end.0 + SignedDuration::from_secs(grace),
        _ => false,
    };
    !is_terminal(pod) && !overdue
}

/// Source: `podComputeUsageHelper`.
fn compute(requests: &Amounts, limits: &Amounts) -> Amounts {
    let mut usage = Amounts::from([("pods".to_owned(), Quantity::new(1, Default::default()))]);
    for name in ["cpu", "memory", "ephemeral-storage"] {
        if let Some(request) = requests.get(name) {
            usage.insert(name.to_owned(), *request);
            usage.insert(format!("requests.{name}"), *request);
        }
        if let Some(limit) = limits.get(name) {
            usage.insert(format!("limits.{name}"), *limit);
        }
    }
    for (name, request) in requests {
        if name.starts_with("hugepages-") {
            usage.insert(name.clone(), *request);
        }
        if name.starts_with("hugepages-") || !is_native(name) {
            usage.insert(format!("requests.{name}"), *request);
        }
    }
    usage
}

pub(super) fn unsaid(pod: &Pod, limited: &[&str]) -> Option<String> {
    let required: BTreeSet<&str> = limited.iter().copied().filter(|name| REQUIRED.contains(name)).collect();
    let spec = pod.spec.as_ref()?;
    let own = spec.resources.as_ref();
    let of_pod =
        compute(&parsed(own.and_then(|own| own.requests.as_ref())), &parsed(own.and_then(|own| own.limits.as_ref())));
    let mut missing: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for container in spec.containers.iter().chain(spec.init_containers.iter().flatten()) {
        let said = said(container);
        for name in required.iter().filter(|name| !said.contains_key(**name) && !of_pod.contains_key(**name)) {
            missing.entry(name).or_default().insert(&container.name);
        }
    }
    let told = missing.iter().map(|(name, containers)| {
        let containers: Vec<_> = containers.iter().copied().collect();
        format!("{name} for: {}", containers.join(","))
    });
    let told: Vec<_> = told.collect();
    (!told.is_empty()).then(|| format!("must specify {}", told.join("; ")))
}

fn said(container: &Container) -> Amounts {
    let resources = container.resources.as_ref();
    compute(
        &parsed(resources.and_then(|resources| resources.requests.as_ref())),
        &parsed(resources.and_then(|resources| resources.limits.as_ref())),
    )
}

pub(super) fn is_in(pod: &Pod, scope: &ScopedResourceSelectorRequirement) -> bool {
    let Some(spec) = &pod.spec else { return false };
    let terminating = spec.active_deadline_seconds.is_some_and(|seconds| seconds >= 0);
    match scope.scope_name.as_str() {
        "Terminating" => terminating,
        "NotTerminating" => !terminating,
        "BestEffort" => qos_class(pod) == QosClass::BestEffort,
        "NotBestEffort" => qos_class(pod) != QosClass::BestEffort,
        "PriorityClass" => selects(scope, spec.priority_class_name.as_deref().filter(|name| !name.is_empty())),
        "CrossNamespacePodAffinity" => crosses_namespaces(pod),
        _ => false,
    }
}

fn crosses_namespaces(pod: &Pod) -> bool {
    let Some(affinity) = pod.spec.as_ref().and_then(|spec| spec.affinity.as_ref()) else { return false };
    let near = affinity.pod_affinity.as_ref().map(|near| {
        (
            &near.required_during_scheduling_ignored_during_execution,
            &near.preferred_during_scheduling_ignored_during_execution,
        )
    });
    let far = affinity.pod_anti_affinity.as_ref().map(|far| {
        (
            &far.required_during_scheduling_ignored_during_execution,
            &far.preferred_during_scheduling_ignored_during_execution,
        )
    });
    let crosses = |term: &PodAffinityTerm| {
        term.namespace_selector.is_some() || term.namespaces.as_ref().is_some_and(|all| !all.is_empty())
    };
    near.into_iter().chain(far).any(|(required, preferred)| {
        required.iter().flatten().any(crosses)
            || preferred.iter().flatten().any(|weighted| crosses(&weighted.pod_affinity_term))
    })
}
