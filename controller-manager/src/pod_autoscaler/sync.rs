//! One autoscaler while it is looked at. Source: `reconcileAutoscaler` in Kubernetes' `horizontal.go`.

use std::{
    cmp::Ordering,
    sync::{Arc, LazyLock},
    time::Duration,
};

use k8s_openapi::api::{
    autoscaling::{
        v1::Scale,
        v2::{HPAScalingRules, HorizontalPodAutoscaler, HorizontalPodAutoscalerStatus, MetricStatus},
    },
    core::v1::Pod,
};
use kubelab_api::{Error, Quantity, Resource, selector::label::Selector};
use kubelab_client::{
    Action, clock,
    controller::Key,
    metrics::{By, Counter, Family, Histogram, counters, exponential_buckets, histograms},
    recorder::Kind,
};

use super::{
    Loop, PERIOD,
    conditions::{self, ABLE, ACTIVE, LIMITED},
    metric::{Failure, Target},
    normalize::{self, Bounds},
    replicas::Tolerance,
};

/// Source: `HorizontalPodAutoscalerTolerance` in the controller manager's defaults.
const TOLERANCE: f64 = 0.1;

/// What the metrics call for, together.
struct Proposed {
    replicas: i32,
    metric: String,
    statuses: Vec<MetricStatus>,
    /// Some metrics say nothing.
    failure: Option<String>,
}

/// A number of replicas, and why.
struct Decision {
    replicas: i32,
    why: String,
    metrics: Option<Vec<MetricStatus>>,
}

/// Reconciliations, and how long they take. Source of the names: `pkg/controller/podautoscaler/monitor` in Kubernetes.
static METRICS: LazyLock<(Family<By<2>, Counter>, Family<By<2>, Histogram>)> = LazyLock::new(|| {
    let number = "Number of reconciliations of HPA controller. The label 'action' should be either 'scale_down', \
                  'scale_up', or 'none'. Also, the label 'error' should be either 'spec', 'internal', or 'none'";
    let seconds = "The time(seconds) that the HPA controller takes to reconcile once";
    let buckets = || Histogram::new(exponential_buckets(0.001, 2.0, 15));
    (
        counters("horizontal_pod_autoscaler_controller_reconciliations", number),
        histograms("horizontal_pod_autoscaler_controller_reconciliation_duration_seconds", seconds, buckets),
    )
});

fn count(before: &HorizontalPodAutoscaler, after: &HorizontalPodAutoscalerStatus, failed: bool, took: Duration) {
    let scaled = before.status.as_ref().map(|status| &status.last_scale_time) != Some(&after.last_scale_time);
    let action = match after.desired_replicas.cmp(&after.current_replicas.unwrap_or_default()) {
        Ordering::Greater if scaled => "scale_up",
        Ordering::Less if scaled => "scale_down",
        _ => "none",
    };
    let labels = [("action", action), ("error", if failed { "internal" } else { "none" })];
    METRICS.0.get_or_create(&labels).inc();
    METRICS.1.get_or_create(&labels).observe(took.as_secs_f64());
}

impl Loop {
    pub(super) async fn reconcile(&self, key: Key) -> Result<Action, Error> {
        let Some(autoscaler) = self.autoscalers.get(&key.namespace, &key.name) else { return Ok(Action::Done) };
        let mut status = autoscaler.status.clone().unwrap_or_default();
        let began = clock::instant();
        let result = self.sync(&key, &autoscaler, &mut status).await;
        count(&autoscaler, &status, result.is_err(), began.elapsed());
        if let Err(why) = result {
            tracing::debug!(%key, why, "the autoscaler could not do all that it should");
        }
        if autoscaler.status.as_ref() != Some(&status) {
            let next = HorizontalPodAutoscaler { status: Some(status), ..(*autoscaler).clone() };
            if let Err(error) = self.client.update_status(&next).await {
                tracing::debug!(%key, %error, "the autoscaler's status has to wait");
            }
        }
        Ok(Action::After(PERIOD))
    }

    async fn sync(
        &self,
        key: &Key,
        autoscaler: &Arc<HorizontalPodAutoscaler>,
        status: &mut HorizontalPodAutoscalerStatus,
    ) -> Result<(), String> {
        let now = clock::now();
        let (resource, scale) = match self.scale(autoscaler).await {
            Ok(found) => found,
            Err(why) => {
                self.recorder.event(&**autoscaler, Kind::Warning, "FailedGetScale", why.clone());
                let message = format!("the HPA controller was unable to get the target's current scale: {why}");
                conditions::set(status, ABLE, false, "FailedGetScale", &message, &now);
                return Err(why);
            }
        };
        let message = "the HPA controller was able to get the target's current scale";
        conditions::set(status, ABLE, true, "SucceededGetScale", message, &now);
        let current = scale.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(0);
        self.memory().entry(key.clone()).or_default().history.begin(current, now.0);

        let spec = &autoscaler.spec;
        let min = spec.min_replicas.unwrap_or(1);
        let decision = if current == 0 && min != 0 {
            let message = "scaling is disabled since the replica count of the target is zero";
            conditions::set(status, ACTIVE, false, "ScalingDisabled", message, &now);
            None
        } else if current > spec.max_replicas {
            let why = "Current number of replicas above Spec.MaxReplicas".to_owned();
            Some(Decision { replicas: spec.max_replicas, why, metrics: None })
        } else if current < min {
            let why = "Current number of replicas below Spec.MinReplicas".to_owned();
            Some(Decision { replicas: min, why, metrics: None })
        } else {
            match self.decide(key, autoscaler, &scale, status).await {
                Ok(decision) => Some(decision),
                Err(why) => {
                    status.current_replicas = Some(current);
                    let kind = Kind::Warning;
                    self.recorder.event(&**autoscaler, kind, "FailedComputeMetricsReplicas", why.clone());
                    return Err(why);
                }
            }
        };
        let wanted = decision.as_ref().map_or(current, |decision| decision.replicas);
        if wanted != current
            && let Some(decision) = &decision
        {
            self.rescale(key, autoscaler, &resource, scale, decision, status).await?;
        }
        status.current_replicas = Some(current);
        status.desired_replicas = wanted;
        status.current_metrics = decision.and_then(|decision| decision.metrics);
        if wanted != current {
            status.last_scale_time = Some(now);
        }
        Ok(())
    }

    async fn scale(&self, autoscaler: &HorizontalPodAutoscaler) -> Result<(Resource, Scale), String> {
        let target = &autoscaler.spec.scale_target_ref;
        let namespace = autoscaler.metadata.namespace.as_deref().unwrap_or_default();
        let api_version = target.api_version.as_deref().unwrap_or_default();
        let resource = self.kinds.find(api_version, &target.kind).ok_or_else(|| {
            let (group, _) = crate::scalable::group_and_version(api_version);
            format!("no matches for kind {:?} in group {group:?}", target.kind)
        })?;
        match self.client.get_scale(&resource, namespace, &target.name).await {
            Ok(scale) => Ok((resource, scale)),
            Err(error) => Err(error.to_string()),
        }
    }

    async fn decide(
        &self,
        key: &Key,
        autoscaler: &HorizontalPodAutoscaler,
        scale: &Scale,
        status: &mut HorizontalPodAutoscalerStatus,
    ) -> Result<Decision, String> {
        let now = clock::now();
        let (pods, selector) = self.select(key, autoscaler, scale, status)?;
        let spec = &autoscaler.spec;
        let current = scale.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(0);
        let tolerance = |rules: Option<&HPAScalingRules>| {
            let own = rules.and_then(|rules| rules.tolerance.as_ref());
            own.and_then(|text| Quantity::try_from(text).ok()).map_or(TOLERANCE, Quantity::as_f64)
        };
        let behavior = spec.behavior.as_ref();
        let target = Target {
            autoscaler,
            pods: &pods,
            selector: &selector,
            wanted: current,
            observed: scale.status.as_ref().map_or(0, |status| status.replicas),
            tolerance: Tolerance {
                up: tolerance(behavior.and_then(|behavior| behavior.scale_up.as_ref())),
                down: tolerance(behavior.and_then(|behavior| behavior.scale_down.as_ref())),
            },
            now: now.0,
        };
        let proposed = self.propose(&target, status).await?;
        if let Some(why) = &proposed.failure {
            tracing::debug!(%key, why, "some metrics say nothing");
        }
        let bounds = Bounds { min: spec.min_replicas.unwrap_or(1), max: spec.max_replicas, current };
        let step = {
            let mut memory = self.memory();
            let history = &mut memory.entry(key.clone()).or_default().history;
            normalize::step(bounds, proposed.replicas, behavior, history, now.0)
        };
        conditions::set(status, ABLE, true, step.able.0, step.able.1, &now);
        let (is_limited, (reason, message)) = step.limited;
        conditions::set(status, LIMITED, is_limited, reason, message, &now);
        let why = if proposed.replicas > current {
            format!("{} above target", proposed.metric)
        } else if proposed.replicas < current {
            "All metrics below target".to_owned()
        } else {
            String::new()
        };
        Ok(Decision { replicas: step.replicas, why, metrics: Some(proposed.statuses) })
    }

    /// The pods that are scaled. No two autoscalers may scale the same ones.
    fn select(
        &self,
        key: &Key,
        autoscaler: &HorizontalPodAutoscaler,
        scale: &Scale,
        status: &mut HorizontalPodAutoscalerStatus,
    ) -> Result<(Vec<Arc<Pod>>, String), String> {
        let now = clock::now();
        let mut refuse = |event: &str, reason: &str, message: &str, why: String| {
            self.recorder.event(autoscaler, Kind::Warning, event, why.clone());
            conditions::set(status, ACTIVE, false, reason, message, &now);
            Err(why)
        };
        let text = scale.status.as_ref().and_then(|status| status.selector.clone()).unwrap_or_default();
        if text.is_empty() {
            let message = "the HPA target's scale is missing a selector";
            return refuse("SelectorRequired", "InvalidSelector", message, "selector is required".to_owned());
        }
        let selector: Selector = match text.parse() {
            Ok(selector) => selector,
            Err(error) => {
                let why = format!("couldn't convert selector into a corresponding internal selector object: {error}");
                return refuse("InvalidSelector", "InvalidSelector", &why.clone(), why);
            }
        };
        let mut pods = self.pods.list_in(&key.namespace);
        pods.retain(|pod| selector.matches(pod.metadata.labels.as_ref()));
        let mut rivals: Vec<Key> = {
            let mut memory = self.memory();
            memory.entry(key.clone()).or_default().selector = Some(selector);
            let selects = |selector: &Selector| pods.iter().any(|pod| selector.matches(pod.metadata.labels.as_ref()));
            let of_namespace = memory.iter().filter(|(other, _)| other.namespace == key.namespace);
            of_namespace
                .filter(|(_, memory)| memory.selector.as_ref().is_some_and(selects))
                .map(|(other, _)| other.clone())
                .collect()
        };
        if rivals.len() > 1 {
            rivals.sort();
            let names: Vec<_> = rivals.iter().map(|key| format!("{{{} {}}}", key.name, key.namespace)).collect();
            let why = format!("pods by selector {text} are controlled by multiple HPAs: [{}]", names.join(" "));
            return refuse("AmbiguousSelector", "AmbiguousSelector", &why.clone(), why);
        }
        Ok((pods, text))
    }

    /// The metric that calls for the most decides. While some say nothing, the others may only add replicas.
    async fn propose(
        &self,
        target: &Target<'_>,
        status: &mut HorizontalPodAutoscalerStatus,
    ) -> Result<Proposed, String> {
        let now = clock::now();
        let specs = target.autoscaler.spec.metrics.as_deref().unwrap_or_default();
        let mut proposed = Proposed { replicas: 0, metric: String::new(), statuses: Vec::new(), failure: None };
        let mut failures: Vec<Failure> = Vec::new();
        for spec in specs {
            match target.evaluate(spec, &self.metrics, &self.kinds).await {
                Ok(found) => {
                    if proposed.replicas == 0 || found.replicas > proposed.replicas {
                        proposed.replicas = found.replicas;
                        proposed.metric = found.name;
                    }
                    proposed.statuses.push(found.status);
                }
                Err(failure) => {
                    self.recorder.event(target.autoscaler, Kind::Warning, failure.reason, failure.why.clone());
                    // Its place in the list stays, as upstream's does.
                    proposed.statuses.push(MetricStatus::default());
                    failures.push(failure);
                }
            }
        }
        if let Some(first) = failures.first() {
            let (bad, all) = (failures.len(), specs.len());
            let why = format!("invalid metrics ({bad} invalid out of {all}), first error is: {}", first.summary);
            if bad >= all || proposed.replicas < target.wanted {
                let message = format!("the HPA was unable to compute the replica count: {}", first.why);
                conditions::set(status, ACTIVE, false, first.reason, &message, &now);
                return Err(why);
            }
            proposed.failure = Some(why);
        }
        let message = format!("the HPA was able to successfully calculate a replica count from {}", proposed.metric);
        conditions::set(status, ACTIVE, true, "ValidMetricFound", &message, &now);
        Ok(proposed)
    }

    async fn rescale(
        &self,
        key: &Key,
        autoscaler: &HorizontalPodAutoscaler,
        resource: &Resource,
        mut scale: Scale,
        decision: &Decision,
        status: &mut HorizontalPodAutoscalerStatus,
    ) -> Result<(), String> {
        let now = clock::now();
        let (wanted, why) = (decision.replicas, &decision.why);
        let current = scale.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(0);
        scale.spec.get_or_insert_default().replicas = Some(wanted);
        if let Err(error) = self.client.update_scale(resource, &scale).await {
            let message = format!("New size: {wanted}; reason: {why}; error: {error}");
            self.recorder.event(autoscaler, Kind::Warning, "FailedRescale", message);
            let message = format!("the HPA controller was unable to update the target scale: {error}");
            conditions::set(status, ABLE, false, "FailedUpdateScale", &message, &now);
            status.current_replicas = Some(current);
            return Err(error.to_string());
        }
        let message = format!("the HPA controller was able to update the target scale to {wanted}");
        conditions::set(status, ABLE, true, "SucceededRescale", &message, &now);
        let message = format!("New size: {wanted}; reason: {why}");
        self.recorder.event(autoscaler, Kind::Normal, "SuccessfulRescale", message);
        if autoscaler.spec.behavior.is_some() {
            self.memory().entry(key.clone()).or_default().history.note_change(current, wanted, now.0);
        }
        Ok(())
    }
}
