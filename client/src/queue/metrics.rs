//! A queue's figures, under client-go's names.

use std::sync::LazyLock;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
};

use crate::metrics::register;

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
    let families = Families {
        depth: Family::default(),
        adds: Family::default(),
        retries: Family::default(),
        queue_duration: Family::new_with_constructor(seconds),
        work_duration: Family::new_with_constructor(seconds),
    };
    register(|registry| {
        registry.register("workqueue_depth", "Current depth of workqueue", families.depth.clone());
        registry.register("workqueue_adds", "Total number of adds handled by workqueue", families.adds.clone());
        registry.register(
            "workqueue_retries",
            "Total number of retries handled by workqueue",
            families.retries.clone(),
        );
        let help = "How long in seconds an item stays in workqueue before being requested";
        registry.register("workqueue_queue_duration_seconds", help, families.queue_duration.clone());
        let help = "How long in seconds processing an item from workqueue takes";
        registry.register("workqueue_work_duration_seconds", help, families.work_duration.clone());
    });
    families
});

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
