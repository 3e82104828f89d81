//! One job while it is brought one step further.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::future::join_all;
use k8s_openapi::api::{
    batch::v1::{Job, JobStatus},
    core::v1::Pod,
};
use kubelab_api::{Error, Reason, meta::is_deleting, pod::is_ready, selector::label::Selector};
use kubelab_client::{Action, clock, controller::Key, recorder::Kind};

use super::{
    Loop,
    assessment::{Assessment, View},
    conditions::{self, Verdict},
    metrics::{METRICS, MODE, RESULT, outcome},
    plan::{self, Step},
    pod::uid,
    spec::{TRACKING_FINALIZER, Wants, finished, is_managed_elsewhere},
    template, tracking,
};
use crate::{
    expectations,
    ownership::claim_with,
    pods::{namespace_is_terminating, slow_start},
};

/// How many pods there are by the end of a step.
struct Counts {
    active: usize,
    ready: usize,
    terminating: usize,
}

/// What a step came to.
struct Outcome {
    /// The wait that pods have to be made after.
    wait: Option<Duration>,
    failure: Option<Error>,
}

impl Outcome {
    fn of(failure: Option<Error>) -> Self {
        Self { wait: None, failure }
    }
}

impl Loop {
    pub(super) async fn reconcile(&self, key: Key) -> Result<Action, Error> {
        let job = self.jobs.get(&key.namespace, &key.name);
        let Some(job) = job.filter(|job| finished(job).is_none()) else {
            self.failures().remove(&key);
            return Ok(Action::Done);
        };
        let Some(wants) = Wants::of(&job).filter(|_| !is_managed_elsewhere(&job)) else { return Ok(Action::Done) };
        if !wants.is_understood() {
            let message = "Skipped Job sync because completion mode is unknown";
            self.recorder.event(&*job, Kind::Warning, "UnknownCompletionMode", message);
            return Ok(Action::Done);
        }
        let (began, mut action) = (clock::instant(), "reconciling");
        let result = self.sync(&key, &job, wants, &mut action).await;
        let ended = if result.is_ok() { "success" } else { "error" };
        let labels = [(MODE, wants.mode()), (RESULT, ended), ("action", action)];
        METRICS.sync_seconds.get_or_create(&labels).observe(began.elapsed().as_secs_f64());
        METRICS.syncs.get_or_create(&labels).inc();
        result
    }

    async fn sync(
        &self,
        key: &Key,
        job: &Arc<Job>,
        wants: Wants<'_>,
        action: &mut &'static str,
    ) -> Result<Action, Error> {
        let settled = self.expectations.settled(key);
        let selector = Selector::from_typed(wants.0.selector.as_ref()).map_err(Error::internal)?;
        let candidates = self.free.and_controlled_by(&job.metadata);
        let pods = claim_with(&self.client, &**job, &selector, candidates, &[TRACKING_FINALIZER]).await?;

        let now = clock::now();
        let mut status = job.status.clone().unwrap_or_default();
        if status.start_time.is_none() && !wants.is_suspended() {
            status.start_time = Some(now.clone());
        }
        let released = self.released.of(key);
        let view = View { wants, status: &status, pods: &pods, released: &released, now: now.0 };
        let failures = self.failures().get(key).copied().unwrap_or_default();
        let mut this = view.assess(failures);
        let mut counts = Counts {
            active: this.active.len(),
            ready: usize::try_from(this.ready).unwrap_or(0),
            terminating: usize::try_from(this.terminating).unwrap_or(0),
        };
        let mut next = status.clone();
        let outcome = if this.verdict.is_some() {
            let failure = self.end_pods(job, &this.active, &mut counts).await;
            // Pods that still run, or that are not seen yet, may have to be counted first.
            if counts.active > 0 || !settled {
                this.verdict = None;
            }
            Outcome::of(failure)
        } else {
            let may_manage = settled && !is_deleting(&job.metadata);
            let outcome = match may_manage {
                true => self.manage(key, job, &view, &this, &mut counts, action).await,
                false => Outcome::of(None),
            };
            let is_done = wants.completions().map_or(this.succeeded > 0, |completions| this.succeeded >= completions);
            if is_done && counts.active == 0 {
                this.verdict = Some(Verdict::completed());
            } else if may_manage && conditions::set_suspended(&mut next, wants.is_suspended(), &now) {
                self.tell_suspension(job, wants.is_suspended());
                if !wants.is_suspended() {
                    // The deadline is for a job that is active without a break.
                    next.start_time = Some(now.clone());
                }
            }
            outcome
        };
        let number = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
        next.active = tracking::some(number(counts.active));
        next.ready = Some(number(counts.ready));
        next.terminating = Some(number(counts.terminating));
        self.track(key, job, &view, &this, next).await?;
        if let Some(failure) = outcome.failure {
            return Err(failure);
        }
        let unsettled = (!settled).then_some(expectations::TIMEOUT);
        let again = [outcome.wait, this.deadline, unsettled].into_iter().flatten().min();
        Ok(again.map_or(Action::Done, Action::After))
    }

    fn tell_suspension(&self, job: &Job, is_suspended: bool) {
        let (reason, message) = if is_suspended { ("Suspended", "Job suspended") } else { ("Resumed", "Job resumed") };
        self.recorder.event(job, Kind::Normal, reason, message);
    }

    /// The job has ended, so its pods have to. They keep their finalizers until they are counted.
    async fn end_pods(&self, job: &Job, pods: &[Arc<Pod>], counts: &mut Counts) -> Option<Error> {
        let deletions = pods.iter().map(|pod| async { (self.control.delete(job, pod).await, is_ready(pod)) });
        settle_deletions(join_all(deletions).await, counts)
    }

    async fn manage(
        &self,
        key: &Key,
        job: &Job,
        view: &View<'_>,
        this: &Assessment,
        counts: &mut Counts,
        action: &mut &'static str,
    ) -> Outcome {
        let step = plan::next(view, this);
        *action = match &step {
            Step::Nothing | Step::Wait(_) => "tracking",
            Step::Remove(_) => "pods_deleted",
            Step::Add(_) | Step::AddIndexes(_) => "pods_created",
        };
        let pods = match step {
            Step::Nothing => return Outcome::of(None),
            Step::Wait(wait) => return Outcome { wait: Some(wait), failure: None },
            Step::Remove(pods) => return Outcome::of(self.remove(key, job, &pods, counts).await),
            Step::Add(count) => vec![template::pod(job, view.wants); count],
            Step::AddIndexes(indexes) => indexes
                .into_iter()
                .map(|index| template::indexed(job, view.wants, index, this.awaiting.get(&index)))
                .collect(),
        };
        let (count, why) = (pods.len(), why_created(view.wants, this));
        let pods = Mutex::new(pods.into_iter());
        self.expectations.expect_creations(key, count);
        let (created, failure) = slow_start(count, || {
            let pod = pods.lock().unwrap_or_else(PoisonError::into_inner).next();
            async move {
                let Some(pod) = pod else { return Ok(()) };
                let result = self.control.create(job, &pod).await;
                let labels = [("reason", why), ("status", outcome(result.is_ok()))];
                METRICS.pods_created.get_or_create(&labels).inc();
                result
            }
        })
        .await;
        self.expectations.creations_observed(key, count - created);
        counts.active += created;
        Outcome::of(failure.filter(|error| !namespace_is_terminating(error)))
    }

    /// These pods are not needed, and whatever becomes of them does not count.
    async fn remove(&self, key: &Key, job: &Job, pods: &[Arc<Pod>], counts: &mut Counts) -> Option<Error> {
        self.expectations.expect_deletions(key, pods.iter().map(|pod| uid(pod).to_owned()));
        let removals = pods.iter().map(|pod| async {
            let result = match self.release(pod).await {
                Ok(_) => self.control.delete(job, pod).await,
                Err(error) => Err(error),
            };
            if result.is_err() {
                self.expectations.deletion_observed(key, uid(pod));
            }
            (result, is_ready(pod))
        });
        settle_deletions(join_all(removals).await, counts)
    }

    /// Writes the status, lets the counted pods go, and writes what follows from that.
    async fn track(
        &self,
        key: &Key,
        job: &Arc<Job>,
        view: &View<'_>,
        this: &Assessment,
        next: JobStatus,
    ) -> Result<(), Error> {
        let mut count = tracking::count(view, this, is_deleting(&job.metadata), next);
        let mut job = Arc::clone(job);
        if job.status.as_ref() != Some(&count.status) {
            job = Arc::new(self.write(&job, count.status).await?);
            self.failures().insert(key.clone(), this.failures);
        }
        let failure = self.release_all(key, &count.release, &mut count.tracked).await;
        let mut status = job.status.clone().unwrap_or_default();
        let (succeeded, failed) = tracking::settle(&mut status, &count.tracked);
        for (pods, is_success) in [(succeeded, true), (failed, false)] {
            let labels = [(MODE, view.wants.mode()), (RESULT, outcome(is_success))];
            METRICS.pods_finished.get_or_create(&labels).inc_by(u64::try_from(pods).unwrap_or(0));
        }
        let (now, terminating) = (clock::now(), status.terminating.unwrap_or(0));
        let verdict = this.verdict.as_ref().filter(|_| !count.is_partial && failure.is_none());
        let is_finished = verdict.is_some_and(|verdict| tracking::finish(&mut status, verdict, terminating, &now));
        if job.status.as_ref() != Some(&status) {
            self.write(&job, status).await?;
        }
        if is_finished && let Some(verdict) = verdict {
            self.tell_end(&job, view.wants, this, verdict);
        }
        failure.map_or(Ok(()), Err)
    }

    async fn write(&self, job: &Job, status: JobStatus) -> Result<Job, Error> {
        self.client.update_status(&Job { status: Some(status), ..job.clone() }).await
    }

    async fn release_all(&self, key: &Key, pods: &[Arc<Pod>], tracked: &mut HashSet<String>) -> Option<Error> {
        self.released.expect(key, pods.iter().map(|pod| uid(pod).to_owned()));
        let results = join_all(pods.iter().map(|pod| self.release(pod))).await;
        let mut failure = None;
        for (pod, result) in pods.iter().zip(results) {
            // Only of a pod that is still there will the cache show that it is released.
            if !matches!(result, Ok(true)) {
                self.released.observed(key, uid(pod));
            }
            match result {
                Ok(_) => {
                    tracked.remove(uid(pod));
                }
                Err(error) => failure = Some(error),
            }
        }
        failure
    }

    fn tell_end(&self, job: &Job, wants: Wants<'_>, this: &Assessment, verdict: &Verdict) {
        let (mode, result) = (wants.mode().to_owned(), outcome(verdict.is_success).to_owned());
        let labels = [(MODE, mode), (RESULT, result), ("reason", verdict.reason.clone())];
        METRICS.finished.get_or_create(&labels).inc();
        if !verdict.is_success {
            return self.recorder.event(job, Kind::Warning, &verdict.reason, verdict.message.clone());
        }
        if wants.completions().is_some_and(|completions| this.succeeded > completions) {
            let message = "Too many succeeded pods running after completion count reached";
            self.recorder.event(job, Kind::Warning, "TooManySucceededPods", message);
        }
        self.recorder.event(job, Kind::Normal, "Completed", "Job completed");
    }
}

/// Why pods are made, in the words of `job_pods_creation_total`.
fn why_created(wants: Wants<'_>, this: &Assessment) -> &'static str {
    if this.failed > 0 && wants.replaces_only_failed() {
        "recreate_failed"
    } else if this.failed > 0 || this.terminating > 0 {
        "recreate_terminating_or_failed"
    } else {
        "new"
    }
}

/// A pod that is gone already counts as deleted.
fn settle_deletions(deletions: Vec<(Result<(), Error>, bool)>, counts: &mut Counts) -> Option<Error> {
    let mut failure = None;
    for (result, was_ready) in deletions {
        match result {
            Err(error) if error.reason != Reason::NotFound => failure = Some(error),
            _ => {
                counts.active = counts.active.saturating_sub(1);
                counts.terminating += 1;
                counts.ready = counts.ready.saturating_sub(usize::from(was_ready));
            }
        }
    }
    failure
}
