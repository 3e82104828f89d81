//! A control loop: changes in caches become keys, a worker reconciles each.

use std::{fmt, time::Duration};

use crate::queue::Queue;

/// What a reconcile asks for afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing until the next change.
    Done,
    /// Another look after a while.
    After(Duration),
}

/// A namespace (empty for cluster-scoped objects) and a name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() { f.write_str(&self.name) } else { write!(f, "{}/{}", self.namespace, self.name) }
    }
}

impl Key {
    /// An object's key.
    pub fn of<K: crate::Object>(object: &K) -> Self {
        let meta = object.metadata();
        Self { namespace: meta.namespace.clone().unwrap_or_default(), name: meta.name.clone().unwrap_or_default() }
    }
}

/// Runs reconciles. Usage: make the caches, make the queue (`Queue<Key>`), let each cache's `on_change` add keys, then
/// `Controller::new("deployment", queue).run(5, |key| …)`.
pub struct Controller {
    _private: (),
}

#[allow(unused_variables)]
impl Controller {
    /// A loop over this queue; `name` shows in logs and metrics.
    pub fn new(name: &'static str, queue: Queue<Key>) -> Self {
        unimplemented!()
    }
    /// Works until dropped: `workers` keys at a time. A failed key comes back after its back-off and is logged (conflicts
    /// at debug level: they are ordinary).
    pub async fn run<F, Fut>(self, workers: usize, reconcile: F)
    where
        F: Fn(Key) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Action, crate::Error>> + Send + 'static,
    {
        unimplemented!()
    }
}
