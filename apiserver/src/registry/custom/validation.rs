//! What may be wrong with a custom object. Source: `pkg/registry/customresource/{strategy,status_strategy,validator}.go`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kubelab_api::{
    field::{Errors, Kind, Path},
    structural::{Schema, embedded, lists, value},
};
use serde_json::Value;

use super::{
    definition::{Definition, Version},
    object::CustomObject,
};
use crate::registry::{kind::NameRule, metadata};

/// What is wrong with a new object, or with what became of `old`.
pub fn validate(
    definition: &Definition,
    version: &Version,
    new: &CustomObject,
    old: Option<&CustomObject>,
    errors: &mut Errors,
) {
    if !is_what_it_says(definition, version, new, errors) {
        return;
    }
    let (Ok(whole), Ok(before)) = (new.to_value(), old.map(CustomObject::to_value).transpose()) else { return };
    let root = Path::default();
    value::validate_update(&whole, before.as_ref(), &version.schema, &root, errors);
    if let Some(scale) = &version.scale {
        scale.validate(&new.content, false, errors);
    }
    embedded::validate(&whole, &version.schema, &root, &metadata_of_embedded, errors);
    validate_lists(&whole, before.as_ref(), &version.schema, errors);
    validate_rules(&whole, before.as_ref(), version, errors);
}

/// What is wrong with a change of status.
pub fn validate_status(
    definition: &Definition,
    version: &Version,
    new: &CustomObject,
    old: &CustomObject,
    errors: &mut Errors,
) {
    if !is_what_it_says(definition, version, new, errors) {
        return;
    }
    let (Ok(whole), Ok(before)) = (new.to_value(), old.to_value()) else { return };
    if let (Some(status), Some(schema)) = (new.content.get("status"), version.schema.properties.get("status")) {
        value::validate_update(status, old.content.get("status"), schema, &Path::new("status"), errors);
    }
    if let Some(scale) = &version.scale {
        scale.validate(&new.content, true, errors);
    }
    validate_lists(&whole, Some(&before), &version.schema, errors);
    validate_rules(&whole, Some(&before), version, errors);
}

fn is_what_it_says(definition: &Definition, version: &Version, object: &CustomObject, errors: &mut Errors) -> bool {
    for (field, given, wanted) in
        [("kind", &object.kind, &definition.kind), ("apiVersion", &object.api_version, &version.api_version)]
    {
        if given != wanted {
            errors.invalid(&Path::new(field), given.as_str(), &format!("must be {wanted}"));
        }
    }
    errors.is_empty()
}

/// What was wrong before may stay so.
fn validate_lists(new: &Value, old: Option<&Value>, schema: &Schema, errors: &mut Errors) {
    let mut before = Errors::default();
    if let Some(old) = old {
        lists::validate(old, schema, &Path::default(), &mut before);
    }
    if before.is_empty() {
        lists::validate(new, schema, &Path::default(), errors);
    }
}

/// The metadata of an object within an object, at this path. It need not have a name.
pub fn metadata_of_embedded(meta: &ObjectMeta, path: &Path, errors: &mut Errors) {
    let namespaced = meta.namespace.as_ref().is_some_and(|namespace| !namespace.is_empty());
    let mut named = meta.clone();
    if named.name.as_deref().unwrap_or_default().is_empty() {
        named.name = Some("fakename".into());
    }
    let mut found = Errors::default();
    metadata::validate(&named, NameRule::PathSegment, namespaced, &mut found);
    errors.0.extend(found.0.into_iter().map(|mut error| {
        let own = error.path.to_string();
        error.path = Path::new(&format!("{path}{}", own.strip_prefix("metadata").unwrap_or(&own)));
        error
    }));
}

/// Rules in CEL are not asked about values of types that they do not expect. Source: `hasBlockingErr`.
fn validate_rules(new: &Value, old: Option<&Value>, version: &Version, errors: &mut Errors) {
    let Some(expressions) = &version.expressions else { return };
    let blocking = [Kind::NotSupported, Kind::Required, Kind::TooLong, Kind::TooMany, Kind::TypeInvalid];
    if errors.0.iter().any(|error| blocking.contains(&error.kind)) {
        let detail = "some validation rules were not checked because the object was invalid; correct the existing \
                      errors to complete validation";
        errors.invalid(&Path::default(), Value::Null, detail);
        return;
    }
    expressions.validate(new, old, errors);
}
