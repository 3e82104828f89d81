//! A schema as a tree that is ready to be used. Source: `apiserver/schema/{structural,convert}.go`.

use std::collections::BTreeMap;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool, ValidationRule,
};
use serde_json::Value;

use super::pattern::Pattern;

/// What else an object may have beside its properties.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Additional {
    /// The schema does not say.
    #[default]
    Unsaid,
    /// Anything.
    Any,
    /// Nothing.
    Nothing,
    /// Values of this schema.
    Of(Box<Schema>),
}

/// How the elements of a list belong together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ListType {
    /// The list is one value.
    #[default]
    Atomic,
    /// Each element stands once.
    Set,
    /// Each combination of the keys stands once.
    Map,
}

/// What values of one place must be.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Schema {
    /// `object`, `array`, `string`, `integer`, `number`, `boolean`; empty for any.
    pub kind: String,
    /// `null` is a value too.
    pub nullable: bool,
    /// What stands there if nothing was said.
    pub default: Option<Value>,
    /// Fields that are not in the schema are kept.
    pub preserves_unknown: bool,
    /// An object with apiVersion, kind and metadata of its own.
    pub embedded: bool,
    /// A number or a text.
    pub int_or_string: bool,
    /// The known fields.
    pub properties: BTreeMap<String, Schema>,
    /// The unknown fields.
    pub additional: Additional,
    /// The elements.
    pub items: Option<Box<Schema>>,
    /// How the elements belong together.
    pub list_type: Option<ListType>,
    /// Which fields tell the elements of a map apart.
    pub list_keys: Vec<String>,
    /// The object is one value: its fields have no owners of their own.
    pub atomic_map: bool,
    /// What else a value must be.
    pub values: Values,
    /// Rules in CEL.
    pub rules: Vec<ValidationRule>,
}

/// What a value must be beyond its type.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs)]
pub struct Values {
    pub format: String,
    pub maximum: Option<f64>,
    pub exclusive_maximum: bool,
    pub minimum: Option<f64>,
    pub exclusive_minimum: bool,
    pub multiple_of: Option<f64>,
    pub max_length: Option<i64>,
    pub min_length: Option<i64>,
    pub pattern: Option<Pattern>,
    pub max_items: Option<i64>,
    pub min_items: Option<i64>,
    pub unique_items: bool,
    pub max_properties: Option<i64>,
    pub min_properties: Option<i64>,
    pub required: Vec<String>,
    pub allowed: Vec<Value>,
    pub all_of: Vec<Schema>,
    pub any_of: Vec<Schema>,
    pub one_of: Vec<Schema>,
    pub not: Option<Box<Schema>>,
}

impl Schema {
    /// The tree of a definition's schema. What a valid definition cannot say is left out.
    pub fn new(props: &JSONSchemaProps) -> Self {
        let children = |list: &Option<Vec<JSONSchemaProps>>| list.iter().flatten().map(Schema::new).collect();
        let values = Values {
            format: props.format.clone().unwrap_or_default(),
            maximum: props.maximum,
            exclusive_maximum: props.exclusive_maximum == Some(true),
            minimum: props.minimum,
            exclusive_minimum: props.exclusive_minimum == Some(true),
            multiple_of: props.multiple_of,
            max_length: props.max_length,
            min_length: props.min_length,
            pattern: props.pattern.as_deref().filter(|pattern| !pattern.is_empty()).map(Pattern::new),
            max_items: props.max_items,
            min_items: props.min_items,
            unique_items: props.unique_items == Some(true),
            max_properties: props.max_properties,
            min_properties: props.min_properties,
            required: props.required.clone().unwrap_or_default(),
            allowed: props.enum_.iter().flatten().map(|value| value.0.clone()).collect(),
            all_of: children(&props.all_of),
            any_of: children(&props.any_of),
            one_of: children(&props.one_of),
            not: props.not.as_deref().map(|not| Box::new(Schema::new(not))),
        };
        Self {
            kind: props.type_.clone().unwrap_or_default(),
            nullable: props.nullable == Some(true),
            default: props.default.as_ref().map(|default| default.0.clone()),
            preserves_unknown: props.x_kubernetes_preserve_unknown_fields == Some(true),
            embedded: props.x_kubernetes_embedded_resource == Some(true),
            int_or_string: props.x_kubernetes_int_or_string == Some(true),
            properties: props
                .properties
                .iter()
                .flatten()
                .map(|(name, property)| (name.clone(), Schema::new(property)))
                .collect(),
            additional: match &props.additional_properties {
                None => Additional::Unsaid,
                Some(JSONSchemaPropsOrBool::Bool(true)) => Additional::Any,
                Some(JSONSchemaPropsOrBool::Bool(false)) => Additional::Nothing,
                Some(JSONSchemaPropsOrBool::Schema(schema)) => Additional::Of(Box::new(Schema::new(schema))),
            },
            items: match &props.items {
                Some(JSONSchemaPropsOrArray::Schema(schema)) => Some(Box::new(Schema::new(schema))),
                _ => None,
            },
            list_type: props.x_kubernetes_list_type.as_deref().map(|name| match name {
                "set" => ListType::Set,
                "map" => ListType::Map,
                _ => ListType::Atomic,
            }),
            list_keys: props.x_kubernetes_list_map_keys.clone().unwrap_or_default(),
            atomic_map: props.x_kubernetes_map_type.as_deref() == Some("atomic"),
            values,
            rules: props.x_kubernetes_validations.clone().unwrap_or_default(),
        }
    }

    /// The schema of a field, by its name or as one of the unknown.
    pub fn field(&self, name: &str) -> Option<&Schema> {
        match (self.properties.get(name), &self.additional) {
            (Some(schema), _) => Some(schema),
            (None, Additional::Of(schema)) => Some(schema),
            _ => None,
        }
    }

    /// The same, as the schema of a whole object.
    #[must_use]
    pub fn as_resource(&self) -> Self {
        Self { embedded: true, ..self.clone() }
    }

    /// The schemas of the fields and of the elements.
    pub fn children(&self) -> impl Iterator<Item = &Schema> {
        let additional = match &self.additional {
            Additional::Of(schema) => Some(&**schema),
            _ => None,
        };
        self.properties.values().chain(self.items.as_deref()).chain(additional)
    }

    /// A test holds for the schema, or for one within it.
    pub fn any(&self, test: &dyn Fn(&Schema) -> bool) -> bool {
        test(self) || self.children().any(|child| child.any(test))
    }
}
