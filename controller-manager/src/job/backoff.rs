//! How long a job waits after failures before it makes more pods. Source: `backoff_utils.go` in Kubernetes.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use super::pod::{ended_at, failures_before};

/// After the first failure; doubled with each further one. Source: `DefaultJobPodFailureBackOff`.
const FIRST: Duration = Duration::from_secs(10);
/// Source: `MaxJobPodFailureBackOff`.
const MOST: Duration = Duration::from_secs(10 * 60);

/// The failures of a job since its last success.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Failures {
    count: u32,
    last: Option<Timestamp>,
}

impl Failures {
    /// The failures after these pods have ended too.
    #[must_use]
    pub fn after<'a>(
        self,
        succeeded: impl IntoIterator<Item = &'a Pod>,
        failed: impl IntoIterator<Item = &'a Pod>,
    ) -> Self {
        let success = succeeded.into_iter().map(ended_at).max();
        let before = if success.is_some() { Self::default() } else { self };
        let later = failed.into_iter().map(ended_at).filter(|end| success.is_none_or(|success| *end > success));
        later.fold(before, |failures, end| Self {
            count: failures.count.saturating_add(1),
            // A time from before, which may be of another pod, gives way to what has just been seen.
            last: if failures.last == before.last { Some(end) } else { failures.last.max(Some(end)) },
        })
    }

    /// How long to wait still; nothing when it is over.
    pub fn remaining(self, now: Timestamp) -> Duration {
        let Some(last) = self.last else { return Duration::ZERO };
        remaining(self.count, last, now)
    }
}

/// How long to wait still for the pod that takes this failed one's place at its index.
pub fn remaining_after(failed: &Pod, now: Timestamp) -> Duration {
    let (counted, ignored) = failures_before(failed);
    let count = u32::try_from(counted.saturating_add(ignored)).unwrap_or(0).saturating_add(1);
    remaining(count, ended_at(failed), now)
}

fn remaining(failures: u32, last: Timestamp, now: Timestamp) -> Duration {
    if failures == 0 {
        return Duration::ZERO;
    }
    let doubled = 2u32.checked_pow(failures - 1).map_or(MOST, |factor| FIRST.saturating_mul(factor));
    let since = Duration::try_from(now.duration_since(last)).unwrap_or_default();
    doubled.min(MOST).saturating_sub(since)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    fn pod(end: i64) -> Pod {
        let at = Timestamp::from_second(end).unwrap().to_string();
        serde_json::from_value(json!({"metadata": {"creationTimestamp": at}})).unwrap()
    }

    #[test]
    fn each_failure_doubles_the_wait_and_a_success_ends_it() {
        let wait = |succeeded: &[i64], failed: &[i64], before: Failures, now: i64| {
            let (succeeded, failed): (Vec<_>, Vec<_>) =
                (succeeded.iter().map(|end| pod(*end)).collect(), failed.iter().map(|end| pod(*end)).collect());
            let after = before.after(&succeeded, &failed);
            (after, after.remaining(Timestamp::from_second(now).unwrap()).as_secs())
        };
        let none = Failures::default();
        let (one, left) = wait(&[], &[100], none, 102);
        assert_eq!((one.count, left), (1, 8));
        let (three, left) = wait(&[], &[130, 120], one, 130);
        assert_eq!((three.count, left), (3, 40));
        assert_eq!(wait(&[], &[], three, 140).1, 30);
        assert_eq!(wait(&[131], &[], three, 140), (none, 0), "a success");
        let (some, left) = wait(&[125], &[120, 130, 135], three, 140);
        assert_eq!((some.count, left), (2, 15), "only failures after the success count");
        let many = Failures { count: 40, last: Timestamp::from_second(100).ok() };
        assert_eq!(wait(&[], &[], many, 100).1, 600, "ten minutes at most");
        assert_eq!(wait(&[], &[], many, 900).1, 0);
    }
}
