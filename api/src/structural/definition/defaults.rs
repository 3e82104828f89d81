//! A default is a valid value that pruning leaves alone. Source: `apiserver/schema/defaulting/validation.go`.

use serde_json::{Value, json};

use super::CheckMetadata;
use crate::{
    field::{Errors, Path},
    structural::{META_FIELDS, Schema, embedded, prune, value},
};

/// What is wrong with the defaults of a schema.
pub fn validate(schema: &Schema, path: &Path, check: CheckMetadata, errors: &mut Errors) {
    visit(&schema.as_resource(), path, None, check, errors);
}

/// The way from an embedded object to a field of its metadata.
type Way<'a> = Option<&'a [String]>;

fn visit(schema: &Schema, path: &Path, way: Way, check: CheckMetadata, errors: &mut Errors) {
    let way = if schema.embedded { None } else { way };
    if let Some(default) = &schema.default {
        validate_default(schema, default, &path.child("default"), way, check, errors);
    }
    if let Some(items) = &schema.items {
        visit(items, &path.child("items"), way, check, errors);
    }
    for (name, property) in &schema.properties {
        let path = path.child("properties").key(name);
        let below: Option<Vec<String>> = match way {
            Some(way) => Some(way.iter().chain([name]).cloned().collect()),
            None if schema.embedded && META_FIELDS.contains(&name.as_str()) => Some(vec![name.clone()]),
            None => None,
        };
        visit(property, &path, below.as_deref(), check, errors);
    }
}

fn validate_default(
    schema: &Schema,
    default: &Value,
    path: &Path,
    way: Way,
    check: CheckMetadata,
    errors: &mut Errors,
) {
    let before = errors.0.len();
    match way {
        Some(way) => {
            let object = surrounding(way, default);
            let mut found = Errors::default();
            let root = Schema { embedded: true, ..Schema::default() };
            let mut coerced = object.clone();
            match embedded::coerce(&mut coerced, &root, &Path::default(), &mut Vec::new()) {
                Err(wrong) => found = wrong,
                Ok(()) => embedded::validate(&coerced, &root, &Path::default(), check, &mut found),
            }
            if !found.is_empty() {
                errors.invalid(path, default.clone(), &format!("must result in valid metadata: {found}"));
            }
        }
        None => {
            let mut pruned = default.clone();
            prune::value(&mut pruned, schema);
            if pruned != *default {
                errors.invalid(path, default.clone(), "must not have unknown fields");
            }
            let mut coerced = default.clone();
            match embedded::coerce(&mut coerced, schema, path, &mut Vec::new()) {
                Err(wrong) => errors.0.extend(wrong.0),
                Ok(()) => embedded::validate(default, schema, path, check, errors),
            }
        }
    }
    if errors.0.len() == before {
        value::validate(default, schema, path, errors);
    }
}

/// The smallest object that has this value at the end of this way.
fn surrounding(way: &[String], value: &Value) -> Value {
    let mut object = json!({"apiVersion": "validation/v1", "kind": "Validation"});
    let below = way.iter().rev().fold(value.clone(), |value, name| json!({ name.as_str(): value }));
    if let (Value::Object(object), Value::Object(below)) = (&mut object, below) {
        object.extend(below);
    }
    object
}
