//! How long the store takes, under the name that it has upstream, where the store is etcd.
//! Source: `k8s.io/apiserver/pkg/storage/etcd3/metrics`.

use std::{
    sync::LazyLock,
    time::{Duration, Instant},
};

use kubelab_api::Resource;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{family::Family, histogram::Histogram},
    registry::Registry,
};

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Labels {
    operation: &'static str,
    group: String,
    resource: String,
}

/// Bounds in seconds; fewer than upstream's, for each costs memory.
fn seconds() -> Histogram {
    Histogram::new([0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0])
}

static DURATION: LazyLock<Family<Labels, Histogram, fn() -> Histogram>> =
    LazyLock::new(|| Family::new_with_constructor(seconds as fn() -> Histogram));

pub(super) fn register(registry: &mut Registry) {
    let help = "Etcd request latency in seconds for each operation and object type";
    registry.register("etcd_request_duration_seconds", help, DURATION.clone());
}

/// Waits for the store, and notes how long that took. `operation` is `create`, `update`, `delete`, `get` or `list`.
pub async fn timed<T>(operation: &'static str, resource: &Resource, work: impl Future<Output = T>) -> T {
    let begin = Instant::now();
    let done = work.await;
    observe(operation, resource, begin.elapsed());
    done
}

/// Something about objects of this resource took so long.
pub(super) fn observe(operation: &'static str, resource: &Resource, took: Duration) {
    let labels = Labels { operation, group: resource.group.to_string(), resource: resource.plural.to_string() };
    DURATION.get_or_create(&labels).observe(took.as_secs_f64());
}
