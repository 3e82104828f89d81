//! What OpenAPI has and Kubernetes does not, and what belongs together.
//! Source: `ValidateCustomResourceDefinitionOpenAPISchema`.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps as Props, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool, JSONSchemaPropsOrStringArray,
    ValidationRule,
};
use serde_json::{Value, json};

use super::field_path;
use crate::{
    field::{Errors, Path},
    structural::{META_FIELDS, Schema},
};

const TYPES: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];
const REASONS: [&str; 4] = ["FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"];

/// Where in a schema a part of it stands.
#[derive(Clone, Default)]
struct Place {
    /// Why no default may stand here.
    no_defaults: Option<String>,
    /// Within an object's apiVersion, kind or metadata.
    in_metadata: bool,
}

/// What is wrong with a schema.
pub fn validate(props: &Props, path: &Path, errors: &mut Errors) {
    visit(props, path, &Place::default(), true, errors);
}

/// Nothing stands in the schema that its tree has no place for.
pub fn is_convertible(props: &Props) -> bool {
    let has = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
    let strange = has(&props.id)
        || has(&props.schema)
        || has(&props.ref_path)
        || props.pattern_properties.as_ref().is_some_and(|map| !map.is_empty())
        || props.dependencies.as_ref().is_some_and(|map| !map.is_empty())
        || props.definitions.as_ref().is_some_and(|map| !map.is_empty())
        || props.additional_items.is_some()
        || props.x_kubernetes_preserve_unknown_fields == Some(false)
        || matches!(props.items, Some(JSONSchemaPropsOrArray::Schemas(_)));
    !strange && parts(props, &Path::default()).iter().all(|(part, _)| is_convertible(part))
}

/// Every schema within a schema, and where it stands.
fn parts<'a>(props: &'a Props, path: &Path) -> Vec<(&'a Props, Path)> {
    let mut parts: Vec<(&Props, Path)> = Vec::new();
    if let Some(JSONSchemaPropsOrBool::Schema(schema)) = &props.additional_properties {
        parts.push((schema, path.child("additionalProperties")));
    }
    for (name, property) in props.properties.iter().flatten() {
        parts.push((property, path.child("properties").key(name)));
    }
    parts.extend(props.not.as_deref().map(|not| (not, path.child("not"))));
    for (field, list) in [("allOf", &props.all_of), ("oneOf", &props.one_of), ("anyOf", &props.any_of)] {
        let list = list.iter().flatten().enumerate();
        parts.extend(list.map(|(index, part)| (part, path.child(field).index(index))));
    }
    match &props.items {
        Some(JSONSchemaPropsOrArray::Schema(items)) => parts.push((items, path.child("items"))),
        Some(JSONSchemaPropsOrArray::Schemas(list)) => {
            parts.extend(list.iter().enumerate().map(|(index, part)| (part, path.child("items").index(index))));
        }
        None => {}
    }
    for (name, part) in props.definitions.iter().flatten() {
        parts.push((part, path.child("definitions").key(name)));
    }
    for (name, dependency) in props.dependencies.iter().flatten() {
        if let JSONSchemaPropsOrStringArray::Schema(schema) = dependency {
            parts.push((schema, path.child("dependencies").key(name)));
        }
    }
    parts
}

fn visit(props: &Props, path: &Path, place: &Place, is_root: bool, errors: &mut Errors) {
    validate_standard(props, path, place, errors);
    if props.unique_items == Some(true) {
        let detail = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
        errors.forbidden(&path.child("uniqueItems"), detail);
    }
    let limited = !matches!(props.additional_properties, None | Some(JSONSchemaPropsOrBool::Bool(true)));
    if limited && props.properties.as_ref().is_some_and(|properties| !properties.is_empty()) {
        let detail = "additionalProperties and properties are mutual exclusive";
        errors.forbidden(&path.child("additionalProperties"), detail);
    }
    let own_fields = is_root || props.x_kubernetes_embedded_resource == Some(true);
    for (part, part_path) in parts(props, path) {
        let mut below = place.clone();
        let name = props.properties.iter().flatten().find(|(_, property)| std::ptr::eq(*property, part));
        if let Some((name, _)) = name.filter(|(name, _)| own_fields && META_FIELDS.contains(&name.as_str())) {
            below.in_metadata = true;
            if is_root {
                below.no_defaults = Some(format!("in top-level {name}"));
            }
        }
        if place.in_metadata && part_path == path.child("additionalProperties") {
            below.no_defaults = Some("inside additionalProperties applying to object metadata".to_owned());
        }
        visit(part, &part_path, &below, false, errors);
    }
    if props.x_kubernetes_preserve_unknown_fields == Some(false) {
        errors.invalid(&path.child("x-kubernetes-preserve-unknown-fields"), false, "must be true or undefined");
    }
    validate_map_type(props, path, errors);
    validate_list_type(props, path, errors);
    for (index, rule) in props.x_kubernetes_validations.iter().flatten().enumerate() {
        validate_rule(rule, props, &path.child("x-kubernetes-validations").index(index), errors);
    }
}

fn validate_standard(props: &Props, path: &Path, place: &Place, errors: &mut Errors) {
    let kind = props.type_.as_deref().unwrap_or_default();
    if !kind.is_empty() && !TYPES.contains(&kind) {
        errors.not_supported(&path.child("type"), kind, &TYPES);
    }
    if let Some(why) = place.no_defaults.as_ref().filter(|_| props.default.is_some()) {
        errors.forbidden(&path.child("default"), &format!("must not be set {why}"));
    }
    let has_text = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
    for (field, given) in [
        ("id", has_text(&props.id)),
        ("additionalItems", props.additional_items.is_some()),
        ("patternProperties", props.pattern_properties.as_ref().is_some_and(|map| !map.is_empty())),
        ("definitions", props.definitions.as_ref().is_some_and(|map| !map.is_empty())),
        ("dependencies", props.dependencies.is_some()),
        ("$ref", props.ref_path.is_some()),
    ] {
        if given {
            errors.forbidden(&path.child(field), &format!("{field} is not supported"));
        }
    }
    if kind == "null" {
        let detail = "type cannot be set to null, use nullable as an alternative";
        errors.forbidden(&path.child("type"), detail);
    }
    if matches!(props.items, Some(JSONSchemaPropsOrArray::Schemas(_))) {
        errors.forbidden(&path.child("items"), "items must be a schema object and not an array");
    }
    if place.in_metadata && props.x_kubernetes_embedded_resource == Some(true) {
        let detail = "must not be used inside of resource meta";
        errors.forbidden(&path.child("x-kubernetes-embedded-resource"), detail);
    }
}

fn must_be(props: &Props, wanted: &str, detail: &str, path: &Path, errors: &mut Errors) -> bool {
    match props.type_.as_deref().unwrap_or_default() {
        kind if kind == wanted => return true,
        "" => errors.required(&path.child("type"), detail),
        kind => errors.invalid(&path.child("type"), kind, detail),
    }
    false
}

fn validate_map_type(props: &Props, path: &Path, errors: &mut Errors) {
    let Some(map_type) = props.x_kubernetes_map_type.as_deref() else { return };
    must_be(props, "object", "must be object if x-kubernetes-map-type is specified", path, errors);
    if !["atomic", "granular"].contains(&map_type) {
        errors.not_supported(&path.child("x-kubernetes-map-type"), map_type, &["atomic", "granular"]);
    }
}

fn validate_list_type(props: &Props, path: &Path, errors: &mut Errors) {
    let list_type = props.x_kubernetes_list_type.as_deref();
    let keys = props.x_kubernetes_list_map_keys.as_deref().unwrap_or_default();
    let (type_path, keys_path) = (path.child("x-kubernetes-list-type"), path.child("x-kubernetes-list-map-keys"));
    let items = match &props.items {
        Some(JSONSchemaPropsOrArray::Schema(items)) => Some(&**items),
        _ => None,
    };
    if let Some(list_type) = list_type {
        let is_list = must_be(props, "array", "must be array if x-kubernetes-list-type is specified", path, errors);
        if let Some(items) = items.filter(|_| is_list && list_type == "set") {
            validate_set_items(items, &path.child("items"), errors);
        }
        if !["atomic", "set", "map"].contains(&list_type) {
            errors.not_among(&type_path, list_type, &["atomic", "set", "map"].map(str::to_owned));
        }
    }
    if !keys.is_empty() {
        let detail = "must be map if x-kubernetes-list-map-keys is non-empty";
        match list_type {
            None => errors.required(&type_path, detail),
            Some("map") => {}
            Some(other) => errors.invalid(&type_path, other, detail),
        }
    }
    if list_type == Some("map") {
        if keys.is_empty() {
            errors.required(&keys_path, "must not be empty if x-kubernetes-list-type is map");
        }
        match (&props.items, items) {
            (None, _) => {
                errors.required(&path.child("items"), "must have a schema if x-kubernetes-list-type is map");
            }
            (Some(other), None) => {
                let detail = "must only have a single schema if x-kubernetes-list-type is map";
                errors.invalid(&path.child("items"), json!(other), detail);
            }
            (_, Some(items)) => validate_keys(items, keys, path, errors),
        }
    }
    if let (Some(list_type @ ("set" | "map")), Some(items)) = (list_type, items) {
        if items.nullable == Some(true) {
            let detail = format!("cannot be nullable when x-kubernetes-list-type is {list_type}");
            errors.forbidden(&path.child("items").child("nullable"), &detail);
        }
        if list_type == "map" {
            validate_key_values(items, keys, &path.child("items").child("properties"), errors);
        }
    }
}

fn validate_set_items(items: &Props, path: &Path, errors: &mut Errors) {
    let detail = "must be atomic as item of a list with x-kubernetes-list-type=set";
    let list_type = items.x_kubernetes_list_type.as_deref();
    match items.type_.as_deref() {
        Some("array") if list_type.is_some_and(|given| given != "atomic") => {
            errors.invalid(&path.child("x-kubernetes-list-type"), json!(list_type), detail);
        }
        Some("object") if items.x_kubernetes_map_type.as_deref() != Some("atomic") => {
            errors.invalid(&path.child("x-kubernetes-map-type"), json!(list_type), detail);
        }
        _ => {}
    }
}

fn validate_keys(items: &Props, keys: &[String], path: &Path, errors: &mut Errors) {
    let kind = items.type_.as_deref().unwrap_or_default();
    if kind != "object" {
        let detail = "must be object if parent array's x-kubernetes-list-type is map";
        errors.invalid(&path.child("items").child("type"), kind, detail);
        return;
    }
    let keys_path = path.child("x-kubernetes-list-map-keys");
    for (index, key) in keys.iter().enumerate() {
        match items.properties.as_ref().and_then(|properties| properties.get(key)) {
            Some(property) if matches!(property.type_.as_deref(), Some("array" | "object")) => {
                let detail = "must be a scalar type if parent array's x-kubernetes-list-type is map";
                let path = path.child("items").child("properties").key(key).child("type");
                errors.invalid(&path, kind, detail);
            }
            Some(_) => {}
            None => errors.invalid(&keys_path, json!(keys), "entries must all be names of item properties"),
        }
        if keys[..index].contains(key) {
            errors.invalid(&keys_path, json!(keys), "must not contain duplicate entries");
        }
    }
}

fn validate_key_values(items: &Props, keys: &[String], path: &Path, errors: &mut Errors) {
    for key in keys {
        let Some(property) = items.properties.as_ref().and_then(|properties| properties.get(key)) else { continue };
        let required = items.required.iter().flatten().any(|name| name == key);
        if !required && property.default.is_none() {
            let detail = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required \
                          property";
            errors.required(&path.key(key).child("default"), detail);
        }
        if property.nullable == Some(true) {
            let detail = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable";
            errors.forbidden(&path.key(key).child("nullable"), detail);
        }
    }
}

fn validate_rule(rule: &ValidationRule, props: &Props, path: &Path, errors: &mut Errors) {
    let message = rule.message.as_deref().unwrap_or_default();
    let has_line_breaks = |text: &str| text.contains(['\n', '\r']);
    if rule.rule.trim().is_empty() {
        errors.required(&path.child("rule"), "rule is not specified");
    } else if !message.is_empty() && message.trim().is_empty() {
        errors.invalid(&path.child("message"), message, "must be non-empty if specified");
    } else if has_line_breaks(message.trim()) {
        errors.invalid(&path.child("message"), message, "must not contain line breaks");
    } else if has_line_breaks(rule.rule.trim()) && message.trim().is_empty() {
        errors.required(&path.child("message"), "message must be specified if rule contains line breaks");
    }
    let expression = rule.message_expression.as_deref().unwrap_or_default();
    if !expression.is_empty() && expression.trim().is_empty() {
        errors.required(&path.child("messageExpression"), "messageExpression must be non-empty if specified");
    }
    if let Some(reason) = rule.reason.as_deref().filter(|reason| !REASONS.contains(reason)) {
        errors.not_supported(&path.child("reason"), reason, &REASONS);
    }
    let field = rule.field_path.as_deref().unwrap_or_default();
    if field.is_empty() {
        return;
    }
    if field.trim().is_empty() {
        errors.invalid(&path.child("fieldPath"), field, "must be non-empty if specified");
    }
    if has_line_breaks(field) {
        errors.invalid(&path.child("fieldPath"), field, "must not contain line breaks");
    }
    if is_convertible(props) && field_path::find(field, &Schema::new(props), true).is_err() {
        errors.invalid(&path.child("fieldPath"), field, "must be a valid path");
    }
}

/// What may stand at the root of a schema whose status is a subresource. Source: `allowedFieldsAtRootSchema`.
const AT_ROOT: [(&str, &str); 22] = [
    ("description", "Description"),
    ("type", "Type"),
    ("format", "Format"),
    ("title", "Title"),
    ("maximum", "Maximum"),
    ("exclusiveMaximum", "ExclusiveMaximum"),
    ("minimum", "Minimum"),
    ("exclusiveMinimum", "ExclusiveMinimum"),
    ("maxLength", "MaxLength"),
    ("minLength", "MinLength"),
    ("pattern", "Pattern"),
    ("maxItems", "MaxItems"),
    ("minItems", "MinItems"),
    ("uniqueItems", "UniqueItems"),
    ("multipleOf", "MultipleOf"),
    ("required", "Required"),
    ("items", "Items"),
    ("properties", "Properties"),
    ("externalDocs", "ExternalDocs"),
    ("example", "Example"),
    ("x-kubernetes-preserve-unknown-fields", "XPreserveUnknownFields"),
    ("x-kubernetes-validations", "XValidations"),
];

/// With a status of its own, the schema's root must stay an object of which `status` is a property.
pub fn validate_root(props: &Props, path: &Path, errors: &mut Errors) {
    let kind = props.type_.as_deref().unwrap_or_default();
    if !kind.is_empty() && kind != "object" {
        let detail = "only \"object\" is allowed as the type at the root of the schema if the status subresource is \
                      enabled";
        errors.invalid(&path.child("type"), kind, detail);
        return;
    }
    let Ok(Value::Object(fields)) = serde_json::to_value(props) else { return };
    let strange = fields.iter().any(|(name, value)| {
        let empty = value.is_null() || *value == json!(false) || *value == json!("") || *value == json!([]);
        !empty && !AT_ROOT.iter().any(|(known, _)| known == name)
    });
    if strange {
        let names: Vec<&str> = AT_ROOT.iter().map(|(_, name)| *name).collect();
        let detail = format!(
            "only [{}] fields are allowed at the root of the schema if the status subresource is enabled",
            names.join(" ")
        );
        errors.invalid(path, Value::Object(fields), &detail);
    }
}
