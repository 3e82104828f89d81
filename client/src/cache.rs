//! A mirror of a resource, kept by one list+watch stream.

use std::sync::Arc;

use crate::{Client, Object};

/// Which part of a resource is mirrored.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// Only this namespace; empty for all.
    pub namespace: String,
    /// A label selector; empty for all.
    pub labels: String,
    /// A field selector; empty for all. `spec.nodeName=node-1` on pods is served from an index.
    pub fields: String,
}

/// What happened to an object. `Synced` objects of the first list arrive as `Added`.
#[derive(Clone, Debug)]
pub enum Change<K> {
    /// It is new here.
    Added(Arc<K>),
    /// It changed.
    Modified {
        /// As it was.
        old: Arc<K>,
        /// As it is.
        new: Arc<K>,
    },
    /// It is gone; its last known state.
    Deleted(Arc<K>),
}

/// A mirror. Cheap to clone; the stream ends with its last clone.
#[derive(Clone)]
pub struct Cache<K> {
    _kind: std::marker::PhantomData<K>,
}

#[allow(unused_variables)]
impl<K: Object> Cache<K> {
    /// Starts mirroring. Reconnects and resumes by itself, for as long as a clone lives.
    pub fn start(client: &Client, scope: Scope) -> Self {
        unimplemented!()
    }
    /// Waits until the first full state is here.
    pub async fn synced(&self) {
        unimplemented!()
    }
    /// The object with this namespace (empty for cluster-scoped) and name.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        unimplemented!()
    }
    /// All objects, in no order.
    pub fn list(&self) -> Vec<Arc<K>> {
        unimplemented!()
    }
    /// All objects of a namespace, in no order.
    pub fn list_in(&self, namespace: &str) -> Vec<Arc<K>> {
        unimplemented!()
    }
    /// The objects whose controlling owner has this uid (from an index).
    pub fn controlled_by(&self, uid: &str) -> Vec<Arc<K>> {
        unimplemented!()
    }
    /// Calls `handler` for each change, in order, on the cache's own task: it must be quick and must not block. What is
    /// already here comes first, as `Added`. The handler runs with [`crate::Cause`] set to the event's revision.
    pub fn on_change(&self, handler: impl Fn(&Change<K>) + Send + Sync + 'static) {
        unimplemented!()
    }
}
