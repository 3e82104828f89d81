//! FieldsV1: a set of paths as JSON. Source: `fieldpath/serialize.go` of `sigs.k8s.io/structured-merge-diff`.

use serde_json::{Map, Value};

use super::{
    element::{Element, NoElement},
    set::Set,
};

/// The path that ends at an object which has more below.
const SELF: &str = ".";

/// A set that is no FieldsV1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum NoFields {
    #[error(transparent)]
    Element(#[from] NoElement),
    #[error("a set of fields must be made of objects")]
    NoObject,
}

/// Reads a set.
pub fn decode(fields: &Value) -> Result<Set, NoFields> {
    let Value::Object(fields) = fields else { return Err(NoFields::NoObject) };
    let mut set = Set::default();
    for (key, below) in fields.iter().filter(|(key, _)| *key != SELF) {
        let Value::Object(inner) = below else { return Err(NoFields::NoObject) };
        let member = inner.is_empty() || inner.contains_key(SELF);
        let Some(element) = Element::parse(key)? else { continue };
        set.attach(element, member, decode(below)?);
    }
    Ok(set)
}

/// Writes a set.
pub fn encode(set: &Set) -> Value {
    Value::Object(object(set, false))
}

fn object(set: &Set, member: bool) -> Map<String, Value> {
    let mut fields = Map::new();
    if member && !set.is_empty() {
        fields.insert(SELF.to_owned(), Value::Object(Map::new()));
    }
    for (element, member, below) in set.iter() {
        fields.insert(element.to_text(), Value::Object(object(below, member)));
    }
    fields
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn a_set_is_written_and_read() {
        let fields = json!({"f:spec": {
            "f:containers": {"k:{\"name\":\"c\"}": {".": {}, "f:image": {}, "f:ports": {}}},
            "f:replicas": {}, "f:tags": {"v:\"x\"": {}, "v:1": {}},
        }});
        let set = decode(&fields).unwrap();
        assert_eq!(encode(&set), fields);
        assert_eq!(set.paths().len(), 6);
        assert_eq!(encode(&decode(&json!({"q:new": {"f:a": {}}, "f:a": {}})).unwrap()), json!({"f:a": {}}));
        for wrong in [json!([]), json!({"f:a": 1}), json!({"spec": {}}), json!({"f:a": {"k:x": {}}})] {
            assert!(decode(&wrong).is_err(), "{wrong}");
        }
    }
}
