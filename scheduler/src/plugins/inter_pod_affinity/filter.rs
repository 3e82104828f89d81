//! What a pod requires, and what pods that run require of it. Source: `interpodaffinity/filtering.go`.

use super::{InterPodAffinity, required, required_anti};
use crate::framework::{
    Adjusted, CycleState, Filter, NodeInfo, Plugin, PodInfo, PreFilter, PreFiltered, Rejection, Resolved, Snapshot,
    Term, Verdict, WhatIf,
};

const AFFINITY: &str = "node(s) didn't match pod affinity rules";
const ANTI_AFFINITY: &str = "node(s) didn't match pod anti-affinity rules";
const EXISTING: &str = "node(s) didn't satisfy existing pods anti-affinity rules";

/// Pods by topology, counted once a cycle.
#[derive(Clone)]
struct Beside {
    /// That match all of the pod's required terms.
    wanted: Adjusted,
    /// That match one of the terms it must be away from.
    unwanted: Adjusted,
    /// That must be away from it.
    refusing: Adjusted,
    /// The pod would be what it wants to be beside.
    matches_itself: bool,
}

fn identity<'a>(purpose: &str, terms: impl IntoIterator<Item = &'a Resolved<'a>>) -> String {
    let mut key = purpose.to_owned();
    terms.into_iter().for_each(|term| term.identify(&mut key));
    key
}

fn count_wanted(terms: &[Term], snapshot: &Snapshot) -> Adjusted {
    if terms.is_empty() {
        return Adjusted::default();
    }
    let terms: Vec<Resolved> = terms.iter().map(|term| term.resolve(snapshot.objects())).collect();
    Adjusted::new(snapshot.tally(&identity("wanted ", &terms), &|node, emit| {
        let matching = node.pods.iter().filter(|pod| terms.iter().all(|term| term.matches(pod))).count() as i64;
        if matching > 0 {
            terms.iter().for_each(|term| emit(&term.term.topology_key, matching));
        }
    }))
}

fn count_unwanted(terms: &[Term], snapshot: &Snapshot) -> Adjusted {
    if terms.is_empty() {
        return Adjusted::default();
    }
    let terms: Vec<Resolved> = terms.iter().map(|term| term.resolve(snapshot.objects())).collect();
    Adjusted::new(snapshot.tally(&identity("unwanted ", &terms), &|node, emit| {
        for term in &terms {
            let matching = node.pods.iter().filter(|pod| term.matches(pod)).count() as i64;
            if matching > 0 {
                emit(&term.term.topology_key, matching);
            }
        }
    }))
}

fn count_refusing(pod: &PodInfo, snapshot: &Snapshot) -> Adjusted {
    if !snapshot.any_anti_affinity() {
        return Adjusted::default();
    }
    let namespace = snapshot.objects().namespaces.get("", pod.namespace());
    let namespace = namespace.as_ref().and_then(|namespace| namespace.metadata.labels.as_ref());
    let key = format!("refusing {} {namespace:?} {:?}", pod.namespace(), pod.labels());
    Adjusted::new(snapshot.tally(&key, &|node, emit| {
        for term in node.with_affinity.iter().flat_map(|other| required_anti(other)) {
            if term.matches(pod, namespace) {
                emit(&term.topology_key, 1);
            }
        }
    }))
}

impl PreFilter for InterPodAffinity {
    fn pre_filter(&self, state: &mut CycleState, pod: &PodInfo, snapshot: &Snapshot) -> Result<PreFiltered, Rejection> {
        let (terms, anti_terms) = (required(pod), required_anti(pod));
        let refusing = count_refusing(pod, snapshot);
        if terms.is_empty() && anti_terms.is_empty() && refusing.is_empty() {
            return Ok(PreFiltered::Skip);
        }
        let wanted = count_wanted(terms, snapshot);
        let matches_itself =
            wanted.is_empty() && terms.iter().all(|term| term.resolve(snapshot.objects()).matches(pod));
        state.put(Beside { wanted, unwanted: count_unwanted(anti_terms, snapshot), refusing, matches_itself });
        Ok(PreFiltered::All)
    }

    fn what_if(&self, state: &mut CycleState, pod: &PodInfo, change: &WhatIf<'_>) {
        let WhatIf { other, node, sign, snapshot } = change;
        let Some(beside) = state.get_mut::<Beside>() else { return };
        let objects = snapshot.objects();
        let terms = required(pod);
        if !terms.is_empty() && terms.iter().all(|term| term.resolve(objects).matches(other)) {
            terms.iter().for_each(|term| beside.wanted.add(snapshot, &term.topology_key, node, *sign));
        }
        for term in required_anti(pod).iter().filter(|term| term.resolve(objects).matches(other)) {
            beside.unwanted.add(snapshot, &term.topology_key, node, *sign);
        }
        for term in required_anti(other).iter().filter(|term| term.resolve(objects).matches(pod)) {
            beside.refusing.add(snapshot, &term.topology_key, node, *sign);
        }
    }
}

impl Filter for InterPodAffinity {
    fn filter(&self, state: &CycleState, pod: &PodInfo, node: &NodeInfo) -> Verdict {
        let Some(beside) = state.get::<Beside>() else { return Ok(()) };
        if !beside.wanted_at(required(pod), node) {
            return Err(Rejection::unresolvable(self.name(), AFFINITY));
        }
        let unwanted = |term: &Term| beside.unwanted.at(&term.topology_key, node.place).is_some_and(|pods| pods > 0);
        if required_anti(pod).iter().any(unwanted) {
            return Err(Rejection::unschedulable(self.name(), ANTI_AFFINITY));
        }
        if beside.refusing.any_at(node.place) {
            return Err(Rejection::unschedulable(self.name(), EXISTING));
        }
        Ok(())
    }
}

impl Beside {
    /// Pods that the pod wants run beside this node. The first of a group that want to be together may go anywhere where
    /// there are such labels, or none could ever run.
    fn wanted_at(&self, terms: &[Term], node: &NodeInfo) -> bool {
        if terms.is_empty() {
            return true;
        }
        let labels = node.labels();
        if !terms.iter().all(|term| labels.is_some_and(|labels| labels.contains_key(&*term.topology_key))) {
            return false;
        }
        let some = |term: &Term| self.wanted.at(&term.topology_key, node.place).is_some_and(|pods| pods > 0);
        terms.iter().all(some) || (self.matches_itself && self.wanted.is_empty())
    }
}
