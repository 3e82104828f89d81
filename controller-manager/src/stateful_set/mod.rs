//! Keeps the pods of a StatefulSet, each with a name and claims of its own, and brings them from one template to the next.
//!
//! Watches stateful sets, pods, claims and revisions. Writes pods, claims, revisions (create, number, adopt, delete) and the
//! sets' status. Source: `pkg/controller/statefulset` in Kubernetes.
//!
//! | module | what it is |
//! | --- | --- |
//! | `plan` | what is to be done next |
//! | `control` | doing it, and telling of it in events |
//! | `identity` | ordinals, names, labels and volumes of pods |
//! | `claims` | claims of pods, and who owns them |
//! | `revisions` | the revisions that pods are made of |
//! | `status` | counts |

mod claims;
mod control;
mod identity;
mod plan;
mod revisions;
mod status;

use std::sync::Arc;

use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{PersistentVolumeClaim, Pod},
};
use kubelab_api::{Error, meta::is_deleting, selector::label::Selector};
use kubelab_client::{Action, Cache, Client, Controller, cache::Change, clock, controller::Key, queue::Queue};

use self::{
    control::Control,
    plan::{Step, View, plan},
    revisions::Present,
    status::Revisions,
};
use crate::{
    Context,
    expectations::{self, Expectations},
    history::History,
    owned_pods,
    ownership::{self, Orphans},
    pods::{self, slow_start_each},
};

const NAME: &str = "statefulset-controller";
/// Source: `ConcurrentStatefulSetSyncs` in the controller manager's defaults.
const WORKERS: usize = 5;

/// Runs the loop.
pub async fn run(context: Context) {
    let this = Arc::new(Loop::new(&context));
    this.watch();
    tokio::join!(this.sets.synced(), this.pods.synced(), this.claims.synced(), this.history.synced());
    Controller::new(NAME, this.queue.clone())
        .run_on(WORKERS, this, |this, key| async move { this.reconcile(key).await })
        .await;
}

struct Loop {
    client: Client,
    sets: Cache<StatefulSet>,
    pods: Cache<Pod>,
    claims: Cache<PersistentVolumeClaim>,
    orphans: Orphans<Pod>,
    history: History,
    control: Control,
    expectations: Arc<Expectations>,
    queue: Queue<Key>,
}

impl Loop {
    fn new(context: &Context) -> Self {
        let pods = context.caches.of::<Pod>();
        let claims = context.caches.of::<PersistentVolumeClaim>();
        Self {
            client: context.client.clone(),
            sets: context.caches.of(),
            orphans: Orphans::of(&pods),
            pods,
            history: History::of(context),
            control: Control::new(&context.client, context.recorder(NAME), &claims),
            claims,
            expectations: Arc::default(),
            queue: Queue::new("statefulset"),
        }
    }

    fn watch(&self) {
        owned_pods::follow_owners(&self.sets, &self.queue, &self.expectations);
        owned_pods::follow(&self.pods, &self.sets, &self.queue, &self.expectations, is_member);
        self.history.follow::<StatefulSet>(&self.queue);

        // A pod may wait for the claims of its predecessor to go.
        let (queue, sets) = (self.queue.clone(), self.sets.clone());
        self.claims.on_change(move |change| {
            if let Change::Deleted(claim) = change {
                let name = claim.metadata.name.as_deref().unwrap_or_default();
                for set in sets.list_in(claim.metadata.namespace.as_deref().unwrap_or_default()) {
                    if claims::is_named_after(name, &set) {
                        queue.add(Key::of(&*set));
                    }
                }
            }
        });
    }

    async fn reconcile(&self, key: Key) -> Result<Action, Error> {
        let Some(set) = self.sets.get(&key.namespace, &key.name) else { return Ok(Action::Done) };
        let settled = self.expectations.settled(&key);
        let selector = selector(&set)?;
        let revisions = self.history.claim(&*set, &selector).await?;
        let mut candidates = self.orphans.and_controlled_by(&set.metadata);
        candidates.retain(|pod| identity::ordinal(&set, pod).is_some());
        let pods = ownership::claim(&self.client, &*set, &selector, candidates).await?;
        let Some(present) = revisions::sync(&self.history, &set, revisions).await? else { return Ok(Action::Done) };

        let outcome = if settled && !is_deleting(&set.metadata) {
            self.step(&key, &set, &pods, &present).await
        } else {
            Ok(Vec::new())
        };
        let outdated = outcome.as_ref().map(Vec::as_slice).unwrap_or_default();
        let names = Revisions { current: present.current_name(), update: present.update_name() };
        let now = clock::now();
        let status = status::calculate(&set, &pods, outdated, names, present.collisions, now.0);
        if set.status.as_ref() != Some(&status) {
            self.client.update_status(&StatefulSet { status: Some(status), ..StatefulSet::clone(&set) }).await?;
        }
        outcome?;
        if !settled {
            return Ok(Action::After(expectations::TIMEOUT));
        }
        self.history.delete(&revisions::excess(&set, &pods, &present)).await?;
        let min_ready = set.spec.min_ready_seconds.unwrap_or(0);
        Ok(pods::next_available(&pods, min_ready, &now).map_or(Action::Done, Action::After))
    }

    /// Does what is to be done now. Returns the pods that were deleted so that they are made anew.
    async fn step(
        &self,
        key: &Key,
        set: &StatefulSet,
        pods: &[Arc<Pod>],
        present: &Present,
    ) -> Result<Vec<Arc<Pod>>, Error> {
        let claim = |name: &str| self.claims.get(&key.namespace, name);
        let plan = plan(&View { set, pods, update: present.update_name(), claim: &claim, now: clock::now().0 });
        let steps = || plan.phases.iter().flatten();
        let creations = steps().filter(|step| matches!(step, Step::Create(_))).count();
        let deletions = steps().filter_map(|step| match step {
            Step::Delete(pod) => pod.metadata.uid.clone(),
            _ => None,
        });
        self.expectations.expect_changes(key, creations, deletions);
        for phase in &plan.phases {
            let failure = if plan::is_parallel(set) {
                slow_start_each(phase, |step| self.take(key, set, present, step)).await.1
            } else {
                let mut failure = None;
                for step in phase {
                    failure = self.take(key, set, present, step).await.err();
                    if failure.is_some() {
                        break;
                    }
                }
                failure
            };
            if let Some(error) = failure {
                // What was not done will not be seen. Names tell what was: nothing is done twice without this.
                self.expectations.forget(key);
                return if pods::namespace_is_terminating(&error) { Ok(Vec::new()) } else { Err(error) };
            }
        }
        Ok(plan.outdated)
    }

    async fn take(&self, key: &Key, set: &StatefulSet, present: &Present, step: &Step) -> Result<(), Error> {
        let was_there = self.control.take(set, present, step).await?;
        if let Step::Delete(pod) = step
            && !was_there
        {
            self.expectations.deletion_observed(key, pod.metadata.uid.as_deref().unwrap_or_default());
        }
        Ok(())
    }
}

fn selector(set: &StatefulSet) -> Result<Selector, Error> {
    Selector::from_typed(Some(&set.spec.selector)).map_err(Error::internal)
}

fn is_member(set: &StatefulSet, pod: &Pod) -> bool {
    identity::ordinal(set, pod).is_some()
        && selector(set).is_ok_and(|selector| selector.matches(pod.metadata.labels.as_ref()))
}
