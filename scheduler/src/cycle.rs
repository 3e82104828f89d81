//! One scheduling cycle: a pod and a snapshot in, a node out. No I/O.

use kubelab_client::clock;
use rand::{RngExt, SeedableRng, rngs::SmallRng};

use crate::{
    framework::{CycleState, Diagnosis, FitError, NodeInfo, Nomination, PodInfo, Profile, Snapshot, Unfit},
    metrics::{METRICS, SUCCESS, UNSCHEDULABLE},
};

/// Of how many pods the plugins are timed one by one: one in so many, the first among them. Source:
/// `pluginMetricsSamplePercent`.
const TIMED: u32 = 10;

/// Clusters smaller than this are searched whole. Source: `minFeasibleNodesToFind`.
const MIN_FEASIBLE: usize = 100;

/// Where a pod goes.
pub struct Placement {
    /// The node's name.
    pub node: String,
    /// How many nodes were looked at.
    pub evaluated: usize,
    /// How many of them fit.
    pub feasible: usize,
    /// What plugins have reserved, and are to do before the pod is bound.
    pub plans: CycleState,
}

/// Why a pod goes nowhere.
#[derive(Clone, Debug)]
pub enum Failure {
    /// There is no node at all.
    NoNodes,
    /// No node fits, and what may be done about it.
    Unfit(Box<FitError>, Nomination),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoNodes => f.write_str("no nodes available to schedule pods"),
            Self::Unfit(error, _) => error.fmt(f),
        }
    }
}

/// What one cycle leaves to the next.
pub struct Cycle {
    /// Where the search for nodes begins, so that all get their turn.
    start: usize,
    /// How many pods there were.
    pods: u32,
    rng: SmallRng,
}

impl Default for Cycle {
    fn default() -> Self {
        Self::seeded(rand::random())
    }
}

impl Cycle {
    fn seeded(seed: u64) -> Self {
        Self { start: 0, pods: 0, rng: SmallRng::seed_from_u64(seed) }
    }

    /// Finds the best node for a pod, and has the plugins reserve what they must there.
    pub fn place(&mut self, profile: &Profile, snapshot: &Snapshot, pod: &PodInfo) -> Result<Placement, Failure> {
        let total = snapshot.nodes().len();
        if total == 0 {
            return Err(Failure::NoNodes);
        }
        if self.pods.is_multiple_of(TIMED) {
            profile.time_plugins(pod, snapshot);
        }
        self.pods = self.pods.wrapping_add(1);
        let mut state = CycleState::default();
        let mut diagnosis = Diagnosis::default();
        let feasible = self.feasible(profile, snapshot, pod, &mut state, &mut diagnosis);
        let evaluated = feasible.len() + diagnosis.nodes.len();
        let best = match feasible.as_slice() {
            [] => {
                let mut error = FitError { total, diagnosis };
                let began = clock::instant();
                let post = profile.post_filter(&mut Unfit::of(profile, pod, snapshot, &error));
                let found = matches!(post.nomination, Nomination::Node(_));
                METRICS.ran("PostFilter", profile, if found { SUCCESS } else { UNSCHEDULABLE }, began);
                error.diagnosis.post_filter = post.message;
                return Err(Failure::Unfit(Box::new(error), post.nomination));
            }
            [only] => only,
            several => {
                let totals = profile.totals(&mut state, pod, several, snapshot);
                several[self.best(&totals)]
            }
        };
        let mut plans = CycleState::default();
        for plugin in &profile.reserve {
            plugin.reserve(&state, &mut plans, best, snapshot.objects());
        }
        Ok(Placement { node: best.name().to_owned(), evaluated, feasible: feasible.len(), plans })
    }

    /// Nodes that fit, up to as many as are worth scoring.
    fn feasible<'a>(
        &mut self,
        profile: &Profile,
        snapshot: &'a Snapshot,
        pod: &PodInfo,
        state: &mut CycleState,
        diagnosis: &mut Diagnosis,
    ) -> Vec<&'a NodeInfo> {
        let began = clock::instant();
        let candidates = match profile.pre_filter(state, pod, snapshot) {
            Ok(candidates) => {
                METRICS.ran("PreFilter", profile, SUCCESS, began);
                candidates
            }
            Err(rejection) => {
                METRICS.ran("PreFilter", profile, UNSCHEDULABLE, began);
                diagnosis.plugins.insert(rejection.plugin);
                diagnosis.pre_filter = Some(rejection);
                return Vec::new();
            }
        };
        let state = &*state;
        // Room was made for it there: if it fits now, nothing else is looked at. Source: `evaluateNominatedNode`.
        if let Some(node) = pod.nominated_node().and_then(|name| snapshot.get(name))
            && candidates.only.as_ref().is_none_or(|names| names.contains(node.name()))
            && profile.filter_with_nominated(state, &candidates, pod, node, snapshot).is_ok()
        {
            return vec![node];
        }
        let total = snapshot.nodes().len();
        let named: Option<Vec<usize>> =
            candidates.only.as_ref().map(|names| names.iter().filter_map(|name| snapshot.place(name)).collect());
        diagnosis.absent = candidates.absent();
        diagnosis.plugins.extend(&candidates.narrowed_by);
        let count = named.as_ref().map_or(total, Vec::len);
        let enough = feasible_to_find(profile.percentage_of_nodes_to_score, count);
        let mut feasible = Vec::with_capacity(enough);
        let (start, began) = (self.start, clock::instant());
        let place = |step: usize| named.as_ref().map_or_else(|| (start + step) % total, |places| places[step]);
        let node = |step: usize| &*snapshot.nodes()[place(step)];
        let filter = |step: usize| profile.filter_with_nominated(state, &candidates, pod, node(step), snapshot);
        profile.parallelism.each(count, enough, filter, Result::is_ok, |step, verdict| match verdict {
            Ok(()) => feasible.push(node(step)),
            Err(rejection) => diagnosis.reject(place(step), rejection),
        });
        METRICS.ran("Filter", profile, if feasible.is_empty() { UNSCHEDULABLE } else { SUCCESS }, began);
        self.start = (self.start + feasible.len() + diagnosis.nodes.len()) % total;
        feasible
    }

    /// The place of the highest score; one of them at random if there are several.
    fn best(&mut self, scores: &[i64]) -> usize {
        let (mut best, mut equals) = (0, 1);
        for place in 1..scores.len() {
            if scores[place] > scores[best] {
                (best, equals) = (place, 1);
            } else if scores[place] == scores[best] {
                equals += 1;
                if self.rng.random_ratio(1, equals) {
                    best = place;
                }
            }
        }
        best
    }
}

/// How many nodes that fit are enough: the given share; where that is 0, of large clusters a share that shrinks from half
/// to a twentieth. Source: `numFeasibleNodesToFind`.
fn feasible_to_find(percentage: usize, nodes: usize) -> usize {
    if nodes < MIN_FEASIBLE || percentage >= 100 {
        return nodes;
    }
    let percentage = if percentage == 0 { 50usize.saturating_sub(nodes / 125).max(5) } else { percentage };
    (nodes * percentage / 100).max(MIN_FEASIBLE)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, sync::Arc};

    use serde_json::json;

    use super::*;
    use crate::{
        parallel::Parallelism,
        testing::{asking, plain, pod},
    };

    fn nodes(count: usize) -> Vec<Arc<NodeInfo>> {
        (0..count).map(|at| Arc::new(plain(&format!("node-{at}")))).collect()
    }

    fn found(placement: Placement) -> (String, usize, usize) {
        (placement.node, placement.evaluated, placement.feasible)
    }

    #[test]
    fn large_clusters_are_searched_in_part() {
        for (nodes, expected) in [(3, 3), (99, 99), (100, 100), (250, 120), (1000, 420), (5000, 500), (10000, 500)] {
            assert_eq!(feasible_to_find(0, nodes), expected, "{nodes} nodes");
        }
        for (percentage, nodes, expected) in [(40, 1000, 400), (5, 1000, 100), (1, 50, 50), (100, 5000, 5000)] {
            assert_eq!(feasible_to_find(percentage, nodes), expected, "{percentage}% of {nodes} nodes");
        }
    }

    #[test]
    fn the_emptiest_node_wins() {
        let mut nodes = nodes(3);
        for at in [0, 2] {
            Arc::make_mut(&mut nodes[at]).add_pod(Arc::new(asking(json!({ "cpu": "1", "memory": "2Gi" }))));
        }
        let pod = asking(json!({ "cpu": "1", "memory": "2Gi" }));
        let placement = Cycle::default().place(&Profile::default(), &Snapshot::new(nodes), &pod).ok().unwrap();
        assert_eq!(found(placement), ("node-1".into(), 3, 3));
    }

    #[test]
    fn equal_nodes_all_get_their_turn() {
        let snapshot = Snapshot::new(nodes(4));
        let mut cycle = Cycle::seeded(7);
        let mut chosen = BTreeSet::new();
        for _ in 0..100 {
            chosen.insert(cycle.place(&Profile::default(), &snapshot, &asking(json!({}))).ok().unwrap().node);
        }
        assert_eq!(chosen.len(), 4);
    }

    #[test]
    fn the_search_moves_on_through_a_large_cluster() {
        let snapshot = Snapshot::new(nodes(300));
        let mut cycle = Cycle::default();
        let placement = cycle.place(&Profile::default(), &snapshot, &asking(json!({}))).ok().unwrap();
        assert_eq!((placement.evaluated, placement.feasible, cycle.start), (144, 144, 144));
    }

    #[test]
    fn several_threads_choose_as_one_does() {
        let mut nodes = nodes(700);
        for at in (0..nodes.len()).filter(|at| at % 3 != 1) {
            let cpu = if at % 2 == 0 { "4" } else { "3" };
            Arc::make_mut(&mut nodes[at]).add_pod(Arc::new(asking(json!({ "cpu": cpu }))));
        }
        // Where room is being made for another, its place is taken already.
        let mut snapshot = Snapshot::new(nodes);
        let container = json!({ "name": "main", "resources": { "requests": { "cpu": "3" } } });
        let waits = pod(json!({ "name": "waits", "priority": 7, "containers": [container] }));
        let nominated = (0..700).step_by(10).map(|at| (format!("node-{at}"), vec![Arc::new(waits.clone())]));
        snapshot.nominated = Arc::new(nominated.collect());
        let choices = |threads: usize| {
            let mut cycle = Cycle::seeded(7);
            let profile = Profile { parallelism: Parallelism::exactly(threads, 16), ..Profile::default() };
            let pods = ["500m", "2", "4", "5"].map(|cpu| asking(json!({ "cpu": cpu })));
            pods.map(|pod| {
                let placement =
                    cycle.place(&profile, &snapshot, &pod).map(found).map_err(|failure| failure.to_string());
                (placement, cycle.start)
            })
        };
        let alone = choices(1);
        assert!(alone[0].0.is_ok() && alone[3].0.is_err(), "{alone:?}");
        assert_eq!(choices(4), alone);
    }

    #[test]
    fn a_pod_of_a_daemon_set_sees_its_node_alone() {
        let pod = pod(json!({ "affinity": { "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": [
                { "matchFields": [{ "key": "metadata.name", "operator": "In", "values": ["node-2"] }] },
            ] },
        } } }));
        let (profile, mut cycle) = (Profile::default(), Cycle::default());
        let placement = cycle.place(&profile, &Snapshot::new(nodes(5)), &pod).ok().unwrap();
        assert_eq!(found(placement), ("node-2".into(), 1, 1));
        let failure = cycle.place(&profile, &Snapshot::new(nodes(2)), &pod).err().unwrap();
        assert_eq!(
            failure.to_string(),
            "0/2 nodes are available: 2 node(s) didn't satisfy plugin(s) [NodeAffinity]. preemption: 0/2 nodes are \
             available: 2 Preemption is not helpful for scheduling.",
        );
        assert_eq!(
            cycle.place(&profile, &Snapshot::default(), &pod).err().unwrap().to_string(),
            "no nodes available to schedule pods",
        );
    }
}
