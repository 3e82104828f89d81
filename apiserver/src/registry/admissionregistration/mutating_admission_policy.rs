//! MutatingAdmissionPolicy. Source: `pkg/apis/admissionregistration/{v1/defaults,validation/validation}.go`.

use jiff::Timestamp;
use k8s_openapi::api::admissionregistration::v1::{MutatingAdmissionPolicy, MutatingAdmissionPolicySpec, Mutation};
use kubelab_api::field::{Errors, Path};
use serde_json::Value;

use super::{expressions, match_resources};
use crate::{
    admission::dynamic::{
        conditions::{Scope, Variables},
        mutating::{applied_type, patch_type},
    },
    registry::{
        cells::{self, AGE, NAME, UNSET, cells, count, list, text},
        defaults::missing,
        kind::{Column, Kind, age, column},
        validation::{choice, required_choice},
    },
};

/// MutatingAdmissionPolicy.
pub struct MutatingAdmissionPolicyKind;

impl Kind for MutatingAdmissionPolicyKind {
    type Object = MutatingAdmissionPolicy;

    const UNCONDITIONAL_UPDATE: bool = false;

    fn default(policy: &mut MutatingAdmissionPolicy) {
        let spec = policy.spec.get_or_insert_default();
        missing(&mut spec.failure_policy, "Fail".into());
        spec.match_constraints.iter_mut().for_each(match_resources::default);
    }

    const GENERATION: bool = true;

    fn spec_changed(new: &MutatingAdmissionPolicy, old: &MutatingAdmissionPolicy) -> bool {
        new.spec != old.spec
    }

    fn validate(policy: &MutatingAdmissionPolicy, errors: &mut Errors) {
        if let Some(spec) = &policy.spec {
            validate(spec, &Path::new("spec"), errors);
        }
    }

    const COLUMNS: &'static [Column] = &[NAME, column("Mutations", "integer"), column("ParamKind", "string"), AGE];

    fn cells(policy: &MutatingAdmissionPolicy, now: Timestamp) -> Vec<Value> {
        let spec = policy.spec.as_ref();
        let kind = spec.and_then(|spec| spec.param_kind.as_ref());
        let kind = kind.map(|kind| format!("{}/{}", text(&kind.api_version), text(&kind.kind)));
        cells![
            cells::name(&policy.metadata),
            spec.map_or(0, |spec| count(&spec.mutations)),
            kind.unwrap_or_else(|| UNSET.into()),
            age(&policy.metadata, now),
        ]
    }
}

fn validate(spec: &MutatingAdmissionPolicySpec, path: &Path, errors: &mut Errors) {
    if let Some(failure) = &spec.failure_policy {
        choice(failure, &["Fail", "Ignore"], &path.child("failurePolicy"), errors);
    }
    if let Some(kind) = &spec.param_kind {
        expressions::param_kind(kind, &path.child("paramKind"), errors);
    }
    match &spec.match_constraints {
        None => errors.required(&path.child("matchConstraints"), ""),
        Some(resources) => {
            let path = path.child("matchConstraints");
            match_resources::validate(resources, &path, errors);
            if list(&resources.resource_rules).is_empty() {
                errors.required(&path.child("resourceRules"), "");
            }
        }
    }
    let params = spec.param_kind.is_some();
    expressions::match_conditions(list(&spec.match_conditions), params, &path.child("matchConditions"), errors);
    let scope = Scope { params, authorizer: true, mutations: false };
    let variables = expressions::variables(list(&spec.variables), scope, &path.child("variables"), errors);
    if list(&spec.mutations).is_empty() {
        errors.required(&path.child("mutations"), "mutations must contain at least one item");
    }
    for (i, mutation) in list(&spec.mutations).iter().enumerate() {
        validate_mutation(mutation, &variables, scope, &path.child("mutations").index(i), errors);
    }
    let policy = text(&spec.reinvocation_policy);
    required_choice(policy, &["IfNeeded", "Never"], &path.child("reinvocationPolicy"), errors);
}

fn validate_mutation(mutation: &Mutation, variables: &Variables, scope: Scope, path: &Path, errors: &mut Errors) {
    let environment = variables.environment(Scope { mutations: true, ..scope });
    let absent = |field: &str, errors: &mut Errors| {
        errors
            .forbidden(&path.child(field), &format!("must not be specified when patchType is {}", mutation.patch_type));
    };
    match mutation.patch_type.as_str() {
        "ApplyConfiguration" => {
            if mutation.json_patch.is_some() {
                absent("jsonPatch", errors);
            }
            let path = path.child("applyConfiguration");
            match &mutation.apply_configuration {
                None => errors.required(&path, "must be specified when patchType is ApplyConfiguration"),
                Some(apply) => {
                    let path = path.child("expression");
                    expressions::expression(&environment, text(&apply.expression), &[applied_type()], &path, errors);
                }
            }
        }
        "JSONPatch" => {
            if mutation.apply_configuration.is_some() {
                absent("applyConfiguration", errors);
            }
            let path = path.child("jsonPatch");
            match &mutation.json_patch {
                None => errors.required(&path, "must be specified when patchType is JSONPatch"),
                Some(patch) => {
                    let path = path.child("expression");
                    expressions::expression(&environment, text(&patch.expression), &[patch_type()], &path, errors);
                }
            }
        }
        kind => required_choice(kind, &["ApplyConfiguration", "JSONPatch"], &path.child("patchType"), errors),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;
    use crate::registry::validation::tests::new_errors;

    fn policy(mutation: Value) -> Value {
        json!({
            "metadata": {"name": "p"},
            "spec": {
                "matchConstraints": {"resourceRules": [{
                    "operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"],
                }]},
                "reinvocationPolicy": "Never",
                "variables": [{"name": "team", "expression": "'a'"}],
                "mutations": [mutation],
            },
        })
    }

    #[test]
    fn mutations_are_validated() {
        let apply = |text: &str| json!({"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": text}});
        let patch = |text: &str| json!({"patchType": "JSONPatch", "jsonPatch": {"expression": text}});
        let at = "spec.mutations[0]";
        for (mutation, wrong) in [
            (apply("Object{metadata: Object.metadata{labels: {'team': variables.team}}}"), None),
            (patch("[JSONPatch{op: 'add', path: '/metadata/labels', value: {'a': 'b'}}]"), None),
            (
                apply("'x'"),
                Some(format!(
                    "{at}.applyConfiguration.expression: Invalid value: \"'x'\": must evaluate to Object but got string"
                )),
            ),
            (
                patch("Object{}"),
                Some(format!(
                    "{at}.jsonPatch.expression: Invalid value: \"Object{{}}\": must evaluate to list(JSONPatch) but got Object"
                )),
            ),
            (
                json!({"patchType": "Merge"}),
                Some(format!(
                    "{at}.patchType: Unsupported value: \"Merge\": supported values: \"ApplyConfiguration\", \"JSONPatch\""
                )),
            ),
            (
                json!({"patchType": "JSONPatch"}),
                Some(format!("{at}.jsonPatch: Required value: must be specified when patchType is JSONPatch")),
            ),
        ] {
            let found = new_errors::<MutatingAdmissionPolicyKind>(policy(mutation));
            assert_eq!(found, Vec::from_iter(wrong));
        }
    }
}
