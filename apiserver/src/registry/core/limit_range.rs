//! LimitRange. Source: `pkg/apis/core/v1/defaults.go`, `pkg/apis/core/validation/validation.go`.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{LimitRange, LimitRangeItem};
use kubelab_api::{
    Quantity,
    field::{Errors, Path},
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
            if item.type_.is_empty() {
                errors.required(&path.child("type"), "");
            }
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

fn validate_item(item: &LimitRangeItem, path: &Path, errors: &mut Errors) {
    let fields =
        [("max", &item.max), ("min", &item.min), ("default", &item.default), ("defaultRequest", &item.default_request)];
    for (field, amounts) in fields {
        for (name, amount) in amounts.iter().flatten() {
            resources::amount(name, amount, &path.child(field).key(name), errors);
        }
    }
    if item.type_ == "Pod" {
        if item.default.is_some() {
            errors.forbidden(&path.child("default"), "may not be specified when `type` is 'Pod'");
        }
        if item.default_request.is_some() {
            errors.forbidden(&path.child("defaultRequest"), "may not be specified when `type` is 'Pod'");
        }
    }
    // Each of these may not be more than the other.
    let pairs = [
        (("min", &item.min, "min"), ("max", &item.max, "max")),
        (("defaultRequest", &item.default_request, "default request"), ("max", &item.max, "max")),
        (("default", &item.default, "default"), ("max", &item.max, "max")),
        (("defaultRequest", &item.default_request, "default request"), ("default", &item.default, "default limit")),
    ];
    for ((field, lower, lower_name), (_, upper, upper_name)) in pairs {
        for (name, low) in lower.iter().flatten() {
            let Some(high) = upper.as_ref().and_then(|upper| upper.get(name)) else { continue };
            let (Ok(low), Ok(high)) = (low.0.parse::<Quantity>(), high.0.parse::<Quantity>()) else { continue };
            if low > high {
                let detail = format!("{lower_name} value {low} is greater than {upper_name} value {high}");
                errors.invalid(&path.child(field).key(name), low.to_string(), &detail);
            }
        }
    }
}
