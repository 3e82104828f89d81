//! Finds out how many pods of each PodDisruptionBudget may be disrupted now, so that evictions respect it; and withdraws the
//! announcement of disruptions that never came.
//!
//! Watches budgets and pods, and reads the scale of the pods' controllers. Writes the budgets' status and the
//! DisruptionTarget condition of pods. Source: `pkg/controller/disruption` in Kubernetes.
//!
//! | module | what it is |
//! | --- | --- |
//! | `status` | the counts, and the condition that follows from them |
//! | `scale` | how many pods the pods' controllers want |
//! | `stale` | disruptions that were announced and never came |

mod scale;
mod stale;
mod status;

use std::sync::Arc;

use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet, StatefulSet},
    core::v1::{Pod, ReplicationController},
    policy::v1::PodDisruptionBudget,
};
use kubelab_api::{Error, Reason, selector::label::Selector};
use kubelab_client::{
    Action, Cache, Client, Controller, Recorder, cache::Change, clock, controller::Key, queue::Queue, recorder::Kind,
};

pub(crate) use self::status::go_selector;
use self::status::{Counts, Wanted};
use crate::{Context, scalable::Kinds};

const NAME: &str = "disruption-controller";
/// The source of its events upstream.
const COMPONENT: &str = "controllermanager";

/// Runs the loop.
pub async fn run(context: Context) {
    let this = Arc::new(Loop {
        client: context.client.clone(),
        recorder: context.recorder(COMPONENT),
        budgets: context.caches.of(),
        pods: context.caches.of(),
        deployments: context.caches.of(),
        replica_sets: context.caches.of(),
        replication_controllers: context.caches.of(),
        stateful_sets: context.caches.of(),
        kinds: Kinds::of(context.caches.of()),
        queue: Queue::new("disruption"),
        stale: Queue::new("stale_pod_disruption"),
    });
    this.watch();
    tokio::join!(
        this.budgets.synced(),
        this.pods.synced(),
        this.deployments.synced(),
        this.replica_sets.synced(),
        this.replication_controllers.synced(),
        this.stateful_sets.synced(),
        this.kinds.synced(),
    );
    let stale = Arc::clone(&this);
    tokio::join!(
        Controller::new(NAME, this.queue.clone()).run_on(1, this, |this, key| async move { this.reconcile(key).await }),
        Controller::new("stale-pod-disruption", stale.stale.clone())
            .run_on(1, stale, |this, key| async move { this.withdraw(key).await }),
    );
}

struct Loop {
    client: Client,
    recorder: Recorder,
    budgets: Cache<PodDisruptionBudget>,
    pods: Cache<Pod>,
    deployments: Cache<Deployment>,
    replica_sets: Cache<ReplicaSet>,
    replication_controllers: Cache<ReplicationController>,
    stateful_sets: Cache<StatefulSet>,
    kinds: Kinds,
    queue: Queue<Key>,
    stale: Queue<Key>,
}

impl Loop {
    fn watch(&self) {
        let queue = self.queue.clone();
        self.budgets.on_change(move |change| queue.add(Key::of(&**change.object())));

        let (queue, stale, budgets) = (self.queue.clone(), self.stale.clone(), self.budgets.clone());
        let recorder = self.recorder.clone();
        let enqueue = move |pod: &Pod| {
            let mut covering = budgets.list_in(pod.metadata.namespace.as_deref().unwrap_or_default());
            covering.retain(|budget| covers(budget, pod));
            covering.iter().for_each(|budget| queue.add(Key::of(&**budget)));
            covering
        };
        self.pods.on_change(move |change| {
            if let Change::Modified { old, new } = change
                && old.metadata.labels != new.metadata.labels
            {
                enqueue(old);
            }
            if let Some(message) = several(change.object(), &enqueue(change.object())) {
                recorder.event(&**change.object(), Kind::Warning, "MultiplePodDisruptionBudgets", message);
            }
            if let Change::Added(pod) | Change::Modified { new: pod, .. } = change
                && let Some(wait) = stale::left(pod, clock::now().0)
            {
                stale.add_after(Key::of(&**pod), wait);
            }
        });
    }

    async fn reconcile(&self, key: Key) -> Result<Action, Error> {
        let Some(budget) = self.budgets.get(&key.namespace, &key.name) else { return Ok(Action::Done) };
        match self.sync(&budget).await {
            Err(error) if !matches!(error.reason, Reason::Conflict | Reason::NotFound) => {
                tracing::warn!(%error, %key, "nothing is allowed until this budget can be understood");
                self.fail_safe(&budget, &error).await?;
                Ok(Action::Done)
            }
            Err(error) if error.reason == Reason::NotFound => Ok(Action::Done),
            result => result,
        }
    }

    async fn sync(&self, budget: &PodDisruptionBudget) -> Result<Action, Error> {
        let namespace = budget.metadata.namespace.as_deref().unwrap_or_default();
        let selector = selector(budget)?;
        let mut pods = self.pods.list_in(namespace);
        pods.retain(|pod| selector.matches(pod.metadata.labels.as_ref()));
        if pods.is_empty() {
            self.recorder.event(budget, Kind::Normal, "NoPods", "No matching pods found");
        }
        let wanted = match self.wanted(budget, &pods).await {
            Ok(wanted) => wanted,
            Err(error) => {
                let message = format!("Failed to calculate the number of expected pods: {error}");
                self.recorder.event(budget, Kind::Warning, "CalculateExpectedPodCountFailed", message);
                return Err(error);
            }
        };
        let now = clock::now();
        let disrupted = status::still_disrupted(budget, &pods, now.0);
        for name in &disrupted.overdue {
            let Some(pod) = pods.iter().find(|pod| pod.metadata.name.as_ref() == Some(name)) else { continue };
            let message = format!(
                "Pod was expected by PDB {namespace}/{} to be deleted but it wasn't",
                budget.metadata.name.as_deref().unwrap_or_default()
            );
            self.recorder.event(&**pod, Kind::Warning, "NotDeleted", message);
        }
        let healthy = status::healthy(&pods, &disrupted.pods);
        let counts = Counts { wanted, healthy };
        let next = status::next(budget, counts, disrupted.pods, &now);
        if budget.status.as_ref() != Some(&next) {
            self.client.update_status(&PodDisruptionBudget { status: Some(next), ..budget.clone() }).await?;
        }
        Ok(disrupted.again.map_or(Action::Done, Action::After))
    }

    async fn wanted(&self, budget: &PodDisruptionBudget, pods: &[Arc<Pod>]) -> Result<Wanted, Error> {
        if !status::needs_scale(budget) {
            return status::wanted(budget, i32::try_from(pods.len()).unwrap_or(i32::MAX));
        }
        let scale = self.expected(pods).await?;
        if !scale.unmanaged.is_empty() {
            let selector = budget.spec.as_ref().and_then(|spec| spec.selector.clone()).unwrap_or_default();
            let message = format!(
                "Pods selected by this PodDisruptionBudget (selector: {}) were found to be unmanaged. As a result, the \
                 status of the PDB cannot be calculated correctly, which may result in undefined behavior. To account \
                 for these pods please set \".spec.minAvailable\" field of the PDB to an integer value.",
                status::go_selector(&selector)
            );
            self.recorder.event(budget, Kind::Warning, "UnmanagedPods", message);
        }
        status::wanted(budget, scale.replicas)
    }

    /// While a budget cannot be understood, nothing is allowed.
    async fn fail_safe(&self, budget: &PodDisruptionBudget, error: &Error) -> Result<(), Error> {
        let next = status::failed(budget, error, &clock::now());
        if budget.status.as_ref() != Some(&next) {
            self.client.update_status(&PodDisruptionBudget { status: Some(next), ..budget.clone() }).await?;
        }
        Ok(())
    }
}

/// A budget without a selector covers no pods; one with an empty selector covers all.
fn selector(budget: &PodDisruptionBudget) -> Result<Selector, Error> {
    let selector = budget.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    Selector::from_typed(selector).map_err(Error::internal)
}

fn covers(budget: &PodDisruptionBudget, pod: &Pod) -> bool {
    selector(budget).is_ok_and(|selector| selector.matches(pod.metadata.labels.as_ref()))
}

/// What is said of a pod that more than one budget covers. Upstream looks at one of them alone; here all are brought up to
/// date, but such a pod is not evicted all the same. Source: `getPdbForPod`.
fn several(pod: &Pod, covering: &[Arc<PodDisruptionBudget>]) -> Option<String> {
    let mut names: Vec<&str> = covering.iter().filter_map(|budget| budget.metadata.name.as_deref()).collect();
    names.sort_unstable();
    let [first, _, ..] = names.as_slice() else { return None };
    let Key { namespace, name } = Key::of(pod);
    Some(format!("Pod {namespace:?}/{name:?} matches multiple PodDisruptionBudgets.  Chose {first:?} arbitrarily."))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_has_one_budget_or_is_warned_of() {
        let pod: Pod = serde_json::from_value(json!({"metadata": {"namespace": "shop", "name": "web"}})).unwrap();
        let budget = |name: &str| Arc::new(serde_json::from_value(json!({"metadata": {"name": name}})).unwrap());
        for (budgets, expected) in [
            (vec![], None),
            (vec![budget("a")], None),
            (
                vec![budget("b"), budget("a")],
                Some(r#"Pod "shop"/"web" matches multiple PodDisruptionBudgets.  Chose "a" arbitrarily."#),
            ),
        ] {
            assert_eq!(several(&pod, &budgets).as_deref(), expected);
        }
    }
}
