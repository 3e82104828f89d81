//! Constraints that other nodes keep better. Source: `podtopologyspread/scoring.go`.

use std::collections::HashSet;

use kubelab_api::well_known::label;

use super::{Constraint, PodTopologySpread, Wish};
use crate::framework::{Adjusted, CycleState, MAX_NODE_SCORE, NodeInfo, PodInfo, PreScore, Score, Snapshot};

/// The pod's soft constraints with what is counted for each.
struct Soft {
    constraints: Vec<Weighed>,
    /// Nodes that lack a label are not scored.
    all_keys: bool,
}

struct Weighed {
    constraint: Constraint,
    pods: Adjusted,
    per_host: bool,
    /// Smaller topologies are not to be watered down by larger ones.
    weight: f64,
}

impl Soft {
    fn ignores(&self, node: &NodeInfo) -> bool {
        let lacks =
            |weighed: &Weighed| !node.labels().is_some_and(|labels| labels.contains_key(&*weighed.constraint.key));
        self.all_keys && self.constraints.iter().any(lacks)
    }
}

impl PreScore for PodTopologySpread {
    fn pre_score(&self, state: &mut CycleState, pod: &PodInfo, nodes: &[&NodeInfo], snapshot: &Snapshot) -> bool {
        let constraints = self.constraints(pod, Wish::Rather, snapshot.objects());
        if constraints.is_empty() {
            return false;
        }
        let eligible = self.eligible(pod, &constraints);
        let mut soft = Soft { constraints: Vec::new(), all_keys: !eligible.keys().is_empty() };
        for constraint in constraints {
            let pods = eligible.tally(&constraint, snapshot);
            let per_host = &*constraint.key == label::HOSTNAME;
            soft.constraints.push(Weighed { constraint, pods, per_host, weight: 0.0 });
        }
        let scored: Vec<&NodeInfo> = nodes.iter().copied().filter(|node| !soft.ignores(node)).collect();
        for weighed in &mut soft.constraints {
            let domains = if weighed.per_host { scored.len() } else { weighed.domains(&scored) };
            weighed.weight = (domains as f64 + 2.0).ln();
        }
        state.put(soft);
        true
    }
}

impl Weighed {
    /// How many domains these nodes are in; being in none is one more.
    fn domains(&self, nodes: &[&NodeInfo]) -> usize {
        let Some(axis) = self.pods.tally.axis(&self.constraint.key) else { return 1 };
        nodes.iter().map(|node| axis.domain(node.place)).collect::<HashSet<_>>().len()
    }

    /// How many pods count on the node or in its domain; `None` if it is in none.
    fn pods(&self, node: &NodeInfo) -> Option<i64> {
        let axis = self.pods.tally.axis(&self.constraint.key)?;
        let domain = axis.domain(node.place)?;
        Some(if self.per_host { axis.given(node.place) } else { axis.sum(domain) })
    }
}

impl Score for PodTopologySpread {
    /// The pods that count, and the skew that is tolerated: less is better.
    fn score(&self, state: &CycleState, _: &PodInfo, node: &NodeInfo) -> i64 {
        let Some(soft) = state.get::<Soft>() else { return 0 };
        let of = |weighed: &Weighed| {
            let pods = weighed.pods(node)?;
            Some(pods as f64 * weighed.weight + (weighed.constraint.max_skew - 1) as f64)
        };
        soft.constraints.iter().filter_map(of).sum::<f64>().round() as i64
    }

    fn normalize(&self, state: &CycleState, nodes: &[&NodeInfo], scores: &mut [i64]) {
        let Some(soft) = state.get::<Soft>() else { return };
        let ignored: Vec<bool> = nodes.iter().map(|node| soft.ignores(node)).collect();
        let counted = || scores.iter().zip(&ignored).filter(|(_, ignored)| !**ignored).map(|(score, _)| *score);
        let (least, most) = (counted().min().unwrap_or(0), counted().max().unwrap_or(0));
        for (score, ignored) in scores.iter_mut().zip(ignored) {
            *score = match most {
                _ if ignored => 0,
                0 => MAX_NODE_SCORE,
                _ => MAX_NODE_SCORE * (most + least - *score) / most,
            };
        }
    }
}
