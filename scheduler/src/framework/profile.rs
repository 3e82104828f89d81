//! Which plugins run, and running them.

use std::collections::{BTreeSet, HashSet};

use super::{
    Bind, ClusterEvent, CycleState, Diagnosis, Filter, FitError, NodeInfo, PodInfo, PostFilter, PreEnqueue, PreFilter,
    PreFiltered, PreScore, QueueSort, Rejection, Score, Snapshot, Verdict,
};

/// The plugins at each extension point, in order. Upstream: `KubeSchedulerProfile`.
pub struct Profile {
    /// Pods with this `spec.schedulerName` are scheduled by it.
    pub scheduler_name: &'static str,
    pub(crate) pre_enqueue: Vec<Box<dyn PreEnqueue>>,
    pub(crate) queue_sort: Box<dyn QueueSort>,
    pub(crate) pre_filter: Vec<Box<dyn PreFilter>>,
    pub(crate) filter: Vec<Box<dyn Filter>>,
    pub(crate) post_filter: Vec<Box<dyn PostFilter>>,
    pub(crate) pre_score: Vec<Box<dyn PreScore>>,
    /// With their weights.
    pub(crate) score: Vec<(Box<dyn Score>, i64)>,
    pub(crate) bind: Box<dyn Bind>,
}

/// What the pre-filters leave to look at.
#[derive(Default)]
pub struct Candidates {
    /// Only the nodes with these names, if set.
    pub only: Option<BTreeSet<String>>,
    /// The plugins that left nodes out.
    pub narrowed_by: BTreeSet<&'static str>,
    skip: HashSet<&'static str>,
}

/// A pod that fits nowhere, and what a post-filter needs to try something else.
pub struct Unfit<'a> {
    /// The pod.
    pub pod: &'a PodInfo,
    /// The nodes.
    pub snapshot: &'a Snapshot,
    /// Why it fits nowhere.
    pub error: &'a FitError,
    profile: &'a Profile,
    state: CycleState,
    candidates: Result<Candidates, Rejection>,
}

impl<'a> Unfit<'a> {
    /// Runs the pre-filters anew, so that the filters can be tried on other nodes than there are.
    pub fn of(profile: &'a Profile, pod: &'a PodInfo, snapshot: &'a Snapshot, error: &'a FitError) -> Self {
        let mut state = CycleState::default();
        let candidates = profile.pre_filter(&mut state, pod, snapshot);
        Self { pod, snapshot, error, profile, state, candidates }
    }

    /// Would the pod fit on this node?
    pub fn filter(&self, node: &NodeInfo) -> Verdict {
        match &self.candidates {
            Ok(candidates) => self.profile.filter(&self.state, candidates, self.pod, node),
            Err(rejection) => Err(rejection.clone()),
        }
    }
}

impl Profile {
    /// Runs the pre-filters.
    pub fn pre_filter(
        &self,
        state: &mut CycleState,
        pod: &PodInfo,
        snapshot: &Snapshot,
    ) -> Result<Candidates, Rejection> {
        let mut candidates = Candidates::default();
        for plugin in &self.pre_filter {
            match plugin.pre_filter(state, pod, snapshot)? {
                PreFiltered::All => {}
                PreFiltered::Skip => {
                    candidates.skip.insert(plugin.name());
                }
                PreFiltered::Only(names) => {
                    candidates.narrowed_by.insert(plugin.name());
                    let left = match candidates.only.take() {
                        Some(before) => before.intersection(&names).cloned().collect(),
                        None => names,
                    };
                    if left.is_empty() {
                        let together = if candidates.narrowed_by.len() > 1 { " simultaneously" } else { "" };
                        let reason = format!("{}{together}", left_out(&candidates.narrowed_by));
                        return Err(Rejection::unresolvable(plugin.name(), reason));
                    }
                    candidates.only = Some(left);
                }
            }
        }
        Ok(candidates)
    }

    /// Runs the filters on one node, up to the first that rejects.
    pub fn filter(&self, state: &CycleState, candidates: &Candidates, pod: &PodInfo, node: &NodeInfo) -> Verdict {
        self.filter
            .iter()
            .filter(|plugin| !candidates.skip.contains(plugin.name()))
            .try_for_each(|plugin| plugin.filter(state, pod, node))
    }

    /// Runs the post-filters and keeps what they say.
    pub fn post_filter(&self, unfit: &Unfit<'_>) -> String {
        let said = self.post_filter.iter().map(|plugin| plugin.post_filter(unfit));
        said.filter(|text| !text.is_empty()).collect::<Vec<_>>().join(", ")
    }

    /// The nodes' total scores.
    pub fn score(&self, state: &mut CycleState, pod: &PodInfo, nodes: &[&NodeInfo]) -> Vec<i64> {
        let mut skip = HashSet::new();
        for plugin in &self.pre_score {
            if !plugin.pre_score(state, pod, nodes) {
                skip.insert(plugin.name());
            }
        }
        let mut totals = vec![0; nodes.len()];
        let mut scores = vec![0; nodes.len()];
        for (plugin, weight) in self.score.iter().filter(|(plugin, _)| !skip.contains(plugin.name())) {
            for (score, node) in scores.iter_mut().zip(nodes) {
                *score = plugin.score(state, pod, node);
            }
            plugin.normalize(&mut scores);
            for (total, score) in totals.iter_mut().zip(&scores) {
                *total += weight * score;
            }
        }
        totals
    }
}

fn left_out(by: &BTreeSet<&'static str>) -> String {
    let names: Vec<&str> = by.iter().copied().collect();
    format!("node(s) didn't satisfy plugin(s) [{}]", names.join(" "))
}

impl Candidates {
    /// What holds for the nodes that the pre-filters left out. Source: `findNodesThatFitPod`.
    pub fn absent(&self) -> Option<Rejection> {
        let plugin = self.narrowed_by.first()?;
        Some(Rejection::unresolvable(plugin, left_out(&self.narrowed_by)))
    }
}

impl Diagnosis {
    /// A node rejected the pod.
    pub fn reject(&mut self, place: usize, rejection: Rejection) {
        self.plugins.insert(rejection.plugin);
        self.nodes.push((place, rejection));
    }
}

impl Profile {
    /// One of these plugins, which rejected the pod, thinks that it may fit after this event.
    pub fn wakes(&self, plugins: &BTreeSet<&'static str>, pod: &PodInfo, event: &ClusterEvent) -> bool {
        self.pre_filter.iter().any(|plugin| plugins.contains(plugin.name()) && plugin.wakes(pod, event))
            || self.filter.iter().any(|plugin| plugins.contains(plugin.name()) && plugin.wakes(pod, event))
    }
}
