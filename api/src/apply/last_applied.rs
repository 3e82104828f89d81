//! The annotation in which client-side apply keeps what it applied. `kubectl apply --server-side` takes over what that
//! says, and keeps it up to date for those who go back. Source: `lastappliedmanager.go`, `lastappliedupdater.go`.

use serde_json::Value;

use super::{Ground, Set, updater};

const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// All annotations of an object together. Source: `TotalAnnotationSizeLimitB`.
const ANNOTATIONS_LIMIT: usize = 256 * 1024;

/// The fields that client-side apply owns: those that it applied, and that are still as it applied them.
pub(super) fn fields(ground: Ground, live: &Value) -> Option<Set> {
    let annotation = live["metadata"]["annotations"][ANNOTATION].as_str().filter(|text| !text.is_empty())?;
    let config: Value = serde_json::from_str(annotation).ok()?;
    if config["apiVersion"].as_str() != Some(ground.api_version) {
        return None;
    }
    super::typed::validate(&config, ground.schema).ok()?;
    updater::unchanged_fields(ground.schema, &config, live)
}

/// Writes the applied configuration into the annotation, where the object has it.
pub(super) fn refresh(object: &mut Value, config: &Value) {
    const PLACE: &str = "/metadata/annotations";
    let Some(annotations) = object.pointer_mut(PLACE).and_then(Value::as_object_mut) else { return };
    if annotations.get(ANNOTATION).and_then(Value::as_str).is_none_or(str::is_empty) {
        return;
    }
    let mut config = config.clone();
    if let Some(annotations) = config.pointer_mut(PLACE).and_then(Value::as_object_mut) {
        annotations.remove(ANNOTATION);
        if annotations.is_empty()
            && let Some(metadata) = config.get_mut("metadata").and_then(Value::as_object_mut)
        {
            metadata.remove("annotations");
        }
    }
    annotations.insert(ANNOTATION.to_owned(), format!("{config}\n").into());
    let size = |(name, value): (&String, &Value)| name.len() + value.as_str().map_or(0, str::len);
    if annotations.iter().map(size).sum::<usize>() > ANNOTATIONS_LIMIT {
        annotations.remove(ANNOTATION);
    }
}
