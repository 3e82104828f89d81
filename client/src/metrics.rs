//! What /metrics shows: one registry a process, to which each part adds what it counts.

use std::{
    fmt::Debug,
    hash::Hash,
    sync::{LazyLock, Mutex, PoisonError},
};

pub use prometheus_client::metrics::{
    counter::Counter,
    family::Family,
    gauge::Gauge,
    histogram::{Histogram, exponential_buckets},
};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, text},
    metrics::gauge::ConstGauge,
    registry::Registry,
};

static REGISTRY: LazyLock<Mutex<Registry>> = LazyLock::new(|| {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Memory));
    Mutex::new(registry)
});

/// Adds metrics to what this process serves. Names are upstream's.
pub fn register(add: impl FnOnce(&mut Registry)) {
    add(&mut REGISTRY.lock().unwrap_or_else(PoisonError::into_inner));
}

/// Labels as they are written: `[("zone", "a")]`.
pub type By<const N: usize, V = &'static str> = [(&'static str, V); N];

/// What tells the figures of one name apart.
pub trait Labels: Clone + Debug + Eq + Hash + EncodeLabelSet + Send + Sync + 'static {}
impl<L: Clone + Debug + Eq + Hash + EncodeLabelSet + Send + Sync + 'static> Labels for L {}

/// Counters of this name by labels; where they are shown, `_total` is added to it.
pub fn counters<L: Labels>(name: &'static str, help: &'static str) -> Family<L, Counter> {
    shown(name, help, Family::default())
}

/// Gauges of this name by labels.
pub fn gauges<L: Labels>(name: &'static str, help: &'static str) -> Family<L, Gauge> {
    shown(name, help, Family::default())
}

/// Histograms of this name by labels, with these buckets.
pub fn histograms<L: Labels>(
    name: &'static str,
    help: &'static str,
    buckets: fn() -> Histogram,
) -> Family<L, Histogram> {
    shown(name, help, Family::new_with_constructor(buckets))
}

/// A figure that stands alone.
pub fn shown<M: EncodeMetric + Clone + Debug + Send + Sync + 'static>(
    name: &'static str,
    help: &'static str,
    metric: M,
) -> M {
    register(|registry| registry.register(name, help, metric.clone()));
    metric
}

/// All metrics in the OpenMetrics text format.
pub fn encode() -> String {
    let mut text = String::new();
    // Writing to a String cannot fail; a collector that does leaves what was written before it.
    let _ = text::encode(&mut text, &REGISTRY.lock().unwrap_or_else(PoisonError::into_inner));
    text
}

/// This process's memory, read when asked for. Name: the Prometheus client libraries' standard process metrics.
#[derive(Debug)]
struct Memory;

impl Collector for Memory {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let Some(bytes) = resident_bytes() else { return Ok(()) };
        let gauge = ConstGauge::new(bytes);
        let metric = encoder.encode_descriptor(
            "process_resident_memory_bytes",
            "Resident memory size in bytes",
            None,
            prometheus_client::metrics::MetricType::Gauge,
        )?;
        gauge.encode(metric)
    }
}

fn resident_bytes() -> Option<i64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: i64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * i64::try_from(rustix::param::page_size()).ok()?)
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;

    use super::*;

    #[test]
    fn shows_what_parts_add() {
        let counter = Counter::<u64>::default();
        counter.inc();
        register(|registry| registry.register("kubelab_test", "A test", counter));
        let text = encode();
        assert!(text.contains("kubelab_test_total 1"), "{text}");
        assert!(text.contains("process_resident_memory_bytes "), "{text}");
    }
}
