//! What is wrong with the rules of a schema themselves. Source:
//! `ValidateCustomResourceDefinitionOpenAPISchema`, `pkg/apis/apiextensions/validation/cel_validation.go`.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::ValidationRule;
use kubelab_api::{
    field::{Errors, Path},
    structural::{Additional, ListType, Schema},
};
use serde_json::{Value, json};

use super::{Rule, Wrong, bound, costs::Costs};
use crate::{cel::Type, registry::custom::declared};

/// What is wrong with the rules of a schema themselves. A rule that has been there before may cost more than it might now.
pub fn check(schema: &Schema, unchanged: bool, path: &Path, errors: &mut Errors) {
    let mut costs = Costs::new(unchanged);
    let root = Place { path: path.clone(), uncorrelated: None, often: Some(1) };
    Check { errors, costs: &mut costs }.visit(schema, &declared::root(schema), &schema.as_resource(), &root);
    costs.end(path, errors);
}

struct Check<'a> {
    errors: &'a mut Errors,
    costs: &'a mut Costs,
}

/// Where in a schema a part of it stands.
#[derive(Clone)]
struct Place {
    path: Path,
    /// From where on an object's past and present can no longer be told to belong together.
    uncorrelated: Option<Path>,
    /// How often a value can stand here; `None` where nothing but the size of a request says so.
    often: Option<u64>,
}

impl Place {
    /// The part of a schema under this name. What is no single value may stand as often as the schema lets it.
    fn below(&self, schema: &Schema, path: Path) -> Self {
        let most = |limit: Option<i64>| limit.map(|limit| u64::try_from(limit).unwrap_or_default());
        let often = match (schema.kind.as_str(), &schema.additional) {
            ("array", _) => most(schema.values.max_items),
            ("object", Additional::Unsaid) => Some(1),
            ("object", _) => most(schema.values.max_properties),
            _ => Some(1),
        };
        let often = self.often.zip(often).map(|(outside, here)| outside.saturating_mul(here));
        Self { path, often, ..self.clone() }
    }
}

impl Check<'_> {
    /// `whole` is the schema with what every object has.
    fn visit(&mut self, schema: &Schema, kind: &Option<Type>, whole: &Schema, place: &Place) {
        if let Additional::Of(values) = &schema.additional {
            let place = place.below(schema, place.path.child("additionalProperties"));
            self.visit(values, &declared::of(values), values, &place);
        }
        for (name, property) in &schema.properties {
            let place = place.below(schema, place.path.child("properties").key(name));
            self.visit(property, &declared::of(property), property, &place);
        }
        if let Some(items) = &schema.items {
            let mut below = place.below(schema, place.path.child("items"));
            if schema.list_type != Some(ListType::Map) {
                below.uncorrelated.get_or_insert_with(|| place.path.clone());
            }
            self.visit(items, &declared::of(items), items, &below);
        }
        if schema.rules.is_empty() {
            return;
        }
        let bound = bound::of(whole).unwrap_or_default();
        for (index, said) in schema.rules.iter().enumerate() {
            let path = place.path.child("x-kubernetes-validations").index(index);
            let kind = kind.as_ref().unwrap_or(&Type::Dyn);
            let (rule, wrong) = Rule::new(said, schema, kind);
            self.costs.add(&rule, (kind, &bound), place.often, &path, self.errors);
            self.rule(&rule, wrong, &path, place.uncorrelated.as_ref());
        }
    }

    fn rule(&mut self, rule: &Rule, wrong: Vec<Wrong>, path: &Path, uncorrelated: Option<&Path>) {
        let said = &rule.said;
        for wrong in wrong {
            match wrong {
                Wrong::Rule(why) => self.errors.invalid(&path.child("rule"), shown(said), &why),
                Wrong::Message(why) => self.errors.invalid(&path.child("messageExpression"), shown(said), &why),
            }
        }
        if rule.uses_old {
            if let Some(uncorrelated) = uncorrelated {
                let detail =
                    format!("oldSelf cannot be used on the uncorrelatable portion of the schema within {uncorrelated}");
                self.errors.invalid(&path.child("rule"), said.rule.as_str(), &detail);
            }
        } else if let Some(given) = said.optional_old_self.filter(|_| rule.program.is_ok()) {
            let detail = "may not be set if oldSelf is not used in rule";
            self.errors.invalid(&path.child("optionalOldSelf"), given, detail);
        }
    }
}

/// A rule as errors show it: upstream's internal type.
fn shown(rule: &ValidationRule) -> Value {
    json!({
        "Rule": rule.rule,
        "Message": rule.message.as_deref().unwrap_or_default(),
        "MessageExpression": rule.message_expression.as_deref().unwrap_or_default(),
        "Reason": rule.reason,
        "FieldPath": rule.field_path.as_deref().unwrap_or_default(),
        "OptionalOldSelf": rule.optional_old_self,
    })
}
