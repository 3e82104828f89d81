//! The types that rules in CEL see. Source: `k8s.io/apiserver/pkg/cel/common/schemas.go`, `pkg/cel/escaping.go`.

use std::sync::Arc;

use kubelab_api::structural::{Additional, ListType, Schema};

use crate::cel::{Grouping, ObjectType, Type};

/// The type of a whole object: also its apiVersion, its kind and its names.
pub fn root(schema: &Schema) -> Option<Type> {
    of(&schema.as_resource())
}

/// The type of a value; `None` where a schema does not say enough for a rule to look into it.
pub fn of(schema: &Schema) -> Option<Type> {
    if schema.int_or_string {
        return Some(Type::Dyn);
    }
    Some(match schema.kind.as_str() {
        "array" => Type::List(of(schema.items.as_deref()?)?.into(), grouping(schema)),
        "object" => match &schema.additional {
            Additional::Of(values) => Type::map(Type::String, of(values)?),
            _ => Type::object(record(schema)),
        },
        "string" => match schema.values.format.as_str() {
            "byte" => Type::Bytes,
            "duration" => Type::Duration,
            "date" | "date-time" => Type::Timestamp,
            _ => Type::String,
        },
        "boolean" => Type::Bool,
        "number" => Type::Double,
        "integer" => Type::Int,
        _ => return None,
    })
}

fn grouping(schema: &Schema) -> Grouping {
    match schema.list_type {
        Some(ListType::Set) => Grouping::Set,
        Some(ListType::Map) => {
            let escaped = |key: &String| escape(key).unwrap_or_else(|| key.clone()).into();
            Grouping::Map(schema.list_keys.iter().map(escaped).collect())
        }
        _ => Grouping::Atomic,
    }
}

fn record(schema: &Schema) -> ObjectType {
    let mut record = ObjectType { name: "object".into(), ..ObjectType::default() };
    let mut add = |name: &str, kind: Type| {
        let Some(escaped) = escape(name) else { return };
        if escaped != name {
            record.escaped.insert(name.into(), Arc::from(escaped.as_str()));
        }
        record.fields.insert(escaped.into(), kind);
    };
    for (name, property) in &schema.properties {
        if let Some(kind) = of(property) {
            add(name, kind);
        }
    }
    if schema.embedded {
        let names = ObjectType::new("object", [("name", Type::String), ("generateName", Type::String)]);
        add("apiVersion", Type::String);
        add("kind", Type::String);
        add("metadata", Type::object(names));
    }
    record
}

/// Words of the language, which cannot be names of fields.
const RESERVED: [&str; 18] = [
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
];

/// A field's name as expressions write it; `None` where they cannot.
pub fn escape(name: &str) -> Option<String> {
    let first = name.chars().next()?;
    let fits = |c: char| c.is_ascii_alphanumeric() || "_.-/".contains(c);
    if !(first.is_ascii_alphabetic() || first == '_') || !name.chars().all(fits) {
        return None;
    }
    if RESERVED.contains(&name) {
        return Some(format!("__{name}__"));
    }
    let name = name.replace("__", "__underscores__");
    Some(name.replace('.', "__dot__").replace('-', "__dash__").replace('/', "__slash__"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped() {
        for (name, escaped) in [
            ("abc", Some("abc")),
            ("if", Some("__if__")),
            ("a.b", Some("a__dot__b")),
            ("a-b/c", Some("a__dash__b__slash__c")),
            ("a__b", Some("a__underscores__b")),
            ("$ref", None),
            ("1a", None),
            ("", None),
        ] {
            assert_eq!(escape(name).as_deref(), escaped, "{name}");
        }
    }
}
