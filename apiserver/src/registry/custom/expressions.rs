//! The rules in CEL of a schema. Source: `pkg/apiserver/schema/cel/{compilation,validation}.go`.

mod bound;
pub mod check;
mod costs;

use std::collections::BTreeMap;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::ValidationRule;
use kubelab_api::{
    field::{Errors, Path},
    structural::{Additional, ListType, Schema, definition::field_path},
};
use serde_json::Value;

use super::declared;
use crate::cel::{self, Activation, Budget, Environment, Failure, Program, RUNTIME_BUDGET, Type};

/// A message that an expression makes may have so many bytes. Source: `MaxEvaluatedMessageExpressionSizeBytes`.
const MAX_MESSAGE: usize = 5 * 1024;
const OUT_OF_BUDGET: &str =
    "validation failed due to running out of cost budget, no further validation rules will be run";

/// The rules about a value, and about what it holds.
pub struct Expressions {
    kind: Type,
    /// The type that the schema names.
    type_name: String,
    rules: Vec<Rule>,
    fields: BTreeMap<String, Expressions>,
    values: Option<Box<Expressions>>,
    items: Option<Box<Expressions>>,
    /// What tells the elements of a list apart, so that each can be compared to what it was.
    keys: Option<Vec<String>>,
}

struct Rule {
    said: ValidationRule,
    program: Result<Program, String>,
    message: Option<Program>,
    uses_old: bool,
    field: Option<String>,
}

/// What is wrong with a rule itself.
enum Wrong {
    Rule(String),
    Message(String),
}

impl Expressions {
    /// The rules of a schema; `None` if it has none.
    pub fn new(schema: &Schema) -> Option<Self> {
        schema.any(&|schema| !schema.rules.is_empty()).then(|| Self::of(schema, &declared::root(schema)))
    }

    fn of(schema: &Schema, kind: &Option<Type>) -> Self {
        let declared = kind.clone().unwrap_or(Type::Dyn);
        let below = |schema: &Schema| Self::of(schema, &declared::of(schema));
        let has_rules = |schema: &&Schema| schema.any(&|schema| !schema.rules.is_empty());
        let with_rules = schema.properties.iter().filter(|(_, property)| has_rules(property));
        let values = match &schema.additional {
            Additional::Of(values) => Some(&**values),
            _ => None,
        };
        Self {
            type_name: schema.kind.clone(),
            rules: schema.rules.iter().map(|rule| Rule::new(rule, schema, &declared).0).collect(),
            fields: with_rules.map(|(name, property)| (name.clone(), below(property))).collect(),
            values: values.filter(has_rules).map(|values| Box::new(below(values))),
            items: schema.items.as_deref().filter(has_rules).map(|items| Box::new(below(items))),
            keys: (schema.list_type == Some(ListType::Map)).then(|| schema.list_keys.clone()),
            kind: declared,
        }
    }

    /// What the rules say of a value that takes the place of another.
    pub fn validate(&self, new: &Value, old: Option<&Value>, errors: &mut Errors) {
        let mut run = Run { budget: Budget::new(RUNTIME_BUDGET), stopped: false, errors };
        run.visit(self, new, old, &Path::default());
    }
}

/// What a rule about values of this type can name.
fn environment(said: &ValidationRule, kind: &Type) -> Environment {
    let old = match said.optional_old_self {
        Some(true) => Type::optional(kind.clone()),
        _ => kind.clone(),
    };
    Environment::new().with("self", kind.clone()).with("oldSelf", old)
}

impl Rule {
    fn new(said: &ValidationRule, schema: &Schema, kind: &Type) -> (Self, Vec<Wrong>) {
        let mut wrong = Vec::new();
        let environment = environment(said, kind);
        let compile = |text: &str, wanted: &Type, must_be: &str| match environment.compile(text) {
            Err(error) => Err(format!("compilation failed: {error}")),
            Ok(program) if program.output() != wanted => Err(must_be.to_owned()),
            Ok(program) => Ok(program),
        };
        let program = compile(&said.rule, &Type::Bool, "cel expression must evaluate to a bool");
        if let Err(why) = &program {
            wrong.push(Wrong::Rule(why.clone()));
        }
        let expression = said.message_expression.as_deref().filter(|text| !text.trim().is_empty());
        let message = expression.and_then(|text| {
            match compile(text, &Type::String, "messageExpression must evaluate to a string") {
                Ok(program) => Some(program),
                Err(why) => {
                    let is_text = why.starts_with("compilation");
                    wrong.push(Wrong::Message(if is_text { format!("messageExpression {why}") } else { why }));
                    None
                }
            }
        });
        let given = said.field_path.as_deref().filter(|path| !path.is_empty());
        let field = given.and_then(|path| field_path::find(path, schema, true).ok()).map(|(path, _)| path.to_string());
        let uses_old = program.as_ref().is_ok_and(|program| program.names("oldSelf"));
        (Self { said: said.clone(), program, message, uses_old, field }, wrong)
    }

    /// How errors name it.
    fn text(&self) -> &str {
        let message = self.said.message.as_deref().unwrap_or_default().trim();
        if message.is_empty() { self.said.rule.trim() } else { message }
    }
}

/// One object's validation.
struct Run<'a> {
    budget: Budget,
    stopped: bool,
    errors: &'a mut Errors,
}

impl Run<'_> {
    fn visit(&mut self, expressions: &Expressions, new: &Value, old: Option<&Value>, path: &Path) {
        if self.stopped || new.is_null() {
            return;
        }
        if !expressions.rules.is_empty() {
            self.evaluate(expressions, new, old.filter(|old| !old.is_null()), path);
        }
        match new {
            Value::Array(elements) => {
                let Some(items) = expressions.items.as_deref() else { return };
                for (index, element) in elements.iter().enumerate() {
                    let old = expressions.keys.as_ref().and_then(|keys| {
                        let others = old?.as_array()?;
                        others.iter().find(|other| keys.iter().all(|key| other.get(key) == element.get(key)))
                    });
                    self.visit(items, element, old, &path.index(index));
                }
            }
            Value::Object(fields) => {
                for (name, value) in fields {
                    let old = old.and_then(|old| old.get(name));
                    match (expressions.fields.get(name), expressions.values.as_deref()) {
                        (Some(field), _) => self.visit(field, value, old, &path.child(name)),
                        (None, Some(values)) => self.visit(values, value, old, &path.key(name)),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }

    fn evaluate(&mut self, expressions: &Expressions, new: &Value, old: Option<&Value>, path: &Path) {
        let kind = expressions.type_name.as_str();
        let this = cel::Value::from_typed_json(new, &expressions.kind);
        let before = old.map(|old| cel::Value::from_typed_json(old, &expressions.kind));
        for rule in &expressions.rules {
            if self.budget.is_spent() {
                self.errors.invalid(path, kind, OUT_OF_BUDGET);
                self.stopped = true;
                return;
            }
            let optional = rule.said.optional_old_self == Some(true);
            let program = match &rule.program {
                Ok(program) => program,
                Err(why) => {
                    self.errors.invalid(path, kind, &format!("rule compile error: {why}"));
                    continue;
                }
            };
            if rule.uses_old && before.is_none() && !optional {
                continue;
            }
            let old_self = match (&before, optional) {
                (Some(before), true) => cel::Value::Optional(Some(before.clone().into())),
                (Some(before), false) => before.clone(),
                (None, _) => cel::Value::Optional(None),
            };
            let variables = [("self", this.clone()), ("oldSelf", old_self)];
            let activation = Activation::new(&variables);
            match program.evaluate(&activation, &mut self.budget) {
                Ok(cel::Value::Bool(true)) => continue,
                Ok(_) => {}
                Err(Failure::Limit) => {
                    let text = rule.text();
                    let detail = if self.budget.is_spent() {
                        OUT_OF_BUDGET.to_owned()
                    } else {
                        format!(
                            "'{}': no further validation rules will be run due to call cost exceeds limit for rule: {text}",
                            Failure::Limit
                        )
                    };
                    self.errors.invalid(path, kind, &detail);
                    self.stopped = true;
                    return;
                }
                Err(failure) => {
                    let (why, text) = (failure.to_string(), rule.text());
                    let detail = if why.starts_with("no such overload") {
                        format!(
                            "'{why}': call arguments did not match a supported operator, function or macro signature \
                             for rule: {text}"
                        )
                    } else {
                        format!("{why} evaluating rule: {text}")
                    };
                    self.errors.invalid(path, kind, &detail);
                    continue;
                }
            }
            // What was wrong before and did not change may stay so.
            if !rule.uses_old && old == Some(new) {
                continue;
            }
            let detail = self.message(rule, &activation);
            self.tell(rule, new, path, &detail);
        }
    }

    fn message(&mut self, rule: &Rule, activation: &Activation<'_>) -> String {
        let made = rule.message.as_ref().and_then(|program| program.evaluate(activation, &mut self.budget).ok());
        if let Some(cel::Value::String(text)) = made {
            let text = text.trim();
            if !text.is_empty() && text.len() <= MAX_MESSAGE && !text.contains('\n') {
                return text.to_owned();
            }
        }
        match rule.said.message.as_deref().unwrap_or_default() {
            "" => format!("failed rule: {}", rule.text()),
            message => message.trim().to_owned(),
        }
    }

    fn tell(&mut self, rule: &Rule, value: &Value, path: &Path, detail: &str) {
        let path = rule.field.as_ref().map_or_else(|| path.clone(), |field| path.child(field));
        let shown = !value.is_object() && !value.is_array();
        match rule.said.reason.as_deref() {
            Some("FieldValueForbidden") => self.errors.forbidden(&path, detail),
            Some("FieldValueRequired") => self.errors.required(&path, detail),
            Some("FieldValueDuplicate") => self.errors.duplicate(&path, value.clone()),
            _ if shown => self.errors.invalid(&path, value.clone(), detail),
            _ => self.errors.invalid_unshown(&path, detail),
        }
    }
}

#[cfg(test)]
mod tests;
