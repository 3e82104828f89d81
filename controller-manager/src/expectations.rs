//! What a loop has asked for and its cache has not shown yet. While something is outstanding, the loop must not count what
//! the cache shows: it would create or delete the same thing twice. Source: `controller_utils.go` in Kubernetes.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use kubelab_client::{
    clock::{self, Instant},
    controller::Key,
};

/// After this long an expectation no longer holds a loop up: an event must have been missed.
/// Source: `ExpectationsTimeout`.
pub const TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// What is outstanding for each key of a loop.
#[derive(Default)]
pub struct Expectations {
    outstanding: Mutex<HashMap<Key, Outstanding>>,
}

struct Outstanding {
    creations: usize,
    deletions: HashSet<String>,
    since: Instant,
}

impl Expectations {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Outstanding>> {
        self.outstanding.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn expect(&self, key: &Key, creations: usize, deletions: HashSet<String>) {
        self.lock().insert(key.clone(), Outstanding { creations, deletions, since: clock::instant() });
    }

    /// `creations` objects are about to be created, and those with these uids to be deleted.
    pub fn expect_changes(&self, key: &Key, creations: usize, deletions: impl IntoIterator<Item = String>) {
        self.expect(key, creations, deletions.into_iter().collect());
    }

    /// `count` objects are about to be created.
    pub fn expect_creations(&self, key: &Key, count: usize) {
        self.expect(key, count, HashSet::new());
    }

    /// The objects with these uids are about to be deleted.
    pub fn expect_deletions(&self, key: &Key, uids: impl IntoIterator<Item = String>) {
        self.expect(key, 0, uids.into_iter().collect());
    }

    /// `count` creations were seen, or will never be.
    pub fn creations_observed(&self, key: &Key, count: usize) {
        if let Some(outstanding) = self.lock().get_mut(key) {
            outstanding.creations = outstanding.creations.saturating_sub(count);
        }
    }

    /// The deletion of this uid was seen, or will never be.
    pub fn deletion_observed(&self, key: &Key, uid: &str) {
        if let Some(outstanding) = self.lock().get_mut(key) {
            outstanding.deletions.remove(uid);
        }
    }

    /// Everything asked for has been seen, so the cache can be trusted.
    pub fn settled(&self, key: &Key) -> bool {
        self.lock().get(key).is_none_or(|outstanding| {
            (outstanding.creations == 0 && outstanding.deletions.is_empty()) || outstanding.since.elapsed() > TIMEOUT
        })
    }

    /// The key's object is gone.
    pub fn forget(&self, key: &Key) {
        self.lock().remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Key {
        Key { namespace: "default".into(), name: "web".into() }
    }

    #[test]
    fn a_key_settles_once_all_it_asked_for_was_seen() {
        let expectations = Expectations::default();
        assert!(expectations.settled(&key()), "nothing was asked for");

        expectations.expect_creations(&key(), 2);
        assert!(!expectations.settled(&key()));
        expectations.creations_observed(&key(), 1);
        assert!(!expectations.settled(&key()));
        expectations.creations_observed(&key(), 5);
        assert!(expectations.settled(&key()));

        expectations.expect_deletions(&key(), ["a".to_owned(), "b".to_owned()]);
        expectations.deletion_observed(&key(), "a");
        expectations.deletion_observed(&key(), "a");
        assert!(!expectations.settled(&key()), "the same deletion seen twice counts once");
        expectations.deletion_observed(&key(), "b");
        assert!(expectations.settled(&key()));
    }

    #[test]
    fn what_is_forgotten_holds_nothing_up() {
        let expectations = Expectations::default();
        expectations.expect_creations(&key(), 1);
        expectations.forget(&key());
        assert!(expectations.settled(&key()));
    }
}
