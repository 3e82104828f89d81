//! Job. Source: `pkg/apis/batch/v1/defaults.go`, `pkg/apis/batch/validation/validation.go`,
//! `pkg/registry/batch/job/strategy.go`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::{
    api::{
        batch::v1::{Job, JobSpec, JobStatus},
        core::v1::PodTemplateSpec,
    },
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};
use kubelab_api::{
    field::{Errors, Path},
    selector::label::{self, Selector},
    well_known::label::{CONTROLLER_UID, CONTROLLER_UID_LEGACY, JOB_NAME, JOB_NAME_LEGACY},
};
use serde_json::Value;

use crate::registry::{
    cells::{self, AGE, CONTAINERS, IMAGES, NAME, SELECTOR, cells, list, template_containers, text},
    core::pod,
    defaults::{each, missing},
    kind::{Column, Kind, age, column, human_duration},
    validation::{choice, immutable, json, nonnegative},
};

/// Job.
pub struct JobKind;

/// Defaults of a job; a CronJob's template gets its when the jobs are made.
pub fn default_spec(spec: &mut JobSpec) {
    if spec.completions.is_none() && spec.parallelism.is_none() {
        spec.completions = Some(1);
    }
    missing(&mut spec.parallelism, 1);
    let limit = if spec.backoff_limit_per_index.is_some() { i32::MAX } else { 6 };
    missing(&mut spec.backoff_limit, limit);
    missing(&mut spec.completion_mode, "NonIndexed".into());
    missing(&mut spec.suspend, false);
    missing(&mut spec.manual_selector, false);
    let replacement = if spec.pod_failure_policy.is_some() { "Failed" } else { "TerminatingOrFailed" };
    missing(&mut spec.pod_replacement_policy, replacement.into());
    for rule in spec.pod_failure_policy.iter_mut().flat_map(|policy| &mut policy.rules) {
        for pattern in each(&mut rule.on_pod_conditions) {
            crate::registry::defaults::text(&mut pattern.status, "True");
        }
    }
}

/// What is wrong with a job's spec, without its selector.
pub fn validate_spec(spec: &JobSpec, path: &Path, errors: &mut Errors) {
    for (field, value) in [
        ("parallelism", spec.parallelism.map(i64::from)),
        ("completions", spec.completions.map(i64::from)),
        ("activeDeadlineSeconds", spec.active_deadline_seconds),
        ("backoffLimit", spec.backoff_limit.map(i64::from)),
        ("ttlSecondsAfterFinished", spec.ttl_seconds_after_finished.map(i64::from)),
        ("backoffLimitPerIndex", spec.backoff_limit_per_index.map(i64::from)),
        ("maxFailedIndexes", spec.max_failed_indexes.map(i64::from)),
    ] {
        nonnegative(value, &path.child(field), errors);
    }
    let indexed = spec.completion_mode.as_deref() == Some("Indexed");
    if let Some(mode) = &spec.completion_mode {
        choice(mode, &["NonIndexed", "Indexed"], &path.child("completionMode"), errors);
    }
    if indexed && spec.completions.is_none() {
        errors.required(&path.child("completions"), "when completion mode is Indexed");
    }
    if spec.backoff_limit_per_index.is_some() && !indexed {
        let detail = "requires indexed completion mode";
        errors.invalid(&path.child("backoffLimitPerIndex"), spec.backoff_limit_per_index, detail);
    }
    if let Some(policy) = &spec.pod_replacement_policy {
        let path = path.child("podReplacementPolicy");
        choice(policy, &["Failed", "TerminatingOrFailed"], &path, errors);
        if spec.pod_failure_policy.is_some() && policy != "Failed" {
            errors.not_supported(&path, policy, &["Failed"]);
        }
    }
    let template_path = path.child("template");
    pod::validation::template(&spec.template, &template_path, errors);
    let restart_path = template_path.child("spec").child("restartPolicy");
    match spec.template.spec.as_ref().map_or("", |spec| text(&spec.restart_policy)) {
        "Always" => errors.required(&restart_path, "valid values: \"OnFailure\", \"Never\""),
        "OnFailure" if spec.pod_failure_policy.is_some() => {
            let detail = "only \"Never\" is supported when podFailurePolicy is specified";
            errors.invalid(&restart_path, "OnFailure", detail);
        }
        "OnFailure" | "Never" => {}
        other => errors.not_supported(&restart_path, other, &["OnFailure", "Never"]),
    }
    for (i, rule) in spec.pod_failure_policy.iter().flat_map(|policy| &policy.rules).enumerate() {
        let path = path.child("podFailurePolicy").child("rules").index(i);
        let actions = ["Count", "FailIndex", "FailJob", "Ignore"];
        choice(&rule.action, &actions, &path.child("action"), errors);
        match (&rule.on_exit_codes, list(&rule.on_pod_conditions)) {
            (None, []) => {
                let detail = "specifying one of OnExitCodes and OnPodConditions is required";
                errors.invalid(&path, json(rule), detail);
            }
            (Some(_), [_, ..]) => {
                let detail = "specifying both OnExitCodes and OnPodConditions is not supported";
                errors.invalid(&path, json(rule), detail);
            }
            _ => {}
        }
    }
}

impl Kind for JobKind {
    type Object = Job;

    const ORPHANS_DEPENDENTS: bool = true;

    fn default(job: &mut Job) {
        let spec = job.spec.get_or_insert_default();
        default_spec(spec);
        pod::defaults::template(&mut spec.template);
        let labels = spec.template.metadata.as_ref().and_then(|meta| meta.labels.clone());
        if let Some(labels) = labels
            && job.metadata.labels.as_ref().is_none_or(BTreeMap::is_empty)
        {
            job.metadata.labels = Some(labels);
        }
    }

    fn prepare_create(job: &mut Job) {
        job.status = Some(JobStatus::default());
        let (name, uid) = (job.metadata.name.clone(), job.metadata.uid.clone());
        let (Some(spec), Some(name), Some(uid)) = (&mut job.spec, name, uid) else { return };
        if spec.manual_selector != Some(true) {
            select_own_pods(spec, &name, &uid);
        }
    }

    fn prepare_update(new: &mut Job, old: &Job) {
        new.status.clone_from(&old.status);
    }

    fn prepare_status_update(new: &mut Job, old: &Job) {
        new.spec.clone_from(&old.spec);
    }

    const GENERATION: bool = true;

    fn spec_changed(new: &Job, old: &Job) -> bool {
        new.spec != old.spec
    }

    fn validate(job: &Job, errors: &mut Errors) {
        let Some(spec) = &job.spec else { return };
        let path = Path::new("spec");
        match &spec.selector {
            None => errors.required(&path.child("selector"), ""),
            Some(selector) => {
                label::validate(selector, &path.child("selector"), errors);
                let labels = spec.template.metadata.as_ref().and_then(|meta| meta.labels.as_ref());
                let own = Selector::from_typed(Some(selector)).is_ok_and(|selector| selector.matches(labels));
                if !own {
                    let path = path.child("template").child("metadata").child("labels");
                    let labels = labels.map_or(Value::Null, json);
                    errors.invalid(&path, labels, "`selector` does not match template `labels`");
                }
            }
        }
        validate_spec(spec, &path, errors);
    }

    fn validate_update(new: &Job, old: &Job, errors: &mut Errors) {
        let (Some(new), Some(before)) = (&new.spec, &old.spec) else { return };
        let path = Path::new("spec");
        let elastic = new.completion_mode.as_deref() == Some("Indexed") && new.completions == new.parallelism;
        if !elastic {
            immutable(&new.completions, &before.completions, &path.child("completions"), errors);
        }
        immutable(&new.selector, &before.selector, &path.child("selector"), errors);
        let (mut template, started) =
            (new.template.clone(), old.status.as_ref().is_some_and(|status| status.start_time.is_some()));
        if before.suspend == Some(true) && !started {
            scheduling_directives(&mut template, &before.template);
        }
        immutable(&template, &before.template, &path.child("template"), errors);
        immutable(&new.completion_mode, &before.completion_mode, &path.child("completionMode"), errors);
        immutable(&new.pod_failure_policy, &before.pod_failure_policy, &path.child("podFailurePolicy"), errors);
        let per_index = &path.child("backoffLimitPerIndex");
        immutable(&new.backoff_limit_per_index, &before.backoff_limit_per_index, per_index, errors);
    }

    const COLUMNS: &'static [Column] = &[
        NAME,
        column("Status", "string"),
        column("Completions", "string"),
        column("Duration", "string"),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ];

    fn cells(job: &Job, now: Timestamp) -> Vec<Value> {
        let (no_spec, no_status) = Default::default();
        let spec = job.spec.as_ref().unwrap_or(&no_spec);
        let status = job.status.as_ref().unwrap_or(&no_status);
        let (names, images) = cells::containers(template_containers(&spec.template));
        let duration = status.start_time.as_ref().map(|start| {
            let end = status.completion_time.as_ref().map_or(now, |end| end.0);
            human_duration(end.duration_since(start.0))
        });
        cells![
            cells::name(&job.metadata),
            state(job),
            completions(spec, status),
            duration.unwrap_or_default(),
            age(&job.metadata, now),
            names,
            images,
            cells::selector(spec.selector.as_ref()),
        ]
    }

    fn fields(job: &Job) -> Vec<(&'static str, String)> {
        let succeeded = job.status.as_ref().and_then(|status| status.succeeded).unwrap_or_default();
        vec![("status.successful", succeeded.to_string())]
    }

    fn note(new: &Job, old: Option<&Job>) -> String {
        let succeeded = |job: &Job| job.status.as_ref().and_then(|status| status.succeeded).unwrap_or_default();
        let Some(old) = old else { return "created".into() };
        match (state(old), state(new)) {
            (before, after) if before != after => format!("{before} → {after}"),
            _ if succeeded(old) != succeeded(new) => format!("{} completions", succeeded(new)),
            _ => String::new(),
        }
    }
}

/// A job finds its pods by its own uid.
fn select_own_pods(spec: &mut JobSpec, name: &str, uid: &str) {
    let labels = spec.template.metadata.get_or_insert_default().labels.get_or_insert_default();
    for (key, value) in [(CONTROLLER_UID_LEGACY, uid), (CONTROLLER_UID, uid), (JOB_NAME_LEGACY, name), (JOB_NAME, name)]
    {
        labels.insert(key.into(), value.into());
    }
    let selector = spec.selector.get_or_insert_with(LabelSelector::default);
    selector.match_labels.get_or_insert_default().insert(CONTROLLER_UID.into(), uid.into());
}

/// What may change of the template while the job is suspended and has never run.
fn scheduling_directives(new: &mut PodTemplateSpec, old: &PodTemplateSpec) {
    new.metadata.clone_from(&old.metadata);
    if let (Some(new), Some(old)) = (&mut new.spec, &old.spec) {
        new.node_selector.clone_from(&old.node_selector);
        new.tolerations.clone_from(&old.tolerations);
        new.scheduling_gates.clone_from(&old.scheduling_gates);
        new.affinity.clone_from(&old.affinity);
    }
}

fn completions(spec: &JobSpec, status: &JobStatus) -> String {
    let succeeded = status.succeeded.unwrap_or_default();
    match (spec.completions, spec.parallelism.unwrap_or_default()) {
        (Some(completions), _) => format!("{succeeded}/{completions}"),
        (None, parallelism) if parallelism > 1 => format!("{succeeded}/1 of {parallelism}"),
        _ => format!("{succeeded}/1"),
    }
}

fn state(job: &Job) -> &'static str {
    let conditions = job.status.as_ref().map_or(&[][..], |status| list(&status.conditions));
    let has = |kind: &str| conditions.iter().any(|condition| condition.type_ == kind && condition.status == "True");
    match () {
        () if has("Complete") => "Complete",
        () if has("Failed") => "Failed",
        () if job.metadata.deletion_timestamp.is_some() => "Terminating",
        () if has("Suspended") => "Suspended",
        () if has("FailureTarget") => "FailureTarget",
        () if has("SuccessCriteriaMet") => "SuccessCriteriaMet",
        () => "Running",
    }
}
