//! What a job reads from its pods. Source: `indexed_job_utils.go` and `backoff_utils.go` in Kubernetes.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use kubelab_api::{
    meta::{annotation, has_finalizer, is_deleting},
    pod::{condition, get_condition, phase},
    well_known::annotation::JOB_COMPLETION_INDEX,
};

use super::{
    policy::{self, Effect},
    spec::{TRACKING_FINALIZER, Wants},
};

/// How often the pods before this one failed at its index.
pub const INDEX_FAILURES: &str = "batch.kubernetes.io/job-index-failure-count";
/// How often they failed in a way that the failure policy ignores.
pub const IGNORED_INDEX_FAILURES: &str = "batch.kubernetes.io/job-index-ignored-failure-count";

/// It is not counted yet.
pub fn is_tracked(pod: &Pod) -> bool {
    has_finalizer(&pod.metadata, TRACKING_FINALIZER)
}

/// It succeeded.
pub fn has_succeeded(pod: &Pod) -> bool {
    phase(pod) == "Succeeded"
}

/// It failed, or counts as failed since it is being deleted: nobody may be left to say how it ended.
pub fn has_failed(pod: &Pod, wants: Wants<'_>) -> bool {
    phase(pod) == "Failed" || (!wants.replaces_only_failed() && is_deleting(&pod.metadata) && !has_succeeded(pod))
}

/// Its uid.
pub fn uid(pod: &Pod) -> &str {
    pod.metadata.uid.as_deref().unwrap_or_default()
}

/// The completion index that it works on.
pub fn index(pod: &Pod) -> Option<i32> {
    annotation(&pod.metadata, JOB_COMPLETION_INDEX)?.parse().ok().filter(|index| *index >= 0)
}

/// How often the pods before this one failed at its index: what counts, and what was ignored.
pub fn failures_before(pod: &Pod) -> (i32, i32) {
    let count = |key| annotation(&pod.metadata, key).and_then(|text| text.parse().ok()).unwrap_or(0).max(0);
    (count(INDEX_FAILURES), count(IGNORED_INDEX_FAILURES))
}

/// The same for the pod that takes its place.
pub fn failures_with(pod: &Pod, wants: Wants<'_>) -> (i32, i32) {
    let (counted, ignored) = failures_before(pod);
    match policy::effect(wants, pod) {
        Effect::Ignore => (counted, ignored.saturating_add(1)),
        _ => (counted.saturating_add(1), ignored),
    }
}

/// When it ended, as well as that can be known: when its last container did, when it ceased to be ready, when it was to be
/// deleted, when it was made.
pub fn ended_at(pod: &Pod) -> Timestamp {
    let by_containers = || {
        let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
        let ends = statuses
            .iter()
            .map(|status| Some(status.state.as_ref()?.terminated.as_ref()?.finished_at.as_ref()?.0))
            .collect::<Option<Vec<_>>>()?;
        ends.into_iter().max()
    };
    let by_readiness = || {
        let ready = get_condition(pod, condition::READY).filter(|ready| ready.status == "False")?;
        Some(ready.last_transition_time.as_ref()?.0)
    };
    let by_deletion = || {
        let grace = SignedDuration::from_secs(pod.metadata.deletion_grace_period_seconds.unwrap_or(0));
        pod.metadata.deletion_timestamp.as_ref()?.0.checked_sub(grace).ok()
    };
    by_containers()
        .or_else(by_readiness)
        .or_else(by_deletion)
        .or_else(|| Some(pod.metadata.creation_timestamp.as_ref()?.0))
        .unwrap_or(Timestamp::UNIX_EPOCH)
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
    fn the_end_is_found_out_as_well_as_can_be() {
        let ended = |at: Option<&str>| {
            let state = at.map(|at| json!({"terminated": {"exitCode": 0, "finishedAt": at}}));
            json!({"name": "c", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state})
        };
        let not_ready = json!([{"type": "Ready", "status": "False", "lastTransitionTime": "2026-11-20T12:00:30Z"}]);
        let deleted = json!({
            "creationTimestamp": "2026-11-20T11:00:00Z", "deletionTimestamp": "2026-11-20T12:01:00Z",
            "deletionGracePeriodSeconds": 30,
        });
        for (why, meta, status, expected) in [
            (
                "the last container's end",
                json!({}),
                json!({"containerStatuses": [ended(Some("2026-11-20T12:00:05Z")), ended(Some("2026-11-20T12:00:10Z"))],
                    "conditions": not_ready}),
                "2026-11-20T12:00:10Z",
            ),
            (
                "one still runs",
                json!({}),
                json!({"containerStatuses": [ended(Some("2026-11-20T12:00:05Z")), ended(None)],
                    "conditions": not_ready}),
                "2026-11-20T12:00:30Z",
            ),
            ("deletion less the grace period", deleted, json!({}), "2026-11-20T12:00:30Z"),
            ("creation", json!({"creationTimestamp": "2026-11-20T11:00:00Z"}), json!({}), "2026-11-20T11:00:00Z"),
        ] {
            let pod = pod(json!({"metadata": meta, "status": status}));
            assert_eq!(ended_at(&pod).to_string(), expected, "{why}");
        }
    }

    #[test]
    fn an_index_is_a_number_or_nothing() {
        for (text, expected) in [("0", Some(0)), ("12", Some(12)), ("-1", None), ("x", None), ("", None)] {
            let pod = pod(json!({"metadata": {"annotations": {JOB_COMPLETION_INDEX: text}}}));
            assert_eq!(index(&pod), expected, "{text:?}");
        }
        assert_eq!(index(&pod(json!({}))), None);
    }
}
