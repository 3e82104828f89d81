//! What the scheduler counts, under upstream's names.

use std::sync::LazyLock;

use kubelab_client::{
    clock::{self, Instant},
    metrics::{By, Counter, Family, Gauge, Histogram, counters, exponential_buckets, gauges, histograms, shown},
};
use prometheus_client::encoding::EncodeLabelSet;

use crate::{
    framework::Profile,
    queue::{Counts, QueuedPod},
};

/// How an attempt ended.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct Attempt {
    /// `scheduled`, `unschedulable` or `error`.
    pub result: &'static str,
    /// The scheduler's name.
    pub profile: String,
}

/// An extension point that was run for a pod.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Point {
    extension_point: &'static str,
    status: &'static str,
    profile: String,
}

/// Pods that wait because of a plugin.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Rejecting {
    plugin: &'static str,
    profile: String,
}

/// The scheduler's figures. Source: `pkg/scheduler/metrics` upstream, names and buckets.
pub struct Metrics {
    attempts: Family<Attempt, Counter>,
    attempt_seconds: Family<Attempt, Histogram>,
    /// The seconds that choosing a node takes.
    pub algorithm: Histogram,
    /// The seconds from a pod's first coming to its binding, by the number of attempts.
    waited: Family<By<1, String>, Histogram>,
    tries: Histogram,
    /// How often pods were removed for others.
    pub preemptions: Counter,
    /// How many pods were removed each time.
    pub victims: Histogram,
    pending: Family<By<1>, Gauge>,
    incoming: Family<By<2>, Counter>,
    unschedulable: Family<Rejecting, Gauge>,
    points: Family<Point, Histogram>,
    plugins: Family<By<3>, Histogram>,
    cached: Family<By<1>, Gauge>,
}

/// The one set of figures of this process.
pub static METRICS: LazyLock<Metrics> = LazyLock::new(|| {
    let latency = || Histogram::new(exponential_buckets(0.000_1, 2.0, 18));
    Metrics {
        attempts: counters("scheduler_schedule_attempts", "Number of attempts to schedule pods, by the result"),
        attempt_seconds: histograms(
            "scheduler_scheduling_attempt_duration_seconds",
            "Scheduling attempt latency in seconds (scheduling algorithm + binding)",
            latency,
        ),
        algorithm: shown(
            "scheduler_scheduling_algorithm_duration_seconds",
            "Scheduling algorithm latency in seconds",
            Histogram::new(exponential_buckets(0.000_1, 2.0, 15)),
        ),
        waited: histograms(
            "scheduler_pod_scheduling_sli_duration_seconds",
            "E2e latency for a pod being scheduled, from the time the pod enters the scheduling queue",
            || Histogram::new(exponential_buckets(0.01, 2.0, 20)),
        ),
        tries: shown(
            "scheduler_pod_scheduling_attempts",
            "Number of attempts to successfully schedule a pod",
            Histogram::new(exponential_buckets(1.0, 2.0, 5)),
        ),
        preemptions: shown(
            "scheduler_preemption_attempts",
            "Total preemption attempts in the cluster till now",
            Counter::default(),
        ),
        victims: shown(
            "scheduler_preemption_victims",
            "Number of selected preemption victims",
            Histogram::new(exponential_buckets(1.0, 2.0, 7)),
        ),
        pending: gauges("scheduler_pending_pods", "Number of pending pods, by the queue type"),
        incoming: counters(
            "scheduler_queue_incoming_pods",
            "Number of pods added to scheduling queues by event and queue type",
        ),
        unschedulable: gauges(
            "scheduler_unschedulable_pods",
            "The number of unschedulable pods broken down by plugin name",
        ),
        points: histograms(
            "scheduler_framework_extension_point_duration_seconds",
            "Latency for running all plugins of a specific extension point",
            || Histogram::new(exponential_buckets(0.000_01, 2.0, 15)),
        ),
        plugins: histograms(
            "scheduler_plugin_execution_duration_seconds",
            "Duration for running a plugin at a specific extension point",
            || Histogram::new(exponential_buckets(0.000_000_1, 2.0, 20)),
        ),
        cached: gauges(
            "scheduler_cache_size",
            "Number of nodes, pods, and assumed (bound) pods in the scheduler cache",
        ),
    }
});

/// The status of what went well.
pub const SUCCESS: &str = "Success";
/// The status of what rejected the pod.
pub const UNSCHEDULABLE: &str = "Unschedulable";

impl Metrics {
    /// An attempt to schedule a pod has ended: `scheduled`, `unschedulable` or `error`.
    pub fn attempted(&self, result: &'static str, profile: &Profile, pod: &QueuedPod) {
        let (attempt, now) = (Attempt { result, profile: profile.scheduler_name.clone() }, clock::instant());
        self.attempts.get_or_create(&attempt).inc();
        self.attempt_seconds.get_or_create(&attempt).observe((now - pod.tried).as_secs_f64());
        if result == "scheduled" {
            // Source: `getAttemptsLabel`.
            let attempts = if pod.attempts >= 15 { "15+".to_owned() } else { pod.attempts.to_string() };
            let waited = self.waited.get_or_create_owned(&[("attempts", attempts)]);
            waited.observe((now - pod.first_queued).as_secs_f64());
            self.tries.observe(pod.attempts.into());
        }
    }

    /// How many pods wait where.
    pub fn pending(&self, counts: Counts) {
        for (queue, count) in [
            ("active", counts.active),
            ("backoff", counts.backoff),
            ("unschedulable", counts.unschedulable),
            ("gated", counts.gated),
        ] {
            self.pending.get_or_create(&[("queue", queue)]).set(count as i64);
        }
    }

    /// A pod comes to wait in this part of the queue because of this event.
    pub fn incoming(&self, queue: &'static str, event: &'static str) {
        self.incoming.get_or_create(&[("queue", queue), ("event", event)]).inc();
    }

    /// One pod more, or less, waits because these plugins rejected it.
    pub fn waiting<'a>(&self, plugins: impl IntoIterator<Item = &'a &'static str>, profile: &str, change: i64) {
        for plugin in plugins {
            let labels = Rejecting { plugin, profile: profile.to_owned() };
            self.unschedulable.get_or_create(&labels).inc_by(change);
        }
    }

    /// An extension point's plugins were run from then on.
    pub fn ran(&self, extension_point: &'static str, profile: &Profile, status: &'static str, began: Instant) {
        let labels = Point { extension_point, status, profile: profile.scheduler_name.clone() };
        self.points.get_or_create(&labels).observe((clock::instant() - began).as_secs_f64());
    }

    /// A plugin was run.
    pub fn plugin<T>(
        &self,
        plugin: &'static str,
        extension_point: &'static str,
        run: impl FnOnce() -> T,
        is_success: impl FnOnce(&T) -> bool,
    ) -> T {
        let began = clock::instant();
        let outcome = run();
        let took = (clock::instant() - began).as_secs_f64();
        let status = if is_success(&outcome) { SUCCESS } else { UNSCHEDULABLE };
        let labels = [("plugin", plugin), ("extension_point", extension_point), ("status", status)];
        self.plugins.get_or_create(&labels).observe(took);
        outcome
    }

    /// What the scheduler knows of.
    pub fn cached(&self, nodes: usize, pods: usize, assumed: usize) {
        for (kind, count) in [("nodes", nodes), ("pods", pods), ("assumed_pods", assumed)] {
            self.cached.get_or_create(&[("type", kind)]).set(count as i64);
        }
    }
}
