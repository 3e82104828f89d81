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

use kubelab_api::Resource;
use kubelab_proto::objects::{Target, WatchRequest};
use serde::de::DeserializeOwned;
use tokio::{sync::watch, task::AbortHandle};

use self::index::{Index, Seen};
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

/// What a stream is kept in: the object that a [`Cache`] shares among its clones, or something that keeps less of each object.
pub trait Mirror: Send + Sync + 'static {
    /// What it reads of an object.
    type Object: DeserializeOwned + Send;
    /// The objects that a full state has shown so far.
    type Seen: Default + Send;

    /// A full state shows this object.
    fn see(seen: &mut Self::Seen, object: &Self::Object);
    /// An object is now like this.
    fn put(&self, object: Self::Object, cause: Cause);
    /// An object is gone, having last been like this.
    fn delete(&self, object: Self::Object, cause: Cause);
    /// A full state has ended: what it did not show is gone.
    fn keep(&self, seen: &Self::Seen, cause: Cause);
}

/// Keeps a mirror of a resource that is known only at run time, for as long as what is returned lives.
pub fn follow<M: Mirror>(client: &Client, resource: &Resource, mirror: Arc<M>) -> Stream {
    let request = WatchRequest { target: Some(dynamic_target(resource, "", "")), ..WatchRequest::default() };
    Stream::start(client, request, mirror)
}

/// A stream that keeps a mirror; it ends when this is dropped.
pub struct Stream {
    task: AbortHandle,
    synced: watch::Receiver<bool>,
}

impl Stream {
    fn start<M: Mirror>(client: &Client, request: WatchRequest, mirror: Arc<M>) -> Self {
        let (sender, synced) = watch::channel(false);
        let task = tokio::spawn(stream::follow(client.clone(), request, mirror, sender));
        Self { task: task.abort_handle(), synced }
    }

    /// Waits until the first full state is here.
    pub async fn synced(&self) {
        // The sender lives in the task, which this keeps: waiting cannot fail but while the process ends.
        let _ = self.synced.clone().wait_for(|synced| *synced).await;
    }

    /// The first full state is here.
    pub fn is_synced(&self) -> bool {
        *self.synced.borrow()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Shared<K> {
    index: RwLock<Index<K>>,
    /// Held while a change is applied and handled, so that a new handler sees each object exactly once.
    handlers: Mutex<Vec<Handler<K>>>,
    /// Drops what nobody reads.
    transform: fn(&mut K),
}

/// A mirror. Cheap to clone; the stream ends with its last clone (a handler that keeps a clone keeps the stream).
pub struct Cache<K> {
    shared: Arc<Shared<K>>,
    stream: Arc<Stream>,
}

impl<K> Clone for Cache<K> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone(), stream: self.stream.clone() }
    }
}

impl<K: Object> Cache<K> {
    /// Starts mirroring. Reconnects and resumes by itself, for as long as a clone lives.
    pub fn start(client: &Client, scope: Scope) -> Self {
        Self::start_with(client, scope, |_| {})
    }

    /// The same, of objects from which `transform` drops what nobody reads here. Upstream: an informer's `SetTransform`.
    pub fn start_with(client: &Client, scope: Scope, transform: fn(&mut K)) -> Self {
        let target = target::<K>(&scope.namespace, "", "");
        Self::start_target(client, target, scope, transform)
    }
}

impl Cache<Partial> {
    /// Starts mirroring the metadata of a resource known only at run time.
    pub fn start_dynamic(client: &Client, resource: &Resource, scope: Scope) -> Self {
        let target = dynamic_target(resource, &scope.namespace, "");
        Self::start_target(client, target, scope, |_| {})
    }
}

impl<K: Mirrored> Cache<K> {
    fn start_target(client: &Client, target: Target, scope: Scope, transform: fn(&mut K)) -> Self {
        let shared = Arc::new(Shared::new(transform));
        let request = WatchRequest {
            target: Some(target),
            label_selector: scope.labels,
            field_selector: scope.fields,
            after: None,
        };
        let stream = Stream::start(client, request, shared.clone());
        Self { shared, stream: Arc::new(stream) }
    }

    /// The stream that keeps it.
    pub fn stream(&self) -> Arc<Stream> {
        self.stream.clone()
    }

    /// Waits until the first full state is here.
    pub async fn synced(&self) {
        self.stream.synced().await;
    }

    /// The first full state is here.
    pub fn is_synced(&self) -> bool {
        self.stream.is_synced()
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

impl<K> Shared<K> {
    fn new(transform: fn(&mut K)) -> Self {
        Self { index: RwLock::default(), handlers: Mutex::default(), transform }
    }

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

impl<K: Mirrored> Mirror for Shared<K> {
    type Object = K;
    type Seen = Seen;

    fn see(seen: &mut Seen, object: &K) {
        seen.add(object.meta());
    }

    fn put(&self, mut object: K, cause: Cause) {
        (self.transform)(&mut object);
        self.apply(cause, |index| index.put(object));
    }

    fn delete(&self, mut object: K, cause: Cause) {
        (self.transform)(&mut object);
        self.apply(cause, |index| index.delete(object));
    }

    fn keep(&self, seen: &Seen, cause: Cause) {
        self.apply(cause, |index| index.keep(seen));
    }
}

fn cause_of<K: Mirrored>(object: &K) -> Cause {
    let revision = object.meta().resource_version.as_deref().and_then(|version| version.parse().ok());
    Cause { revision: revision.unwrap_or_default(), trace_id: String::new() }
}
