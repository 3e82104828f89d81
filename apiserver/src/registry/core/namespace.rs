//! Namespace. Source: `pkg/registry/core/namespace/strategy.go`.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, NamespaceStatus};
use kubelab_api::{
    field::{Errors, Path},
    name,
};
use serde_json::Value;

use crate::registry::{
    cells::{self, AGE, NAME, cells, list, text},
    kind::{Column, Kind, NameRule, age, column},
    metadata,
    validation::form,
};

/// Namespace.
pub struct NamespaceKind;

/// The namespace controller's claim: it empties the namespace first.
const FINALIZER: &str = "kubernetes";

/// Source: `validateFinalizerName`.
fn validate_finalizer(finalizer: &str, path: &Path, errors: &mut Errors) {
    form(finalizer, name::label_key, path, errors);
    let standard = [FINALIZER, metadata::ORPHAN, metadata::FOREGROUND];
    if !finalizer.contains('/') && !standard.contains(&finalizer) {
        let detail = "name is neither a standard finalizer name nor is it fully qualified";
        errors.invalid(path, finalizer, detail);
    }
}

fn phase(namespace: &Namespace) -> &str {
    namespace.status.as_ref().map_or("", |status| text(&status.phase))
}

impl Kind for NamespaceKind {
    type Object = Namespace;

    const NAME: NameRule = NameRule::Label;

    fn default(namespace: &mut Namespace) {
        if let Some(name) = namespace.metadata.name.clone().filter(|name| !name.is_empty()) {
            namespace.metadata.labels.get_or_insert_default().insert("kubernetes.io/metadata.name".into(), name);
        }
    }

    fn prepare_create(namespace: &mut Namespace) {
        let finalizers = namespace.spec.get_or_insert_default().finalizers.get_or_insert_default();
        if !finalizers.iter().any(|finalizer| finalizer == FINALIZER) {
            finalizers.push(FINALIZER.into());
        }
        namespace.status = Some(NamespaceStatus { phase: Some("Active".into()), conditions: None });
    }

    fn prepare_update(new: &mut Namespace, old: &Namespace) {
        new.spec.get_or_insert_default().finalizers = old.spec.clone().unwrap_or_default().finalizers;
        new.status.clone_from(&old.status);
    }

    fn prepare_status_update(new: &mut Namespace, old: &Namespace) {
        new.spec.clone_from(&old.spec);
    }

    fn validate(namespace: &Namespace, errors: &mut Errors) {
        let path = Path::new("spec").child("finalizers");
        let finalizers = namespace.spec.as_ref().map_or(&[][..], |spec| list(&spec.finalizers));
        finalizers.iter().for_each(|finalizer| validate_finalizer(finalizer, &path, errors));
    }

    fn validate_status_update(new: &Namespace, _old: &Namespace, errors: &mut Errors) {
        let path = Path::new("status").child("Phase");
        match (new.metadata.deletion_timestamp.is_some(), phase(new)) {
            (false, "Active") | (true, "Terminating") => {}
            (false, other) => errors.invalid(&path, other, "may only be 'Active' if `deletionTimestamp` is empty"),
            (true, other) => {
                errors.invalid(&path, other, "may only be 'Terminating' if `deletionTimestamp` is not empty");
            }
        }
    }

    fn prepare_part(_part: &str, new: &mut Namespace, old: &Namespace) {
        new.status.clone_from(&old.status);
    }

    fn prepare_delete(namespace: &mut Namespace) {
        namespace.status.get_or_insert_default().phase = Some("Terminating".into());
    }

    fn finalizing(namespace: &Namespace) -> bool {
        namespace.spec.as_ref().is_some_and(|spec| !list(&spec.finalizers).is_empty())
    }

    const COLUMNS: &'static [Column] = &[NAME, column("Status", "string"), AGE];

    fn cells(namespace: &Namespace, now: Timestamp) -> Vec<Value> {
        cells![cells::name(&namespace.metadata), phase(namespace), age(&namespace.metadata, now)]
    }

    fn fields(namespace: &Namespace) -> Vec<(&'static str, String)> {
        vec![("status.phase", phase(namespace).to_owned()), ("name", cells::name(&namespace.metadata).to_owned())]
    }

    fn note(new: &Namespace, old: Option<&Namespace>) -> String {
        match old.map(phase) {
            Some(before) if before != phase(new) => format!("{before} → {}", phase(new)),
            _ => String::new(),
        }
    }
}
