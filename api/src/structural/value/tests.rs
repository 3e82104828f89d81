#![allow(clippy::unwrap_used)]
use std::{fmt::Write, fs, path::Path as File};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::structural::{default, lists, prune};

fn schema(json: &Value) -> Schema {
    Schema::new(&serde_json::from_value::<JSONSchemaProps>(json.clone()).unwrap())
}

/// Cases in `testdata`: a schema, and for values what becomes of them, in order: pruned, without nulls, defaulted,
/// validated.
#[test]
fn values_become_what_they_become_upstream() {
    let folder = File::new(env!("CARGO_MANIFEST_DIR")).join("src/structural/value/testdata");
    let mut cases = 0;
    let mut found = String::new();
    let mut expected = String::new();
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        expected.push_str(&text);
        let begin = found.len();
        let mut current = Schema::default();
        for line in text.lines() {
            if let Some(json) = line.strip_prefix("schema ") {
                current = schema(&serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {json}")));
                writeln!(found, "{line}").unwrap();
            } else if let Some(json) = line.strip_prefix("value  ") {
                cases += 1;
                writeln!(found, "{line}").unwrap();
                let mut value: Value = serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {json}"));
                let before = value.clone();
                for path in prune::object(&mut value, &current) {
                    writeln!(found, "  unknown {path}").unwrap();
                }
                prune::nulls(&mut value, Some(&current));
                default::fill(&mut value, &current);
                if value != before {
                    writeln!(found, "  becomes {value}").unwrap();
                }
                let mut errors = Errors::default();
                validate(&value, &current, &Path::default(), &mut errors);
                lists::validate(&value, &current, &Path::default(), &mut errors);
                for error in errors.0 {
                    writeln!(found, "  {error}").unwrap();
                }
            } else if !line.starts_with("  ") {
                writeln!(found, "{line}").unwrap();
            }
        }
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&path, &found[begin..]).unwrap();
        }
    }
    assert!(found == expected, "{found}");
    assert!(cases > 40, "{cases}");
}

#[test]
fn what_was_wrong_before_may_stay_so() {
    let schema = schema(&json!({
        "type": "object",
        "properties": {
            "a": {"type": "integer", "maximum": 5},
            "list": {
                "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
                "items": {"type": "object", "properties": {"k": {"type": "string"}, "v": {"type": "integer", "maximum": 5}}},
            },
            "atomic": {"type": "array", "items": {"type": "integer", "maximum": 5}},
        },
    }));
    let old = json!({"a": 9, "list": [{"k": "x", "v": 9}], "atomic": [9]});
    for (new, expected) in [
        (json!({"a": 9, "list": [{"k": "y", "v": 1}, {"k": "x", "v": 9}], "atomic": [9]}), "[]"),
        (json!({"a": 8}), "a: Invalid value: 8: a in body should be less than or equal to 5"),
        (
            json!({"list": [{"k": "y", "v": 9}]}),
            "list[0].v: Invalid value: 9: list[0].v in body should be less than or equal to 5",
        ),
        (json!({"atomic": [9, 1]}), "atomic[0]: Invalid value: 9: atomic[0] in body should be less than or equal to 5"),
    ] {
        let mut errors = Errors::default();
        validate_update(&new, Some(&old), &schema, &Path::default(), &mut errors);
        assert_eq!(errors.to_string(), expected, "{new}");
    }
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-5i64..5).prop_map(Value::from),
        "[a-c]{0,2}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map("[a-d]", inner, 0..4).prop_map(|map| json!(map)),
        ]
    })
}

fn any_schema() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!({"type": "string", "default": "x"})),
        Just(json!({"type": "integer", "nullable": true, "default": 3})),
        Just(json!({"type": "string"})),
        Just(json!({"x-kubernetes-int-or-string": true})),
        Just(json!({"x-kubernetes-preserve-unknown-fields": true})),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            inner.clone().prop_map(|items| json!({"type": "array", "items": items})),
            inner.clone().prop_map(|schema| json!({"type": "object", "additionalProperties": schema})),
            (proptest::collection::btree_map("[a-d]", inner, 0..4), any::<bool>()).prop_map(|(properties, keeps)| {
                let mut schema = json!({"type": "object", "properties": properties, "default": {}});
                if keeps {
                    schema["x-kubernetes-preserve-unknown-fields"] = true.into();
                }
                schema
            }),
        ]
    })
}

proptest! {
    #[test]
    fn twice_is_the_same_as_once(props in any_schema(), value in any_value()) {
        let schema = schema(&props);
        let pass = |mut value: Value| {
            prune::object(&mut value, &schema);
            prune::nulls(&mut value, Some(&schema));
            default::fill(&mut value, &schema);
            value
        };
        let once = pass(value);
        prop_assert_eq!(pass(once.clone()), once);
    }

    #[test]
    fn no_value_makes_validation_panic(props in any_schema(), value in any_value()) {
        let mut errors = Errors::default();
        validate(&value, &schema(&props), &Path::default(), &mut errors);
        lists::validate(&value, &schema(&props), &Path::default(), &mut errors);
    }
}
