//! How a job ends, and the conditions that tell of it. Source: `job_controller.go` in Kubernetes, whose reasons and
//! messages these are.

use k8s_openapi::{
    api::batch::v1::{JobCondition, JobStatus},
    apimachinery::pkg::apis::meta::v1::Time,
};

use super::spec::condition;

/// How a job ends. It is first told by a condition of its own, before the finalizers of its pods are removed, and made
/// final when all its pods are gone (KEP-3939).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// It is complete; otherwise it has failed.
    pub is_success: bool,
    /// Why.
    pub reason: String,
    /// Why, for people.
    pub message: String,
}

impl Verdict {
    fn new(is_success: bool, reason: &str, message: impl Into<String>) -> Self {
        Self { is_success, reason: reason.to_owned(), message: message.into() }
    }

    /// All wanted pods succeeded.
    pub fn completed() -> Self {
        Self::new(true, "CompletionsReached", "Reached expected number of succeeded pods")
    }
    /// The success policy is met by this rule.
    pub fn success_policy(rule: usize) -> Self {
        Self::new(true, "SuccessPolicy", format!("Matched rules at index {rule}"))
    }
    /// A rule of the failure policy says so.
    pub fn failure_policy(message: String) -> Self {
        Self::new(false, "PodFailurePolicy", message)
    }
    /// Too many pods failed.
    pub fn backoff_limit() -> Self {
        Self::new(false, "BackoffLimitExceeded", "Job has reached the specified backoff limit")
    }
    /// It took too long.
    pub fn deadline() -> Self {
        Self::new(false, "DeadlineExceeded", "Job was active longer than specified deadline")
    }
    /// Too many indexes failed.
    pub fn max_failed_indexes() -> Self {
        let message = "Job has exceeded the specified maximal number of failed indexes";
        Self::new(false, "MaxFailedIndexesExceeded", message)
    }
    /// All indexes have ended, and some failed.
    pub fn failed_indexes() -> Self {
        Self::new(false, "FailedIndexes", "Job has failed indexes")
    }

    /// What was decided before.
    pub fn told(status: &JobStatus) -> Option<Self> {
        let told = |kind: &str, is_success| {
            let is_true = |condition: &&JobCondition| condition.type_ == kind && condition.status == "True";
            let condition = status.conditions.iter().flatten().find(is_true)?;
            let text = |text: &Option<String>| text.clone().unwrap_or_default();
            Some(Self { is_success, reason: text(&condition.reason), message: text(&condition.message) })
        };
        told(condition::SUCCESS_CRITERIA_MET, true).or_else(|| told(condition::FAILURE_TARGET, false))
    }

    /// Tells what is decided, ahead of the end.
    pub fn tell(&self, status: &mut JobStatus, now: &Time) {
        if Self::told(status).is_none() {
            let kind = if self.is_success { condition::SUCCESS_CRITERIA_MET } else { condition::FAILURE_TARGET };
            set(status, kind, true, &self.reason, &self.message, now);
        }
    }

    /// Makes it final.
    pub fn enact(&self, status: &mut JobStatus, now: &Time) {
        let kind = if self.is_success { condition::COMPLETE } else { condition::FAILED };
        set(status, kind, true, &self.reason, &self.message, now);
        if self.is_success {
            status.completion_time = Some(now.clone());
        }
    }
}

/// Notes that the job is suspended or resumed. Says whether that is new. A job that never was suspended is not resumed.
pub fn set_suspended(status: &mut JobStatus, is_suspended: bool, now: &Time) -> bool {
    let (reason, message) =
        if is_suspended { ("JobSuspended", "Job suspended") } else { ("JobResumed", "Job resumed") };
    set(status, condition::SUSPENDED, is_suspended, reason, message, now)
}

fn set(status: &mut JobStatus, kind: &str, is_true: bool, reason: &str, message: &str, now: &Time) -> bool {
    let new = JobCondition {
        type_: kind.to_owned(),
        status: if is_true { "True" } else { "False" }.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_probe_time: Some(now.clone()),
        last_transition_time: Some(now.clone()),
    };
    let old = status.conditions.iter_mut().flatten().find(|condition| condition.type_ == kind);
    match old {
        Some(old) if old.status == new.status && old.reason == new.reason && old.message == new.message => false,
        Some(old) => {
            *old = new;
            true
        }
        None if !is_true => false,
        None => {
            status.conditions.get_or_insert_default().push(new);
            true
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn time(second: i64) -> Time {
        Time(jiff::Timestamp::from_second(second).unwrap())
    }

    fn conditions(status: &JobStatus) -> Vec<String> {
        let text = |condition: &JobCondition| format!("{}={}", condition.type_, condition.status);
        status.conditions.iter().flatten().map(text).collect()
    }

    #[test]
    fn an_end_is_told_and_then_made_final() {
        let mut status = JobStatus::default();
        assert_eq!(Verdict::told(&status), None);
        Verdict::backoff_limit().tell(&mut status, &time(1));
        Verdict::deadline().tell(&mut status, &time(2));
        assert_eq!(Verdict::told(&status), Some(Verdict::backoff_limit()), "the first stands");
        Verdict::backoff_limit().enact(&mut status, &time(3));
        assert_eq!(conditions(&status), ["FailureTarget=True", "Failed=True"]);
        assert_eq!(status.completion_time, None);

        let mut status = JobStatus::default();
        Verdict::completed().tell(&mut status, &time(1));
        Verdict::completed().enact(&mut status, &time(2));
        assert_eq!(conditions(&status), ["SuccessCriteriaMet=True", "Complete=True"]);
        assert_eq!(status.completion_time, Some(time(2)));
    }

    #[test]
    fn only_what_was_suspended_is_resumed() {
        let mut status = JobStatus::default();
        assert!(!set_suspended(&mut status, false, &time(1)));
        assert!(conditions(&status).is_empty());
        assert!(set_suspended(&mut status, true, &time(2)));
        assert!(!set_suspended(&mut status, true, &time(3)));
        assert!(set_suspended(&mut status, false, &time(4)));
        assert_eq!(conditions(&status), ["Suspended=False"]);
    }
}
