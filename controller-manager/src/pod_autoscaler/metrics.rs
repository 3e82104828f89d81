//! What the metrics APIs say: `metrics.k8s.io`, `custom.metrics.k8s.io`, `external.metrics.k8s.io`, which other servers
//! answer for. Source: `rest_metrics_client.go` in Kubernetes and `k8s.io/metrics`.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use k8s_openapi::{
    api::autoscaling::v2::CrossVersionObjectReference,
    apimachinery::pkg::{
        api::resource::Quantity as Text,
        apis::meta::v1::{LabelSelector, Time},
    },
};
use kubelab_api::{Error, Quantity, Reason, Resource, selector::label::Selector};
use kubelab_client::Client;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, de::DeserializeOwned};

use super::pods::{Sample, Samples};

/// What a measurement covers where it does not say so. Source: `metricServerDefaultMetricWindow`.
const WINDOW: SignedDuration = SignedDuration::from_mins(1);
/// The versions of the custom metrics API, the better one first.
const CUSTOM: [&str; 2] = ["v1beta2", "v1beta1"];

/// The way to the metrics APIs.
pub struct Metrics {
    client: Client,
}

#[derive(Deserialize)]
struct List<T> {
    #[serde(default = "Vec::new")]
    items: Vec<T>,
}

#[derive(Deserialize)]
struct PodMetrics {
    metadata: Named,
    timestamp: Time,
    #[serde(default)]
    window: String,
    #[serde(default)]
    containers: Vec<ContainerMetrics>,
}

#[derive(Deserialize)]
struct ContainerMetrics {
    name: String,
    #[serde(default)]
    usage: BTreeMap<String, Text>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Named {
    name: String,
    namespace: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MetricValue {
    #[serde(default)]
    described_object: Named,
    timestamp: Time,
    window_seconds: Option<i64>,
    value: Text,
}

impl Metrics {
    /// Over this client.
    pub fn new(client: &Client) -> Self {
        Self { client: client.clone() }
    }

    /// What the pods use of a resource; all their containers, or the one of this name.
    pub async fn resource(
        &self,
        namespace: &str,
        selector: &str,
        resource: &str,
        container: Option<&str>,
    ) -> Result<Samples, String> {
        let path =
            format!("/apis/metrics.k8s.io/v1beta1/namespaces/{namespace}/pods?labelSelector={}", escape(selector));
        let found: List<PodMetrics> = self
            .get(&path, "pods.metrics.k8s.io")
            .await
            .map_err(|error| format!("unable to fetch metrics from resource metrics API: {error}"))?;
        if found.items.is_empty() {
            return Err("no metrics returned from resource metrics API".to_owned());
        }
        usages(found.items, resource, container)
    }

    /// A metric of each pod.
    pub async fn pods(
        &self,
        namespace: &str,
        selector: &str,
        metric: &str,
        of: Option<&LabelSelector>,
    ) -> Result<Samples, String> {
        let path = format!(
            "namespaces/{namespace}/pods/*/{}?labelSelector={}{}",
            escape(metric),
            escape(selector),
            metric_selector(of)?
        );
        let found = self.custom(&path, "pods").await?;
        let sample = |value: MetricValue| {
            let window = value.window_seconds.map_or(WINDOW, SignedDuration::from_secs);
            let sample = Sample { value: millis(&value.value)?, at: value.timestamp.0, window };
            Ok((value.described_object.name, sample))
        };
        found.into_iter().map(sample).collect()
    }

    /// A metric of one object, in thousandths.
    pub async fn object(
        &self,
        namespace: &str,
        object: &CrossVersionObjectReference,
        resource: &Resource,
        metric: &str,
        of: Option<&LabelSelector>,
    ) -> Result<i64, String> {
        let (metric, of) = (escape(metric), metric_selector(of)?);
        let query = of.strip_prefix('&').unwrap_or_default();
        let path = if object.kind == "Namespace" && resource.group.is_empty() {
            format!("namespaces/{}/metrics/{metric}?{query}", object.name)
        } else {
            format!("namespaces/{namespace}/{}/{}/{metric}?{query}", resource.group_resource(), object.name)
        };
        let found = self.custom(&path, &resource.plural).await?;
        found.first().map_or_else(|| Err(none("custom")), |value| millis(&value.value))
    }

    /// A metric of something outside, in thousandths: all its series together.
    pub async fn external(&self, namespace: &str, metric: &str, of: Option<&LabelSelector>) -> Result<i64, String> {
        let selector = escape(&selector_text(of)?);
        let path = format!(
            "/apis/external.metrics.k8s.io/v1beta1/namespaces/{namespace}/{}?labelSelector={selector}",
            escape(metric)
        );
        let found: List<MetricValue> = self
            .get(&path, &format!("{metric}.external.metrics.k8s.io"))
            .await
            .map_err(|error| format!("unable to fetch metrics from external metrics API: {error}"))?;
        if found.items.is_empty() {
            return Err(none("external"));
        }
        found.items.iter().try_fold(0i64, |sum, value| Ok(sum.saturating_add(millis(&value.value)?)))
    }

    async fn custom(&self, path: &str, resource: &str) -> Result<Vec<MetricValue>, String> {
        let about = format!("{resource}.custom.metrics.k8s.io");
        let mut last = None;
        for version in CUSTOM {
            let path = format!("/apis/custom.metrics.k8s.io/{version}/{path}");
            match self.get::<List<MetricValue>>(&path, &about).await {
                Ok(found) if found.items.is_empty() => return Err(none("custom")),
                Ok(found) => return Ok(found.items),
                Err(error) => {
                    let is_missing = error.reason == Reason::NotFound;
                    last = Some(error);
                    if !is_missing {
                        break;
                    }
                }
            }
        }
        let error = last.map(|error| error.to_string()).unwrap_or_default();
        Err(format!("unable to fetch metrics from custom metrics API: {error}"))
    }

    async fn get<T: DeserializeOwned>(&self, path: &str, about: &str) -> Result<T, Error> {
        self.client.fetch(path).await.map_err(|mut error| {
            // client-go names the resource after what a server says that does not.
            if error.message.starts_with("the server ") {
                error.message.push_str(&format!(" (get {about})"));
            }
            error
        })
    }
}

fn none(api: &str) -> String {
    format!("no metrics returned from {api} metrics API")
}

fn usages(pods: Vec<PodMetrics>, resource: &str, container: Option<&str>) -> Result<Samples, String> {
    let mut samples = Samples::new();
    for pod in pods {
        if let Some(container) = container
            && !pod.containers.iter().any(|found| found.name == container)
        {
            let (namespace, name) = (&pod.metadata.namespace, &pod.metadata.name);
            return Err(format!("container {container} not present in metrics for pod {namespace}/{name}"));
        }
        let meant = pod.containers.iter().filter(|found| container.is_none_or(|container| container == found.name));
        // A pod of which a part is not measured counts as not measured.
        let values: Option<Vec<&Text>> = meant.map(|container| container.usage.get(resource)).collect();
        let Some(values) = values.filter(|values| !values.is_empty()) else { continue };
        let value =
            values.into_iter().try_fold(0i64, |sum, value| Ok::<_, String>(sum.saturating_add(millis(value)?)))?;
        let window = pod.window.parse().unwrap_or(WINDOW);
        samples.insert(pod.metadata.name, Sample { value, at: pod.timestamp.0, window });
    }
    Ok(samples)
}

/// A quantity in thousandths.
pub fn millis(text: &Text) -> Result<i64, String> {
    Quantity::try_from(text).map(Quantity::milli_value).map_err(|error| error.to_string())
}

fn selector_text(selector: Option<&LabelSelector>) -> Result<String, String> {
    match selector {
        None => Ok(String::new()),
        Some(selector) => Ok(Selector::from_typed(Some(selector)).map_err(|error| error.to_string())?.to_string()),
    }
}

fn metric_selector(selector: Option<&LabelSelector>) -> Result<String, String> {
    let text = selector_text(selector)?;
    Ok(if text.is_empty() { String::new() } else { format!("&metricLabelSelector={}", escape(&text)) })
}

/// As part of a URL: everything but what RFC 3986 reserves for nothing.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

fn escape(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    #[test]
    fn usage_is_that_of_all_containers_or_of_one() {
        let pods = || {
            let list: List<PodMetrics> = serde_json::from_value(json!({"items": [
                {"metadata": {"name": "a", "namespace": "n"}, "timestamp": "2026-11-20T12:00:00Z", "window": "30s",
                    "containers": [{"name": "c", "usage": {"cpu": "250m", "memory": "1Mi"}},
                        {"name": "d", "usage": {"cpu": "1"}}]},
                {"metadata": {"name": "b", "namespace": "n"}, "timestamp": "2026-11-20T12:00:00Z", "window": "30.1s",
                    "containers": [{"name": "c", "usage": {"cpu": "12345678n"}}]},
            ]}))
            .unwrap();
            list.items
        };
        let values =
            |samples: Samples| samples.into_iter().map(|(name, sample)| (name, sample.value)).collect::<Vec<_>>();
        let of = |resource, container| usages(pods(), resource, container).map(values);
        assert_eq!(of("cpu", None).unwrap(), [("a".to_owned(), 1250), ("b".to_owned(), 13)]);
        assert_eq!(of("cpu", Some("c")).unwrap(), [("a".to_owned(), 250), ("b".to_owned(), 13)]);
        assert_eq!(of("memory", Some("c")).unwrap(), [("a".to_owned(), 1_048_576_000)]);
        assert_eq!(of("memory", None).unwrap(), [], "a part of the pod is not measured");
        assert_eq!(of("cpu", Some("d")).unwrap_err(), "container d not present in metrics for pod n/b");
        assert_eq!(usages(pods(), "cpu", None).unwrap()["b"].window, SignedDuration::from_millis(30_100));
    }

    #[test]
    fn selectors_are_part_of_the_url() {
        let selector: LabelSelector = serde_json::from_value(json!({"matchLabels": {"verb": "GET"}})).unwrap();
        assert_eq!(metric_selector(Some(&selector)).unwrap(), "&metricLabelSelector=verb%3DGET");
        assert_eq!(metric_selector(None).unwrap(), "");
        assert_eq!(escape("app in (a,b)"), "app%20in%20%28a%2Cb%29");
    }
}
