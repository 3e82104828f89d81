//! Runs a Job's pods to completion.
//!
//! Watches jobs and pods. Writes pods (create, delete, adopt, release, remove their finalizer) and the jobs' status.
//! Source: `pkg/controller/job` in Kubernetes.
//!
//! | module | what it is |
//! | --- | --- |
//! | `spec` | what a job asks for |
//! | `pod` | what a job reads from its pods |
//! | `indexes` | sets of completion indexes |
//! | `policy` | pod failure policy, success policy |
//! | `backoff` | the wait after failures |
//! | `assessment` | how a job stands |
//! | `plan` | which pods it needs |
//! | `template` | what they look like |
//! | `tracking` | counting each pod once |
//! | `conditions` | how it ends, and how that is told |
//! | `sync` | one job while it is brought one step further |
//! | `watch` | which change concerns which job |
//! | `orphans` | pods whose job no longer counts them |
//! | `metrics` | what is counted of all this |

mod assessment;
mod backoff;
mod conditions;
mod indexes;
mod metrics;
mod orphans;
mod plan;
mod pod;
mod policy;
pub mod spec;
mod sync;
mod template;
#[cfg(test)]
mod tests;
mod tracking;
mod watch;

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};
use kubelab_api::{
    Error, Reason,
    meta::{controller_of, is_controlled_by},
};
use kubelab_client::{Cache, Client, Controller, Patch, Recorder, controller::Key, queue::Queue};
use serde_json::json;

use self::{backoff::Failures, spec::TRACKING_FINALIZER};
use crate::{
    Context,
    expectations::Expectations,
    ownership::{Orphans, owner_key},
    pods::PodControl,
};

const NAME: &str = "job-controller";
/// Source: `ConcurrentJobSyncs` in the controller manager's defaults.
const WORKERS: usize = 5;

/// Runs the loop.
pub async fn run(context: Context) {
    let this = Arc::new(Loop::new(&context));
    watch::start(&this);
    tokio::join!(this.jobs.synced(), this.pods.synced());
    let orphans = Arc::clone(&this);
    tokio::join!(
        Controller::new(NAME, this.queue.clone())
            .run_on(WORKERS, this, |this, key| async move { this.reconcile(key).await }),
        Controller::new(orphans::NAME, orphans.orphaned.clone())
            .run_on(1, orphans, |this, key| async move { this.release_orphan(key).await }),
    );
}

struct Loop {
    client: Client,
    recorder: Recorder,
    jobs: Cache<Job>,
    pods: Cache<Pod>,
    free: Orphans<Pod>,
    control: PodControl,
    expectations: Arc<Expectations>,
    released: Arc<Released>,
    failures: Mutex<HashMap<Key, Failures>>,
    queue: Queue<Key>,
    orphaned: Queue<Key>,
}

impl Loop {
    fn new(context: &Context) -> Self {
        let pods = context.caches.of::<Pod>();
        let recorder = context.recorder(NAME);
        Self {
            client: context.client.clone(),
            control: PodControl::new(&context.client, recorder.clone()),
            recorder,
            jobs: context.caches.of(),
            free: Orphans::of(&pods),
            pods,
            expectations: Arc::default(),
            released: Arc::default(),
            failures: Mutex::default(),
            queue: Queue::new("job"),
            orphaned: Queue::new("job_orphan_pod"),
        }
    }

    fn failures(&self) -> MutexGuard<'_, HashMap<Key, Failures>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a pod go: it is counted, or needs not be. Says whether it was still there.
    async fn release(&self, pod: &Pod) -> Result<bool, Error> {
        if !pod::is_tracked(pod) {
            return Ok(true);
        }
        let finalizers = json!([TRACKING_FINALIZER]);
        let patch = json!({"metadata": {"uid": pod.metadata.uid, "$deleteFromPrimitiveList/finalizers": finalizers}});
        let key = Key::of(pod);
        match self.client.patch::<Pod>(&key.namespace, &key.name, Patch::Strategic(patch)).await {
            Ok(_) => Ok(true),
            Err(error) if error.reason == Reason::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// The job that controls a pod, as the cache shows it.
fn job_of(jobs: &Cache<Job>, pod: &Pod) -> Option<Arc<Job>> {
    let key = owner_key::<Job>(&pod.metadata)?;
    let job = jobs.get(&key.namespace, &key.name)?;
    is_controlled_by(&pod.metadata, job.metadata.uid.as_deref().unwrap_or_default()).then_some(job)
}

/// It is a Job that controls this pod, whether it is still there or not; or nobody does.
fn may_be_a_jobs(pod: &Pod) -> bool {
    controller_of(&pod.metadata).is_none() || owner_key::<Job>(&pod.metadata).is_some()
}

/// The pods of each job whose finalizer was removed, which the cache does not show yet: they must not be counted again.
/// Source: `uidTrackingExpectations`.
#[derive(Default)]
struct Released(Mutex<HashMap<Key, HashSet<String>>>);

impl Released {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, HashSet<String>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn of(&self, key: &Key) -> HashSet<String> {
        self.lock().get(key).cloned().unwrap_or_default()
    }

    fn expect(&self, key: &Key, uids: impl IntoIterator<Item = String>) {
        self.lock().entry(key.clone()).or_default().extend(uids);
    }

    fn observed(&self, key: &Key, uid: &str) {
        let mut all = self.lock();
        if let Some(uids) = all.get_mut(key) {
            uids.remove(uid);
            if uids.is_empty() {
                all.remove(key);
            }
        }
    }

    fn forget(&self, key: &Key) {
        self.lock().remove(key);
    }
}
