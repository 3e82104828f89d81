//! Protobuf bodies, which client-go's typed clients send and prefer for built-in kinds: from them to JSON here, and back in
//! [`encode`]. Source of the envelope: `k8s.io/apimachinery/pkg/runtime/serializer/protobuf`.

pub mod encode;
mod plan;
mod wire;

use std::{collections::HashMap, sync::LazyLock};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use jiff::Timestamp;
use kubelab_api::Error;
use serde_json::{Map, Value};

use wire::{Fields, Raw, varint};

/// What every Kubernetes protobuf body begins with.
const MAGIC: &[u8] = b"k8s\0";

/// No built-in type nests deeper than this by itself.
const DEPTH: usize = 64;

/// A field of a message.
#[derive(Clone, Copy, Debug)]
struct Field {
    number: u32,
    /// Empty where the message's fields stand in its own place.
    name: &'static str,
    kind: &'static str,
    many: Many,
    /// Go leaves it out when it is zero.
    omit_zero: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Many {
    One,
    List,
    Map,
}

static MESSAGES: LazyLock<HashMap<&'static str, Vec<Field>>> = LazyLock::new(|| {
    let mut messages: HashMap<_, Vec<Field>> = HashMap::new();
    let mut fields: Option<&mut Vec<Field>> = None;
    for line in include_str!("messages.tsv").lines().filter(|line| !line.starts_with('#')) {
        let Some(row) = line.strip_prefix('\t') else {
            fields = Some(messages.entry(line).or_default());
            continue;
        };
        let mut cells = row.split('\t');
        let mut cell = || cells.next().unwrap_or_default();
        let (number, name, kind, flag) = (cell(), cell(), cell(), cell());
        let (many, kind) = match (kind.strip_prefix("[]"), kind.strip_prefix("{}")) {
            (Some(kind), _) => (Many::List, kind),
            (_, Some(kind)) => (Many::Map, kind),
            _ => (Many::One, kind),
        };
        if let (Some(fields), Ok(number)) = (&mut fields, number.parse()) {
            fields.push(Field { number, name, kind, many, omit_zero: flag == "?" });
        }
    }
    messages
});

/// A body as JSON.
pub fn to_json(body: &[u8]) -> Result<Bytes, Error> {
    let unknown = body.strip_prefix(MAGIC).ok_or_else(|| {
        Error::bad_request("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")
    })?;
    let (mut api_version, mut kind, mut raw) = (String::new(), String::new(), &[][..]);
    for field in Fields(unknown) {
        match field? {
            (1, Raw::Bytes(type_meta)) => {
                for field in Fields(type_meta) {
                    match field? {
                        (1, Raw::Bytes(bytes)) => api_version = text(bytes)?,
                        (2, Raw::Bytes(bytes)) => kind = text(bytes)?,
                        _ => {}
                    }
                }
            }
            (2, Raw::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    let message = message_of(&api_version, &kind);
    if !MESSAGES.contains_key(message.as_str()) {
        return Err(Error::bad_request(format!(
            "no kind {kind:?} is registered for version {api_version:?} as protobuf; send JSON"
        )));
    }
    let mut object = Map::new();
    object.insert("kind".into(), kind.into());
    object.insert("apiVersion".into(), api_version.into());
    fill(&message, raw, DEPTH, &mut object)?;
    Ok(Value::Object(object).to_string().into())
}

/// `apps/v1.Deployment`. Every group knows DeleteOptions, which are all the same.
fn message_of(api_version: &str, kind: &str) -> String {
    if matches!(kind, "DeleteOptions" | "ListMeta" | "PartialObjectMetadata" | "Status") {
        return format!("meta/v1.{kind}");
    }
    let (group, version) = api_version.split_once('/').unwrap_or(("core", api_version));
    let group = group.split('.').next().unwrap_or(group);
    format!("{group}/{version}.{kind}")
}

fn too_deep() -> Error {
    Error::bad_request("proto: the body is nested too deep")
}

fn text(bytes: &[u8]) -> Result<String, Error> {
    String::from_utf8(bytes.to_vec()).map_err(|_| Error::bad_request("proto: a text is not UTF-8"))
}

/// Adds a message's fields to an object.
fn fill(message: &str, bytes: &[u8], depth: usize, object: &mut Map<String, Value>) -> Result<(), Error> {
    let depth = depth.checked_sub(1).ok_or_else(too_deep)?;
    let known = MESSAGES.get(message).map_or(&[][..], Vec::as_slice);
    for field in Fields(bytes) {
        let (number, raw) = field?;
        // Fields of a newer version are left out, as upstream does.
        let Some(field) = known.iter().find(|field| field.number == number) else { continue };
        match (field.many, raw) {
            (Many::One, Raw::Bytes(inner)) if field.name.is_empty() => fill(field.kind, inner, depth, object)?,
            (Many::One, raw) => {
                let value = value(field.kind, raw, depth)?;
                if !(value.is_null() || field.omit_zero && is_zero(&value)) {
                    object.insert(field.name.into(), value);
                }
            }
            (Many::List, raw) => {
                let list = object.entry(field.name).or_insert_with(|| Value::Array(Vec::new()));
                if let Value::Array(list) = list {
                    elements(field.kind, raw, depth, list)?;
                }
            }
            (Many::Map, Raw::Bytes(pair)) => {
                let map = object.entry(field.name).or_insert_with(|| Value::Object(Map::new()));
                if let Value::Object(map) = map {
                    entry(field.kind, pair, depth, map)?;
                }
            }
            (Many::Map, _) => {}
        }
    }
    Ok(())
}

fn elements(kind: &str, raw: Raw<'_>, depth: usize, list: &mut Vec<Value>) -> Result<(), Error> {
    match (kind, raw) {
        ("int" | "bool", Raw::Bytes(mut packed)) => {
            while let Some(number) = varint(&mut packed) {
                list.push(value(kind, Raw::Varint(number), depth)?);
            }
        }
        _ => list.push(value(kind, raw, depth)?),
    }
    Ok(())
}

fn entry(kind: &str, pair: &[u8], depth: usize, map: &mut Map<String, Value>) -> Result<(), Error> {
    let (mut key, mut held) = (String::new(), zero(kind));
    for field in Fields(pair) {
        match field? {
            (1, Raw::Bytes(bytes)) => key = text(bytes)?,
            (2, raw) => held = value(kind, raw, depth)?,
            _ => {}
        }
    }
    map.insert(key, held);
    Ok(())
}

fn zero(kind: &str) -> Value {
    match kind {
        "string" | "bytes" => Value::from(""),
        "int" | "double" => Value::from(0),
        "bool" => Value::from(false),
        _ => Value::Object(Map::new()),
    }
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::String(text) => text.is_empty(),
        Value::Bool(is) => !is,
        Value::Number(number) => number.as_f64() == Some(0.0),
        _ => false,
    }
}

fn value(kind: &str, raw: Raw<'_>, depth: usize) -> Result<Value, Error> {
    Ok(match (kind, raw) {
        // Negative numbers are sign-extended.
        ("int", Raw::Varint(number)) => Value::from(number.cast_signed()),
        ("bool", Raw::Varint(number)) => Value::from(number != 0),
        ("double", Raw::Fixed64(bits)) => Value::from(f64::from_bits(bits)),
        ("string", Raw::Bytes(bytes)) => Value::from(text(bytes)?),
        ("bytes", Raw::Bytes(bytes)) => Value::from(STANDARD.encode(bytes)),
        ("meta/v1.Time", Raw::Bytes(bytes)) => time(bytes, 0)?,
        ("meta/v1.MicroTime", Raw::Bytes(bytes)) => time(bytes, 6)?,
        ("api/resource.Quantity", Raw::Bytes(bytes)) => match first(bytes)? {
            Some(Raw::Bytes(bytes)) => Value::from(text(bytes)?),
            _ => Value::from("0"),
        },
        ("util/intstr.IntOrString", Raw::Bytes(bytes)) => int_or_string(bytes)?,
        ("runtime.RawExtension" | "meta/v1.FieldsV1" | "apiextensions/v1.JSON", Raw::Bytes(bytes)) => {
            match first(bytes)? {
                Some(Raw::Bytes(json)) => serde_json::from_slice(json)
                    .map_err(|error| Error::bad_request(format!("proto: a raw extension is not JSON: {error}")))?,
                _ => Value::Null,
            }
        }
        (union, Raw::Bytes(bytes)) if union.starts_with("apiextensions/v1.JSONSchemaPropsOr") => {
            schema_or(union, bytes, depth)?
        }
        (message, Raw::Bytes(bytes)) => {
            let mut object = Map::new();
            fill(message, bytes, depth, &mut object)?;
            // A message that only wraps a list is that list.
            match object.remove("") {
                Some(list) => list,
                None => Value::Object(object),
            }
        }
        _ => return Err(Error::bad_request(format!("proto: wrong wireType for a {kind}"))),
    })
}

/// A schema, or what may stand in its place: a list of schemas, a list of names, or whether anything is allowed.
fn schema_or(union: &str, bytes: &[u8], depth: usize) -> Result<Value, Error> {
    let schema = |bytes| {
        let mut schema = Map::new();
        fill("apiextensions/v1.JSONSchemaProps", bytes, depth, &mut schema)?;
        Ok::<_, Error>(Value::Object(schema))
    };
    let (mut allows, mut one, mut list) = (None, None, Vec::new());
    for field in Fields(bytes) {
        match field? {
            (1, Raw::Varint(number)) => allows = Some(number != 0),
            (1, Raw::Bytes(bytes)) => one = Some(schema(bytes)?),
            (2, Raw::Bytes(bytes)) if union.ends_with("Bool") => one = Some(schema(bytes)?),
            (2, Raw::Bytes(bytes)) if union.ends_with("StringArray") => list.push(text(bytes)?.into()),
            (2, Raw::Bytes(bytes)) => list.push(schema(bytes)?),
            _ => {}
        }
    }
    Ok(one.or(allows.map(Value::Bool)).unwrap_or(Value::Array(list)))
}

/// The first field's value.
fn first(bytes: &[u8]) -> Result<Option<Raw<'_>>, Error> {
    for field in Fields(bytes) {
        if let (1, raw) = field? {
            return Ok(Some(raw));
        }
    }
    Ok(None)
}

/// RFC 3339 with this many digits after the point; Go's zero time is null.
fn time(bytes: &[u8], digits: u8) -> Result<Value, Error> {
    let (mut seconds, mut nanos) = (None, 0);
    for field in Fields(bytes) {
        match field? {
            (1, Raw::Varint(number)) => seconds = Some(number.cast_signed()),
            (2, Raw::Varint(number)) => nanos = number.cast_signed(),
            _ => {}
        }
    }
    let Some(seconds) = seconds else { return Ok(Value::Null) };
    let nanos = if digits == 0 { 0 } else { i32::try_from(nanos).unwrap_or(0) };
    let time = Timestamp::new(seconds, nanos).map_err(|error| Error::bad_request(format!("proto: {error}")))?;
    Ok(Value::from(format!("{time:.*}", usize::from(digits))))
}

fn int_or_string(bytes: &[u8]) -> Result<Value, Error> {
    let (mut is_text, mut number, mut words) = (false, 0, String::new());
    for field in Fields(bytes) {
        match field? {
            (1, Raw::Varint(kind)) => is_text = kind == 1,
            (2, Raw::Varint(value)) => number = value.cast_signed(),
            (3, Raw::Bytes(bytes)) => words = text(bytes)?,
            _ => {}
        }
    }
    Ok(if is_text { Value::from(words) } else { Value::from(number) })
}

#[cfg(test)]
mod round_trip;
#[cfg(test)]
mod tests;
