//! An object without some of its paths. Source: `typed/remove.go` of `sigs.k8s.io/structured-merge-diff`.

use serde_json::Value;

use super::{
    element::Element,
    set::Set,
    typed::{Kind, identity},
};
use crate::patch::schema::{List, Owned, Schema};

/// The object without the members of a set. What is owned as a whole goes where anything below it is in the set.
pub fn remove(value: &Value, items: &Set, schema: &Schema) -> Value {
    without(value, items, schema).unwrap_or_else(|| Value::Object(serde_json::Map::new()))
}

fn without(value: &Value, items: &Set, schema: &Schema) -> Option<Value> {
    match (Kind::of(schema, Some(value)), value) {
        (Kind::Object(fields), Value::Object(values)) if !values.is_empty() && !fields.is_atomic() => {
            let mut kept = serde_json::Map::new();
            for (name, value) in values {
                let element = Element::field(name);
                if items.has_element(&element) {
                    continue;
                }
                let child = fields.child(name).map(|(schema, _)| schema);
                match (items.below(&element), child) {
                    (Some(below), Some(schema)) => {
                        // Upstream leaves a null where nothing is left, which reads as nothing.
                        if let Some(value) = without(value, below, schema) {
                            kept.insert(name.clone(), value);
                        }
                    }
                    _ => drop(kept.insert(name.clone(), value.clone())),
                }
            }
            (!kept.is_empty()).then_some(Value::Object(kept))
        }
        (Kind::List(Some(list)), Value::Array(values)) if !matches!(list.owned, Owned::Whole) => {
            let kept: Vec<_> = values.iter().filter_map(|value| element_without(value, items, list)).collect();
            (!kept.is_empty()).then_some(Value::Array(kept))
        }
        (Kind::Scalar(_), _) => Some(value.clone()),
        _ => None,
    }
}

fn element_without(value: &Value, items: &Set, list: &List) -> Option<Value> {
    let Ok(element) = identity(list, value) else { return Some(value.clone()) };
    if items.has_element(&element) {
        return None;
    }
    match items.below(&element) {
        Some(below) => Some(without(value, below, &list.element).unwrap_or_default()),
        None => Some(value.clone()),
    }
}
