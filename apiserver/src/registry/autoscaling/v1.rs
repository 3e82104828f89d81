//! HorizontalPodAutoscaler in version 1: it knows the CPU alone; all else travels in annotations.
//! Source: `pkg/apis/autoscaling/v1/conversion.go`.

use k8s_openapi::{
    api::autoscaling::{v1, v2},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use serde::{Serialize, de::DeserializeOwned};

use super::horizontal_pod_autoscaler::cpu;
use crate::registry::version::Conversion;

/// Between version 1 and the stored version 2.
pub struct Version1;

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const CURRENT_METRICS: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";

fn take<T: DeserializeOwned>(meta: &mut ObjectMeta, key: &str) -> Option<T> {
    let text = meta.annotations.as_mut()?.remove(key)?;
    if meta.annotations.as_ref().is_some_and(|annotations| annotations.is_empty()) {
        meta.annotations = None;
    }
    serde_json::from_str(&text).ok()
}

fn put<T: Serialize>(meta: &mut ObjectMeta, key: &str, value: Option<T>) {
    if let Some(text) = value.and_then(|value| serde_json::to_string(&value).ok()) {
        meta.annotations.get_or_insert_default().insert(key.into(), text);
    }
}

fn cpu_target(metric: &v2::MetricSpec) -> Option<i32> {
    metric.resource.as_ref().filter(|resource| resource.name == "cpu")?.target.average_utilization
}

impl Conversion for Version1 {
    type Stored = v2::HorizontalPodAutoscaler;
    type Served = v1::HorizontalPodAutoscaler;

    fn to_stored(mut served: Self::Served) -> Self::Stored {
        let others: Vec<v2::MetricSpec> = take(&mut served.metadata, METRICS).unwrap_or_default();
        let metrics: Vec<_> =
            served.spec.target_cpu_utilization_percentage.map(cpu).into_iter().chain(others).collect();
        let spec = v2::HorizontalPodAutoscalerSpec {
            behavior: take(&mut served.metadata, BEHAVIOR),
            max_replicas: served.spec.max_replicas,
            metrics: (!metrics.is_empty()).then_some(metrics),
            min_replicas: served.spec.min_replicas,
            scale_target_ref: v2::CrossVersionObjectReference {
                api_version: served.spec.scale_target_ref.api_version,
                kind: served.spec.scale_target_ref.kind,
                name: served.spec.scale_target_ref.name,
            },
        };
        let status = served.status.map(|status| {
            let cpu = status.current_cpu_utilization_percentage.map(|percent| v2::MetricStatus {
                type_: "Resource".into(),
                resource: Some(v2::ResourceMetricStatus {
                    name: "cpu".into(),
                    current: v2::MetricValueStatus { average_utilization: Some(percent), ..Default::default() },
                }),
                ..Default::default()
            });
            let others: Vec<v2::MetricStatus> = take(&mut served.metadata, CURRENT_METRICS).unwrap_or_default();
            let metrics: Vec<_> = cpu.into_iter().chain(others).collect();
            v2::HorizontalPodAutoscalerStatus {
                conditions: take(&mut served.metadata, CONDITIONS),
                current_metrics: (!metrics.is_empty()).then_some(metrics),
                current_replicas: Some(status.current_replicas),
                desired_replicas: status.desired_replicas,
                last_scale_time: status.last_scale_time,
                observed_generation: status.observed_generation,
            }
        });
        Self::Stored { metadata: served.metadata, spec, status }
    }

    fn to_served(mut stored: Self::Stored) -> Self::Served {
        let metrics = stored.spec.metrics.unwrap_or_default();
        let (cpus, others): (Vec<_>, Vec<_>) = metrics.into_iter().partition(|metric| cpu_target(metric).is_some());
        put(&mut stored.metadata, METRICS, (!others.is_empty()).then_some(others));
        put(&mut stored.metadata, BEHAVIOR, stored.spec.behavior);
        let spec = v1::HorizontalPodAutoscalerSpec {
            max_replicas: stored.spec.max_replicas,
            min_replicas: stored.spec.min_replicas,
            scale_target_ref: v1::CrossVersionObjectReference {
                api_version: stored.spec.scale_target_ref.api_version,
                kind: stored.spec.scale_target_ref.kind,
                name: stored.spec.scale_target_ref.name,
            },
            target_cpu_utilization_percentage: cpus.first().and_then(cpu_target),
        };
        let status = stored.status.map(|status| {
            let percent = |metric: &v2::MetricStatus| {
                let resource = metric.resource.as_ref().filter(|resource| resource.name == "cpu")?;
                resource.current.average_utilization
            };
            let metrics = status.current_metrics.unwrap_or_default();
            let (cpus, others): (Vec<_>, Vec<_>) = metrics.into_iter().partition(|metric| percent(metric).is_some());
            put(&mut stored.metadata, CURRENT_METRICS, (!others.is_empty()).then_some(others));
            put(&mut stored.metadata, CONDITIONS, status.conditions);
            v1::HorizontalPodAutoscalerStatus {
                current_cpu_utilization_percentage: cpus.first().and_then(percent),
                current_replicas: status.current_replicas.unwrap_or_default(),
                desired_replicas: status.desired_replicas,
                last_scale_time: status.last_scale_time,
                observed_generation: status.observed_generation,
            }
        });
        Self::Served { metadata: stored.metadata, spec, status }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nothing_is_lost_on_the_way() {
        let stored: v2::HorizontalPodAutoscaler = serde_json::from_value(json!({
            "metadata": {"name": "web", "annotations": {"a": "b"}},
            "spec": {
                "maxReplicas": 5, "minReplicas": 2,
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
                "metrics": [
                    {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}},
                    {"type": "Resource", "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "1Gi"}}},
                ],
                "behavior": {"scaleDown": {"selectPolicy": "Max"}},
            },
            "status": {"currentReplicas": 2, "desiredReplicas": 3,
                "conditions": [{"type": "AbleToScale", "status": "True"}],
                "currentMetrics": [
                    {"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 70}}}]},
        }))
        .unwrap();
        let served = Version1::to_served(stored.clone());
        assert_eq!(served.spec.target_cpu_utilization_percentage, Some(50));
        assert_eq!(served.status.as_ref().unwrap().current_cpu_utilization_percentage, Some(70));
        assert_eq!(Version1::to_stored(served), stored);
    }
}
