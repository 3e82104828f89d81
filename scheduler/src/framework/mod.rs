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

mod cycle_state;
mod diagnosis;
mod event;
mod node_info;
mod pod_info;
mod profile;
mod resources;
mod snapshot;
mod verdict;

use std::{borrow::Cow, collections::BTreeSet, pin::Pin};

use kubelab_client::{Client, Error};

pub use self::{
    cycle_state::CycleState,
    diagnosis::{Diagnosis, FitError},
    event::ClusterEvent,
    node_info::NodeInfo,
    pod_info::{HostPort, PodInfo},
    profile::{Candidates, Profile, Unfit},
    resources::Resources,
    snapshot::Snapshot,
    verdict::{Rejection, Verdict},
};
use crate::queue::{QueuedPod, SortKey};

/// The highest score of a node by one plugin.
pub const MAX_NODE_SCORE: i64 = 100;

/// What all plugins have.
pub trait Plugin: Send + Sync {
    /// The name that upstream gives it.
    fn name(&self) -> &'static str;

    /// The pod was rejected by this plugin: may it fit after this event? Upstream's queueing hint.
    fn wakes(&self, _pod: &PodInfo, _event: &ClusterEvent) -> bool {
        false
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
}

/// Can the pod run on a node?
pub trait Filter: Plugin {
    /// The verdict on one node.
    fn filter(&self, state: &CycleState, pod: &PodInfo, node: &NodeInfo) -> Verdict;
}

/// What may be done when no node fits.
pub trait PostFilter: Plugin {
    /// What it has to say about this; empty for nothing.
    fn post_filter(&self, unfit: &Unfit<'_>) -> String;
}

/// Looks at the pod once, before the nodes that fit are scored.
pub trait PreScore: Plugin {
    /// Prepares the score; `false` if this plugin's score has nothing to say about this pod.
    fn pre_score(&self, state: &mut CycleState, pod: &PodInfo, nodes: &[&NodeInfo]) -> bool;
}

/// How well does a node fit?
pub trait Score: Plugin {
    /// More is better, in whatever range [`Score::normalize`] then maps to 0..=100.
    fn score(&self, state: &CycleState, pod: &PodInfo, node: &NodeInfo) -> i64;

    /// Maps all nodes' scores to 0..=100.
    fn normalize(&self, _scores: &mut [i64]) {}
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
