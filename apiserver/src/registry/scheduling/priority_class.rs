//! PriorityClass. Source: `pkg/apis/scheduling/v1/defaults.go`, `pkg/apis/scheduling/validation/validation.go`.

use jiff::Timestamp;
use k8s_openapi::api::scheduling::v1::PriorityClass;
use kubelab_api::field::{Errors, Path};
use serde_json::Value;

use crate::registry::{
    cells::{self, AGE, NAME, cells, text},
    defaults::missing,
    kind::{Column, Kind, age, column},
    validation::{immutable, required_choice},
};

/// PriorityClass.
pub struct PriorityClassKind;

/// The greatest priority that users may give; more belongs to the system.
const HIGHEST_FOR_USERS: i32 = 1_000_000_000;

/// The classes that the system makes for itself.
const SYSTEM: &[(&str, i32)] = &[("system-cluster-critical", 2_000_000_000), ("system-node-critical", 2_000_001_000)];

impl Kind for PriorityClassKind {
    type Object = PriorityClass;

    fn default(class: &mut PriorityClass) {
        missing(&mut class.preemption_policy, "PreemptLowerPriority".into());
        missing(&mut class.value, 0);
    }

    const GENERATION: bool = true;

    fn spec_changed(_new: &PriorityClass, _old: &PriorityClass) -> bool {
        false
    }

    fn validate(class: &PriorityClass, errors: &mut Errors) {
        let (name, value) = (cells::name(&class.metadata), class.value.unwrap_or_default());
        if name.starts_with("system-") {
            if !SYSTEM.contains(&(name, value)) {
                let wrong = match SYSTEM.iter().find(|(known, _)| *known == name) {
                    Some((_, expected)) => format!("value of {name} PriorityClass must be {expected}"),
                    None => format!("{name} is not a known system priority class"),
                };
                let detail = format!(
                    "priority class names with 'system-' prefix are reserved for system use only. error: {wrong}"
                );
                errors.forbidden(&Path::new("metadata").child("name"), &detail);
            }
        } else if value > HIGHEST_FOR_USERS {
            let detail = format!("maximum allowed value of a user defined priority is {HIGHEST_FOR_USERS}");
            errors.forbidden(&Path::new("value"), &detail);
        }
        if let Some(policy) = &class.preemption_policy {
            required_choice(policy, &["PreemptLowerPriority", "Never"], &Path::new("preemptionPolicy"), errors);
        }
    }

    fn validate_update(new: &PriorityClass, old: &PriorityClass, errors: &mut Errors) {
        if new.value != old.value {
            errors.forbidden(&Path::new("value"), "may not be changed in an update.");
        }
        immutable(&new.preemption_policy, &old.preemption_policy, &Path::new("preemptionPolicy"), errors);
    }

    const COLUMNS: &'static [Column] = &[
        NAME,
        column("Value", "integer"),
        column("Global-Default", "boolean"),
        AGE,
        column("PreemptionPolicy", "string"),
    ];

    fn cells(class: &PriorityClass, now: Timestamp) -> Vec<Value> {
        cells![
            cells::name(&class.metadata),
            class.value.unwrap_or_default(),
            class.global_default.unwrap_or_default(),
            age(&class.metadata, now),
            text(&class.preemption_policy),
        ]
    }
}
