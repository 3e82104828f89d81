//! Objects within objects have an apiVersion, a kind and metadata that make sense.
//! Source: `apiserver/schema/objectmeta/{algorithm,validation}.go`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

use super::{Additional, Schema};
use crate::{
    field::{Errors, Path},
    name,
};

/// Brings the metadata of all embedded objects into its form; tells the first that has none. Unknown fields of it go, and
/// are told.
pub fn coerce(value: &mut Value, schema: &Schema, path: &Path, unknown: &mut Vec<String>) -> Result<(), Errors> {
    match value {
        Value::Object(fields) => {
            if schema.embedded {
                for name in ["apiVersion", "kind"] {
                    if let Some(value) = fields.get(name).filter(|value| !value.is_string()) {
                        let mut errors = Errors::default();
                        errors.invalid(&path.child(name), value.clone(), "must be a string");
                        return Err(errors);
                    }
                }
                if let Some(metadata) = fields.get_mut("metadata") {
                    *metadata = coerced_metadata(metadata, &path.child("metadata"), unknown)?;
                }
            }
            for (name, value) in fields {
                match (schema.properties.get(name), &schema.additional) {
                    (Some(property), _) => coerce(value, property, &path.child(name), unknown)?,
                    (None, Additional::Of(schema)) => coerce(value, schema, &path.key(name), unknown)?,
                    _ => {}
                }
            }
        }
        Value::Array(elements) => {
            let Some(items) = schema.items.as_deref() else { return Ok(()) };
            for (index, element) in elements.iter_mut().enumerate() {
                coerce(element, items, &path.index(index), unknown)?;
            }
        }
        _ => {}
    }
    Ok(())
}

fn coerced_metadata(metadata: &Value, path: &Path, unknown: &mut Vec<String>) -> Result<Value, Errors> {
    let coerced = serde_json::from_value::<ObjectMeta>(metadata.clone()).and_then(serde_json::to_value);
    match coerced {
        Ok(coerced) => {
            let known = |name: &str| coerced.get(name).is_some() || KNOWN.contains(&name);
            let strange = metadata.as_object().into_iter().flat_map(|fields| fields.keys()).filter(|name| !known(name));
            unknown.extend(strange.map(|name| format!("{path}.{name}")));
            Ok(coerced)
        }
        Err(error) => {
            let mut errors = Errors::default();
            errors.invalid(path, metadata.clone(), &error.to_string());
            Err(errors)
        }
    }
}

/// What metadata may hold.
const KNOWN: [&str; 15] = [
    "name",
    "generateName",
    "namespace",
    "selfLink",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "labels",
    "annotations",
    "ownerReferences",
    "finalizers",
    "managedFields",
];

/// What is wrong with the embedded objects of a value; `check` says it of their metadata.
pub fn validate(
    value: &Value,
    schema: &Schema,
    path: &Path,
    check: &dyn Fn(&ObjectMeta, &Path, &mut Errors),
    errors: &mut Errors,
) {
    match value {
        Value::Object(fields) => {
            if schema.embedded {
                validate_resource(value, path, check, errors);
            }
            for (name, value) in fields {
                match (schema.properties.get(name), &schema.additional) {
                    (Some(property), _) => validate(value, property, &path.child(name), check, errors),
                    (None, Additional::Of(schema)) => validate(value, schema, &path.key(name), check, errors),
                    _ => {}
                }
            }
        }
        Value::Array(elements) => {
            let Some(items) = schema.items.as_deref() else { return };
            for (index, element) in elements.iter().enumerate() {
                validate(element, items, &path.index(index), check, errors);
            }
        }
        _ => {}
    }
}

fn validate_resource(value: &Value, path: &Path, check: &dyn Fn(&ObjectMeta, &Path, &mut Errors), errors: &mut Errors) {
    for field in ["apiVersion", "kind"] {
        let path = path.child(field);
        match value.get(field) {
            None => errors.required(&path, ""),
            Some(Value::String(text)) if text.is_empty() => errors.invalid(&path, "", "must not be empty"),
            Some(Value::String(text)) if field == "kind" => {
                let wrong = name::dns1035_label(&text.to_lowercase());
                if !wrong.is_empty() {
                    let detail = format!("may have mixed case, but should otherwise match: {}", wrong.join(","));
                    errors.invalid(&path, text.as_str(), &detail);
                }
            }
            Some(Value::String(text)) if text.matches('/').count() > 1 => {
                errors.invalid(&path, text.as_str(), &format!("unexpected GroupVersion string: {text}"));
            }
            Some(Value::String(_)) => {}
            Some(other) => errors.invalid(&path, other.clone(), "must be a string"),
        }
    }
    if let Some(metadata) = value.get("metadata") {
        let path = path.child("metadata");
        match serde_json::from_value::<ObjectMeta>(metadata.clone()) {
            Ok(metadata) => check(&metadata, &path, errors),
            Err(error) => errors.invalid(&path, metadata.clone(), &error.to_string()),
        }
    }
}
