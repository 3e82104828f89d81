//! Which pods' measurements count. Source: `groupPods` in Kubernetes' `replica_calculator.go`.

use std::{collections::BTreeMap, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use kubelab_api::{
    meta::is_deleting,
    pod::{condition, get_condition, phase},
};

/// A measurement of one pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// In thousandths.
    pub value: i64,
    /// When it was taken.
    pub at: Timestamp,
    /// The time before that it covers.
    pub window: SignedDuration,
}

/// Measurements by the names of pods.
pub type Samples = BTreeMap<String, Sample>;

/// How long pods are new.
#[derive(Clone, Copy, Debug)]
pub struct Delays {
    /// So long after its start, a pod's CPU counts only when it is ready and was measured since.
    pub initialization: SignedDuration,
    /// A pod that was last seen ready within this time after its start has never been ready.
    pub readiness: SignedDuration,
}

impl Default for Delays {
    /// Source: `HorizontalPodAutoscalerCPUInitializationPeriod` and `InitialReadinessDelay` in the controller manager's
    /// defaults.
    fn default() -> Self {
        Self { initialization: SignedDuration::from_mins(5), readiness: SignedDuration::from_secs(30) }
    }
}

/// Pods by what their measurements are worth.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Groups {
    /// Measured, and ready to be judged by it: so many.
    pub ready: usize,
    /// Not ready yet.
    pub unready: Vec<String>,
    /// Not measured.
    pub missing: Vec<String>,
    /// Ended, or on their way out.
    pub ignored: Vec<String>,
}

/// Tells the pods apart. Only the CPU of a pod that starts says nothing of its later use.
pub fn group(pods: &[Arc<Pod>], samples: &Samples, is_cpu: bool, delays: Delays, now: Timestamp) -> Groups {
    let mut groups = Groups::default();
    for pod in pods {
        let name = pod.metadata.name.clone().unwrap_or_default();
        if is_deleting(&pod.metadata) || phase(pod) == "Failed" {
            groups.ignored.push(name);
        } else if phase(pod) == "Pending" {
            groups.unready.push(name);
        } else {
            match samples.get(&name) {
                None => groups.missing.push(name),
                Some(sample) if is_cpu && is_starting(pod, sample, delays, now) => groups.unready.push(name),
                Some(_) => groups.ready += 1,
            }
        }
    }
    groups
}

fn is_starting(pod: &Pod, sample: &Sample, delays: Delays, now: Timestamp) -> bool {
    let start = pod.status.as_ref().and_then(|status| status.start_time.as_ref());
    let (Some(start), Some(ready)) = (start, get_condition(pod, condition::READY)) else { return true };
    let since = ready.last_transition_time.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0);
    let is_unready = ready.status == "False";
    if start.0 + delays.initialization > now {
        is_unready || sample.at < since + sample.window
    } else {
        is_unready && start.0 + delays.readiness > since
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Value, json};

    use super::*;

    fn pod(name: &str, status: Value) -> Arc<Pod> {
        Arc::new(serde_json::from_value(json!({"metadata": {"name": name}, "status": status})).unwrap())
    }

    #[test]
    fn pods_that_start_end_or_are_not_measured_are_told_apart() {
        let at = |text: &str| format!("2026-11-20T12:{text}Z");
        let running = |start: &str, ready: &str, since: &str| {
            json!({"phase": "Running", "startTime": at(start),
                "conditions": [{"type": "Ready", "status": ready, "lastTransitionTime": at(since)}]})
        };
        let now: Timestamp = at("30:00").parse().unwrap();
        let window = SignedDuration::from_secs(60);
        for (why, status, sampled, is_cpu, expected) in [
            ("pending", json!({"phase": "Pending"}), Some("29:50"), true, "unready"),
            ("failed", json!({"phase": "Failed"}), Some("29:50"), true, "ignored"),
            ("not measured", running("00:00", "True", "01:00"), None, true, "missing"),
            ("settled", running("00:00", "True", "01:00"), Some("29:50"), true, "ready"),
            ("new, measured since it is ready", running("27:00", "True", "27:10"), Some("29:50"), true, "ready"),
            ("new, measured before", running("28:30", "True", "29:00"), Some("29:50"), true, "unready"),
            ("new and not ready", running("28:00", "False", "28:00"), Some("29:50"), true, "unready"),
            ("old and never ready", running("20:00", "False", "20:10"), Some("29:50"), true, "unready"),
            ("old, was ready once", running("20:00", "False", "25:00"), Some("29:50"), true, "ready"),
            ("no condition", json!({"phase": "Running", "startTime": at("00:00")}), Some("29:50"), true, "unready"),
            ("memory always counts", running("28:00", "False", "28:00"), Some("29:50"), false, "ready"),
        ] {
            let sample = |at: &str| Sample { value: 1, at: format!("2026-11-20T12:{at}Z").parse().unwrap(), window };
            let samples: Samples = sampled.map(|at| ("p".to_owned(), sample(at))).into_iter().collect();
            let groups = group(&[pod("p", status)], &samples, is_cpu, Delays::default(), now);
            let found = match (groups.ready, groups.unready.len(), groups.missing.len()) {
                (1, 0, 0) => "ready",
                (0, 1, 0) => "unready",
                (0, 0, 1) => "missing",
                _ => "ignored",
            };
            assert_eq!(found, expected, "{why}");
        }
    }
}
