//! ValidatingAdmissionPolicy. Source: `k8s.io/apiserver/pkg/admission/plugin/policy/validating`.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::{
    api::admissionregistration::v1::{
        self, ParamKind, ParamRef, ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
    },
    apimachinery::pkg::apis::meta::v1::StatusCause,
};
use kubelab_api::{Error, Reason};
use serde_json::{Value as Json, json};

use super::{
    conditions::{Conditions, Inputs, Met, Scope, Variables, compile},
    matching::{Matching, Target},
    params,
    subject::Subject,
};
use crate::cel::{Budget, Program, RUNTIME_BUDGET, Type, Value};

/// Where policies are stored.
pub const POLICIES: &str = "admissionregistration.k8s.io/validatingadmissionpolicies";
/// Where their bindings are.
pub const BINDINGS: &str = "admissionregistration.k8s.io/validatingadmissionpolicybindings";
/// Source: `MaxEvaluatedMessageExpressionSizeBytes`.
const MESSAGE_BYTES: usize = 5 * 1024;
/// Source: `maxAuditAnnotationValueLength`.
const ANNOTATION_BYTES: usize = 10 * 1024;
/// Source: `maxValidationFailures`.
const FAILURES: usize = 50;

type Compiled = Result<Program, String>;

struct Validation {
    expression: String,
    program: Compiled,
    message: String,
    message_expression: Option<(String, Compiled)>,
    reason: Option<String>,
}

/// A policy, compiled.
pub struct ValidatingPolicy {
    name: String,
    matching: Matching,
    params: Option<ParamKind>,
    ignores_failure: bool,
    variables: Variables,
    conditions: Conditions,
    validations: Vec<Validation>,
    annotations: Vec<(String, String, Compiled)>,
}

/// A binding, compiled.
pub struct Binding {
    name: String,
    policy: String,
    matching: Matching,
    params: Option<ParamRef>,
    actions: Vec<String>,
}

/// A policy and its bindings.
pub struct Bound {
    policy: Arc<ValidatingPolicy>,
    bindings: Vec<Arc<Binding>>,
}

/// Policies with their bindings; those without any say nothing.
pub fn bound(policies: Vec<Arc<ValidatingPolicy>>, bindings: &[Arc<Binding>]) -> Vec<Bound> {
    let mut by_policy: BTreeMap<&str, Vec<Arc<Binding>>> = BTreeMap::new();
    for binding in bindings {
        by_policy.entry(&binding.policy).or_default().push(Arc::clone(binding));
    }
    let with = |policy: Arc<ValidatingPolicy>| {
        let bindings = by_policy.get(&*policy.name)?.clone();
        Some(Bound { policy, bindings })
    };
    policies.into_iter().filter_map(with).collect()
}

impl ValidatingPolicy {
    /// Compiles a policy. What does not compile fails where it would be evaluated.
    pub fn new(policy: ValidatingAdmissionPolicy) -> Self {
        let spec = policy.spec.unwrap_or_default();
        let scope = Scope { params: spec.param_kind.is_some(), authorizer: true, ..Scope::default() };
        let variables = Variables::new(scope, spec.variables.as_deref().unwrap_or_default());
        let environment = variables.environment(scope);
        let messages = variables.environment(Scope { authorizer: false, ..scope });
        let validation = |validation: v1::Validation| Validation {
            program: compile(&environment, &validation.expression, &[Type::Bool]),
            message_expression: validation.message_expression.filter(|text| !text.is_empty()).map(|text| {
                let program = compile(&messages, &text, &[Type::String]);
                (text, program)
            }),
            message: validation.message.unwrap_or_default(),
            reason: validation.reason,
            expression: validation.expression,
        };
        let annotation = |annotation: v1::AuditAnnotation| {
            let program = compile(&environment, &annotation.value_expression, &[Type::String, Type::Null]);
            (annotation.key, annotation.value_expression, program)
        };
        Self {
            name: policy.metadata.name.unwrap_or_default(),
            conditions: Conditions::new(&environment, spec.match_conditions.as_deref().unwrap_or_default()),
            validations: spec.validations.unwrap_or_default().into_iter().map(validation).collect(),
            annotations: spec.audit_annotations.unwrap_or_default().into_iter().map(annotation).collect(),
            ignores_failure: spec.failure_policy.as_deref() == Some("Ignore"),
            matching: Matching::of(spec.match_constraints),
            params: spec.param_kind,
            variables,
        }
    }
}

impl Binding {
    /// Compiles a binding.
    pub fn new(binding: ValidatingAdmissionPolicyBinding) -> Self {
        let spec = binding.spec;
        Self {
            name: binding.metadata.name.unwrap_or_default(),
            policy: spec.policy_name,
            matching: Matching::of(spec.match_resources),
            params: spec.param_ref,
            actions: spec.validation_actions,
        }
    }
}

/// What an evaluation says against the request.
struct Denial {
    message: String,
    reason: Option<String>,
}

/// What one policy says for one binding and parameter.
#[derive(Default)]
struct Findings {
    /// By the place of the validation.
    denials: Vec<(usize, Denial)>,
    annotations: Vec<(String, String)>,
    /// Audit annotations that fail, which no action softens.
    broken: Vec<String>,
}

/// Asks all policies; the first denial counts.
pub fn validate(subject: &Subject<'_>, all: &[Bound]) -> Result<(), Error> {
    let mut denied: Option<(String, Denial)> = None;
    let mut failures: Vec<Json> = Vec::new();
    let mut deny = |policy: &str, binding: Option<&str>, denial: Denial| {
        let by = match binding {
            Some(binding) => format!("ValidatingAdmissionPolicy '{policy}' with binding '{binding}'"),
            None => format!("ValidatingAdmissionPolicy '{policy}'"),
        };
        denied.get_or_insert((by, denial));
    };
    for Bound { policy, bindings } in all {
        let others = subject.others();
        let misconfigured =
            |error: String| (!policy.ignores_failure).then_some(Denial { message: error, reason: None });
        let target = match policy.matching.matches(&subject.facts(), &others, subject) {
            Ok(Some(target)) => target,
            Ok(None) => continue,
            Err(error) => {
                if let Some(denial) = misconfigured(format!("failed to configure policy: {error}")) {
                    deny(&policy.name, None, denial);
                }
                continue;
            }
        };
        let mut annotations: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for binding in bindings {
            let applied = match binding.matching.matches(&subject.facts(), &others, subject) {
                Ok(None) => continue,
                Ok(Some(_)) => params::collect(subject, policy.params.as_ref(), binding.params.as_ref()),
                Err(error) => Err(error.to_string()),
            };
            let found = match applied {
                Ok(params) => params,
                Err(error) => {
                    if let Some(denial) = misconfigured(format!("failed to configure binding: {error}")) {
                        deny(&policy.name, Some(&binding.name), denial);
                    }
                    continue;
                }
            };
            for param in &found {
                let findings = policy.judge(subject, &target, param.as_ref())?;
                for (i, denial) in findings.denials {
                    for action in &binding.actions {
                        match action.as_str() {
                            "Deny" => deny(
                                &policy.name,
                                Some(&binding.name),
                                Denial { message: denial.message.clone(), reason: denial.reason.clone() },
                            ),
                            "Warn" => subject.context.aside.warn(format!(
                                "Validation failed for ValidatingAdmissionPolicy '{}' with binding '{}': {}",
                                policy.name, binding.name, denial.message
                            )),
                            _ => failures.push(json!({
                                "message": denial.message,
                                "policy": policy.name,
                                "binding": binding.name,
                                "expressionIndex": i,
                                "validationActions": binding.actions,
                            })),
                        }
                    }
                }
                for message in findings.broken {
                    deny(&policy.name, Some(&binding.name), Denial { message, reason: None });
                }
                for (key, value) in findings.annotations {
                    let values = annotations.entry(key).or_default();
                    if !values.contains(&value) {
                        values.push(value);
                    }
                }
            }
        }
        for (key, values) in annotations {
            subject.context.aside.annotate(format!("{}/{key}", policy.name), values.join(", "));
        }
    }
    if !failures.is_empty() {
        failures.truncate(FAILURES);
        let key = "validation.policy.admission.k8s.io/validation_failure".to_owned();
        subject.context.aside.annotate(key, Json::from(failures).to_string());
    }
    match denied {
        None => Ok(()),
        Some((by, denial)) => Err(refusal(subject, &format!("{by} denied request: {}", denial.message), denial.reason)),
    }
}

fn refusal(subject: &Subject<'_>, message: &str, reason: Option<String>) -> Error {
    let mut error = subject.forbidden(message);
    error.reason = match reason.as_deref().map_or(Reason::Invalid, Reason::from_name) {
        reason @ (Reason::Forbidden | Reason::Unauthorized | Reason::RequestEntityTooLarge) => reason,
        _ => Reason::Invalid,
    };
    if let Some(details) = &mut error.details {
        details.causes = Some(vec![StatusCause { message: Some(message.to_owned()), ..StatusCause::default() }]);
    }
    error
}

impl ValidatingPolicy {
    /// Source: `validator.Validate`.
    fn judge(&self, subject: &Subject<'_>, target: &Target<'_>, param: Option<&Json>) -> Result<Findings, Error> {
        let inputs = Inputs::new(subject, target, param)?;
        let mut findings = Findings::default();
        let fail = |findings: &mut Findings, i: usize, message: String| {
            if !self.ignores_failure {
                findings.denials.push((i, Denial { message, reason: None }));
            }
        };
        match self.conditions.met_by(&inputs, &self.variables, self.ignores_failure) {
            Met::Yes => {}
            Met::No => return Ok(findings),
            Met::Failed(message) => {
                fail(&mut findings, 0, message);
                return Ok(findings);
            }
        }
        let mut budget = Budget::new(RUNTIME_BUDGET);
        let programs = self.validations.iter().map(|validation| (validation.expression.as_str(), &validation.program));
        let values = match inputs.evaluate(&self.variables, programs, &mut budget) {
            Ok(values) => values,
            Err(error) => {
                fail(&mut findings, 0, error);
                return Ok(findings);
            }
        };
        for (i, (validation, value)) in self.validations.iter().zip(values).enumerate() {
            match value {
                Ok(Value::Bool(true)) => {}
                Ok(_) => {
                    let message = self.message(validation, &inputs, &mut budget);
                    findings.denials.push((i, Denial { message, reason: validation.reason.clone() }));
                }
                Err(error) => fail(&mut findings, i, error),
            }
        }
        self.annotate(&inputs, &mut findings);
        Ok(findings)
    }

    /// What a failed validation says: its message expression, its message, or itself.
    fn message(&self, validation: &Validation, inputs: &Inputs<'_>, budget: &mut Budget) -> String {
        let computed = validation.message_expression.as_ref().and_then(|(expression, program)| {
            let one = std::iter::once((expression.as_str(), program));
            match inputs.evaluate(&self.variables, one, budget).ok()?.pop()? {
                Ok(Value::String(text)) => Some(text.trim().to_owned()),
                _ => None,
            }
        });
        let fits = |text: &String| !text.is_empty() && text.len() <= MESSAGE_BYTES && !text.contains('\n');
        let written = Some(validation.message.trim().to_owned()).filter(|text| !text.is_empty());
        let message = computed.filter(fits).or(written);
        message.unwrap_or_else(|| format!("failed expression: {}", validation.expression.trim()))
    }

    fn annotate(&self, inputs: &Inputs<'_>, findings: &mut Findings) {
        if self.annotations.is_empty() {
            return;
        }
        let mut budget = Budget::new(RUNTIME_BUDGET);
        let programs = self.annotations.iter().map(|(_, expression, program)| (expression.as_str(), program));
        let values = match inputs.evaluate(&self.variables, programs, &mut budget) {
            Ok(values) => values,
            Err(error) => {
                if !self.ignores_failure {
                    findings.broken.push(error);
                }
                return;
            }
        };
        for ((key, ..), value) in self.annotations.iter().zip(values) {
            match value {
                Ok(Value::String(text)) if !text.trim().is_empty() => {
                    let mut end = text.trim().len().min(ANNOTATION_BYTES);
                    while !text.trim().is_char_boundary(end) {
                        end -= 1;
                    }
                    findings.annotations.push((key.clone(), text.trim()[..end].to_owned()));
                }
                Ok(_) => {}
                Err(error) if !self.ignores_failure => findings.broken.push(error),
                Err(_) => {}
            }
        }
    }
}
