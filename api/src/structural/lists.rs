//! Lists that are sets or maps hold each element once. Source: `apiserver/schema/listtype/validation.go`.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::{Additional, ListType, Schema};
use crate::field::{Errors, Path};

/// What stands twice in lists where it may not.
pub fn validate(value: &Value, schema: &Schema, path: &Path, errors: &mut Errors) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match (schema.properties.get(name), &schema.additional) {
                    (Some(property), _) => validate(value, property, &path.child(name), errors),
                    (None, Additional::Of(schema)) => validate(value, schema, &path.key(name), errors),
                    _ => {}
                }
            }
        }
        Value::Array(elements) => {
            match schema.list_type {
                Some(ListType::Set) => {
                    for index in repeated(elements) {
                        errors.duplicate(&path.index(index), elements[index].clone());
                    }
                }
                Some(ListType::Map) => validate_map(elements, schema, path, errors),
                _ => {}
            }
            let Some(items) = schema.items.as_deref() else { return };
            for (index, element) in elements.iter().enumerate() {
                validate(element, items, &path.index(index), errors);
            }
        }
        _ => {}
    }
}

fn validate_map(elements: &[Value], schema: &Schema, path: &Path, errors: &mut Errors) {
    let wrong = elements.iter().position(|element| !element.is_object() && !element.is_null());
    if let Some(index) = wrong {
        let detail = "must be an object for an array of list-type map";
        errors.invalid(&path.index(index), elements[index].clone(), detail);
        return;
    }
    let key_of = |element: &Value| {
        let present = schema.list_keys.iter().filter_map(|key| Some((key.clone(), element.get(key)?.clone())));
        Value::Object(present.collect::<Map<_, _>>())
    };
    let keys: Vec<Value> = elements.iter().map(key_of).collect();
    for index in repeated(&keys) {
        errors.duplicate(&path.index(index), keys[index].clone());
    }
}

/// Where values stand a second time; a third is not told again.
fn repeated(values: &[Value]) -> Vec<usize> {
    let mut seen: HashMap<String, usize> = HashMap::with_capacity(values.len());
    let mut repeated = Vec::new();
    for (index, value) in values.iter().enumerate() {
        let times = seen.entry(value.to_string()).or_default();
        *times += 1;
        if *times == 2 {
            repeated.push(index);
        }
    }
    repeated
}
