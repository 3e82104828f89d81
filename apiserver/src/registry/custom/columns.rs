//! Printed columns. Source: `pkg/registry/customresource/tableconvertor`, `apihelpers.GetColumnsForVersion`.

use jiff::Timestamp;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceColumnDefinition;
use kubelab_api::{jsonpath::JsonPath, resource::Text};
use serde_json::Value;

use crate::registry::kind::{Column, human_duration};

const NAME_DESCRIPTION: &str = "Name must be unique within a namespace. Is required when creating resources, although \
     some resources may allow a client to request the generation of an appropriate name automatically. Name is primarily \
     intended for creation idempotence and configuration definition. Cannot be updated. More info: \
     https://kubernetes.io/docs/concepts/overview/working-with-objects/names#names";
const AGE_DESCRIPTION: &str = "CreationTimestamp is a timestamp representing the server time when this object was created. \
     It is not guaranteed to be set in happens-before order across separate operations. Clients may not set this value. \
     It is represented in RFC3339 form and is in UTC.\n\nPopulated by the system. Read-only. Null for lists. More info: \
     https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata";

/// The columns of a version, and where their cells come from.
pub struct Columns {
    /// What heads them: the name, and what the definition adds.
    pub heads: Vec<Column>,
    paths: Vec<Option<JsonPath>>,
}

impl Columns {
    /// The columns that a definition asks for; its age, if it asks for none.
    pub fn new(asked: &[CustomResourceColumnDefinition]) -> Self {
        let text = |text: &str| Text::Owned(text.to_owned());
        let mut heads = vec![Column {
            name: text("Name"),
            kind: text("string"),
            format: text("name"),
            description: Text::Borrowed(NAME_DESCRIPTION),
            priority: 0,
        }];
        if asked.is_empty() {
            heads.push(Column {
                name: text("Age"),
                kind: text("date"),
                format: text(""),
                description: Text::Borrowed(AGE_DESCRIPTION),
                priority: 0,
            });
            return Self { heads, paths: vec![JsonPath::parse(".metadata.creationTimestamp").ok()] };
        }
        let described = |column: &CustomResourceColumnDefinition| {
            let given = column.description.clone().filter(|text| !text.is_empty());
            given.unwrap_or_else(|| {
                format!("Custom resource definition column (in JSONPath format): {}", column.json_path)
            })
        };
        heads.extend(asked.iter().map(|column| Column {
            name: text(&column.name),
            kind: text(&column.type_),
            format: text(column.format.as_deref().unwrap_or_default()),
            description: described(column).into(),
            priority: column.priority.unwrap_or_default(),
        }));
        Self { heads, paths: asked.iter().map(|column| JsonPath::parse(&column.json_path).ok()).collect() }
    }

    /// The cells of an object.
    pub fn cells(&self, name: &str, object: &Value, now: Timestamp) -> Vec<Value> {
        let mut cells = vec![Value::from(name)];
        cells.extend(self.heads[1..].iter().zip(&self.paths).map(|(column, path)| {
            let found = path.as_ref().and_then(|path| path.find(object).into_iter().next());
            found.map_or(Value::Null, |value| cell(&column.kind, value, now))
        }));
        cells
    }
}

fn cell(kind: &str, value: &Value, now: Timestamp) -> Value {
    match (kind, value) {
        (_, Value::Null) => Value::Null,
        ("string", Value::String(_)) => value.clone(),
        ("string", other) => other.to_string().into(),
        ("integer", Value::Number(number)) => match number.as_i64() {
            Some(whole) => whole.into(),
            None => number.as_f64().map_or(Value::Null, |float| (float as i64).into()),
        },
        ("number", Value::Number(number)) => number.as_f64().map_or(Value::Null, Value::from),
        ("boolean", Value::Bool(_)) => value.clone(),
        ("date", Value::String(text)) => match text.parse::<Timestamp>() {
            Ok(time) => human_duration(now.duration_since(time)).into(),
            Err(_) => "<invalid>".into(),
        },
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn cells_have_the_types_of_their_columns() {
        let now: Timestamp = "2026-01-01T00:05:00Z".parse().unwrap();
        for (kind, value, expected) in [
            ("string", json!("a"), json!("a")),
            ("string", json!(3), json!("3")),
            ("string", json!(["a"]), json!("[\"a\"]")),
            ("string", json!({"a": 1}), json!("{\"a\":1}")),
            ("integer", json!(3), json!(3)),
            ("integer", json!(3.7), json!(3)),
            ("integer", json!("3"), json!(null)),
            ("number", json!(3), json!(3.0)),
            ("boolean", json!(true), json!(true)),
            ("boolean", json!("true"), json!(null)),
            ("date", json!("2026-01-01T00:00:00Z"), json!("5m")),
            ("date", json!("yesterday"), json!("<invalid>")),
            ("date", json!(null), json!(null)),
        ] {
            assert_eq!(cell(kind, &value, now), expected, "{kind} {value}");
        }
    }

    #[test]
    fn a_definition_without_columns_prints_ages() {
        let now: Timestamp = "2026-01-01T00:00:07Z".parse().unwrap();
        let object = json!({"metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"}, "spec": {"n": 1}});
        let columns = Columns::new(&[]);
        assert_eq!(columns.heads[1].kind, "date");
        assert_eq!(columns.cells("x", &object, now), [json!("x"), json!("7s")]);
        let asked: CustomResourceColumnDefinition =
            serde_json::from_value(json!({"name": "N", "type": "integer", "jsonPath": ".spec.n", "priority": 1}))
                .unwrap();
        let columns = Columns::new(&[asked]);
        assert_eq!(&*columns.heads[1].description, "Custom resource definition column (in JSONPath format): .spec.n");
        assert_eq!(columns.cells("x", &object, now), [json!("x"), json!(1)]);
    }
}
