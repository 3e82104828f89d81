//! What is decoded and encoded again is the same, for every kind, as JSON and as YAML: objects shaped by the schemas, out of a
//! seed. Protobuf has a test of its own beside it, `doors::rest::protobuf::round_trip`.
#![allow(clippy::unwrap_used)]

use k8s_openapi::schemars::SchemaGenerator;
use rand::{Rng, RngExt, SeedableRng, rngs::StdRng};
use serde_json::{Map, Value, json};

use super::cases;
use crate::{
    doors::rest::body,
    registry::{decode::Validation, handler::Handler},
};

/// Objects nest no deeper than this; below, only what must be there is.
const DEPTH: usize = 9;

/// Makes JSON that fits a schema. Nothing in it is zero or empty, which protobuf could not tell from nothing.
struct Generator {
    definitions: Map<String, Value>,
    random: StdRng,
}

impl Generator {
    fn one_of(&mut self, texts: &[&str]) -> Value {
        texts[self.random.random_range(0..texts.len())].into()
    }

    fn value(&mut self, schema: &Value, depth: usize) -> Value {
        if let Some(name) = schema["$ref"].as_str() {
            let name = name.rsplit('/').next().unwrap().to_owned();
            return self.named(&name, depth);
        }
        if let Some(inner) = schema["allOf"].as_array().and_then(|all| all.first()) {
            return self.value(&inner.clone(), depth);
        }
        match (schema["type"].as_str(), schema["format"].as_str()) {
            (Some("object"), _) if schema["properties"].is_object() => self.object(schema, depth),
            (Some("object"), _) => match schema["additionalProperties"].clone() {
                Value::Object(of) => json!({"a.example": self.value(&Value::Object(of), depth.saturating_sub(1))}),
                _ => json!({"k": "v"}),
            },
            (Some("array"), _) => {
                let count = self.random.random_range(1..=2);
                (0..count).map(|_| self.value(&schema["items"], depth.saturating_sub(1))).collect()
            }
            (Some("integer"), Some("int64")) => self.random.random_range(1..=1_i64 << 40).into(),
            (Some("integer"), _) => self.random.random_range(1..=i32::MAX).into(),
            (Some("number"), _) => json!(0.5),
            (Some("boolean"), _) => true.into(),
            (Some("string"), Some("byte")) => "aGk=".into(),
            (Some("string"), Some("date-time")) => "2026-01-02T03:04:05Z".into(),
            (Some("string"), _) => self.one_of(&["a", "b-c", "Ä", "1"]),
            _ => json!({"k": "v"}),
        }
    }

    fn named(&mut self, name: &str, depth: usize) -> Value {
        match name.rsplit('.').next().unwrap() {
            "Quantity" => self.one_of(&["500m", "1", "2Gi", "1k"]),
            "IntOrString" if self.random.random() => self.random.random_range(1..100).into(),
            "IntOrString" => self.one_of(&["25%", "http"]),
            "Time" => "2026-01-02T03:04:05Z".into(),
            "MicroTime" => "2026-01-02T03:04:05.000006Z".into(),
            "JSONSchemaPropsOrArray" | "JSONSchemaPropsOrBool" => json!({"type": "string"}),
            "JSONSchemaPropsOrStringArray" => json!(["a"]),
            _ => {
                let schema = self.definitions[name].clone();
                self.value(&schema, depth)
            }
        }
    }

    fn object(&mut self, schema: &Value, depth: usize) -> Value {
        let required = schema["required"].as_array().cloned().unwrap_or_default();
        let mut object = Map::new();
        for (field, of) in schema["properties"].as_object().unwrap() {
            let wanted = required.contains(&field.as_str().into()) || depth > 0 && self.random.random_ratio(2, 3);
            // An object inside an object has a type of its own, which is not for the client to choose.
            let of_type =
                matches!(field.as_str(), "apiVersion" | "kind") && schema["properties"]["metadata"].is_object();
            // The youngest field of v1.37 has no number in protobuf yet.
            if wanted && !of_type && field != "runningInUserNamespace" {
                object.insert(field.clone(), self.value(of, depth.saturating_sub(1)));
            }
        }
        Value::Object(object)
    }
}

/// What differs between two encoded objects.
fn difference(before: &[u8], after: &[u8]) -> Value {
    let [before, after] = [before, after].map(|json| serde_json::from_slice::<Value>(json).unwrap());
    cases::difference(&before, &after)
}

/// An object of this kind, as a client might send it.
pub(crate) fn example(handler: &Handler, random: &mut impl Rng) -> Value {
    let mut schemas = SchemaGenerator::default();
    let schema = Value::from(handler.schema(&mut schemas));
    let definitions = schemas.take_definitions(true);
    let mut generator = Generator { definitions, random: StdRng::from_rng(random) };
    let mut object = generator.value(&schema, DEPTH);
    object["apiVersion"] = handler.resource.api_version().into();
    object["kind"] = (&*handler.resource.kind).into();
    object
}

#[test]
fn what_is_decoded_and_encoded_again_is_the_same() {
    let seed = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    for handler in cases::every_kind().iter() {
        for _ in 0..8 {
            let sent = example(handler, &mut random);
            let kind = &handler.resource.kind;
            let bytes = serde_json::to_vec(&sent).unwrap();
            let (object, warnings) = handler
                .decode(&bytes, Validation::Strict)
                .unwrap_or_else(|error| panic!("seed {seed}, {kind}: {error}: {sent}"));
            assert_eq!(warnings, Vec::<String>::new(), "seed {seed}, {kind}");
            let stored = handler.encode(&*object).unwrap();
            let yaml = serde_saphyr::to_string(&sent).unwrap();
            let (read, _) = handler.decode(&body::yaml(yaml.as_bytes()).unwrap(), Validation::Strict).unwrap();
            assert!(object.equals(&*read), "seed {seed}, {kind}, as YAML:\n{yaml}");
            let (again, _) = handler.decode(&stored, Validation::Strict).unwrap();
            let back = handler.encode(&*again).unwrap();
            let changed = difference(&stored, &back);
            assert!(object.equals(&*again) && changed == json!({}), "seed {seed}, {kind}: {changed}\n{sent}");
        }
    }
}
