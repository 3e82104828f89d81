//! APIs that other servers answer for: an APIService that names a Service is passed on to what stands behind it.
//! Source: `k8s.io/kube-aggregator/pkg`.
//!
//! | file | what it is |
//! | --- | --- |
//! | [`register`] | keeps an APIService for each group and version that is served here, with upstream's [`priority`] |
//! | [`remote`] | one APIService of another server: its place, its TLS, its connection |
//! | [`resolve`] | where a Service's servers are; pure |
//! | [`reach`] | the way to those in pods |
//! | [`availability`] | asks each such server whether it lives, and writes the answer into the APIService's status |
//! | [`proxy`] | passes a request on, in the name of who asks |
//! | [`merge`] | what the others serve, among what is served here |
//! | [`swagger`] | their OpenAPI v2 documents, within the one of this server; pure |
//!
//! ```text
//! request ─► rest::serve ─► Aggregator::find ─┬─ none: served here
//!                                             └─ Remote ─► authorization ─► proxy ─► the extension server
//! APIServices in the store ─► Aggregator::run ─► View (read without a lock) and one availability task for each remote
//! ```
//!
//! Invariant: nobody waits for another server to find out that a request is for this one.

pub mod availability;
pub mod merge;
pub mod priority;
pub mod proxy;
pub mod reach;
pub mod register;
pub mod remote;
pub mod resolve;
pub mod swagger;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use kubelab_store::{Error, Scope, State, Store};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{nodes::Nodes, registry::Registry};
use reach::Reach;
use remote::{Identity, Remote};

/// The topic of APIServices.
pub(crate) const TOPIC: &str = "apiregistration.k8s.io/apiservices";

/// So many other servers are looked after.
const REMOTES: usize = 256;

/// How often the served groups are compared with the APIServices; a change of either is noticed at once.
const EVERY: Duration = Duration::from_secs(1);

/// The APIServices of other servers, by group and version.
#[derive(Default)]
pub struct View {
    remotes: BTreeMap<(String, String), Arc<Remote>>,
}

impl View {
    /// All of them, by group and version.
    pub fn remotes(&self) -> impl Iterator<Item = &Arc<Remote>> {
        self.remotes.values()
    }
}

/// Knows which groups and versions other servers answer for.
pub struct Aggregator {
    store: Store,
    identity: Option<Identity>,
    reach: Option<Arc<Reach>>,
    view: ArcSwap<View>,
    now: fn() -> Timestamp,
}

impl Aggregator {
    /// The aggregator over this store, which shows other servers this certificate.
    pub fn new(store: Store, identity: Option<Identity>, now: fn() -> Timestamp) -> Self {
        Self { store, identity, reach: None, view: ArcSwap::default(), now }
    }

    /// Reaches servers in pods through these nodes.
    #[must_use]
    pub fn through(self, nodes: Arc<Nodes>) -> Self {
        Self { reach: Some(Arc::new(Reach::new(self.store.clone(), nodes))), ..self }
    }

    /// What is known now.
    pub fn view(&self) -> Arc<View> {
        self.view.load_full()
    }

    /// The server that answers for a path; `None` for this one.
    pub fn find(&self, path: &str) -> Option<Arc<Remote>> {
        let view = self.view.load();
        if view.remotes.is_empty() {
            return None;
        }
        let path = path.strip_prefix("/openapi/v3").unwrap_or(path);
        let mut parts = path.strip_prefix("/apis/")?.splitn(3, '/');
        let (group, version) = (parts.next()?, parts.next()?);
        view.remotes.get(&(group.to_owned(), version.to_owned())).cloned()
    }

    /// Where the servers of a remote are, as far as this apiserver knows.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Writes the APIServices of what is served here.
    pub async fn register(&self, registry: &Registry) -> Result<(), Error> {
        loop {
            let state = self.store.latest().await?;
            match register::plan(&state, &registry.resources(), (self.now)(), true) {
                // Whoever is faster wins; the next look will show it.
                Some(transaction) => drop(self.store.commit(transaction).await?),
                None => return Ok(()),
            }
        }
    }

    /// Keeps the APIServices and the view of them until `stop`.
    pub async fn run(self: Arc<Self>, registry: &Registry, stop: CancellationToken) {
        let tasks = TaskTracker::new();
        let mut running: BTreeMap<String, (Arc<Remote>, CancellationToken)> = BTreeMap::new();
        let scope = Scope { topic: TOPIC.into(), prefix: "".into(), index: None };
        let mut cursor = None;
        while !stop.is_cancelled() {
            let state = self.store.local();
            if let Some(transaction) = register::plan(&state, &registry.resources(), (self.now)(), false)
                && let Err(error) = self.store.commit(transaction).await
            {
                tracing::debug!(%error, "the APIServices have to wait");
            }
            let view = self.read(&self.store.local());
            running.retain(|name, (remote, end)| {
                let stays = view.remotes().any(|other| other.name == *name && Arc::ptr_eq(other, remote));
                if !stays {
                    end.cancel();
                }
                stays
            });
            for remote in view.remotes().filter(|remote| !running.contains_key(&remote.name)).collect::<Vec<_>>() {
                let end = stop.child_token();
                running.insert(remote.name.clone(), (Arc::clone(remote), end.clone()));
                tasks.spawn(availability::keep(self.store.clone(), Arc::clone(remote), self.now, end));
            }
            self.view.store(Arc::new(view));

            if cursor.is_none() {
                cursor = self.store.watch(scope.clone(), state.revision()).ok();
            }
            let idle = async {
                match &mut cursor {
                    Some(cursor) => cursor.next(EVERY).await.is_ok(),
                    None => {
                        tokio::time::sleep(EVERY).await;
                        false
                    }
                }
            };
            tokio::select! {
                ok = idle => if !ok { cursor = None },
                () = stop.cancelled() => {}
            }
        }
        tasks.close();
        tasks.wait().await;
    }

    /// The view of a state. What did not change keeps its connection.
    fn read(&self, state: &State) -> View {
        let known = self.view.load();
        let mut remotes = BTreeMap::new();
        for (key, entry) in state.range(TOPIC, "", None) {
            let Some(mut remote) = Remote::read(&entry.value, self.identity.as_ref(), self.reach.clone()) else {
                continue;
            };
            if remotes.len() == REMOTES {
                tracing::warn!(name = %key.name, "too many APIServices of other servers");
                break;
            }
            let place = (remote.group.clone(), remote.version.clone());
            if let Some(old) = known.remotes.get(&place).filter(|old| old.is_same(&remote)) {
                old.set_available(remote.is_available());
                remote = Arc::clone(old);
            }
            remotes.insert(place, remote);
        }
        View { remotes }
    }
}

#[cfg(test)]
mod tests;
