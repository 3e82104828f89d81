//! What the loop counts, under upstream's names. Source: `pkg/controller/job/metrics` in Kubernetes.

use std::sync::LazyLock;

use kubelab_client::metrics::{By, Counter, Family, Histogram, counters, exponential_buckets, histograms};

/// `Indexed` or `NonIndexed`.
pub const MODE: &str = "completion_mode";
/// How something ended.
pub const RESULT: &str = "result";

/// The loop's figures.
pub struct Metrics {
    /// By mode, result (`success`, `error`) and action (`reconciling`, `tracking`, `pods_created`, `pods_deleted`).
    pub sync_seconds: Family<By<3>, Histogram>,
    /// By the same.
    pub syncs: Family<By<3>, Counter>,
    /// By mode, result (`succeeded`, `failed`) and reason.
    pub finished: Family<By<3, String>, Counter>,
    /// By mode and result.
    pub pods_finished: Family<By<2>, Counter>,
    /// By event (`add`, `delete`).
    pub tracking: Family<By<1>, Counter>,
    /// By reason and status.
    pub pods_created: Family<By<2>, Counter>,
}

/// The one set of figures of this process.
pub static METRICS: LazyLock<Metrics> = LazyLock::new(|| Metrics {
    sync_seconds: histograms("job_controller_job_sync_duration_seconds", "The time it took to sync a job", || {
        Histogram::new(exponential_buckets(0.004, 2.0, 15))
    }),
    syncs: counters("job_controller_job_syncs", "The number of job syncs"),
    finished: counters("job_controller_jobs_finished", "The number of finished jobs"),
    pods_finished: counters("job_controller_job_pods_finished", "The number of finished Pods that are fully tracked"),
    tracking: counters(
        "job_controller_terminated_pods_tracking_finalizer",
        "The number of terminated pods (phase=Failed|Succeeded) that have the finalizer batch.kubernetes.io/job-tracking",
    ),
    pods_created: counters(
        "job_controller_job_pods_creation",
        "The number of Pods created by the Job controller labelled with a reason for the Pod creation",
    ),
});

/// `succeeded` or `failed`.
pub fn outcome(is_success: bool) -> &'static str {
    if is_success { "succeeded" } else { "failed" }
}
