//! What nests deep must be refused on the stack of an ordinary thread; what is wide must take no longer than it explains:
//! where a step is quadratic, these inputs take hours.

use std::{fmt::Display, thread};

use serde_json::{Value, json};

use super::run;

/// The stack of a thread of the server. Source: tokio's default.
const STACK: usize = 2 * 1024 * 1024;

fn bears(name: &'static str, input: impl Into<Vec<u8>>) {
    let input = input.into();
    let thread = thread::Builder::new().stack_size(STACK).spawn(move || run(name, &input));
    thread.unwrap().join().unwrap();
}

/// `open` so often, something, and `close` as often.
fn nested(open: &str, inner: impl Display, close: &str, depth: usize) -> String {
    format!("{}{inner}{}", open.repeat(depth), close.repeat(depth))
}

fn crd(schema: &Value, column: &str) -> String {
    let names = json!({"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced", "names": names, "conversion": {"strategy": "None"},
            "versions": [{
                "name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema},
                "additionalPrinterColumns": [{"name": "C", "type": "string", "jsonPath": column}],
            }],
        },
    })
    .to_string()
}

fn widget(spec: impl Display) -> String {
    format!(r#"{{"apiVersion":"example.com/v1","kind":"Widget","metadata":{{"name":"w"}},"spec":{spec}}}"#)
}

const DEPTHS: [usize; 4] = [50, 100, 120, 100_000];

#[test]
fn objects_that_nest_deep() {
    for depth in DEPTHS {
        for (open, close) in [("[", "]"), ("{\"a\":", "}"), ("[{\"a\":", "}]")] {
            let inner = nested(open, 1, close, depth);
            bears("json", inner.clone());
            bears("json", format!(r#"{{"apiVersion":"v1","kind":"Pod","spec":{inner}}}"#));
            bears(
                "json",
                format!(
                    r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"managedFields":[{{
                "operation":"Apply","apiVersion":"v1","fieldsType":"FieldsV1","fieldsV1":{inner}}}]}}}}"#
                ),
            );
            bears(
                "json",
                format!(
                    r#"{{"apiVersion":"apps/v1","kind":"ControllerRevision","metadata":{{"name":"a"}},
                "revision":1,"data":{inner}}}"#
                ),
            );
            bears("yaml", inner);
        }
        bears("yaml", (0..depth.min(2_000)).map(|level| format!("{}a:\n", " ".repeat(level))).collect::<String>());
        bears("yaml", "- ".repeat(depth));
        bears("yaml", "? ".repeat(depth));
    }
}

#[test]
fn patches_that_nest_deep() {
    let object = r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","namespace":"b"},"data":{"k":"v"}}"#;
    for depth in DEPTHS {
        for media_type in ["merge-patch+json", "strategic-merge-patch+json", "apply-patch+yaml", "json-patch+json"] {
            for (open, close) in [("{\"a\":", "}"), ("{\"data\":", "}"), ("[", "]")] {
                let patch = nested(open, 1, close, depth);
                bears("patch", format!("application/{media_type}\n{object}\n{patch}"));
            }
            let patch = format!(
                r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"a"}},"x":{}}}"#,
                nested("{\"a\":", 1, "}", depth)
            );
            bears("patch", format!("application/{media_type}\n{object}\n{patch}"));
        }
    }
    let deeper = json!([
        {"op": "add", "path": "/c", "value": {}},
        {"op": "move", "from": "/data", "path": "/c/b"},
        {"op": "move", "from": "/c", "path": "/data"},
    ]);
    let operations = vec![deeper.as_array().unwrap().clone(); 3_000].concat();
    bears("patch", format!("application/json-patch+json\n{object}\n{}", Value::Array(operations)));
}

#[test]
fn expressions_that_nest_deep() {
    for depth in [50, 90, 99, 100, 30_000] {
        for (open, inner, close) in [
            ("(", "1", ")"),
            ("[", "1", "]"),
            ("{'a': ", "1", "}"),
            ("!", "true", ""),
            ("- ", "object", ""),
            ("true ? 1 : ", "1", ""),
            ("", "1", " + 1"),
            ("", "object", ".a"),
            ("", "object", "[0]"),
            ("", "object", ".?a"),
            ("", "'a'", ".trim()"),
            ("[1].map(x, ", "x", ")"),
            ("[1].all(x, ", "true", ")"),
            ("dyn(", "1", ")"),
            ("Object{a: ", "1", "}"),
            ("", "1", " == 1"),
            ("", "true", " && true"),
        ] {
            bears("cel", nested(open, inner, close, depth));
        }
    }
    let deep = nested("{\"a\":", 1, "}", 120);
    bears("cel", format!("object == object && dyn(object).a.a.a == object\n\n{deep}"));
}

#[test]
fn definitions_that_nest_deep() {
    // A level of a schema is two of JSON.
    for depth in [20, 40, 55] {
        let wraps: [fn(Value) -> Value; 5] = [
            |inner| json!({"type": "object", "properties": {"a": inner}}),
            |inner| json!({"type": "object", "additionalProperties": inner}),
            |inner| json!({"type": "array", "items": inner, "default": []}),
            |inner| json!({"allOf": [inner]}),
            |inner| json!({"not": inner}),
        ];
        for wrap in wraps {
            let schema = (0..depth).fold(json!({"type": "string"}), |inner, _| wrap(inner));
            let schema = json!({"type": "object", "properties": {"spec": schema}});
            for (open, close) in [("{\"a\":", "}"), ("[", "]")] {
                bears("custom", format!("{}\n{}", crd(&schema, ".spec"), widget(nested(open, "\"x\"", close, 120))));
            }
        }
    }
    let any = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    for column in ["[?(@".repeat(100_000), "..".repeat(60), "..a".repeat(60), "[".repeat(100_000)] {
        bears("custom", format!("{}\n{}", crd(&any, &format!(".{column}")), widget(nested("{\"a\":", 1, "}", 120))));
    }
}

#[test]
fn protobuf_that_nests_deep() {
    // JSONSchemaProps within JSONSchemaProps: `not` is its field 28.
    let mut message = Vec::new();
    for _ in 0..2_000 {
        let mut outer = vec![0xe2, 0x01];
        let mut length = message.len();
        while length >= 0x80 {
            outer.push(length as u8 | 0x80);
            length >>= 7;
        }
        outer.push(length as u8);
        outer.extend(message);
        message = outer;
    }
    let envelope = |kind: &str, inner: &[u8]| {
        let meta = format!("apiextensions.k8s.io/v1\x12{}{kind}", kind.len() as u8 as char);
        let mut body = b"k8s\0\x0a".to_vec();
        body.push(meta.len() as u8 + 2);
        body.extend([0x0a, 23]);
        body.extend(meta.as_bytes());
        body.push(0x12);
        let mut length = inner.len();
        while length >= 0x80 {
            body.push(length as u8 | 0x80);
            length >>= 7;
        }
        body.push(length as u8);
        body.extend(inner);
        body
    };
    bears("protobuf", envelope("JSONSchemaProps", &message));
}

#[test]
fn what_is_wide() {
    let names = |count: usize| (0..count).map(|n| format!("a/{n}")).collect::<Vec<_>>();
    let object = |finalizers: &[String]| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "finalizers": finalizers}});
    let (half, all) = (names(50_000), names(100_000));
    for media_type in ["strategic-merge-patch+json", "merge-patch+json", "apply-patch+yaml"] {
        bears("patch", format!("application/{media_type}\n{}\n{}", object(&half), object(&all)));
        let delete = json!({"metadata": {"$deleteFromPrimitiveList/finalizers": all}});
        bears("patch", format!("application/{media_type}\n{}\n{delete}", object(&half)));
    }
    let conditions = |count: usize, more: Value| {
        let condition = |n: usize| {
            let mut condition = json!({"type": format!("t{n}"), "status": "True"});
            condition.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            condition
        };
        (0..count).map(condition).collect::<Vec<_>>()
    };
    let node = |conditions| {
        json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"},
        "status": {"conditions": conditions}})
    };
    for more in [json!({}), json!({"$patch": "delete"})] {
        let (before, after) = (node(conditions(20_000, json!({}))), node(conditions(40_000, more)));
        bears("patch", format!("application/strategic-merge-patch+json\n{before}\n{after}"));
    }
    let managers: Vec<_> = (0..40_000)
        .map(|n| json!({"manager": n.to_string(), "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1"}))
        .collect();
    bears(
        "json",
        json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "a", "managedFields": managers}})
        .to_string(),
    );
    // The same member again and again, far down.
    let twice = nested("[", format!("{{{}}}", vec!["\"a\":1"; 300_000].join(",")), "]", 9_000);
    bears("patch", format!("application/merge-patch+json\n{}\n{twice}", object(&[])));

    let list = json!({"type": "array", "items": {"type": "string", "maxLength": 1}, "x-kubernetes-list-type": "set"});
    let schema = json!({"type": "object", "properties": {"spec": list}});
    for element in ["1", "\"long\""] {
        bears(
            "custom",
            format!("{}\n{}", crd(&schema, ".spec"), widget(format!("[{}]", vec![element; 300_000].join(",")))),
        );
    }
}
