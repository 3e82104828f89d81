//! What a replica set's status says. Source: `replica_set_utils.go` in Kubernetes.

use std::sync::Arc;

use k8s_openapi::{
    api::{
        apps::v1::{ReplicaSetCondition, ReplicaSetStatus},
        core::v1::Pod,
    },
    apimachinery::pkg::apis::meta::v1::Time,
};
use kubelab_api::{
    Error,
    pod::{is_available, is_ready},
};

use super::kind::Replicated;

const REPLICA_FAILURE: &str = "ReplicaFailure";

/// The status that follows from the pods at `now`, when the last attempt to change their number ended with `failure`.
pub fn calculate<S: Replicated>(
    set: &S,
    active: &[Arc<Pod>],
    terminating: usize,
    failure: Option<&Error>,
    now: &Time,
) -> ReplicaSetStatus {
    let min_ready = set.min_ready_seconds();
    let template = set.template().and_then(|template| template.metadata.as_ref()?.labels.as_ref());
    let fully_labeled = |pod: &&Arc<Pod>| {
        let labels = pod.metadata.labels.as_ref();
        template.is_none_or(|template| {
            template.iter().all(|(name, value)| labels.and_then(|labels| labels.get(name)) == Some(value))
        })
    };
    let some = |count: i32| (count != 0).then_some(count);
    let count = |wanted: &dyn Fn(&&Arc<Pod>) -> bool| active.iter().filter(wanted).count() as i32;

    let mut conditions = set.status().conditions.unwrap_or_default();
    let failed_before = conditions.iter().any(|condition| condition.type_.as_deref() == Some(REPLICA_FAILURE));
    match failure {
        Some(failure) if !failed_before => {
            let reason = if (active.len() as i32) < set.replicas() { "FailedCreate" } else { "FailedDelete" };
            conditions.push(ReplicaSetCondition {
                type_: Some(REPLICA_FAILURE.into()),
                status: Some("True".into()),
                last_transition_time: Some(now.clone()),
                reason: Some(reason.into()),
                message: Some(failure.to_string()),
            });
        }
        None => conditions.retain(|condition| condition.type_.as_deref() != Some(REPLICA_FAILURE)),
        Some(_) => {}
    }
    ReplicaSetStatus {
        replicas: active.len() as i32,
        fully_labeled_replicas: some(count(&fully_labeled)),
        ready_replicas: some(count(&|pod| is_ready(pod))),
        available_replicas: some(count(&|pod| is_available(pod, min_ready, now.0))),
        terminating_replicas: Some(terminating as i32),
        observed_generation: set.metadata().generation,
        conditions: Some(conditions).filter(|conditions| !conditions.is_empty()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use k8s_openapi::api::apps::v1::ReplicaSet;
    use serde_json::json;

    use super::*;

    fn now() -> Time {
        Time("2026-11-20T12:00:30Z".parse().unwrap())
    }

    fn set() -> ReplicaSet {
        serde_json::from_value(json!({
            "metadata": {"name": "web", "generation": 3},
            "spec": {
                "replicas": 3, "minReadySeconds": 10,
                "selector": {"matchLabels": {"app": "web"}},
                "template": {"metadata": {"labels": {"app": "web", "tier": "front"}}},
            },
        }))
        .unwrap()
    }

    fn pod(labels: serde_json::Value, ready_since: Option<&str>) -> Arc<Pod> {
        let condition =
            ready_since.map(|since| json!([{"type": "Ready", "status": "True", "lastTransitionTime": since}]));
        let status = json!({"phase": "Running", "conditions": condition.unwrap_or(json!([]))});
        Arc::new(serde_json::from_value(json!({"metadata": {"labels": labels}, "status": status})).unwrap())
    }

    #[test]
    fn pods_are_counted_by_how_far_they_are() {
        let full = json!({"app": "web", "tier": "front", "more": "x"});
        let pods = [
            pod(full.clone(), Some("2026-11-20T12:00:00Z")),
            pod(full, Some("2026-11-20T12:00:25Z")),
            pod(json!({"app": "web"}), None),
        ];
        let status = calculate(&set(), &pods, 1, None, &now());
        assert_eq!(status.replicas, 3);
        assert_eq!(status.fully_labeled_replicas, Some(2));
        assert_eq!(status.ready_replicas, Some(2));
        assert_eq!(status.available_replicas, Some(1));
        assert_eq!(status.terminating_replicas, Some(1));
        assert_eq!(status.observed_generation, Some(3));
    }

    #[test]
    fn a_failure_is_told_until_it_is_over() {
        let error = Error::internal("exceeded quota");
        let status = calculate(&set(), &[], 0, Some(&error), &now());
        let condition = &status.conditions.as_ref().unwrap()[0];
        assert_eq!(condition.reason.as_deref(), Some("FailedCreate"));
        assert_eq!(condition.message.as_deref(), Some("Internal error occurred: exceeded quota"));

        let failed = set().with_status(status.clone());
        let later = Time("2026-11-20T12:05:00Z".parse().unwrap());
        assert_eq!(status, calculate(&failed, &[], 0, Some(&error), &later), "the first failure stays");
        assert_eq!(calculate(&failed, &[], 0, None, &later).conditions, None);
    }
}
