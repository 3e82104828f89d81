//! How custom objects look to clients. Source: `pkg/controller/openapi/builder/builder.go`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use schemars::{Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::definition::{Definition, Version};

const API_VERSION: &str = "APIVersion defines the versioned schema of this representation of an object. Servers should \
     convert recognized schemas to the latest internal value, and may reject unrecognized values. More info: \
     https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#resources";
const KIND: &str = "Kind is a string value representing the REST resource this object represents. Servers may infer this \
     from the endpoint the client submits requests to. Cannot be updated. In CamelCase. More info: \
     https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds";
const METADATA: &str = "Standard object's metadata. More info: \
     https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata";
const EMBEDDED_API_VERSION: &str = "apiVersion defines the versioned schema of this representation of an object. More info: \
     https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#resources";
const EMBEDDED_KIND: &str = "kind is a string value representing the type of this object. In CamelCase. More info: \
     https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds";

/// The name of a kind's schema: the group backwards, the version, the kind.
pub fn name(group: &str, version: &str, kind: &str) -> String {
    let group: Vec<&str> = group.split('.').rev().collect();
    format!("{}.{version}.{kind}", group.join("."))
}

/// Adds the schema of a version to a collection of schemas.
pub fn schema(definition: &Definition, version: &Version, generator: &mut SchemaGenerator) -> Schema {
    let metadata = generator.subschema_for::<ObjectMeta>().as_value().clone();
    let is_swagger = generator.settings().definitions_path.contains("definitions");
    let mut root = serde_json::to_value(&version.props).unwrap_or_default();
    if !root.is_object() || (is_swagger && version.schema.preserves_unknown) {
        root = json!({"type": "object"});
    } else {
        if is_swagger {
            simplify(&mut root);
        }
        add_embedded(&mut root, &metadata, is_swagger);
        add_header(&mut root, &metadata, API_VERSION, KIND);
    }
    if !version.selectable.is_empty() {
        let fields = version.selectable.iter().map(|(name, _)| json!({ "fieldPath": name }));
        root["x-kubernetes-selectable-fields"] = fields.collect();
    }
    let name = name(&definition.group, &version.name, &definition.kind);
    let path = generator.settings().definitions_path.trim_end_matches('/').to_owned();
    generator.definitions_mut().insert(name.clone(), root);
    schemars::json_schema!({ "$ref": format!("#{path}/{name}") })
}

fn add_header(schema: &mut Value, metadata: &Value, api_version: &str, kind: &str) {
    let mut metadata = metadata.clone();
    metadata["description"] = METADATA.into();
    if !schema["properties"].is_object() {
        schema["properties"] = json!({});
    }
    schema["properties"]["apiVersion"] = json!({"description": api_version, "type": "string"});
    schema["properties"]["kind"] = json!({"description": kind, "type": "string"});
    schema["properties"]["metadata"] = metadata;
}

fn add_embedded(schema: &mut Value, metadata: &Value, is_swagger: bool) {
    for below in below(schema) {
        add_embedded(below, metadata, is_swagger);
    }
    let is = |schema: &Value, flag: &str| schema[flag] == json!(true);
    if !is(schema, "x-kubernetes-embedded-resource")
        || (is_swagger && is(schema, "x-kubernetes-preserve-unknown-fields"))
    {
        return;
    }
    add_header(schema, metadata, EMBEDDED_API_VERSION, EMBEDDED_KIND);
    let mut required: Vec<Value> = schema["required"].as_array().cloned().unwrap_or_default();
    for name in ["kind", "apiVersion"] {
        if !required.contains(&name.into()) {
            required.push(name.into());
        }
    }
    schema["required"] = required.into();
}

/// The schemas of the fields and elements.
fn below(schema: &mut Value) -> Vec<&mut Value> {
    let Some(fields) = schema.as_object_mut() else { return Vec::new() };
    let mut found = Vec::new();
    for (name, value) in fields {
        match name.as_str() {
            "properties" => found.extend(value.as_object_mut().into_iter().flat_map(Map::values_mut)),
            "items" | "additionalProperties" if value.is_object() => found.push(value),
            _ => {}
        }
    }
    found
}

/// Leaves out what Swagger 2.0 cannot say, or what its clients stumble over. Source: `openapi/v2/conversion.go`.
fn simplify(schema: &mut Value) {
    for below in below(schema) {
        simplify(below);
    }
    let Some(fields) = schema.as_object_mut() else { return };
    for name in ["oneOf", "anyOf", "allOf", "not", "default"] {
        fields.remove(name);
    }
    let nullable = fields.remove("nullable") == Some(json!(true));
    let preserves = fields.get("x-kubernetes-preserve-unknown-fields") == Some(&json!(true));
    if nullable || preserves {
        // A null, or an unknown field, is no value of a type.
        for name in ["type", "items", "properties", "additionalProperties", "format", "required"] {
            fields.remove(name);
        }
    }
}
