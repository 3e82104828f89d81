//! Deletes pods that do not tolerate a `NoExecute` taint of their node, once they have tolerated it for long enough.
//!
//! Watches nodes and pods. Deletes pods. Source: `pkg/controller/tainteviction` in Kubernetes. Unlike there, the time runs
//! from when the taint was added or the pod was bound, not from when this process saw it, so that a restart does not start
//! it afresh.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use k8s_openapi::{
    api::core::v1::{Node, Pod, PodCondition, Taint, Toleration},
    apimachinery::pkg::apis::meta::v1::{DeleteOptions, Preconditions, Time},
};
use kubelab_api::{
    Error, Reason,
    meta::is_deleting,
    pod::{
        condition::{DISRUPTION_TARGET, SCHEDULED},
        get_condition, node_name, tolerates,
    },
    well_known::taint::NO_EXECUTE,
};
use kubelab_client::{
    Action, Cache, Change, Client, Controller, Patch, Recorder, clock,
    controller::Key,
    metrics::{Counter, shown},
    queue::Queue,
    recorder::Kind,
};
use serde_json::json;

use crate::Context;

const NAME: &str = "taint-eviction-controller";
/// Source: `UpdateWorkerSize`.
const WORKERS: usize = 8;

/// Why pods are disrupted here.
const REASON: &str = "DeletionByTaintManager";

/// Source of the name: `pkg/controller/tainteviction/metrics` in Kubernetes.
static DELETIONS: LazyLock<Counter> = LazyLock::new(|| {
    let help = "Total number of Pods deleted by TaintEvictionController since its start";
    shown("taint_eviction_controller_pod_deletions", help, Counter::default())
});

/// Runs the loop.
pub async fn run(context: Context) {
    let this = Arc::new(Loop {
        client: context.client.clone(),
        recorder: context.recorder(NAME),
        nodes: context.caches.of(),
        pods: context.caches.of(),
        first_seen: Mutex::default(),
        planned: Mutex::default(),
        queue: Queue::new("noexec_taint_pod"),
    });
    tokio::join!(this.nodes.synced(), this.pods.synced());
    this.watch();
    Controller::new(NAME, this.queue.clone())
        .run_on(WORKERS, this, |this, key| async move { this.reconcile(key).await })
        .await;
}

struct Loop {
    client: Client,
    recorder: Recorder,
    nodes: Cache<Node>,
    pods: Cache<Pod>,
    /// When taints were seen first that do not say when they were added, by node and key.
    first_seen: Mutex<HashMap<(String, String), Time>>,
    /// Pods that will have to go, so that it can be told when they need not after all.
    planned: Mutex<HashSet<Key>>,
    queue: Queue<Key>,
}

impl Loop {
    fn watch(&self) {
        let (queue, pods) = (self.queue.clone(), self.pods.clone());
        self.nodes.on_change(move |change| {
            let changed = match change {
                Change::Added(node) => !evicting(node).is_empty(),
                Change::Modified { old, new } => evicting(old) != evicting(new),
                Change::Deleted(_) => false,
            };
            if changed {
                let name = change.object().metadata.name.as_deref();
                for pod in pods.list().iter().filter(|pod| node_name(pod) == name) {
                    queue.add(Key::of(&**pod));
                }
            }
        });
        let (queue, nodes) = (self.queue.clone(), self.nodes.clone());
        self.pods.on_change(move |change| {
            let is_tainted = |name| nodes.get("", name).is_some_and(|node| !evicting(&node).is_empty());
            let concerns = match change {
                Change::Added(pod) | Change::Deleted(pod) => node_name(pod).is_some_and(is_tainted),
                Change::Modified { old, new } => {
                    let tolerations = |pod: &Pod| pod.spec.as_ref().and_then(|spec| spec.tolerations.clone());
                    (node_name(old) != node_name(new) || tolerations(old) != tolerations(new))
                        && node_name(new).is_some_and(is_tainted)
                }
            };
            if concerns {
                queue.add(Key::of(&**change.object()));
            }
        });
    }

    async fn reconcile(&self, key: Key) -> Result<Action, Error> {
        let Some(pod) = self.pods.get(&key.namespace, &key.name).filter(|pod| !is_deleting(&pod.metadata)) else {
            self.planned().remove(&key);
            return Ok(Action::Done);
        };
        let tolerations = pod.spec.as_ref().and_then(|spec| spec.tolerations.as_deref()).unwrap_or_default();
        match verdict(&self.taints_of(&pod), tolerations, &clock::now()) {
            Verdict::Stay => {
                if self.planned().remove(&key) {
                    let message = format!("Cancelling deletion of Pod {key}");
                    self.recorder.event(&*pod, Kind::Normal, "TaintManagerEviction", message);
                }
                Ok(Action::Done)
            }
            Verdict::StayFor(time) => {
                self.planned().insert(key);
                Ok(Action::After(time))
            }
            Verdict::Go => {
                self.evict(&key, &pod).await?;
                self.planned().remove(&key);
                Ok(Action::Done)
            }
        }
    }

    fn planned(&self) -> MutexGuard<'_, HashSet<Key>> {
        self.planned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The taints that concern a pod, each with the time since when it does.
    fn taints_of(&self, pod: &Pod) -> Vec<(Taint, Time)> {
        let Some(node) = node_name(pod).and_then(|name| self.nodes.get("", name)) else { return Vec::new() };
        let name = node.metadata.name.clone().unwrap_or_default();
        let taints: Vec<Taint> = evicting(&node).into_iter().cloned().collect();
        let mut first_seen = self.first_seen.lock().unwrap_or_else(PoisonError::into_inner);
        first_seen.retain(|(of, key), _| *of != name || taints.iter().any(|taint| taint.key == *key));
        let bound = bound_since(pod);
        let since = |taint: &Taint| {
            let added = match &taint.time_added {
                Some(time) => time.clone(),
                None => first_seen.entry((name.clone(), taint.key.clone())).or_insert_with(clock::now).clone(),
            };
            bound.iter().cloned().fold(added, Time::max)
        };
        let times: Vec<Time> = taints.iter().map(since).collect();
        taints.into_iter().zip(times).collect()
    }

    async fn evict(&self, key: &Key, pod: &Pod) -> Result<(), Error> {
        let message = format!("Marking for deletion Pod {key}");
        self.recorder.event(pod, Kind::Normal, "TaintManagerEviction", message);
        let uid = &pod.metadata.uid;
        let condition = PodCondition {
            type_: DISRUPTION_TARGET.to_owned(),
            status: "True".to_owned(),
            reason: Some(REASON.to_owned()),
            message: Some("Taint manager: deleting due to NoExecute taint".to_owned()),
            last_transition_time: Some(clock::now()),
            ..Default::default()
        };
        let patch = json!({"metadata": {"uid": uid}, "status": {"conditions": [condition]}});
        let preconditions = Some(Preconditions { uid: uid.clone(), resource_version: None });
        let options = DeleteOptions { preconditions, ..Default::default() };
        let (namespace, name) = (&key.namespace, &key.name);
        // Told once: whoever was killed between the two writes goes on with the second.
        let told = match get_condition(pod, DISRUPTION_TARGET) {
            Some(told) if told.status == "True" && told.reason.as_deref() == Some(REASON) => Ok(()),
            _ => self.client.patch_status::<Pod>(namespace, name, Patch::Strategic(patch)).await.map(drop),
        };
        let result = match told {
            Ok(()) => self.client.delete::<Pod>(namespace, name, options).await,
            Err(error) => Err(error),
        };
        match result {
            Err(error) if error.reason != Reason::NotFound => Err(error),
            _ => {
                DELETIONS.inc();
                Ok(())
            }
        }
    }
}

/// Since when the pod is on its node.
fn bound_since(pod: &Pod) -> Option<Time> {
    let scheduled = get_condition(pod, SCHEDULED).filter(|condition| condition.status == "True");
    scheduled
        .and_then(|condition| condition.last_transition_time.clone())
        .or_else(|| pod.metadata.creation_timestamp.clone())
}

fn evicting(node: &Node) -> Vec<&Taint> {
    let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    taints.filter(|taint| taint.effect == NO_EXECUTE).collect()
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Stay,
    StayFor(Duration),
    Go,
}

/// What a pod with these tolerations has to do under these taints: the shortest time counts.
fn verdict(taints: &[(Taint, Time)], tolerations: &[Toleration], now: &Time) -> Verdict {
    let mut shortest: Option<Duration> = None;
    for (taint, since) in taints {
        let Some(toleration) = tolerations.iter().find(|toleration| tolerates(toleration, taint)) else {
            return Verdict::Go;
        };
        if let Some(seconds) = toleration.toleration_seconds {
            let allowed = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
            let passed = Duration::try_from(now.0.duration_since(since.0)).unwrap_or_default();
            let left = allowed.saturating_sub(passed);
            shortest = Some(shortest.map_or(left, |shortest| shortest.min(left)));
        }
    }
    match shortest {
        None => Verdict::Stay,
        Some(Duration::ZERO) => Verdict::Go,
        Some(left) => Verdict::StayFor(left),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn the_shortest_toleration_counts() {
        let now = Time("2026-11-20T12:01:00Z".parse().unwrap());
        let taint = |key: &str, value: &str, since: &str| {
            let taint = json!({"key": key, "value": value, "effect": "NoExecute"});
            let since = Time(format!("2026-11-20T{since}Z").parse().unwrap());
            (serde_json::from_value::<Taint>(taint).unwrap(), since)
        };
        let unreachable = || vec![taint("unreachable", "", "12:00:00")];
        let both = || vec![taint("unreachable", "", "12:00:00"), taint("team", "a", "12:00:30")];
        let tolerate = |key: &str, seconds: Value| json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds});
        let seconds = |seconds| Verdict::StayFor(Duration::from_secs(seconds));
        for (why, taints, tolerations, expected) in [
            ("no taint", vec![], json!([]), Verdict::Stay),
            ("not tolerated", unreachable(), json!([]), Verdict::Go),
            ("forever", unreachable(), json!([tolerate("unreachable", json!(null))]), Verdict::Stay),
            ("for a while", unreachable(), json!([tolerate("unreachable", json!(300))]), seconds(240)),
            ("the while is over", unreachable(), json!([tolerate("unreachable", json!(60))]), Verdict::Go),
            ("not at all", unreachable(), json!([tolerate("unreachable", json!(-5))]), Verdict::Go),
            ("one of two", both(), json!([tolerate("unreachable", json!(300))]), Verdict::Go),
            (
                "both",
                both(),
                json!([tolerate("unreachable", json!(300)), {"key": "team", "value": "a", "tolerationSeconds": 100}]),
                seconds(70),
            ),
            (
                "another value",
                both(),
                json!([tolerate("unreachable", json!(1)), {"key": "team", "value": "b"}]),
                Verdict::Go,
            ),
            ("everything", both(), json!([{"operator": "Exists"}]), Verdict::Stay),
            ("another effect", unreachable(), json!([{"operator": "Exists", "effect": "NoSchedule"}]), Verdict::Go),
        ] {
            let tolerations: Vec<Toleration> = serde_json::from_value(tolerations).unwrap();
            assert_eq!(verdict(&taints, &tolerations, &now), expected, "{why}");
        }
    }
}
