//! Events about objects, as `kubectl describe` shows them.

use crate::{Client, Object};

/// `Normal` or `Warning`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// As it should be.
    Normal,
    /// Not as it should be.
    Warning,
}

/// Writes core/v1 Events in the background. Repeated ones become one with a count, similar ones are aggregated and too
/// many are dropped, as client-go's event correlator does. Cheap to clone.
#[derive(Clone)]
pub struct Recorder {}

#[allow(unused_variables)]
impl Recorder {
    /// A recorder for this component (`default-scheduler`, `kubelet`, `deployment-controller`) on this host (a node's
    /// name, else empty).
    pub fn new(client: &Client, component: &str, host: &str) -> Self {
        unimplemented!()
    }
    /// Records an event about an object; never blocks.
    pub fn event<K: Object>(&self, object: &K, kind: Kind, reason: &str, message: impl Into<String>) {
        unimplemented!()
    }
    /// The same about a part of an object: `spec.containers{web}`.
    pub fn event_at<K: Object>(&self, object: &K, field: &str, kind: Kind, reason: &str, message: impl Into<String>) {
        unimplemented!()
    }
}
