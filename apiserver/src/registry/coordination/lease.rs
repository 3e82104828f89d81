//! Lease. Source: `pkg/apis/coordination/validation/validation.go`, `pkg/registry/coordination/lease/strategy.go`.

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kubelab_api::field::{Errors, Path};
use serde_json::Value;

use crate::registry::{
    cells::{AGE, NAME, cells, name, text},
    kind::{Column, Kind, age, column},
    validation::{NOT_POSITIVE, choice, nonnegative},
};

/// Lease.
pub struct LeaseKind;

fn holder(lease: &Lease) -> &str {
    lease.spec.as_ref().map_or("", |spec| text(&spec.holder_identity))
}

impl Kind for LeaseKind {
    type Object = Lease;

    const CREATE_ON_UPDATE: bool = true;
    const UNCONDITIONAL_UPDATE: bool = false;

    fn validate(lease: &Lease, errors: &mut Errors) {
        let Some(spec) = &lease.spec else { return };
        let path = Path::new("spec");
        if let Some(seconds) = spec.lease_duration_seconds.filter(|seconds| *seconds <= 0) {
            errors.invalid(&path.child("leaseDurationSeconds"), seconds, NOT_POSITIVE);
        }
        nonnegative(spec.lease_transitions, &path.child("leaseTransitions"), errors);
        if let Some(strategy) = &spec.strategy {
            choice(strategy, &["OldestEmulationVersion"], &path.child("strategy").child("strategy"), errors);
        }
        if spec.strategy.is_none() && !text(&spec.preferred_holder).is_empty() {
            errors.forbidden(&path.child("preferredHolder"), "may only be specified if `strategy` is defined");
        }
    }

    const COLUMNS: &'static [Column] = &[NAME, column("Holder", "string"), AGE];

    fn cells(lease: &Lease, now: Timestamp) -> Vec<Value> {
        cells![name(&lease.metadata), holder(lease), age(&lease.metadata, now)]
    }

    fn note(new: &Lease, old: Option<&Lease>) -> String {
        match old.map(holder) {
            Some(before) if before == holder(new) => String::new(),
            _ => format!("held by {}", holder(new)),
        }
    }
}
