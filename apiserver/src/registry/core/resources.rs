//! What containers ask for and may use. Source: `validateContainerResourceRequirements` in
//! `pkg/apis/core/validation/validation.go`, `pkg/apis/core/helper/helpers.go`.

use std::collections::BTreeMap;

use k8s_openapi::{api::core::v1::ResourceRequirements, apimachinery::pkg::api::resource::Quantity as Text};
use kubelab_api::{
    Quantity,
    field::{Errors, Path},
    name,
};

use crate::registry::validation::NEGATIVE;

/// Amounts by resource name.
pub type Amounts = BTreeMap<String, Text>;

/// Writes amounts in their canonical form, no finer than thousandths.
/// What is no quantity stays as it is: validation tells of it.
pub fn canonical(amounts: &mut Amounts) {
    for amount in amounts.values_mut() {
        if let Ok(parsed) = amount.0.parse::<Quantity>() {
            let coarse = Quantity::from_millis(parsed.milli_value());
            // Only amounts that thousandths cannot tell are rounded; large ones would not fit into thousandths.
            let finer = coarse > parsed && coarse - parsed < Quantity::from_millis(1);
            amount.0 = if finer { coarse.to_string() } else { parsed.to_string() };
        }
    }
}

/// Writes one amount in its canonical form.
pub fn canonical_amount(amount: &mut Text) {
    if let Ok(parsed) = amount.0.parse::<Quantity>() {
        amount.0 = parsed.to_string();
    }
}

/// Defaults of a container's resources.
pub fn default(resources: &mut ResourceRequirements) {
    [&mut resources.limits, &mut resources.requests].into_iter().flatten().for_each(canonical);
}

/// What has a limit and no request is requested up to the limit.
pub fn requests_from_limits(resources: &mut ResourceRequirements) {
    let Some(limits) = &resources.limits else { return };
    let requests = resources.requests.get_or_insert_default();
    for (name, limit) in limits {
        requests.entry(name.clone()).or_insert_with(|| limit.clone());
    }
}

/// A resource of Kubernetes itself, not an extended one.
pub fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

/// `hugepages-2Mi`.
pub fn is_huge_page(name: &str) -> bool {
    name.starts_with("hugepages-")
}

/// More of it may be promised than there is.
pub fn is_overcommittable(name: &str) -> bool {
    is_native(name) && !is_huge_page(name)
}

/// What a quantity is worth; an error if it is none or is negative.
pub fn quantity(text: &Text, path: &Path, errors: &mut Errors) -> Option<Quantity> {
    match text.0.parse::<Quantity>() {
        Ok(amount) => {
            if amount.signum() < 0 {
                errors.invalid(path, text.0.as_str(), NEGATIVE);
            }
            Some(amount)
        }
        Err(error) => {
            errors.invalid(path, text.0.as_str(), &error.to_string());
            None
        }
    }
}

/// What an amount of this resource is worth; an error if it is none, negative, or a share of what has no shares.
pub fn amount(name: &str, text: &Text, path: &Path, errors: &mut Errors) -> Option<Quantity> {
    let amount = quantity(text, path, errors)?;
    if (is_extended(name) || COUNTED.contains(&name)) && !amount.is_integer() {
        errors.invalid(path, text.0.as_str(), "must be an integer");
    }
    Some(amount)
}

/// What is counted and not measured. Source: `integerResources`.
pub const COUNTED: &[&str] = &[
    "pods",
    "services",
    "replicationcontrollers",
    "resourcequotas",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "services.nodeports",
    "services.loadbalancers",
];

/// Source: `IsExtendedResourceName`.
fn is_extended(name: &str) -> bool {
    !is_native(name) && !name.starts_with("requests.") && name::label_key(&format!("requests.{name}")).is_empty()
}

/// A name that Kubernetes knows, or one with a domain. Says whether it is one. Source: `validateResourceName`.
pub fn resource_name(name: &str, path: &Path, errors: &mut Errors) -> bool {
    let wrong = name::label_key(name);
    wrong.iter().for_each(|wrong| errors.invalid(path, name, wrong));
    if !wrong.is_empty() {
        return false;
    }
    let known = name.contains('/') || is_quota_resource(name) || matches!(name, "storage") || is_huge_page(name);
    if !known {
        errors.invalid(path, name, "must be a standard resource type or fully qualified");
    }
    known
}

/// What a quota can bound. Source: `standardQuotaResources`, and `requests.hugepages-…`.
pub fn is_quota_resource(name: &str) -> bool {
    const MEASURED: &[&str] = &[
        "cpu",
        "memory",
        "ephemeral-storage",
        "requests.cpu",
        "requests.memory",
        "requests.storage",
        "requests.ephemeral-storage",
        "limits.cpu",
        "limits.memory",
        "limits.ephemeral-storage",
    ];
    MEASURED.contains(&name) || COUNTED.contains(&name) || is_huge_page(name) || name.starts_with("requests.hugepages-")
}

/// What a container may ask for. Source: `validateContainerResourceName`.
pub fn container_resource_name(name: &str, path: &Path, errors: &mut Errors) {
    if !name.contains('/') {
        let is_name = name::label_key(name).is_empty();
        resource_name(name, path, errors);
        if is_name && !matches!(name, "cpu" | "memory" | "ephemeral-storage") && !is_huge_page(name) {
            errors.invalid(path, name, "must be a standard resource for containers");
        }
    } else if resource_name(name, path, errors) && !is_native(name) && !is_extended(name) {
        errors.invalid(path, name, "doesn't follow extended resource name standard");
    }
}

/// A page's amount is a multiple of its size. Source: `IsHugePageResourceValueDivisible`.
fn huge_page_amount(name: &str, amount: Quantity, path: &Path, errors: &mut Errors) {
    let Some(size) = name.strip_prefix("hugepages-") else { return };
    let size = size.parse::<Quantity>().map_or(0, Quantity::value);
    if size <= 0 || amount.value() % size != 0 {
        let detail = format!("{amount} is not positive integer multiple of {name}");
        errors.invalid(path, amount.to_string(), &detail);
    }
}

/// What is wrong with a container's resources.
pub fn validate(resources: &ResourceRequirements, path: &Path, errors: &mut Errors) {
    let (limits_path, requests_path) = (path.child("limits"), path.child("requests"));
    let limits = resources.limits.as_ref();
    let mut names: Vec<&str> = Vec::new();
    let mut limit_of = BTreeMap::new();
    for (name, text) in limits.into_iter().flatten() {
        let path = limits_path.key(name);
        container_resource_name(name, &path, errors);
        let limit = amount(name, text, &path, errors);
        if let Some(limit) = limit {
            huge_page_amount(name, limit, &path, errors);
        }
        limit_of.insert(name, limit);
        names.push(name);
    }
    for (name, text) in resources.requests.iter().flatten() {
        let path = requests_path.key(name);
        container_resource_name(name, &path, errors);
        let request = amount(name, text, &path, errors);
        names.push(name);
        match (request, limit_of.get(name)) {
            (Some(request), Some(Some(limit))) => {
                if request != *limit && !is_overcommittable(name) {
                    let detail = format!("must be equal to {name} limit of {limit}");
                    errors.invalid(&requests_path, text.0.as_str(), &detail);
                } else if request > *limit {
                    let detail = format!("must be less than or equal to {name} limit of {limit}");
                    errors.invalid(&requests_path, text.0.as_str(), &detail);
                }
            }
            (_, None) if !is_overcommittable(name) => {
                errors.required(&limits_path, "Limit must be set for non overcommitable resources");
            }
            _ => {}
        }
        if let Some(request) = request {
            huge_page_amount(name, request, &path, errors);
        }
    }
    if names.iter().any(|name| is_huge_page(name)) && !names.iter().any(|name| matches!(*name, "cpu" | "memory")) {
        errors.forbidden(path, "HugePages require cpu or memory");
    }
}
