//! Whether a policy's expressions fit the kinds that it is about: `status.typeChecking`. What does not fit is told, and
//! the policy works all the same. Source: `pkg/admission/plugin/policy/validating/typechecking.go` of
//! `k8s.io/apiserver`, `pkg/controller/validatingadmissionpolicystatus`.
//!
//! Upstream's controller checks each generation once, a moment after it was written. Here the write itself does: the kinds
//! that are served are known to it, so there is no moment without an answer, and nothing for several servers to agree on.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use k8s_openapi::{
    api::admissionregistration::v1::{
        ExpressionWarning, NamedRuleWithOperations, TypeChecking, ValidatingAdmissionPolicy,
        ValidatingAdmissionPolicyStatus,
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps,
    schemars::generate::SchemaSettings,
};
use kubelab_api::structural::Schema;
use serde_json::{Map, Value};

use crate::{
    admission::dynamic::conditions::{Objects, Scope, Variables},
    cel::{ObjectType, Type},
    registry::{
        cells::{list, text},
        custom::declared,
        handler::Handler,
        table::Table,
    },
};

/// So many kinds are looked at. Source: `maxTypesToCheck`.
const MOST_KINDS: usize = 10;
/// Group, version and kind, in upstream's order.
type Kind = [String; 3];

/// The status of a policy whose generation is new.
pub fn status(policy: &ValidatingAdmissionPolicy, kinds: &Table) -> ValidatingAdmissionPolicyStatus {
    let warnings = warnings(policy, kinds);
    ValidatingAdmissionPolicyStatus {
        observed_generation: policy.metadata.generation,
        type_checking: Some(TypeChecking { expression_warnings: (!warnings.is_empty()).then_some(warnings) }),
        ..policy.status.clone().unwrap_or_default()
    }
}

fn warnings(policy: &ValidatingAdmissionPolicy, kinds: &Table) -> Vec<ExpressionWarning> {
    let Some(spec) = &policy.spec else { return Vec::new() };
    let rules = spec.match_constraints.as_ref().map_or(&[][..], |constraints| list(&constraints.resource_rules));
    let types = of_rules(rules, kinds);
    let param = spec.param_kind.as_ref().and_then(|kind| {
        let (version, kind) = (text(&kind.api_version), text(&kind.kind));
        let mut handlers = kinds.iter();
        let found = handlers.find(|found| found.resource.api_version() == version && found.resource.kind == kind);
        found.and_then(|found| type_of(found, kinds))
    });
    let scope = Scope { params: spec.param_kind.is_some(), authorizer: true, mutations: false };
    let check = |expression: &str, field_ref: String| {
        let mut wrong = Vec::new();
        for ([group, version, kind], object) in &types {
            let objects = Objects { object: object.clone(), params: param.clone().unwrap_or(Type::Dyn) };
            let variables = Variables::typed(scope, &objects, list(&spec.variables));
            if let Err(why) = variables.typed_environment(scope, &objects).compile(expression) {
                let place = if group.is_empty() { format!("/{version}") } else { format!("{group}/{version}") };
                wrong.push(format!("{place}, Kind={kind}: {why}\n"));
            }
        }
        (!wrong.is_empty()).then(|| ExpressionWarning { field_ref, warning: wrong.join("\n") })
    };
    let mut warnings = Vec::new();
    for (i, validation) in list(&spec.validations).iter().enumerate() {
        warnings.extend(check(&validation.expression, format!("spec.validations[{i}].expression")));
        let message = text(&validation.message_expression);
        if !message.is_empty() {
            warnings.extend(check(message, format!("spec.validations[{i}].messageExpression")));
        }
    }
    warnings
}

/// The kinds that rules name one by one, and their types.
fn of_rules(rules: &[NamedRuleWithOperations], kinds: &Table) -> BTreeMap<Kind, Type> {
    let mut types = BTreeMap::new();
    for rule in rules {
        let sorted = |names: &Option<Vec<String>>| names.iter().flatten().cloned().collect::<BTreeSet<_>>();
        let (groups, versions) = (sorted(&rule.api_groups), sorted(&rule.api_versions));
        if groups.iter().chain(&versions).any(|name| name.contains('*')) {
            continue;
        }
        let resources: Vec<_> = sorted(&rule.resources).into_iter().filter(|name| !name.contains(['*', '/'])).collect();
        for (group, version) in groups.iter().flat_map(|group| versions.iter().map(move |version| (group, version))) {
            for found in resources.iter().filter_map(|resource| kinds.find(group, version, resource)) {
                if types.len() >= MOST_KINDS {
                    return types;
                }
                let kind = [group.clone(), version.clone(), found.resource.kind.to_string()];
                if let Some(of) = type_of(found, kinds) {
                    types.insert(kind, of);
                }
            }
        }
    }
    types
}

/// The type of a kind's objects.
fn type_of(handler: &Handler, kinds: &Table) -> Option<Type> {
    let Some(definition) = &handler.definition else { return built_in(handler) };
    let schema = &definition.version(&handler.resource.version)?.schema;
    let Type::Object(own) = declared::of(schema)? else { return None };
    // Of its metadata, a definition says nothing or little.
    let Some(Type::Object(any)) = kinds.find("", "v1", "configmaps").and_then(|any| built_in(any)) else { return None };
    let mut whole = ObjectType::clone(&own);
    for name in ["apiVersion", "kind", "metadata"] {
        whole.fields.extend(any.fields.get_key_value(name).map(|(name, kind)| (name.clone(), kind.clone())));
    }
    Some(Type::object(ObjectType { name: Arc::from(&*handler.resource.kind), ..whole }))
}

fn built_in(handler: &Handler) -> Option<Type> {
    let mut generator = SchemaSettings::draft07().into_generator();
    let schema = handler.schema(&mut generator).to_value();
    let definitions = generator.take_definitions(false);
    let whole = resolved(&schema, &definitions, &mut Vec::new())?;
    let props: JSONSchemaProps = serde_json::from_value(whole).ok()?;
    let Type::Object(object) = declared::of(&Schema::new(&props))? else { return None };
    Some(Type::object(ObjectType { name: Arc::from(&*handler.resource.kind), ..ObjectType::clone(&object) }))
}

/// A schema with what it refers to in the place of each reference. What holds itself is left out.
fn resolved(schema: &Value, definitions: &Map<String, Value>, within: &mut Vec<String>) -> Option<Value> {
    if let Some(name) = schema["$ref"].as_str().and_then(|reference| reference.rsplit('/').next()) {
        if within.iter().any(|outer| outer == name) {
            return None;
        }
        within.push(name.to_owned());
        let found = definitions.get(name).and_then(|target| resolved(target, definitions, within));
        within.pop();
        return found;
    }
    let mut whole = Map::new();
    for name in ["type", "format", "x-kubernetes-int-or-string"] {
        whole.extend(schema.get(name).map(|value| (name.to_owned(), value.clone())));
    }
    for name in ["items", "additionalProperties"] {
        match schema.get(name) {
            None => {}
            Some(schema @ Value::Object(_)) => {
                whole.insert(name.into(), resolved(schema, definitions, within)?);
            }
            Some(other) => drop(whole.insert(name.into(), other.clone())),
        }
    }
    if let Some(properties) = schema["properties"].as_object() {
        let resolve =
            |(name, property): (&String, &Value)| Some((name.clone(), resolved(property, definitions, within)?));
        whole.insert("properties".into(), properties.iter().filter_map(resolve).collect());
    }
    Some(Value::Object(whole))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    fn told(resources: &[(&str, &str)], more: Value) -> Vec<(String, String)> {
        let rules: Vec<_> = resources
            .iter()
            .map(|(group, plural)| json!({ "apiGroups": [group], "apiVersions": ["v1"], "resources": [plural] }))
            .collect();
        let mut spec = json!({ "matchConstraints": { "resourceRules": rules } });
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let policy = serde_json::from_value(json!({ "metadata": { "generation": 3 }, "spec": spec })).unwrap();
        let status = status(&policy, &Table::built_in());
        assert_eq!(status.observed_generation, Some(3));
        let warnings = status.type_checking.unwrap().expression_warnings.unwrap_or_default();
        warnings.into_iter().map(|warning| (warning.field_ref, warning.warning)).collect()
    }

    fn one(expression: &str) -> Value {
        json!({ "validations": [{ "expression": expression }] })
    }

    #[test]
    fn expressions_are_checked_against_each_kind() {
        let deployments = [("apps", "deployments")];
        for fits in [
            "object.spec.replicas > 1",
            "object.metadata.labels['a'] == 'b' && object.metadata.creationTimestamp < timestamp('2026-01-01T00:00:00Z')",
            "object.spec.template.spec.containers.all(c, c.resources.limits['cpu'] == '1' || has(c.livenessProbe))",
            "type(object.spec.strategy.rollingUpdate.maxSurge) == int",
        ] {
            assert_eq!(told(&deployments, one(fits)), [], "{fits}");
        }
        let why = "ERROR: <input>:1:12: undefined field 'foo'\n | object.spec.foo > 1\n | ...........^";
        assert_eq!(
            told(&[("apps", "statefulsets"), ("apps", "deployments"), ("", "nothing")], one("object.spec.foo > 1")),
            [(
                "spec.validations[0].expression".to_owned(),
                format!("apps/v1, Kind=Deployment: {why}\n\napps/v1, Kind=StatefulSet: {why}\n")
            )]
        );
        let told = told(
            &[("", "pods")],
            json!({
                "variables": [{ "name": "x", "expression": "object.spec.containers" }],
                "validations": [{ "expression": "variables.x.size() > 0", "messageExpression": "variables.x + 'a'" }],
            }),
        );
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].0, "spec.validations[0].messageExpression");
        assert!(told[0].1.starts_with("/v1, Kind=Pod: ERROR: <input>:1:13: found no matching"));
    }

    #[test]
    fn what_is_named_by_a_star_is_not_looked_at() {
        for resources in [[("*", "deployments")], [("apps", "*")], [("apps", "deployments/scale")]] {
            assert_eq!(told(&resources, one("object.spec.foo > 1")), []);
        }
    }
}
