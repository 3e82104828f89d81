//! HorizontalPodAutoscaler, as it is stored: version 2. Source: `pkg/apis/autoscaling/v2/defaults.go`,
//! `pkg/apis/autoscaling/validation/validation.go`, `pkg/registry/autoscaling/horizontalpodautoscaler/strategy.go`.

use jiff::Timestamp;
use k8s_openapi::api::autoscaling::v2::{
    HPAScalingPolicy, HPAScalingRules, HorizontalPodAutoscaler, MetricSpec, MetricTarget, ResourceMetricSource,
};
use kubelab_api::field::{Errors, Path};
use serde_json::Value;

use super::{metrics, rules};
use crate::registry::{
    cells::{self, AGE, NAME, UNSET, cells, list},
    defaults::missing,
    kind::{Column, Kind, age, column},
    status::spec_and_status,
    validation::{NOT_POSITIVE, nonnegative},
};

/// HorizontalPodAutoscaler.
pub struct HorizontalPodAutoscalerKind;

/// What is aimed at when nobody says: 80 % of the requested CPU.
const CPU_PERCENT: i32 = 80;

/// A metric of the share of the CPU that is requested.
pub(super) fn cpu(percent: i32) -> MetricSpec {
    let target = MetricTarget { type_: "Utilization".into(), average_utilization: Some(percent), ..Default::default() };
    MetricSpec {
        type_: "Resource".into(),
        resource: Some(ResourceMetricSource { name: "cpu".into(), target }),
        ..Default::default()
    }
}

impl Kind for HorizontalPodAutoscalerKind {
    type Object = HorizontalPodAutoscaler;

    fn default(autoscaler: &mut HorizontalPodAutoscaler) {
        let spec = &mut autoscaler.spec;
        missing(&mut spec.min_replicas, 1);
        if list(&spec.metrics).is_empty() {
            spec.metrics = Some(vec![cpu(CPU_PERCENT)]);
        }
        if let Some(behavior) = &mut spec.behavior {
            let policy = |kind: &str, value| HPAScalingPolicy { type_: kind.into(), value, period_seconds: 15 };
            let up = behavior.scale_up.get_or_insert_default();
            missing(&mut up.stabilization_window_seconds, 0);
            default_rules(up, &[policy("Pods", 4), policy("Percent", 100)]);
            default_rules(behavior.scale_down.get_or_insert_default(), &[policy("Percent", 100)]);
        }
    }

    spec_and_status!(generation);

    fn validate(autoscaler: &HorizontalPodAutoscaler, errors: &mut Errors) {
        let (spec, path) = (&autoscaler.spec, Path::new("spec"));
        if let Some(least) = spec.min_replicas.filter(|least| *least < 1) {
            errors.invalid(&path.child("minReplicas"), least, "must be greater than or equal to 1");
        }
        if spec.max_replicas < 1 {
            errors.invalid(&path.child("maxReplicas"), spec.max_replicas, NOT_POSITIVE);
        }
        if spec.min_replicas.is_some_and(|least| spec.max_replicas < least) {
            let detail = "must be greater than or equal to `minReplicas`";
            errors.invalid(&path.child("maxReplicas"), spec.max_replicas, detail);
        }
        rules::reference(&spec.scale_target_ref, &path.child("scaleTargetRef"), errors);
        for (i, metric) in list(&spec.metrics).iter().enumerate() {
            rules::metric(metric, &path.child("metrics").index(i), errors);
        }
        if let Some(behavior) = &spec.behavior {
            let path = path.child("behavior");
            for (field, rules) in [("scaleUp", &behavior.scale_up), ("scaleDown", &behavior.scale_down)] {
                rules.iter().for_each(|said| rules::scaling(said, &path.child(field), errors));
            }
        }
    }

    fn validate_status_update(new: &HorizontalPodAutoscaler, _old: &HorizontalPodAutoscaler, errors: &mut Errors) {
        let Some(status) = &new.status else { return };
        let path = Path::new("status");
        nonnegative(status.current_replicas, &path.child("currentReplicas"), errors);
        nonnegative(Some(status.desired_replicas), &path.child("desiredReplicas"), errors);
    }

    const COLUMNS: &'static [Column] = &[
        NAME,
        column("Reference", "string"),
        column("Targets", "string"),
        column("MinPods", "string"),
        column("MaxPods", "string"),
        column("Replicas", "string"),
        AGE,
    ];

    fn cells(autoscaler: &HorizontalPodAutoscaler, now: Timestamp) -> Vec<Value> {
        let (spec, status) = (&autoscaler.spec, autoscaler.status.as_ref());
        let current = status.map_or(&[][..], |status| list(&status.current_metrics));
        cells![
            cells::name(&autoscaler.metadata),
            format!("{}/{}", spec.scale_target_ref.kind, spec.scale_target_ref.name),
            metrics::targets(list(&spec.metrics), current),
            spec.min_replicas.map_or_else(|| UNSET.to_owned(), |least| least.to_string()),
            spec.max_replicas,
            status.and_then(|status| status.current_replicas).unwrap_or_default(),
            age(&autoscaler.metadata, now),
        ]
    }
}

fn default_rules(rules: &mut HPAScalingRules, policies: &[HPAScalingPolicy]) {
    missing(&mut rules.select_policy, "Max".into());
    if rules.policies.is_none() {
        rules.policies = Some(policies.to_vec());
    }
}
