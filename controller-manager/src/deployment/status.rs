//! What a deployment's status says. Source: `pkg/controller/deployment/{sync,progress}.go` in Kubernetes.

use std::{sync::Arc, time::Duration};

use k8s_openapi::{
    api::apps::v1::{Deployment, DeploymentCondition, DeploymentStatus, ReplicaSet},
    apimachinery::pkg::apis::meta::v1::Time,
};

use super::limits::{Limits, replicas};

/// The condition that enough pods are available.
pub const AVAILABLE: &str = "Available";
/// The condition that the rollout gets on.
pub const PROGRESSING: &str = "Progressing";
/// The condition that pods cannot be created or deleted.
pub const REPLICA_FAILURE: &str = "ReplicaFailure";

/// The reason of a rollout that is complete.
pub const NEW_REPLICA_SET_AVAILABLE: &str = "NewReplicaSetAvailable";
/// The reason of a rollout that missed its deadline.
pub const TIMED_OUT: &str = "ProgressDeadlineExceeded";
/// The reason while the deployment is paused.
pub const PAUSED: &str = "DeploymentPaused";
/// The reason once it no longer is.
pub const RESUMED: &str = "DeploymentResumed";

/// A condition that begins now.
pub fn condition(
    type_: &str,
    status: &str,
    reason: &str,
    message: impl Into<String>,
    now: &Time,
) -> DeploymentCondition {
    DeploymentCondition {
        type_: Some(type_.to_owned()),
        status: Some(status.to_owned()),
        reason: Some(reason.to_owned()),
        message: Some(message.into()),
        last_transition_time: Some(now.clone()),
        last_update_time: Some(now.clone()),
    }
}

/// The condition of this type.
pub fn find<'a>(status: &'a DeploymentStatus, type_: &str) -> Option<&'a DeploymentCondition> {
    status.conditions.iter().flatten().find(|condition| condition.type_.as_deref() == Some(type_))
}

/// Puts a condition in its place, unless its status and reason stand there already.
pub fn set(status: &mut DeploymentStatus, mut condition: DeploymentCondition) {
    let type_ = condition.type_.clone().unwrap_or_default();
    if let Some(current) = find(status, &type_) {
        if current.status == condition.status && current.reason == condition.reason {
            return;
        }
        if current.status == condition.status {
            condition.last_transition_time = current.last_transition_time.clone();
        }
    }
    remove(status, &type_);
    status.conditions.get_or_insert_default().push(condition);
}

/// Takes a condition away.
pub fn remove(status: &mut DeploymentStatus, type_: &str) {
    if let Some(conditions) = &mut status.conditions {
        conditions.retain(|condition| condition.type_.as_deref() != Some(type_));
        if conditions.is_empty() {
            status.conditions = None;
        }
    }
}

/// What the replica sets' counts add up to. Conditions are the deployment's own, with `Available` brought up to date.
pub fn counts(
    deployment: &Deployment,
    new: Option<&ReplicaSet>,
    all: &[Arc<ReplicaSet>],
    now: &Time,
) -> DeploymentStatus {
    let limits = Limits::of(deployment);
    let sum = |count: &dyn Fn(&ReplicaSet) -> i32| all.iter().map(|set| count(set)).sum::<i32>();
    let wanted = sum(&wanted);
    let available = sum(&available);
    let terminating =
        all.iter().map(|set| set.status.as_ref().and_then(|status| status.terminating_replicas)).sum::<Option<i32>>();
    let some = |count: i32| (count != 0).then_some(count);
    let before = deployment.status.clone().unwrap_or_default();
    let mut status = DeploymentStatus {
        observed_generation: deployment.metadata.generation,
        replicas: some(sum(&present)),
        updated_replicas: some(new.map_or(0, present)),
        ready_replicas: some(sum(&|set| set.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or(0))),
        available_replicas: some(available),
        unavailable_replicas: some((wanted - available).max(0)),
        terminating_replicas: terminating,
        collision_count: before.collision_count,
        conditions: before.conditions,
    };
    let (value, reason, message) = if available >= limits.fewest() {
        ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
    } else {
        ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
    };
    set(&mut status, condition(AVAILABLE, value, reason, message, now));
    status
}

/// Brings the conditions `Progressing` and `ReplicaFailure` of a new status up to date during a rollout.
pub fn progress(
    deployment: &Deployment,
    new: Option<&ReplicaSet>,
    all: &[Arc<ReplicaSet>],
    status: &mut DeploymentStatus,
    now: &Time,
) {
    let before = deployment.status.clone().unwrap_or_default();
    let current = find(&before, PROGRESSING);
    let over = status.replicas == status.updated_replicas
        && current.is_some_and(|condition| condition.reason.as_deref() == Some(NEW_REPLICA_SET_AVAILABLE));
    match deadline(deployment) {
        None => remove(status, PROGRESSING),
        Some(_) if over => {}
        Some(deadline) => {
            let subject = match new {
                Some(set) => format!("ReplicaSet {:?}", set.metadata.name.as_deref().unwrap_or_default()),
                None => format!("Deployment {:?}", deployment.metadata.name.as_deref().unwrap_or_default()),
            };
            if is_complete(deployment, status) {
                let message = format!("{subject} has successfully progressed.");
                set(status, condition(PROGRESSING, "True", NEW_REPLICA_SET_AVAILABLE, message, now));
            } else if has_progressed(&before, status) {
                let message = format!("{subject} is progressing.");
                let mut next = condition(PROGRESSING, "True", "ReplicaSetUpdated", message, now);
                // Progress renews the deadline even where nothing else in the condition changes.
                if let Some(current) = current.filter(|current| current.status.as_deref() == Some("True")) {
                    next.last_transition_time = current.last_transition_time.clone();
                }
                remove(status, PROGRESSING);
                set(status, next);
            } else if has_timed_out(status, deadline, now) {
                let message = format!("{subject} has timed out progressing.");
                set(status, condition(PROGRESSING, "False", TIMED_OUT, message, now));
            }
        }
    }
    match failure(new, all) {
        Some(failure) => set(status, failure),
        None => remove(status, REPLICA_FAILURE),
    }
}

/// When to look whether a rollout that shows no progress has missed its deadline.
pub fn next_check(deployment: &Deployment, status: &DeploymentStatus, now: &Time) -> Option<Duration> {
    let current = find(status, PROGRESSING)?;
    if is_complete(deployment, status) || current.reason.as_deref() == Some(TIMED_OUT) {
        return None;
    }
    let since = current.last_update_time.as_ref()?;
    let passed = Duration::try_from(now.0.duration_since(since.0)).unwrap_or_default();
    // A second more, as times in objects have no fractions. Source: kubernetes/kubernetes#39785.
    Some(deadline(deployment)?.saturating_sub(passed) + Duration::from_secs(1))
}

/// All pods are the new ones, all wanted ones are there, and they are available.
pub fn is_complete(deployment: &Deployment, status: &DeploymentStatus) -> bool {
    let wanted = replicas(deployment);
    status.updated_replicas.unwrap_or(0) == wanted
        && status.replicas.unwrap_or(0) == wanted
        && status.available_replicas.unwrap_or(0) == wanted
        && status.observed_generation >= deployment.metadata.generation
}

/// How many pods a replica set wants.
pub fn wanted(set: &ReplicaSet) -> i32 {
    set.spec.replicas.unwrap_or(1)
}

/// How many pods a replica set has.
pub fn present(set: &ReplicaSet) -> i32 {
    set.status.as_ref().map_or(0, |status| status.replicas)
}

/// How many available pods a replica set has.
pub fn available(set: &ReplicaSet) -> i32 {
    set.status.as_ref().and_then(|status| status.available_replicas).unwrap_or(0)
}

/// How long a rollout may show no progress; `None` for as long as it likes. Source: `HasProgressDeadline`.
pub fn deadline(deployment: &Deployment) -> Option<Duration> {
    let seconds = deployment.spec.progress_deadline_seconds.filter(|seconds| *seconds != i32::MAX)?;
    Some(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

fn has_progressed(before: &DeploymentStatus, after: &DeploymentStatus) -> bool {
    let updated = |status: &DeploymentStatus| status.updated_replicas.unwrap_or(0);
    let old = |status: &DeploymentStatus| status.replicas.unwrap_or(0) - updated(status);
    updated(after) > updated(before)
        || old(after) < old(before)
        || after.ready_replicas.unwrap_or(0) > before.ready_replicas.unwrap_or(0)
        || after.available_replicas.unwrap_or(0) > before.available_replicas.unwrap_or(0)
}

fn has_timed_out(status: &DeploymentStatus, deadline: Duration, now: &Time) -> bool {
    let Some(current) = find(status, PROGRESSING) else { return false };
    match current.reason.as_deref() {
        Some(NEW_REPLICA_SET_AVAILABLE) => false,
        Some(TIMED_OUT) => true,
        _ => current.last_update_time.as_ref().is_some_and(|since| {
            Duration::try_from(now.0.duration_since(since.0)).is_ok_and(|passed| passed > deadline)
        }),
    }
}

fn failure(new: Option<&ReplicaSet>, all: &[Arc<ReplicaSet>]) -> Option<DeploymentCondition> {
    let sets = new.into_iter().chain(all.iter().map(|set| &**set));
    let mut conditions =
        sets.flat_map(|set| set.status.as_ref().and_then(|status| status.conditions.as_ref())).flatten();
    conditions.find(|condition| condition.type_.as_deref() == Some(REPLICA_FAILURE)).map(|condition| {
        DeploymentCondition {
            type_: condition.type_.clone(),
            status: condition.status.clone(),
            reason: condition.reason.clone(),
            message: condition.message.clone(),
            last_transition_time: condition.last_transition_time.clone(),
            last_update_time: condition.last_transition_time.clone(),
        }
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Value, json};

    use super::*;

    fn time(text: &str) -> Time {
        Time(format!("2026-11-20T{text}Z").parse().unwrap())
    }

    fn deployment(status: Value) -> Deployment {
        serde_json::from_value(json!({
            "metadata": {"name": "web", "generation": 2},
            "spec": {"replicas": 3, "progressDeadlineSeconds": 600, "selector": {}, "template": {}},
            "status": status,
        }))
        .unwrap()
    }

    fn set(name: &str, wanted: i32, status: Value) -> Arc<ReplicaSet> {
        let spec = json!({"replicas": wanted, "selector": {}});
        Arc::new(serde_json::from_value(json!({"metadata": {"name": name}, "spec": spec, "status": status})).unwrap())
    }

    fn outcome(deployment: &Deployment, new: &Arc<ReplicaSet>, old: &Arc<ReplicaSet>, now: &Time) -> DeploymentStatus {
        let all = [Arc::clone(new), Arc::clone(old)];
        let mut status = counts(deployment, Some(new), &all, now);
        progress(deployment, Some(new), &all, &mut status, now);
        status
    }

    fn reason(status: &DeploymentStatus, type_: &str) -> (String, String) {
        let condition = find(status, type_).unwrap();
        (condition.reason.clone().unwrap(), condition.message.clone().unwrap())
    }

    #[test]
    fn a_rollout_from_first_step_to_last() {
        let old = set("web-1", 3, json!({"replicas": 3, "readyReplicas": 3, "availableReplicas": 3}));
        let new = set("web-2", 1, json!({"replicas": 1}));
        let before = deployment(json!({"replicas": 3, "readyReplicas": 3, "availableReplicas": 3}));
        let status = outcome(&before, &new, &old, &time("12:00:00"));
        assert_eq!(status.replicas, Some(4));
        assert_eq!(status.updated_replicas, Some(1));
        assert_eq!(status.unavailable_replicas, Some(1));
        assert_eq!(status.observed_generation, Some(2));
        assert_eq!(reason(&status, AVAILABLE).0, "MinimumReplicasAvailable");
        let expected = ("ReplicaSetUpdated".to_owned(), "ReplicaSet \"web-2\" is progressing.".to_owned());
        assert_eq!(reason(&status, PROGRESSING), expected);
        assert_eq!(next_check(&before, &status, &time("12:00:10")), Some(Duration::from_secs(591)));

        let during = Deployment { status: Some(status), ..before };
        let stuck = outcome(&during, &new, &old, &time("12:10:01"));
        assert_eq!(reason(&stuck, PROGRESSING).1, "ReplicaSet \"web-2\" has timed out progressing.");
        assert_eq!(next_check(&during, &stuck, &time("12:10:01")), None);

        let new = set("web-2", 3, json!({"replicas": 3, "readyReplicas": 3, "availableReplicas": 3}));
        let old = set("web-1", 0, json!({"replicas": 0}));
        let done = outcome(&during, &new, &old, &time("12:00:30"));
        let expected =
            (NEW_REPLICA_SET_AVAILABLE.to_owned(), "ReplicaSet \"web-2\" has successfully progressed.".to_owned());
        assert_eq!(reason(&done, PROGRESSING), expected);
        assert_eq!(find(&done, PROGRESSING).unwrap().last_transition_time, Some(time("12:00:00")));
        let after = Deployment { status: Some(done.clone()), ..during };
        assert_eq!(outcome(&after, &new, &old, &time("12:30:00")), done, "nothing changes any more");
    }

    #[test]
    fn failures_of_replica_sets_show_until_they_are_over() {
        let failure =
            json!([{"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "quota"}]);
        let old = set("web-1", 0, json!({"replicas": 0}));
        let new = set("web-2", 3, json!({"replicas": 0, "conditions": failure}));
        let status = outcome(&deployment(json!({})), &new, &old, &time("12:00:00"));
        assert_eq!(reason(&status, REPLICA_FAILURE).0, "FailedCreate");
        assert_eq!(reason(&status, AVAILABLE).0, "MinimumReplicasUnavailable");
        let new = set("web-2", 3, json!({"replicas": 3}));
        let failed = Deployment { status: Some(status), ..deployment(json!({})) };
        assert!(find(&outcome(&failed, &new, &old, &time("12:00:01")), REPLICA_FAILURE).is_none());
    }
}
