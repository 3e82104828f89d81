//! Room is made for a pod by removing less important ones. Source: upstream's `framework/preemption` and
//! `plugins/defaultpreemption`.
//!
//! ```text
//! nodes whose rejection could be resolved ─▶ victims of each ─▶ the best node ─▶ nominate it, evict its victims
//!              (enough of them, from a random one on)
//! ```

mod choice;
mod victims;

use std::sync::Arc;

use kubelab_api::pod;
use rand::RngExt;

use self::{choice::Candidate, victims::Budgets};
use crate::framework::{
    Diagnosis, FitError, Nomination, Plugin, PodInfo, PostFilter, PostFiltered, Preemption, Rejection, Unfit,
};

/// Upstream: `DefaultPreemption`.
#[derive(Clone, Debug)]
pub struct DefaultPreemption {
    /// How many nodes are enough to choose from, as a share of those that might do.
    pub min_candidate_nodes_percentage: usize,
    /// The same as a number; the larger one counts.
    pub min_candidate_nodes_absolute: usize,
}

impl Default for DefaultPreemption {
    fn default() -> Self {
        Self { min_candidate_nodes_percentage: 10, min_candidate_nodes_absolute: 100 }
    }
}

const NOT_HELPFUL: &str = "Preemption is not helpful for scheduling";
const NEVER: &str = "not eligible due to preemptionPolicy=Never.";
const TERMINATING: &str = "not eligible due to a terminating pod on the nominated node.";
/// The reason of a victim's condition `DisruptionTarget`.
pub const BY_SCHEDULER: &str = "PreemptionByScheduler";

impl Plugin for DefaultPreemption {
    fn name(&self) -> &'static str {
        "DefaultPreemption"
    }
}

impl PostFilter for DefaultPreemption {
    fn post_filter(&self, unfit: &mut Unfit<'_>) -> PostFiltered {
        if let Err(why) = eligible(unfit) {
            return PostFiltered { message: format!("preemption: {why}"), nomination: Nomination::Keep };
        }
        match self.candidates(unfit) {
            Ok(candidates) => {
                let Some(best) = choice::best(candidates) else { return PostFiltered::default() };
                let preemption = Arc::new(preemption(unfit, best));
                PostFiltered { message: String::new(), nomination: Nomination::Node(preemption) }
            }
            Err(error) => PostFiltered { message: format!("preemption: {error}"), nomination: Nomination::Clear },
        }
    }
}

/// The pod may remove others, or why not. While pods that it has removed are about to go, it does not remove more.
fn eligible(unfit: &Unfit<'_>) -> Result<(), &'static str> {
    if unfit.pod.spec().and_then(|spec| spec.preemption_policy.as_deref()) == Some("Never") {
        return Err(NEVER);
    }
    let Some(node) = unfit.pod.nominated_node().and_then(|name| unfit.snapshot.get(name)) else { return Ok(()) };
    if unfit.error.of_node(node.place).is_some_and(|rejection| !rejection.resolvable) {
        return Ok(());
    }
    let going = |other: &Arc<PodInfo>| other.priority < unfit.pod.priority && is_going(other);
    if node.pods.iter().any(going) { Err(TERMINATING) } else { Ok(()) }
}

/// The scheduler has removed it, and it still ends.
fn is_going(info: &PodInfo) -> bool {
    let condition = pod::get_condition(&info.pod, pod::condition::DISRUPTION_TARGET);
    info.is_terminating()
        && condition.is_some_and(|it| it.status == "True" && it.reason.as_deref() == Some(BY_SCHEDULER))
}

fn preemption(unfit: &Unfit<'_>, best: Candidate) -> Preemption {
    let Candidate { place, victims, .. } = best;
    let node = unfit.snapshot.nodes()[place].name();
    let nominated = unfit.snapshot.nominated(node).iter();
    let displaced = nominated.filter(|other| other.priority < unfit.pod.priority).cloned().collect();
    Preemption { node: node.to_owned(), victims, displaced }
}

impl DefaultPreemption {
    /// Nodes on which room can be made; why on none, if so. Source: `DryRunPreemption`.
    fn candidates(&self, unfit: &mut Unfit<'_>) -> Result<Vec<Candidate>, Box<FitError>> {
        let error = unfit.error;
        let mut potential: Vec<usize> = match &error.diagnosis.pre_filter {
            Some(rejection) if !rejection.resolvable => Vec::new(),
            Some(_) => (0..error.total).collect(),
            None => {
                let resolvable = error.diagnosis.nodes.iter().filter(|(_, rejection)| rejection.resolvable);
                resolvable.map(|(place, _)| *place).collect()
            }
        };
        let mut diagnosis =
            Diagnosis { absent: Some(Rejection::unresolvable(self.name(), NOT_HELPFUL)), ..Diagnosis::default() };
        if potential.is_empty() {
            return Err(Box::new(FitError { total: error.total, diagnosis }));
        }
        potential.sort_unstable();
        let wanted = (potential.len() * self.min_candidate_nodes_percentage / 100)
            .max(self.min_candidate_nodes_absolute)
            .min(potential.len());
        let budgets = Budgets::of(unfit.snapshot.objects());
        let offset = rand::rng().random_range(0..potential.len());
        let mut candidates = Vec::new();
        let mut harmless = false;
        for step in 0..potential.len() {
            let place = potential[(offset + step) % potential.len()];
            match victims::select(unfit, place, &budgets) {
                Ok(candidate) => {
                    harmless |= candidate.violations == 0;
                    candidates.push(candidate);
                    // One that violates no budget is looked for until there is one.
                    if candidates.len() >= wanted && harmless {
                        break;
                    }
                }
                Err(rejection) => diagnosis.reject(place, rejection),
            }
        }
        match candidates.is_empty() {
            true => Err(Box::new(FitError { total: error.total, diagnosis })),
            false => Ok(candidates),
        }
    }
}

#[cfg(test)]
mod tests;
