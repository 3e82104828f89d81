//! What a job asks for, and whether it has ended.

use k8s_openapi::api::batch::v1::{Job, JobCondition, JobSpec};

/// Types of job conditions.
pub mod condition {
    /// It ended well.
    pub const COMPLETE: &str = "Complete";
    /// It ended badly.
    pub const FAILED: &str = "Failed";
    /// It makes no pods for now.
    pub const SUSPENDED: &str = "Suspended";
    /// It is going to fail, once its pods are gone.
    pub const FAILURE_TARGET: &str = "FailureTarget";
    /// It is going to be complete, once its pods are gone.
    pub const SUCCESS_CRITERIA_MET: &str = "SuccessCriteriaMet";
}

/// The finalizer by which no pod of a job goes uncounted. Source: KEP-2307.
pub const TRACKING_FINALIZER: &str = "batch.kubernetes.io/job-tracking";
/// What `spec.managedBy` says where this loop is meant.
const CONTROLLER: &str = "kubernetes.io/job-controller";

/// What a job wants, each field with its default.
#[derive(Clone, Copy, Debug)]
pub struct Wants<'a>(pub &'a JobSpec);

impl<'a> Wants<'a> {
    /// Of this job; `None` where it has no spec, which the apiserver never lets through.
    pub fn of(job: &'a Job) -> Option<Self> {
        job.spec.as_ref().map(Self)
    }
    /// How many pods run at the same time.
    pub fn parallelism(self) -> i32 {
        self.0.parallelism.unwrap_or(1)
    }
    /// How many pods must succeed; `None` when one success tells of all.
    pub fn completions(self) -> Option<i32> {
        self.0.completions
    }
    /// How many pods may fail.
    pub fn backoff_limit(self) -> i32 {
        self.0.backoff_limit.unwrap_or(6)
    }
    /// Each pod has an index of its own below `completions`.
    pub fn is_indexed(self) -> bool {
        self.0.completion_mode.as_deref() == Some("Indexed")
    }
    /// Its mode, by name.
    pub fn mode(self) -> &'static str {
        if self.is_indexed() { "Indexed" } else { "NonIndexed" }
    }
    /// Its mode is one that this loop knows.
    pub fn is_understood(self) -> bool {
        matches!(self.0.completion_mode.as_deref(), None | Some("Indexed" | "NonIndexed"))
    }
    /// How often each index may fail, if the indexes fail each for itself.
    pub fn limit_per_index(self) -> Option<i32> {
        self.0.backoff_limit_per_index
    }
    /// It is to make no pods for now.
    pub fn is_suspended(self) -> bool {
        self.0.suspend == Some(true)
    }
    /// A pod is replaced when it has ended, not already when it is being deleted.
    pub fn replaces_only_failed(self) -> bool {
        self.0.pod_replacement_policy.as_deref() == Some("Failed") || self.0.pod_failure_policy.is_some()
    }
    /// An index is one that this job has.
    pub fn has_index(self, index: i32) -> bool {
        self.completions().is_some_and(|completions| (0..completions).contains(&index))
    }
}

/// Another controller looks after it. Source: KEP-4368.
pub fn is_managed_elsewhere(job: &Job) -> bool {
    let manager = job.spec.as_ref().and_then(|spec| spec.managed_by.as_deref());
    manager.is_some_and(|manager| manager != CONTROLLER)
}

/// The condition of a type, when it is true.
pub fn true_condition<'a>(job: &'a Job, kind: &str) -> Option<&'a JobCondition> {
    let conditions = job.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == kind && condition.status == "True")
}

/// It is complete or has failed: nothing about it will change. The condition that says so.
pub fn finished(job: &Job) -> Option<&JobCondition> {
    true_condition(job, condition::COMPLETE).or_else(|| true_condition(job, condition::FAILED))
}
