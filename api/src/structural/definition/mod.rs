//! What may be wrong with a schema itself.
//!
//! | module | what it is about |
//! | --- | --- |
//! | [`openapi`] | what OpenAPI has and Kubernetes does not, and what belongs together |
//! | [`structure`] | every field has its type outside of value validation |
//! | [`defaults`] | a default is a valid value |
//! | [`field_path`] | paths of fields that a schema knows |
//!
//! Source: `apis/apiextensions/validation/validation.go` and `apiserver/schema/validation.go`.

pub mod defaults;
pub mod field_path;
pub mod openapi;
pub mod structure;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{Schema, pattern::compile};
use crate::field::{Errors, Path};

/// Checks the metadata of a default for an embedded object.
pub type CheckMetadata<'a> = &'a dyn Fn(&ObjectMeta, &Path, &mut Errors);

/// What is wrong with the schema of a version. Rules in CEL are looked at as far as their form goes; the answer says
/// whether they may be compiled.
pub fn validate(
    props: &JSONSchemaProps,
    has_status: bool,
    path: &Path,
    check: CheckMetadata,
    errors: &mut Errors,
) -> bool {
    let before = errors.0.len();
    let path = path.child("openAPIV3Schema");
    if has_status {
        openapi::validate_root(props, &path, errors);
    }
    if props.nullable == Some(true) {
        errors.forbidden(&path.child("nullable"), "nullable cannot be true at the root");
    }
    if !openapi::is_convertible(props) {
        openapi::validate(props, &path, errors);
        return false;
    }
    let mut structural = Errors::default();
    structure::validate(props, &path, &mut structural);
    structural.0.sort_by_key(ToString::to_string);
    if structural.is_empty() {
        defaults::validate(&Schema::new(props), &path, check, errors);
    }
    errors.0.extend(structural.0);
    openapi::validate(props, &path, errors);
    errors.0.len() == before
}

fn check_pattern(pattern: &str, path: &Path, errors: &mut Errors) {
    if let Err(why) = compile(pattern) {
        let detail = format!("must be a valid regular expression, but isn't: {why}");
        errors.invalid(&path.child("pattern"), pattern, &detail);
    }
}

#[cfg(test)]
mod tests;
