//! A queue's figures, under client-go's names.

use std::{
    fmt,
    sync::{LazyLock, Mutex, PoisonError, Weak},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric},
    metrics::{
        MetricType,
        counter::Counter,
        family::Family,
        gauge::{ConstGauge, Gauge},
        histogram::Histogram,
    },
};

use crate::metrics::{counters, gauges, histograms, register};

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Name {
    name: String,
}

struct Families {
    depth: Family<Name, Gauge>,
    adds: Family<Name, Counter>,
    retries: Family<Name, Counter>,
    queue_duration: Family<Name, Histogram>,
    work_duration: Family<Name, Histogram>,
}

/// Powers of ten from 10 ns to 10 s, as client-go's.
fn seconds() -> Histogram {
    Histogram::new((0..10).map(|power| 1e-8 * 10f64.powi(power)))
}

static FAMILIES: LazyLock<Families> = LazyLock::new(|| {
    register(|registry| registry.register_collector(Box::new(Unfinished)));
    Families {
        depth: gauges("workqueue_depth", "Current depth of workqueue"),
        adds: counters("workqueue_adds", "Total number of adds handled by workqueue"),
        retries: counters("workqueue_retries", "Total number of retries handled by workqueue"),
        queue_duration: histograms(
            "workqueue_queue_duration_seconds",
            "How long in seconds an item stays in workqueue before being requested",
            seconds,
        ),
        work_duration: histograms(
            "workqueue_work_duration_seconds",
            "How long in seconds processing an item from workqueue takes",
            seconds,
        ),
    }
});

/// What is being worked on.
pub(super) trait Working: Send + Sync {
    /// For how many seconds each key has been worked on.
    fn seconds(&self) -> Vec<f64>;
}

type Queues = Vec<(Name, Weak<dyn Working>)>;

static QUEUES: Mutex<Queues> = Mutex::new(Vec::new());

/// Shows how long this queue's keys have been worked on, for as long as the queue is there.
pub(super) fn watch(name: &str, queue: Weak<dyn Working>) {
    let mut queues = QUEUES.lock().unwrap_or_else(PoisonError::into_inner);
    queues.retain(|(_, queue)| queue.strong_count() > 0);
    queues.push((Name { name: name.to_owned() }, queue));
}

/// Work that has begun and not ended, looked up when it is asked for.
#[derive(Debug)]
struct Unfinished;

impl Collector for Unfinished {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let queues = QUEUES.lock().unwrap_or_else(PoisonError::into_inner);
        let present = || queues.iter().filter_map(|(name, queue)| Some((name, queue.upgrade()?.seconds())));
        let mut show = |name: &str, help: &str, figure: fn(&[f64]) -> f64| {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (name, seconds) in present() {
                ConstGauge::new(figure(&seconds)).encode(metric.encode_family(name)?)?;
            }
            Ok(())
        };
        let help =
            "How many seconds of work has been done that is in progress and hasn't been observed by work_duration";
        show("workqueue_unfinished_work_seconds", help, |seconds| seconds.iter().sum())?;
        let help = "How many seconds has the longest running processor for workqueue been running";
        show("workqueue_longest_running_processor_seconds", help, |seconds| seconds.iter().copied().fold(0.0, f64::max))
    }
}

/// The figures of one queue.
pub(super) struct Metrics {
    pub(super) depth: Gauge,
    pub(super) adds: Counter,
    pub(super) retries: Counter,
    pub(super) queue_duration: Histogram,
    pub(super) work_duration: Histogram,
}

impl Metrics {
    pub(super) fn of(name: &str) -> Self {
        let name = Name { name: name.to_owned() };
        Self {
            depth: FAMILIES.depth.get_or_create_owned(&name),
            adds: FAMILIES.adds.get_or_create_owned(&name),
            retries: FAMILIES.retries.get_or_create_owned(&name),
            queue_duration: FAMILIES.queue_duration.get_or_create_owned(&name),
            work_duration: FAMILIES.work_duration.get_or_create_owned(&name),
        }
    }
}
