//! When a job counts as failed, or as done. Source: `validatePodFailurePolicy` and `validateSuccessPolicy` in
//! `pkg/apis/batch/validation/validation.go`, KEP-3329 and KEP-3998.

use std::collections::BTreeSet;

use k8s_openapi::api::batch::v1::{
    JobSpec, PodFailurePolicyOnExitCodesRequirement, PodFailurePolicyRule, SuccessPolicyRule,
};
use kubelab_api::field::{Errors, Path};

use crate::registry::{
    cells::{list, text},
    validation::{json, label_key, nonnegative},
};

const MAX_RULES: usize = 20;
const MAX_CODES: usize = 255;
const MAX_CONDITIONS: usize = 20;
const MAX_INDEXES: usize = 64 * 1024;

/// As Go prints a list of texts.
fn quoted(values: &[&str]) -> String {
    let values: Vec<_> = values.iter().map(|value| format!("{value:?}")).collect();
    format!("valid values: [{}]", values.join(" "))
}

fn one_of(value: &str, allowed: &[&str], path: &Path, errors: &mut Errors) {
    if value.is_empty() {
        errors.required(path, &quoted(allowed));
    } else if !allowed.contains(&value) {
        errors.not_supported(path, value, allowed);
    }
}

/// What is wrong with the policy that reads failures.
pub(super) fn failure(spec: &JobSpec, path: &Path, errors: &mut Errors) {
    let Some(policy) = &spec.pod_failure_policy else { return };
    let path = path.child("rules");
    if policy.rules.len() > MAX_RULES {
        errors.too_many(&path, policy.rules.len(), MAX_RULES);
    }
    for (i, rule) in policy.rules.iter().enumerate() {
        failure_rule(rule, spec, &path.index(i), errors);
    }
}

fn failure_rule(rule: &PodFailurePolicyRule, spec: &JobSpec, path: &Path, errors: &mut Errors) {
    let at = path.child("action");
    if rule.action == "FailIndex" {
        if spec.backoff_limit_per_index.is_none() {
            errors.invalid(&at, "FailIndex", "requires the backoffLimitPerIndex to be set");
        }
    } else {
        one_of(&rule.action, &["Count", "FailIndex", "FailJob", "Ignore"], &at, errors);
    }
    let conditions = list(&rule.on_pod_conditions);
    if let Some(codes) = &rule.on_exit_codes {
        exit_codes(codes, spec, &path.child("onExitCodes"), errors);
    }
    let at = path.child("onPodConditions");
    if conditions.len() > MAX_CONDITIONS {
        errors.too_many(&at, conditions.len(), MAX_CONDITIONS);
    }
    for (i, pattern) in conditions.iter().enumerate() {
        let path = at.index(i);
        label_key(&pattern.type_, &path.child("type"), errors);
        let status = text(&pattern.status);
        one_of(status, &["False", "True", "Unknown"], &path.child("status"), errors);
    }
    match (&rule.on_exit_codes, conditions.is_empty()) {
        (Some(_), false) => {
            errors.invalid_unshown(path, "specifying both OnExitCodes and OnPodConditions is not supported");
        }
        (None, true) => {
            errors.invalid_unshown(path, "specifying one of OnExitCodes and OnPodConditions is required");
        }
        _ => {}
    }
}

fn exit_codes(codes: &PodFailurePolicyOnExitCodesRequirement, spec: &JobSpec, path: &Path, errors: &mut Errors) {
    one_of(&codes.operator, &["In", "NotIn"], &path.child("operator"), errors);
    if let Some(name) = &codes.container_name {
        let pod = spec.template.spec.as_ref();
        let all = pod.into_iter().flat_map(|pod| pod.containers.iter().chain(list(&pod.init_containers)));
        if !all.map(|container| &container.name).any(|known| known == name) {
            let detail = "must be one of the container or initContainer names in the pod template";
            errors.invalid(&path.child("containerName"), name.as_str(), detail);
        }
    }
    let path = path.child("values");
    let values = &codes.values;
    if values.is_empty() {
        errors.invalid(&path, json(values), "at least one value is required");
    } else if values.len() > MAX_CODES {
        errors.too_many(&path, values.len(), MAX_CODES);
    }
    let mut seen = BTreeSet::new();
    for (i, code) in values.iter().enumerate() {
        if codes.operator == "In" && *code == 0 {
            errors.invalid(&path.index(i), 0, "must not be 0 for the In operator");
        }
        if !seen.insert(code) {
            errors.duplicate(&path.index(i), *code);
        }
    }
    if !values.is_sorted() {
        errors.invalid(&path, json(values), "must be ordered");
    }
}

/// What is wrong with the policy that says when a job is done.
pub(super) fn success(spec: &JobSpec, path: &Path, errors: &mut Errors) {
    let Some(policy) = &spec.success_policy else { return };
    if spec.completion_mode.as_deref() != Some("Indexed") {
        return errors.invalid(path, json(policy), "requires indexed completion mode");
    }
    let path = path.child("rules");
    if policy.rules.is_empty() {
        errors.required(&path, "at least one rules must be specified when the successPolicy is specified");
    }
    if policy.rules.len() > MAX_RULES {
        errors.too_many(&path, policy.rules.len(), MAX_RULES);
    }
    for (i, rule) in policy.rules.iter().enumerate() {
        success_rule(rule, spec.completions.unwrap_or_default(), &path.index(i), errors);
    }
}

fn success_rule(rule: &SuccessPolicyRule, completions: i32, path: &Path, errors: &mut Errors) {
    if rule.succeeded_count.is_none() && rule.succeeded_indexes.is_none() {
        errors.required(path, "at least one of succeededCount or succeededIndexes must be specified");
    }
    let mut total = None;
    if let Some(said) = &rule.succeeded_indexes {
        let path = path.child("succeededIndexes");
        if said.len() > MAX_INDEXES {
            errors.too_long(&path, MAX_INDEXES);
        }
        match indexes(said, completions) {
            Ok(count) => total = Some(count),
            Err(wrong) => {
                total = Some(0);
                errors.invalid(&path, said.as_str(), &format!("error parsing succeededIndexes: {wrong}"));
            }
        }
    }
    let Some(count) = rule.succeeded_count else { return };
    let path = path.child("succeededCount");
    nonnegative(Some(count), &path, errors);
    if count > completions {
        let detail = format!("must be less than or equal to {completions} (the number of specified completions)");
        errors.invalid(&path, count, &detail);
    }
    if let Some(total) = total.filter(|total| count > *total) {
        let of = "the number of indexes in the specified succeededIndexes field";
        errors.invalid(&path, count, &format!("must be less than or equal to {total} ({of})"));
    }
}

/// How many indexes a text such as `0-2,5` means. Source: `validateIndexesFormat`.
pub(super) fn indexes(said: &str, completions: i32) -> Result<i32, String> {
    let number = |text: &str| -> Result<i32, String> {
        let number = text.parse().map_err(|_| format!("cannot convert string to integer for index: {text:?}"))?;
        if number >= completions { Err(format!("too large index: {text:?}")) } else { Ok(number) }
    };
    let increasing = |before: i32, now: i32| match before >= now {
        true => Err(format!("non-increasing order, previous: {before}, current: {now}")),
        false => Ok(()),
    };
    let (mut total, mut last) = (0, None);
    for part in said.split(',').filter(|_| !said.is_empty()) {
        let limits: Vec<_> = part.split('-').collect();
        let (first, end) = match limits[..] {
            [one] => (number(one)?, None),
            [first, end] => (number(first)?, Some(number(end)?)),
            _ => {
                let rule =
                    "violates the requirement that an index interval can have at most two parts separated by '-'";
                return Err(format!("the fragment {part:?} {rule}"));
            }
        };
        if let Some(end) = end {
            increasing(first, end)?;
        }
        if let Some(last) = last {
            increasing(last, first)?;
        }
        let end = end.unwrap_or(first);
        total += end - first + 1;
        last = Some(end);
    }
    Ok(total)
}
