//! How long failed pods are kept before they are replaced: a node that refuses them would otherwise get pods without end.
//! Source: `failedPodsBackoff` in `pkg/controller/daemon`, `k8s.io/client-go/util/flowcontrol`.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use kubelab_client::clock::Instant;

/// Source: `startDaemonSetController` in `cmd/kube-controller-manager`.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(15 * 60);
/// Past this many nodes with failures, those that are quiet again are forgotten at once.
const REMEMBERED: usize = 10_000;

/// A set, by uid, its generation, and a node.
pub type Place = (String, i64, String);

/// When pods failed last.
#[derive(Default)]
pub struct Failures {
    places: Mutex<HashMap<Place, Failure>>,
}

#[derive(Clone, Copy)]
struct Failure {
    wait: Duration,
    at: Instant,
}

impl Failures {
    /// A pod has failed here. How long it must be kept yet; `None` if it may be replaced now, and the next one is kept for
    /// twice as long.
    pub fn wait(&self, place: Place, now: Instant) -> Option<Duration> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if places.len() >= REMEMBERED {
            places.retain(|_, failure| now.duration_since(failure.at) <= 2 * LONGEST);
        }
        let quiet = |failure: &Failure| now.duration_since(failure.at) > 2 * LONGEST;
        let next = match places.get(&place).filter(|failure| !quiet(failure)) {
            None => FIRST,
            Some(failure) if now.duration_since(failure.at) < failure.wait => {
                return Some(failure.wait - now.duration_since(failure.at));
            }
            Some(failure) => (2 * failure.wait).min(LONGEST),
        };
        places.insert(place, Failure { wait: next, at: now });
        None
    }

    /// A set is gone.
    pub fn forget(&self, uid: &str) {
        self.places.lock().unwrap_or_else(PoisonError::into_inner).retain(|(of, _, _), _| of != uid);
    }
}

#[cfg(test)]
mod tests {
    use kubelab_client::clock;

    use super::*;

    #[test]
    fn waits_double_until_all_is_quiet() {
        let (failures, start) = (Failures::default(), clock::instant());
        let wait = |seconds: u64, node: &str| {
            failures.wait(("u".to_owned(), 1, node.to_owned()), start + Duration::from_secs(seconds))
        };
        assert_eq!(wait(0, "node-1"), None, "the first failure");
        assert_eq!(wait(0, "node-1"), Some(Duration::from_secs(1)));
        assert_eq!(wait(0, "node-2"), None, "another node");
        assert_eq!(wait(1, "node-1"), None);
        assert_eq!(wait(2, "node-1"), Some(Duration::from_secs(1)), "two seconds now");
        let mut at = 3;
        for _ in 0..20 {
            assert_eq!(wait(at, "node-1"), None);
            at += 15 * 60;
        }
        assert_eq!(wait(at - 1, "node-1"), Some(Duration::from_secs(1)), "never longer than a quarter of an hour");
        assert_eq!(wait(at + 31 * 60, "node-1"), None);
        assert_eq!(wait(at + 31 * 60, "node-1"), Some(FIRST), "it begins anew");
        failures.forget("u");
        assert_eq!(wait(at + 31 * 60, "node-1"), None);
    }
}
