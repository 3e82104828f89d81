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
    name,
    selector::label::{self, Selector},
    well_known::label::{CONTROLLER_UID, CONTROLLER_UID_LEGACY, JOB_NAME, JOB_NAME_LEGACY},
};
use serde_json::Value;

use super::{job_status, policies};
use crate::registry::{
    apps::workload,
    cells::{self, AGE, CONTAINERS, IMAGES, NAME, SELECTOR, cells, list, template_containers, text},
    core::pod,
    defaults::{each, missing},
    kind::{Column, Kind, age, column, human_duration},
    validation::{choice, domain_prefixed_path, immutable, json, nonnegative},
};

/// Job.
pub struct JobKind;

/// Drops fields that are alpha in v1.37 and off by default. Source: `dropDisabledFields` in
/// `pkg/registry/batch/job/strategy.go`.
pub fn drop_disabled(spec: &mut JobSpec) {
    spec.scheduling = None;
}

/// Defaults of a job; a CronJob's template gets its when the jobs are made.
pub fn default_spec(spec: &mut JobSpec) {
    drop_disabled(spec);
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

/// So many pods may an indexed job run at a time.
const MAX_PARALLELISM: i32 = 100_000;
/// So many indexes may fail.
const MAX_FAILED: i32 = 100_000;
/// With more completions than this, other limits are lower.
const MANY: i32 = 100_000;
/// The lower limit.
const FEWER: i32 = 10_000;
/// As long may the name of the job's controller be.
const MAX_MANAGED_BY: usize = 63;

/// What is wrong with a job's spec, without its selector. Source: `validateJobSpec`.
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
    if spec.max_failed_indexes.is_some() && spec.backoff_limit_per_index.is_none() {
        errors.required(&path.child("backoffLimitPerIndex"), "when maxFailedIndexes is specified");
    }
    if let Some(manager) = &spec.managed_by {
        domain_prefixed_path(manager, &path.child("managedBy"), errors);
        if manager.len() > MAX_MANAGED_BY {
            errors.too_long(&path.child("managedBy"), MAX_MANAGED_BY);
        }
    }
    if let Some(mode) = &spec.completion_mode {
        choice(mode, &["NonIndexed", "Indexed"], &path.child("completionMode"), errors);
    }
    match spec.completion_mode.as_deref() {
        Some("Indexed") => indexed(spec, path, errors),
        None | Some("NonIndexed") => {
            for (field, value) in
                [("backoffLimitPerIndex", spec.backoff_limit_per_index), ("maxFailedIndexes", spec.max_failed_indexes)]
            {
                if let Some(value) = value {
                    errors.invalid(&path.child(field), value, "requires indexed completion mode");
                }
            }
        }
        Some(_) => {}
    }
    policies::failure(spec, &path.child("podFailurePolicy"), errors);
    policies::success(spec, &path.child("successPolicy"), errors);
    if let Some(policy) = &spec.pod_replacement_policy {
        let allowed =
            if spec.pod_failure_policy.is_some() { &["Failed"][..] } else { &["Failed", "TerminatingOrFailed"] };
        choice(policy, allowed, &path.child("podReplacementPolicy"), errors);
    }
    let template_path = path.child("template");
    pod::validation::template(&spec.template, &template_path, errors);
    let restart_path = template_path.child("spec").child("restartPolicy");
    match spec.template.spec.as_ref().map_or("", |spec| text(&spec.restart_policy)) {
        "Always" | "" => errors.required(&restart_path, "valid values: \"OnFailure\", \"Never\""),
        "OnFailure" if spec.pod_failure_policy.is_some() => {
            let detail = "only \"Never\" is supported when podFailurePolicy is specified";
            errors.invalid(&restart_path, "OnFailure", detail);
        }
        "OnFailure" | "Never" => {}
        other => errors.not_supported(&restart_path, other, &["OnFailure", "Never"]),
    }
}

fn indexed(spec: &JobSpec, path: &Path, errors: &mut Errors) {
    let (completions, parallelism, failed) = (spec.completions, spec.parallelism, spec.max_failed_indexes);
    if completions.is_none() {
        errors.required(&path.child("completions"), "when completion mode is Indexed");
    }
    let at_most = |value: Option<i32>, limit: i32, field: &str, when: &str, errors: &mut Errors| {
        if let Some(value) = value.filter(|value| *value > limit) {
            errors.invalid(&path.child(field), value, &format!("must be less than or equal to {limit}{when}"));
        }
    };
    at_most(parallelism, MAX_PARALLELISM, "parallelism", " when completion mode is Indexed", errors);
    if let (Some(completions), Some(failed)) = (completions, failed)
        && failed > completions
    {
        errors.invalid(&path.child("maxFailedIndexes"), failed, "must be less than or equal to completions");
    }
    at_most(failed, MAX_FAILED, "maxFailedIndexes", "", errors);
    if completions.is_some_and(|completions| completions > MANY) && spec.backoff_limit_per_index.is_some() {
        if failed.is_none() {
            let detail = format!("must be specified when completions is above {MANY}");
            errors.required(&path.child("maxFailedIndexes"), &detail);
        }
        let when = format!(" when completions are above {MANY} and used with backoff limit per index");
        at_most(parallelism, FEWER, "parallelism", &when, errors);
        at_most(failed, FEWER, "maxFailedIndexes", &when, errors);
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

    fn validate_create(job: &Job, errors: &mut Errors) {
        let Some(spec) = &job.spec else { return };
        generated_selector(job, spec, errors);
        let indexed = spec.completion_mode.as_deref() == Some("Indexed");
        if let Some(completions) = spec.completions.filter(|completions| indexed && *completions > 0) {
            let own = cells::name(&job.metadata);
            let host = format!("{own}-{}", completions - 1);
            if !name::dns1123_label(&host).is_empty() {
                let detail = format!("will not able to create pod with invalid DNS label: {host}");
                errors.invalid(&Path::new("metadata").child("name"), own, &detail);
            }
        }
    }

    fn validate_status_update(new: &Job, old: &Job, errors: &mut Errors) {
        job_status::validate_update(new, old, errors);
    }

    fn warnings(job: &Job) -> Vec<String> {
        workload::create_warnings(&job.metadata, job.spec.as_ref().map(|spec| &spec.template))
    }

    fn update_warnings(new: &Job, old: &Job) -> Vec<String> {
        let template = |job: &Job| job.spec.as_ref().map(|spec| spec.template.clone());
        workload::update_warnings(template(new).as_ref(), template(old).as_ref())
    }

    fn validate_update(new: &Job, old: &Job, errors: &mut Errors) {
        let (Some(new), Some(before)) = (&new.spec, &old.spec) else { return };
        let path = Path::new("spec");
        let at = path.child("completions");
        match new.completions {
            _ if new.completion_mode.as_deref() != Some("Indexed") => {
                immutable(&new.completions, &before.completions, &at, errors);
            }
            // An indexed job grows and shrinks. Source: KEP-3715.
            Some(completions) if new.completions != before.completions && new.completions != new.parallelism => {
                errors.invalid(&at, completions, "can only be modified in tandem with spec.parallelism");
            }
            _ => {}
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
        immutable(&new.managed_by, &before.managed_by, &path.child("managedBy"), errors);
        immutable(&new.success_policy, &before.success_policy, &path.child("successPolicy"), errors);
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
        // What a user said instead is refused by validation.
        labels.entry(key.into()).or_insert_with(|| value.into());
    }
    let selector = spec.selector.get_or_insert_with(LabelSelector::default);
    selector.match_labels.get_or_insert_default().entry(CONTROLLER_UID.into()).or_insert_with(|| uid.into());
}

/// Source: `validateGeneratedSelector`.
fn generated_selector(job: &Job, spec: &JobSpec, errors: &mut Errors) {
    let Some(selector) = spec.selector.as_ref().filter(|_| spec.manual_selector != Some(true)) else { return };
    let (name, uid) = (cells::name(&job.metadata), text(&job.metadata.uid));
    let labels = spec.template.metadata.as_ref().and_then(|meta| meta.labels.clone()).unwrap_or_default();
    let path = Path::new("spec").child("template").child("metadata").child("labels");
    let mut own = BTreeMap::new();
    for (key, value) in [(CONTROLLER_UID_LEGACY, uid), (JOB_NAME_LEGACY, name), (CONTROLLER_UID, uid), (JOB_NAME, name)]
    {
        own.insert(key.to_owned(), value.to_owned());
        let detail = format!("must be '{value}'");
        match labels.get(key) {
            None => errors.required(&path.key(key), &detail),
            Some(said) if said != value => errors.invalid(&path.key(key), json(&labels), &detail),
            Some(_) => {}
        }
    }
    if Selector::from_typed(Some(selector)).is_ok_and(|parsed| !parsed.matches(Some(&own))) {
        errors.invalid(&Path::new("spec").child("selector"), json(selector), "`selector` not auto-generated");
    }
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
