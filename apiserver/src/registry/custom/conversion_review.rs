//! ConversionReview: what a conversion webhook is sent, and what it may answer.
//! Source: `pkg/apiserver/conversion/webhook_converter.go`.

use std::collections::BTreeMap;

use kubelab_api::{
    field::{Errors, Path},
    go::type_name,
    selector::label,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::registry::metadata;

const GROUP: &str = "apiextensions.k8s.io";

/// What a webhook is sent: objects, each of them JSON.
pub fn request(version: &str, uid: &str, to: &str, objects: &[&[u8]]) -> Vec<u8> {
    let text = |text: &str| Value::from(text).to_string();
    let head = format!(
        "{{\"kind\":\"ConversionReview\",\"apiVersion\":\"{GROUP}/{version}\",\"request\":{{\"uid\":{},\
         \"desiredAPIVersion\":{},\"objects\":[",
        text(uid),
        text(to)
    );
    let response = json!({"uid": "", "convertedObjects": null, "result": {"metadata": {}}});
    let tail = format!("]}},\"response\":{response}}}");
    [head.as_bytes(), &objects.join(&b','), tail.as_bytes()].concat()
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Review {
    kind: String,
    api_version: String,
    response: Option<Response>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Response {
    uid: String,
    converted_objects: Option<Vec<Value>>,
    result: Outcome,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Outcome {
    status: Option<String>,
    message: Option<String>,
}

/// The objects of an answer, or why there are none.
pub fn converted(version: &str, uid: &str, body: &[u8]) -> Result<Vec<Value>, String> {
    let review: Review = serde_json::from_slice(body)
        .map_err(|error| format!("couldn't get version/kind; json parse error: {error}"))?;
    let strict = version == "v1";
    let expected = format!("{GROUP}/{version}");
    if strict && (review.api_version != expected || review.kind != "ConversionReview") {
        return Err(format!(
            "expected webhook response of {expected}, Kind=ConversionReview, got {}, Kind={}",
            review.api_version, review.kind
        ));
    }
    let response = review.response.ok_or("no response provided")?;
    if strict && response.uid != uid {
        return Err(format!("expected response.uid={uid:?}, got {:?}", response.uid));
    }
    let status = response.result.status.unwrap_or_default();
    if status != "Success" {
        let message = response.result.message.filter(|message| !message.is_empty());
        return Err(message.unwrap_or_else(|| format!("response.result.status was '{status}', not 'Success'")));
    }
    Ok(response.converted_objects.unwrap_or_default())
}

/// Why a converted object is not accepted.
#[derive(Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is no object at all.
    NoObject(String),
    /// What the webhook did wrong.
    Unfit(String),
}

/// A converted object with the original's metadata, of which a webhook may change labels and annotations.
pub fn accept(original: &Value, mut converted: Value, to: &str) -> Result<Value, Refusal> {
    let text = |object: &Value, path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (was, is) = (text(original, "/kind"), text(&converted, "/kind"));
    if is.is_empty() {
        return Err(Refusal::NoObject(format!("Object 'Kind' is missing in '{converted}'")));
    }
    let version = text(&converted, "/apiVersion");
    let unfit = |how: String| Err(Refusal::Unfit(how));
    let at_first = "returned invalid object at index 0";
    if version != to {
        return unfit(format!("{at_first}: invalid groupVersion (expected {to}, received {version})"));
    }
    if is != was {
        return unfit(format!("{at_first}: invalid kind (expected {was}, received {is})"));
    }
    for (field, what) in [("name", "name"), ("namespace", "namespace"), ("uid", "UID")] {
        let path = format!("/metadata/{field}");
        let (was, is) = (text(original, &path), text(&converted, &path));
        if was != is {
            return unfit(format!("returned invalid object: must have the same {what}: {was} != {is}"));
        }
    }
    match restored(&original["metadata"], converted.get("metadata")) {
        Ok(metadata) => converted["metadata"] = metadata,
        Err(why) => return unfit(format!("returned invalid metadata: {why}")),
    }
    Ok(converted)
}

/// The original metadata with the labels and annotations of the converted object.
fn restored(original: &Value, answered: Option<&Value>) -> Result<Value, String> {
    let answered = match answered {
        None => return Err("missing metadata in converted object".into()),
        Some(Value::Object(answered)) => answered,
        Some(other) => return Err(format!("invalid metadata of type {} in converted object", type_name(other))),
    };
    let mut restored = original.as_object().cloned().unwrap_or_default();
    for field in ["labels", "annotations"] {
        match answered.get(field) {
            None | Some(Value::Null) => drop(restored.remove(field)),
            Some(Value::Object(given)) => {
                validate(field, given, restored.get(field))?;
                restored.insert(field.into(), given.clone().into());
            }
            Some(other) => {
                let kind = type_name(other);
                return Err(format!("invalid metadata.{field} of type {kind} in converted object"));
            }
        }
    }
    Ok(restored.into())
}

fn validate(field: &str, given: &Map<String, Value>, before: Option<&Value>) -> Result<(), String> {
    let mut texts = BTreeMap::new();
    for (key, value) in given {
        let Value::String(value) = value else {
            let kind = type_name(value);
            return Err(format!("metadata.{field}[{key}] must be a string, but is {kind} in converted object"));
        };
        texts.insert(key.clone(), value.clone());
    }
    let unchanged = before.map_or(given.is_empty(), |before| before.as_object() == Some(given));
    if unchanged {
        return Ok(());
    }
    let mut errors = Errors::default();
    let path = Path::new("metadata");
    match field {
        "labels" => label::validate_labels(Some(&texts), &path.child("labels"), &mut errors),
        // In upstream's words, which have no "s" here.
        _ => metadata::validate_annotations(Some(&texts), &path.child("annotation"), &mut errors),
    }
    if errors.is_empty() { Ok(()) } else { Err(errors.to_string()) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn reviews_are_upstreams() {
        let body = request("v1", "u", "x/v2", &[b"{\"a\":1}", b"{}"]);
        let review: Value = serde_json::from_slice(&body).unwrap();
        let wanted = json!({"uid": "u", "desiredAPIVersion": "x/v2", "objects": [{"a": 1}, {}]});
        assert_eq!(review["request"], wanted);
        assert_eq!(review["apiVersion"], "apiextensions.k8s.io/v1");
    }

    #[test]
    fn answers_are_checked() {
        let review = |version: &str, response: Value| {
            let api_version = format!("apiextensions.k8s.io/{version}");
            let body = json!({"apiVersion": api_version, "kind": "ConversionReview", "response": response});
            converted(version, "u", body.to_string().as_bytes())
        };
        let success = json!({"uid": "u", "result": {"status": "Success"}, "convertedObjects": [{"a": 1}]});
        assert_eq!(review("v1", success).unwrap(), [json!({"a": 1})]);
        let old = json!({"result": {"status": "Success"}, "convertedObjects": [{}]});
        assert_eq!(review("v1beta1", old).unwrap().len(), 1);
        for (response, wrong) in [
            (json!(null), "no response provided"),
            (json!({"uid": "x"}), "expected response.uid=\"u\", got \"x\""),
            (json!({"uid": "u", "result": {"status": "Failed", "message": "no"}}), "no"),
            (json!({"uid": "u", "result": {"status": "Failed"}}), "response.result.status was 'Failed', not 'Success'"),
            (json!({"uid": "u"}), "response.result.status was '', not 'Success'"),
        ] {
            assert_eq!(review("v1", response).unwrap_err(), wrong);
        }
        assert_eq!(
            converted("v1", "u", br#"{"apiVersion":"apiextensions.k8s.io/v1beta1","kind":"ConversionReview"}"#),
            Err("expected webhook response of apiextensions.k8s.io/v1, Kind=ConversionReview, got \
                 apiextensions.k8s.io/v1beta1, Kind=ConversionReview"
                .into())
        );
    }

    fn object(version: &str, patch: Value) -> Value {
        let metadata = json!({"name": "a", "namespace": "n", "uid": "1", "generation": 2, "labels": {"l": "1"}});
        let mut object = json!({"apiVersion": version, "kind": "Widget", "metadata": metadata});
        json_patch::merge(&mut object, &patch);
        object
    }

    #[test]
    fn only_labels_and_annotations_change() {
        let original = object("x/v1", json!({}));
        let metadata = json!({"generation": 7, "labels": {"m": "2"}, "annotations": {"a": "b"}, "finalizers": ["f"]});
        let mut answer = object("x/v2", json!({"spec": 1}));
        json_patch::merge(&mut answer["metadata"], &metadata);
        let accepted = accept(&original, answer, "x/v2").unwrap();
        let wanted = json!({
            "name": "a", "namespace": "n", "uid": "1", "generation": 2,
            "labels": {"l": "1", "m": "2"}, "annotations": {"a": "b"},
        });
        assert_eq!((&accepted["metadata"], &accepted["spec"]), (&wanted, &json!(1)));
        let bare = accept(&original, object("x/v2", json!({"metadata": {"labels": null}})), "x/v2").unwrap();
        assert_eq!(bare["metadata"].get("labels"), None);
    }

    #[test]
    fn objects_that_do_not_fit_are_refused_in_upstreams_words() {
        let original = object("x/v1", json!({}));
        for (answer, wrong) in [
            (
                object("x/v1", json!({})),
                "returned invalid object at index 0: invalid groupVersion (expected x/v2, received x/v1)",
            ),
            (
                object("x/v2", json!({"kind": "Gadget"})),
                "returned invalid object at index 0: invalid kind (expected Widget, received Gadget)",
            ),
            (
                object("x/v2", json!({"metadata": {"name": "b"}})),
                "returned invalid object: must have the same name: a != b",
            ),
            (
                object("x/v2", json!({"metadata": {"namespace": null}})),
                "returned invalid object: must have the same namespace: n != ",
            ),
            (
                object("x/v2", json!({"metadata": {"uid": "2"}})),
                "returned invalid object: must have the same UID: 1 != 2",
            ),
            (
                object("x/v2", json!({"metadata": {"labels": ["x"]}})),
                "returned invalid metadata: invalid metadata.labels of type []interface {} in converted object",
            ),
            (
                object("x/v2", json!({"metadata": {"labels": {"x": 1}}})),
                "returned invalid metadata: metadata.labels[x] must be a string, but is int64 in converted object",
            ),
            (
                object("x/v2", json!({"metadata": {"annotations": {"a b": "c"}}})),
                "returned invalid metadata: metadata.annotation: Invalid value: \"a b\": name part must consist of \
                 alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. \
                 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
                 '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
            ),
        ] {
            assert_eq!(accept(&original, answer, "x/v2"), Err(Refusal::Unfit(wrong.into())));
        }
        assert_eq!(
            accept(&original, json!({"a": 1}), "x/v2"),
            Err(Refusal::NoObject("Object 'Kind' is missing in '{\"a\":1}'".into()))
        );
        assert_eq!(restored(&json!({}), None), Err("missing metadata in converted object".into()));
    }
}
