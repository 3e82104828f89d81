//! LimitRange. Source: `pkg/apis/core/v1/defaults.go`, `pkg/apis/core/validation/validation.go`.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{LimitRange, LimitRangeItem};
use kubelab_api::{
    Quantity,
    field::{Errors, Path},
    name,
};
use serde_json::Value;

use crate::registry::{
    cells::{self, CREATED_AT, NAME, cells, created_at},
    core::resources::{self, Amounts},
    kind::{Column, Kind},
};

/// LimitRange.
pub struct LimitRangeKind;

impl Kind for LimitRangeKind {
    type Object = LimitRange;

    const CREATE_ON_UPDATE: bool = true;

    fn default(range: &mut LimitRange) {
        range.spec.iter_mut().flat_map(|spec| &mut spec.limits).for_each(default_item);
    }

    fn validate(range: &LimitRange, errors: &mut Errors) {
        let mut types = BTreeSet::new();
        for (i, item) in range.spec.iter().flat_map(|spec| &spec.limits).enumerate() {
            let path = Path::new("spec").child("limits").index(i);
            limit_type(&item.type_, &path.child("type"), errors);
            if !types.insert(&item.type_) {
                errors.duplicate(&path.child("type"), item.type_.as_str());
            }
            validate_item(item, &path, errors);
        }
    }

    const COLUMNS: &'static [Column] = &[NAME, CREATED_AT];

    fn cells(range: &LimitRange, _now: Timestamp) -> Vec<Value> {
        cells![cells::name(&range.metadata), created_at(&range.metadata)]
    }
}

fn default_item(item: &mut LimitRangeItem) {
    let given = [&mut item.max, &mut item.min, &mut item.default, &mut item.default_request];
    given.into_iter().flatten().for_each(resources::canonical);
    item.max_limit_request_ratio.iter_mut().for_each(resources::canonical);
    if item.type_ != "Container" {
        return;
    }
    let fill = |target: &mut Amounts, source: &Option<Amounts>| {
        for (name, amount) in source.iter().flatten() {
            target.entry(name.clone()).or_insert_with(|| amount.clone());
        }
    };
    let mut limits = item.default.take().unwrap_or_default();
    fill(&mut limits, &item.max);
    let mut requests = item.default_request.take().unwrap_or_default();
    let limits = (!limits.is_empty()).then_some(limits);
    fill(&mut requests, &limits);
    fill(&mut requests, &item.min);
    item.default = limits;
    item.default_request = (!requests.is_empty()).then_some(requests);
}

/// Source: `validateLimitRangeTypeName`.
fn limit_type(kind: &str, path: &Path, errors: &mut Errors) {
    let wrong = name::label_key(kind);
    wrong.iter().for_each(|wrong| errors.invalid(path, kind, wrong));
    let standard = ["Pod", "Container", "PersistentVolumeClaim"];
    if wrong.is_empty() && !kind.contains('/') && !standard.contains(&kind) {
        errors.invalid(path, kind, "must be a standard limit type or fully qualified");
    }
}

fn validate_item(item: &LimitRangeItem, path: &Path, errors: &mut Errors) {
    let in_pod = item.type_ == "Pod";
    let fields = [
        ("max", &item.max, true),
        ("min", &item.min, true),
        ("default", &item.default, !in_pod),
        ("defaultRequest", &item.default_request, !in_pod),
        ("maxLimitRequestRatio", &item.max_limit_request_ratio, true),
    ];
    for (field, amounts, allowed) in fields {
        if !allowed && amounts.as_ref().is_some_and(|amounts| !amounts.is_empty()) {
            errors.forbidden(&path.child(field), "may not be specified when `type` is 'Pod'");
        }
        for name in amounts.iter().flatten().map(|(name, _)| name).filter(|_| allowed) {
            let path = path.child(field).key(name);
            match item.type_.as_str() {
                "Pod" | "Container" => resources::container_resource_name(name, &path, errors),
                _ => drop(resources::resource_name(name, &path, errors)),
            }
        }
    }
    let has_storage = |amounts: &Option<Amounts>| amounts.as_ref().is_some_and(|all| all.contains_key("storage"));
    if item.type_ == "PersistentVolumeClaim" && !has_storage(&item.min) && !has_storage(&item.max) {
        let detail = "either minimum or maximum storage value is required, but neither was provided";
        errors.required(&path.child("limits"), detail);
    }
    let names: BTreeSet<_> = fields.iter().flat_map(|(_, all, _)| all.iter().flatten()).map(|(name, _)| name).collect();
    for name in names {
        compare(item, name, path, errors);
    }
}

/// How the amounts of one resource must relate to each other.
fn compare(item: &LimitRangeItem, name: &str, path: &Path, errors: &mut Errors) {
    let of = |amounts: &Option<Amounts>| amounts.as_ref()?.get(name)?.0.parse::<Quantity>().ok();
    let (min, max, ratio) = (of(&item.min), of(&item.max), of(&item.max_limit_request_ratio));
    let in_pod = item.type_ == "Pod";
    let default = of(&item.default).filter(|_| !in_pod);
    let request = of(&item.default_request).filter(|_| !in_pod);
    // Which may not be more than which, on which field it is reported, and which of the two is shown.
    let pairs = [
        (min, max, "min", "min value", "max value", true),
        (min, request, "defaultRequest", "min value", "default request value", false),
        (request, max, "defaultRequest", "default request value", "max value", true),
        (request, default, "defaultRequest", "default request value", "default limit value", true),
        (min, default, "default", "min value", "default value", true),
        (default, max, "default", "default value", "max value", false),
    ];
    for (lower, upper, field, lower_name, upper_name, shows_lower) in pairs {
        if let (Some(low), Some(high)) = (lower, upper)
            && low > high
        {
            let detail = format!("{lower_name} {low} is greater than {upper_name} {high}");
            let shown = if shows_lower { low } else { high };
            errors.invalid(&path.child(field).key(name), shown.to_string(), &detail);
        }
    }
    let at = path.child("maxLimitRequestRatio").key(name);
    if let Some(ratio) = ratio {
        if ratio < Quantity::from_millis(1000) {
            errors.invalid(&at, ratio.to_string(), &format!("ratio {ratio} is less than 1"));
        }
        if let (Some(min), Some(max)) = (min, max) {
            let most = max.as_f64() / min.as_f64();
            if ratio.as_f64() > most {
                let detail = format!("ratio {ratio} is greater than max/min = {most:.6}");
                errors.invalid(&at, ratio.to_string(), &detail);
            }
        }
    }
    if let (Some(default), Some(request)) = (default, request)
        && !resources::is_overcommittable(name)
        && default != request
    {
        let detail = format!("default value {default} must equal to defaultRequest value {request} in {name}");
        errors.invalid(&path.child("defaultRequest").key(name), request.to_string(), &detail);
    }
}
