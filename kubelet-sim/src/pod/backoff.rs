//! How long a container waits before its next start, and an image before its next pull.
//! Source of the rules: client-go's `util/flowcontrol.Backoff` as the kubelet uses it.

use std::time::Duration;

use jiff::Timestamp;

/// A wait that doubles with each failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    delay: Duration,
    updated: Timestamp,
}

impl Backoff {
    /// The first wait.
    pub const INITIAL: Duration = Duration::from_secs(10);
    /// The longest wait.
    pub const MAX: Duration = Duration::from_secs(300);
    /// Who fails no earlier than this after the last failure starts again with the first wait.
    pub const FORGOTTEN_AFTER: Duration = Duration::from_secs(600);

    /// The state after one more failure, which happened at `failed` and is handled `now`.
    pub fn next(previous: Option<&Self>, failed: Timestamp, now: Timestamp) -> Self {
        let delay = match previous {
            Some(previous) if !previous.is_forgotten(failed) => (previous.delay * 2).min(Self::MAX),
            _ => Self::INITIAL,
        };
        Self { delay, updated: now }
    }

    /// Until when to wait because of a failure at `failed`.
    pub fn until(&self, failed: Timestamp) -> Timestamp {
        if self.is_forgotten(failed) { failed } else { failed + self.delay }
    }

    /// How long the wait is.
    pub fn delay(&self) -> Duration {
        self.delay
    }

    fn is_forgotten(&self, failed: Timestamp) -> bool {
        failed > self.updated + Self::FORGOTTEN_AFTER
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn a_container_that_keeps_crashing_waits_longer_each_time() {
        // It runs for one second each time. As upstream, the first restart does not wait.
        let mut now = at(1);
        let mut backoff = Backoff::next(None, now, now);
        let mut waits = Vec::new();
        for _ in 0..7 {
            let failed = now + Duration::from_secs(1);
            now = backoff.until(failed);
            waits.push(now.duration_since(failed).as_secs());
            backoff = Backoff::next(Some(&backoff), failed, now);
        }
        assert_eq!(waits, [10, 20, 40, 80, 160, 300, 300]);
    }

    #[test]
    fn ten_good_minutes_are_enough_to_be_forgiven() {
        let mut backoff = Backoff::next(None, at(0), at(0));
        backoff = Backoff::next(Some(&backoff), at(10), at(10));
        for (failed, wait) in [(10 + 599, 20), (10 + 600, 20), (10 + 601, 0)] {
            assert_eq!(backoff.until(at(failed)), at(failed + wait), "{failed}");
        }
        assert_eq!(Backoff::next(Some(&backoff), at(611), at(611)).delay(), Backoff::INITIAL);
    }
}
