//! How many watch each resource.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

/// Those who watch, by group and plural name.
#[derive(Default)]
pub(super) struct Watchers(Mutex<HashMap<(String, String), Weak<()>>>);

impl Watchers {
    /// One more, until what is returned is dropped.
    pub fn add(&self, group: &str, resource: &str) -> Arc<()> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, watchers| watchers.strong_count() > 0);
        let place = all.entry((group.to_owned(), resource.to_owned())).or_default();
        place.upgrade().unwrap_or_else(|| {
            let first = Arc::new(());
            *place = Arc::downgrade(&first);
            first
        })
    }

    /// How many there are.
    pub fn of(&self, group: &str, resource: &str) -> usize {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(&(group.to_owned(), resource.to_owned())).map_or(0, Weak::strong_count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn watchers_are_counted_while_they_watch() {
        let watchers = Watchers::default();
        let (one, two) = (watchers.add("apps", "deployments"), watchers.add("apps", "deployments"));
        let other = watchers.add("", "pods");
        assert_eq!((watchers.of("apps", "deployments"), watchers.of("", "pods"), watchers.of("", "nodes")), (2, 1, 0));
        drop((one, other));
        assert_eq!((watchers.of("apps", "deployments"), watchers.of("", "pods")), (1, 0));
        drop(two);
        assert_eq!(watchers.of("apps", "deployments"), 0);
    }
}
