//! Binding: an order to put a pod on a node; carried out and never stored. Source: `ValidatePodBinding`.

use k8s_openapi::api::core::v1::Binding;
use kubelab_api::field::{Errors, Path};

use crate::registry::{cells::text, kind::Kind, validation::required};

/// Binding.
pub struct BindingKind;

impl Kind for BindingKind {
    type Object = Binding;

    fn validate(binding: &Binding, errors: &mut Errors) {
        let path = Path::new("target");
        let kind = text(&binding.target.kind);
        if !kind.is_empty() && kind != "Node" {
            errors.not_supported(&path.child("kind"), kind, &["Node", "<empty>"]);
        }
        required(text(&binding.target.name), &path.child("name"), errors);
    }
}
