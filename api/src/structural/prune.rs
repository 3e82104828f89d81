//! Fields that a schema does not know are not stored. Source: `apiserver/schema/pruning` and `defaulting/prunenulls.go`.

use serde_json::Value;

use super::{Additional, META_FIELDS, Schema};

/// Removes the fields of a whole object that its schema does not know, but for apiVersion, kind and metadata, and tells
/// their paths, sorted.
pub fn object(value: &mut Value, schema: &Schema) -> Vec<String> {
    let mut pruning = Pruning { path: String::new(), unknown: Vec::new() };
    pruning.prune(value, Some(schema), true, false);
    pruning.unknown.sort();
    pruning.unknown
}

/// Removes the unknown fields of a value inside an object.
pub fn value(value: &mut Value, schema: &Schema) {
    Pruning { path: String::new(), unknown: Vec::new() }.prune(value, Some(schema), schema.embedded, false);
}

/// At most so many unknown fields are told. Source: `sigs.k8s.io/json`, `unmarshalStrict`.
const MAX_TOLD: usize = 100;

struct Pruning {
    path: String,
    unknown: Vec<String>,
}

impl Pruning {
    /// With `preserved`, the list around keeps what it does not know, and so do its elements.
    fn prune(&mut self, value: &mut Value, schema: Option<&Schema>, embedded: bool, preserved: bool) {
        match value {
            Value::Object(fields) => {
                let preserves = preserved || schema.is_some_and(|schema| schema.preserves_unknown);
                let at_root = self.path.is_empty();
                let names: Vec<String> = fields.keys().cloned().collect();
                for name in names {
                    let is_meta = META_FIELDS.contains(&name.as_str());
                    if embedded && is_meta {
                        continue;
                    }
                    let known = schema.and_then(|schema| match (schema.properties.get(&name), &schema.additional) {
                        (Some(property), _) => Some(Some(property)),
                        (None, Additional::Of(schema)) => Some(Some(&**schema)),
                        (None, Additional::Any | Additional::Nothing) => Some(None),
                        (None, Additional::Unsaid) => None,
                    });
                    match known {
                        Some(schema) => self.below(&field(&name, at_root), |this| {
                            if let Some(value) = fields.get_mut(&name) {
                                this.prune(value, schema, schema.is_some_and(|schema| schema.embedded), false);
                            }
                        }),
                        None if preserves => {}
                        None => {
                            if !(is_meta && at_root) && self.unknown.len() < MAX_TOLD {
                                self.unknown.push(format!("{}{}", self.path, field(&name, at_root)));
                            }
                            fields.remove(&name);
                        }
                    }
                }
            }
            Value::Array(elements) => {
                let preserves = preserved || schema.is_some_and(|schema| schema.preserves_unknown);
                let items = schema.and_then(|schema| schema.items.as_deref());
                if preserves && items.is_none() {
                    return;
                }
                for (index, element) in elements.iter_mut().enumerate() {
                    self.below(&format!("[{index}]"), |this| {
                        this.prune(element, items, items.is_some_and(|items| items.embedded), preserves);
                    });
                }
            }
            _ => {}
        }
    }

    fn below(&mut self, step: &str, visit: impl FnOnce(&mut Self)) {
        let length = self.path.len();
        self.path.push_str(step);
        visit(self);
        self.path.truncate(length);
    }
}

fn field(name: &str, at_root: bool) -> String {
    if at_root { name.to_owned() } else { format!(".{name}") }
}

/// Removes nulls where the schema allows none and has no default to put in their place.
pub fn nulls(value: &mut Value, schema: Option<&Schema>) {
    match value {
        Value::Object(fields) => fields.retain(|name, value| {
            let schema = schema.and_then(|schema| schema.field(name));
            let goes = value.is_null() && schema.is_some_and(|schema| !schema.nullable && schema.default.is_none());
            if !goes {
                nulls(value, schema);
            }
            !goes
        }),
        Value::Array(elements) => {
            let items = schema.and_then(|schema| schema.items.as_deref());
            elements.iter_mut().for_each(|element| nulls(element, items));
        }
        _ => {}
    }
}
