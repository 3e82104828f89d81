//! Brings a Deployment's pods from one template to the next, through a ReplicaSet for each.
//!
//! Watches deployments, replica sets and pods. Writes replica sets (create, scale, annotate, adopt, delete) and the
//! deployments' status and revision. Source: `pkg/controller/deployment` in Kubernetes.
//!
//! | module | what it is |
//! | --- | --- |
//! | `rollout` | one deployment while it is brought one step further |
//! | `limits` | surge and unavailability |
//! | `rolling` | the steps of a rolling update |
//! | `proportional` | scaling amid a rollout |
//! | `revisions` | which replica set is the present one; the numbers of the history |
//! | `status` | counts and conditions |

mod limits;
mod proportional;
mod revisions;
mod rolling;
mod rollout;
mod status;

use std::sync::Arc;

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentStatus, ReplicaSet},
        core::v1::Pod,
    },
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};
use kubelab_api::{Error, meta::controller_of, selector::label::Selector};
use kubelab_client::{
    Action, Cache, Client, Controller, Recorder, cache::Change, clock, controller::Key, queue::Queue, recorder::Kind,
};

use self::rollout::Rollout;
use crate::{
    Context,
    ownership::{self, Orphans, owner_key},
};

const NAME: &str = "deployment-controller";
/// Source: `ConcurrentDeploymentSyncs` in the controller manager's defaults.
const WORKERS: usize = 5;

/// Runs the loop.
pub async fn run(context: Context) {
    let this = Arc::new(Loop::new(&context));
    this.watch();
    tokio::join!(this.deployments.synced(), this.sets.synced(), this.pods.synced());
    Controller::new(NAME, this.queue.clone())
        .run_on(WORKERS, this, |this, key| async move { this.reconcile(key).await })
        .await;
}

struct Loop {
    client: Client,
    recorder: Recorder,
    deployments: Cache<Deployment>,
    sets: Cache<ReplicaSet>,
    orphans: Orphans<ReplicaSet>,
    pods: Cache<Pod>,
    queue: Queue<Key>,
}

impl Loop {
    fn new(context: &Context) -> Self {
        let sets = context.caches.of::<ReplicaSet>();
        Self {
            client: context.client.clone(),
            recorder: context.recorder(NAME),
            deployments: context.caches.of(),
            orphans: Orphans::of(&sets),
            sets,
            pods: context.caches.of(),
            queue: Queue::new("deployment"),
        }
    }

    fn watch(&self) {
        let queue = self.queue.clone();
        self.deployments.on_change(move |change| queue.add(Key::of(&**change.object())));

        let (queue, deployments) = (self.queue.clone(), self.deployments.clone());
        let enqueue = move |set: &ReplicaSet| match owner_key::<Deployment>(&set.metadata) {
            Some(key) => queue.add(key),
            None if controller_of(&set.metadata).is_none() => {
                for deployment in deployments.list_in(set.metadata.namespace.as_deref().unwrap_or_default()) {
                    if selector(&deployment).is_ok_and(|selector| selector.matches(set.metadata.labels.as_ref())) {
                        queue.add(Key::of(&*deployment));
                    }
                }
            }
            None => {}
        };
        self.sets.on_change(move |change| match change {
            Change::Added(set) | Change::Deleted(set) => enqueue(set),
            Change::Modified { old, new } => {
                if controller_of(&old.metadata) != controller_of(&new.metadata) {
                    enqueue(old);
                }
                enqueue(new);
            }
        });

        // Only a deployment that recreates waits for pods rather than for its replica sets' counts.
        let (queue, sets) = (self.queue.clone(), self.sets.clone());
        self.pods.on_change(move |change| {
            if let Change::Deleted(pod) = change
                && let Some(set) = owner_key::<ReplicaSet>(&pod.metadata)
                && let Some(set) = sets.get(&set.namespace, &set.name)
                && let Some(key) = owner_key::<Deployment>(&set.metadata)
            {
                queue.add(key);
            }
        });
    }

    async fn reconcile(&self, key: Key) -> Result<Action, Error> {
        let Some(deployment) = self.deployments.get(&key.namespace, &key.name) else { return Ok(Action::Done) };
        if deployment.spec.selector == LabelSelector::default() {
            return self.refuse_to_select_all(&deployment).await;
        }
        let candidates = self.orphans.and_controlled_by(&deployment.metadata);
        let sets = ownership::claim(&self.client, &*deployment, &selector(&deployment)?, candidates).await?;

        let mut rollout = Rollout::of(&self.client, &self.recorder, &deployment, sets);
        if deployment.metadata.deletion_timestamp.is_some() {
            rollout.write_status(false).await?;
            return Ok(Action::Done);
        }
        rollout.note_pause();
        rollout.sync_revisions().await?;
        if deployment.spec.paused == Some(true) {
            rollout.scale().await?;
            rollout.clean_up().await?;
            rollout.write_status(false).await?;
            return Ok(Action::Done);
        }
        if rollout.is_scaled() {
            rollout.scale().await?;
            rollout.write_status(false).await?;
            return Ok(Action::Done);
        }
        rollout.step(&self.pods).await?;
        if rollout.is_complete() {
            rollout.clean_up().await?;
        }
        let status = rollout.write_status(true).await?;
        Ok(status::next_check(&deployment, &status, &clock::now()).map_or(Action::Done, Action::After))
    }

    async fn refuse_to_select_all(&self, deployment: &Deployment) -> Result<Action, Error> {
        let message = "This deployment is selecting all pods. A non-empty selector is required.";
        self.recorder.event(deployment, Kind::Warning, "SelectingAll", message);
        let status = deployment.status.clone().unwrap_or_default();
        if status.observed_generation < deployment.metadata.generation {
            let observed_generation = deployment.metadata.generation;
            let status = DeploymentStatus { observed_generation, ..status };
            self.client.update_status(&Deployment { status: Some(status), ..deployment.clone() }).await?;
        }
        Ok(Action::Done)
    }
}

fn selector(deployment: &Deployment) -> Result<Selector, Error> {
    Selector::from_typed(Some(&deployment.spec.selector)).map_err(Error::internal)
}
