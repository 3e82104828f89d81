//! What plugins are made of. Source of the extension points: upstream's scheduling framework (KEP-624).
//!
//! ```text
//! queue:  PreEnqueue ─▶ QueueSort
//! cycle:  PreFilter ─▶ Filter ─(none fits)─▶ PostFilter
//!                        └────(some fit)──▶ PreScore ─▶ Score ─▶ normalize ─▶ highest
//! bind:   Bind                                                           (in parallel)
//! ```
//!
//! A plugin is a value without state of its own. What it computes once a cycle goes into the [`CycleState`]; what it knows
//! of the cluster is the [`Snapshot`], which does not change during a cycle.

mod affinity;
mod cycle_state;
mod diagnosis;
mod event;
mod node_info;
mod objects;
mod pod_info;
mod profile;
mod resources;
mod snapshot;
mod tally;
mod verdict;

use std::{borrow::Cow, collections::BTreeSet, pin::Pin, sync::Arc};

use kubelab_client::{Client, Error};

pub use self::{
    affinity::{PodAffinity, Resolved, Term},
    cycle_state::CycleState,
    diagnosis::{Diagnosis, FitError},
    event::{ClusterEvent, Events},
    node_info::NodeInfo,
    objects::{Objects, Store},
    pod_info::{Claim, DEFAULT_SCHEDULER, HostPort, PodInfo},
    profile::{Candidates, Profile, Profiles, Scored, Unfit},
    resources::{ResourceName, Resources},
    snapshot::Snapshot,
    tally::{Adjusted, Axis, Emit, Tally},
    verdict::{Rejection, Verdict},
};
use crate::queue::{QueuedPod, SortKey};

/// The highest score of a node by one plugin.
pub const MAX_NODE_SCORE: i64 = 100;

/// What all plugins have.
pub trait Plugin: Send + Sync {
    /// The name that upstream gives it.
    fn name(&self) -> &'static str;

    /// The kinds of events that may help a pod which this plugin rejected. Upstream: `EventsToRegister`.
    fn events(&self) -> Events {
        Events::NONE
    }

    /// The pod was rejected by this plugin: may it fit after this event, which is of a kind that it registered? Upstream's
    /// queueing hint.
    fn wakes(&self, _pod: &PodInfo, _event: &ClusterEvent) -> bool {
        true
    }
}

/// May a pod be scheduled at all yet?
pub trait PreEnqueue: Plugin {
    /// The reason why not.
    fn pre_enqueue(&self, pod: &PodInfo) -> Result<(), String>;
}

/// The order of the pods that wait.
pub trait QueueSort: Plugin {
    /// Lower keys come first.
    fn key(&self, pod: &QueuedPod) -> SortKey;
}

/// What a pre-filter found.
#[derive(Debug, PartialEq)]
pub enum PreFiltered {
    /// The plugin's filter is to see every node.
    All,
    /// Only the nodes with these names can fit.
    Only(BTreeSet<String>),
    /// The plugin's filter has nothing to say about this pod.
    Skip,
}

/// Looks at the pod once, before the nodes.
pub trait PreFilter: Plugin {
    /// Prepares the filter, or rejects the pod on all nodes.
    fn pre_filter(&self, state: &mut CycleState, pod: &PodInfo, snapshot: &Snapshot) -> Result<PreFiltered, Rejection>;

    /// What was prepared is to hold as if another pod ran (`1`) or did not run (`-1`) on this node. Upstream:
    /// `PreFilterExtensions`. Doing both leaves the state as it was.
    fn what_if(&self, _state: &mut CycleState, _pod: &PodInfo, _change: &WhatIf<'_>) {}
}

/// A pod that is thought to be on a node, or not to be there any more.
pub struct WhatIf<'a> {
    /// It.
    pub other: &'a PodInfo,
    /// The node.
    pub node: &'a NodeInfo,
    /// `1` or `-1`.
    pub sign: i64,
    /// The cluster as it really is.
    pub snapshot: &'a Snapshot,
}

/// Can the pod run on a node?
pub trait Filter: Plugin {
    /// The verdict on one node.
    fn filter(&self, state: &CycleState, pod: &PodInfo, node: &NodeInfo) -> Verdict;
}

/// What a post-filter comes to.
#[derive(Clone, Debug, Default)]
pub struct PostFiltered {
    /// What it has to say; empty for nothing.
    pub message: String,
    /// What becomes of the pod's nominated node.
    pub nomination: Nomination,
}

/// On which node room is made for a pod.
#[derive(Clone, Debug, Default)]
pub enum Nomination {
    /// As before.
    #[default]
    Keep,
    /// On none.
    Clear,
    /// On this one, once pods are gone from it.
    Node(Arc<Preemption>),
}

/// What makes room for a pod.
#[derive(Clone, Debug)]
pub struct Preemption {
    /// The node.
    pub node: String,
    /// The pods that must go, the most important first.
    pub victims: Vec<Arc<PodInfo>>,
    /// Less important pods for which room was being made there: they must look elsewhere.
    pub displaced: Vec<Arc<PodInfo>>,
}

/// What may be done when no node fits.
pub trait PostFilter: Plugin {
    /// Tries.
    fn post_filter(&self, unfit: &mut Unfit<'_>) -> PostFiltered;
}

/// Looks at the pod once, before the nodes that fit are scored.
pub trait PreScore: Plugin {
    /// Prepares the score; `false` if this plugin's score has nothing to say about this pod.
    fn pre_score(&self, state: &mut CycleState, pod: &PodInfo, nodes: &[&NodeInfo], snapshot: &Snapshot) -> bool;
}

/// How well does a node fit?
pub trait Score: Plugin {
    /// More is better, in whatever range [`Score::normalize`] then maps to 0..=100.
    fn score(&self, state: &CycleState, pod: &PodInfo, node: &NodeInfo) -> i64;

    /// Maps all nodes' scores to 0..=100.
    fn normalize(&self, _state: &CycleState, _nodes: &[&NodeInfo], _scores: &mut [i64]) {}
}

/// What must be held for a pod beside its place on the node.
pub trait Reserve: Plugin {
    /// Holds it, and puts into `plans` what is to be done before the pod is bound.
    fn reserve(&self, state: &CycleState, plans: &mut CycleState, node: &NodeInfo, objects: &Objects);

    /// Nothing comes of it.
    fn unreserve(&self, plans: &CycleState, objects: &Objects);
}

/// What plugins may do outside of a cycle.
#[derive(Clone)]
pub struct Handle {
    /// Requests.
    pub client: Client,
    /// What is known of the cluster.
    pub objects: Arc<Objects>,
    /// Something of it has changed.
    pub changed: Arc<tokio::sync::Notify>,
}

/// Work that may fail, with what to tell the pod's owner.
pub type PreBindFuture<'a> = Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'a>>;

/// What must be done before a pod is bound.
pub trait PreBind: Plugin {
    /// There is something to do, which may take long.
    fn has_work(&self, plans: &CycleState) -> bool;

    /// Does it.
    fn pre_bind<'a>(
        &'a self,
        plans: &'a CycleState,
        pod: &'a PodInfo,
        node: &'a str,
        handle: &'a Handle,
    ) -> PreBindFuture<'a>;
}

/// A binding under way.
pub type BindFuture<'a> = Pin<Box<dyn Future<Output = Result<(), Error>> + Send + 'a>>;

/// Binds a pod to its node.
pub trait Bind: Plugin {
    /// Binds it.
    fn bind<'a>(&self, client: &'a Client, pod: &'a PodInfo, node: &'a str) -> BindFuture<'a>;
}

/// Scales scores so that the highest is 100; `reverse` makes the highest the lowest. Source: `DefaultNormalizeScore`.
pub fn normalize(scores: &mut [i64], reverse: bool) {
    let highest = scores.iter().copied().max().unwrap_or_default();
    for score in scores {
        let scaled = if highest == 0 { 0 } else { MAX_NODE_SCORE * *score / highest };
        *score = if reverse { MAX_NODE_SCORE - scaled } else { scaled };
    }
}

/// A reason, usually one of the constants that upstream's plugins have.
pub type Reason = Cow<'static, str>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_scaled_to_the_highest() {
        for (scores, reverse, expected) in [
            ([1, 2, 4], false, [25, 50, 100]),
            ([1, 2, 4], true, [75, 50, 0]),
            ([0, 0, 0], false, [0, 0, 0]),
            ([0, 0, 0], true, [100, 100, 100]),
        ] {
            let mut normalized = scores;
            normalize(&mut normalized, reverse);
            assert_eq!(normalized, expected, "{scores:?} {reverse}");
        }
    }
}
