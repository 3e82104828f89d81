//! How a job stands, by its status and its pods. Source: `syncJob` in Kubernetes' `job_controller.go`.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::{
    batch::v1::JobStatus,
    core::v1::{Pod, PodTemplateSpec},
};
use kubelab_api::pod::{is_active, is_ready, is_terminating, phase, restarts};

use super::{
    backoff::Failures,
    conditions::Verdict,
    indexes::Indexes,
    pod::{ended_at, failures_before, has_failed, has_succeeded, index, is_tracked, uid},
    policy::{self, Effect},
    spec::Wants,
};

/// What a job looks like when it is looked at.
pub struct View<'a> {
    /// What it wants.
    pub wants: Wants<'a>,
    /// What was said of it last, its start noted.
    pub status: &'a JobStatus,
    /// Its pods.
    pub pods: &'a [Arc<Pod>],
    /// Pods whose finalizer is removed, which the cache does not show yet.
    pub released: &'a HashSet<String>,
    /// The present.
    pub now: Timestamp,
}

/// How a job stands.
#[derive(Debug, Default)]
pub struct Assessment {
    /// The pods that run or will run.
    pub active: Vec<Arc<Pod>>,
    /// How many of them are ready.
    pub ready: i32,
    /// How many pods are being deleted and have not ended.
    pub terminating: i32,
    /// How many succeeded, counted or not.
    pub succeeded: i32,
    /// How many failed, counted or not.
    pub failed: i32,
    /// The indexes that the status calls completed.
    pub completed_before: Indexes,
    /// Those and what has succeeded since.
    pub completed: Indexes,
    /// The indexes that have failed for good, where indexes fail each for itself.
    pub failed_indexes: Option<Indexes>,
    /// The failed pod of each index that waits for its successor, which inherits its count of failures.
    pub awaiting: HashMap<i32, Arc<Pod>>,
    /// The failures since the last success.
    pub failures: Failures,
    /// How it ends, if it does.
    pub verdict: Option<Verdict>,
    /// When to look again at its deadline.
    pub deadline: Option<Duration>,
}

impl View<'_> {
    /// How the job stands, when these were its failures before.
    pub fn assess(&self, failures: Failures) -> Assessment {
        let uncounted = self.status.uncounted_terminated_pods.clone().unwrap_or_default();
        let (known_good, known_bad) = (uncounted.succeeded.unwrap_or_default(), uncounted.failed.unwrap_or_default());
        let new = |known: &[String], wanted: &dyn Fn(&Pod) -> bool| -> Vec<&Arc<Pod>> {
            let is_new = |pod: &&Arc<Pod>| {
                self.is_to_be_counted(pod) && !known.iter().any(|known| known == uid(pod)) && wanted(pod)
            };
            self.pods.iter().filter(is_new).collect()
        };
        let new_good = new(&known_good, &has_succeeded);
        let new_bad = new(&known_bad, &|pod| has_failed(pod, self.wants));
        let counts = |pod: &&&Arc<Pod>| policy::effect(self.wants, pod) != Effect::Ignore;
        let number = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);

        let active: Vec<_> = self.pods.iter().filter(|pod| is_active(pod)).cloned().collect();
        let mut this = Assessment {
            ready: number(active.iter().filter(|pod| is_ready(pod)).count()),
            active,
            terminating: number(self.pods.iter().filter(|pod| is_terminating(pod)).count()),
            succeeded: self.status.succeeded.unwrap_or(0) + number(new_good.len() + known_good.len()),
            failed: self.status.failed.unwrap_or(0) + number(new_bad.iter().filter(counts).count() + known_bad.len()),
            failures: failures.after(new_good.iter().map(|pod| &***pod), new_bad.iter().map(|pod| &***pod)),
            verdict: Verdict::told(self.status),
            ..Assessment::default()
        };
        self.judge(&mut this);
        if self.wants.is_indexed() {
            self.judge_indexes(&mut this);
        }
        this
    }

    /// It is a pod that the status does not cover yet.
    pub fn is_to_be_counted(&self, pod: &Pod) -> bool {
        is_tracked(pod) && !self.released.contains(uid(pod)) && (!self.wants.is_indexed() || self.index(pod).is_some())
    }

    /// A pod's index, if the job has such an index.
    pub fn index(&self, pod: &Pod) -> Option<i32> {
        index(pod).filter(|index| self.wants.has_index(*index))
    }

    fn judge(&self, this: &mut Assessment) {
        if this.verdict.is_some() {
            return;
        }
        let failing = |pod: &Arc<Pod>| match policy::effect(self.wants, pod) {
            Effect::FailJob(message) => Some(message),
            _ => None,
        };
        let mut failed = self.pods.iter().filter(|pod| has_failed(pod, self.wants));
        this.verdict =
            if let Some(message) = self.wants.0.pod_failure_policy.as_ref().and_then(|_| failed.find_map(failing)) {
                Some(Verdict::failure_policy(message))
            } else if this.failed > self.wants.backoff_limit() || self.restarts_too_often() {
                Some(Verdict::backoff_limit())
            } else {
                match self.until_deadline() {
                    Some(Duration::ZERO) => Some(Verdict::deadline()),
                    until => {
                        this.deadline = until;
                        None
                    }
                }
            };
    }

    /// Containers that are restarted within their pods count as well.
    fn restarts_too_often(&self) -> bool {
        let template: &PodTemplateSpec = &self.wants.0.template;
        if template.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref()) != Some("OnFailure") {
            return false;
        }
        let lives = |pod: &&Arc<Pod>| matches!(phase(pod), "Running" | "Pending");
        let restarts: i32 = self.pods.iter().filter(lives).map(|pod| restarts(pod)).sum();
        match self.wants.backoff_limit() {
            0 => restarts > 0,
            limit => restarts >= limit,
        }
    }

    fn until_deadline(&self) -> Option<Duration> {
        let allowed = SignedDuration::from_secs(self.wants.0.active_deadline_seconds?);
        let start = self.status.start_time.as_ref().filter(|_| !self.wants.is_suspended())?;
        Some(Duration::try_from(allowed - self.now.duration_since(start.0)).unwrap_or_default())
    }

    fn judge_indexes(&self, this: &mut Assessment) {
        let Some(completions) = self.wants.completions() else { return };
        let tracked = || self.pods.iter().filter(|pod| is_tracked(pod));
        let before = self.status.completed_indexes.as_deref().unwrap_or_default();
        this.completed_before = Indexes::parse(before, completions);
        let succeeded = tracked().filter(|pod| has_succeeded(pod)).filter_map(|pod| self.index(pod));
        this.completed = this.completed_before.with(succeeded);
        this.succeeded = this.completed.total();
        if let Some(limit) = self.wants.limit_per_index() {
            let before = self.status.failed_indexes.as_deref().unwrap_or_default();
            let failed = tracked().filter(|pod| self.fails_index(pod, limit)).filter_map(|pod| self.index(pod));
            let failed = Indexes::parse(before, completions).with(failed);
            if this.verdict.is_none() {
                if self.wants.0.max_failed_indexes.is_some_and(|most| failed.total() > most) {
                    this.verdict = Some(Verdict::max_failed_indexes());
                } else if !failed.is_empty() && failed.total() + this.completed.total() >= completions {
                    this.verdict = Some(Verdict::failed_indexes());
                }
            }
            this.awaiting = self.awaiting(this, &failed);
            this.failed_indexes = Some(failed);
        }
        if this.verdict.is_none() {
            this.verdict = policy::met_success_rule(self.wants, &this.completed).map(Verdict::success_policy);
        }
    }

    fn fails_index(&self, pod: &Pod, limit: i32) -> bool {
        has_failed(pod, self.wants)
            && match policy::effect(self.wants, pod) {
                Effect::FailIndex => true,
                Effect::Ignore => false,
                Effect::Count | Effect::FailJob(_) => failures_before(pod).0 >= limit,
            }
    }

    /// The last failed pod of each index that has neither ended nor a pod.
    fn awaiting(&self, this: &Assessment, failed: &Indexes) -> HashMap<i32, Arc<Pod>> {
        let settled = this.completed.and(failed).with(this.active.iter().filter_map(|pod| index(pod)));
        let order = |pod: &Pod| {
            let (counted, ignored) = failures_before(pod);
            (counted.saturating_add(ignored), ended_at(pod))
        };
        let mut awaiting: HashMap<i32, Arc<Pod>> = HashMap::new();
        for pod in self.pods.iter().filter(|pod| self.is_to_be_counted(pod) && has_failed(pod, self.wants)) {
            let Some(index) = self.index(pod).filter(|index| !settled.has(*index)) else { continue };
            if awaiting.get(&index).is_none_or(|other| order(other) <= order(pod)) {
                awaiting.insert(index, Arc::clone(pod));
            }
        }
        awaiting
    }
}
