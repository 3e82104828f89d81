//! Which plugins run, and running them.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use kubelab_client::clock;

use super::{
    Bind, ClusterEvent, CycleState, Diagnosis, Events, Filter, FitError, NodeInfo, Nomination, Plugin, PodInfo,
    PostFilter, PostFiltered, PreBind, PreEnqueue, PreFilter, PreFiltered, PreScore, QueueSort, Rejection, Reserve,
    Score, Snapshot, Verdict, WhatIf,
};
use crate::{
    metrics::{METRICS, SUCCESS},
    parallel::Parallelism,
};

/// The plugins at each extension point, in order. Upstream: `KubeSchedulerProfile`.
#[derive(Clone)]
pub struct Profile {
    /// Pods with this `spec.schedulerName` are scheduled by it.
    pub scheduler_name: String,
    /// How many nodes that fit are enough, as a percentage; 0 adapts it to the size of the cluster.
    pub percentage_of_nodes_to_score: usize,
    /// How many threads look at nodes.
    pub parallelism: Parallelism,
    pub(crate) pre_enqueue: Vec<Arc<dyn PreEnqueue>>,
    pub(crate) queue_sort: Arc<dyn QueueSort>,
    pub(crate) pre_filter: Vec<Arc<dyn PreFilter>>,
    pub(crate) filter: Vec<Arc<dyn Filter>>,
    pub(crate) post_filter: Vec<Arc<dyn PostFilter>>,
    pub(crate) pre_score: Vec<Arc<dyn PreScore>>,
    /// With their weights.
    pub(crate) score: Vec<(Arc<dyn Score>, i64)>,
    pub(crate) reserve: Vec<Arc<dyn Reserve>>,
    pub(crate) pre_bind: Vec<Arc<dyn PreBind>>,
    pub(crate) bind: Arc<dyn Bind>,
}

/// All profiles of a scheduler.
pub struct Profiles(HashMap<String, Arc<Profile>>);

impl Profiles {
    /// These, by their names.
    pub fn new(profiles: impl IntoIterator<Item = Profile>) -> Self {
        Self(profiles.into_iter().map(|profile| (profile.scheduler_name.clone(), Arc::new(profile))).collect())
    }

    /// The profile that schedules this pod; `None` if that is another scheduler's work.
    pub fn of(&self, pod: &PodInfo) -> Option<&Arc<Profile>> {
        self.0.get(pod.scheduler_name())
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Profile>> {
        self.0.values()
    }
}

impl Default for Profiles {
    fn default() -> Self {
        Self::new([Profile::default()])
    }
}

/// What the pre-filters leave to look at.
#[derive(Default)]
pub struct Candidates {
    /// Only the nodes with these names, if set.
    pub only: Option<BTreeSet<String>>,
    /// The plugins that left nodes out.
    pub narrowed_by: BTreeSet<&'static str>,
    /// The filters that have something to say, by their places in the profile.
    asked: Vec<usize>,
    /// The pre-filters that prepared something.
    prepared: Vec<usize>,
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
            Ok(candidates) => {
                self.profile.filter_with_nominated(&self.state, candidates, self.pod, node, self.snapshot)
            }
            Err(rejection) => Err(rejection.clone()),
        }
    }

    /// Takes a pod away from a node, for what comes.
    pub fn take(&mut self, node: &mut NodeInfo, other: &PodInfo) {
        node.remove_pod(other.uid());
        self.what_if(node, other, -1);
    }

    /// Puts it back.
    pub fn put(&mut self, node: &mut NodeInfo, other: &Arc<PodInfo>) {
        node.add_pod(other.clone());
        self.what_if(node, other, 1);
    }

    /// What was prepared is to hold as if the pod were on the node, or not.
    pub fn what_if(&mut self, node: &NodeInfo, other: &PodInfo, sign: i64) {
        if let Ok(candidates) = &self.candidates {
            let change = WhatIf { other, node, sign, snapshot: self.snapshot };
            self.profile.what_if(&mut self.state, candidates, self.pod, &change);
        }
    }
}

/// One plugin's scores.
#[derive(Clone, Debug)]
pub struct Scored {
    /// The plugin.
    pub plugin: &'static str,
    /// How much it counts.
    pub weight: i64,
    /// The score of each node, 0..=100.
    pub scores: Vec<i64>,
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
        let mut skip = Vec::new();
        for (at, plugin) in self.pre_filter.iter().enumerate() {
            match plugin.pre_filter(state, pod, snapshot)? {
                PreFiltered::All => candidates.prepared.push(at),
                PreFiltered::Skip => skip.push(plugin.name()),
                PreFiltered::Only(names) => {
                    candidates.prepared.push(at);
                    candidates.narrow(plugin.name(), names)?;
                }
            }
        }
        let asked = self.filter.iter().enumerate().filter(|(_, plugin)| !skip.contains(&plugin.name()));
        candidates.asked = asked.map(|(at, _)| at).collect();
        Ok(candidates)
    }

    /// Runs the filters on one node, up to the first that rejects.
    pub fn filter(&self, state: &CycleState, candidates: &Candidates, pod: &PodInfo, node: &NodeInfo) -> Verdict {
        candidates.asked.iter().try_for_each(|at| self.filter[*at].filter(state, pod, node))
    }

    /// Runs the filters as if the pods that wait for room on this node and are as important ran there, and again without
    /// them. Source: `RunFilterPluginsWithNominatedPods`.
    pub fn filter_with_nominated(
        &self,
        state: &CycleState,
        candidates: &Candidates,
        pod: &PodInfo,
        node: &NodeInfo,
        snapshot: &Snapshot,
    ) -> Verdict {
        let counts = |other: &&Arc<PodInfo>| other.priority >= pod.priority && other.uid() != pod.uid();
        let nominated: Vec<&Arc<PodInfo>> = snapshot.nominated(node.name()).iter().filter(counts).collect();
        if !nominated.is_empty() {
            let (mut crowded, mut state) = (node.clone(), state.clone());
            for other in &nominated {
                crowded.add_pod((*other).clone());
                self.what_if(&mut state, candidates, pod, &WhatIf { other, node: &crowded, sign: 1, snapshot });
            }
            self.filter(&state, candidates, pod, &crowded)?;
        }
        self.filter(state, candidates, pod, node)
    }

    /// What every filter says about a node; those that a pre-filter left out say nothing.
    pub fn verdicts(
        &self,
        state: &CycleState,
        candidates: &Candidates,
        pod: &PodInfo,
        node: &NodeInfo,
    ) -> Vec<(&'static str, Verdict)> {
        let ask = |at: &usize| (self.filter[*at].name(), self.filter[*at].filter(state, pod, node));
        candidates.asked.iter().map(ask).collect()
    }

    fn what_if(&self, state: &mut CycleState, candidates: &Candidates, pod: &PodInfo, change: &WhatIf<'_>) {
        for at in &candidates.prepared {
            self.pre_filter[*at].what_if(state, pod, change);
        }
    }

    /// Runs the post-filters up to the first that finds a way. Source: `RunPostFilterPlugins`.
    pub fn post_filter(&self, unfit: &mut Unfit<'_>) -> PostFiltered {
        let mut all = PostFiltered::default();
        let mut said = Vec::new();
        for plugin in &self.post_filter {
            let PostFiltered { message, nomination } = plugin.post_filter(unfit);
            if !message.is_empty() {
                said.push(message);
            }
            if !matches!(nomination, Nomination::Keep) {
                all.nomination = nomination;
            }
            if matches!(all.nomination, Nomination::Node(_)) {
                said.clear();
                break;
            }
        }
        all.message = said.join(", ");
        all
    }

    /// The nodes' scores by each plugin that has something to say.
    pub fn score(
        &self,
        state: &mut CycleState,
        pod: &PodInfo,
        nodes: &[&NodeInfo],
        snapshot: &Snapshot,
        mut each: impl FnMut(&'static str, i64, &[i64]),
    ) {
        let mut skip = Vec::new();
        let began = clock::instant();
        for plugin in &self.pre_score {
            if !plugin.pre_score(state, pod, nodes, snapshot) {
                skip.push(plugin.name());
            }
        }
        METRICS.ran("PreScore", self, SUCCESS, began);
        let (state, began) = (&*state, clock::instant());
        for (plugin, weight) in self.score.iter().filter(|(plugin, _)| !skip.contains(&plugin.name())) {
            let mut scores = self.parallelism.map(nodes.len(), |at| plugin.score(state, pod, nodes[at]));
            plugin.normalize(state, nodes, &mut scores);
            each(plugin.name(), *weight, &scores);
        }
        METRICS.ran("Score", self, SUCCESS, began);
    }

    /// Runs the plugins on one node, each by itself, to see how long they take. That is done beside a cycle, so that the
    /// cycles themselves have no stop-watch at every step.
    pub fn time_plugins(&self, pod: &PodInfo, snapshot: &Snapshot) {
        let Some(node) = snapshot.nodes().first() else { return };
        let (node, mut state) = (&**node, CycleState::default());
        let mut skip = Vec::new();
        for plugin in &self.pre_filter {
            let run = || plugin.pre_filter(&mut state, pod, snapshot);
            match METRICS.plugin(plugin.name(), "PreFilter", run, Result::is_ok) {
                Ok(PreFiltered::Skip) => skip.push(plugin.name()),
                Ok(_) => {}
                Err(_) => return,
            }
        }
        for plugin in self.filter.iter().filter(|plugin| !skip.contains(&plugin.name())) {
            let _ = METRICS.plugin(plugin.name(), "Filter", || plugin.filter(&state, pod, node), Result::is_ok);
        }
        skip.clear();
        for plugin in &self.pre_score {
            let run = || plugin.pre_score(&mut state, pod, &[node], snapshot);
            if !METRICS.plugin(plugin.name(), "PreScore", run, |_| true) {
                skip.push(plugin.name());
            }
        }
        for (plugin, _) in self.score.iter().filter(|(plugin, _)| !skip.contains(&plugin.name())) {
            METRICS.plugin(plugin.name(), "Score", || plugin.score(&state, pod, node), |_| true);
        }
    }

    /// The nodes' total scores.
    pub fn totals(&self, state: &mut CycleState, pod: &PodInfo, nodes: &[&NodeInfo], snapshot: &Snapshot) -> Vec<i64> {
        let mut totals = vec![0; nodes.len()];
        self.score(state, pod, nodes, snapshot, |_, weight, scores| {
            for (total, score) in totals.iter_mut().zip(scores) {
                *total += weight * score;
            }
        });
        totals
    }

    /// All plugins that can reject a pod, each once or twice.
    fn rejecting(&self) -> impl Iterator<Item = &dyn Plugin> {
        let pre = self.pre_filter.iter().map(|plugin| -> &dyn Plugin { &**plugin });
        pre.chain(self.filter.iter().map(|plugin| -> &dyn Plugin { &**plugin }))
    }

    /// One of these plugins, which rejected the pod, thinks that it may fit after this event.
    pub fn wakes(&self, plugins: &BTreeSet<&'static str>, pod: &PodInfo, event: &ClusterEvent) -> bool {
        let kinds = event.kinds();
        self.rejecting().any(|plugin| {
            plugins.contains(plugin.name()) && plugin.events().intersects(kinds) && plugin.wakes(pod, event)
        })
    }

    /// The kinds of events that may help a pod which these plugins rejected.
    pub fn events(&self, plugins: &BTreeSet<&'static str>) -> Events {
        let involved = self.rejecting().filter(|plugin| plugins.contains(plugin.name()));
        involved.fold(Events::NONE, |events, plugin| events | plugin.events())
    }
}

fn left_out(by: &BTreeSet<&'static str>) -> String {
    let names: Vec<&str> = by.iter().copied().collect();
    format!("node(s) didn't satisfy plugin(s) [{}]", names.join(" "))
}

impl Candidates {
    fn narrow(&mut self, plugin: &'static str, names: BTreeSet<String>) -> Result<(), Rejection> {
        self.narrowed_by.insert(plugin);
        let left = match self.only.take() {
            Some(before) => before.intersection(&names).cloned().collect(),
            None => names,
        };
        if left.is_empty() {
            let together = if self.narrowed_by.len() > 1 { " simultaneously" } else { "" };
            let reason = format!("{}{together}", left_out(&self.narrowed_by));
            return Err(Rejection::unresolvable(plugin, reason));
        }
        self.only = Some(left);
        Ok(())
    }

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
