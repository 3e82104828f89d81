//! One cron job while it is brought one step further.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use k8s_openapi::{
    api::{
        batch::v1::{CronJob, CronJobStatus, Job},
        core::v1::ObjectReference,
    },
    apimachinery::pkg::apis::meta::v1::{DeleteOptions, Preconditions, Time},
};
use kubelab_api::{
    Error, Reason,
    meta::{is_controlled_by, is_deleting},
};
use kubelab_client::{
    Action, clock,
    controller::Key,
    metrics::{Histogram, exponential_buckets, shown},
    recorder::Kind,
};

use super::{
    Loop,
    children::{self, News},
    template,
    timing::{self, Due},
};
use crate::pods::namespace_is_terminating;

/// How late jobs are made. Source of the name: `pkg/controller/cronjob/metrics` in Kubernetes.
static CREATION_SKEW: LazyLock<Histogram> = LazyLock::new(|| {
    let help = "Time between when a cronjob is scheduled to be run, and when the corresponding job is created";
    let buckets = exponential_buckets(1.0, 2.0, 10);
    shown("cronjob_controller_job_creation_skew_duration_seconds", help, Histogram::new(buckets))
});

impl Loop {
    pub(super) async fn reconcile(&self, key: Key) -> Result<Action, Error> {
        let Some(mut cron) = self.cron_jobs.get(&key.namespace, &key.name) else { return Ok(Action::Done) };
        let jobs = self.jobs.controlled_by(cron.metadata.uid.as_deref().unwrap_or_default());
        if children::has_unknown(&cron.status.clone().unwrap_or_default(), &jobs) {
            // The job may be newer than what the cache knows of its owner.
            let live: CronJob = self.client.get(&key.namespace, &key.name).await?;
            if live.metadata.uid != cron.metadata.uid {
                return Ok(Action::Done);
            }
            cron = Arc::new(live);
        }
        let mut status = cron.status.clone().unwrap_or_default();
        for job in children::expired(&cron, &jobs) {
            // Failures are told in an event, and tried again when the jobs are looked at next.
            let _ = self.delete_job(&cron, &job, &mut status).await;
        }
        let result = self.sync(&cron, &jobs, &mut status).await;
        if status != cron.status.clone().unwrap_or_default() {
            self.client.update_status(&CronJob { status: Some(status), ..(*cron).clone() }).await?;
        }
        Ok(result?.map_or(Action::Done, Action::After))
    }

    /// Makes the job that is due, and says when to look again.
    async fn sync(
        &self,
        cron: &CronJob,
        jobs: &[Arc<Job>],
        status: &mut CronJobStatus,
    ) -> Result<Option<Duration>, Error> {
        for news in children::observe(status, jobs) {
            self.tell(cron, news);
        }
        for missing in children::missing(status, jobs) {
            self.check_missing(cron, &missing, status).await?;
        }
        if is_deleting(&cron.metadata) {
            return Ok(None);
        }
        let warn = |reason: &str, message: String| self.recorder.event(cron, Kind::Warning, reason, message);
        let zone = match timing::zone(cron) {
            Ok(zone) => zone,
            Err(why) => {
                let name = cron.spec.time_zone.as_deref().unwrap_or_default();
                warn("UnknownTimeZone", format!("invalid timeZone: {name:?}: {why}"));
                return Ok(None);
            }
        };
        if cron.spec.suspend == Some(true) {
            return Ok(None);
        }
        let text = &cron.spec.schedule;
        if text.contains("TZ") {
            let message = format!(
                "CRON_TZ or TZ used in schedule {text:?} is not officially supported, see \
                 https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details"
            );
            warn("UnsupportedSchedule", message);
        }
        let schedule = match timing::schedule(cron) {
            Ok(schedule) => schedule,
            Err(why) => {
                warn("UnparseableSchedule", format!("unparseable schedule: {text:?} : {why}"));
                return Ok(None);
            }
        };
        let now = clock::now().0;
        match timing::due(cron, &schedule, now) {
            Err(why) => {
                warn("InvalidSchedule", format!("invalid schedule: {text} : {why}"));
                return Ok(None);
            }
            Ok(Some(due)) if self.may_start(cron, due, now, status) => {
                if !self.start(cron, due.at, &zone, status).await? {
                    return Ok(None);
                }
            }
            Ok(_) => {}
        }
        let started = CronJob { status: Some(status.clone()), ..cron.clone() };
        Ok(Some(timing::until_next(&started, &schedule, now)))
    }

    fn tell(&self, cron: &CronJob, news: News) {
        match news {
            News::Unexpected(name) => {
                let message = format!("Saw a job that the controller did not create or forgot: {name}");
                self.recorder.event(cron, Kind::Warning, "UnexpectedJob", message);
            }
            News::Completed(name, condition) => {
                let message = format!("Saw completed job: {name}, condition: {condition}");
                self.recorder.event(cron, Kind::Normal, "SawCompletedJob", message);
            }
        }
    }

    /// The cache may be late: the apiserver says whether the job is really gone.
    async fn check_missing(
        &self,
        cron: &CronJob,
        missing: &ObjectReference,
        status: &mut CronJobStatus,
    ) -> Result<(), Error> {
        let name = missing.name.as_deref().unwrap_or_default();
        match self.client.get::<Job>(missing.namespace.as_deref().unwrap_or_default(), name).await {
            Err(error) if error.reason == Reason::NotFound => {
                self.recorder.event(cron, Kind::Normal, "MissingJob", format!("Active job went missing: {name}"));
                children::forget(status, missing.uid.as_deref());
                Ok(())
            }
            result => result.map(drop),
        }
    }

    fn may_start(&self, cron: &CronJob, due: Due, now: Timestamp, status: &CronJobStatus) -> bool {
        if due.missed_many {
            let message =
                "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew";
            self.recorder.event(cron, Kind::Warning, "TooManyMissedTimes", message);
        }
        let deadline = cron.spec.starting_deadline_seconds.map(SignedDuration::from_secs);
        if deadline.is_some_and(|deadline| now.duration_since(due.at) > deadline) {
            let at = due.at.strftime("%a, %d %b %Y %H:%M:%S +0000");
            let message = format!("Missed scheduled time to start a job: {at}");
            self.recorder.event(cron, Kind::Warning, "MissSchedule", message);
            return false;
        }
        let name = template::name(cron, due.at);
        let is_made = status.active.iter().flatten().any(|active| active.name.as_ref() == Some(&name))
            || status.last_schedule_time.as_ref().is_some_and(|last| last.0 == due.at);
        if is_made {
            return false;
        }
        let is_busy = status.active.as_ref().is_some_and(|active| !active.is_empty());
        if is_busy && cron.spec.concurrency_policy.as_deref() == Some("Forbid") {
            let message = "Not starting job because prior execution is running and concurrency policy is Forbid";
            self.recorder.event(cron, Kind::Normal, "JobAlreadyActive", message);
            return false;
        }
        true
    }

    /// Says whether the job is this cron job's own, and not in the list of active ones yet.
    async fn start(
        &self,
        cron: &CronJob,
        at: Timestamp,
        zone: &TimeZone,
        status: &mut CronJobStatus,
    ) -> Result<bool, Error> {
        if cron.spec.concurrency_policy.as_deref() == Some("Replace") {
            self.replace(cron, status).await?;
        }
        let wanted = template::job(cron, at, zone);
        let made = match self.client.create(&wanted).await {
            Ok(made) => {
                let skew = clock::now().0.duration_since(at).as_secs_f64();
                CREATION_SKEW.observe(skew.max(0.0));
                let message = format!("Created job {}", made.metadata.name.as_deref().unwrap_or_default());
                self.recorder.event(cron, Kind::Normal, "SuccessfulCreate", message);
                made
            }
            // Made by whoever was killed before it could write the status.
            Err(error) if error.reason == Reason::AlreadyExists => {
                let key = Key::of(&wanted);
                let present: Job = self.client.get(&key.namespace, &key.name).await?;
                let uid = present.metadata.uid.as_deref();
                let is_ours = is_controlled_by(&present.metadata, cron.metadata.uid.as_deref().unwrap_or_default());
                if !is_ours || children::is_active(status, uid) {
                    return Ok(false);
                }
                present
            }
            Err(error) => {
                if !namespace_is_terminating(&error) {
                    let message = format!("Error creating job: {error}");
                    self.recorder.event(cron, Kind::Warning, "FailedCreate", message);
                }
                return Err(error);
            }
        };
        status.active.get_or_insert_default().push(reference(&made));
        status.last_schedule_time = Some(Time(at));
        Ok(true)
    }

    /// What still runs gives way.
    async fn replace(&self, cron: &CronJob, status: &mut CronJobStatus) -> Result<(), Error> {
        for active in status.active.clone().unwrap_or_default() {
            let (namespace, name) = (active.namespace.unwrap_or_default(), active.name.unwrap_or_default());
            let job: Job = self.client.get(&namespace, &name).await.inspect_err(|error| {
                self.recorder.event(cron, Kind::Warning, "FailedGet", format!("Get job: {error}"));
            })?;
            self.delete_job(cron, &job, status).await?;
        }
        Ok(())
    }

    async fn delete_job(&self, cron: &CronJob, job: &Job, status: &mut CronJobStatus) -> Result<(), Error> {
        let key = Key::of(job);
        let options = DeleteOptions {
            propagation_policy: Some("Background".into()),
            preconditions: Some(Preconditions { uid: job.metadata.uid.clone(), resource_version: None }),
            ..Default::default()
        };
        if let Err(error) = self.client.delete::<Job>(&key.namespace, &key.name, options).await {
            self.recorder.event(cron, Kind::Warning, "FailedDelete", format!("Deleted job: {error}"));
            return Err(error);
        }
        children::forget(status, job.metadata.uid.as_deref());
        self.recorder.event(cron, Kind::Normal, "SuccessfulDelete", format!("Deleted job {}", key.name));
        Ok(())
    }
}

fn reference(job: &Job) -> ObjectReference {
    let meta = &job.metadata;
    ObjectReference {
        api_version: Some("batch/v1".into()),
        kind: Some("Job".into()),
        namespace: meta.namespace.clone(),
        name: meta.name.clone(),
        uid: meta.uid.clone(),
        resource_version: meta.resource_version.clone(),
        field_path: None,
    }
}
