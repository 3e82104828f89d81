//! What every loop is given: the way to the apiserver, the shared mirrors, the flags.

use std::{
    any::{Any, TypeId},
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use k8s_openapi::api::core::v1::Pod;
use kubelab_api::pod;
use kubelab_client::{Cache, Client, Object, Recorder, Scope};

use crate::Options;

/// What every loop is given. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    /// For writes, and for reads that must be current.
    pub client: Client,
    /// For all other reads.
    pub caches: Caches,
    /// The flags of this process.
    pub options: Arc<Options>,
}

impl Context {
    /// A context with no mirrors yet.
    pub fn new(client: Client, options: Options) -> Self {
        Self { caches: Caches::new(&client), client, options: Arc::new(options) }
    }

    /// A recorder of events for a component, named as upstream names the event's source.
    pub fn recorder(&self, component: &str) -> Recorder {
        Recorder::new(&self.client, component, "")
    }
}

/// The mirrors that the loops share: one stream per resource for the whole process, started when first asked for.
#[derive(Clone)]
pub struct Caches {
    client: Client,
    started: Arc<Mutex<HashMap<TypeId, Box<dyn Any + Send>>>>,
}

impl Caches {
    fn new(client: &Client) -> Self {
        Self { client: client.clone(), started: Arc::default() }
    }

    /// The mirror of all objects of a kind. Pods lack what only kubelets read, and must not be written back.
    pub fn of<K: Object>(&self) -> Cache<K> {
        let mut started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
        let any = started
            .entry(TypeId::of::<K>())
            .or_insert_with(|| Box::new(Cache::<K>::start_with(&self.client, Scope::default(), trim)));
        match any.downcast_ref::<Cache<K>>() {
            Some(cache) => cache.clone(),
            None => unreachable!("the entry's key is the type of its value"),
        }
    }
}

/// Most of what a large cluster has is pods, and most of a pod is of no interest to any loop.
fn trim<K: Object>(object: &mut K) {
    if let Some(pod) = (object as &mut dyn Any).downcast_mut::<Pod>() {
        pod::trim(pod);
    }
}
