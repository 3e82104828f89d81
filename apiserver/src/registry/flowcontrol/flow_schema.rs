//! FlowSchema. Source: `pkg/apis/flowcontrol/v1/defaults.go`, `pkg/apis/flowcontrol/validation/validation.go`.

use jiff::Timestamp;
use k8s_openapi::api::flowcontrol::v1::FlowSchema;
use kubelab_api::field::{Errors, Path};
use serde_json::Value;

use crate::registry::{
    cells::{self, AGE, NAME, NONE, cells, list},
    defaults::nonzero,
    kind::{Column, Kind, age, column},
    status::spec_and_status,
    validation::{choice, required},
};

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
        if let Some(method) = &spec.distinguisher_method {
            choice(&method.type_, &["ByNamespace", "ByUser"], &path.child("distinguisherMethod").child("type"), errors);
        }
        let level = path.child("priorityLevelConfiguration").child("name");
        required(&spec.priority_level_configuration.name, &level, errors);
        for (i, rules) in list(&spec.rules).iter().enumerate() {
            let path = path.child("rules").index(i);
            if rules.subjects.is_empty() {
                errors.required(&path.child("subjects"), "subjects must contain at least one value");
            }
            if list(&rules.resource_rules).is_empty() && list(&rules.non_resource_rules).is_empty() {
                let detail = "at least one of resourceRules and nonResourceRules has to be non-empty";
                errors.required(&path, detail);
            }
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
