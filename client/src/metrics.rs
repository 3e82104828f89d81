//! What /metrics shows: one registry a process, to which each part adds what it counts.

use std::sync::{LazyLock, Mutex, PoisonError};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, text},
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
