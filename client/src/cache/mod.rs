//! A mirror of a resource, kept by one list+watch stream.
//!
//! ```text
//! apiserver ── Objects.Watch ──▶ stream ──▶ index ──▶ handlers ──▶ queues
//!                                (resume,    (what     (in order, each under
//!                                 resync)     is)       its event's Cause)
//! ```
//!
//! Between events of one object the handlers see every state that the stream delivers, in order. After a resync (the
//! stream's revision was forgotten) they see the difference, as if the states between had not been.

mod index;
mod stream;

use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use kubelab_proto::objects::{Target, WatchRequest};
use tokio::{sync::watch, task::AbortHandle};

use self::index::Index;
use crate::{
    Cause, Client, Object,
    client::{dynamic_target, target},
    partial::{Mirrored, Partial},
};

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
#[derive(Debug)]
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

impl<K> Clone for Change<K> {
    fn clone(&self) -> Self {
        match self {
            Self::Added(object) => Self::Added(object.clone()),
            Self::Modified { old, new } => Self::Modified { old: old.clone(), new: new.clone() },
            Self::Deleted(object) => Self::Deleted(object.clone()),
        }
    }
}

impl<K> Change<K> {
    /// The object as it is now; as it last was, if it is gone.
    pub fn object(&self) -> &Arc<K> {
        match self {
            Self::Added(object) | Self::Modified { new: object, .. } | Self::Deleted(object) => object,
        }
    }
}

type Handler<K> = Box<dyn Fn(&Change<K>) + Send + Sync>;

struct Shared<K> {
    index: RwLock<Index<K>>,
    /// Held while a change is applied and handled, so that a new handler sees each object exactly once.
    handlers: Mutex<Vec<Handler<K>>>,
    synced: watch::Sender<bool>,
}

/// A mirror. Cheap to clone; the stream ends with its last clone (a handler that keeps a clone keeps the stream).
pub struct Cache<K> {
    shared: Arc<Shared<K>>,
    _stream: Arc<StopOnDrop>,
}

impl<K> Clone for Cache<K> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone(), _stream: self._stream.clone() }
    }
}

struct StopOnDrop(AbortHandle);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl<K: Object> Cache<K> {
    /// Starts mirroring. Reconnects and resumes by itself, for as long as a clone lives.
    pub fn start(client: &Client, scope: Scope) -> Self {
        let target = target::<K>(&scope.namespace, "", "");
        Self::start_target(client, target, scope)
    }
}

impl Cache<Partial> {
    /// Starts mirroring the metadata of a resource known only at run time.
    pub fn start_dynamic(client: &Client, resource: &kubelab_api::Resource, scope: Scope) -> Self {
        let target = dynamic_target(resource, &scope.namespace, "");
        Self::start_target(client, target, scope)
    }
}

impl<K: Mirrored> Cache<K> {
    fn start_target(client: &Client, target: Target, scope: Scope) -> Self {
        let shared = Arc::new(Shared::default());
        let request = WatchRequest {
            target: Some(target),
            label_selector: scope.labels,
            field_selector: scope.fields,
            after: None,
        };
        let task = tokio::spawn(stream::follow(client.clone(), request, shared.clone()));
        Self { shared, _stream: Arc::new(StopOnDrop(task.abort_handle())) }
    }

    /// Waits until the first full state is here.
    pub async fn synced(&self) {
        // The sender lives in `shared`, which this borrows: waiting cannot fail.
        let _ = self.shared.synced.subscribe().wait_for(|synced| *synced).await;
    }

    /// The first full state is here.
    pub fn is_synced(&self) -> bool {
        *self.shared.synced.borrow()
    }

    /// The object with this namespace (empty for cluster-scoped) and name.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        self.shared.read().get(namespace, name).cloned()
    }

    /// All objects, in no order.
    pub fn list(&self) -> Vec<Arc<K>> {
        self.shared.read().iter().cloned().collect()
    }

    /// All objects of a namespace, in no order.
    pub fn list_in(&self, namespace: &str) -> Vec<Arc<K>> {
        self.shared.read().iter_in(namespace).cloned().collect()
    }

    /// The objects whose controlling owner has this uid (from an index).
    pub fn controlled_by(&self, uid: &str) -> Vec<Arc<K>> {
        self.shared.read().controlled_by(uid).cloned().collect()
    }

    /// Calls `handler` for each change, in order, on the cache's own task: it must be quick and must not block. What is
    /// already here comes first, as `Added`, before this returns. The handler runs with [`crate::Cause`] set to the
    /// event's revision. It must not add handlers to this cache.
    pub fn on_change(&self, handler: impl Fn(&Change<K>) + Send + Sync + 'static) {
        let mut handlers = self.shared.handlers.lock().unwrap_or_else(PoisonError::into_inner);
        for object in self.list() {
            cause_of(&*object).sync_scope(|| handler(&Change::Added(object)));
        }
        handlers.push(Box::new(handler));
    }
}

impl<K> Default for Shared<K> {
    fn default() -> Self {
        Self { index: RwLock::default(), handlers: Mutex::default(), synced: watch::Sender::new(false) }
    }
}

impl<K> Shared<K> {
    fn read(&self) -> RwLockReadGuard<'_, Index<K>> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Applies a change to the index, then tells the handlers: they find the index as it is after the change.
    fn apply(&self, cause: Cause, change: impl FnOnce(&mut Index<K>) -> Vec<Change<K>>) {
        let handlers = self.handlers.lock().unwrap_or_else(PoisonError::into_inner);
        let changes = change(&mut self.index.write().unwrap_or_else(PoisonError::into_inner));
        cause.sync_scope(|| {
            for change in &changes {
                handlers.iter().for_each(|handler| handler(change));
            }
        });
    }
}

fn cause_of<K: Mirrored>(object: &K) -> Cause {
    let revision = object.meta().resource_version.as_deref().and_then(|version| version.parse().ok());
    Cause { revision: revision.unwrap_or_default(), trace_id: String::new() }
}
