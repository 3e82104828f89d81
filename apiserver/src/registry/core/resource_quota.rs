//! ResourceQuota. Source: `pkg/apis/core/validation/validation.go`, `pkg/registry/core/resourcequota/strategy.go`.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    ResourceQuota, ResourceQuotaSpec, ResourceQuotaStatus, ScopedResourceSelectorRequirement,
};
use kubelab_api::field::{Errors, Path};
use serde_json::Value;

use crate::registry::{
    cells::{self, AGE, NAME, cells, list},
    core::resources::{self, Amounts},
    kind::{Column, Kind, age, column},
    status::spec_and_status,
    validation::{IMMUTABLE, json},
};

/// ResourceQuota.
pub struct ResourceQuotaKind;

const SCOPES: &[&str] = &[
    "BestEffort",
    "CrossNamespacePodAffinity",
    "NotBestEffort",
    "NotTerminating",
    "PriorityClass",
    "Terminating",
    "VolumeAttributesClass",
];

impl Kind for ResourceQuotaKind {
    type Object = ResourceQuota;

    const RETURNS_DELETED: bool = true;

    fn default(quota: &mut ResourceQuota) {
        quota.spec.iter_mut().filter_map(|spec| spec.hard.as_mut()).for_each(resources::canonical);
        if let Some(status) = &mut quota.status {
            [&mut status.hard, &mut status.used].into_iter().flatten().for_each(resources::canonical);
        }
    }

    spec_and_status!();

    fn validate(quota: &ResourceQuota, errors: &mut Errors) {
        let Some(spec) = &quota.spec else { return };
        let path = Path::new("spec");
        amounts(spec.hard.as_ref(), &path.child("hard"), errors);
        scopes(spec, &path.child("scopes"), errors);
        if let Some(selector) = &spec.scope_selector {
            let path = path.child("scopeSelector").child("matchExpressions");
            for requirement in list(&selector.match_expressions) {
                scope_requirement(requirement, spec, &path, errors);
            }
            let names: Vec<_> = list(&selector.match_expressions).iter().map(|one| one.scope_name.as_str()).collect();
            conflicts(&names, spec, &path, errors);
        }
    }

    fn validate_status_update(new: &ResourceQuota, _old: &ResourceQuota, errors: &mut Errors) {
        let Some(status) = &new.status else { return };
        let path = Path::new("status");
        amounts(status.hard.as_ref(), &path.child("hard"), errors);
        amounts(status.used.as_ref(), &path.child("used"), errors);
    }

    fn validate_update(new: &ResourceQuota, old: &ResourceQuota, errors: &mut Errors) {
        let scopes = |quota: &ResourceQuota| {
            let mut scopes = quota.spec.as_ref().map(|spec| list(&spec.scopes).to_vec()).unwrap_or_default();
            scopes.sort();
            scopes
        };
        if scopes(new) != scopes(old) {
            errors.invalid(&Path::new("spec").child("scopes"), json(&scopes(new)), IMMUTABLE);
        }
    }

    const COLUMNS: &'static [Column] = &[NAME, column("Request", "string"), column("Limit", "string"), AGE];

    fn cells(quota: &ResourceQuota, now: Timestamp) -> Vec<Value> {
        let none = ResourceQuotaStatus::default();
        let status = quota.status.as_ref().unwrap_or(&none);
        let (mut requests, mut limits) = (Vec::new(), Vec::new());
        for (name, hard) in status.hard.iter().flatten() {
            let used = status.used.as_ref().and_then(|used| used.get(name)).map_or("0", |used| used.0.as_str());
            let list = if name.starts_with("limits.") { &mut limits } else { &mut requests };
            list.push(format!("{name}: {used}/{}", hard.0));
        }
        cells![cells::name(&quota.metadata), requests.join(", "), limits.join(", "), age(&quota.metadata, now)]
    }
}

fn amounts(amounts: Option<&Amounts>, path: &Path, errors: &mut Errors) {
    for (name, amount) in amounts.into_iter().flatten() {
        let path = path.key(name);
        if resources::resource_name(name, &path, errors) && !name.contains('/') && !resources::is_quota_resource(name) {
            errors.invalid(&path, name.as_str(), "must be a standard resource for quota");
        }
        resources::amount(name, amount, &path, errors);
    }
}

/// Source: `IsResourceQuotaScopeValidForResource`.
fn fits(scope: &str, resource: &str) -> bool {
    let of_pods = matches!(
        resource,
        "pods"
            | "cpu"
            | "memory"
            | "ephemeral-storage"
            | "requests.cpu"
            | "requests.memory"
            | "requests.ephemeral-storage"
            | "limits.cpu"
            | "limits.memory"
            | "limits.ephemeral-storage"
    );
    match scope {
        "BestEffort" => resource == "pods",
        "Terminating" | "NotTerminating" | "NotBestEffort" | "PriorityClass" | "CrossNamespacePodAffinity" => {
            of_pods || resource.starts_with("hugepages-") || resource.starts_with("requests.hugepages-")
        }
        "VolumeAttributesClass" => matches!(resource, "persistentvolumeclaims" | "requests.storage"),
        _ => true,
    }
}

fn misfits(scope: &str, spec: &ResourceQuotaSpec) -> usize {
    let names = spec.hard.iter().flatten().map(|(name, _)| name.as_str());
    names.filter(|name| resources::is_quota_resource(name) && !fits(scope, name)).count()
}

/// Source: `validateResourceQuotaScopes`.
fn scopes(spec: &ResourceQuotaSpec, path: &Path, errors: &mut Errors) {
    let said = list(&spec.scopes);
    for scope in said {
        if !SCOPES.contains(&scope.as_str()) {
            errors.invalid(path, json(&said), "unsupported scope");
        }
        for _ in 0..misfits(scope, spec) {
            errors.invalid(path, json(&said), "unsupported scope applied to resource");
        }
    }
    let names: Vec<_> = said.iter().map(String::as_str).collect();
    conflicts(&names, spec, path, errors);
}

fn conflicts(names: &[&str], spec: &ResourceQuotaSpec, path: &Path, errors: &mut Errors) {
    for pair in [["BestEffort", "NotBestEffort"], ["NotTerminating", "Terminating"]] {
        if pair.iter().all(|scope| names.contains(scope)) {
            errors.invalid(path, json(&spec.scopes), "conflicting scopes");
        }
    }
}

/// Source: `validateScopedResourceSelectorRequirement`.
fn scope_requirement(
    requirement: &ScopedResourceSelectorRequirement,
    spec: &ResourceQuotaSpec,
    path: &Path,
    errors: &mut Errors,
) {
    const EXISTS: &str = "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, \
        ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or \
        ResourceQuotaScopeCrossNamespacePodAffinity";
    let (scope, operator) = (requirement.scope_name.as_str(), requirement.operator.as_str());
    if !SCOPES.contains(&scope) {
        errors.invalid(&path.child("scopeName"), scope, "unsupported scope");
    }
    for _ in 0..misfits(scope, spec) {
        errors.invalid(path, json(&spec.scope_selector), "unsupported scope applied to resource");
    }
    let plain =
        ["BestEffort", "NotBestEffort", "Terminating", "NotTerminating", "CrossNamespacePodAffinity"].contains(&scope);
    if plain && operator != "Exists" {
        errors.invalid(&path.child("operator"), operator, EXISTS);
    }
    let values = list(&requirement.values);
    match operator {
        "In" | "NotIn" if values.is_empty() => {
            let detail = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector";
            errors.required(&path.child("values"), detail);
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            let detail = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector";
            errors.invalid(&path.child("values"), json(&values), detail);
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
        other => errors.invalid(&path.child("operator"), other, "not a valid selector operator"),
    }
}
