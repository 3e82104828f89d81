//! Expressions over a request. Source: `k8s.io/apiserver/pkg/admission/plugin/cel` and `plugin/webhook/matchconditions`.

use std::{cell::RefCell, collections::BTreeMap, sync::Arc};

use k8s_openapi::api::admissionregistration::v1::{MatchCondition, Variable};
use kubelab_api::Error;
use serde_json::Value as Json;

use super::{
    matching::Target,
    request_types::{NAMESPACE, REQUEST},
    subject::Subject,
};
use crate::{
    authorization::{Attributes, Decider},
    cel::{
        self, Activation, Budget, CONDITIONS_BUDGET, Environment, Failure, Lazy, ObjectType, Program, RUNTIME_BUDGET,
        Type, Value,
        authority::{Authority, Question, Verdict},
    },
    corridor::User,
};

/// The type of `variables`.
const VARIABLES: &str = "kubernetes.variables";

/// Which variables an expression may name beside those that all may.
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs)]
pub struct Scope {
    pub params: bool,
    pub authorizer: bool,
    pub mutations: bool,
}

/// What is known of the objects that expressions are about.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Objects {
    pub object: Type,
    pub params: Type,
}

impl Default for Objects {
    fn default() -> Self {
        Self { object: Type::Dyn, params: Type::Dyn }
    }
}

/// The variables of a request. Source: `createEnvForOpts`.
pub fn environment(scope: Scope) -> Environment {
    typed_environment(scope, &Objects::default())
}

fn typed_environment(scope: Scope, objects: &Objects) -> Environment {
    let mut environment = Environment::new()
        .with("object", objects.object.clone())
        .with("oldObject", objects.object.clone())
        .with("namespaceObject", NAMESPACE.clone())
        .with("request", REQUEST.clone());
    if scope.params {
        environment = environment.with("params", objects.params.clone());
    }
    if scope.authorizer {
        let named = |name: &str| Type::Named(format!("kubernetes.authorization.{name}").into());
        environment = environment
            .with("authorizer", named("Authorizer"))
            .with("authorizer.requestResource", named("ResourceCheck"));
    }
    if scope.mutations { environment.with_mutations() } else { environment }
}

/// An expression whose value has one of these types, or why it is none. Source: `CompileCELExpression`.
pub fn compile(environment: &Environment, expression: &str, wanted: &[Type]) -> Result<Program, String> {
    let program = environment.compile(expression).map_err(|error| format!("compilation failed: {error}"))?;
    let output = program.output();
    if wanted.is_empty() || wanted.contains(output) {
        return Ok(program);
    }
    Err(match wanted {
        [one] => format!("must evaluate to {one} but got {output}"),
        several => {
            let shown: Vec<_> = several.iter().map(type_text).collect();
            format!("must evaluate to one of [{}] but got {output}", shown.join(" "))
        }
    })
}

fn type_text(kind: &Type) -> String {
    if *kind == Type::Null { "null_type".into() } else { kind.to_string() }
}

/// The variables of a policy: expressions with names, of which later ones may use earlier ones.
#[derive(Default)]
pub struct Variables {
    programs: Vec<(String, Result<Program, String>)>,
    kinds: Vec<(String, Type)>,
}

impl Variables {
    /// A policy's.
    pub fn new(scope: Scope, variables: &[Variable]) -> Self {
        Self::typed(scope, &Objects::default(), variables)
    }

    /// The same, about objects of which more is known.
    pub fn typed(scope: Scope, objects: &Objects, variables: &[Variable]) -> Self {
        let mut all = Self::default();
        for variable in variables {
            let program = compile(&all.typed_environment(scope, objects), &variable.expression, &[]);
            let kind = program.as_ref().map_or(Type::Dyn, |program| program.output().clone());
            all.kinds.push((variable.name.clone(), kind));
            all.programs.push((variable.name.clone(), program));
        }
        all
    }

    /// With these variables under `variables`.
    pub fn environment(&self, scope: Scope) -> Environment {
        self.typed_environment(scope, &Objects::default())
    }

    /// The same, about objects of which more is known.
    pub fn typed_environment(&self, scope: Scope, objects: &Objects) -> Environment {
        let fields = self.kinds.iter().map(|(name, kind)| (name.as_str(), kind.clone()));
        typed_environment(scope, objects).with("variables", Type::object(ObjectType::new(VARIABLES, fields)))
    }

    /// What is wrong with them, by their places.
    pub fn errors(&self) -> impl Iterator<Item = (usize, &str)> {
        self.programs.iter().enumerate().filter_map(|(i, (_, program))| Some((i, program.as_ref().err()?.as_str())))
    }
}

/// One evaluation's variables: each is computed once, when it is first asked for.
struct Composed<'a> {
    base: &'a [(&'a str, Value)],
    variables: &'a Variables,
    known: RefCell<BTreeMap<String, Result<Value, Failure>>>,
    budget: RefCell<Budget>,
}

impl Lazy for Composed<'_> {
    fn variable(&self, name: &str) -> Option<Result<Value, Failure>> {
        let (_, program) = self.variables.programs.iter().find(|(known, _)| known == name)?;
        if let Some(known) = self.known.borrow().get(name) {
            return Some(known.clone());
        }
        let found = match program {
            Err(error) => Err(Failure::Error(format!("composited variable {name:?} fails to compile: {error}"))),
            Ok(program) => {
                // Its own variables may be computed on the way, so nothing stays borrowed meanwhile.
                let mut budget = std::mem::replace(&mut *self.budget.borrow_mut(), Budget::new(0));
                let spare = budget.split();
                *self.budget.borrow_mut() = spare;
                let found = program.evaluate(&Activation::new(self.base).and(self), &mut budget);
                self.budget.borrow_mut().join(budget);
                found.map_err(|failure| match failure {
                    Failure::Limit => Failure::Limit,
                    failure => Failure::Error(format!("composited variable {name:?} fails to evaluate: {failure}")),
                })
            }
        };
        self.known.borrow_mut().insert(name.to_owned(), found.clone());
        Some(found)
    }
}

/// The values that expressions about one request go by.
pub struct Inputs<'a> {
    values: Vec<(&'a str, Value)>,
}

impl<'a> Inputs<'a> {
    /// Those of a request.
    pub fn new(subject: &Subject<'_>, target: &Target<'_>, params: Option<&Json>) -> Result<Self, Error> {
        let request = Json::Object(subject.request(target));
        let mut values = vec![
            ("object", subject.value(target, true)?),
            ("oldObject", subject.value(target, false)?),
            ("request", Value::from_typed_json(&request, &REQUEST)),
            ("namespaceObject", subject.namespace_value()),
            ("params", params.map_or(Value::Null, Value::from_json)),
        ];
        if let Some(decider) = subject.context.policies.decider() {
            let user = subject.context.request.user.clone();
            let authority: Arc<dyn Authority> = Arc::new(Asked { decider: Arc::clone(decider), user });
            let facts = subject.facts();
            let question = Question {
                group: facts.target.group.into(),
                resource: facts.target.plural.into(),
                subresource: facts.target.subresource.into(),
                namespace: facts.namespace.into(),
                name: facts.name.into(),
                ..Question::default()
            };
            values.push(("authorizer.requestResource", Value::resource_check(Arc::clone(&authority), question)));
            values.push(("authorizer", Value::authorizer(authority)));
        }
        Ok(Self { values })
    }

    /// Evaluates in order, with a budget for all. The outer error is that of a budget that is spent.
    pub fn evaluate<'p>(
        &self,
        variables: &Variables,
        programs: impl Iterator<Item = (&'p str, &'p Result<Program, String>)>,
        budget: &mut Budget,
    ) -> Result<Vec<Result<Value, String>>, String> {
        let composed = Composed {
            base: &self.values,
            variables,
            known: RefCell::default(),
            budget: RefCell::new(Budget::new(RUNTIME_BUDGET)),
        };
        let activation = Activation::new(&self.values).and(&composed);
        let mut found = Vec::new();
        for (expression, program) in programs {
            found.push(match program {
                Err(error) => Err(format!("compilation error: {error}")),
                Ok(program) => {
                    let value = program.evaluate(&activation, budget);
                    if budget.is_spent() {
                        return Err(
                            "validation failed due to running out of cost budget, no further validation rules \
                                    will be run"
                                .into(),
                        );
                    }
                    value.map_err(|failure| format!("expression '{expression}' resulted in error: {failure}"))
                }
            });
        }
        Ok(found)
    }
}

/// `authorizer` about a user.
struct Asked {
    decider: Arc<dyn Decider>,
    user: User,
}

impl Authority for Asked {
    fn decide(&self, question: &Question) -> Verdict {
        let account = question.account.as_ref().map(|(namespace, name)| User {
            name: format!("system:serviceaccount:{namespace}:{name}"),
            groups: vec![
                "system:serviceaccounts".into(),
                format!("system:serviceaccounts:{namespace}"),
                "system:authenticated".into(),
            ],
            ..User::default()
        });
        let user = account.as_ref().unwrap_or(&self.user);
        let attributes = match &question.path {
            Some(path) => Attributes::path(user, &question.verb, path),
            None => Attributes {
                subresource: &question.subresource,
                namespace: &question.namespace,
                name: &question.name,
                field_selector: &question.field_selector,
                ..Attributes::resource(user, &question.verb, &question.group, &question.resource)
            },
        };
        let decision = self.decider.decide(&attributes);
        Verdict { allowed: decision.allowed, reason: decision.reason }
    }
}

/// The match conditions of a webhook or a policy.
#[derive(Default)]
pub struct Conditions(Vec<(String, Result<Program, String>)>);

/// Whether they are met.
#[derive(Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Met {
    Yes,
    No,
    /// They cannot be evaluated, and that is to fail the request.
    Failed(String),
}

impl Conditions {
    /// A webhook's.
    pub fn of_webhook(conditions: &[MatchCondition]) -> Self {
        Self::new(&environment(Scope { authorizer: true, ..Scope::default() }), conditions)
    }

    /// With an environment.
    pub fn new(environment: &Environment, conditions: &[MatchCondition]) -> Self {
        let one = |condition: &MatchCondition| {
            (condition.expression.clone(), compile(environment, &condition.expression, &[Type::Bool]))
        };
        Self(conditions.iter().map(one).collect())
    }

    /// A policy's conditions may name its variables and its parameters.
    pub fn met_by(&self, inputs: &Inputs<'_>, variables: &Variables, ignores_failure: bool) -> Met {
        let failed = |message: String| if ignores_failure { Met::No } else { Met::Failed(message) };
        let programs = self.0.iter().map(|(expression, program)| (expression.as_str(), program));
        let mut budget = Budget::new(CONDITIONS_BUDGET);
        let found = match inputs.evaluate(variables, programs, &mut budget) {
            Ok(found) => found,
            Err(error) => return failed(error),
        };
        if found.iter().any(|value| matches!(value, Ok(cel::Value::Bool(false)))) {
            return Met::No;
        }
        let errors: Vec<String> = found.into_iter().filter_map(Result::err).collect();
        match &errors[..] {
            [] => Met::Yes,
            [one] => failed(one.clone()),
            several => failed(format!("[{}]", several.join(", "))),
        }
    }

    /// A webhook's conditions.
    pub fn met(
        &self,
        subject: &Subject<'_>,
        target: &Target<'_>,
        params: Option<&Json>,
        ignores_failure: bool,
    ) -> Result<Met, Error> {
        if self.0.is_empty() {
            return Ok(Met::Yes);
        }
        let inputs = Inputs::new(subject, target, params)?;
        Ok(self.met_by(&inputs, &Variables::default(), ignores_failure))
    }
}
