//! Why a pod goes where it goes, or nowhere: every node's verdict by every filter, and the scores with their weights.
//!
//! It is a what-if: the cycle's own plugins are asked, but all of them, about all nodes, and nothing is assumed or bound.

use std::sync::Arc;

use kubelab_client::{Client, Error};
use serde::Serialize;

use crate::{
    cluster::Cluster,
    config::Configuration,
    cycle::{Cycle, Failure},
    framework::{CycleState, NodeInfo, Objects, PodInfo, Profile, Snapshot},
};

/// What a cycle would come to.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// `namespace/name`
    pub pod: String,
    /// The profile that schedules it.
    pub scheduler: String,
    /// Where it runs already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bound_to: Option<String>,
    /// Where preemption makes room for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nominated: Option<String>,
    /// What keeps it from being looked at at all: its scheduling gates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gated: Option<String>,
    /// What the scheduler would say, if it fits nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The nodes, those that fit first, the best of them first.
    pub nodes: Vec<NodeExplanation>,
}

/// What is thought of one node.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeExplanation {
    /// The node's name.
    pub node: String,
    /// Every filter lets the pod go there.
    pub fits: bool,
    /// What each filter says.
    pub filters: Vec<FilterVerdict>,
    /// What each scoring plugin gives; none for nodes that do not fit.
    pub scores: Vec<PluginScore>,
    /// The sum of scores times weights; unset for nodes that do not fit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<i64>,
}

/// A filter's verdict.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FilterVerdict {
    /// The plugin.
    pub plugin: &'static str,
    /// Why not; unset if the pod can go there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Removing pods from the node could help.
    pub resolvable: bool,
}

/// A plugin's score.
#[derive(Clone, Debug, Serialize)]
pub struct PluginScore {
    /// The plugin.
    pub plugin: &'static str,
    /// 0..=100.
    pub score: i64,
    /// How often it counts.
    pub weight: i64,
}

impl NodeExplanation {
    /// Why the pod cannot go there.
    pub fn reasons(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.filters.iter().filter_map(|verdict| Some((verdict.plugin, verdict.reason.as_deref()?)))
    }
}

/// Asks all plugins about all nodes. The pod must not be in the snapshot.
pub fn explain(profile: &Profile, snapshot: &Snapshot, pod: &PodInfo) -> Explanation {
    let mut state = CycleState::default();
    let candidates = profile.pre_filter(&mut state, pod, snapshot);
    let judge = |node: &NodeInfo| match &candidates {
        Err(rejection) => vec![(rejection.plugin, Err(rejection.clone()))],
        Ok(candidates) => {
            let mut verdicts = profile.verdicts(&state, candidates, pod, node);
            let left_out = candidates.only.as_ref().is_some_and(|names| !names.contains(node.name()));
            if let Some(absent) = candidates.absent().filter(|_| left_out)
                && verdicts.iter().all(|(plugin, verdict)| *plugin != absent.plugin || verdict.is_ok())
            {
                verdicts.push((absent.plugin, Err(absent)));
            }
            verdicts
        }
    };
    let mut nodes: Vec<NodeExplanation> = Vec::new();
    let mut feasible: Vec<&NodeInfo> = Vec::new();
    for node in snapshot.nodes() {
        let verdicts = judge(node);
        let fits = verdicts.iter().all(|(_, verdict)| verdict.is_ok());
        if fits {
            feasible.push(node);
        }
        let told = verdicts.into_iter().map(|(plugin, verdict)| FilterVerdict {
            plugin,
            resolvable: verdict.as_ref().is_err_and(|rejection| rejection.resolvable),
            reason: verdict.err().map(|rejection| rejection.message()),
        });
        nodes.push(NodeExplanation {
            node: node.name().to_owned(),
            fits,
            filters: told.collect(),
            scores: Vec::new(),
            total: fits.then_some(0),
        });
    }
    profile.score(&mut state, pod, &feasible, snapshot, |plugin, weight, scores| {
        for (node, score) in nodes.iter_mut().filter(|node| node.fits).zip(scores) {
            node.scores.push(PluginScore { plugin, score: *score, weight });
            node.total = node.total.map(|total| total + score * weight);
        }
    });
    nodes.sort_by(|one, other| other.total.cmp(&one.total).then_with(|| one.node.cmp(&other.node)));
    Explanation {
        pod: format!("{}/{}", pod.namespace(), pod.name()),
        scheduler: profile.scheduler_name.clone(),
        bound_to: pod.spec().and_then(|spec| spec.node_name.clone()).filter(|name| !name.is_empty()),
        nominated: pod.nominated_node().map(str::to_owned),
        gated: profile.pre_enqueue.iter().find_map(|plugin| plugin.pre_enqueue(pod).err()),
        message: feasible.is_empty().then(|| message(profile, snapshot, pod)).flatten(),
        nodes,
    }
}

fn message(profile: &Profile, snapshot: &Snapshot, pod: &PodInfo) -> Option<String> {
    match Cycle::default().place(profile, snapshot, pod) {
        Err(failure @ (Failure::NoNodes | Failure::Unfit(..))) => Some(failure.to_string()),
        Ok(_) => None,
    }
}

/// Reads the cluster and explains one of its pods. A pod that runs is looked at as if it did not yet: everything else is as
/// it is now.
pub async fn explain_live(
    client: &Client,
    config: &Configuration,
    namespace: &str,
    name: &str,
) -> Result<Explanation, ExplainError> {
    let pod = client.get::<k8s_openapi::api::core::v1::Pod>(namespace, name).await?;
    let uid = pod.metadata.uid.clone();
    let info = PodInfo::new(Arc::new(pod));
    let Some(profile) = config.profiles.of(&info) else {
        return Err(ExplainError::OtherScheduler(info.scheduler_name().to_owned()));
    };
    let objects = Arc::new(read_objects(client).await?);
    let mut cluster = Cluster::new(objects);
    for node in client.list("").await? {
        cluster.put_node(Arc::new(node));
    }
    for other in client.list::<k8s_openapi::api::core::v1::Pod>("").await? {
        if other.metadata.uid == uid || kubelab_api::pod::is_terminal(&other) {
            continue;
        }
        let node = kubelab_api::pod::node_name(&other).map(str::to_owned);
        let other = Arc::new(PodInfo::new(Arc::new(other)));
        match (node, other.nominated_node().map(str::to_owned)) {
            (Some(node), _) => cluster.put_pod(other, &node),
            (None, Some(node)) => cluster.nominate(other, Some(&node)),
            (None, None) => {}
        }
    }
    let mut snapshot = Snapshot::default();
    cluster.update(&mut snapshot);
    // The node's name in the spec is the outcome, not a wish.
    let bound_to = kubelab_api::pod::node_name(&info.pod).map(str::to_owned);
    let unbound = if bound_to.is_some() { PodInfo::new(Arc::new(without_node(&info))) } else { info };
    let mut explanation = explain(profile, &snapshot, &unbound);
    explanation.bound_to = bound_to;
    Ok(explanation)
}

fn without_node(info: &PodInfo) -> k8s_openapi::api::core::v1::Pod {
    let mut pod = (*info.pod).clone();
    if let Some(spec) = &mut pod.spec {
        spec.node_name = None;
    }
    pod
}

/// Why there is no explanation.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    /// The cluster cannot be read.
    #[error(transparent)]
    Api(#[from] Error),
    /// It is not this scheduler's pod.
    #[error("the pod is for another scheduler: no profile is called {0:?}")]
    OtherScheduler(String),
}

async fn read_objects(client: &Client) -> Result<Objects, Error> {
    let objects = Objects::default();
    macro_rules! read {
        ($($store:ident),*) => {
            $(for object in client.list("").await? {
                objects.$store.put(Arc::new(object));
            })*
        };
    }
    read!(
        namespaces,
        services,
        replication_controllers,
        replica_sets,
        stateful_sets,
        budgets,
        claims,
        volumes,
        classes,
        csi_nodes,
        csi_drivers,
        capacities,
        attachments
    );
    Ok(objects)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{asking, node, plain, pod};

    fn cluster() -> Snapshot {
        let mut busy = plain("busy");
        busy.add_pod(Arc::new(asking(json!({ "cpu": "2", "memory": "4Gi" }))));
        let taints = json!({ "taints": [{ "key": "gpu", "effect": "NoSchedule" }], "unschedulable": true });
        let tainted = node("tainted", json!({}), taints, json!({ "cpu": "4", "memory": "8Gi", "pods": "110" }));
        Snapshot::new([plain("empty"), busy, tainted].into_iter().map(Arc::new).collect())
    }

    #[test]
    fn every_plugin_has_its_say_about_every_node() {
        let wanting = |cpu: &str| asking(json!({ "cpu": cpu, "memory": "1Gi" }));
        let told = explain(&Profile::default(), &cluster(), &wanting("1"));
        assert_eq!(told.nodes.iter().map(|node| node.node.as_str()).collect::<Vec<_>>(), ["empty", "busy", "tainted"]);
        assert!(told.nodes[0].total > told.nodes[1].total && told.nodes[2].total.is_none());
        let fit = told.nodes[0].scores.iter().find(|score| score.plugin == "NodeResourcesFit").unwrap();
        assert_eq!((fit.score, fit.weight), (81, 1));
        let total: i64 = told.nodes[0].scores.iter().map(|score| score.score * score.weight).sum();
        assert_eq!(told.nodes[0].total, Some(total));
        assert_eq!(
            told.nodes[2].reasons().collect::<Vec<_>>(),
            [
                ("NodeUnschedulable", "node(s) were unschedulable"),
                ("TaintToleration", "node(s) had untolerated taint(s)"),
            ]
        );
        assert!(told.message.is_none());

        let told = explain(&Profile::default(), &cluster(), &wanting("9"));
        let message = told.message.unwrap();
        assert!(
            message.starts_with("0/3 nodes are available: 1 node(s) were unschedulable, 2 Insufficient cpu."),
            "{message}"
        );
        assert!(told.nodes.iter().all(|node| !node.fits && node.scores.is_empty()));
    }

    #[test]
    fn gates_and_named_nodes_are_told() {
        let told = explain(&Profile::default(), &cluster(), &pod(json!({ "schedulingGates": [{ "name": "later" }] })));
        assert_eq!(told.gated.as_deref(), Some("waiting for scheduling gates: [later]"));
        let terms = json!([{ "matchFields": [{ "key": "metadata.name", "operator": "In", "values": ["busy"] }] }]);
        let own = pod(json!({ "affinity": { "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": terms },
        } } }));
        let told = explain(&Profile::default(), &cluster(), &own);
        assert_eq!((told.nodes[0].node.as_str(), told.nodes[0].fits), ("busy", true));
        let empty = told.nodes.iter().find(|node| node.node == "empty").unwrap();
        assert_eq!(empty.reasons().next().unwrap().0, "NodeAffinity");
    }
}
