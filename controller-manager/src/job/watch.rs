//! Which change concerns which job.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};
use kubelab_api::{
    meta::{controller_of, is_deleting},
    pod::is_terminal,
    selector::label::Selector,
};
use kubelab_client::{Cache, cache::Change, controller::Key, queue::Queue};

use super::{
    Loop, Released, job_of,
    metrics::METRICS,
    pod::{is_tracked, uid},
    spec::finished,
};
use crate::{expectations::Expectations, ownership::owner_key};

/// Changes of pods and of the status gather for so long. Source: `SyncJobBatchPeriod`.
const BATCH: Duration = Duration::from_secs(1);

pub(super) fn start(this: &Arc<Loop>) {
    let watch = Watch {
        jobs: this.jobs.clone(),
        expectations: Arc::clone(&this.expectations),
        released: Arc::clone(&this.released),
        queue: this.queue.clone(),
        orphaned: this.orphaned.clone(),
    };
    let (of_jobs, pods) = (watch.clone(), this.pods.clone());
    this.jobs.on_change(move |change| of_jobs.job(change, &pods));
    this.pods.on_change(move |change| watch.pod(change));
}

#[derive(Clone)]
struct Watch {
    jobs: Cache<Job>,
    expectations: Arc<Expectations>,
    released: Arc<Released>,
    queue: Queue<Key>,
    orphaned: Queue<Key>,
}

impl Watch {
    fn job(&self, change: &Change<Job>, pods: &Cache<Pod>) {
        let job = change.object();
        let key = Key::of(&**job);
        match change {
            Change::Modified { old, new } if old.metadata.generation == new.metadata.generation => {
                self.queue.add_after(key.clone(), BATCH);
            }
            Change::Deleted(_) => {
                self.expectations.forget(&key);
                self.released.forget(&key);
                self.queue.add(key.clone());
            }
            _ => self.queue.add(key.clone()),
        }
        if matches!(change, Change::Deleted(_)) || finished(job).is_some() {
            let tracked = pods.controlled_by(job.metadata.uid.as_deref().unwrap_or_default());
            tracked.iter().filter(|pod| is_tracked(pod)).for_each(|pod| self.orphaned.add(Key::of(&**pod)));
        }
    }

    fn pod(&self, change: &Change<Pod>) {
        count_tracked(change);
        match change {
            // A pod that is on its way out when this process starts counts as a deletion, never as a creation.
            Change::Added(pod) if is_deleting(&pod.metadata) => self.gone(pod, false),
            Change::Added(pod) => {
                if let Some(job) = job_of(&self.jobs, pod) {
                    self.expectations.creations_observed(&Key::of(&*job), 1);
                }
                self.changed(pod, true);
            }
            Change::Modified { new, .. } if is_deleting(&new.metadata) => self.gone(new, false),
            Change::Modified { old, new } => {
                let moved = controller_of(&old.metadata) != controller_of(&new.metadata);
                if moved && let Some(job) = job_of(&self.jobs, old) {
                    self.observe_release(&Key::of(&*job), new);
                    self.queue.add_after(Key::of(&*job), BATCH);
                }
                self.changed(new, moved || old.metadata.labels != new.metadata.labels);
            }
            Change::Deleted(pod) => self.gone(pod, true),
        }
    }

    fn changed(&self, pod: &Pod, may_be_adopted: bool) {
        if controller_of(&pod.metadata).is_some() {
            if let Some(job) = job_of(&self.jobs, pod) {
                self.observe_release(&Key::of(&*job), pod);
                self.queue.add_after(Key::of(&*job), BATCH);
            }
            return;
        }
        if is_tracked(pod) {
            self.orphaned.add(Key::of(pod));
        }
        if may_be_adopted {
            for job in self.jobs.list_in(pod.metadata.namespace.as_deref().unwrap_or_default()) {
                let selector = job.spec.as_ref().and_then(|spec| spec.selector.as_ref());
                let selector = Selector::from_typed(selector);
                if selector.is_ok_and(|selector| selector.matches(pod.metadata.labels.as_ref())) {
                    self.queue.add_after(Key::of(&*job), BATCH);
                }
            }
        }
    }

    /// It is gone for good, or on its way out.
    fn gone(&self, pod: &Pod, is_final: bool) {
        match job_of(&self.jobs, pod).filter(|job| finished(job).is_none()) {
            Some(job) => {
                let key = Key::of(&*job);
                self.expectations.deletion_observed(&key, uid(pod));
                if is_final {
                    self.released.observed(&key, uid(pod));
                } else {
                    self.observe_release(&key, pod);
                }
                self.queue.add_after(key, BATCH);
            }
            None if is_tracked(pod) => self.orphaned.add(Key::of(pod)),
            // A pod of a job that has just finished: what waited for it is over.
            None => {
                if let Some(key) = owner_key::<Job>(&pod.metadata) {
                    self.released.observed(&key, uid(pod));
                }
            }
        }
    }

    fn observe_release(&self, key: &Key, pod: &Pod) {
        if !is_tracked(pod) {
            self.released.observed(key, uid(pod));
        }
    }
}

/// Counts pods that have ended and are yet to be counted by their job, as they come and go.
fn count_tracked(change: &Change<Pod>) {
    let (old, new) = match change {
        Change::Added(new) => (None, Some(new)),
        Change::Modified { old, new } => (Some(old), Some(new)),
        Change::Deleted(old) => (Some(old), None),
    };
    let waits = |pod: Option<&Arc<Pod>>| pod.is_some_and(|pod| is_terminal(pod) && is_tracked(pod));
    let event = match (waits(old), waits(new)) {
        (false, true) => "add",
        (true, false) => "delete",
        _ => return,
    };
    METRICS.tracking.get_or_create(&[("event", event)]).inc();
}
