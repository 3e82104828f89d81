//! What the jobs of a cron job tell of themselves, and which are too old to keep.
//! Source: `syncCronJob` and `cleanupFinishedJobs` in Kubernetes' `cronjob_controllerv2.go`.

use std::sync::Arc;

use k8s_openapi::api::{
    batch::v1::{CronJob, CronJobStatus, Job},
    core::v1::ObjectReference,
};

use crate::job::spec::{condition, finished};

/// Something to tell in an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// A job runs that the status does not know.
    Unexpected(String),
    /// A job has ended, and how.
    Completed(String, String),
}

/// The status lists this job as active.
pub fn is_active(status: &CronJobStatus, uid: Option<&str>) -> bool {
    status.active.iter().flatten().any(|active| active.uid.as_deref() == uid)
}

/// Takes a job off the list of active ones.
pub fn forget(status: &mut CronJobStatus, uid: Option<&str>) {
    if let Some(active) = &mut status.active {
        active.retain(|active| active.uid.as_deref() != uid);
        if active.is_empty() {
            status.active = None;
        }
    }
}

/// A job runs that the status, which may be old, does not know.
pub fn has_unknown(status: &CronJobStatus, jobs: &[Arc<Job>]) -> bool {
    jobs.iter().any(|job| finished(job).is_none() && !is_active(status, job.metadata.uid.as_deref()))
}

/// Brings the status up to what the jobs say.
pub fn observe(status: &mut CronJobStatus, jobs: &[Arc<Job>]) -> Vec<News> {
    let mut news = Vec::new();
    for job in jobs {
        let (uid, name) = (job.metadata.uid.as_deref(), job.metadata.name.clone().unwrap_or_default());
        let is_known = is_active(status, uid);
        let Some(end) = finished(job) else {
            if !is_known {
                news.push(News::Unexpected(name));
            }
            continue;
        };
        if is_known {
            forget(status, uid);
            news.push(News::Completed(name, end.type_.clone()));
        }
        if end.type_ == condition::COMPLETE {
            let ended = job.status.as_ref().and_then(|status| status.completion_time.clone());
            if ended.as_ref().map(|time| time.0) > status.last_successful_time.as_ref().map(|time| time.0) {
                status.last_successful_time = ended;
            }
        }
    }
    news
}

/// The active jobs that are not among these.
pub fn missing(status: &CronJobStatus, jobs: &[Arc<Job>]) -> Vec<ObjectReference> {
    let is_there = |active: &ObjectReference| jobs.iter().any(|job| job.metadata.uid == active.uid);
    status.active.iter().flatten().filter(|active| !is_there(active)).cloned().collect()
}

/// The finished jobs beyond the limits of the history, oldest first.
pub fn expired(cron: &CronJob, jobs: &[Arc<Job>]) -> Vec<Arc<Job>> {
    let of = |kind: &str, limit: Option<i32>| {
        let is_of = |job: &&Arc<Job>| finished(job).is_some_and(|end| end.type_ == kind);
        let mut ended: Vec<_> = jobs.iter().filter(is_of).cloned().collect();
        ended.sort_by_key(|job| {
            let start = job.status.as_ref().and_then(|status| status.start_time.as_ref()).map(|time| time.0);
            (start.is_none(), start, job.metadata.name.clone())
        });
        let keep = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(0));
        ended.truncate(ended.len().saturating_sub(keep));
        ended
    };
    let mut expired = of(condition::COMPLETE, cron.spec.successful_jobs_history_limit);
    expired.extend(of(condition::FAILED, cron.spec.failed_jobs_history_limit));
    expired
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Value, json};

    use super::*;

    fn job(name: &str, end: Option<&str>, start: i64) -> Arc<Job> {
        let at = |second: i64| jiff::Timestamp::from_second(second).unwrap().to_string();
        let conditions: Vec<Value> = end.iter().map(|end| json!({"type": end, "status": "True"})).collect();
        let ended = (end == Some("Complete")).then(|| at(start + 5));
        Arc::new(
            serde_json::from_value(json!({
                "metadata": {"name": name, "uid": name},
                "status": {"conditions": conditions, "startTime": at(start), "completionTime": ended},
            }))
            .unwrap(),
        )
    }

    fn status(active: &[&str]) -> CronJobStatus {
        let active: Vec<Value> = active.iter().map(|name| json!({"name": name, "uid": name})).collect();
        serde_json::from_value(json!({"active": active})).unwrap()
    }

    #[test]
    fn the_status_follows_the_jobs() {
        let jobs =
            [job("a", Some("Complete"), 10), job("b", None, 20), job("c", Some("Failed"), 30), job("d", None, 40)];
        let mut before = status(&["a", "b", "gone"]);
        assert!(has_unknown(&before, &jobs));
        let news = observe(&mut before, &jobs);
        assert_eq!(news, [News::Completed("a".into(), "Complete".into()), News::Unexpected("d".into())]);
        assert_eq!(before.last_successful_time.as_ref().unwrap().0.as_second(), 15);
        let names: Vec<_> = before.active.iter().flatten().filter_map(|active| active.name.as_deref()).collect();
        assert_eq!(names, ["b", "gone"]);
        let missing = missing(&before, &jobs);
        assert_eq!(missing.iter().filter_map(|active| active.name.as_deref()).collect::<Vec<_>>(), ["gone"]);
    }

    #[test]
    fn an_earlier_success_is_no_news() {
        let mut status = status(&[]);
        observe(&mut status, &[job("b", Some("Complete"), 20)]);
        observe(&mut status, &[job("a", Some("Complete"), 10)]);
        assert_eq!(status.last_successful_time.as_ref().unwrap().0.as_second(), 25);
    }

    #[test]
    fn the_history_keeps_the_latest() {
        let jobs = [
            job("new", Some("Complete"), 30),
            job("old", Some("Complete"), 10),
            job("bad", Some("Failed"), 5),
            job("running", None, 1),
            job("middle", Some("Complete"), 20),
        ];
        for (limits, expected) in [
            ((Some(1), Some(1)), vec!["old", "middle"]),
            ((Some(3), Some(0)), vec!["bad"]),
            ((Some(0), None), vec!["old", "middle", "new"]),
            ((None, None), vec![]),
        ] {
            let spec = json!({"schedule": "", "jobTemplate": {}, "successfulJobsHistoryLimit": limits.0,
                "failedJobsHistoryLimit": limits.1});
            let cron: CronJob = serde_json::from_value(json!({"metadata": {}, "spec": spec})).unwrap();
            let names: Vec<_> = expired(&cron, &jobs).iter().map(|job| job.metadata.name.clone().unwrap()).collect();
            assert_eq!(names, expected, "{limits:?}");
        }
    }
}
