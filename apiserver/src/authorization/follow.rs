//! Keeps the rules, and which pods are on which node, in step with the local store. There is no task: whoever asks first
//! after a change makes the rules anew, or reads on in the watch history, so that nothing has to be started, stopped or
//! waited for.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use arc_swap::ArcSwap;
use k8s_openapi::api::core::v1::Pod;
use kubelab_store::{Change, Cursor, Entry, Error, Event, Key, Revision, Scope, State, Store, Topic};
use serde::de::DeserializeOwned;

use super::{
    node::Cluster,
    rules::{Policy, Rules},
};

const CLUSTER_ROLES: &str = "rbac.authorization.k8s.io/clusterroles";
const CLUSTER_ROLE_BINDINGS: &str = "rbac.authorization.k8s.io/clusterrolebindings";
const ROLES: &str = "rbac.authorization.k8s.io/roles";
const ROLE_BINDINGS: &str = "rbac.authorization.k8s.io/rolebindings";
const POLICY: [&str; 4] = [CLUSTER_ROLES, CLUSTER_ROLE_BINDINGS, ROLES, ROLE_BINDINGS];
const PODS: &str = "core/pods";

/// What decisions are made from.
pub struct Follower {
    store: Store,
    /// The rules, and the revision of the roles and bindings that they show.
    rules: ArcSwap<(Revision, Arc<Rules>)>,
    place: Mutex<Option<Place>>,
}

/// How far the history of the pods was read, and what is known of nodes.
struct Place {
    pods: Cursor,
    nodes: Nodes,
}

/// The pods of each node, by `namespace/name`.
#[derive(Debug, Default)]
struct Nodes(HashMap<Arc<str>, BTreeSet<Arc<str>>>);

impl Nodes {
    fn of(state: &State) -> Self {
        let mut nodes = Self::default();
        for (key, entry) in state.range(PODS, "", None) {
            nodes.add(&key.name, entry);
        }
        nodes
    }

    fn add(&mut self, pod: &Arc<str>, entry: &Entry) {
        if let Some(node) = &entry.index {
            self.0.entry(Arc::clone(node)).or_default().insert(Arc::clone(pod));
        }
    }

    fn remove(&mut self, pod: &str, entry: &Entry) {
        let Some(node) = &entry.index else { return };
        if let Some(pods) = self.0.get_mut(node) {
            pods.remove(pod);
            if pods.is_empty() {
                self.0.remove(node);
            }
        }
    }

    fn apply(&mut self, event: &Event) {
        let pod = &event.key.name;
        match &event.change {
            Change::Put { after, before } => {
                if before.as_ref().map(|before| &before.index) != Some(&after.index) {
                    before.iter().for_each(|before| self.remove(pod, before));
                    self.add(pod, after);
                }
            }
            Change::Delete { before, .. } => self.remove(pod, before),
        }
    }
}

impl Place {
    fn read_on(&mut self) -> Result<(), Error> {
        loop {
            let batch = self.pods.poll()?;
            if batch.events.is_empty() {
                return Ok(());
            }
            batch.events.iter().for_each(|event| self.nodes.apply(event));
        }
    }
}

impl Follower {
    /// Nothing is read before the first question.
    pub fn new(store: Store) -> Self {
        Self { store, rules: ArcSwap::default(), place: Mutex::new(None) }
    }

    /// The rules as of now.
    pub fn rules(&self) -> Arc<Rules> {
        let state = self.store.local();
        let touched = POLICY.map(|topic| state.touched(topic)).into_iter().fold(0, Revision::max);
        let known = self.rules.load();
        if known.0 >= touched {
            return Arc::clone(&known.1);
        }
        drop(known);
        let rules = Arc::new(Rules::new(policy_of(&state)));
        // What others may have made of a newer state stays.
        self.rules.rcu(|known| if known.0 >= touched { Arc::clone(known) } else { Arc::new((touched, rules.clone())) });
        rules
    }

    /// Reads on to the present.
    fn caught_up(&self) -> MutexGuard<'_, Option<Place>> {
        let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        let caught_up = match place.as_mut() {
            Some(place) if place.pods.revision() >= self.store.local().touched(PODS) => Ok(()),
            Some(place) => place.read_on(),
            None => Err(Error::Compacted { asked: 0, oldest: 0 }),
        };
        // Where the history does not reach back far enough, all begins anew.
        let caught_up = match caught_up {
            Err(Error::Compacted { .. }) => self.begin().map(|begun| *place = Some(begun)),
            other => other,
        };
        if let Err(error) = caught_up {
            tracing::warn!(%error, "authorization goes by the nodes' pods of before");
        }
        place
    }

    fn begin(&self) -> Result<Place, Error> {
        let state = self.store.local();
        let scope = Scope { topic: Topic::from(PODS), prefix: Arc::from(""), index: None };
        Ok(Place { pods: self.store.watch(scope, state.revision())?, nodes: Nodes::of(&state) })
    }

    fn get<T: DeserializeOwned>(&self, topic: &str, name: &str) -> Option<T> {
        decode(name, self.store.local().get(&Key::new(topic, name))?)
    }
}

fn policy_of(state: &State) -> Policy {
    Policy {
        cluster_roles: all(state, CLUSTER_ROLES),
        cluster_role_bindings: all(state, CLUSTER_ROLE_BINDINGS),
        roles: all(state, ROLES),
        role_bindings: all(state, ROLE_BINDINGS),
    }
}

fn all<T: DeserializeOwned>(state: &State, topic: &str) -> Vec<T> {
    state.range(topic, "", None).filter_map(|(key, entry)| decode(&key.name, entry)).collect()
}

/// What is stored was validated; what cannot be read all the same gives nobody a right.
fn decode<T: DeserializeOwned>(name: &str, entry: &Entry) -> Option<T> {
    serde_json::from_slice(&entry.value)
        .inspect_err(|error| tracing::error!(%error, name, "a stored object cannot be decoded"))
        .ok()
}

impl Cluster for Follower {
    fn pods(&self, node: &str, namespace: &str) -> Vec<Pod> {
        let place = self.caught_up();
        let pods = place.as_ref().and_then(|place| place.nodes.0.get(node));
        let prefix = format!("{namespace}/");
        let here = pods.into_iter().flatten().filter(|name| name.starts_with(&prefix));
        let names: Vec<Arc<str>> = here.cloned().collect();
        drop(place);
        names.iter().filter_map(|name| self.get(PODS, name)).collect()
    }

    fn has_pod(&self, node: &str, namespace: &str, name: &str) -> bool {
        let place = self.caught_up();
        let pods = place.as_ref().and_then(|place| place.nodes.0.get(node));
        pods.is_some_and(|pods| pods.contains(&*format!("{namespace}/{name}")))
    }

    fn claim_of_volume(&self, name: &str) -> Option<(String, String)> {
        let volume: k8s_openapi::api::core::v1::PersistentVolume = self.get("core/persistentvolumes", name)?;
        let claim = volume.spec?.claim_ref?;
        Some((claim.namespace?, claim.name?))
    }

    fn node_of_attachment(&self, name: &str) -> Option<String> {
        let attachment: k8s_openapi::api::storage::v1::VolumeAttachment =
            self.get("storage.k8s.io/volumeattachments", name)?;
        Some(attachment.spec.node_name)
    }
}

#[cfg(test)]
mod tests;
