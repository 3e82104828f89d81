//! What a pod asks for and may use. Source: `k8s.io/component-helpers/resource`, `pkg/apis/core/v1/helper/qos`.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{Container, Pod},
    apimachinery::pkg::api::resource::Quantity as Text,
};

use super::is_sidecar;
use crate::Quantity;

type Amounts = BTreeMap<String, Quantity>;
type Texts = BTreeMap<String, Text>;

/// What the scheduler must find room for: the larger of what runs together at last and what each init container needs
/// while it runs (beside the sidecars started before it), pod-level requests if there are any, and the overhead.
pub fn requests(pod: &Pod) -> Amounts {
    of_pod(
        pod,
        |container| container.resources.as_ref()?.requests.as_ref(),
        |pod| pod.spec.as_ref()?.resources.as_ref()?.requests.as_ref(),
    )
}

/// What the pod's containers may use at most, as far as limits are set.
pub fn limits(pod: &Pod) -> Amounts {
    of_pod(
        pod,
        |container| container.resources.as_ref()?.limits.as_ref(),
        |pod| pod.spec.as_ref()?.resources.as_ref()?.limits.as_ref(),
    )
}

fn of_pod(pod: &Pod, of: fn(&Container) -> Option<&Texts>, own: fn(&Pod) -> Option<&Texts>) -> Amounts {
    let Some(spec) = &pod.spec else { return Amounts::new() };
    let mut total = Amounts::new();
    for container in &spec.containers {
        add(&mut total, of(container));
    }
    let (mut sidecars, mut starting) = (Amounts::new(), Amounts::new());
    for container in spec.init_containers.iter().flatten() {
        if is_sidecar(container) {
            add(&mut total, of(container));
            add(&mut sidecars, of(container));
            raise(&mut starting, &sidecars);
        } else {
            let mut while_it_runs = sidecars.clone();
            add(&mut while_it_runs, of(container));
            raise(&mut starting, &while_it_runs);
        }
    }
    raise(&mut total, &starting);
    for (name, amount) in parsed(own(pod)) {
        total.insert(name.clone(), amount);
    }
    if !total.is_empty() {
        add(&mut total, spec.overhead.as_ref());
    }
    total
}

/// Stored quantities are valid; a malformed one counts as nothing.
fn parsed(texts: Option<&Texts>) -> impl Iterator<Item = (&String, Quantity)> {
    texts.into_iter().flatten().filter_map(|(name, text)| Some((name, Quantity::try_from(text).ok()?)))
}

fn add(total: &mut Amounts, texts: Option<&Texts>) {
    for (name, amount) in parsed(texts) {
        *total.entry(name.clone()).or_default() += amount;
    }
}

fn raise(total: &mut Amounts, others: &Amounts) {
    for (name, amount) in others {
        let present = total.entry(name.clone()).or_insert(*amount);
        *present = (*present).max(*amount);
    }
}

/// How a pod fares when its node runs short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum QosClass {
    /// Asks for nothing; goes first.
    BestEffort,
    /// Asks for something.
    Burstable,
    /// Every container's CPU and memory limits equal its requests; goes last.
    Guaranteed,
}

impl QosClass {
    /// `status.qosClass`.
    pub fn name(self) -> &'static str {
        match self {
            Self::BestEffort => "BestEffort",
            Self::Burstable => "Burstable",
            Self::Guaranteed => "Guaranteed",
        }
    }
}

/// The class of a pod. Source: `ComputePodQOS`.
pub fn qos_class(pod: &Pod) -> QosClass {
    let Some(spec) = &pod.spec else { return QosClass::BestEffort };
    let compute = |texts: Option<&Texts>| -> Amounts {
        let counted = parsed(texts)
            .filter(|(name, amount)| matches!(name.as_str(), "cpu" | "memory") && *amount > Quantity::ZERO);
        counted.map(|(name, amount)| (name.clone(), amount)).collect()
    };
    let containers = super::containers(pod).map(|container| container.resources.as_ref());
    let resources: Vec<_> = if spec.resources.as_ref().is_some_and(|own| own.requests.is_some() || own.limits.is_some())
    {
        vec![spec.resources.as_ref()]
    } else {
        containers.collect()
    };
    let pairs: Vec<_> = resources
        .iter()
        .map(|resources| {
            let own = |of: fn(&_) -> Option<&Texts>| compute(resources.and_then(of));
            (own(|own| own.requests.as_ref()), own(|own| own.limits.as_ref()))
        })
        .collect();
    if pairs.iter().all(|(requests, limits)| requests.is_empty() && limits.is_empty()) {
        return QosClass::BestEffort;
    }
    let guaranteed = |(requests, limits): &(Amounts, Amounts)| {
        limits.len() == 2 && requests.iter().all(|(name, amount)| limits.get(name) == Some(amount))
    };
    if pairs.iter().all(guaranteed) { QosClass::Guaranteed } else { QosClass::Burstable }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Value, json};

    use super::*;

    fn pod(spec: Value) -> Pod {
        serde_json::from_value(json!({"spec": spec})).unwrap()
    }

    fn container(requests: Value, limits: Value) -> Value {
        json!({"name": "c", "resources": {"requests": requests, "limits": limits}})
    }

    #[test]
    fn requests_are_what_runs_at_the_same_time() {
        let asks = |cpu: &str| container(json!({"cpu": cpu}), json!({}));
        let sidecar =
            |cpu: &str| json!({"name": "s", "restartPolicy": "Always", "resources": {"requests": {"cpu": cpu}}});
        for (what, spec, cpu) in [
            ("a sum", json!({"containers": [asks("100m"), asks("200m")]}), "300m"),
            ("a large init container", json!({"containers": [asks("100m")], "initContainers": [asks("1")]}), "1"),
            ("a small init container", json!({"containers": [asks("100m")], "initContainers": [asks("50m")]}), "100m"),
            ("a sidecar", json!({"containers": [asks("100m")], "initContainers": [sidecar("50m")]}), "150m"),
            (
                "an init container beside a sidecar",
                json!({"containers": [asks("100m")], "initContainers": [sidecar("50m"), asks("200m")]}),
                "250m",
            ),
            (
                "an init container before a sidecar",
                json!({"containers": [asks("100m")], "initContainers": [asks("140m"), sidecar("50m")]}),
                "150m",
            ),
            ("overhead", json!({"containers": [asks("100m")], "overhead": {"cpu": "10m"}}), "110m"),
            ("the pod's own", json!({"containers": [asks("100m")], "resources": {"requests": {"cpu": "1"}}}), "1"),
        ] {
            assert_eq!(requests(&pod(spec)).get("cpu").map(ToString::to_string).as_deref(), Some(cpu), "{what}");
        }
        assert!(requests(&Pod::default()).is_empty());
    }

    #[test]
    fn classes_follow_requests_and_limits() {
        let both = json!({"cpu": "1", "memory": "1Gi"});
        for (containers, class) in [
            (vec![container(json!({}), json!({}))], QosClass::BestEffort),
            (vec![container(json!({"cpu": "0"}), json!({}))], QosClass::BestEffort),
            (vec![container(json!({"cpu": "1"}), json!({}))], QosClass::Burstable),
            (vec![container(both.clone(), both.clone())], QosClass::Guaranteed),
            (vec![container(json!({}), both.clone())], QosClass::Guaranteed),
            (vec![container(json!({"cpu": "500m", "memory": "1Gi"}), both.clone())], QosClass::Burstable),
            (vec![container(both.clone(), both.clone()), container(json!({}), json!({}))], QosClass::Burstable),
            (vec![container(json!({}), json!({"memory": "1Gi"}))], QosClass::Burstable),
        ] {
            assert_eq!(qos_class(&pod(json!({"containers": containers}))), class, "{containers:?}");
        }
    }
}
