//! Why a pod fits nowhere.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::{Reason, Rejection};

/// What each node said, for the event, for what wakes the pod again, and for explanations.
#[derive(Clone, Debug, Default)]
pub struct Diagnosis {
    /// Places in the snapshot, with what was said there.
    pub nodes: Vec<(usize, Rejection)>,
    /// What holds for the nodes that were not looked at.
    pub absent: Option<Rejection>,
    /// The pod was rejected before any node was looked at.
    pub pre_filter: Option<Rejection>,
    /// What the post-filter plugins said.
    pub post_filter: String,
    /// All plugins that rejected the pod somewhere.
    pub plugins: BTreeSet<&'static str>,
}

/// A pod fits nowhere.
#[derive(Clone, Debug)]
pub struct FitError {
    /// How many nodes there are.
    pub total: usize,
    /// Why.
    pub diagnosis: Diagnosis,
}

impl FitError {
    /// A node's rejection.
    pub fn of_node(&self, place: usize) -> Option<&Rejection> {
        let diagnosis = &self.diagnosis;
        let own = diagnosis.nodes.iter().find(|(at, _)| *at == place).map(|(_, rejection)| rejection);
        own.or(diagnosis.pre_filter.as_ref()).or(diagnosis.absent.as_ref())
    }
}

/// `0/3 nodes are available: 1 Insufficient cpu, 2 node(s) were unschedulable.`: how many nodes have each reason, sorted as
/// text. Source: `FitError.Error`.
impl fmt::Display for FitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { total, diagnosis } = self;
        write!(f, "0/{total} nodes are available:")?;
        if let Some(rejection) = &diagnosis.pre_filter {
            write!(f, " {}.", rejection.message())?;
        } else {
            let absent =
                diagnosis.absent.iter().map(|rejection| (rejection, total.saturating_sub(diagnosis.nodes.len())));
            let counted = diagnosis.nodes.iter().map(|(_, rejection)| (rejection, 1)).chain(absent);
            let histogram = histogram(counted);
            if !histogram.is_empty() {
                write!(f, " {histogram}.")?;
            }
        }
        if !diagnosis.post_filter.is_empty() {
            write!(f, " {}", diagnosis.post_filter)?;
        }
        Ok(())
    }
}

/// `1 Insufficient cpu, 2 node(s) were unschedulable`
fn histogram<'a>(rejections: impl Iterator<Item = (&'a Rejection, usize)>) -> String {
    let mut counts: BTreeMap<&Reason, usize> = BTreeMap::new();
    for (rejection, nodes) in rejections.filter(|(_, nodes)| *nodes > 0) {
        for reason in &rejection.reasons {
            *counts.entry(reason).or_default() += nodes;
        }
    }
    let mut texts: Vec<String> = counts.into_iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    texts.sort();
    texts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_counted_over_nodes() {
        let cpu = Rejection { reasons: vec!["Insufficient cpu".into(), "Insufficient memory".into()], ..taint() };
        let nodes = vec![(0, taint()), (1, cpu.clone()), (2, cpu)];
        let mut error = FitError { total: 3, diagnosis: Diagnosis { nodes, ..Diagnosis::default() } };
        assert_eq!(
            error.to_string(),
            "0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 Insufficient cpu, 2 Insufficient memory.",
        );
        error.diagnosis.post_filter = "preemption: 0/3 nodes are available: 3 Preemption is not helpful.".into();
        assert!(
            error
                .to_string()
                .ends_with(" 2 Insufficient memory. preemption: 0/3 nodes are available: 3 Preemption is not helpful.")
        );
    }

    #[test]
    fn a_pod_rejected_before_the_nodes_has_one_reason() {
        let pre_filter = Some(Rejection::unresolvable("NodeAffinity", "pod affinity terms conflict"));
        let error = FitError { total: 2, diagnosis: Diagnosis { pre_filter, ..Diagnosis::default() } };
        assert_eq!(error.to_string(), "0/2 nodes are available: pod affinity terms conflict.");
    }

    #[test]
    fn nodes_that_were_not_looked_at_count_too() {
        let absent = Some(Rejection::unresolvable("", "node(s) didn't satisfy plugin(s) [NodeAffinity]"));
        let diagnosis = Diagnosis { nodes: vec![(4, taint())], absent, ..Diagnosis::default() };
        assert_eq!(
            FitError { total: 5, diagnosis }.to_string(),
            "0/5 nodes are available: 1 node(s) had untolerated taint(s), \
             4 node(s) didn't satisfy plugin(s) [NodeAffinity].",
        );
    }

    fn taint() -> Rejection {
        Rejection::unresolvable("TaintToleration", "node(s) had untolerated taint(s)")
    }
}
