//! PodDisruptionBudget. Source: `pkg/apis/policy/validation/validation.go`,
//! `pkg/registry/policy/poddisruptionbudget/strategy.go`.

use jiff::Timestamp;
use k8s_openapi::{
    api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus},
    apimachinery::pkg::util::intstr::IntOrString,
};
use kubelab_api::{
    field::{Errors, Path},
    selector::label,
};
use serde_json::Value;

use crate::registry::{
    cells::{self, AGE, NAME, cells},
    kind::{Column, Kind, age, column},
    validation::{at_most_100_percent, choice, int_or_percent, json},
};

/// PodDisruptionBudget.
pub struct PodDisruptionBudgetKind;

impl Kind for PodDisruptionBudgetKind {
    type Object = PodDisruptionBudget;

    const UNCONDITIONAL_UPDATE: bool = false;

    fn prepare_create(budget: &mut PodDisruptionBudget) {
        // Upstream writes the counts even when they are zero.
        budget.status = Some(PodDisruptionBudgetStatus {
            current_healthy: Some(0),
            desired_healthy: Some(0),
            disruptions_allowed: Some(0),
            expected_pods: Some(0),
            ..Default::default()
        });
    }

    fn prepare_update(new: &mut PodDisruptionBudget, old: &PodDisruptionBudget) {
        new.status.clone_from(&old.status);
    }

    fn prepare_status_update(new: &mut PodDisruptionBudget, old: &PodDisruptionBudget) {
        new.spec.clone_from(&old.spec);
    }

    const GENERATION: bool = true;

    fn spec_changed(new: &PodDisruptionBudget, old: &PodDisruptionBudget) -> bool {
        new.spec != old.spec
    }

    fn validate(budget: &PodDisruptionBudget, errors: &mut Errors) {
        let Some(spec) = &budget.spec else { return };
        let path = Path::new("spec");
        if spec.min_available.is_some() && spec.max_unavailable.is_some() {
            errors.invalid(&path, json(spec), "minAvailable and maxUnavailable cannot be both set");
        }
        for (field, value) in [("minAvailable", &spec.min_available), ("maxUnavailable", &spec.max_unavailable)] {
            if let Some(value) = value {
                int_or_percent(value, &path.child(field), errors);
                at_most_100_percent(value, &path.child(field), errors);
            }
        }
        if let Some(selector) = &spec.selector {
            label::validate(selector, &path.child("selector"), errors);
        }
        if let Some(policy) = &spec.unhealthy_pod_eviction_policy {
            let policies = ["AlwaysAllow", "IfHealthyBudget"];
            choice(policy, &policies, &path.child("unhealthyPodEvictionPolicy"), errors);
        }
    }

    const COLUMNS: &'static [Column] = &[
        NAME,
        column("Min Available", "string"),
        column("Max Unavailable", "string"),
        column("Allowed Disruptions", "integer"),
        AGE,
    ];

    fn cells(budget: &PodDisruptionBudget, now: Timestamp) -> Vec<Value> {
        let spec = budget.spec.as_ref();
        let shown = |value: Option<&IntOrString>| match value {
            Some(IntOrString::Int(number)) => number.to_string(),
            Some(IntOrString::String(text)) => text.clone(),
            None => "N/A".into(),
        };
        cells![
            cells::name(&budget.metadata),
            shown(spec.and_then(|spec| spec.min_available.as_ref())),
            shown(spec.and_then(|spec| spec.max_unavailable.as_ref())),
            budget.status.as_ref().and_then(|status| status.disruptions_allowed).unwrap_or_default(),
            age(&budget.metadata, now),
        ]
    }
}
