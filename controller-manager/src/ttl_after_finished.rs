//! Deletes Jobs some time after they have finished, those that ask for it (KEP-592).
//!
//! Watches jobs, and deletes them. Source: `pkg/controller/ttlafterfinished` in Kubernetes.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::batch::v1::Job,
    apimachinery::pkg::apis::meta::v1::{DeleteOptions, Preconditions},
};
use kubelab_api::{Error, Reason, meta::is_deleting};
use kubelab_client::{
    Action, Cache, Client, Controller,
    cache::Change,
    clock,
    controller::Key,
    metrics::{Histogram, exponential_buckets, shown},
    queue::Queue,
};

use crate::{Context, job::spec::finished};

const NAME: &str = "ttl-after-finished-controller";
/// Source: `ConcurrentTTLSyncs` in the controller manager's defaults.
const WORKERS: usize = 5;

/// Source of the name: `pkg/controller/ttlafterfinished/metrics` in Kubernetes.
static DELETION_LATENCY: LazyLock<Histogram> = LazyLock::new(|| {
    let help = "The time it took to delete the job since it became eligible for deletion";
    let buckets = exponential_buckets(0.1, 2.0, 14);
    shown("ttl_after_finished_controller_job_deletion_duration_seconds", help, Histogram::new(buckets))
});

/// Runs the loop.
pub async fn run(context: Context) {
    let jobs: Cache<Job> = context.caches.of();
    let queue = Queue::new("ttl_jobs_to_delete");
    let adding = queue.clone();
    jobs.on_change(move |change| match change {
        Change::Added(job) | Change::Modified { new: job, .. } if left(job, clock::now().0).is_some() => {
            adding.add(Key::of(&**job));
        }
        _ => {}
    });
    jobs.synced().await;
    let this = Arc::new((context.client.clone(), jobs));
    Controller::new(NAME, queue)
        .run(WORKERS, move |key| {
            let this = Arc::clone(&this);
            async move { reconcile(&this.0, &this.1, key).await }
        })
        .await;
}

async fn reconcile(client: &Client, jobs: &Cache<Job>, key: Key) -> Result<Action, Error> {
    let Some(job) = jobs.get(&key.namespace, &key.name) else { return Ok(Action::Done) };
    match left(&job, clock::now().0) {
        None => return Ok(Action::Done),
        Some(Duration::ZERO) => {}
        Some(wait) => return Ok(Action::After(wait)),
    }
    // The time to live may have been raised since: what is deleted is what was read just now.
    let live: Job = match client.get(&key.namespace, &key.name).await {
        Err(error) if error.reason == Reason::NotFound => return Ok(Action::Done),
        result => result?,
    };
    match left(&live, clock::now().0) {
        None => return Ok(Action::Done),
        Some(Duration::ZERO) => {}
        Some(wait) => return Ok(Action::After(wait)),
    }
    let options = DeleteOptions {
        propagation_policy: Some("Foreground".into()),
        preconditions: Some(Preconditions {
            uid: live.metadata.uid.clone(),
            resource_version: live.metadata.resource_version.clone(),
        }),
        ..Default::default()
    };
    match client.delete::<Job>(&key.namespace, &key.name, options).await {
        Err(error) if error.reason != Reason::NotFound => return Err(error),
        _ => {}
    }
    if let Some(late) = expires(&live).map(|end| clock::now().0.duration_since(end)) {
        DELETION_LATENCY.observe(late.as_secs_f64().max(0.0));
    }
    Ok(Action::Done)
}

/// How long a finished job has left at `now`; `None` for one that does not end by itself, or not yet.
fn left(job: &Job, now: Timestamp) -> Option<Duration> {
    Some(Duration::try_from(expires(job)?.duration_since(now)).unwrap_or_default())
}

/// When a finished job's time is over; `None` for one that does not end by itself, or not yet.
fn expires(job: &Job) -> Option<Timestamp> {
    let lives = job.spec.as_ref()?.ttl_seconds_after_finished?;
    let end = finished(job).filter(|_| !is_deleting(&job.metadata))?;
    end.last_transition_time.as_ref()?.0.checked_add(SignedDuration::from_secs(lives.into())).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn only_finished_jobs_have_their_days_numbered() {
        let end = |kind: &str| json!([{"type": kind, "status": "True", "lastTransitionTime": "2026-11-20T12:00:00Z"}]);
        for (why, ttl, conditions, deleted, expected) in [
            ("it runs", json!(5), json!([]), Value::Null, None),
            ("it is going to fail", json!(5), end("FailureTarget"), Value::Null, None),
            ("it stays", Value::Null, end("Complete"), Value::Null, None),
            ("complete", json!(15), end("Complete"), Value::Null, Some(5)),
            ("failed", json!(12), end("Failed"), Value::Null, Some(2)),
            ("at once", json!(0), end("Complete"), Value::Null, Some(0)),
            ("on its way out", json!(0), end("Complete"), json!("2026-11-20T12:00:05Z"), None),
        ] {
            let job: Job = serde_json::from_value(json!({
                "metadata": {"deletionTimestamp": deleted},
                "spec": {"ttlSecondsAfterFinished": ttl, "template": {}},
                "status": {"conditions": conditions},
            }))
            .unwrap();
            let left = left(&job, "2026-11-20T12:00:10Z".parse().unwrap());
            assert_eq!(left.map(|left| left.as_secs()), expected, "{why}");
        }
    }
}
