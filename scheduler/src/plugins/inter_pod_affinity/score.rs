//! What a pod prefers, and what pods that run prefer. Source: `interpodaffinity/scoring.go`.

use std::{fmt::Write, sync::Arc};

use super::InterPodAffinity;
use crate::framework::{
    CycleState, Emit, MAX_NODE_SCORE, NodeInfo, PodInfo, PreScore, Resolved, Score, Snapshot, Tally, Term,
};

/// How well each topology would suit the pod and those that run there.
struct Suited(Arc<Tally>);

fn preferences(pod: &PodInfo) -> impl Iterator<Item = (&Term, i64)> {
    let terms = pod.affinity.iter();
    terms.flat_map(|terms| {
        let away = terms.preferred_anti.iter().map(|(term, weight)| (term, -*weight));
        terms.preferred.iter().map(|(term, weight)| (term, *weight)).chain(away)
    })
}

impl PreScore for InterPodAffinity {
    fn pre_score(&self, state: &mut CycleState, pod: &PodInfo, _: &[&NodeInfo], snapshot: &Snapshot) -> bool {
        let objects = snapshot.objects();
        let own: Vec<(Resolved, i64)> =
            preferences(pod).map(|(term, weight)| (term.resolve(objects), weight)).collect();
        let asks_others = snapshot.any_affinity() && !(own.is_empty() && self.ignore_preferred_terms_of_existing_pods);
        if own.is_empty() && !asks_others {
            return false;
        }
        let namespace = objects.namespaces.get("", pod.namespace());
        let namespace = namespace.as_ref().and_then(|namespace| namespace.metadata.labels.as_ref());
        let mut key = format!("suited {} {namespace:?} {:?} ", pod.namespace(), pod.labels());
        for (term, weight) in &own {
            term.identify(&mut key);
            // Writing to a string cannot fail.
            let _ = write!(key, "{weight}|");
        }
        let tally = snapshot.tally(&key, &|node, emit| {
            for (term, weight) in &own {
                let matching = node.pods.iter().filter(|other| term.matches(other)).count() as i64;
                if matching > 0 {
                    emit(&term.term.topology_key, weight * matching);
                }
            }
            for other in &node.with_affinity {
                self.ask(other, &|term| term.matches(pod, namespace), emit);
            }
        });
        let any = !tally.is_empty();
        state.put(Suited(tally));
        any
    }
}

impl InterPodAffinity {
    /// What a pod that runs thinks of the one that comes.
    fn ask(&self, other: &PodInfo, means: &dyn Fn(&Term) -> bool, emit: &mut Emit<'_>) {
        let Some(terms) = &other.affinity else { return };
        if self.hard_pod_affinity_weight > 0 {
            for term in terms.required.iter().filter(|term| means(term)) {
                emit(&term.topology_key, self.hard_pod_affinity_weight);
            }
        }
        for (term, weight) in preferences(other).filter(|(term, _)| means(term)) {
            emit(&term.topology_key, weight);
        }
    }
}

impl Score for InterPodAffinity {
    fn score(&self, state: &CycleState, _: &PodInfo, node: &NodeInfo) -> i64 {
        let Some(Suited(tally)) = state.get::<Suited>() else { return 0 };
        tally.axes.iter().filter_map(|axis| axis.domain(node.place).map(|domain| axis.sum(domain))).sum()
    }

    /// From the worst to the best. Source: `NormalizeScore`.
    fn normalize(&self, _: &CycleState, _: &[&NodeInfo], scores: &mut [i64]) {
        let (worst, best) = (scores.iter().copied().min().unwrap_or(0), scores.iter().copied().max().unwrap_or(0));
        for score in scores {
            let range = best - worst;
            *score = match range {
                0 => 0,
                _ => (MAX_NODE_SCORE as f64 * ((*score - worst) as f64 / range as f64)) as i64,
            };
        }
    }
}
