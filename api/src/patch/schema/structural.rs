//! The types of custom resources, from the structural schemas in their definitions.
//! Source: `k8s.io/kube-openapi/pkg/schemaconv` and `k8s.io/apiextensions-apiserver/pkg/controller/openapi/builder`.

use serde_json::{Map, Value};

use super::{Field, Form, Key, List, Object, Owned, Scalar, Schema, Text, built_in};

/// Schemas nest no deeper; below, anything goes.
const MAX_DEPTH: usize = 100;

/// The type of whole objects: whatever the schema says, they have a kind and metadata.
pub(super) fn root(schema: &Value) -> Schema {
    object(schema, true, 0)
}

fn schema(value: &Value, depth: usize) -> Schema {
    if depth > MAX_DEPTH {
        return built_in::any();
    }
    let flag = |name: &str| value[name] == Value::Bool(true);
    if flag("x-kubernetes-int-or-string") {
        return built_in::scalar(Scalar::Untyped);
    }
    match value["type"].as_str() {
        Some("string") => built_in::scalar(Scalar::String),
        Some("integer" | "number") => built_in::scalar(Scalar::Numeric),
        Some("boolean") => built_in::scalar(Scalar::Boolean),
        Some("array") => list(value, depth),
        Some("object") => object(value, flag("x-kubernetes-embedded-resource"), depth),
        _ => built_in::any(),
    }
}

fn list(value: &Value, depth: usize) -> Schema {
    let keys = value["x-kubernetes-list-map-keys"].as_array().map(Vec::as_slice).unwrap_or_default();
    let properties = &value["items"]["properties"];
    let key = |name: &Value| {
        let name = name.as_str()?;
        Some(Key { name: Text::from(name.to_owned()), default: properties[name].get("default").cloned() })
    };
    let owned = match value["x-kubernetes-list-type"].as_str() {
        Some("set") => Owned::Set,
        Some("map") => Owned::Keyed(keys.iter().filter_map(key).collect()),
        _ => Owned::Whole,
    };
    let element = value.get("items").map_or_else(built_in::any, |items| schema(items, depth + 1));
    Schema::custom("", Form::List(List { element, owned }))
}

fn object(value: &Value, whole_object: bool, depth: usize) -> Schema {
    let none = Map::new();
    let properties = value["properties"].as_object().unwrap_or(&none);
    let mut fields: Vec<(Text, Field)> = Vec::with_capacity(properties.len() + 3);
    if whole_object {
        let text = || Field::new(built_in::scalar(Scalar::String));
        fields.push(("apiVersion".into(), text()));
        fields.push(("kind".into(), text()));
        let metadata = built_in::named("meta/v1.ObjectMeta").unwrap_or_else(built_in::any);
        fields.push(("metadata".into(), Field::new(metadata)));
    }
    let known = fields.len();
    for (name, property) in properties {
        if !fields[..known].iter().any(|(other, _)| other == name) {
            fields.push((name.clone().into(), Field::new(schema(property, depth + 1))));
        }
    }
    let rest = match &value["additionalProperties"] {
        Value::Null | Value::Bool(false) => {
            let open = value["x-kubernetes-preserve-unknown-fields"] == Value::Bool(true) || !value.is_object();
            open.then(built_in::any)
        }
        Value::Bool(true) => Some(built_in::any()),
        values => Some(schema(values, depth + 1)),
    };
    let atomic = value["x-kubernetes-map-type"] == "atomic";
    Schema::custom("", Form::Object(Object::new(fields, rest, atomic)))
}
