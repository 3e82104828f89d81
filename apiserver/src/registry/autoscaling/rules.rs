//! What an autoscaler may look at, and how fast it may be. Source: `validateMetricSpec` and `validateScalingRules` in
//! `pkg/apis/autoscaling/validation/validation.go`.

use k8s_openapi::{
    api::autoscaling::v2::{CrossVersionObjectReference, HPAScalingRules, MetricIdentifier, MetricSpec, MetricTarget},
    apimachinery::pkg::api::resource::Quantity as Amount,
};
use kubelab_api::{
    Quantity,
    field::{Errors, Path},
    name,
    selector::label,
};

use crate::registry::{
    cells::list,
    core::resources,
    validation::{NOT_POSITIVE, choice, form, required_form},
};

const TYPES: &[&str] = &["ContainerResource", "External", "Object", "Pods", "Resource"];
/// As long may a period be.
const MAX_PERIOD_SECONDS: i32 = 1800;
/// As far may an autoscaler look back.
const MAX_WINDOW_SECONDS: i32 = 3600;

/// What an autoscaler points at.
pub(super) fn reference(reference: &CrossVersionObjectReference, path: &Path, errors: &mut Errors) {
    required_form(&reference.kind, name::path_segment, &path.child("kind"), errors);
    required_form(&reference.name, name::path_segment, &path.child("name"), errors);
}

/// One metric.
pub(super) fn metric(metric: &MetricSpec, path: &Path, errors: &mut Errors) {
    if metric.type_.is_empty() {
        errors.required(&path.child("type"), "must specify a metric source type");
    }
    if !TYPES.contains(&metric.type_.as_str()) {
        errors.not_supported(&path.child("type"), &metric.type_, TYPES);
    }
    let given = [
        ("Object", "object", metric.object.is_some()),
        ("External", "external", metric.external.is_some()),
        ("Pods", "pods", metric.pods.is_some()),
        ("Resource", "resource", metric.resource.is_some()),
        ("ContainerResource", "containerResource", metric.container_resource.is_some()),
    ];
    // Of several sources the first is looked at.
    match given.iter().find(|(_, _, given)| *given).map(|(_, field, _)| *field) {
        Some("object") => metric.object.iter().for_each(|source| {
            let path = path.child("object");
            reference(&source.described_object, &path.child("describedObject"), errors);
            identifier(&source.metric, &path.child("metric"), errors);
            let path = path.child("target");
            target(&source.target, &path, errors);
            if source.target.value.is_none() && source.target.average_value.is_none() {
                errors.required(&path.child("averageValue"), "must set either a target value or averageValue");
            }
        }),
        Some("external") => metric.external.iter().for_each(|source| {
            let path = path.child("external");
            identifier(&source.metric, &path.child("metric"), errors);
            let path = path.child("target");
            target(&source.target, &path, errors);
            match (&source.target.value, &source.target.average_value) {
                (None, None) => {
                    let detail = "must set either a target value for metric or a per-pod target";
                    errors.required(&path.child("averageValue"), detail);
                }
                (Some(_), Some(_)) => {
                    let detail = "may not set both a target value for metric and a per-pod target";
                    errors.forbidden(&path.child("value"), detail);
                }
                _ => {}
            }
        }),
        Some("pods") => metric.pods.iter().for_each(|source| {
            let path = path.child("pods");
            identifier(&source.metric, &path.child("metric"), errors);
            let path = path.child("target");
            target(&source.target, &path, errors);
            if source.target.average_value.is_none() {
                errors.required(&path.child("averageValue"), "must specify a positive target averageValue");
            }
        }),
        Some("resource") => metric.resource.iter().for_each(|source| {
            let path = path.child("resource");
            resource(&source.name, &path.child("name"), errors);
            usage(&source.target, &path.child("target"), errors);
        }),
        Some(_) => metric.container_resource.iter().for_each(|source| {
            let path = path.child("containerResource");
            resource(&source.name, &path.child("name"), errors);
            match source.container.as_str() {
                "" => errors.required(&path.child("container"), "must specify a container"),
                container => form(container, name::dns1123_label, &path.child("container"), errors),
            }
            usage(&source.target, &path.child("target"), errors);
        }),
        None => {}
    }
    let own = given.iter().find(|(kind, ..)| *kind == metric.type_);
    match own {
        Some((_, field, false)) => {
            errors.required(&path.child(field), "must populate information for the given metric source");
        }
        Some(_) => {}
        // Upstream says it twice.
        None => errors.not_supported(&path.child("type"), &metric.type_, TYPES),
    }
    for (_, field, _) in given.iter().filter(|(kind, _, given)| *given && *kind != metric.type_) {
        errors.forbidden(&path.child(field), "must populate the given metric source only");
    }
}

fn resource(said: &str, path: &Path, errors: &mut Errors) {
    match said {
        "" => errors.required(path, "must specify a resource name"),
        said => resources::container_resource_name(said, path, errors),
    }
}

fn identifier(metric: &MetricIdentifier, path: &Path, errors: &mut Errors) {
    match metric.name.as_str() {
        "" => errors.required(&path.child("name"), "must specify a metric name"),
        said => form(said, name::path_segment, &path.child("name"), errors),
    }
    if let Some(selector) = &metric.selector {
        label::validate(selector, &path.child("selector"), errors);
    }
}

fn usage(said: &MetricTarget, path: &Path, errors: &mut Errors) {
    target(said, path, errors);
    match (&said.average_utilization, &said.average_value) {
        (None, None) => {
            let detail = "must set either a target raw value or a target utilization";
            errors.required(&path.child("averageUtilization"), detail);
        }
        (Some(_), Some(_)) => {
            let detail = "may not set both a target raw value and a target utilization";
            errors.forbidden(&path.child("averageValue"), detail);
        }
        _ => {}
    }
}

/// Source: `validateMetricTarget`.
fn target(target: &MetricTarget, path: &Path, errors: &mut Errors) {
    let types = ["AverageValue", "Utilization", "Value"];
    match target.type_.as_str() {
        "" => errors.required(&path.child("type"), "must specify a metric target type"),
        said if !types.contains(&said) => {
            errors.invalid(&path.child("type"), said, "must be either Utilization, Value, or AverageValue");
        }
        _ => {}
    }
    let positive = |amount: &Option<Amount>, field: &str, errors: &mut Errors| {
        if let Some(amount) = amount
            && amount.0.parse::<Quantity>().is_ok_and(|amount| amount.signum() <= 0)
        {
            errors.invalid(&path.child(field), amount.0.as_str(), "must be positive");
        }
    };
    positive(&target.value, "value", errors);
    positive(&target.average_value, "averageValue", errors);
    if let Some(percent) = target.average_utilization.filter(|percent| *percent < 1) {
        errors.invalid(&path.child("averageUtilization"), percent, NOT_POSITIVE);
    }
}

/// How fast an autoscaler may scale in one direction.
pub(super) fn scaling(rules: &HPAScalingRules, path: &Path, errors: &mut Errors) {
    let at = path.child("stabilizationWindowSeconds");
    match rules.stabilization_window_seconds {
        Some(seconds) if seconds < 0 => errors.invalid(&at, seconds, "must be greater than or equal to zero"),
        Some(seconds) if seconds > MAX_WINDOW_SECONDS => {
            errors.invalid(&at, seconds, &format!("must be less than or equal to {MAX_WINDOW_SECONDS}"));
        }
        _ => {}
    }
    if let Some(policy) = &rules.select_policy {
        choice(policy, &["Disabled", "Max", "Min"], &path.child("selectPolicy"), errors);
    }
    let at = path.child("policies");
    let policies = list(&rules.policies);
    if policies.is_empty() {
        errors.required(&at, "must specify at least one Policy");
    }
    for (i, policy) in policies.iter().enumerate() {
        let path = at.index(i);
        choice(&policy.type_, &["Percent", "Pods"], &path.child("type"), errors);
        let more = "must be greater than zero";
        if policy.value <= 0 {
            errors.invalid(&path.child("value"), policy.value, more);
        }
        let at = path.child("periodSeconds");
        if policy.period_seconds <= 0 {
            errors.invalid(&at, policy.period_seconds, more);
        }
        if policy.period_seconds > MAX_PERIOD_SECONDS {
            let detail = format!("must be less than or equal to {MAX_PERIOD_SECONDS}");
            errors.invalid(&at, policy.period_seconds, &detail);
        }
    }
    if let Some(tolerance) = &rules.tolerance
        && tolerance.0.parse::<Quantity>().is_ok_and(|tolerance| tolerance.signum() < 0)
    {
        errors.invalid(&path.child("tolerance"), tolerance.0.as_str(), "must be greater or equal to zero");
    }
}
