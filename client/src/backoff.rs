//! How long to wait before trying again.

use std::time::Duration;

/// Doubles from `first` to `most`, with up to a fifth of jitter so that peers do not retry in step.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    first: Duration,
    most: Duration,
    next: Duration,
}

impl Backoff {
    pub(crate) fn new(first: Duration, most: Duration) -> Self {
        Self { first, most, next: first }
    }

    /// The next wait.
    pub(crate) fn step(&mut self) -> Duration {
        let wait = self.next;
        self.next = (wait * 2).min(self.most);
        wait.mul_f64(rand::random_range(0.8..=1.2))
    }

    /// All is well again.
    pub(crate) fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_its_bound() {
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_millis(150));
        for expected in [50.0, 100.0, 150.0, 150.0] {
            let wait = backoff.step().as_secs_f64() * 1e3;
            assert!((expected * 0.79..=expected * 1.21).contains(&wait), "{wait} ms instead of about {expected} ms");
        }
        backoff.reset();
        assert!(backoff.step() < Duration::from_millis(61));
    }
}
