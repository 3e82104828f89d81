//! Disruptions that were announced by a pod's DisruptionTarget condition and never came (KEP-3329).

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use kubelab_api::{
    Error, Reason,
    meta::is_deleting,
    pod::{condition::DISRUPTION_TARGET, get_condition, is_terminal},
};
use kubelab_client::{Action, Patch, clock, controller::Key};
use serde_json::json;

use super::Loop;

/// Source: `stalePodDisruptionTimeout`.
const TIMEOUT: SignedDuration = SignedDuration::from_mins(2);
/// The kubelet may announce a disruption long before the pod ends.
const BY_KUBELET: &str = "TerminationByKubelet";

impl Loop {
    pub(super) async fn withdraw(&self, key: Key) -> Result<Action, Error> {
        let Some(pod) = self.pods.get(&key.namespace, &key.name) else { return Ok(Action::Done) };
        match left(&pod, clock::now().0) {
            None => return Ok(Action::Done),
            Some(Duration::ZERO) => {}
            Some(wait) => return Ok(Action::After(wait)),
        }
        let withdrawn = json!({
            "type": DISRUPTION_TARGET, "status": "False", "reason": null, "message": null,
            "lastTransitionTime": clock::now(),
        });
        let meta = json!({"uid": pod.metadata.uid, "resourceVersion": pod.metadata.resource_version});
        let patch = Patch::Strategic(json!({"metadata": meta, "status": {"conditions": [withdrawn]}}));
        match self.client.patch_status::<Pod>(&key.namespace, &key.name, patch).await {
            Err(error) if error.reason != Reason::NotFound => Err(error),
            _ => Ok(Action::Done),
        }
    }
}

/// How long an announced disruption may still take to come; `None` where none is awaited.
pub(super) fn left(pod: &Pod, now: Timestamp) -> Option<Duration> {
    let told = get_condition(pod, DISRUPTION_TARGET).filter(|told| told.status == "True")?;
    if is_deleting(&pod.metadata) || is_terminal(pod) || told.reason.as_deref() == Some(BY_KUBELET) {
        return None;
    }
    let since = told.last_transition_time.as_ref()?.0;
    Some(Duration::try_from(TIMEOUT - now.duration_since(since)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::Value;

    use super::*;

    #[test]
    fn only_an_announced_disruption_that_does_not_come_is_withdrawn() {
        let told = |status: &str, reason: &str| {
            json!([{"type": "DisruptionTarget", "status": status, "reason": reason,
                "lastTransitionTime": "2026-11-20T12:00:00Z"}])
        };
        for (why, conditions, phase, deleted, now, expected) in [
            ("announced", told("True", "PreemptionByScheduler"), "Running", Value::Null, "12:00:30", Some(90)),
            ("overdue", told("True", "EvictionByEvictionAPI"), "Running", Value::Null, "12:02:01", Some(0)),
            ("withdrawn", told("False", ""), "Running", Value::Null, "12:05:00", None),
            ("by the kubelet", told("True", BY_KUBELET), "Running", Value::Null, "12:05:00", None),
            ("it came", told("True", "x"), "Running", json!("2026-11-20T12:00:01Z"), "12:05:00", None),
            ("it has ended", told("True", "x"), "Failed", Value::Null, "12:05:00", None),
            ("nothing announced", json!([]), "Running", Value::Null, "12:05:00", None),
        ] {
            let pod: Pod = serde_json::from_value(json!({
                "metadata": {"deletionTimestamp": deleted}, "status": {"phase": phase, "conditions": conditions},
            }))
            .unwrap();
            let left = left(&pod, format!("2026-11-20T{now}Z").parse().unwrap());
            assert_eq!(left.map(|left| left.as_secs()), expected, "{why}");
        }
    }
}
