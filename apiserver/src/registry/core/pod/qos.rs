//! How well a pod is protected when its node runs short. Source: `pkg/apis/core/helper/qos/qos.go`.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::PodSpec;

use crate::registry::{
    cells::list,
    core::resources::{Amounts, is_positive},
};

/// `Guaranteed`, `Burstable` or `BestEffort`.
pub fn class(spec: &PodSpec) -> &'static str {
    let of_pod = spec.resources.iter();
    let containers = spec.containers.iter().chain(list(&spec.init_containers));
    // Resources of the whole pod, if any are given, decide instead of its containers'.
    let all: Vec<_> = match of_pod.len() {
        0 => containers.map(|container| container.resources.clone().unwrap_or_default()).collect(),
        _ => of_pod.cloned().collect(),
    };
    let counted = |amounts: &Option<Amounts>| -> Amounts {
        let counts = |name: &str| matches!(name, "cpu" | "memory");
        let amounts = amounts.iter().flatten().filter(|(name, amount)| counts(name) && is_positive(amount));
        amounts.map(|(name, amount)| (name.clone(), amount.clone())).collect()
    };
    let (mut some, mut guaranteed) = (false, true);
    for resources in &all {
        let (requests, limits) = (counted(&resources.requests), counted(&resources.limits));
        some |= !requests.is_empty() || !limits.is_empty();
        let limited: BTreeSet<_> = limits.keys().map(String::as_str).collect();
        guaranteed &= limited == BTreeSet::from(["cpu", "memory"]) && requests == limits;
    }
    match (some, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}
