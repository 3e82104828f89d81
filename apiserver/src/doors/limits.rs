//! How many requests may be under way at once, over both doors and whoever asks; REST requests are also seated by
//! [`fairness`](crate::fairness). Source: `--max-requests-inflight` and `--max-mutating-requests-inflight`; watches do
//! not count.

use std::time::Duration;

use kubelab_api::Error;
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};

use crate::corridor::Verb;

const READING: usize = 400;
const MUTATING: usize = 200;

/// How long a component's request waits for a place. Source: `RequestWaitLimit`, a quarter of the request's timeout.
const WAIT: Duration = Duration::from_secs(15);

/// What callers are told when no place is left.
pub const TOO_MANY: &str = "Too many requests, please try again later.";

/// The places for requests that are under way.
pub struct Limits {
    reading: Semaphore,
    mutating: Semaphore,
}

impl Default for Limits {
    fn default() -> Self {
        Self { reading: Semaphore::new(READING), mutating: Semaphore::new(MUTATING) }
    }
}

impl Limits {
    /// A place for a request, unless all are taken. A watch needs none.
    pub fn enter(&self, verb: Verb) -> Result<Option<SemaphorePermit<'_>>, Error> {
        let Some(places) = self.places(verb) else { return Ok(None) };
        places.try_acquire().map(Some).map_err(|_| Error::too_many_requests(TOO_MANY, 1))
    }

    /// A place for a component's request, once there is one: a thousand kubelets that are told to come again in a second
    /// would do so all at once. How many can wait is bounded by the streams of their connections.
    pub async fn wait(&self, verb: Verb) -> Result<Option<SemaphorePermit<'_>>, Error> {
        let Some(places) = self.places(verb) else { return Ok(None) };
        match timeout(WAIT, places.acquire()).await {
            Ok(Ok(place)) => Ok(Some(place)),
            _ => Err(Error::too_many_requests(TOO_MANY, 1)),
        }
    }

    fn places(&self, verb: Verb) -> Option<&Semaphore> {
        match verb {
            Verb::Watch => None,
            Verb::Get | Verb::List => Some(&self.reading),
            Verb::Create | Verb::Update | Verb::Patch | Verb::Delete | Verb::DeleteCollection => Some(&self.mutating),
        }
    }

    /// How many are reading and mutating now.
    pub fn under_way(&self) -> (usize, usize) {
        (READING - self.reading.available_permits(), MUTATING - self.mutating.available_permits())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn components_wait_for_their_turn() {
        let limits = Limits::default();
        let mut held: Vec<_> = (0..MUTATING).map(|_| limits.enter(Verb::Create).unwrap()).collect();
        let (entered, ()) = tokio::join!(limits.wait(Verb::Update), async { drop(held.pop()) });
        assert!(entered.unwrap().is_some());
        held.push(limits.enter(Verb::Create).unwrap());
        assert_eq!(limits.wait(Verb::Update).await.unwrap_err().code(), 429, "but not for ever");
    }

    #[test]
    fn past_the_limit_callers_are_asked_to_wait() {
        let limits = Limits::default();
        let held: Vec<_> = (0..MUTATING).map(|_| limits.enter(Verb::Create).unwrap()).collect();
        let error = limits.enter(Verb::Patch).unwrap_err();
        assert_eq!((error.code(), error.details.unwrap().retry_after_seconds), (429, Some(1)));
        assert!(limits.enter(Verb::List).is_ok());
        assert!(limits.enter(Verb::Watch).unwrap().is_none());
        drop(held);
        assert_eq!(limits.under_way(), (0, 0));
        assert!(limits.enter(Verb::Create).is_ok());
    }
}
