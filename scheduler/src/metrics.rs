//! What the scheduler counts, under upstream's names.

use std::sync::LazyLock;

use kubelab_client::metrics::register;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
};

use crate::queue::Counts;

/// How an attempt ended.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct Attempt {
    /// `scheduled`, `unschedulable` or `error`.
    pub result: &'static str,
    /// The scheduler's name.
    pub profile: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Place {
    queue: &'static str,
}

/// The scheduler's figures.
pub struct Metrics {
    /// Attempts, by how they ended.
    pub attempts: Family<Attempt, Counter>,
    /// The seconds that choosing a node takes.
    pub algorithm: Histogram,
    /// The seconds from a pod's first coming to its binding.
    pub waited: Histogram,
    /// How often pods were removed for others.
    pub preemptions: Counter,
    /// How many pods were removed each time.
    pub victims: Histogram,
    pending: Family<Place, Gauge>,
}

/// The one set of figures of this process.
pub static METRICS: LazyLock<Metrics> = LazyLock::new(|| {
    let metrics = Metrics {
        attempts: Family::default(),
        algorithm: Histogram::new(exponential_buckets(0.000_1, 2.0, 15)),
        waited: Histogram::new(exponential_buckets(0.01, 2.0, 20)),
        preemptions: Counter::default(),
        victims: Histogram::new(exponential_buckets(1.0, 2.0, 7)),
        pending: Family::default(),
    };
    register(|registry| {
        let help = "Number of attempts to schedule pods, by the result";
        registry.register("scheduler_schedule_attempts", help, metrics.attempts.clone());
        let help = "Scheduling algorithm latency in seconds";
        registry.register("scheduler_scheduling_algorithm_duration_seconds", help, metrics.algorithm.clone());
        let help = "E2e latency for a pod being scheduled, from the time the pod enters the scheduling queue";
        registry.register("scheduler_pod_scheduling_sli_duration_seconds", help, metrics.waited.clone());
        let help = "Total preemption attempts in the cluster till now";
        registry.register("scheduler_preemption_attempts", help, metrics.preemptions.clone());
        let help = "Number of selected preemption victims";
        registry.register("scheduler_preemption_victims", help, metrics.victims.clone());
        let help = "Number of pending pods, by the queue type";
        registry.register("scheduler_pending_pods", help, metrics.pending.clone());
    });
    metrics
});

impl Metrics {
    /// How many pods wait where.
    pub fn pending(&self, counts: Counts) {
        for (queue, count) in [
            ("active", counts.active),
            ("backoff", counts.backoff),
            ("unschedulable", counts.unschedulable),
            ("gated", counts.gated),
        ] {
            self.pending.get_or_create(&Place { queue }).set(count as i64);
        }
    }
}
