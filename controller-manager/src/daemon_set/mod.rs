//! Keeps a pod of each DaemonSet on every node that it is meant for.
//!
//! Watches daemon sets, pods, nodes and revisions. Writes pods, revisions (create, number, adopt, delete) and the sets'
//! status. Source: `pkg/controller/daemon` in Kubernetes.
//!
//! | module | what it is |
//! | --- | --- |
//! | `placement` | which nodes a set is meant for; how pods say so |
//! | `nodes` | the nodes, with the set's pods on each |
//! | `manage` | what is missing, what is too much |
//! | `update` | the steps of a rolling update |
//! | `limits` | surge and unavailability |
//! | `failures` | how long failed pods are kept |
//! | `revisions` | the revisions of the template |
//! | `status` | counts |

mod failures;
mod limits;
mod manage;
mod nodes;
mod placement;
mod revisions;
mod status;
mod update;

use std::sync::Arc;

use futures::future::join_all;
use k8s_openapi::{
    api::{
        apps::v1::{DaemonSet, DaemonSetStatus},
        core::v1::{Node, Pod},
    },
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};
use kubelab_api::{Error, Reason, meta::is_deleting, selector::label::Selector};
use kubelab_client::{
    Action, Cache, Client, Controller, Recorder, cache::Change, clock, controller::Key, queue::Queue, recorder::Kind,
};

use self::{failures::Failures, limits::is_rolling, manage::Changes, nodes::View, placement::placement};
use crate::{
    Context,
    expectations::{self, Expectations},
    history::History,
    owned_pods,
    ownership::{self, Orphans},
    pods::{self, PodControl, namespace_is_terminating, slow_start_each},
};

const NAME: &str = "daemonset-controller";
/// How many pods one step creates or deletes at most. Source: `BurstReplicas`.
const BURST: usize = 250;
/// Source: `ConcurrentDaemonSetSyncs` in the controller manager's defaults.
const WORKERS: usize = 2;

/// Runs the loop.
pub async fn run(context: Context) {
    let this = Arc::new(Loop::new(&context));
    this.watch();
    tokio::join!(this.sets.synced(), this.pods.synced(), this.nodes.synced(), this.history.synced());
    Controller::new(NAME, this.queue.clone())
        .run_on(WORKERS, this, |this, key| async move { this.reconcile(key).await })
        .await;
}

struct Loop {
    client: Client,
    recorder: Recorder,
    sets: Cache<DaemonSet>,
    nodes: Cache<Node>,
    pods: Cache<Pod>,
    orphans: Orphans<Pod>,
    history: History,
    control: PodControl,
    expectations: Arc<Expectations>,
    failures: Arc<Failures>,
    queue: Queue<Key>,
}

impl Loop {
    fn new(context: &Context) -> Self {
        let pods = context.caches.of::<Pod>();
        let recorder = context.recorder(NAME);
        Self {
            client: context.client.clone(),
            sets: context.caches.of(),
            nodes: context.caches.of(),
            orphans: Orphans::of(&pods),
            pods,
            history: History::of(context),
            control: PodControl::new(&context.client, recorder.clone()),
            recorder,
            expectations: Arc::default(),
            failures: Arc::default(),
            queue: Queue::new("daemonset"),
        }
    }

    fn watch(&self) {
        owned_pods::follow_owners(&self.sets, &self.queue, &self.expectations);
        owned_pods::follow(&self.pods, &self.sets, &self.queue, &self.expectations, matches);
        self.history.follow::<DaemonSet>(&self.queue);

        let failures = Arc::clone(&self.failures);
        self.sets.on_change(move |change| {
            if let Change::Deleted(set) = change {
                failures.forget(set.metadata.uid.as_deref().unwrap_or_default());
            }
        });

        let (queue, sets) = (self.queue.clone(), self.sets.clone());
        self.nodes.on_change(move |change| {
            let concerns = |set: &DaemonSet| match change {
                Change::Added(node) | Change::Deleted(node) => placement(set, node).run,
                Change::Modified { old, new } => placement(set, old) != placement(set, new),
            };
            let taints = |node: &Node| node.spec.as_ref().and_then(|spec| spec.taints.clone());
            // Heartbeats are not worth a look at every set.
            if let Change::Modified { old, new } = change
                && old.metadata.labels == new.metadata.labels
                && taints(old) == taints(new)
            {
                return;
            }
            for set in sets.list().iter().filter(|set| concerns(set)) {
                queue.add(Key::of(&**set));
            }
        });
    }

    async fn reconcile(&self, key: Key) -> Result<Action, Error> {
        let Some(set) = self.sets.get(&key.namespace, &key.name) else { return Ok(Action::Done) };
        if set.spec.selector == LabelSelector::default() {
            let message = "This daemon set is selecting all pods. A non-empty selector is required.";
            self.recorder.event(&*set, Kind::Warning, "SelectingAll", message);
            return Ok(Action::Done);
        }
        // The garbage collector may have begun with the history, so nothing can be said of it any more.
        if is_deleting(&set.metadata) {
            return Ok(Action::Done);
        }
        let settled = self.expectations.settled(&key);
        let selector = selector(&set)?;
        let revisions = self.history.claim(&*set, &selector).await?;
        let candidates = self.orphans.and_controlled_by(&set.metadata);
        let pods = ownership::claim(&self.client, &*set, &selector, candidates).await?;
        let present = revisions::sync(&self.history, &self.client, &set, revisions, &pods).await?;

        let now = clock::now();
        let view = View::of(&set, &present.hash, &self.nodes.list(), &pods, now.0);
        if !settled {
            self.write_status(&set, status::calculate(&view, false)).await?;
            return Ok(Action::After(expectations::TIMEOUT));
        }
        let outcome = self.step(&key, &view).await;
        self.write_status(&set, status::calculate(&view, true)).await?;
        let again = outcome?;
        self.history.delete(&revisions::excess(&set, &pods, &present.old)).await?;
        let available = pods::next_available(&pods, set.spec.min_ready_seconds.unwrap_or(0), &now);
        Ok(again.into_iter().chain(available).min().map_or(Action::Done, Action::After))
    }

    /// Brings the pods one step further. Returns when to look at failed ones again.
    async fn step(&self, key: &Key, view: &View<'_>) -> Result<Option<std::time::Duration>, Error> {
        let uid = view.set.metadata.uid.clone().unwrap_or_default();
        let generation = view.set.status.as_ref().and_then(|status| status.observed_generation).unwrap_or(0);
        let keep_failed = |node: &str| self.failures.wait((uid.clone(), generation, node.to_owned()), clock::instant());
        let changes = manage::changes(view, &keep_failed);
        for (pod, node) in &changes.ended {
            self.tell_ended(view.set, pod, node);
        }
        self.apply(key, view, &changes).await?;
        if changes.is_empty() && is_rolling(view.set) {
            self.apply(key, view, &update::changes(view)).await?;
        }
        Ok(changes.again)
    }

    fn tell_ended(&self, set: &DaemonSet, pod: &Pod, node: &str) {
        let pod_key = Key::of(pod);
        if kubelab_api::pod::phase(pod) == "Failed" {
            let message = format!("Found failed daemon pod {pod_key} on node {node}, will try to kill it");
            self.recorder.event(set, Kind::Warning, "FailedDaemonPod", message);
        } else {
            let message = format!("Found succeeded daemon pod {pod_key} on node {node}, will try to delete it");
            self.recorder.event(set, Kind::Normal, "SucceededDaemonPod", message);
        }
    }

    async fn apply(&self, key: &Key, view: &View<'_>, changes: &Changes) -> Result<(), Error> {
        if changes.is_empty() {
            return Ok(());
        }
        let create = &changes.create[..changes.create.len().min(BURST)];
        let delete = &changes.delete[..changes.delete.len().min(BURST)];
        let uids = delete.iter().filter_map(|pod| pod.metadata.uid.clone());
        self.expectations.expect_changes(key, create.len(), uids);

        let (created, failed) = slow_start_each(create, |node| async move {
            let pod = pods::from_template(&placement::template_for(view.set, view.hash, node), view.set);
            self.control.create(view.set, &pod).await
        })
        .await;
        self.expectations.creations_observed(key, create.len() - created);

        let deletions = delete.iter().map(|pod| async {
            let result = self.control.delete(view.set, pod).await;
            if result.is_err() {
                self.expectations.deletion_observed(key, pod.metadata.uid.as_deref().unwrap_or_default());
            }
            result
        });
        let not_deleted = join_all(deletions).await.into_iter().filter_map(Result::err);
        let not_deleted = not_deleted.filter(|error| error.reason != Reason::NotFound);
        let mut errors = failed.filter(|error| !namespace_is_terminating(error)).into_iter().chain(not_deleted);
        errors.next().map_or(Ok(()), Err)
    }

    async fn write_status(&self, set: &DaemonSet, status: DaemonSetStatus) -> Result<(), Error> {
        if set.status.as_ref() != Some(&status) {
            self.client.update_status(&DaemonSet { status: Some(status), ..set.clone() }).await?;
        }
        Ok(())
    }
}

fn selector(set: &DaemonSet) -> Result<Selector, Error> {
    Selector::from_typed(Some(&set.spec.selector)).map_err(Error::internal)
}

fn matches(set: &DaemonSet, pod: &Pod) -> bool {
    selector(set).is_ok_and(|selector| selector.matches(pod.metadata.labels.as_ref()))
}

#[cfg(test)]
mod tests;
