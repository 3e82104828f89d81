//! One metric of an autoscaler: what it calls for, and how its status shows it.
//! Source: `computeReplicasForMetric` in Kubernetes' `horizontal.go`.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::{
    api::{
        autoscaling::v2::{
            ContainerResourceMetricStatus, ExternalMetricStatus, HorizontalPodAutoscaler, MetricIdentifier, MetricSpec,
            MetricStatus, MetricTarget, MetricValueStatus, ObjectMetricStatus, PodsMetricStatus, ResourceMetricStatus,
        },
        core::v1::Pod,
    },
    apimachinery::pkg::api::resource::Quantity as Text,
};
use kubelab_api::{
    Quantity,
    pod::{is_ready, phase},
};

use super::{
    metrics::{Metrics, millis},
    pods::{Delays, Samples, group},
    replicas::{self, Proposal, Tolerance, Values},
    requests,
};
use crate::scalable::Kinds;

/// What is looked at.
pub struct Target<'a> {
    /// The autoscaler.
    pub autoscaler: &'a HorizontalPodAutoscaler,
    /// The pods that it scales.
    pub pods: &'a [Arc<Pod>],
    /// What selects them.
    pub selector: &'a str,
    /// How many there are to be.
    pub wanted: i32,
    /// How many there are.
    pub observed: i32,
    /// How far a metric may be off.
    pub tolerance: Tolerance,
    /// The present.
    pub now: Timestamp,
}

/// What one metric comes to.
pub struct Found {
    /// So many replicas.
    pub replicas: i32,
    /// What events and conditions call it.
    pub name: String,
    /// How the status shows it.
    pub status: MetricStatus,
}

/// Why a metric says nothing.
pub struct Failure {
    /// The reason of the event and the condition.
    pub reason: &'static str,
    /// What they say.
    pub why: String,
    /// The same with more around it, for those who sum up.
    pub summary: String,
}

impl Target<'_> {
    /// What a metric calls for.
    pub async fn evaluate(&self, spec: &MetricSpec, metrics: &Metrics, kinds: &Kinds) -> Result<Found, Failure> {
        let fail = |reason, why: String, summary: &str| Failure { reason, summary: format!("{summary}: {why}"), why };
        if let Some(source) = &spec.resource {
            let summary = format!("failed to get {} resource metric value", source.name);
            let found = self.resource(metrics, &source.name, None, &source.target).await;
            let (proposal, name) = found.map_err(|why| fail("FailedGetResourceMetric", why, &summary))?;
            let current = value_of_resource(&proposal);
            let resource = Some(ResourceMetricStatus { name: source.name.clone(), current });
            return Ok(found_as(spec, &proposal, name, MetricStatus { resource, ..MetricStatus::default() }));
        }
        if let Some(source) = &spec.container_resource {
            let summary = format!("failed to get {} container metric value", source.container);
            let found = self.resource(metrics, &source.name, Some(&source.container), &source.target).await;
            let (proposal, name) = found.map_err(|why| fail("FailedGetContainerResourceMetric", why, &summary))?;
            let current = value_of_resource(&proposal);
            let (name_, container) = (source.name.clone(), source.container.clone());
            let container_resource = Some(ContainerResourceMetricStatus { name: name_, container, current });
            return Ok(found_as(spec, &proposal, name, MetricStatus { container_resource, ..MetricStatus::default() }));
        }
        if let Some(source) = &spec.pods {
            let found = self.of_pods(metrics, &source.metric, &source.target).await;
            let proposal = found.map_err(|why| fail("FailedGetPodsMetric", why, "failed to get pods metric value"))?;
            let pods = Some(PodsMetricStatus { metric: source.metric.clone(), current: average(&proposal) });
            let name = format!("pods metric {}", source.metric.name);
            return Ok(found_as(spec, &proposal, name, MetricStatus { pods, ..MetricStatus::default() }));
        }
        if let Some(source) = &spec.object {
            let reference = &source.described_object;
            let found = async {
                let api_version = reference.api_version.as_deref().unwrap_or_default();
                let resource = kinds
                    .find(api_version, &reference.kind)
                    .ok_or_else(|| format!("no matches for kind {:?} in group {api_version:?}", reference.kind));
                let namespace = self.namespace();
                let usage = match resource {
                    Ok(resource) => {
                        let (metric, of) = (&source.metric.name, source.metric.selector.as_ref());
                        metrics.object(namespace, reference, &resource, metric, of).await
                    }
                    Err(why) => Err(why),
                };
                // In upstream's order.
                let (metric, kind, name) = (&source.metric.name, &reference.kind, &reference.name);
                let usage = usage
                    .map_err(|why| format!("unable to get metric {metric}: {kind} on {namespace} {name}/{why}"))?;
                self.by_other(usage, &source.target, "object")
            };
            let proposal =
                found.await.map_err(|why| fail("FailedGetObjectMetric", why, "failed to get object metric value"))?;
            let is_share = source.target.type_ == "AverageValue";
            let current = if is_share { average(&proposal) } else { total(&proposal) };
            let object =
                ObjectMetricStatus { current, described_object: reference.clone(), metric: source.metric.clone() };
            let name = if is_share {
                external_name(&source.metric)
            } else {
                format!("{} metric {}", reference.kind, source.metric.name)
            };
            let status = MetricStatus { object: Some(object), ..MetricStatus::default() };
            return Ok(found_as(spec, &proposal, name, status));
        }
        if let Some(source) = &spec.external {
            let (metric, of) = (&source.metric.name, source.metric.selector.as_ref());
            let namespace = self.namespace();
            let usage = metrics.external(namespace, metric, of).await.map_err(|why| {
                format!("unable to get external metric {namespace}/{metric}/{}: {why}", go_selector(&source.metric))
            });
            let summary = format!("failed to get {metric} external metric value");
            let proposal = usage
                .and_then(|usage| self.by_other(usage, &source.target, "external"))
                .map_err(|why| fail("FailedGetExternalMetric", why, &summary))?;
            let is_share = source.target.average_value.is_some();
            let current = if is_share { average(&proposal) } else { total(&proposal) };
            let external = Some(ExternalMetricStatus { current, metric: source.metric.clone() });
            let status = MetricStatus { external, ..MetricStatus::default() };
            return Ok(found_as(spec, &proposal, external_name(&source.metric), status));
        }
        let why = format!("unknown metric source type {:?}", spec.type_);
        Err(Failure { reason: "InvalidMetricSourceType", summary: why.clone(), why })
    }

    fn namespace(&self) -> &str {
        self.autoscaler.metadata.namespace.as_deref().unwrap_or_default()
    }

    async fn resource(
        &self,
        metrics: &Metrics,
        resource: &str,
        container: Option<&str>,
        target: &MetricTarget,
    ) -> Result<(Proposal, String), String> {
        let samples = async {
            let samples = metrics.resource(self.namespace(), self.selector, resource, container).await;
            let samples = samples.map_err(|why| format!("unable to get metrics for resource {resource}: {why}"))?;
            self.some_pods()?;
            Ok::<Samples, String>(samples)
        };
        let groups = |samples: &Samples| group(self.pods, samples, resource == "cpu", Delays::default(), self.now);
        match (&target.average_value, target.average_utilization) {
            (Some(average), _) => {
                let decide = |samples: Samples| {
                    replicas::by_average(self.wanted, millis(average)?, &samples, &groups(&samples), self.tolerance)
                };
                let found = samples.await.and_then(decide);
                let proposal = found.map_err(|why| format!("failed to get {resource} usage: {why}"))?;
                Ok((proposal, format!("{resource} resource")))
            }
            (None, Some(percent)) => {
                let decide = |samples: Samples| {
                    let groups = groups(&samples);
                    let requests: Values = requests::of(self.pods, resource, container)?;
                    replicas::by_utilization(self.wanted, percent, &samples, &groups, &requests, self.tolerance)
                };
                let found = samples.await.and_then(decide);
                let proposal = found.map_err(|why| format!("failed to get {resource} utilization: {why}"))?;
                let of = if container.is_some() { "container resource" } else { "resource" };
                Ok((proposal, format!("{resource} {of} utilization (percentage of request)")))
            }
            (None, None) => {
                Err("invalid resource metric source: neither an average utilization target nor an average \
                                 value (usage) target was set"
                    .to_owned())
            }
        }
    }

    async fn of_pods(
        &self,
        metrics: &Metrics,
        metric: &MetricIdentifier,
        target: &MetricTarget,
    ) -> Result<Proposal, String> {
        let samples = metrics.pods(self.namespace(), self.selector, &metric.name, metric.selector.as_ref()).await;
        let samples = samples.map_err(|why| format!("unable to get metric {}: {why}", metric.name))?;
        self.some_pods()?;
        let groups = group(self.pods, &samples, false, Delays::default(), self.now);
        let average = target.average_value.as_ref().ok_or("no average value target was set")?;
        replicas::by_average(self.wanted, millis(average)?, &samples, &groups, self.tolerance)
    }

    /// By a value that is not of pods.
    fn by_other(&self, usage: i64, target: &MetricTarget, kind: &str) -> Result<Proposal, String> {
        match (&target.average_value, &target.value) {
            (Some(share), _) if target.type_ == "AverageValue" || kind == "external" => {
                Ok(replicas::by_share(self.observed, millis(share)?, usage, self.tolerance))
            }
            (_, Some(value)) => {
                let ready = if self.wanted == 0 { None } else { Some(self.ready()?) };
                Ok(replicas::by_value(self.wanted, millis(value)?, usage, ready, self.tolerance))
            }
            _ => {
                Err(format!("invalid {kind} metric source: neither a value target nor an average value target was set"))
            }
        }
    }

    fn ready(&self) -> Result<usize, String> {
        self.some_pods().map_err(|why| format!("unable to calculate ready pods: {why}"))?;
        Ok(self.pods.iter().filter(|pod| phase(pod) == "Running" && is_ready(pod)).count())
    }

    fn some_pods(&self) -> Result<(), String> {
        if self.pods.is_empty() {
            return Err("no pods returned by selector while calculating replica count".to_owned());
        }
        Ok(())
    }
}

fn found_as(spec: &MetricSpec, proposal: &Proposal, name: String, status: MetricStatus) -> Found {
    Found { replicas: proposal.replicas, name, status: MetricStatus { type_: spec.type_.clone(), ..status } }
}

fn amount(millis: i64) -> Option<Text> {
    Some(Quantity::from_millis(millis).into())
}

fn value_of_resource(proposal: &Proposal) -> MetricValueStatus {
    MetricValueStatus { average_utilization: proposal.utilization, ..average(proposal) }
}

fn average(proposal: &Proposal) -> MetricValueStatus {
    MetricValueStatus { average_value: amount(proposal.usage), ..MetricValueStatus::default() }
}

fn total(proposal: &Proposal) -> MetricValueStatus {
    MetricValueStatus { value: amount(proposal.usage), ..MetricValueStatus::default() }
}

fn external_name(metric: &MetricIdentifier) -> String {
    format!("external metric {}({})", metric.name, go_selector(metric))
}

/// A selector as Go's `%+v` prints a pointer to it.
fn go_selector(metric: &MetricIdentifier) -> String {
    match &metric.selector {
        None => "nil".to_owned(),
        Some(selector) => crate::disruption::go_selector(selector),
    }
}
