//! The only source of time in a component (clippy forbids the others), so that the lab can bend it.

#![allow(clippy::disallowed_methods)]

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
pub use tokio::time::Instant;

/// The present, as Kubernetes writes it (whole seconds in JSON).
pub fn now() -> Time {
    Time(jiff::Timestamp::now())
}

/// The present with microseconds, as Leases write it.
pub fn now_micro() -> MicroTime {
    MicroTime(jiff::Timestamp::now())
}

/// The present on a clock that only measures: for durations, deadlines and back-off within this process.
pub fn instant() -> Instant {
    Instant::now()
}

/// Waits.
pub async fn sleep(duration: Duration) {
    tokio::time::sleep(duration).await;
}

/// Waits until then.
pub async fn sleep_until(deadline: Instant) {
    tokio::time::sleep_until(deadline).await;
}

/// How long ago `time` was; zero if it is to come.
pub fn since(time: &Time) -> Duration {
    Duration::try_from(jiff::Timestamp::now().duration_since(time.0)).unwrap_or_default()
}
