//! Removes pods that nobody else will: those on nodes that are gone, those that ended long ago, those that are to be
//! deleted and were never started.
//!
//! Watches pods and nodes, and looks at all of them every 20 s. Deletes pods.
//! Source: `pkg/controller/podgc/gc_controller.go` in Kubernetes.

use std::{
    cmp::Reverse,
    collections::{HashMap, HashSet},
    sync::{Arc, LazyLock},
    time::Duration,
};

use k8s_openapi::{
    api::core::v1::{Node, Pod, PodCondition},
    apimachinery::pkg::apis::meta::v1::{DeleteOptions, Preconditions},
};
use kubelab_api::{
    Error, Reason,
    meta::is_deleting,
    pod::{condition::DISRUPTION_TARGET, is_terminal, node_name},
    well_known::taint::OUT_OF_SERVICE,
};
use kubelab_client::{
    Cache, Client, Patch,
    clock::{self, Instant},
    controller::Key,
    metrics::{By, Counter, Family, counters},
};
use serde_json::json;

use crate::{Context, node_lifecycle::is_ready};

/// Source: `gcCheckPeriod`.
const PERIOD: Duration = Duration::from_secs(20);
/// How long a node must be missing before its pods count as orphans. Source: `quarantineTime`.
const QUARANTINE: Duration = Duration::from_secs(40);

/// Runs the loop.
pub async fn run(context: Context) {
    let (pods, nodes): (Cache<Pod>, Cache<Node>) = (context.caches.of(), context.caches.of());
    tokio::join!(pods.synced(), nodes.synced());
    let threshold = context.options.terminated_pod_gc_threshold;
    let mut missing = Missing::default();
    loop {
        let (pods, nodes) = (pods.list(), nodes.list());
        let gone = missing.gone(&pods, &nodes, clock::instant());
        let gone = confirm(&context.client, gone).await;
        for (pod, why) in choose(&pods, &nodes, &gone, threshold) {
            let namespace = pod.metadata.namespace.clone().unwrap_or_default();
            METRICS.0.get_or_create(&[("namespace", namespace.clone()), ("reason", why.name().to_owned())]).inc();
            if let Err(error) = remove(&context.client, &pod, why).await {
                METRICS.1.get_or_create(&[("namespace", namespace), ("reason", why.name().to_owned())]).inc();
                tracing::warn!(pod = %Key::of(&*pod), ?why, %error, "cannot remove the pod; will try again");
            }
        }
        clock::sleep(PERIOD).await;
    }
}

/// Why a pod is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    /// Its node is to be out of service for long: an administrator said so.
    OutOfService,
    /// Too many pods have ended, and this is one of the oldest.
    Terminated,
    /// Its node is gone.
    Orphaned,
    /// It is to be deleted, and no kubelet has it.
    Unscheduled,
}

impl Why {
    /// Upstream's word for it in metrics.
    fn name(self) -> &'static str {
        match self {
            Self::OutOfService => "out-of-service",
            Self::Terminated => "terminated",
            Self::Orphaned => "orphaned",
            Self::Unscheduled => "unscheduled",
        }
    }
}

type ByNamespaceAndReason = Family<By<2, String>, Counter>;

/// Pods that were to be removed, and those that could not be. Source of the names: `pkg/controller/podgc/metrics` in
/// Kubernetes.
static METRICS: LazyLock<(ByNamespaceAndReason, ByNamespaceAndReason)> = LazyLock::new(|| {
    let all = "Number of pods that are being forcefully deleted since the Pod GC Controller started";
    let failed = "Number of errors encountered when forcefully deleting the pods since the Pod GC Controller started";
    (counters("pod_gc_collector_force_delete_pods", all), counters("pod_gc_collector_force_delete_pod_errors", failed))
});

/// Since when nodes that pods refer to are missing.
#[derive(Default)]
struct Missing {
    since: HashMap<String, Instant>,
}

impl Missing {
    /// The nodes that are missing for long enough.
    fn gone(&mut self, pods: &[Arc<Pod>], nodes: &[Arc<Node>], now: Instant) -> HashSet<String> {
        let present: HashSet<&str> = nodes.iter().filter_map(|node| node.metadata.name.as_deref()).collect();
        let missing: HashSet<&str> =
            pods.iter().filter_map(|pod| node_name(pod)).filter(|name| !present.contains(name)).collect();
        self.since.retain(|name, _| missing.contains(name.as_str()));
        for name in missing {
            self.since.entry(name.to_owned()).or_insert(now);
        }
        let is_over = |since: &Instant| now.saturating_duration_since(*since) >= QUARANTINE;
        self.since.iter().filter(|(_, since)| is_over(since)).map(|(name, _)| name.clone()).collect()
    }
}

/// A cache may be behind: only the apiserver knows that a node does not exist.
async fn confirm(client: &Client, gone: HashSet<String>) -> HashSet<String> {
    let mut confirmed = HashSet::new();
    for name in gone {
        if let Err(error) = client.get::<Node>("", &name).await
            && error.reason == Reason::NotFound
        {
            confirmed.insert(name);
        }
    }
    confirmed
}

/// The pods to remove.
fn choose(pods: &[Arc<Pod>], nodes: &[Arc<Node>], gone: &HashSet<String>, threshold: usize) -> Vec<(Arc<Pod>, Why)> {
    let out_of_service: HashSet<&str> = nodes
        .iter()
        .filter(|node| !is_ready(node) && has_taint(node, OUT_OF_SERVICE))
        .filter_map(|node| node.metadata.name.as_deref())
        .collect();
    let mut terminated: Vec<&Arc<Pod>> =
        pods.iter().filter(|pod| is_terminal(pod) && !is_deleting(&pod.metadata)).collect();
    // Evicted pods hold the least information, so they go first; then the oldest.
    terminated.sort_by_key(|pod| (Reverse(is_evicted(pod)), pod.metadata.creation_timestamp.clone()));
    let excess = if threshold == 0 { 0 } else { terminated.len().saturating_sub(threshold) };
    let excess: HashSet<Option<&str>> =
        terminated.into_iter().take(excess).map(|pod| pod.metadata.uid.as_deref()).collect();

    let why = |pod: &Arc<Pod>| match node_name(pod) {
        Some(node) if out_of_service.contains(node) && is_deleting(&pod.metadata) => Some(Why::OutOfService),
        _ if excess.contains(&pod.metadata.uid.as_deref()) => Some(Why::Terminated),
        Some(node) if gone.contains(node) => Some(Why::Orphaned),
        None if is_deleting(&pod.metadata) => Some(Why::Unscheduled),
        _ => None,
    };
    pods.iter().filter_map(|pod| Some((Arc::clone(pod), why(pod)?))).collect()
}

fn has_taint(node: &Node, key: &str) -> bool {
    node.spec.iter().flat_map(|spec| spec.taints.iter().flatten()).any(|taint| taint.key == key)
}

fn is_evicted(pod: &Pod) -> bool {
    pod.status.as_ref().and_then(|status| status.reason.as_deref()) == Some("Evicted")
}

/// A pod that has not ended is said to have failed first, so that whoever counts its end sees one.
async fn remove(client: &Client, pod: &Pod, why: Why) -> Result<(), Error> {
    let key = Key::of(pod);
    tracing::info!(pod = %key, ?why, "removing the pod");
    if !is_terminal(pod) {
        let mut status = json!({"phase": "Failed"});
        if why == Why::Orphaned {
            status["conditions"] = json!([PodCondition {
                type_: DISRUPTION_TARGET.to_owned(),
                status: "True".to_owned(),
                reason: Some("DeletionByPodGC".to_owned()),
                message: Some("PodGC: node no longer exists".to_owned()),
                last_transition_time: Some(clock::now()),
                ..Default::default()
            }]);
        }
        let patch = json!({"metadata": {"uid": pod.metadata.uid}, "status": status});
        client.patch_status::<Pod>(&key.namespace, &key.name, Patch::Strategic(patch)).await.or_else(gone_is_fine)?;
    }
    let options = DeleteOptions {
        grace_period_seconds: Some(0),
        preconditions: Some(Preconditions { uid: pod.metadata.uid.clone(), resource_version: None }),
        ..Default::default()
    };
    match client.delete::<Pod>(&key.namespace, &key.name, options).await {
        Err(error) if error.reason != Reason::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn gone_is_fine(error: Error) -> Result<Pod, Error> {
    if error.reason == Reason::NotFound { Ok(Pod::default()) } else { Err(error) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn pod(name: &str, node: &str, phase: &str, deleting: bool) -> Arc<Pod> {
        let deletion = deleting.then_some("2026-11-20T12:00:00Z");
        let created = format!("2026-11-20T11:00:{:02}Z", name.len());
        Arc::new(
            serde_json::from_value(json!({
                "metadata": {"name": name, "uid": name, "deletionTimestamp": deletion, "creationTimestamp": created},
                "spec": {"nodeName": node, "containers": []},
                "status": {"phase": phase, "reason": if name.starts_with("evicted") { "Evicted" } else { "" }},
            }))
            .unwrap(),
        )
    }

    fn node(name: &str, ready: &str, taint: &str) -> Arc<Node> {
        Arc::new(
            serde_json::from_value(json!({
                "metadata": {"name": name},
                "spec": {"taints": [{"key": taint, "effect": "NoExecute"}]},
                "status": {"conditions": [{"type": "Ready", "status": ready}]},
            }))
            .unwrap(),
        )
    }

    #[test]
    fn each_pod_goes_for_its_own_reason() {
        let nodes =
            [node("n1", "True", "x"), node("n2", "Unknown", OUT_OF_SERVICE), node("n3", "True", OUT_OF_SERVICE)];
        let gone = HashSet::from(["n9".to_owned()]);
        for (pod, expected) in [
            (pod("running", "n1", "Running", false), None),
            (pod("deleting", "n1", "Running", true), None),
            (pod("orphan", "n9", "Running", false), Some(Why::Orphaned)),
            (pod("quarantined", "n8", "Running", false), None),
            (pod("pending", "", "Pending", false), None),
            (pod("unscheduled", "", "Pending", true), Some(Why::Unscheduled)),
            (pod("out", "n2", "Running", true), Some(Why::OutOfService)),
            (pod("still-in", "n2", "Running", false), None),
            (pod("ready-again", "n3", "Running", true), None),
            (pod("done", "n1", "Succeeded", false), None),
        ] {
            let name = pod.metadata.name.clone().unwrap();
            let chosen = choose(&[pod], &nodes, &gone, 1);
            assert_eq!(chosen.first().map(|(_, why)| *why), expected, "{name}");
        }
    }

    #[test]
    fn of_those_that_ended_the_oldest_go() {
        let pods = [
            pod("aaaa", "n1", "Failed", false),
            pod("evicted-younger", "n1", "Failed", false),
            pod("aa", "n1", "Succeeded", false),
            pod("a", "n1", "Running", false),
            pod("aaa", "n1", "Succeeded", false),
        ];
        let chosen = choose(&pods, &[node("n1", "True", "x")], &HashSet::new(), 2);
        let names: Vec<_> = chosen.iter().map(|(pod, _)| pod.metadata.name.clone().unwrap()).collect();
        assert_eq!(names, ["evicted-younger", "aa"]);
    }

    #[test]
    fn a_missing_node_is_given_time() {
        let (pods, start) = ([pod("a", "n1", "Running", false)], clock::instant());
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut missing = Missing::default();
        assert!(missing.gone(&pods, &[], at(0)).is_empty());
        assert!(missing.gone(&pods, &[], at(39)).is_empty());
        assert!(missing.gone(&pods, &[node("n1", "True", "x")], at(39)).is_empty(), "it is back");
        assert!(missing.gone(&pods, &[], at(60)).is_empty(), "and missing again");
        assert_eq!(missing.gone(&pods, &[], at(100)), HashSet::from(["n1".to_owned()]));
    }
}
