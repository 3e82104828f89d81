//! PriorityLevelConfiguration. Source: `pkg/apis/flowcontrol/v1/defaults.go`,
//! `pkg/apis/flowcontrol/validation/validation.go`.

use jiff::Timestamp;
use k8s_openapi::api::flowcontrol::v1::PriorityLevelConfiguration;
use kubelab_api::field::{Errors, Path};
use serde_json::Value;

use crate::registry::{
    cells::{self, AGE, NAME, NONE, cells},
    defaults::{missing, nonzero},
    kind::{Column, Kind, age, column},
    status::spec_and_status,
    validation::required_choice,
};

/// PriorityLevelConfiguration.
pub struct PriorityLevelConfigurationKind;

impl Kind for PriorityLevelConfigurationKind {
    type Object = PriorityLevelConfiguration;

    fn default(level: &mut PriorityLevelConfiguration) {
        if let Some(exempt) = &mut level.spec.exempt {
            missing(&mut exempt.nominal_concurrency_shares, 0);
            missing(&mut exempt.lendable_percent, 0);
        }
        if let Some(limited) = &mut level.spec.limited {
            missing(&mut limited.nominal_concurrency_shares, 30);
            missing(&mut limited.lendable_percent, 0);
            if let Some(queuing) = &mut limited.limit_response.queuing {
                nonzero(&mut queuing.queues, 64);
                nonzero(&mut queuing.hand_size, 8);
                nonzero(&mut queuing.queue_length_limit, 50);
            }
        }
    }

    spec_and_status!(generation);

    fn validate(level: &PriorityLevelConfiguration, errors: &mut Errors) {
        let (spec, path) = (&level.spec, Path::new("spec"));
        required_choice(&spec.type_, &["Exempt", "Limited"], &path.child("type"), errors);
        match (spec.type_.as_str(), &spec.limited, &spec.exempt) {
            ("Exempt", Some(_), _) => {
                let detail = "must be nil if the type is not Limited";
                errors.forbidden(&path.child("limited"), detail);
            }
            ("Limited", _, Some(_)) => {
                let detail = "must be nil if the type is Limited";
                errors.forbidden(&path.child("exempt"), detail);
            }
            ("Limited", None, None) => {
                errors.required(&path.child("limited"), "must not be empty when type is Limited");
            }
            ("Limited", Some(limited), None) => {
                let path = path.child("limited").child("limitResponse");
                let response = &limited.limit_response;
                required_choice(&response.type_, &["Queue", "Reject"], &path.child("type"), errors);
                match (response.type_.as_str(), &response.queuing) {
                    ("Reject", Some(_)) => {
                        let detail = "must be nil if limited.limitResponse.type is not Limited";
                        errors.forbidden(&path.child("queuing"), detail);
                    }
                    ("Queue", None) => {
                        let detail = "must not be empty if limited.limitResponse.type is Limited";
                        errors.required(&path.child("queuing"), detail);
                    }
                    _ => {}
                }
            }
            _ => {}
        }
    }

    const COLUMNS: &'static [Column] = &[
        NAME,
        column("Type", "string"),
        column("NominalConcurrencyShares", "string"),
        column("Queues", "string"),
        column("HandSize", "string"),
        column("QueueLengthLimit", "string"),
        AGE,
    ];

    fn cells(level: &PriorityLevelConfiguration, now: Timestamp) -> Vec<Value> {
        let limited = level.spec.limited.as_ref();
        let queuing = limited.and_then(|limited| limited.limit_response.queuing.as_ref());
        let shown = |value: Option<i32>| value.map_or_else(|| Value::from(NONE), Value::from);
        cells![
            cells::name(&level.metadata),
            level.spec.type_.as_str(),
            shown(limited.and_then(|limited| limited.nominal_concurrency_shares)),
            shown(queuing.and_then(|queuing| queuing.queues)),
            shown(queuing.and_then(|queuing| queuing.hand_size)),
            shown(queuing.and_then(|queuing| queuing.queue_length_limit)),
            age(&level.metadata, now),
        ]
    }
}
