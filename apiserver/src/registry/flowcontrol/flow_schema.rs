//! FlowSchema. Source: `pkg/apis/flowcontrol/v1/defaults.go`, `pkg/apis/flowcontrol/validation/validation.go`.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::api::flowcontrol::v1::FlowSchema;
use kubelab_api::{
    field::{Errors, Path},
    name,
};
use serde_json::Value;

use super::rules;
use crate::fairness::objects;
use crate::registry::{
    cells::{self, AGE, NAME, NONE, cells, list},
    defaults::nonzero,
    kind::{Column, Kind, age, column},
    status::spec_and_status,
    validation::{form, json},
};

/// The one schema, and the one level, whose requests never wait.
pub(super) const EXEMPT: &str = "exempt";

/// FlowSchema.
pub struct FlowSchemaKind;

impl Kind for FlowSchemaKind {
    type Object = FlowSchema;

    fn default(schema: &mut FlowSchema) {
        nonzero(&mut schema.spec.matching_precedence, 1000);
    }

    spec_and_status!(generation);

    fn validate(schema: &FlowSchema, errors: &mut Errors) {
        let (spec, path) = (&schema.spec, Path::new("spec"));
        let precedence = spec.matching_precedence.unwrap_or_default();
        if precedence <= 0 {
            errors.invalid(&path.child("matchingPrecedence"), precedence, "must be a positive value");
        } else if precedence > 10_000 {
            let detail = "must not be greater than 10000";
            errors.invalid(&path.child("matchingPrecedence"), precedence, detail);
        }
        if precedence == 1 && schema.metadata.name.as_deref() != Some(EXEMPT) {
            let detail = "only the schema named 'exempt' may have matchingPrecedence 1";
            errors.invalid(&path.child("matchingPrecedence"), precedence, detail);
        }
        const METHODS: [&str; 2] = ["ByNamespace", "ByUser"];
        if let Some(method) = spec.distinguisher_method.as_ref().filter(|method| !METHODS.contains(&&*method.type_)) {
            let path = path.child("distinguisherMethod").child("type");
            errors.not_among(&path, json(method), &METHODS);
        }
        let at = path.child("priorityLevelConfiguration").child("name");
        match spec.priority_level_configuration.name.as_str() {
            "" => errors.required(&at, "must reference a priority level"),
            level => form(level, name::dns1123_subdomain, &at, errors),
        }
        for (i, rules) in list(&spec.rules).iter().enumerate() {
            rules::validate(rules, &path.child("rules").index(i), errors);
        }
        let name = cells::name(&schema.metadata);
        if objects::mandatory_schema(name).is_some_and(|fixed| fixed.spec != *spec) {
            errors.invalid(&path, json(spec), &format!("spec of '{name}' must equal the fixed value"));
        }
        let mut types = BTreeSet::new();
        let conditions = schema.status.as_ref().map_or(&[][..], |status| list(&status.conditions));
        for (i, condition) in conditions.iter().enumerate() {
            super::condition(&condition.type_, i, &mut types, errors);
        }
    }

    const COLUMNS: &'static [Column] = &[
        NAME,
        column("PriorityLevel", "string"),
        column("MatchingPrecedence", "string"),
        column("DistinguisherMethod", "string"),
        AGE,
        column("MissingPL", "string"),
    ];

    fn cells(schema: &FlowSchema, now: Timestamp) -> Vec<Value> {
        let spec = &schema.spec;
        let conditions = schema.status.as_ref().map_or(&[][..], |status| list(&status.conditions));
        let dangling = conditions.iter().find(|condition| condition.type_ == "Dangling");
        cells![
            cells::name(&schema.metadata),
            spec.priority_level_configuration.name.as_str(),
            spec.matching_precedence.unwrap_or_default(),
            spec.distinguisher_method.as_ref().map_or(NONE, |method| method.type_.as_str()),
            age(&schema.metadata, now),
            dangling.and_then(|condition| condition.status.as_deref()).unwrap_or("?"),
        ]
    }
}
