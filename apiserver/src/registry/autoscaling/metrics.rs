//! What an autoscaler aims at, as `kubectl get hpa` shows it. Source: `formatHPAMetrics`.

use k8s_openapi::{
    api::autoscaling::v2::{MetricSpec, MetricStatus, MetricTarget, MetricValueStatus},
    apimachinery::pkg::api::resource::Quantity,
};

const UNKNOWN: &str = "<unknown>";
const SHOWN: usize = 2;

/// Current values and targets of the metrics.
pub(super) fn targets(specs: &[MetricSpec], statuses: &[MetricStatus]) -> String {
    if specs.is_empty() {
        return "<none>".into();
    }
    let all = specs.iter().enumerate().take(SHOWN).map(|(i, spec)| target(spec, statuses.get(i)));
    let text = all.collect::<Vec<_>>().join(", ");
    match specs.len().checked_sub(SHOWN) {
        None | Some(0) => text,
        Some(more) => format!("{text} + {more} more..."),
    }
}

fn target(spec: &MetricSpec, status: Option<&MetricStatus>) -> String {
    match spec.type_.as_str() {
        "External" => {
            let now = status.and_then(|status| status.external.as_ref()).map(|metric| &metric.current);
            spec.external.as_ref().map(|metric| amount(&metric.target, now))
        }
        "Object" => {
            let now = status.and_then(|status| status.object.as_ref()).map(|metric| &metric.current);
            spec.object.as_ref().map(|metric| amount(&metric.target, now))
        }
        "Pods" => {
            let now = status.and_then(|status| status.pods.as_ref()).map(|metric| &metric.current);
            let now = now.and_then(|now| now.average_value.as_ref());
            spec.pods.as_ref().map(|metric| pair(now, metric.target.average_value.as_ref()))
        }
        "Resource" => {
            let now = status.and_then(|status| status.resource.as_ref()).map(|metric| &metric.current);
            spec.resource.as_ref().map(|metric| format!("{}: {}", metric.name, usage(&metric.target, now)))
        }
        "ContainerResource" => {
            let now = status.and_then(|status| status.container_resource.as_ref()).map(|metric| &metric.current);
            spec.container_resource.as_ref().map(|metric| format!("{}: {}", metric.name, usage(&metric.target, now)))
        }
        _ => None,
    }
    .unwrap_or_else(|| "<unknown type>".into())
}

fn pair(now: Option<&Quantity>, target: Option<&Quantity>) -> String {
    format!("{}/{}", now.map_or(UNKNOWN, |now| &now.0), target.map_or("<auto>", |target| &target.0))
}

fn amount(target: &MetricTarget, now: Option<&MetricValueStatus>) -> String {
    match &target.average_value {
        Some(average) => format!("{} (avg)", pair(now.and_then(|now| now.average_value.as_ref()), Some(average))),
        None => pair(now.and_then(|now| now.value.as_ref()), target.value.as_ref()),
    }
}

fn usage(target: &MetricTarget, now: Option<&MetricValueStatus>) -> String {
    if let Some(average) = &target.average_value {
        return pair(now.and_then(|now| now.average_value.as_ref()), Some(average));
    }
    let percent = |value: Option<i32>, none: &str| value.map_or_else(|| none.into(), |value| format!("{value}%"));
    let now = percent(now.and_then(|now| now.average_utilization), UNKNOWN);
    format!("{now}/{}", percent(target.average_utilization, "<auto>"))
}
