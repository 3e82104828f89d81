//! Which pods go first when there are too many. Source: `ActivePodsWithRanks` in Kubernetes' `controller_utils.go`.

use std::{cmp::Reverse, collections::HashMap, sync::Arc};

use k8s_openapi::{
    api::core::v1::{ContainerStatus, Pod},
    apimachinery::pkg::apis::meta::v1::Time,
};
use kubelab_api::{
    meta::annotation,
    pod::{condition, get_condition, is_ready, node_name, phase},
    well_known::annotation::POD_DELETION_COST,
};

/// The `count` pods to delete. `related` are all active pods of the same owner's owner (a Deployment's): where more of
/// them share a node, its pods go first.
pub fn choose(mut active: Vec<Arc<Pod>>, related: &[Arc<Pod>], count: usize, now: &Time) -> Vec<Arc<Pod>> {
    if count < active.len() {
        let mut on_node: HashMap<&str, usize> = HashMap::new();
        for node in related.iter().filter_map(|pod| node_name(pod)) {
            *on_node.entry(node).or_default() += 1;
        }
        active.sort_by_cached_key(|pod| {
            rank(pod, node_name(pod).and_then(|node| on_node.get(node)).copied().unwrap_or(0), now)
        });
        active.truncate(count);
    }
    active
}

/// Smaller goes first. Where upstream falls back on the uid as soon as two pods were ready for about as long, restarts and
/// age are compared before: its comparison is not transitive, which a total order must be.
fn rank(pod: &Pod, neighbours: usize, now: &Time) -> impl Ord + use<> {
    let phase = match phase(pod) {
        "" | "Pending" => 0,
        "Unknown" => 1,
        _ => 2,
    };
    let ready = is_ready(pod);
    let ready_since =
        get_condition(pod, condition::READY).and_then(|condition| condition.last_transition_time.as_ref());
    (
        node_name(pod).is_some(),
        phase,
        ready,
        deletion_cost(pod),
        Reverse(neighbours),
        if ready { age_class(ready_since, now) } else { 0 },
        Reverse(restarts(pod)),
        age_class(pod.metadata.creation_timestamp.as_ref(), now),
        pod.metadata.uid.clone(),
    )
}

/// Pods with a lower cost go first.
fn deletion_cost(pod: &Pod) -> i32 {
    annotation(&pod.metadata, POD_DELETION_COST).and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// Ages are compared by their magnitude (the logarithm to base 2 of nanoseconds), so that among pods of similar age the
/// choice is random. Source: KEP-2185.
fn age_class(since: Option<&Time>, now: &Time) -> i32 {
    let age = since.map_or(0, |since| now.0.duration_since(since.0).as_nanos());
    u128::try_from(age).ok().and_then(u128::checked_ilog2).map_or(-1, |class| class as i32)
}

fn restarts(pod: &Pod) -> (i32, i32) {
    let most = |statuses: Option<&Vec<ContainerStatus>>| {
        statuses.into_iter().flatten().map(|status| status.restart_count).max().unwrap_or(0)
    };
    let status = pod.status.as_ref();
    (
        most(status.and_then(|status| status.container_statuses.as_ref())),
        most(status.and_then(|status| status.init_container_statuses.as_ref())),
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Value, json};

    use super::*;

    fn pod(name: &str, change: Value) -> Arc<Pod> {
        let mut pod = json!({
            "metadata": {"name": name, "uid": name, "creationTimestamp": "2026-11-20T10:00:00Z"},
            "spec": {"nodeName": "node-1", "containers": []},
            "status": {
                "phase": "Running",
                "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-20T10:00:00Z"}],
            },
        });
        json_patch_merge(&mut pod, &change);
        Arc::new(serde_json::from_value(pod).unwrap())
    }

    fn json_patch_merge(target: &mut Value, patch: &Value) {
        match (target, patch) {
            (Value::Object(target), Value::Object(patch)) => {
                for (name, value) in patch {
                    json_patch_merge(target.entry(name).or_insert(Value::Null), value);
                }
            }
            (target, patch) => *target = patch.clone(),
        }
    }

    #[test]
    fn the_least_useful_pod_goes_first() {
        let now = Time("2026-11-20T12:00:00Z".parse().unwrap());
        let ready = |since| json!([{"type": "Ready", "status": "True", "lastTransitionTime": since}]);
        for (why, first) in [
            ("not assigned", json!({"spec": {"nodeName": ""}})),
            ("pending", json!({"status": {"phase": "Pending"}})),
            ("not ready", json!({"status": {"conditions": [{"type": "Ready", "status": "False"}]}})),
            ("cheap", json!({"metadata": {"annotations": {POD_DELETION_COST: "-5"}}})),
            ("ready for a short time", json!({"status": {"conditions": ready("2026-11-20T11:59:00Z")}})),
            (
                "restarted",
                json!({"status": {"containerStatuses": [
                    {"name": "a", "image": "", "imageID": "", "ready": true, "restartCount": 4}]}}),
            ),
            ("young", json!({"metadata": {"creationTimestamp": "2026-11-20T11:59:00Z"}})),
            ("lower uid", json!({"metadata": {"uid": "a"}})),
        ] {
            let pods = vec![pod("b", json!({})), pod("victim", first), pod("c", json!({}))];
            let chosen = choose(pods.clone(), &pods, 1, &now);
            assert_eq!(chosen[0].metadata.name.as_deref(), Some("victim"), "{why}");
        }
    }

    #[test]
    fn the_crowded_node_gives_first() {
        let now = Time("2026-11-20T12:00:00Z".parse().unwrap());
        let pods = vec![pod("a", json!({})), pod("z", json!({"spec": {"nodeName": "node-2"}}))];
        let other = pod("of-another-set", json!({"spec": {"nodeName": "node-2"}}));
        let related: Vec<_> = pods.iter().cloned().chain([other]).collect();
        assert_eq!(choose(pods, &related, 1, &now)[0].metadata.name.as_deref(), Some("z"));
    }

    #[test]
    fn all_are_chosen_without_ranking() {
        let now = Time("2026-11-20T12:00:00Z".parse().unwrap());
        let pods = vec![pod("a", json!({})), pod("b", json!({}))];
        assert_eq!(choose(pods.clone(), &pods, 5, &now).len(), 2);
    }
}
