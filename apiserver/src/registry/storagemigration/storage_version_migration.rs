//! StorageVersionMigration. Source: `pkg/apis/storagemigration/validation/validation.go`,
//! `pkg/registry/storagemigration/storagemigration/strategy.go`, `printStorageVersionMigration`.

use jiff::Timestamp;
use k8s_openapi::{
    api::storagemigration::v1::StorageVersionMigration, apimachinery::pkg::apis::meta::v1::GroupResource,
};
use kubelab_api::{
    field::{Errors, Path},
    name,
};
use serde_json::Value;

use crate::registry::{
    cells::{self, NAME, cells, list, text},
    conditions,
    kind::{Column, Kind, column},
    status::spec_and_status,
    validation::{immutable, json},
};

/// StorageVersionMigration.
pub struct StorageVersionMigrationKind;

fn resource(migration: &StorageVersionMigration) -> GroupResource {
    migration.spec.as_ref().map(|spec| spec.resource.clone()).unwrap_or_default()
}

fn is(migration: &StorageVersionMigration, condition: &str) -> bool {
    let said = migration.status.as_ref().map_or(&[][..], |status| list(&status.conditions));
    said.iter().any(|said| said.type_ == condition && said.status == "True")
}

/// Its text is a number that a resourceVersion may be. Source: `k8s.io/apimachinery/pkg/util/resourceversion`.
fn is_version(text: &str) -> bool {
    !text.is_empty() && !text.starts_with('0') && text.bytes().all(|digit| digit.is_ascii_digit())
}

impl Kind for StorageVersionMigrationKind {
    type Object = StorageVersionMigration;

    const UNCONDITIONAL_UPDATE: bool = false;

    spec_and_status!();

    fn validate(migration: &StorageVersionMigration, errors: &mut Errors) {
        let (of, path) = (resource(migration), Path::new("spec").child("resource"));
        let at = path.child("resource");
        match name::dns1035_label(&of.resource) {
            _ if of.resource.is_empty() => errors.required(&at, "resource is required to be set"),
            wrong if wrong.is_empty() => {}
            wrong => errors.invalid(&at, of.resource, &wrong.join(",")),
        }
        let wrong = name::dns1123_subdomain(&of.group);
        if !of.group.is_empty() && !wrong.is_empty() {
            errors.invalid(&path.child("group"), of.group, &wrong.join(","));
        }
    }

    fn validate_update(new: &StorageVersionMigration, old: &StorageVersionMigration, errors: &mut Errors) {
        immutable(&new.spec, &old.spec, &Path::new("spec"), errors);
    }

    fn validate_status_update(new: &StorageVersionMigration, old: &StorageVersionMigration, errors: &mut Errors) {
        let version = |of: &StorageVersionMigration| {
            of.status.as_ref().map(|status| text(&status.resource_version).to_owned()).unwrap_or_default()
        };
        let (now, before, path) = (version(new), version(old), Path::new("status"));
        if !is_version(&now) {
            let detail = format!("resource version is not well formed: {now}");
            errors.invalid(&path.child("resourceVersion"), now.as_str(), &detail);
        }
        let path_of_conditions = path.child("conditions");
        let said = new.status.as_ref().map_or(&[][..], |status| list(&status.conditions));
        conditions::validate(said, &path_of_conditions, errors);
        if !before.is_empty() {
            immutable(&now, &before, &path.child("resourceVersion"), errors);
        }
        let (running, succeeded, failed) = (is(new, "Running"), is(new, "Succeeded"), is(new, "Failed"));
        for (wrong, detail) in [
            (succeeded && failed, "Both success and failed conditions cannot be true at the same time"),
            (succeeded && running, "Running condition cannot be true when success condition is true"),
            (failed && running, "Running condition cannot be true when failed condition is true"),
            (is(old, "Succeeded") && !succeeded, "Success condition cannot be set to false once it is true"),
            (is(old, "Failed") && !failed, "Failed condition cannot be set to false once it is true"),
        ] {
            if wrong {
                errors.invalid(&path_of_conditions, json(&said), detail);
            }
        }
    }

    const COLUMNS: &'static [Column] = &[NAME, column("Resource", "string")];

    fn cells(migration: &StorageVersionMigration, _now: Timestamp) -> Vec<Value> {
        let GroupResource { group, resource } = resource(migration);
        let of = if group.is_empty() { resource } else { format!("{resource}.{group}") };
        cells![cells::name(&migration.metadata), of]
    }
}
