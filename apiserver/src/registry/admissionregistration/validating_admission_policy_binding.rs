//! ValidatingAdmissionPolicyBinding. Source: `pkg/apis/admissionregistration/{v1/defaults,validation/validation}.go`.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicyBinding;
use kubelab_api::field::{Errors, Path};
use serde_json::Value;

use super::{expressions, match_resources};
use crate::registry::{
    cells::{self, AGE, NAME, UNSET, cells, text},
    kind::{Column, Kind, age, column},
    validation::{choice, required},
};

/// ValidatingAdmissionPolicyBinding.
pub struct ValidatingAdmissionPolicyBindingKind;

impl Kind for ValidatingAdmissionPolicyBindingKind {
    type Object = ValidatingAdmissionPolicyBinding;

    const UNCONDITIONAL_UPDATE: bool = false;

    fn default(binding: &mut ValidatingAdmissionPolicyBinding) {
        binding.spec.match_resources.iter_mut().for_each(match_resources::default);
    }

    const GENERATION: bool = true;

    fn spec_changed(new: &ValidatingAdmissionPolicyBinding, old: &ValidatingAdmissionPolicyBinding) -> bool {
        new.spec != old.spec
    }

    fn validate(binding: &ValidatingAdmissionPolicyBinding, errors: &mut Errors) {
        let (spec, path) = (&binding.spec, Path::new("spec"));
        required(&spec.policy_name, &path.child("policyName"), errors);
        if let Some(reference) = &spec.param_ref {
            expressions::param_ref(reference, &path.child("paramRef"), errors);
        }
        if let Some(resources) = &spec.match_resources {
            match_resources::validate(resources, &path.child("matchResources"), errors);
        }
        let path = path.child("validationActions");
        if spec.validation_actions.is_empty() {
            errors.required(&path, "at least one validation action is required");
        }
        let mut seen = BTreeSet::new();
        for (i, action) in spec.validation_actions.iter().enumerate() {
            choice(action, &["Audit", "Deny", "Warn"], &path.index(i), errors);
            if !seen.insert(action.as_str()) {
                errors.duplicate(&path.index(i), action.as_str());
            }
        }
        if seen.contains("Deny") && seen.contains("Warn") {
            let detail = "must not contain both Deny and Warn (repeating the same validation failure information in the \
                          API response and headers serves no purpose)";
            errors.invalid(&path, serde_json::json!(spec.validation_actions), detail);
        }
    }

    const COLUMNS: &'static [Column] = &[NAME, column("PolicyName", "string"), column("ParamRef", "string"), AGE];

    fn cells(binding: &ValidatingAdmissionPolicyBinding, now: Timestamp) -> Vec<Value> {
        let reference = binding.spec.param_ref.as_ref().map(|reference| match text(&reference.namespace) {
            "" => text(&reference.name).to_owned(),
            namespace => format!("{namespace}/{}", text(&reference.name)),
        });
        cells![
            cells::name(&binding.metadata),
            binding.spec.policy_name.as_str(),
            reference.unwrap_or_else(|| UNSET.into()),
            age(&binding.metadata, now),
        ]
    }
}
