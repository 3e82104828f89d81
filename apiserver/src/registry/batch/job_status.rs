//! What a job's status may say. Source: `validateJobStatus` and `getStatusValidationOptions`, which checks what changed.

use std::collections::BTreeSet;

use k8s_openapi::api::batch::v1::{Job, JobStatus};
use kubelab_api::field::{Errors, Path};

use super::policies::indexes;
use crate::registry::{
    cells::{list, text},
    validation::{json, nonnegative},
};

fn is(status: &JobStatus, kind: &str) -> bool {
    list(&status.conditions).iter().any(|condition| condition.type_ == kind && condition.status == "True")
}

/// What is wrong with this change of status.
pub(super) fn validate_update(new: &Job, old: &Job, errors: &mut Errors) {
    let none = JobStatus::default();
    let (status, before) = (new.status.as_ref().unwrap_or(&none), old.status.as_ref().unwrap_or(&none));
    let path = Path::new("status");
    for (field, count) in [
        ("active", status.active),
        ("succeeded", status.succeeded),
        ("failed", status.failed),
        ("ready", status.ready),
        ("terminating", status.terminating),
    ] {
        nonnegative(count, &path.child(field), errors);
    }
    uncounted(status, &path.child("uncountedTerminatedPods"), errors);
    conditions(new, status, before, &path, errors);
    times(status, before, &path, errors);
    counts(status, before, &path, errors);
    indexed(new, status, before, &path, errors);
}

fn uncounted(status: &JobStatus, path: &Path, errors: &mut Errors) {
    let Some(pods) = &status.uncounted_terminated_pods else { return };
    let mut seen = BTreeSet::new();
    for (field, uids) in [("succeeded", list(&pods.succeeded)), ("failed", list(&pods.failed))] {
        for (i, uid) in uids.iter().enumerate() {
            let path = path.child(field).index(i);
            if uid.is_empty() {
                errors.invalid(&path, "", "must not be empty");
            } else if !seen.insert(uid) {
                errors.duplicate(&path, uid.as_str());
            }
        }
    }
}

fn conditions(job: &Job, status: &JobStatus, before: &JobStatus, path: &Path, errors: &mut Errors) {
    let at = path.child("conditions");
    let (complete, failed) = (is(status, "Complete"), is(status, "Failed"));
    let (target, met) = (is(status, "FailureTarget"), is(status, "SuccessCriteriaMet"));
    let became = |kind: &str| is(status, kind) && !is(before, kind);
    let mut wrong = |is_wrong: bool, detail: &str| {
        if is_wrong {
            errors.invalid_unshown(&at, detail);
        }
    };
    let changed = ["Complete", "Failed", "FailureTarget", "SuccessCriteriaMet"].into_iter().any(became);
    wrong(changed && complete && failed, "cannot set Complete=True and Failed=true conditions");
    wrong(changed && complete && target, "cannot set Complete=True and FailureTarget=true conditions");
    let detail = "cannot set Failed=True condition without the FailureTarget=true condition";
    wrong(became("Failed") && !target, detail);
    let detail = "cannot set Complete=True condition without the SuccessCriteriaMet=true condition";
    wrong(became("Complete") && !met, detail);
    wrong(met && failed, "cannot set SuccessCriteriaMet=True and Failed=true conditions");
    wrong(met && target, "cannot set SuccessCriteriaMet=True and FailureTarget=true conditions");
    let policy = job.spec.as_ref().is_some_and(|spec| spec.success_policy.is_some());
    let detail = "cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True";
    wrong(policy && !met && complete, detail);
}

fn times(status: &JobStatus, before: &JobStatus, path: &Path, errors: &mut Errors) {
    let (complete, failed) = (is(status, "Complete"), is(status, "Failed"));
    let finished = complete || failed;
    let changed = finished != (is(before, "Complete") || is(before, "Failed"))
        || status.completion_time != before.completion_time
        || status.start_time != before.start_time;
    if !changed {
        return;
    }
    let at = path.child("completionTime");
    match &status.completion_time {
        Some(time) if !complete => {
            let detail = "cannot set completionTime when there is no Complete=True condition";
            errors.invalid(&at, json(time), detail);
        }
        None if complete => errors.required(&at, "completionTime is required for Complete jobs"),
        _ => {}
    }
    if let (Some(start), Some(end)) = (&status.start_time, &status.completion_time)
        && end.0 < start.0
    {
        errors.invalid(&at, json(end), "must be equal to or after `startTime`");
    }
    if status.start_time.is_none() && finished {
        errors.required(&path.child("startTime"), "startTime is required for finished job");
    }
}

fn counts(status: &JobStatus, before: &JobStatus, path: &Path, errors: &mut Errors) {
    let finished = |status: &JobStatus| is(status, "Complete") || is(status, "Failed");
    let became = finished(status) != finished(before);
    let active = status.active.unwrap_or_default();
    if finished(status) {
        if active > 0 && (became || status.active != before.active) {
            errors.invalid(&path.child("active"), active, "active>0 is invalid for finished job");
        }
        let terminating = status.terminating.unwrap_or_default();
        if terminating > 0 && (became || status.terminating != before.terminating) {
            errors.invalid(&path.child("terminating"), terminating, "terminating>0 is invalid for finished job");
        }
        let some = status.uncounted_terminated_pods.as_ref();
        let some = some.filter(|pods| !list(&pods.failed).is_empty() || !list(&pods.succeeded).is_empty());
        if let Some(pods) =
            some.filter(|_| became || status.uncounted_terminated_pods != before.uncounted_terminated_pods)
        {
            let path = path.child("uncountedTerminatedPods");
            errors.invalid(&path, json(pods), "must be empty for finished job");
        }
    }
    let changed = status.ready != before.ready || status.active != before.active;
    if let Some(ready) = status.ready.filter(|ready| changed && *ready > active) {
        errors.invalid(&path.child("ready"), ready, "cannot set more ready pods than active");
    }
}

fn indexed(job: &Job, status: &JobStatus, before: &JobStatus, path: &Path, errors: &mut Errors) {
    let Some(spec) = &job.spec else { return };
    let is_indexed = spec.completion_mode.as_deref() == Some("Indexed");
    let (done, failed) = (text(&status.completed_indexes), status.failed_indexes.as_deref());
    let at = path.child("completedIndexes");
    if status.completed_indexes != before.completed_indexes {
        if let Some(completions) = spec.completions.filter(|_| is_indexed)
            && let Err(wrong) = indexes(done, completions)
        {
            errors.invalid(&at, done, &format!("error parsing completedIndexes: {wrong}"));
        }
        if !done.is_empty() && !is_indexed {
            let detail = "cannot set non-empty completedIndexes when non-indexed completion mode";
            errors.invalid(&at, done, detail);
        }
    }
    let at = path.child("failedIndexes");
    let Some(failed) = failed.filter(|_| status.failed_indexes != before.failed_indexes) else { return };
    if spec.backoff_limit_per_index.is_none() {
        let detail = "cannot set non-null failedIndexes when backoffLimitPerIndex is null";
        errors.invalid(&at, failed, detail);
    } else if let Some(completions) = spec.completions
        && let Err(wrong) = indexes(failed, completions)
    {
        errors.invalid(&at, failed, &format!("error parsing failedIndexes: {wrong}"));
    }
}
