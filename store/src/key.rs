//! Where a value lives.

use std::{cmp::Ordering, sync::Arc};

/// A family of keys that is listed and watched together: `apps/deployments`.
pub type Topic = Arc<str>;

/// A topic and a name within it: `apps/deployments`, `default/web`. Ordered by topic, then name, so that a list of a
/// topic, or of a prefix of its names, is one range.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// The family.
    pub topic: Topic,
    /// The name within the family, `namespace/name` or `name`.
    pub name: Arc<str>,
}

impl Key {
    /// A key from its two parts.
    pub fn new(topic: impl Into<Topic>, name: impl Into<Arc<str>>) -> Self {
        Self { topic: topic.into(), name: name.into() }
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        // Within the store a topic is one text: most comparisons need not look at it.
        let topics =
            if Arc::ptr_eq(&self.topic, &other.topic) { Ordering::Equal } else { self.topic.cmp(&other.topic) };
        topics.then_with(|| self.name.cmp(&other.name))
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.topic, self.name)
    }
}
