//! What a budget's status says. Source: `getExpectedPodCount`, `countHealthyPods`, `buildDisruptedPodMap` and
//! `updatePdbStatus` in Kubernetes' `disruption.go`.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::{
        core::v1::Pod,
        policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus},
    },
    apimachinery::pkg::{
        apis::meta::v1::{Condition, LabelSelector, Time},
        util::intstr::IntOrString,
    },
};
use kubelab_api::{
    Error,
    intstr::{Round, scaled},
    meta::{is_deleting, set_condition},
    pod::is_ready,
};

/// An evicted pod must be on its way out after so long, or the eviction came to nothing. Source: `DeletionTimeout`.
const DELETION: SignedDuration = SignedDuration::from_mins(2);
const ALLOWED: &str = "DisruptionAllowed";

/// How many pods there are to be, and how many of them must be healthy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// There are to be so many.
    pub expected: i32,
    /// So many of them must be healthy.
    pub healthy: i32,
}

/// What is wanted, and how many are healthy.
#[derive(Clone, Copy, Debug)]
pub struct Counts {
    /// What is wanted.
    pub wanted: Wanted,
    /// So many are healthy.
    pub healthy: i32,
}

/// The number of pods that their controllers want matters, and not only that of those there are.
pub fn needs_scale(budget: &PodDisruptionBudget) -> bool {
    let spec = budget.spec.as_ref();
    let min = spec.and_then(|spec| spec.min_available.as_ref());
    let max = spec.and_then(|spec| spec.max_unavailable.as_ref());
    max.is_some() || matches!(min, Some(IntOrString::String(_)))
}

/// What is wanted when there are to be so many pods. Shares round up.
pub fn wanted(budget: &PodDisruptionBudget, expected: i32) -> Result<Wanted, Error> {
    let share = |value: &IntOrString| scaled(value, expected, Round::Up).map_err(Error::internal);
    let spec = budget.spec.as_ref();
    let healthy = match spec.map(|spec| (&spec.max_unavailable, &spec.min_available)) {
        Some((Some(unavailable), _)) => (expected - share(unavailable)?).max(0),
        Some((None, Some(available))) => share(available)?,
        _ => 0,
    };
    Ok(Wanted { expected, healthy })
}

/// Pods whose eviction was allowed and that are not on their way out yet.
#[derive(Debug, Default)]
pub struct Disrupted {
    /// When each was allowed.
    pub pods: BTreeMap<String, Time>,
    /// Those that were not evicted after all.
    pub overdue: Vec<String>,
    /// When to look again.
    pub again: Option<Duration>,
}

/// What is left of the disruptions that were allowed.
pub fn still_disrupted(budget: &PodDisruptionBudget, pods: &[Arc<Pod>], now: Timestamp) -> Disrupted {
    let mut left = Disrupted::default();
    let Some(before) = budget.status.as_ref().and_then(|status| status.disrupted_pods.as_ref()) else { return left };
    for pod in pods.iter().filter(|pod| !is_deleting(&pod.metadata)) {
        let name = pod.metadata.name.clone().unwrap_or_default();
        let Some(allowed) = before.get(&name) else { continue };
        let wait = DELETION - now.duration_since(allowed.0);
        if wait.is_negative() {
            left.overdue.push(name);
        } else {
            let wait = Duration::try_from(wait).unwrap_or_default();
            left.again = Some(left.again.map_or(wait, |again| again.min(wait)));
            left.pods.insert(name, allowed.clone());
        }
    }
    left
}

/// How many pods serve and are going to.
pub fn healthy(pods: &[Arc<Pod>], disrupted: &BTreeMap<String, Time>) -> i32 {
    let is_disrupted = |pod: &Pod| pod.metadata.name.as_ref().is_some_and(|name| disrupted.contains_key(name));
    let healthy = pods.iter().filter(|pod| !is_deleting(&pod.metadata) && !is_disrupted(pod) && is_ready(pod));
    i32::try_from(healthy.count()).unwrap_or(i32::MAX)
}

/// The status that follows from the counts.
pub fn next(
    budget: &PodDisruptionBudget,
    counts: Counts,
    disrupted: BTreeMap<String, Time>,
    now: &Time,
) -> PodDisruptionBudgetStatus {
    let Counts { wanted, healthy } = counts;
    // A budget without pods is about to get some: those must not all be evicted before they are counted.
    let allowed = if wanted.expected <= 0 { 0 } else { (healthy - wanted.healthy).max(0) };
    let mut status = PodDisruptionBudgetStatus {
        conditions: budget.status.as_ref().and_then(|status| status.conditions.clone()),
        current_healthy: Some(healthy),
        desired_healthy: Some(wanted.healthy),
        disrupted_pods: Some(disrupted).filter(|pods| !pods.is_empty()),
        disruptions_allowed: Some(allowed),
        expected_pods: Some(wanted.expected),
        observed_generation: budget.metadata.generation,
    };
    let (is_allowed, reason) = if allowed > 0 { ("True", "SufficientPods") } else { ("False", "InsufficientPods") };
    put(&mut status, is_allowed, reason, "", now);
    status
}

/// The status while nothing can be said.
pub fn failed(budget: &PodDisruptionBudget, error: &Error, now: &Time) -> PodDisruptionBudgetStatus {
    let mut status = budget.status.clone().unwrap_or_default();
    status.disruptions_allowed = Some(0);
    put(&mut status, "False", "SyncFailed", &error.message, now);
    status
}

fn put(status: &mut PodDisruptionBudgetStatus, is_allowed: &str, reason: &str, message: &str, now: &Time) {
    let condition = Condition {
        type_: ALLOWED.to_owned(),
        status: is_allowed.to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        observed_generation: status.observed_generation,
        last_transition_time: now.clone(),
    };
    set_condition(status.conditions.get_or_insert_default(), condition);
}

/// A selector as Go's `%v` prints a pointer to it.
pub fn go_selector(selector: &LabelSelector) -> String {
    let labels = selector.match_labels.iter().flatten().map(|(name, value)| format!("{name}: {value},"));
    let expressions = selector.match_expressions.iter().flatten().map(|expression| {
        let values = expression.values.clone().unwrap_or_default().join(" ");
        format!(
            "LabelSelectorRequirement{{Key:{},Operator:{},Values:[{values}],}}",
            expression.key, expression.operator
        )
    });
    let labels: String = labels.collect();
    let expressions: String = expressions.map(|expression| expression + ",").collect();
    format!(
        "&LabelSelector{{MatchLabels:map[string]string{{{labels}}},\
         MatchExpressions:[]LabelSelectorRequirement{{{expressions}}},}}"
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Value, json};

    use super::*;

    fn budget(spec: Value, status: Value) -> PodDisruptionBudget {
        serde_json::from_value(json!({"metadata": {"name": "b", "generation": 2}, "spec": spec, "status": status}))
            .unwrap()
    }

    fn pod(name: &str, ready: bool, deleted: bool) -> Arc<Pod> {
        let ready = if ready { "True" } else { "False" };
        Arc::new(
            serde_json::from_value(json!({
                "metadata": {"name": name, "deletionTimestamp": deleted.then_some("2026-11-20T12:00:00Z")},
                "status": {"conditions": [{"type": "Ready", "status": ready}]},
            }))
            .unwrap(),
        )
    }

    fn now() -> Time {
        Time("2026-11-20T12:00:00Z".parse().unwrap())
    }

    #[test]
    fn shares_are_of_what_the_controllers_want() {
        for (spec, expected, healthy, needs) in [
            (json!({"minAvailable": 2}), 3, 2, false),
            (json!({"minAvailable": "50%"}), 3, 2, true),
            (json!({"minAvailable": "100%"}), 3, 3, true),
            (json!({"maxUnavailable": 1}), 3, 2, true),
            (json!({"maxUnavailable": 5}), 3, 0, true),
            (json!({"maxUnavailable": "30%"}), 10, 7, true),
            (json!({"maxUnavailable": "10%"}), 3, 2, true),
            (json!({}), 3, 0, false),
        ] {
            let budget = budget(spec.clone(), json!({}));
            assert_eq!(wanted(&budget, expected).unwrap(), Wanted { expected, healthy }, "{spec}");
            assert_eq!(needs_scale(&budget), needs, "{spec}");
        }
    }

    #[test]
    fn a_budget_allows_what_is_more_than_wanted() {
        for (expected, wanted, healthy, allowed, reason) in [
            (3, 2, 3, 1, "SufficientPods"),
            (3, 2, 2, 0, "InsufficientPods"),
            (3, 2, 1, 0, "InsufficientPods"),
            (0, 0, 0, 0, "InsufficientPods"),
            (0, 0, 2, 0, "InsufficientPods"),
        ] {
            let counts = Counts { wanted: Wanted { expected, healthy: wanted }, healthy };
            let status = next(&budget(json!({}), json!({})), counts, BTreeMap::new(), &now());
            assert_eq!(status.disruptions_allowed, Some(allowed));
            let condition = &status.conditions.unwrap()[0];
            assert_eq!((condition.reason.as_str(), condition.observed_generation), (reason, Some(2)));
        }
    }

    #[test]
    fn an_allowed_disruption_counts_until_it_comes_or_never_will() {
        let status = json!({"disruptedPods": {"a": "2026-11-20T11:59:30Z", "late": "2026-11-20T11:50:00Z",
            "going": "2026-11-20T11:59:30Z", "gone": "2026-11-20T11:59:30Z"}});
        let pods = [
            pod("a", true, false),
            pod("late", true, false),
            pod("going", true, true),
            pod("b", true, false),
            pod("c", false, false),
        ];
        let left = still_disrupted(&budget(json!({}), status), &pods, now().0);
        assert_eq!(left.pods.keys().collect::<Vec<_>>(), ["a"]);
        assert_eq!((left.overdue.as_slice(), left.again), (&["late".to_owned()][..], Some(Duration::from_secs(90))));
        assert_eq!(healthy(&pods, &left.pods), 2, "late and b");
    }

    #[test]
    fn a_failure_allows_nothing_and_keeps_the_counts() {
        let before = json!({"disruptionsAllowed": 2, "currentHealthy": 5, "desiredHealthy": 3, "expectedPods": 5});
        let status = failed(&budget(json!({}), before), &Error::internal("found no controllers"), &now());
        assert_eq!((status.disruptions_allowed, status.current_healthy), (Some(0), Some(5)));
        assert_eq!(status.conditions.unwrap()[0].reason, "SyncFailed");
    }
}
