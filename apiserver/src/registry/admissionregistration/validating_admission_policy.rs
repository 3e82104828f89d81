//! ValidatingAdmissionPolicy. Source: `pkg/apis/admissionregistration/{v1/defaults,validation/validation}.go`.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::api::admissionregistration::v1::{AuditAnnotation, ValidatingAdmissionPolicy, Validation};
use kubelab_api::{
    field::{Errors, Path},
    name,
};
use serde_json::Value;

use super::{expressions, match_resources, type_check};
use crate::{
    admission::dynamic::conditions::{Scope, Variables, compile},
    cel::{Environment, Type},
    registry::{
        cells::{self, AGE, NAME, UNSET, cells, count, list, text},
        defaults::missing,
        kind::{Column, Kind, age, column},
        status::spec_and_status,
        table::Table,
        validation::choice,
    },
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

    fn settle(policy: &mut ValidatingAdmissionPolicy, kinds: &Table) {
        policy.status = Some(type_check::status(policy, kinds));
    }

    fn validate(policy: &ValidatingAdmissionPolicy, errors: &mut Errors) {
        let Some(spec) = &policy.spec else { return };
        let path = Path::new("spec");
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
        if list(&spec.validations).is_empty() && list(&spec.audit_annotations).is_empty() {
            let detail = "validations or auditAnnotations must contain at least one item";
            errors.required(&path.child("validations"), detail);
            errors.required(&path.child("auditAnnotations"), detail);
        }
        for (i, validation) in list(&spec.validations).iter().enumerate() {
            validate_validation(validation, &variables, scope, &path.child("validations").index(i), errors);
        }
        let name = policy.metadata.name.as_deref().unwrap_or_default();
        let annotations = list(&spec.audit_annotations);
        validate_annotations(annotations, name, &variables.environment(scope), &path.child("auditAnnotations"), errors);
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

/// An audit annotation's expression may be so long.
const ANNOTATION_EXPRESSION: usize = 5 * 1024;
/// So many audit annotations are allowed.
const ANNOTATIONS: usize = 20;

fn validate_validation(validation: &Validation, variables: &Variables, scope: Scope, path: &Path, errors: &mut Errors) {
    let environment = variables.environment(scope);
    expressions::expression(&environment, &validation.expression, &[Type::Bool], &path.child("expression"), errors);
    let path_of_message = path.child("messageExpression");
    match text(&validation.message_expression) {
        "" => {}
        blank if blank.trim().is_empty() => errors.invalid(&path_of_message, blank, "must be non-empty if specified"),
        given => {
            let environment = variables.environment(Scope { authorizer: false, ..scope });
            expressions::expression(&environment, given, &[Type::String], &path_of_message, errors);
        }
    }
    let message = text(&validation.message);
    if !message.is_empty() && message.trim().is_empty() {
        errors.invalid(&path.child("message"), message, "message must be non-empty if specified");
    } else if message.trim().contains(['\n', '\r']) {
        errors.invalid(&path.child("message"), message, "message must not contain line breaks");
    }
    if let Some(reason) = &validation.reason {
        let known = ["Forbidden", "Invalid", "RequestEntityTooLarge", "Unauthorized"];
        choice(reason, &known, &path.child("reason"), errors);
    }
}

fn validate_annotations(
    annotations: &[AuditAnnotation],
    policy: &str,
    environment: &Environment,
    path: &Path,
    errors: &mut Errors,
) {
    if annotations.len() > ANNOTATIONS {
        let detail = format!("must not have more than {ANNOTATIONS} auditAnnotations");
        errors.invalid(path, serde_json::json!(annotations), &detail);
    }
    let mut keys = BTreeSet::new();
    for (i, annotation) in annotations.iter().enumerate() {
        let path = path.index(i);
        if policy.is_empty() {
            errors.invalid(&path.child("key"), annotation.key.as_str(), "requires metadata.name be non-empty");
        } else {
            let whole = format!("{policy}/{}", annotation.key);
            for wrong in name::label_key(&whole) {
                errors.invalid(&path.child("key"), whole.as_str(), &wrong);
            }
        }
        let (at, given) = (path.child("valueExpression"), annotation.value_expression.trim());
        if given.is_empty() {
            errors.required(&at, "valueExpression is not specified");
        } else if given.len() > ANNOTATION_EXPRESSION {
            errors.required(&at, &format!("must not exceed {ANNOTATION_EXPRESSION} bytes in length"));
        } else if let Err(wrong) = compile(environment, given, &[Type::String, Type::Null]) {
            errors.invalid(&at, annotation.value_expression.as_str(), &wrong);
        }
        if !keys.insert(annotation.key.as_str()) {
            errors.duplicate(&path.child("key"), annotation.key.as_str());
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;
    use crate::registry::validation::tests::new_errors;

    fn policy(more: Value) -> Value {
        let mut spec = json!({
            "matchConstraints": {"resourceRules": [{
                "operations": ["CREATE"], "apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments"],
            }]},
            "validations": [{"expression": "object.spec.replicas <= 5"}],
        });
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"metadata": {"name": "p"}, "spec": spec})
    }

    #[test]
    fn expressions_are_compiled() {
        let one = |text: &str| json!({"validations": [{"expression": text}]});
        for (more, wrong) in [
            (json!({}), None),
            (
                one("params.max > 1"),
                Some(
                    "spec.validations[0].expression: Invalid value: \"params.max > 1\": compilation failed: ERROR: \
                     <input>:1:1: undeclared reference to 'params' (in container '')\n | params.max > 1\n | ^",
                ),
            ),
            (
                one("object.spec.replicas"),
                Some(
                    "spec.validations[0].expression: Invalid value: \"object.spec.replicas\": must evaluate to bool but \
                     got dyn",
                ),
            ),
            (one(" "), Some("spec.validations[0].expression: Required value: expression is not specified")),
            (
                json!({"validations": [{"expression": "true", "messageExpression": "1"}]}),
                Some(
                    "spec.validations[0].messageExpression: Invalid value: \"1\": must evaluate to string but got int",
                ),
            ),
            (
                json!({"validations": [{"expression": "true", "reason": "Gone"}]}),
                Some(
                    "spec.validations[0].reason: Unsupported value: \"Gone\": supported values: \"Forbidden\", \
                     \"Invalid\", \"RequestEntityTooLarge\", \"Unauthorized\"",
                ),
            ),
            (
                json!({"variables": [{"name": "a", "expression": "1"}, {"name": "b", "expression": "variables.a + 1"}],
                       "validations": [{"expression": "variables.b == 2"}]}),
                None,
            ),
            (
                json!({"variables": [{"name": "a", "expression": "variables.b"}]}),
                Some(
                    "spec.variables[0].expression: Invalid value: \"variables.b\": compilation failed: ERROR: \
                     <input>:1:10: undefined field 'b'\n | variables.b\n | .........^",
                ),
            ),
            (
                json!({"variables": [{"name": "for", "expression": "1"}]}),
                Some("spec.variables[0].name: Invalid value: \"for\": name is not a valid CEL identifier"),
            ),
            (
                json!({"matchConditions": [{"name": "a", "expression": "1"}]}),
                Some("spec.matchConditions[0].expression: Invalid value: \"1\": must evaluate to bool but got int"),
            ),
            (
                json!({"auditAnnotations": [{"key": "k", "valueExpression": "1"}]}),
                Some(
                    "spec.auditAnnotations[0].valueExpression: Invalid value: \"1\": must evaluate to one of [string \
                     null_type] but got int",
                ),
            ),
        ] {
            assert_eq!(new_errors::<ValidatingAdmissionPolicyKind>(policy(more)), Vec::from_iter(wrong));
        }
    }
}
