//! Makes a Job whenever a CronJob's schedule says so.
//!
//! Watches cron jobs and jobs. Writes jobs (create, delete) and the cron jobs' status.
//! Source: `pkg/controller/cronjob` in Kubernetes.
//!
//! | module | what it is |
//! | --- | --- |
//! | `timing` | when a job is due, and how many were missed |
//! | `children` | what the jobs tell of themselves; which are too old to keep |
//! | `template` | what the jobs look like |
//! | `sync` | one cron job while it is brought one step further |

mod children;
mod sync;
mod template;
mod timing;

use std::sync::Arc;

use k8s_openapi::api::batch::v1::{CronJob, Job};
use kubelab_api::meta::{controller_of, is_controlled_by};
use kubelab_client::{
    Cache, Client, Controller, Recorder, cache::Change, clock, controller::Key, queue::Queue, recorder::Kind,
};

use crate::{Context, ownership::owner_key};

const NAME: &str = "cronjob-controller";
/// Source: `ConcurrentCronJobSyncs` in the controller manager's defaults.
const WORKERS: usize = 5;

/// Runs the loop.
pub async fn run(context: Context) {
    let this = Arc::new(Loop {
        client: context.client.clone(),
        recorder: context.recorder(NAME),
        cron_jobs: context.caches.of(),
        jobs: context.caches.of(),
        queue: Queue::new("cronjob"),
    });
    this.watch();
    tokio::join!(this.cron_jobs.synced(), this.jobs.synced());
    Controller::new(NAME, this.queue.clone())
        .run_on(WORKERS, this, |this, key| async move { this.reconcile(key).await })
        .await;
}

struct Loop {
    client: Client,
    recorder: Recorder,
    cron_jobs: Cache<CronJob>,
    jobs: Cache<Job>,
    queue: Queue<Key>,
}

impl Loop {
    fn watch(&self) {
        let (queue, recorder) = (self.queue.clone(), self.recorder.clone());
        self.cron_jobs.on_change(move |change| match change {
            // A new schedule holds from its next time on; what the old one missed is not made up for.
            Change::Modified { old, new }
                if old.spec.schedule != new.spec.schedule || old.spec.time_zone != new.spec.time_zone =>
            {
                match timing::schedule(new) {
                    Ok(schedule) => {
                        queue.add_after(Key::of(&**new), timing::until_next(new, &schedule, clock::now().0));
                    }
                    Err(_) => {
                        let message = format!("unparseable schedule for cronjob: {}", new.spec.schedule);
                        recorder.event(&**new, Kind::Warning, "UnParseableCronJobSchedule", message);
                    }
                }
            }
            _ => queue.add(Key::of(&**change.object())),
        });

        let (queue, cron_jobs) = (self.queue.clone(), self.cron_jobs.clone());
        let enqueue = move |job: &Job| {
            let Some(key) = owner_key::<CronJob>(&job.metadata) else { return };
            let owner = cron_jobs.get(&key.namespace, &key.name);
            if owner
                .is_some_and(|owner| is_controlled_by(&job.metadata, owner.metadata.uid.as_deref().unwrap_or_default()))
            {
                queue.add(key);
            }
        };
        self.jobs.on_change(move |change| {
            if let Change::Modified { old, new } = change
                && controller_of(&old.metadata) != controller_of(&new.metadata)
            {
                enqueue(old);
            }
            enqueue(change.object());
        });
    }
}
