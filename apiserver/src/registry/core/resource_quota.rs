//! ResourceQuota. Source: `pkg/apis/core/validation/validation.go`, `pkg/registry/core/resourcequota/strategy.go`.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ResourceQuota, ResourceQuotaStatus};
use kubelab_api::{
    field::{Errors, Path},
    name,
};
use serde_json::Value;

use crate::registry::{
    cells::{self, AGE, NAME, cells, list},
    core::resources,
    kind::{Column, Kind, age, column},
    status::spec_and_status,
    validation::{IMMUTABLE, form, json},
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
        for (name, amount) in spec.hard.iter().flatten() {
            let path = path.child("hard").key(name);
            form(name, name::label_key, &path, errors);
            let amount_of = resources::amount(name, amount, &path, errors);
            let counted = name.starts_with("count/") || COUNTED.contains(&name.as_str());
            if counted && amount_of.is_some_and(|amount| !amount.is_integer()) {
                errors.invalid(&path, amount.0.as_str(), "must be an integer");
            }
        }
        for scope in list(&spec.scopes) {
            if !SCOPES.contains(&scope.as_str()) {
                errors.invalid(&path.child("scopes"), json(&spec.scopes), "unsupported scope");
            }
        }
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

/// What is counted and not measured.
const COUNTED: &[&str] = &[
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
