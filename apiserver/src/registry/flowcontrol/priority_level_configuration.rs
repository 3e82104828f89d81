//! PriorityLevelConfiguration. Source: `pkg/apis/flowcontrol/v1/defaults.go`,
//! `pkg/apis/flowcontrol/validation/validation.go`.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::api::flowcontrol::v1::{
    LimitedPriorityLevelConfiguration, PriorityLevelConfiguration, QueuingConfiguration,
};
use kubelab_api::field::{Errors, Path};
use serde_json::Value;

use super::flow_schema::EXEMPT;
use crate::fairness::objects;
use crate::registry::{
    cells::{self, AGE, NAME, NONE, cells, list},
    defaults::{missing, nonzero},
    kind::{Column, Kind, age, column},
    status::spec_and_status,
    validation::{choice, json},
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
        let exempt = level.metadata.name.as_deref() == Some(EXEMPT);
        if exempt != (spec.type_ == "Exempt") {
            let detail = "type must be 'Exempt' if and only if name is 'exempt'";
            errors.invalid(&path.child("type"), spec.type_.as_str(), detail);
        }
        match (spec.type_.as_str(), &spec.limited, &spec.exempt) {
            ("Exempt", limited, exempt) => {
                if limited.is_some() {
                    errors.forbidden(&path.child("limited"), "must be nil if the type is not Limited");
                }
                if let Some(exempt) = exempt {
                    let path = path.child("exempt");
                    shares(exempt.nominal_concurrency_shares, exempt.lendable_percent, &path, errors);
                }
            }
            ("Limited", limited, exempt) => {
                if exempt.is_some() {
                    errors.forbidden(&path.child("exempt"), "must be nil if the type is Limited");
                }
                match limited {
                    Some(limited) => validate_limited(limited, &path.child("limited"), errors),
                    None => errors.required(&path.child("limited"), "must not be empty when type is Limited"),
                }
            }
            (other, ..) => choice(other, &["Exempt", "Limited"], &path.child("type"), errors),
        }
        fixed(level, &path, errors);
        let mut types = BTreeSet::new();
        let conditions = level.status.as_ref().map_or(&[][..], |status| list(&status.conditions));
        for (i, condition) in conditions.iter().enumerate() {
            super::condition(&condition.type_, i, &mut types, errors);
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

/// The levels that requests need whatever else is configured. Of `exempt`, its share of the seats may be chosen.
fn fixed(level: &PriorityLevelConfiguration, path: &Path, errors: &mut Errors) {
    let name = cells::name(&level.metadata);
    let Some(fixed) = objects::mandatory_level(name) else { return };
    let mut spec = level.spec.clone();
    let mut except = "";
    if name == EXEMPT {
        spec.exempt.clone_from(&fixed.spec.exempt);
        except = " except the 'spec.exempt' field";
    }
    if spec != fixed.spec {
        errors.invalid(path, json(&level.spec), &format!("spec of '{name}'{except} must equal the fixed value"));
    }
}

fn shares(shares: Option<i32>, lendable: Option<i32>, path: &Path, errors: &mut Errors) {
    if let Some(shares) = shares.filter(|shares| *shares < 0) {
        errors.invalid(&path.child("nominalConcurrencyShares"), shares, "must be a non-negative integer");
    }
    if let Some(percent) = lendable.filter(|percent| !(0..=100).contains(percent)) {
        errors.invalid(&path.child("lendablePercent"), percent, "must be between 0 and 100, inclusive");
    }
}

fn validate_limited(limited: &LimitedPriorityLevelConfiguration, path: &Path, errors: &mut Errors) {
    shares(limited.nominal_concurrency_shares, limited.lendable_percent, path, errors);
    if let Some(percent) = limited.borrowing_limit_percent.filter(|percent| *percent < 0) {
        let detail = "if specified, must be a non-negative integer";
        errors.invalid(&path.child("borrowingLimitPercent"), percent, detail);
    }
    let path = path.child("limitResponse");
    let response = &limited.limit_response;
    match (response.type_.as_str(), &response.queuing) {
        ("Reject", Some(_)) => {
            let detail = "must be nil if limited.limitResponse.type is not Limited";
            errors.forbidden(&path.child("queuing"), detail);
        }
        ("Reject", None) => {}
        ("Queue", None) => {
            let detail = "must not be empty if limited.limitResponse.type is Limited";
            errors.required(&path.child("queuing"), detail);
        }
        ("Queue", Some(queuing)) => validate_queuing(queuing, &path.child("queuing"), errors),
        (other, _) => choice(other, &["Queue", "Reject"], &path.child("type"), errors),
    }
}

fn validate_queuing(queuing: &QueuingConfiguration, path: &Path, errors: &mut Errors) {
    const MOST_QUEUES: i32 = 10_000_000;
    const HASH_BITS: f64 = 60.0;
    let (length, queues) = (queuing.queue_length_limit.unwrap_or_default(), queuing.queues.unwrap_or_default());
    if length <= 0 {
        errors.invalid(&path.child("queueLengthLimit"), length, "must be positive");
    }
    if queues <= 0 {
        errors.invalid(&path.child("queues"), queues, "must be positive");
    } else if queues > MOST_QUEUES {
        errors.invalid(&path.child("queues"), queues, &format!("must not be greater than {MOST_QUEUES}"));
    }
    let (at, hand) = (path.child("handSize"), queuing.hand_size.unwrap_or_default());
    if hand <= 0 {
        errors.invalid(&at, hand, "must be positive");
    } else if hand > queues {
        errors.invalid(&at, hand, &format!("should not be greater than queues ({queues})"));
    } else if (0..hand).map(|dealt| f64::from(queues - dealt).log2()).sum::<f64>().ceil() > HASH_BITS {
        let detail = format!(
            "required entropy bits of deckSize {queues} and handSize {hand} should not be greater than {HASH_BITS}"
        );
        errors.invalid(&at, hand, &detail);
    }
}
