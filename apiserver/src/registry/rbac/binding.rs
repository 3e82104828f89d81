//! What both kinds of bindings have in common. Source: `pkg/apis/rbac/v1/defaults.go`,
//! `pkg/apis/rbac/validation/validation.go`, `printRoleBinding`.

use jiff::Timestamp;
use k8s_openapi::{
    api::rbac::v1::{RoleRef, Subject},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kubelab_api::{
    field::{Errors, Path},
    name,
};
use serde_json::Value;

use super::GROUP;
use crate::registry::{
    cells::{self, AGE, NAME, cells, list, text},
    defaults::{self, each},
    kind::{Column, age, column, wide},
    validation::{form, json, required},
};

pub(super) const COLUMNS: &[Column] = &[
    NAME,
    column("Role", "string"),
    AGE,
    wide("Users", "string"),
    wide("Groups", "string"),
    wide("ServiceAccounts", "string"),
];

pub(super) fn default(role: &mut RoleRef, subjects: &mut Option<Vec<Subject>>) {
    defaults::text(&mut role.api_group, GROUP);
    for subject in each(subjects).filter(|subject| matches!(subject.kind.as_str(), "User" | "Group")) {
        defaults::text(&mut subject.api_group, GROUP);
    }
}

pub(super) fn validate(role: &RoleRef, subjects: &Option<Vec<Subject>>, kinds: &[&str], errors: &mut Errors) {
    let path = Path::new("roleRef");
    if text(&role.api_group) != GROUP {
        errors.not_supported(&path.child("apiGroup"), text(&role.api_group), &[GROUP]);
    }
    if !kinds.contains(&role.kind.as_str()) {
        errors.not_supported(&path.child("kind"), &role.kind, kinds);
    }
    match role.name.as_str() {
        "" => errors.required(&path.child("name"), ""),
        role => form(role, name::path_segment, &path.child("name"), errors),
    }
    for (i, subject) in list(subjects).iter().enumerate() {
        let path = Path::new("subjects").index(i);
        required(&subject.name, &path.child("name"), errors);
        match subject.kind.as_str() {
            "ServiceAccount" => {
                if !subject.name.is_empty() {
                    form(&subject.name, name::dns1123_subdomain, &path.child("name"), errors);
                }
                if !text(&subject.api_group).is_empty() {
                    errors.not_supported(&path.child("apiGroup"), text(&subject.api_group), &[""]);
                }
                required(text(&subject.namespace), &path.child("namespace"), errors);
            }
            "User" | "Group" => {
                if text(&subject.api_group) != GROUP {
                    errors.not_supported(&path.child("apiGroup"), text(&subject.api_group), &[GROUP]);
                }
            }
            other => errors.not_supported(&path.child("kind"), other, &["ServiceAccount", "User", "Group"]),
        }
    }
}

pub(super) fn validate_update(new: &RoleRef, old: &RoleRef, errors: &mut Errors) {
    if new != old {
        errors.invalid(&Path::new("roleRef"), json(new), "cannot change roleRef");
    }
}

pub(super) fn cells(meta: &ObjectMeta, role: &RoleRef, subjects: &Option<Vec<Subject>>, now: Timestamp) -> Vec<Value> {
    let of = |kind: &str| {
        let subjects = list(subjects).iter().filter(|subject| subject.kind == kind);
        let names = subjects.map(|subject| match kind {
            "ServiceAccount" => format!("{}/{}", text(&subject.namespace), subject.name),
            _ => subject.name.clone(),
        });
        names.collect::<Vec<_>>().join(", ")
    };
    cells![
        cells::name(meta),
        format!("{}/{}", role.kind, role.name),
        age(meta, now),
        of("User"),
        of("Group"),
        of("ServiceAccount"),
    ]
}
