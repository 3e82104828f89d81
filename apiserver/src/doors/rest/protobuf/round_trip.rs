//! Protobuf says the same as JSON, for every kind: objects shaped by the schemas go into it and come back.
#![allow(clippy::unwrap_used)]

use jiff::Timestamp;
use prost::encoding::{WireType, encode_key, encode_varint};
use rand::{SeedableRng, rngs::StdRng};

use super::*;
use crate::registry::{
    decode::Validation,
    kinds::round_trip::{difference, example},
    table::Table,
};

fn bytes(number: u32, bytes: &[u8], out: &mut Vec<u8>) {
    encode_key(number, WireType::LengthDelimited, out);
    encode_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

fn number(number: u32, value: i64, out: &mut Vec<u8>) {
    encode_key(number, WireType::Varint, out);
    encode_varint(value.cast_unsigned(), out);
}

fn time(text: &str) -> Vec<u8> {
    let time: Timestamp = text.parse().unwrap();
    let mut out = Vec::new();
    number(1, time.as_second(), &mut out);
    number(2, time.subsec_nanosecond().into(), &mut out);
    out
}

fn write(kind: &str, at: u32, value: &Value, out: &mut Vec<u8>) {
    let mut inner = Vec::new();
    match (kind, value) {
        ("int", Value::Number(value)) => return number(at, value.as_i64().unwrap(), out),
        ("bool", Value::Bool(value)) => return number(at, (*value).into(), out),
        ("double", Value::Number(value)) => {
            encode_key(at, WireType::SixtyFourBit, out);
            return out.extend_from_slice(&value.as_f64().unwrap().to_le_bytes());
        }
        ("string", Value::String(text)) => inner.extend_from_slice(text.as_bytes()),
        ("bytes", Value::String(text)) => inner = STANDARD.decode(text).unwrap(),
        ("meta/v1.Time" | "meta/v1.MicroTime", Value::String(text)) => inner = time(text),
        ("api/resource.Quantity", Value::String(text)) => bytes(1, text.as_bytes(), &mut inner),
        ("util/intstr.IntOrString", Value::String(text)) => {
            number(1, 1, &mut inner);
            bytes(3, text.as_bytes(), &mut inner);
        }
        ("util/intstr.IntOrString", value) => number(2, value.as_i64().unwrap(), &mut inner),
        ("runtime.RawExtension" | "meta/v1.FieldsV1", json) => bytes(1, json.to_string().as_bytes(), &mut inner),
        (message, value) => inner = encode(message, value),
    }
    bytes(at, &inner, out);
}

fn encode(message: &str, value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    for field in &MESSAGES[message] {
        match (field.many, field.name, value) {
            (Many::One, "", value) => {
                let inner = encode(field.kind, value);
                if !inner.is_empty() {
                    bytes(field.number, &inner, &mut out);
                }
            }
            (Many::List, "", Value::Array(elements)) => {
                elements.iter().for_each(|element| write(field.kind, field.number, element, &mut out));
            }
            (many, name, Value::Object(fields)) => match (many, fields.get(name)) {
                (Many::One, Some(value)) => write(field.kind, field.number, value, &mut out),
                (Many::List, Some(Value::Array(elements))) => {
                    elements.iter().for_each(|element| write(field.kind, field.number, element, &mut out));
                }
                (Many::Map, Some(Value::Object(entries))) => {
                    for (key, value) in entries {
                        let mut pair = Vec::new();
                        bytes(1, key.as_bytes(), &mut pair);
                        write(field.kind, 2, value, &mut pair);
                        bytes(field.number, &pair, &mut out);
                    }
                }
                _ => {}
            },
            _ => {}
        }
    }
    out
}

fn body(api_version: &str, kind: &str, object: &Value) -> Vec<u8> {
    let (mut type_meta, mut envelope) = (Vec::new(), MAGIC.to_vec());
    bytes(1, api_version.as_bytes(), &mut type_meta);
    bytes(2, kind.as_bytes(), &mut type_meta);
    bytes(1, &type_meta, &mut envelope);
    bytes(2, &encode(&message_of(api_version, kind), object), &mut envelope);
    envelope
}

#[test]
fn what_goes_through_protobuf_comes_back_the_same() {
    let seed = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    for handler in Table::built_in().iter() {
        let resource = &handler.resource;
        let (api_version, kind) = (resource.api_version(), &*resource.kind);
        if !MESSAGES.contains_key(message_of(&api_version, kind).as_str()) {
            continue; // Nobody sends these as protobuf.
        }
        for _ in 0..8 {
            let sent = example(handler, &mut random);
            let (object, _) = handler.decode(sent.to_string().as_bytes(), Validation::Strict).unwrap();
            let back = to_json(&body(&api_version, kind, &sent)).unwrap();
            let (again, _) = handler
                .decode(&back, Validation::Strict)
                .unwrap_or_else(|error| panic!("seed {seed}, {kind}: {error}\n{sent}\n{back:?}"));
            let [before, after] = [object, again].map(|object| handler.encode(&*object).unwrap());
            assert_eq!(difference(&before, &after), serde_json::json!({}), "seed {seed}, {kind}:\n{sent}");
        }
    }
}
