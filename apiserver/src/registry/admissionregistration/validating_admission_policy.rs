//! ValidatingAdmissionPolicy. Source: `pkg/apis/admissionregistration/{v1/defaults,validation/validation}.go`.

use jiff::Timestamp;
use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicy;
use kubelab_api::field::{Errors, Path};
use serde_json::Value;

use super::match_resources;
use crate::registry::{
    cells::{self, AGE, NAME, UNSET, cells, count, list, text},
    defaults::missing,
    kind::{Column, Kind, age, column},
    status::spec_and_status,
    validation::{choice, required},
};

/// ValidatingAdmissionPolicy.
pub struct ValidatingAdmissionPolicyKind;

impl Kind for ValidatingAdmissionPolicyKind {
    type Object = ValidatingAdmissionPolicy;

    const UNCONDITIONAL_UPDATE: bool = false;

    fn default(policy: &mut ValidatingAdmissionPolicy) {
        let spec = policy.spec.get_or_insert_default();
        missing(&mut spec.failure_policy, "Fail".into());
        spec.match_constraints.iter_mut().for_each(match_resources::default);
    }

    spec_and_status!(generation);

    fn validate(policy: &ValidatingAdmissionPolicy, errors: &mut Errors) {
        let Some(spec) = &policy.spec else { return };
        let path = Path::new("spec");
        if let Some(failure) = &spec.failure_policy {
            choice(failure, &["Fail", "Ignore"], &path.child("failurePolicy"), errors);
        }
        if let Some(kind) = &spec.param_kind {
            let path = path.child("paramKind");
            required(text(&kind.api_version), &path.child("apiVersion"), errors);
            required(text(&kind.kind), &path.child("kind"), errors);
        }
        match &spec.match_constraints {
            None => errors.required(&path.child("matchConstraints"), ""),
            Some(resources) => {
                let path = path.child("matchConstraints");
                if list(&resources.resource_rules).is_empty() {
                    errors.required(&path.child("resourceRules"), "");
                }
                match_resources::validate(resources, &path, errors);
            }
        }
        if list(&spec.validations).is_empty() && list(&spec.audit_annotations).is_empty() {
            let detail = "validations or auditAnnotations must contain at least one item";
            errors.required(&path.child("validations"), detail);
        }
        for (i, validation) in list(&spec.validations).iter().enumerate() {
            if validation.expression.trim().is_empty() {
                let path = path.child("validations").index(i).child("expression");
                errors.required(&path, "expression is not specified");
            }
        }
    }

    const COLUMNS: &'static [Column] = &[NAME, column("Validations", "integer"), column("ParamKind", "string"), AGE];

    fn cells(policy: &ValidatingAdmissionPolicy, now: Timestamp) -> Vec<Value> {
        let spec = policy.spec.as_ref();
        let kind = spec.and_then(|spec| spec.param_kind.as_ref());
        let kind = kind.map(|kind| format!("{}/{}", text(&kind.api_version), text(&kind.kind)));
        cells![
            cells::name(&policy.metadata),
            spec.map_or(0, |spec| count(&spec.validations)),
            kind.unwrap_or_else(|| UNSET.into()),
            age(&policy.metadata, now),
        ]
    }
}
