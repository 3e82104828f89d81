//! What a StatefulSet's status says. Source: `computeReplicaStatus` and `completeRollingUpdate` in
//! `pkg/controller/statefulset` in Kubernetes.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::{StatefulSet, StatefulSetStatus},
    core::v1::Pod,
};
use kubelab_api::{
    meta::is_deleting,
    pod::{is_available, is_ready, phase},
};

use super::{
    identity::{self, replicas},
    plan,
};

/// The names of two revisions.
#[derive(Clone, Copy, Debug)]
pub struct Revisions<'a> {
    /// Of which pods were made before the present update.
    pub current: &'a str,
    /// To which they are updated.
    pub update: &'a str,
}

/// The status that follows from the pods; `outdated` are those that were deleted just now so that they are made anew.
pub fn calculate(
    set: &StatefulSet,
    pods: &[Arc<Pod>],
    outdated: &[Arc<Pod>],
    revisions: Revisions<'_>,
    collisions: i32,
    now: Timestamp,
) -> StatefulSetStatus {
    let min_ready = set.spec.min_ready_seconds.unwrap_or(0);
    let count = |wanted: &dyn Fn(&Pod) -> bool| pods.iter().filter(|pod| wanted(pod)).count() as i32;
    let some = |count: i32| (count != 0).then_some(count);
    let made_of = |name: &str| {
        count(&|pod| {
            let going = outdated.iter().any(|other| other.metadata.uid == pod.metadata.uid);
            identity::revision(pod) == name && !is_deleting(&pod.metadata) && !going
        })
    };
    let is_running_and_ready = |pod: &Pod| phase(pod) == "Running" && is_ready(pod);
    let (all, ready) = (pods.len() as i32, count(&is_running_and_ready));
    let updated = made_of(revisions.update);
    let mut status = StatefulSetStatus {
        observed_generation: set.metadata.generation,
        replicas: all,
        ready_replicas: some(ready),
        available_replicas: Some(count(&|pod| is_running_and_ready(pod) && is_available(pod, min_ready, now))),
        current_replicas: some(made_of(revisions.current)),
        updated_replicas: some(updated),
        current_revision: Some(revisions.current.to_owned()),
        update_revision: Some(revisions.update.to_owned()),
        collision_count: Some(collisions),
        conditions: set.status.as_ref().and_then(|status| status.conditions.clone()),
    };
    if !plan::on_delete(set) && [updated, ready, all].iter().all(|count| *count == replicas(set)) {
        status.current_replicas = status.updated_replicas;
        status.current_revision.clone_from(&status.update_revision);
    }
    status
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Value, json};

    use super::*;

    fn set(strategy: &str) -> StatefulSet {
        serde_json::from_value(json!({
            "metadata": {"name": "web", "generation": 4},
            "spec": {"replicas": 2, "minReadySeconds": 10, "updateStrategy": {"type": strategy}, "selector": {}, "template": {}},
        }))
        .unwrap()
    }

    fn pod(name: &str, revision: &str, ready_since: Option<&str>, deleted: bool) -> Arc<Pod> {
        let status = if ready_since.is_some() { "True" } else { "False" };
        let since = ready_since.unwrap_or("12:00:00");
        let ready = json!({"type": "Ready", "status": status, "lastTransitionTime": format!("2026-11-20T{since}Z")});
        let mut pod = json!({
            "metadata": {"name": name, "uid": name, "labels": {"controller-revision-hash": revision}},
            "status": {"phase": "Running", "conditions": [ready]},
        });
        if deleted {
            pod["metadata"]["deletionTimestamp"] = json!("2026-11-20T12:00:00Z");
        }
        Arc::new(serde_json::from_value(pod).unwrap())
    }

    fn of(strategy: &str, pods: &[Arc<Pod>], outdated: &[Arc<Pod>]) -> Value {
        let revisions = Revisions { current: "old", update: "new" };
        let now = "2026-11-20T12:00:30Z".parse().unwrap();
        serde_json::to_value(calculate(&set(strategy), pods, outdated, revisions, 0, now)).unwrap()
    }

    #[test]
    fn pods_are_counted_by_revision_and_by_how_far_they_are() {
        let pods = [
            pod("web-0", "old", Some("12:00:00"), false),
            pod("web-1", "new", Some("12:00:25"), false),
            pod("web-2", "old", None, true),
        ];
        let expected = json!({
            "observedGeneration": 4, "replicas": 3, "readyReplicas": 2, "availableReplicas": 1,
            "currentReplicas": 1, "updatedReplicas": 1, "currentRevision": "old", "updateRevision": "new",
            "collisionCount": 0,
        });
        assert_eq!(of("RollingUpdate", &pods, &[]), expected);
        let after = of("RollingUpdate", &pods, &pods[..1]);
        assert_eq!((&after["currentReplicas"], &after["replicas"]), (&json!(null), &json!(3)), "web-0 is on its way");
    }

    #[test]
    fn an_update_is_complete_when_all_pods_are_ready() {
        let done = [pod("web-0", "new", Some("12:00:00"), false), pod("web-1", "new", Some("12:00:00"), false)];
        let status = of("RollingUpdate", &done, &[]);
        assert_eq!((&status["currentRevision"], &status["currentReplicas"]), (&json!("new"), &json!(2)));
        assert_eq!(of("OnDelete", &done, &[])["currentRevision"], json!("old"), "nobody watches over it");
    }
}
