//! Where a kind counts its replicas. Source: `pkg/registry/customresource/{etcd,validator}.go`.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceSubresourceScale;
use kubelab_api::{
    Error,
    field::{Errors, Path},
};
use serde_json::{Map, Value};

use crate::registry::kind::Scale;

/// Paths of plain fields.
pub struct ScalePaths {
    replicas: String,
    observed: String,
    selector: String,
}

impl ScalePaths {
    /// The paths that a definition names.
    pub fn new(scale: &CustomResourceSubresourceScale) -> Self {
        Self {
            replicas: scale.spec_replicas_path.clone(),
            observed: scale.status_replicas_path.clone(),
            selector: scale.label_selector_path.clone().unwrap_or_default(),
        }
    }

    /// The scale of an object.
    pub fn scale(&self, content: &Map<String, Value>) -> Result<Scale, Error> {
        let Some(replicas) = integer(content, &self.replicas).map_err(Error::internal)? else {
            return Err(Error::internal(format!("the spec replicas field {:?} does not exist", self.replicas)));
        };
        let observed = integer(content, &self.observed).map_err(Error::internal)?.unwrap_or_default();
        let selector = text(content, &self.selector).map_err(Error::internal)?.unwrap_or_default();
        let int32 = |number: i64| i32::try_from(number).unwrap_or(i32::MAX);
        Ok(Scale { replicas: int32(replicas), observed: int32(observed), selector: selector.to_owned() })
    }

    /// Sets the wanted replicas.
    pub fn set_replicas(&self, content: &mut Map<String, Value>, replicas: i32) {
        let mut fields = content;
        let mut names = names(&self.replicas).peekable();
        while let Some(name) = names.next() {
            if names.peek().is_none() {
                fields.insert(name.to_owned(), replicas.into());
                return;
            }
            match fields.entry(name).or_insert_with(|| Value::Object(Map::new())) {
                Value::Object(below) => fields = below,
                _ => return,
            }
        }
    }

    /// What is wrong with an object's counts.
    pub fn validate(&self, content: &Map<String, Value>, only_status: bool, errors: &mut Errors) {
        for path in [&self.replicas, &self.observed].into_iter().skip(usize::from(only_status)) {
            let at = Path::new(path);
            match integer(content, path) {
                Err(why) => errors.invalid(&at, 0, &why),
                Ok(Some(count)) if count < 0 => errors.invalid(&at, count, "should be a non-negative integer"),
                Ok(Some(count)) if count > i64::from(i32::MAX) => {
                    errors.invalid(&at, count, "should be less than or equal to 2147483647");
                }
                Ok(_) => {}
            }
        }
        if let Err(why) = text(content, &self.selector) {
            errors.invalid(&Path::new(&self.selector), "", &why);
        }
    }
}

fn names(path: &str) -> impl Iterator<Item = &str> {
    path.trim_start_matches('.').split('.')
}

fn find<'a>(content: &'a Map<String, Value>, path: &str) -> Result<Option<&'a Value>, String> {
    let mut names = names(path);
    let mut found = names.next().and_then(|name| content.get(name));
    for name in names {
        found = match found {
            None => return Ok(None),
            Some(Value::Object(fields)) => fields.get(name),
            Some(other) => return Err(unfit(path, other, "map[string]interface {}")),
        };
    }
    Ok(found)
}

/// Source: `unstructured.NestedFieldNoCopy`.
fn unfit(path: &str, value: &Value, wanted: &str) -> String {
    let (shown, given) = match value {
        Value::String(text) => (text.clone(), "string"),
        Value::Bool(_) => (value.to_string(), "bool"),
        Value::Number(number) if number.is_f64() => (value.to_string(), "float64"),
        Value::Number(_) => (value.to_string(), "int64"),
        Value::Array(_) => (value.to_string(), "[]interface {}"),
        Value::Object(_) => (value.to_string(), "map[string]interface {}"),
        Value::Null => ("<nil>".to_owned(), "<nil>"),
    };
    format!("{path} accessor error: {shown} is of the type {given}, expected {wanted}")
}

fn integer(content: &Map<String, Value>, path: &str) -> Result<Option<i64>, String> {
    match find(content, path)? {
        None => Ok(None),
        Some(value) => value.as_i64().map(Some).ok_or_else(|| unfit(path, value, "int64")),
    }
}

fn text<'a>(content: &'a Map<String, Value>, path: &str) -> Result<Option<&'a str>, String> {
    if path.is_empty() {
        return Ok(None);
    }
    match find(content, path)? {
        None => Ok(None),
        Some(value) => value.as_str().map(Some).ok_or_else(|| unfit(path, value, "string")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    fn paths() -> ScalePaths {
        ScalePaths {
            replicas: ".spec.size.replicas".into(),
            observed: ".status.replicas".into(),
            selector: ".status.selector".into(),
        }
    }

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap()
    }

    #[test]
    fn replicas_are_found_and_set() {
        let mut content = map(json!({"status": {"replicas": 2, "selector": "a=b"}}));
        assert_eq!(
            paths().scale(&content).unwrap_err().message,
            "Internal error occurred: the spec replicas field \".spec.size.replicas\" does not exist"
        );
        paths().set_replicas(&mut content, 3);
        assert_eq!(content["spec"], json!({"size": {"replicas": 3}}));
        assert_eq!(paths().scale(&content).unwrap(), Scale { replicas: 3, observed: 2, selector: "a=b".into() });
    }

    #[test]
    fn counts_are_validated() {
        for (content, expected) in [
            (json!({"spec": {"size": {"replicas": 3}}}), "[]"),
            (
                json!({"spec": {"size": {"replicas": -1}}}),
                ".spec.size.replicas: Invalid value: -1: should be a non-negative integer",
            ),
            (
                json!({"status": {"replicas": 2147483648u32}}),
                ".status.replicas: Invalid value: 2147483648: should be less than or equal to 2147483647",
            ),
            (
                json!({"status": {"selector": 1}}),
                ".status.selector: Invalid value: \"\": .status.selector accessor error: 1 is of the type int64, \
                 expected string",
            ),
        ] {
            let mut errors = Errors::default();
            paths().validate(&map(content), false, &mut errors);
            assert_eq!(errors.to_string(), expected);
        }
    }
}
