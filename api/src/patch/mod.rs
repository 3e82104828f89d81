//! JSON merge patch and strategic merge patch. (JSON patch is the `json-patch` crate's.)
//!
//! | module | what it is |
//! | --- | --- |
//! | [`schema`] | which list merges by which key |
//! | [`strategic`] | strategic merge patch and its directives |
//! | `order` | where the elements of a merged list go |
//!
//! Whoever adds a case to `cases/` adds a test.

mod order;
pub mod schema;
pub mod strategic;

use serde_json::{Map, Value};

pub use schema::Schema;
pub use strategic::Error;

/// Applies a JSON merge patch (RFC 7386): `null` removes, objects merge, all else replaces.
pub fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(fields) = target else { return };
    for (name, change) in changes {
        if change.is_null() {
            fields.remove(name);
        } else {
            merge(fields.entry(name.as_str()).or_insert(Value::Null), change);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::{fs, path::Path};

    use serde_json::json;

    use super::*;
    use crate::resource;

    #[test]
    fn the_examples_of_rfc_7386() {
        for (target, patch, result) in [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
            (json!({"a": "b"}), json!({"a": null}), json!({})),
            (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
            (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
            (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
            (json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"])),
            (json!({"a": "b"}), json!(["c"]), json!(["c"])),
            (json!({"a": "foo"}), json!(null), json!(null)),
            (json!({"a": "foo"}), json!("bar"), json!("bar")),
            (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
            (json!([1, 2]), json!({"a": "b", "c": null}), json!({"a": "b"})),
            (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
        ] {
            let mut patched = target.clone();
            merge(&mut patched, &patch);
            assert_eq!(patched, result, "{target} + {patch}");
        }
    }

    /// Every merge key of the built-in types: an element is found by it, merged, and removed.
    #[test]
    fn every_list_with_a_merge_key_merges_by_it() {
        let mut count = 0;
        for [name, field, _, _, strategy, key] in schema::list_types().filter(|row| !row[5].is_empty()) {
            assert!(strategy.starts_with("merge"), "{name}.{field}");
            let schema = Schema::named(name).unwrap();
            let apply = |patch: Value| {
                let original = json!({field: [{key: "a", "x": 1}, {key: "b", "x": 1}]});
                strategic::apply(original, json!({field: patch}), &schema).unwrap()
            };
            let merged = apply(json!([{key: "b", "y": 2}]));
            assert_eq!(merged, json!({field: [{key: "a", "x": 1}, {key: "b", "x": 1, "y": 2}]}), "{name}.{field}");
            let removed = apply(json!([{"$patch": "delete", key: "a"}]));
            assert_eq!(removed, json!({field: [{key: "b", "x": 1}]}), "{name}.{field}");
            let replaced = apply(json!([{"$patch": "replace"}, {key: "c"}]));
            assert_eq!(replaced, json!({field: [{key: "c"}]}), "{name}.{field}");
            count += 1;
        }
        assert!(count >= 50, "only {count} lists merge by a key");
    }

    /// Each file in `cases/` holds a list of cases: `what`, `kind`, `original`, `patch`, and `result` or `error`.
    #[test]
    fn strategic_merge_patch_cases() {
        let mut count = 0;
        for file in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/patch/cases")).unwrap() {
            let path = file.unwrap().path();
            let cases: Vec<Value> = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            for case in cases {
                let what = format!("{}: {}", path.display(), case["what"]);
                let resource = resource::named(case["kind"].as_str().unwrap()).unwrap();
                let schema = Schema::of(resource).unwrap();
                let patched = strategic::apply(case["original"].clone(), case["patch"].clone(), &schema);
                match case.get("error") {
                    Some(error) => assert_eq!(patched.unwrap_err().to_string(), error.as_str().unwrap(), "{what}"),
                    None => {
                        assert_eq!(patched.unwrap_or_else(|error| panic!("{what}: {error}")), case["result"], "{what}")
                    }
                }
                count += 1;
            }
        }
        assert!(count >= 30, "only {count} cases were found");
    }
}
