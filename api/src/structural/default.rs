//! What a schema puts where nothing was said. Source: `apiserver/schema/defaulting/algorithm.go`.

use serde_json::Value;

use super::{Additional, Schema};

/// Fills in the defaults of a schema. Nothing is said by a null where none is allowed, either.
pub fn fill(value: &mut Value, schema: &Schema) {
    match value {
        Value::Object(fields) => {
            for (name, property) in &schema.properties {
                let Some(default) = &property.default else { continue };
                match fields.get(name) {
                    Some(Value::Null) if !property.nullable => {}
                    Some(_) => continue,
                    None => {}
                }
                fields.insert(name.clone(), default.clone());
            }
            for (name, value) in fields {
                match (schema.properties.get(name), &schema.additional) {
                    (Some(property), _) => fill(value, property),
                    (None, Additional::Of(schema)) => fill_element(value, schema),
                    _ => {}
                }
            }
        }
        Value::Array(elements) => {
            let Some(items) = schema.items.as_deref() else { return };
            elements.iter_mut().for_each(|element| fill_element(element, items));
        }
        _ => {}
    }
}

fn fill_element(value: &mut Value, schema: &Schema) {
    if value.is_null()
        && !schema.nullable
        && let Some(default) = &schema.default
    {
        *value = default.clone();
    }
    fill(value, schema);
}
