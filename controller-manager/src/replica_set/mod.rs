//! Keeps the number of pods that a ReplicaSet or a ReplicationController wants.
//!
//! Watches the sets and all pods. Writes pods (create, delete, adopt, release) and the sets' status.
//! Source: `pkg/controller/replicaset/replica_set.go` in Kubernetes.

mod kind;
mod status;
pub(crate) mod victims;

use std::sync::Arc;

use futures::future::join_all;
use k8s_openapi::api::core::v1::Pod;
use kubelab_api::{
    Error, Reason,
    meta::controller_of,
    pod::{is_active, is_terminating},
    selector::label::Selector,
};
use kubelab_client::{Action, Cache, Client, Controller, clock, controller::Key, queue::Queue};

pub use self::kind::Replicated;
use crate::{
    Context,
    expectations::{self, Expectations},
    owned_pods,
    ownership::{self, Orphans},
    pods::{self, PodControl, namespace_is_terminating, slow_start},
};

/// How many pods one reconcile creates or deletes at most. Source: `BurstReplicas`.
const BURST: usize = 500;
/// Source: `ConcurrentRSSyncs` in the controller manager's defaults.
const WORKERS: usize = 5;

/// Runs the loop for one of the two kinds.
pub async fn run<S: Replicated>(context: Context) {
    let this = Arc::new(Loop::<S>::new(&context));
    this.watch();
    tokio::join!(this.sets.synced(), this.pods.synced());
    Controller::new(S::COMPONENT, this.queue.clone())
        .run_on(WORKERS, this, |this, key| async move { this.reconcile(key).await })
        .await;
}

struct Loop<S> {
    client: Client,
    sets: Cache<S>,
    pods: Cache<Pod>,
    orphans: Orphans<Pod>,
    control: PodControl,
    expectations: Arc<Expectations>,
    queue: Queue<Key>,
}

impl<S: Replicated> Loop<S> {
    fn new(context: &Context) -> Self {
        let pods = context.caches.of::<Pod>();
        Self {
            client: context.client.clone(),
            sets: context.caches.of::<S>(),
            orphans: Orphans::of(&pods),
            pods,
            control: PodControl::new(&context.client, context.recorder(S::COMPONENT)),
            expectations: Arc::default(),
            queue: Queue::new(S::QUEUE),
        }
    }

    fn watch(&self) {
        owned_pods::follow_owners(&self.sets, &self.queue, &self.expectations);
        owned_pods::follow(&self.pods, &self.sets, &self.queue, &self.expectations, matches);
    }

    async fn reconcile(&self, key: Key) -> Result<Action, Error> {
        let Some(set) = self.sets.get(&key.namespace, &key.name) else { return Ok(Action::Done) };
        let settled = self.expectations.settled(&key);
        let Some(selector) = set.selector() else { return Ok(Action::Done) };
        let selector = Selector::from_typed(Some(&selector)).map_err(Error::internal)?;

        let candidates = self.orphans.and_controlled_by(set.metadata());
        let claimed = ownership::claim(&self.client, &*set, &selector, candidates).await?;
        let terminating = claimed.iter().filter(|pod| is_terminating(pod)).count();
        let active: Vec<Arc<Pod>> = claimed.into_iter().filter(|pod| is_active(pod)).collect();

        let outcome = if settled && set.metadata().deletion_timestamp.is_none() {
            self.keep_number(&key, &set, &active).await
        } else {
            Ok(())
        };
        let now = clock::now();
        let status = S::kept(status::calculate(&*set, &active, terminating, outcome.as_ref().err(), &now));
        if set.status() != status {
            self.client.update_status(&set.with_status(status)).await?;
        }
        outcome?;
        if !settled {
            return Ok(Action::After(expectations::TIMEOUT));
        }
        Ok(pods::next_available(&active, set.min_ready_seconds(), &now).map_or(Action::Done, Action::After))
    }

    async fn keep_number(&self, key: &Key, set: &S, active: &[Arc<Pod>]) -> Result<(), Error> {
        let wanted = usize::try_from(set.replicas()).unwrap_or(0);
        if active.len() < wanted {
            self.create(key, set, (wanted - active.len()).min(BURST)).await
        } else if active.len() > wanted {
            self.delete(key, set, active, (active.len() - wanted).min(BURST)).await
        } else {
            Ok(())
        }
    }

    async fn create(&self, key: &Key, set: &S, count: usize) -> Result<(), Error> {
        let Some(template) = set.template() else { return Ok(()) };
        let pod = pods::from_template(template, set);
        self.expectations.expect_creations(key, count);
        let (created, failure) = slow_start(count, || self.control.create(set, &pod)).await;
        self.expectations.creations_observed(key, count - created);
        failure.filter(|error| !namespace_is_terminating(error)).map_or(Ok(()), Err)
    }

    async fn delete(&self, key: &Key, set: &S, active: &[Arc<Pod>], count: usize) -> Result<(), Error> {
        let victims = victims::choose(active.to_vec(), &self.related(set, active), count, &clock::now());
        self.expectations.expect_deletions(key, victims.iter().filter_map(|pod| pod.metadata.uid.clone()));
        let deletions = victims.iter().map(|pod| async {
            let result = self.control.delete(set, pod).await;
            if result.is_err() {
                self.expectations.deletion_observed(key, pod.metadata.uid.as_deref().unwrap_or_default());
            }
            result
        });
        let failure = join_all(deletions).await.into_iter().find_map(Result::err);
        failure.filter(|error| error.reason != Reason::NotFound).map_or(Ok(()), Err)
    }

    /// The active pods of all sets that share this one's controller.
    fn related(&self, set: &S, active: &[Arc<Pod>]) -> Vec<Arc<Pod>> {
        match controller_of(set.metadata()) {
            Some(controller) => self
                .sets
                .controlled_by(&controller.uid)
                .iter()
                .flat_map(|set| self.pods.controlled_by(set.metadata().uid.as_deref().unwrap_or_default()))
                .filter(|pod| is_active(pod))
                .collect(),
            None => active.to_vec(),
        }
    }
}

fn matches<S: Replicated>(set: &S, pod: &Pod) -> bool {
    set.selector()
        .and_then(|selector| Selector::from_typed(Some(&selector)).ok())
        .is_some_and(|selector| selector.matches(pod.metadata.labels.as_ref()))
}
