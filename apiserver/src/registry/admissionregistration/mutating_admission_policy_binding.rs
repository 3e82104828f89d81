//! MutatingAdmissionPolicyBinding. Source: `pkg/apis/admissionregistration/{v1/defaults,validation/validation}.go`.

use jiff::Timestamp;
use k8s_openapi::api::admissionregistration::v1::MutatingAdmissionPolicyBinding;
use kubelab_api::{
    field::{Errors, Path},
    name,
};
use serde_json::Value;

use super::{expressions, match_resources};
use crate::registry::{
    cells::{self, AGE, NAME, UNSET, cells, text},
    kind::{Column, Kind, age, column},
    validation::required_form,
};

/// MutatingAdmissionPolicyBinding.
pub struct MutatingAdmissionPolicyBindingKind;

impl Kind for MutatingAdmissionPolicyBindingKind {
    type Object = MutatingAdmissionPolicyBinding;

    const UNCONDITIONAL_UPDATE: bool = false;

    fn default(binding: &mut MutatingAdmissionPolicyBinding) {
        let spec = binding.spec.get_or_insert_default();
        spec.match_resources.iter_mut().for_each(match_resources::default);
    }

    const GENERATION: bool = true;

    fn spec_changed(new: &MutatingAdmissionPolicyBinding, old: &MutatingAdmissionPolicyBinding) -> bool {
        new.spec != old.spec
    }

    fn validate(binding: &MutatingAdmissionPolicyBinding, errors: &mut Errors) {
        let Some(spec) = &binding.spec else { return };
        let path = Path::new("spec");
        required_form(text(&spec.policy_name), name::dns1123_subdomain, &path.child("policyName"), errors);
        if let Some(reference) = &spec.param_ref {
            expressions::param_ref(reference, &path.child("paramRef"), errors);
        }
        if let Some(resources) = &spec.match_resources {
            match_resources::validate(resources, &path.child("matchResouces"), errors);
        }
    }

    const COLUMNS: &'static [Column] = &[NAME, column("PolicyName", "string"), column("ParamRef", "string"), AGE];

    fn cells(binding: &MutatingAdmissionPolicyBinding, now: Timestamp) -> Vec<Value> {
        let spec = binding.spec.as_ref();
        let reference = spec.and_then(|spec| spec.param_ref.as_ref());
        let reference = reference.map(|reference| match text(&reference.namespace) {
            "" => text(&reference.name).to_owned(),
            namespace => format!("{namespace}/{}", text(&reference.name)),
        });
        cells![
            cells::name(&binding.metadata),
            spec.map_or("", |spec| text(&spec.policy_name)),
            reference.unwrap_or_else(|| UNSET.into()),
            age(&binding.metadata, now),
        ]
    }
}
