//! How cells of printed tables are written. Source: `pkg/printers/internalversion/printers.go`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Container, PodTemplateSpec},
    apimachinery::pkg::apis::meta::v1::{LabelSelector, MicroTime, ObjectMeta, Time},
};

use kubelab_api::selector::label::Selector;

use super::kind::{Column, column, human_duration, wide};

/// The first column of nearly every kind.
pub const NAME: Column = column("Name", "string");
/// How long ago the object was made.
pub const AGE: Column = column("Age", "string");
/// When the object was made: kinds for which upstream has no printer of their own.
pub const CREATED_AT: Column = column("Created At", "date");
/// The containers' names of a pod template.
pub const CONTAINERS: Column = wide("Containers", "string");
/// The containers' images of a pod template.
pub const IMAGES: Column = wide("Images", "string");
/// A label selector.
pub const SELECTOR: Column = wide("Selector", "string");

/// What is written for nothing.
pub const NONE: &str = "<none>";
/// What is written for a choice that nobody made.
pub const UNSET: &str = "<unset>";

/// A row's cells, out of anything that becomes a JSON value.
macro_rules! cells {
    ($($cell:expr),* $(,)?) => { vec![$(serde_json::Value::from($cell)),*] };
}
pub(crate) use cells;

/// The object's name.
pub fn name(meta: &ObjectMeta) -> &str {
    meta.name.as_deref().unwrap_or_default()
}

/// A text, or `default` for a missing or empty one.
pub fn text_or<'a>(text: &'a Option<String>, default: &'a str) -> &'a str {
    text.as_deref().filter(|text| !text.is_empty()).unwrap_or(default)
}

/// A text, empty when missing.
pub fn text(text: &Option<String>) -> &str {
    text.as_deref().unwrap_or_default()
}

/// How many elements an optional list has.
pub fn count<T>(list: &Option<Vec<T>>) -> usize {
    list.as_ref().map_or(0, Vec::len)
}

/// The elements of an optional list.
pub fn list<T>(list: &Option<Vec<T>>) -> &[T] {
    list.as_deref().unwrap_or_default()
}

/// How long ago `time` was: `5m`, or `<unknown>`.
pub fn since(time: Option<&Time>, now: Timestamp) -> String {
    time.map_or_else(|| "<unknown>".into(), |time| human_duration(now.duration_since(time.0)))
}

/// As [`since`], for times with microseconds.
pub fn since_micro(time: Option<&MicroTime>, now: Timestamp) -> String {
    time.map_or_else(|| "<unknown>".into(), |time| human_duration(now.duration_since(time.0)))
}

/// When the object was made, as the column [`CREATED_AT`] wants it.
pub fn created_at(meta: &ObjectMeta) -> String {
    meta.creation_timestamp.as_ref().map_or_else(String::new, |time| time.0.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

/// Labels as `key=value,…`, or `<none>`.
pub fn labels(labels: Option<&BTreeMap<String, String>>) -> String {
    let pairs: Vec<_> = labels.into_iter().flatten().map(|(key, value)| format!("{key}={value}")).collect();
    if pairs.is_empty() { NONE.into() } else { pairs.join(",") }
}

/// A label selector in selector syntax, or `<none>`.
pub fn selector(selector: Option<&LabelSelector>) -> String {
    let text = selector.map(selector_text).unwrap_or_default();
    if text.is_empty() { NONE.into() } else { text }
}

/// A label selector in selector syntax; empty if it selects everything.
pub fn selector_text(selector: &LabelSelector) -> String {
    Selector::from_typed(Some(selector)).map(|selector| selector.to_string()).unwrap_or_default()
}

/// The containers of a pod template.
pub fn template_containers(template: &PodTemplateSpec) -> &[Container] {
    template.spec.as_ref().map_or(&[], |spec| &spec.containers)
}

/// The names and the images of containers, each joined by commas.
pub fn containers(containers: &[Container]) -> (String, String) {
    let names: Vec<_> = containers.iter().map(|container| container.name.as_str()).collect();
    let images: Vec<_> = containers.iter().map(|container| text(&container.image)).collect();
    (names.join(","), images.join(","))
}

/// At most three elements, and how many more there are.
pub fn first_three(elements: &[String]) -> String {
    const SHOWN: usize = 3;
    match elements.len().checked_sub(SHOWN) {
        None | Some(0) => elements.join(","),
        Some(more) => format!("{} + {more} more...", elements[..SHOWN].join(",")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_are_ordered_by_key() {
        let selector: LabelSelector = serde_json::from_value(serde_json::json!({
            "matchLabels": {"b": "1", "d": "2"},
            "matchExpressions": [
                {"key": "c", "operator": "In", "values": ["y", "x"]},
                {"key": "a", "operator": "DoesNotExist"},
                {"key": "e", "operator": "Exists"},
            ],
        }))
        .unwrap();
        assert_eq!(selector_text(&selector), "!a,b=1,c in (x,y),d=2,e");
        assert_eq!(super::selector(None), "<none>");
    }

    #[test]
    fn long_lists_are_cut() {
        let elements: Vec<String> = (1..=5).map(|i| i.to_string()).collect();
        assert_eq!(first_three(&elements), "1,2,3 + 2 more...");
        assert_eq!(first_three(&elements[..3]), "1,2,3");
    }
}
