//! MutatingAdmissionPolicy. Source: `k8s.io/apiserver/pkg/admission/plugin/policy/{generic,mutating}`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use k8s_openapi::{
    api::admissionregistration::v1::{
        MutatingAdmissionPolicy, MutatingAdmissionPolicyBinding, Mutation, ParamKind, ParamRef,
    },
    apimachinery::pkg::apis::meta::v1::StatusCause,
};
use kubelab_api::{
    Error, Reason,
    apply::{self, typed},
    patch::schema::{Form, Owned, Schema},
};
use serde_json::Value as Json;

use super::{
    Rounds,
    conditions::{Conditions, Inputs, Met, Scope, Variables, compile},
    matching::{Matching, Target},
    params,
    subject::Subject,
};
use crate::{
    cel::{Budget, Program, RUNTIME_BUDGET, Type, Value},
    registry::patch::{self, Misfit},
};

/// Where policies are stored.
pub const POLICIES: &str = "admissionregistration.k8s.io/mutatingadmissionpolicies";
/// Where their bindings are.
pub const BINDINGS: &str = "admissionregistration.k8s.io/mutatingadmissionpolicybindings";

enum Mutator {
    /// An object whose fields are merged in.
    Apply(String, Result<Program, String>),
    /// A list of JSON patch operations.
    Patch(String, Result<Program, String>),
}

/// A policy, compiled.
pub struct MutatingPolicy {
    name: String,
    matching: Matching,
    params: Option<ParamKind>,
    ignores_failure: bool,
    reinvoked: bool,
    variables: Variables,
    conditions: Conditions,
    mutators: Vec<Mutator>,
}

/// A binding, compiled.
pub struct Binding {
    name: String,
    policy: String,
    matching: Matching,
    params: Option<ParamRef>,
}

/// A policy and its bindings.
pub struct Bound {
    policy: Arc<MutatingPolicy>,
    bindings: Vec<Arc<Binding>>,
}

/// Policies with their bindings; those without any do nothing.
pub fn bound(policies: Vec<Arc<MutatingPolicy>>, bindings: &[Arc<Binding>]) -> Vec<Bound> {
    let mut by_policy: BTreeMap<&str, Vec<Arc<Binding>>> = BTreeMap::new();
    for binding in bindings {
        by_policy.entry(&binding.policy).or_default().push(Arc::clone(binding));
    }
    let with = |policy: Arc<MutatingPolicy>| {
        let bindings = by_policy.get(&*policy.name)?.clone();
        Some(Bound { policy, bindings })
    };
    policies.into_iter().filter_map(with).collect()
}

/// The type that an `applyConfiguration` expression must have.
pub fn applied_type() -> Type {
    Type::Named("Object".into())
}

/// The type that a `jsonPatch` expression must have.
pub fn patch_type() -> Type {
    Type::list(Type::Named("JSONPatch".into()))
}

impl MutatingPolicy {
    /// Compiles a policy. What does not compile fails where it would be evaluated.
    pub fn new(policy: MutatingAdmissionPolicy) -> Self {
        let spec = policy.spec.unwrap_or_default();
        let scope = Scope { params: spec.param_kind.is_some(), authorizer: true, ..Scope::default() };
        let variables = Variables::new(scope, spec.variables.as_deref().unwrap_or_default());
        let conditions = spec.match_conditions.as_deref().unwrap_or_default();
        let conditions = Conditions::new(&variables.environment(scope), conditions);
        let environment = variables.environment(Scope { mutations: true, ..scope });
        let mutator = |mutation: Mutation| match (mutation.apply_configuration, mutation.json_patch) {
            (Some(apply), _) => {
                let text = apply.expression.unwrap_or_default();
                let program = compile(&environment, &text, &[applied_type()]);
                Some(Mutator::Apply(text, program))
            }
            (None, Some(patch)) => {
                let text = patch.expression.unwrap_or_default();
                let program = compile(&environment, &text, &[patch_type()]);
                Some(Mutator::Patch(text, program))
            }
            (None, None) => None,
        };
        Self {
            name: policy.metadata.name.unwrap_or_default(),
            mutators: spec.mutations.unwrap_or_default().into_iter().filter_map(mutator).collect(),
            ignores_failure: spec.failure_policy.as_deref() == Some("Ignore"),
            reinvoked: spec.reinvocation_policy.as_deref() == Some("IfNeeded"),
            matching: Matching::of(spec.match_constraints),
            params: spec.param_kind,
            conditions,
            variables,
        }
    }
}

impl Binding {
    /// Compiles a binding.
    pub fn new(binding: MutatingAdmissionPolicyBinding) -> Self {
        let spec = binding.spec.unwrap_or_default();
        Self {
            name: binding.metadata.name.unwrap_or_default(),
            policy: spec.policy_name.unwrap_or_default(),
            matching: Matching::of(spec.match_resources),
            params: spec.param_ref,
        }
    }
}

/// Which policies ran, and which must run again.
#[derive(Default)]
pub struct Invoked {
    before: BTreeSet<String>,
    again: BTreeSet<String>,
    last: Option<Json>,
}

impl Invoked {
    fn all_again(&mut self) {
        self.again.append(&mut self.before);
    }
}

/// One policy for one binding and parameter.
struct Invocation<'a> {
    policy: &'a MutatingPolicy,
    binding: &'a Binding,
    group: String,
    version: String,
    plural: String,
    param: Option<Json>,
}

struct Denial {
    message: String,
    reason: Option<Reason>,
}

/// Lets policies change the object, one after the other.
pub fn admit(subject: &mut Subject<'_>, all: &[Bound], rounds: &mut Rounds, again: bool) -> Result<(), Error> {
    if all.is_empty() {
        return Ok(());
    }
    let own = |subject: &Subject<'_>| subject.object(&subject.facts().target);
    let mut denials = Vec::new();
    let invocations = invocations(subject, all, &mut denials);
    if again && rounds.policies.last != own(subject)? {
        rounds.policies.all_again();
    }
    for invocation in &invocations {
        invoke(subject, invocation, rounds, again, &mut denials)?;
    }
    rounds.policies.last = own(subject)?;
    if denials.is_empty() { Ok(()) } else { Err(refusal(subject, denials)) }
}

fn invocations<'a>(subject: &Subject<'_>, all: &'a [Bound], denials: &mut Vec<Denial>) -> Vec<Invocation<'a>> {
    let others = subject.others();
    let mut found = Vec::new();
    for Bound { policy, bindings } in all {
        let target = match policy.matching.matches(&subject.facts(), &others, subject) {
            Ok(Some(target)) => target,
            Ok(None) => continue,
            Err(error) => {
                if !policy.ignores_failure {
                    let message =
                        format!("policy {:?} denied request: failed to configure policy: {error}", policy.name);
                    denials.push(Denial { message, reason: None });
                }
                continue;
            }
        };
        for binding in bindings {
            let params = match binding.matching.matches(&subject.facts(), &others, subject) {
                Ok(None) => continue,
                Ok(Some(_)) => params::collect(subject, policy.params.as_ref(), binding.params.as_ref()),
                Err(error) => Err(error.to_string()),
            };
            match params {
                Ok(params) => found.extend(params.into_iter().map(|param| Invocation {
                    policy,
                    binding,
                    group: target.group.into(),
                    version: target.version.into(),
                    plural: target.plural.into(),
                    param,
                })),
                Err(error) => deny(denials, policy, binding, &format!("failed to configure binding: {error}"), None),
            }
        }
    }
    found
}

fn deny(denials: &mut Vec<Denial>, policy: &MutatingPolicy, binding: &Binding, why: &str, reason: Option<Reason>) {
    if !policy.ignores_failure {
        let message = format!("policy '{}' with binding '{}' denied request: {why}", policy.name, binding.name);
        denials.push(Denial { message, reason });
    }
}

fn refusal(subject: &Subject<'_>, denials: Vec<Denial>) -> Error {
    let mut error = subject.forbidden("admission request denied by policy");
    if let Some(first) = denials.first() {
        error.message = first.message.clone();
        error.reason = first.reason.unwrap_or(error.reason);
    }
    if let Some(details) = &mut error.details {
        let cause = |denial: Denial| StatusCause { message: Some(denial.message), ..StatusCause::default() };
        details.causes = Some(denials.into_iter().map(cause).collect());
    }
    error
}

fn invoke(
    subject: &mut Subject<'_>,
    invocation: &Invocation<'_>,
    rounds: &mut Rounds,
    again: bool,
    denials: &mut Vec<Denial>,
) -> Result<(), Error> {
    let Invocation { policy, binding, param, .. } = invocation;
    let part = subject.context.request.subresource.clone();
    let target = Target {
        group: &invocation.group,
        version: &invocation.version,
        plural: &invocation.plural,
        subresource: &part,
    };
    let inputs = Inputs::new(subject, &target, param.as_ref())?;
    match policy.conditions.met_by(&inputs, &policy.variables, policy.ignores_failure) {
        Met::Yes => {}
        Met::No => return Ok(()),
        Met::Failed(why) => {
            deny(denials, policy, binding, &why, Some(Reason::Invalid));
            return Ok(());
        }
    }
    let of_param = param.as_ref().map(|param| &param["metadata"]);
    let named = of_param.map(|meta| format!("{}/{}", meta["namespace"], meta["name"])).unwrap_or_default();
    let id = format!("{}/{}/{named}", policy.name, binding.name);
    if again && !rounds.policies.again.contains(&id) {
        return Ok(());
    }
    let mut changed = false;
    let mutators = if subject.has_object() { &policy.mutators[..] } else { &[] };
    for mutator in mutators {
        let inputs = Inputs::new(subject, &target, param.as_ref())?;
        match mutated(subject, mutator, &inputs, policy, &target)? {
            Ok(Some(object)) => changed |= subject.replace(&target, object)?,
            Ok(None) => {}
            Err(why) => deny(denials, policy, binding, &why, Some(Reason::Invalid)),
        }
    }
    if changed {
        rounds.policies.all_again();
        rounds.again = true;
    }
    if policy.reinvoked {
        rounds.policies.before.insert(id);
    }
    Ok(())
}

/// The object that a mutation makes; `None` where it changes nothing.
fn mutated(
    subject: &Subject<'_>,
    mutator: &Mutator,
    inputs: &Inputs<'_>,
    policy: &MutatingPolicy,
    target: &Target<'_>,
) -> Result<Result<Option<Json>, String>, Error> {
    let Some(object) = subject.object(target)? else { return Ok(Ok(None)) };
    let (Mutator::Apply(text, program) | Mutator::Patch(text, program)) = mutator;
    let mut budget = Budget::new(RUNTIME_BUDGET);
    let values = inputs.evaluate(&policy.variables, std::iter::once((text.as_str(), program)), &mut budget);
    let value = match values.map(|mut values| values.pop()) {
        Ok(Some(Ok(value))) => value,
        Ok(Some(Err(why))) | Err(why) => return Ok(Err(why)),
        Ok(None) => return Ok(Ok(None)),
    };
    Ok(match mutator {
        Mutator::Apply(..) => applied(subject, target, object, &value).map(Some),
        Mutator::Patch(..) => patched(object, &value),
    })
}

/// Source: `ApplyStructuredMergeDiff`.
fn applied(subject: &Subject<'_>, target: &Target<'_>, object: Json, value: &Value) -> Result<Json, String> {
    let changes = value.to_json().ok_or("error applying patch: the object has a value that JSON does not know")?;
    let Json::Object(mut changes) = changes else { return Err("invalid return type".into()) };
    for field in ["apiVersion", "kind"] {
        changes.insert(field.into(), object[field].clone());
    }
    let types = subject.types(target);
    let whole = wholes(&changes, &types);
    if !whole.is_empty() {
        let named = whole.join(", ");
        return Err(format!(
            "error applying patch: invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: {named}"
        ));
    }
    let failed = |what: &str, why: &dyn std::fmt::Display| format!("error applying patch: failed to {what}: {why}");
    let changes = Json::Object(changes);
    typed::validate(&changes, &types).map_err(|why| failed("convert patch object to typed object", &why))?;
    apply::merge::merge(&object, &changes, &types).map_err(|why| failed("merge patch", &why))
}

/// The paths of what a mutation would replace as a whole, where its author may think that it only adds.
/// Source: `findAtomics`.
fn wholes(changes: &serde_json::Map<String, Json>, types: &Schema) -> Vec<String> {
    let mut found = Vec::new();
    for (name, value) in changes {
        if let Some(field) = types.field(name) {
            whole_values(value, &field.schema, &format!(".{name}"), &mut found);
        }
    }
    found
}

fn whole_values(value: &Json, types: &Schema, path: &str, found: &mut Vec<String>) {
    match (value, types.form()) {
        (Json::Object(fields), Form::Object(object)) => {
            if object.atomic {
                found.push(path.to_owned());
            }
            for (name, value) in fields {
                if let Some(field) = object.field(name) {
                    whole_values(value, &field.schema, &format!("{path}.{name}"), found);
                }
            }
        }
        (Json::Array(values), Form::List(list)) => {
            if matches!(list.owned, Owned::Whole) {
                found.push(path.to_owned());
            }
            for (i, value) in values.iter().enumerate() {
                whole_values(value, &list.element, &format!("{path}[{i}]"), found);
            }
        }
        _ => {}
    }
}

fn patched(object: Json, value: &Value) -> Result<Option<Json>, String> {
    let Value::List(operations) = value else {
        return Err("type mismatch: JSONPatchType.expression should evaluate to array".into());
    };
    let marshal = "JSONPath valueExpression evaluated to a type that could not marshal to JSON";
    let operations = operations.iter().map(|operation| operation.to_json().ok_or(marshal));
    let operations: Vec<Json> = operations.collect::<Result<_, _>>()?;
    if operations.is_empty() {
        return Ok(None);
    }
    let text = Json::from(operations).to_string();
    let mut changed = object;
    let operations = patch::operations(text.as_bytes()).map_err(|error| format!("JSON Patch: {error}"))?;
    match patch::apply_operations(&mut changed, &operations) {
        Ok(()) => Ok(Some(changed)),
        Err(Misfit::Test) => Ok(None),
        Err(misfit) => Err(format!("JSON Patch: {misfit}")),
    }
}
