//! Which pods must go from a node: all of lower priority are taken away, and if the pod fits then, as many as possible come
//! back, the most important first. Those that a disruption budget protects come back before the others.

use std::{collections::BTreeSet, sync::Arc};

use kubelab_api::selector::label::Selector;

use super::choice::{Candidate, importance};
use crate::framework::{Objects, PodInfo, Rejection, Unfit};

const NO_VICTIMS: &str = "No preemption victims found for incoming pod";

/// What budgets still allow.
pub struct Budgets(Vec<Budget>);

struct Budget {
    namespace: String,
    selector: Selector,
    allowed: i32,
    /// Pods whose eviction is under way and counted already.
    disrupted: BTreeSet<String>,
}

impl Budgets {
    /// All budgets; a selector that is absent, empty or malformed protects nothing.
    pub fn of(objects: &Objects) -> Self {
        let mut budgets = Vec::new();
        objects.budgets.each(|budget| {
            let selector = budget.spec.as_ref().and_then(|spec| spec.selector.as_ref());
            let selector = Selector::from_typed(selector).unwrap_or(Selector::Nothing);
            if selector.is_everything() || selector == Selector::Nothing {
                return;
            }
            let status = budget.status.clone().unwrap_or_default();
            budgets.push(Budget {
                namespace: budget.metadata.namespace.clone().unwrap_or_default(),
                selector,
                allowed: status.disruptions_allowed.unwrap_or_default(),
                disrupted: status.disrupted_pods.unwrap_or_default().into_keys().collect(),
            });
        });
        Self(budgets)
    }

    /// The pods whose removal a budget does not allow, and the others, each in the order given. Source:
    /// `filterPodsWithPDBViolation`.
    fn split(&self, pods: Vec<Arc<PodInfo>>) -> (Vec<Arc<PodInfo>>, Vec<Arc<PodInfo>>) {
        let mut allowed: Vec<i32> = self.0.iter().map(|budget| budget.allowed).collect();
        pods.into_iter().partition(|pod| {
            let mut violated = false;
            for (budget, allowed) in self.0.iter().zip(&mut allowed) {
                let protects = budget.namespace == pod.namespace()
                    && pod.labels().is_some_and(|labels| !labels.is_empty())
                    && budget.selector.matches(pod.labels())
                    && !budget.disrupted.contains(pod.name());
                if protects {
                    *allowed -= 1;
                    violated |= *allowed < 0;
                }
            }
            violated
        })
    }
}

/// The pods that would have to go from a node, or why that does not help. Source: `SelectVictimsOnNode`.
pub fn select(unfit: &mut Unfit<'_>, place: usize, budgets: &Budgets) -> Result<Candidate, Rejection> {
    let node = &unfit.snapshot.nodes()[place];
    let less_important = |pod: &&Arc<PodInfo>| pod.priority < unfit.pod.priority;
    let mut potential: Vec<Arc<PodInfo>> = node.pods.iter().filter(less_important).cloned().collect();
    if potential.is_empty() {
        return Err(Rejection::unresolvable("DefaultPreemption", NO_VICTIMS));
    }
    let mut emptied = (**node).clone();
    for pod in &potential {
        unfit.take(&mut emptied, pod);
    }
    let outcome = unfit.filter(&emptied).map(|()| {
        potential.sort_by_key(|pod| importance(pod));
        let (protected, others) = budgets.split(std::mem::take(&mut potential));
        let mut victims = Vec::new();
        for pod in protected {
            reprieve(unfit, &mut emptied, pod, &mut victims);
        }
        let violations = victims.len();
        for pod in others {
            reprieve(unfit, &mut emptied, pod, &mut victims);
        }
        victims.sort_by_key(|pod| importance(pod));
        Candidate { place, victims, violations }
    });
    // What was prepared for the filters is to be as before, for the next node.
    let taken = outcome.as_ref().map_or(&potential, |candidate| &candidate.victims);
    for pod in taken {
        unfit.what_if(&emptied, pod, 1);
    }
    outcome
}

/// A pod stays if there is room for both.
fn reprieve(
    unfit: &mut Unfit<'_>,
    node: &mut crate::framework::NodeInfo,
    pod: Arc<PodInfo>,
    victims: &mut Vec<Arc<PodInfo>>,
) {
    unfit.put(node, &pod);
    if unfit.filter(node).is_err() {
        unfit.take(node, &pod);
        victims.push(pod);
    }
}
