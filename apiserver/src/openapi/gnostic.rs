//! Swagger 2.0 as protobuf, which kubectl asks for: the part of gnostic's `OpenAPIv2.proto` that schemas need.

use prost::{Message, Oneof};
use serde_json::Value;

/// A document that holds schemas.
#[derive(Clone, PartialEq, Message)]
pub struct Document {
    #[prost(string, tag = "1")]
    swagger: String,
    #[prost(message, optional, tag = "2")]
    info: Option<Info>,
    #[prost(message, optional, tag = "8")]
    paths: Option<Paths>,
    #[prost(message, optional, tag = "9")]
    definitions: Option<Named>,
}

#[derive(Clone, PartialEq, Message)]
struct Info {
    #[prost(string, tag = "1")]
    title: String,
    #[prost(string, tag = "2")]
    version: String,
}

#[derive(Clone, PartialEq, Message)]
struct Paths {}

/// gnostic's `Definitions` and `Properties`, which are alike.
#[derive(Clone, PartialEq, Message)]
struct Named {
    #[prost(message, repeated, tag = "1")]
    additional_properties: Vec<NamedSchema>,
}

#[derive(Clone, PartialEq, Message)]
struct NamedSchema {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, boxed, tag = "2")]
    value: Option<Box<Schema>>,
}

#[derive(Clone, PartialEq, Message)]
struct Schema {
    #[prost(string, tag = "1")]
    reference: String,
    #[prost(string, tag = "2")]
    format: String,
    #[prost(string, tag = "4")]
    description: String,
    #[prost(string, repeated, tag = "19")]
    required: Vec<String>,
    #[prost(message, optional, boxed, tag = "21")]
    additional_properties: Option<Box<AdditionalProperties>>,
    #[prost(message, optional, tag = "22")]
    kind: Option<Types>,
    #[prost(message, optional, tag = "23")]
    items: Option<Items>,
    #[prost(message, optional, tag = "25")]
    properties: Option<Named>,
    #[prost(message, repeated, tag = "31")]
    vendor_extension: Vec<NamedAny>,
}

#[derive(Clone, PartialEq, Message)]
struct AdditionalProperties {
    #[prost(oneof = "SchemaOrBool", tags = "1, 2")]
    oneof: Option<SchemaOrBool>,
}

#[derive(Clone, PartialEq, Oneof)]
enum SchemaOrBool {
    #[prost(message, boxed, tag = "1")]
    Schema(Box<Schema>),
    #[prost(bool, tag = "2")]
    Boolean(bool),
}

#[derive(Clone, PartialEq, Message)]
struct Types {
    #[prost(string, repeated, tag = "1")]
    value: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct Items {
    #[prost(message, repeated, tag = "1")]
    schema: Vec<Schema>,
}

#[derive(Clone, PartialEq, Message)]
struct NamedAny {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    value: Option<Any>,
}

#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "2")]
    yaml: String,
}

/// The protobuf form of a Swagger document with schemas.
pub fn encode(swagger: &Value) -> Vec<u8> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let document = Document {
        swagger: text(&swagger["swagger"]),
        info: Some(Info { title: text(&swagger["info"]["title"]), version: text(&swagger["info"]["version"]) }),
        paths: Some(Paths {}),
        definitions: Some(named(&swagger["definitions"])),
    };
    document.encode_to_vec()
}

fn named(schemas: &Value) -> Named {
    let entry =
        |(name, value): (&String, &Value)| NamedSchema { name: name.clone(), value: Some(Box::new(schema(value))) };
    Named { additional_properties: schemas.as_object().into_iter().flatten().map(entry).collect() }
}

fn schema(value: &Value) -> Schema {
    let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let texts = |key: &str| -> Vec<String> {
        value[key].as_array().into_iter().flatten().filter_map(|item| item.as_str().map(str::to_owned)).collect()
    };
    let additional = value.get("additionalProperties").map(|additional| {
        let oneof = match additional {
            Value::Bool(any) => SchemaOrBool::Boolean(*any),
            other => SchemaOrBool::Schema(Box::new(schema(other))),
        };
        Box::new(AdditionalProperties { oneof: Some(oneof) })
    });
    let extensions = value.as_object().into_iter().flatten().filter(|(key, _)| key.starts_with("x-"));
    Schema {
        reference: text("$ref"),
        format: text("format"),
        description: text("description"),
        required: texts("required"),
        additional_properties: additional,
        kind: value.get("type").map(|_| Types { value: vec![text("type")] }),
        items: value.get("items").map(|items| Items { schema: vec![schema(items)] }),
        properties: value.get("properties").map(named),
        // JSON is YAML.
        vendor_extension: extensions
            .map(|(key, value)| NamedAny { name: key.clone(), value: Some(Any { yaml: value.to_string() }) })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn schemas_keep_what_kubectl_reads() {
        let swagger = json!({
            "swagger": "2.0",
            "info": { "title": "Kubernetes", "version": "v1.37.0" },
            "definitions": { "a.B": {
                "description": "text",
                "type": "object",
                "required": ["list"],
                "properties": {
                    "list": { "type": "array", "items": { "$ref": "#/definitions/c.D" } },
                    "map": { "type": "object", "additionalProperties": { "type": "string" } },
                },
                "x-kubernetes-group-version-kind": [{ "group": "", "kind": "B", "version": "v1" }],
            }},
        });
        let document = Document::decode(&encode(&swagger)[..]).unwrap();
        let definitions = document.definitions.unwrap().additional_properties;
        let schema = definitions[0].value.as_deref().unwrap();
        assert_eq!((definitions[0].name.as_str(), schema.description.as_str()), ("a.B", "text"));
        let properties = &schema.properties.as_ref().unwrap().additional_properties;
        let list = properties[0].value.as_ref().unwrap();
        assert_eq!(list.items.as_ref().unwrap().schema[0].reference, "#/definitions/c.D");
        let extension = &schema.vendor_extension[0];
        assert_eq!(extension.name, "x-kubernetes-group-version-kind");
        assert!(extension.value.as_ref().unwrap().yaml.contains("\"kind\":\"B\""));
    }
}
