//! Where a value has the wrong type, in the words of Go's decoder, which name Go's types; and the forms that Go's decoder
//! takes and k8s-openapi's does not.

use base64::{DecodeError, Engine, prelude::BASE64_STANDARD};
use serde_json::Value;

use super::{decode::value_at, scan::Step};

const QUANTITY: &str = "io.k8s.apimachinery.pkg.api.resource.Quantity";

/// What `error` is in Go's words: `json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of
/// type int32`. Source: `UnmarshalTypeError` in `encoding/json/decode.go`.
pub fn mismatch(root: &Value, kind: &str, json: &[u8], steps: &[Step], error: &serde_json::Error) -> String {
    let mut walk = Walk { root, holder: kind.to_owned(), fields: Vec::new(), schema: root };
    for step in steps {
        walk.enter(step);
    }
    let given = value_at(json, steps).unwrap_or_default();
    let wanted = go_type(walk.schema);
    if let (Some(b'"'), Ok(text)) = (given.first(), serde_json::from_slice::<String>(given)) {
        match wanted.as_str() {
            "[]uint8" => return illegal_base64(&text),
            "v1.Time" | "v1.MicroTime" => {
                let layout =
                    if wanted == "v1.Time" { "2006-01-02T15:04:05Z07:00" } else { "2006-01-02T15:04:05.000000Z07:00" };
                return format!("parsing time {text:?} as {layout:?}: cannot parse {text:?} as \"2006\"");
            }
            _ => {}
        }
    }
    let given = match given.first() {
        Some(b'0'..=b'9' | b'-') if wanted.starts_with("int") => {
            format!("number {}", String::from_utf8_lossy(given))
        }
        Some(_) => json_type(given, &[]).to_owned(),
        None => error.to_string(),
    };
    let (holder, fields) = (walk.holder, walk.fields.join("."));
    format!("json: cannot unmarshal {given} into Go struct field {holder}.{fields} of type {wanted}")
}

fn illegal_base64(text: &str) -> String {
    let offset = match BASE64_STANDARD.decode(text) {
        Err(DecodeError::InvalidByte(offset, _) | DecodeError::InvalidLastSymbol(offset, _)) => offset,
        _ => text.len(),
    };
    format!("illegal base64 data at input byte {offset}")
}

/// What Go calls the type of the JSON value where the path leads.
pub fn json_type(json: &[u8], steps: &[Step]) -> &'static str {
    let value = value_at(json, steps).unwrap_or_default();
    match value.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'"') => "string",
        Some(b'{') => "object",
        Some(b'[') => "array",
        Some(b't' | b'f') => "bool",
        Some(b'n') => "null",
        _ => "number",
    }
}

struct Walk<'a> {
    root: &'a Value,
    holder: String,
    fields: Vec<String>,
    schema: &'a Value,
}

impl Walk<'_> {
    fn enter(&mut self, step: &Step) {
        let schema = resolve(self.root, self.schema);
        match step {
            Step::Element(_) => self.schema = &schema["items"],
            Step::Member(name) => match schema["properties"].get(&**name) {
                Some(property) => {
                    if let Some(name) = reference(self.schema) {
                        self.holder = short_name(name).to_owned();
                    }
                    self.fields.push(name.to_string());
                    self.schema = property;
                }
                None => self.schema = &schema["additionalProperties"],
            },
        }
    }
}

fn reference(schema: &Value) -> Option<&str> {
    schema["$ref"].as_str().map(|path| path.trim_start_matches("#/$defs/"))
}

fn resolve<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    reference(schema).map_or(schema, |name| &root["$defs"][name])
}

/// `io.k8s.api.apps.v1.DeploymentSpec` → `DeploymentSpec`.
fn short_name(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

fn go_type(schema: &Value) -> String {
    if let Some(name) = reference(schema) {
        let mut parts = name.rsplit('.');
        let (short, package) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        return format!("{package}.{short}");
    }
    match (schema["type"].as_str(), schema["format"].as_str()) {
        (Some("integer"), format) => format.unwrap_or("int64").to_owned(),
        (Some("number"), _) => "float64".into(),
        (Some("boolean"), _) => "bool".into(),
        (Some("string"), Some("byte")) => "[]uint8".into(),
        (Some("array"), _) => format!("[]{}", go_type(&schema["items"])),
        (Some("object"), _) if schema["additionalProperties"].is_object() => {
            format!("map[string]{}", go_type(&schema["additionalProperties"]))
        }
        _ => "string".into(),
    }
}

/// Rewrites what Go's decoder takes and k8s-openapi's does not: numbers as quantities (`cpu: 1`), nulls in lists and maps,
/// an empty `apiVersion` or `kind`.
pub fn accept_lenient_forms(root: &Value, value: &mut Value) {
    if let Value::Object(members) = value {
        members.retain(|key, value| !((key == "apiVersion" || key == "kind") && value == ""));
    }
    rewrite(root, root, value);
}

fn rewrite(root: &Value, schema: &Value, value: &mut Value) {
    if reference(schema) == Some(QUANTITY) {
        if let Value::Number(number) = value {
            *value = Value::String(number.to_string());
        }
        return;
    }
    let schema = resolve(root, schema);
    match value {
        Value::Object(members) => {
            for (key, value) in members {
                let schema = schema["properties"].get(key).unwrap_or(&schema["additionalProperties"]);
                if value.is_null() && schema["type"] == "string" {
                    *value = Value::String(String::new());
                }
                rewrite(root, schema, value);
            }
        }
        Value::Array(elements) => {
            for value in elements {
                if value.is_null() {
                    *value = zero(root, &schema["items"]);
                }
                rewrite(root, &schema["items"], value);
            }
        }
        _ => {}
    }
}

/// Go's zero value of a type.
fn zero(root: &Value, schema: &Value) -> Value {
    match resolve(root, schema)["type"].as_str() {
        Some("object") => Value::Object(Default::default()),
        Some("array") => Value::Array(Vec::new()),
        Some("integer" | "number") => Value::from(0),
        Some("boolean") => Value::Bool(false),
        _ => Value::String(String::new()),
    }
}
