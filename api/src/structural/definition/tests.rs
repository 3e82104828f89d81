#![allow(clippy::unwrap_used)]
use std::{fmt::Write, fs, path::Path as File};

use serde_json::{Value, json};

use super::*;

/// Cases in `testdata`: a schema in JSON, a line `---`, and the errors, one a line; files may be added.
#[test]
fn schemas_are_judged_as_upstream_judges_them() {
    let folder = File::new(env!("CARGO_MANIFEST_DIR")).join("src/structural/definition/testdata");
    let mut cases = 0;
    let mut wrong = String::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        for case in text.split("\n===\n") {
            let (schema, expected) = case.split_once("---").unwrap();
            let mut schema: Value = serde_json::from_str(schema).unwrap_or_else(|error| panic!("{error}: {schema}"));
            let has_status = schema.as_object_mut().unwrap().remove("status subresource").is_some();
            let props: JSONSchemaProps = serde_json::from_value(schema.clone()).unwrap();
            let mut errors = Errors::default();
            let named = |meta: &ObjectMeta, path: &Path, errors: &mut Errors| {
                if meta.name.as_deref() == Some("BAD") {
                    errors.invalid(&path.child("name"), "BAD", "is bad");
                }
            };
            validate(&props, has_status, &Path::new("schema"), &named, &mut errors);
            let found: Vec<String> = errors.0.iter().map(ToString::to_string).collect();
            if found.join("\n") != expected.trim() {
                writeln!(wrong, "{}: {schema}\n{}\n", path.display(), found.join("\n")).unwrap();
            }
            cases += 1;
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(cases > 30, "{cases}");
}

#[test]
fn paths_of_fields_are_found() {
    let schema = Schema::new(
        &serde_json::from_value(json!({
            "type": "object",
            "properties": {
                "spec": {"type": "object", "properties": {"a'b": {"type": "string"}}},
                "map": {"type": "object", "additionalProperties": {"type": "integer"}},
            },
        }))
        .unwrap(),
    );
    for (path, expected) in [
        (".spec", Ok("spec")),
        (".spec['a\\'b']", Ok("spec.a'b")),
        (".map.x", Ok("map[x]")),
        (".map['x.y']", Ok("map[x.y]")),
        (".spec.x", Err("does not refer to a valid field")),
        ("spec", Err("expected [ or . but got: spec")),
        (".", Err("unexpected end of JSON path")),
        (".map[0]", Err("expected single quoted string but got 0")),
    ] {
        let found = field_path::find(path, &schema, true).map(|(path, _)| path.to_string());
        assert_eq!(found, expected.map(str::to_owned).map_err(str::to_owned), "{path}");
    }
    assert_eq!(field_path::find(".map['x']", &schema, false).unwrap_err(), "array notation is not allowed");
}
