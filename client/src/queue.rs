//! Keys that wait for a worker.

use std::{hash::Hash, time::Duration};

use crate::Cause;

/// A work queue with client-go's promises: a key waits once however often it is added, is never worked on twice at the
/// same time, and comes back later after failures (5 ms doubling to 1000 s, as client-go's default limiter). It keeps the
/// first cause that a waiting key was added with. Cheap to clone.
#[derive(Clone)]
pub struct Queue<T> {
    _key: std::marker::PhantomData<T>,
}

#[allow(unused_variables)]
impl<T: Hash + Eq + Clone + Send + 'static> Queue<T> {
    /// An empty queue; the name shows in metrics.
    pub fn new(name: &str) -> Self {
        unimplemented!()
    }
    /// Adds a key, with the running task's cause.
    pub fn add(&self, key: T) {
        unimplemented!()
    }
    /// Adds a key after a while.
    pub fn add_after(&self, key: T, delay: Duration) {
        unimplemented!()
    }
    /// Adds a key after its back-off, which this failure lengthens.
    pub fn add_failed(&self, key: T) {
        unimplemented!()
    }
    /// Forgets a key's failures.
    pub fn forget(&self, key: &T) {
        unimplemented!()
    }
    /// How often a key failed in a row.
    pub fn failures(&self, key: &T) -> u32 {
        unimplemented!()
    }
    /// The next key and why it waits; waits for one. Call [`Queue::done`] with it afterwards.
    pub async fn next(&self) -> (T, Cause) {
        unimplemented!()
    }
    /// The worker is done with this key; if it was added meanwhile, it waits again.
    pub fn done(&self, key: &T) {
        unimplemented!()
    }
}
