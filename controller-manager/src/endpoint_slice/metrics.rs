//! What the loop counts, under upstream's names. Source: `k8s.io/endpointslice/metrics`.

use std::{
    collections::HashMap,
    sync::{LazyLock, Mutex, PoisonError},
};

use kubelab_client::{
    controller::Key,
    metrics::{By, Counter, Family, Gauge, Histogram, counters, exponential_buckets, shown},
};

use super::plan::{CAPACITY, Plan, Wanted};

/// The loop's figures.
struct Metrics {
    desired_endpoints: Gauge,
    slices: Gauge,
    desired_slices: Gauge,
    added: Histogram,
    removed: Histogram,
    /// By operation.
    changes: Family<By<1>, Counter>,
    /// By result.
    syncs: Family<By<1>, Counter>,
    /// What each service adds to the gauges.
    services: Mutex<HashMap<Key, Share>>,
}

/// How much a service has.
#[derive(Clone, Copy, Default)]
struct Share {
    endpoints: i64,
    slices: i64,
    desired_slices: i64,
}

static METRICS: LazyLock<Metrics> = LazyLock::new(|| {
    let per_sync = || Histogram::new(exponential_buckets(2.0, 2.0, 15));
    Metrics {
        desired_endpoints: shown(
            "endpoint_slice_controller_endpoints_desired",
            "Number of endpoints desired",
            Gauge::default(),
        ),
        slices: shown("endpoint_slice_controller_num_endpoint_slices", "Number of EndpointSlices", Gauge::default()),
        desired_slices: shown(
            "endpoint_slice_controller_desired_endpoint_slices",
            "Number of EndpointSlices that would exist with perfect endpoint allocation",
            Gauge::default(),
        ),
        added: shown(
            "endpoint_slice_controller_endpoints_added_per_sync",
            "Number of endpoints added on each Service sync",
            per_sync(),
        ),
        removed: shown(
            "endpoint_slice_controller_endpoints_removed_per_sync",
            "Number of endpoints removed on each Service sync",
            per_sync(),
        ),
        changes: counters("endpoint_slice_controller_changes", "Number of EndpointSlice changes"),
        syncs: counters("endpoint_slice_controller_syncs", "Number of EndpointSlice syncs"),
        services: Mutex::default(),
    }
});

/// A service's slices are to hold `wanted`, in the place of `present` endpoints in `slices`.
pub fn planned(service: &Key, wanted: &Wanted, present: usize, slices: usize) {
    let endpoints: usize = wanted.values().map(Vec::len).sum();
    let desired: usize = wanted.values().map(|endpoints| endpoints.len().div_ceil(CAPACITY).max(1)).sum();
    let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    let share = Share { endpoints: number(endpoints), slices: number(slices), desired_slices: number(desired.max(1)) };
    set(service, Some(share));
    METRICS.added.observe(endpoints.saturating_sub(present) as f64);
    METRICS.removed.observe(present.saturating_sub(endpoints) as f64);
}

/// A service is gone.
pub fn forget(service: &Key) {
    set(service, None);
}

fn set(service: &Key, share: Option<Share>) {
    let mut services = METRICS.services.lock().unwrap_or_else(PoisonError::into_inner);
    let before = match share {
        Some(share) => services.insert(service.clone(), share),
        None => services.remove(service),
    };
    let (before, after) = (before.unwrap_or_default(), share.unwrap_or_default());
    METRICS.desired_endpoints.inc_by(after.endpoints - before.endpoints);
    METRICS.slices.inc_by(after.slices - before.slices);
    METRICS.desired_slices.inc_by(after.desired_slices - before.desired_slices);
}

/// A plan was carried out, or not.
pub fn synced(plan: &Plan, is_success: bool) {
    let result = if is_success { "success" } else { "error" };
    METRICS.syncs.get_or_create(&[("result", result)]).inc();
    if is_success {
        for (operation, slices) in
            [("create", plan.create.len()), ("update", plan.update.len()), ("delete", plan.delete.len())]
        {
            METRICS.changes.get_or_create(&[("operation", operation)]).inc_by(slices as u64);
        }
    }
}
