//! Which pod goes when a node runs out of memory, and what is said of it.
//! Source: `pkg/kubelet/eviction/helpers.go` of Kubernetes and its default thresholds.

use std::cmp::Reverse;

use k8s_openapi::api::core::v1::{Container, Pod};
use kubelab_api::{
    Quantity,
    pod::{QosClass, containers, qos_class, requests},
};

/// A node that has less memory than this evicts pods. Source: the kubelet's `evictionHard`.
pub const THRESHOLD: u64 = 100 << 20;

/// Pods of this priority and above stay. Source: `SystemCriticalPriority`.
const CRITICAL: i32 = 2_000_000_000;

/// A pod on a node that is short of memory.
pub struct Candidate<'a> {
    /// The pod.
    pub pod: &'a Pod,
    /// What its containers use, in bytes, by name.
    pub used: Vec<(String, u64)>,
}

impl Candidate<'_> {
    fn total(&self) -> u64 {
        self.used.iter().map(|(_, used)| used).sum()
    }

    fn requested(&self) -> u64 {
        requests(self.pod).get("memory").map_or(0, |amount| u64::try_from(amount.value()).unwrap_or(0))
    }

    fn is_critical(&self) -> bool {
        let annotations = self.pod.metadata.annotations.as_ref();
        let is_mirror = annotations.is_some_and(|annotations| annotations.contains_key("kubernetes.io/config.mirror"));
        is_mirror || priority(self.pod) >= CRITICAL
    }
}

fn priority(pod: &Pod) -> i32 {
    pod.spec.as_ref().and_then(|spec| spec.priority).unwrap_or(0)
}

/// The pod to evict: one that uses more than it asked for, of the lowest priority, that uses most beyond that.
pub fn choose<'a, 'b>(candidates: &'b [Candidate<'a>]) -> Option<&'b Candidate<'a>> {
    let rank = |candidate: &&Candidate<'_>| {
        let (total, requested) = (candidate.total(), candidate.requested());
        (total <= requested, priority(candidate.pod), Reverse(total.saturating_sub(requested)), Reverse(total))
    };
    candidates.iter().filter(|candidate| !candidate.is_critical()).min_by_key(rank)
}

/// Why it goes, in upstream's words.
pub fn message(candidate: &Candidate<'_>, available: u64) -> String {
    let amount = |bytes: u64| Quantity::from_bytes(i64::try_from(bytes).unwrap_or(i64::MAX));
    let mut text = format!(
        "The node was low on resource: memory. Threshold quantity: {}, available: {}. ",
        amount(THRESHOLD),
        amount(available)
    );
    for (name, used) in &candidate.used {
        let container = containers(candidate.pod).find(|container| container.name == *name);
        let request = container.map_or(0, memory_request);
        if *used > request {
            text += &format!(
                "Container {name} was using {}, request is {}, has larger consumption of memory. ",
                amount(*used),
                amount(request)
            );
        }
    }
    text
}

fn memory_request(container: &Container) -> u64 {
    let request = container.resources.as_ref().and_then(|resources| resources.requests.as_ref()?.get("memory"));
    let request = request.and_then(|amount| amount.0.parse::<Quantity>().ok());
    request.map_or(0, |amount| u64::try_from(amount.value()).unwrap_or(0))
}

/// Whether a node that is short of memory turns a pod away.
pub fn turns_away(pod: &Pod) -> bool {
    let tolerates = pod.spec.iter().flat_map(|spec| spec.tolerations.iter().flatten()).any(|toleration| {
        toleration.key.as_deref().is_none_or(|key| key.is_empty() || key == "node.kubernetes.io/memory-pressure")
            && toleration.effect.as_deref().is_none_or(|effect| effect.is_empty() || effect == "NoSchedule")
    });
    qos_class(pod) == QosClass::BestEffort && !tolerates && priority(pod) < CRITICAL
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    fn pod(name: &str, priority: i32, request: &str) -> Pod {
        let resources = json!({"requests": {"memory": request}});
        let spec = json!({"priority": priority, "containers": [{"name": "c", "resources": resources}]});
        serde_json::from_value(json!({"metadata": {"name": name}, "spec": spec})).unwrap()
    }

    #[test]
    fn who_takes_more_than_he_asked_for_goes_first() {
        let all = [
            (pod("modest", 0, "500Mi"), 400),
            (pod("greedy", 0, "100Mi"), 300),
            (pod("greedier", 0, "100Mi"), 350),
            (pod("dear", 1000, "100Mi"), 900),
            (pod("critical", CRITICAL, "0"), 999),
        ];
        let candidates = |names: &[&str]| -> Vec<Candidate<'_>> {
            let chosen = all.iter().filter(|(pod, _)| names.contains(&pod.metadata.name.as_deref().unwrap()));
            chosen.map(|(pod, used)| Candidate { pod, used: vec![("c".to_owned(), used << 20)] }).collect()
        };
        for (names, expected) in [
            (&["modest", "greedy", "greedier", "dear", "critical"][..], Some("greedier")),
            (&["modest", "dear"], Some("dear")),
            (&["modest", "critical"], Some("modest")),
            (&["critical"], None),
        ] {
            let candidates = candidates(names);
            let chosen = choose(&candidates).map(|chosen| chosen.pod.metadata.name.as_deref().unwrap());
            assert_eq!(chosen, expected, "{names:?}");
        }
        assert_eq!(
            message(&candidates(&["greedy"])[0], 50 << 20),
            "The node was low on resource: memory. Threshold quantity: 100Mi, available: 50Mi. Container c was using 300Mi, \
             request is 100Mi, has larger consumption of memory. "
        );
    }

    #[test]
    fn a_short_node_takes_no_pod_that_asks_for_nothing() {
        let best_effort: Pod = serde_json::from_value(json!({"spec": {"containers": [{"name": "c"}]}})).unwrap();
        assert!(turns_away(&best_effort) && !turns_away(&pod("burstable", 0, "1Mi")));
    }
}
