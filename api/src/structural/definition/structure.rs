//! A schema is structural: every field has its type outside of value validation. Source: `ValidateStructural`.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps as Props, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};

use super::check_pattern;
use crate::field::{Errors, Path};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Item,
    Field,
}

fn is(flag: Option<bool>) -> bool {
    flag == Some(true)
}

fn text(text: &Option<String>) -> &str {
    text.as_deref().unwrap_or_default()
}

fn items(props: &Props) -> Option<&Props> {
    match &props.items {
        Some(JSONSchemaPropsOrArray::Schema(items)) => Some(items),
        _ => None,
    }
}

fn additional(props: &Props) -> Option<&Props> {
    match &props.additional_properties {
        Some(JSONSchemaPropsOrBool::Schema(schema)) => Some(schema),
        _ => None,
    }
}

/// What keeps a schema from being structural.
pub fn validate(props: &Props, path: &Path, errors: &mut Errors) {
    invariants(props, Level::Root, path, errors);
    complete(props, Some(props), path, path, errors);
}

fn invariants(props: &Props, level: Level, path: &Path, errors: &mut Errors) {
    let kind = text(&props.type_);
    if kind == "array" && props.items.is_none() {
        errors.required(&path.child("items"), "must be specified");
    }
    if let Some(items) = items(props) {
        invariants(items, Level::Item, &path.child("items"), errors);
    }
    for (name, property) in props.properties.iter().flatten() {
        invariants(property, Level::Field, &path.child("properties").key(name), errors);
    }
    let additional_path = path.child("additionalProperties");
    if props.additional_properties.is_some() && level == Level::Root {
        errors.forbidden(&additional_path, "must not be used at the root");
    }
    if let Some(schema) = additional(props) {
        invariants(schema, Level::Field, &additional_path, errors);
    }
    extensions(props, path, errors);
    let int_or_string = is_int_or_string(&props.any_of);
    let in_first = props.all_of.iter().flatten().next().is_some_and(|first| is_int_or_string(&first.any_of));
    values(props, int_or_string, in_first, path, errors);

    let embedded = is(props.x_kubernetes_embedded_resource);
    if embedded && kind != "object" {
        let detail = "must be object if x-kubernetes-embedded-resource is true";
        match kind {
            "" => errors.required(&path.child("type"), detail),
            kind => errors.invalid(&path.child("type"), kind, detail),
        }
    } else if kind.is_empty()
        && !is(props.x_kubernetes_int_or_string)
        && !is(props.x_kubernetes_preserve_unknown_fields)
    {
        let detail = match level {
            Level::Root => "must not be empty at the root",
            Level::Item => "must not be empty for specified array items",
            Level::Field => "must not be empty for specified object fields",
        };
        errors.required(&path.child("type"), detail);
    }
    if embedded && props.additional_properties.is_some() {
        errors.forbidden(&additional_path, "must not be used if x-kubernetes-embedded-resource is set");
    }
    if level == Level::Root && !kind.is_empty() && kind != "object" {
        errors.invalid(&path.child("type"), kind, "must be object at the root");
    }
    metadata(props, level, path, errors);
    let has_properties = props.properties.as_ref().is_some_and(|properties| !properties.is_empty());
    if embedded && !is(props.x_kubernetes_preserve_unknown_fields) && !has_properties {
        let detail = "must not be empty if x-kubernetes-embedded-resource is true without \
                      x-kubernetes-preserve-unknown-fields";
        errors.required(&path.child("properties"), detail);
    }
}

/// Of the metadata, a schema may only say something about names.
fn metadata(props: &Props, level: Level, path: &Path, errors: &mut Errors) {
    let whole = level == Level::Root || is(props.x_kubernetes_embedded_resource);
    let properties = path.child("properties");
    let property = |name: &str| props.properties.as_ref().and_then(|properties| properties.get(name));
    for name in ["kind", "apiVersion"] {
        if let Some(property) = property(name).filter(|property| whole && text(&property.type_) != "string") {
            errors.invalid(&properties.key(name).child("type"), text(&property.type_), "must be string");
        }
    }
    let Some(metadata) = property("metadata") else { return };
    let path = properties.key("metadata");
    if whole && text(&metadata.type_) != "object" {
        errors.invalid(&path.child("type"), text(&metadata.type_), "must be object");
    }
    if level == Level::Root {
        let only_names =
            metadata.properties.iter().flatten().all(|(name, _)| ["name", "generateName"].contains(&name.as_str()));
        let rest = Props {
            type_: None,
            default: None,
            properties: metadata.properties.clone().filter(|_| !only_names),
            ..metadata.clone()
        };
        if rest != Props::default() {
            let detail = "must not specify anything other than name and generateName, but metadata is implicitly \
                          specified";
            errors.forbidden(&path, detail);
        }
    }
}

fn is_int_or_string(any_of: &Option<Vec<Props>>) -> bool {
    let of = |kind: &str| Props { type_: Some(kind.to_owned()), ..Props::default() };
    any_of.as_deref() == Some(&[of("integer"), of("string")])
}

fn extensions(props: &Props, path: &Path, errors: &mut Errors) {
    if !is(props.x_kubernetes_int_or_string) {
        return;
    }
    let detail = "must be false if x-kubernetes-int-or-string is true";
    for (field, given) in [
        ("x-kubernetes-preserve-unknown-fields", props.x_kubernetes_preserve_unknown_fields),
        ("x-kubernetes-embedded-resource", props.x_kubernetes_embedded_resource),
    ] {
        if is(given) {
            errors.invalid(&path.child(field), true, detail);
        }
    }
}

/// The parts under a logical junctor must not say what belongs outside.
fn values(props: &Props, skip_any_of: bool, skip_in_first: bool, path: &Path, errors: &mut Errors) {
    for (index, part) in props.any_of.iter().flatten().enumerate().filter(|_| !skip_any_of) {
        nested(part, false, &path.child("anyOf").index(index), errors);
    }
    for (index, part) in props.all_of.iter().flatten().enumerate() {
        nested(part, skip_in_first && index == 0, &path.child("allOf").index(index), errors);
    }
    for (index, part) in props.one_of.iter().flatten().enumerate() {
        nested(part, false, &path.child("oneOf").index(index), errors);
    }
    if let Some(not) = &props.not {
        nested(not, false, &path.child("not"), errors);
    }
    if let Some(pattern) = props.pattern.as_deref().filter(|pattern| !pattern.is_empty()) {
        check_pattern(pattern, path, errors);
    }
}

fn nested(props: &Props, skip_any_of: bool, path: &Path, errors: &mut Errors) {
    values(props, skip_any_of, false, path, errors);
    if let Some(items) = items(props) {
        nested(items, false, &path.child("items"), errors);
    }
    for (name, property) in props.properties.iter().flatten() {
        nested(property, false, &path.child("properties").key(name), errors);
    }
    let has_keys = props.x_kubernetes_list_map_keys.as_ref().is_some_and(|keys| !keys.is_empty());
    let has_rules = props.x_kubernetes_validations.as_ref().is_some_and(|rules| !rules.is_empty());
    for (field, given, must_be) in [
        ("type", !text(&props.type_).is_empty(), "empty"),
        (
            "additionalProperties",
            !matches!(props.additional_properties, None | Some(JSONSchemaPropsOrBool::Bool(false))),
            "undefined",
        ),
        ("default", props.default.is_some(), "undefined"),
        ("title", !text(&props.title).is_empty(), "empty"),
        ("description", !text(&props.description).is_empty(), "empty"),
        ("nullable", is(props.nullable), "false"),
        ("x-kubernetes-preserve-unknown-fields", is(props.x_kubernetes_preserve_unknown_fields), "false"),
        ("x-kubernetes-embedded-resource", is(props.x_kubernetes_embedded_resource), "false"),
        ("x-kubernetes-int-or-string", is(props.x_kubernetes_int_or_string), "false"),
        ("x-kubernetes-list-map-keys", has_keys, "empty"),
        ("x-kubernetes-list-type", props.x_kubernetes_list_type.is_some(), "undefined"),
        ("x-kubernetes-map-type", props.x_kubernetes_map_type.is_some(), "undefined"),
        ("x-kubernetes-validations", has_rules, "empty"),
    ] {
        if given {
            errors.forbidden(&path.child(field), &format!("must be {must_be} to be structural"));
        }
    }
    if props.properties.as_ref().is_some_and(|properties| properties.contains_key("metadata")) {
        errors.forbidden(&path.child("properties").key("metadata"), "must not be specified in a nested context");
    }
}

/// What value validation speaks of is specified outside of it, too. `values` stands under a junctor, `outside` is its
/// counterpart.
fn complete(values: &Props, outside: Option<&Props>, path: &Path, values_path: &Path, errors: &mut Errors) {
    let junctors = values
        .all_of
        .iter()
        .flatten()
        .enumerate()
        .map(|(index, part)| (part, values_path.child("allOf").index(index)))
        .chain(
            values
                .any_of
                .iter()
                .flatten()
                .enumerate()
                .map(|(index, part)| (part, values_path.child("anyOf").index(index))),
        )
        .chain(
            values
                .one_of
                .iter()
                .flatten()
                .enumerate()
                .map(|(index, part)| (part, values_path.child("oneOf").index(index))),
        )
        .chain(values.not.as_deref().map(|not| (not, values_path.child("not"))));
    for (part, part_path) in junctors {
        complete_nested(part, outside, path, &part_path, errors);
    }
}

fn complete_nested(values: &Props, outside: Option<&Props>, path: &Path, values_path: &Path, errors: &mut Errors) {
    let Some(outside) = outside else {
        errors.required(path, &format!("because it is defined in {values_path}"));
        return;
    };
    complete(values, Some(outside), path, values_path, errors);
    if let Some(below) = items(values) {
        complete_nested(below, items(outside), &path.child("items"), &values_path.child("items"), errors);
    }
    for (name, property) in values.properties.iter().flatten() {
        let outside = outside.properties.as_ref().and_then(|properties| properties.get(name));
        let path = path.child("properties").key(name);
        complete_nested(property, outside, &path, &values_path.child("properties").key(name), errors);
    }
}
