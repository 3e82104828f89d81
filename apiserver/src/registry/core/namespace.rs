//! Namespace. Source: `pkg/registry/core/namespace/strategy.go`.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, NamespaceStatus};
use serde_json::Value;

use crate::registry::{
    cells::{AGE, NAME, cells, list, name, text},
    kind::{Column, Kind, NameRule, age, column},
};

/// Namespace.
pub struct NamespaceKind;

/// The namespace controller's claim: it empties the namespace first.
const FINALIZER: &str = "kubernetes";

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
        cells![name(&namespace.metadata), phase(namespace), age(&namespace.metadata, now)]
    }

    fn fields(namespace: &Namespace) -> Vec<(&'static str, String)> {
        vec![("status.phase", phase(namespace).to_owned()), ("name", name(&namespace.metadata).to_owned())]
    }

    fn note(new: &Namespace, old: Option<&Namespace>) -> String {
        match old.map(phase) {
            Some(before) if before != phase(new) => format!("{before} → {}", phase(new)),
            _ => String::new(),
        }
    }
}
