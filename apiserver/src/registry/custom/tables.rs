//! The table of kinds, kept in step with the definitions in the local store. There is no task: whoever asks first after a
//! change reads on in the watch history, as authorization does.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use arc_swap::ArcSwap;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kubelab_api::custom::TOPIC;
use kubelab_store::{Cursor, Error, Key, Revision, Scope, State, Store, Topic};

use super::definition;
use crate::registry::{handler::Handler, table::Table};

/// The kinds that are served now.
pub struct Tables {
    store: Store,
    built_in: Table,
    current: ArcSwap<Table>,
    /// The revision up to which `current` is known to be right.
    seen: AtomicU64,
    place: Mutex<Place>,
}

/// How far the history was read, and what came of each definition.
#[derive(Default)]
struct Place {
    cursor: Option<Cursor>,
    handlers: HashMap<Arc<str>, (Revision, Vec<Arc<Handler>>)>,
}

impl Tables {
    /// Nothing is read before the first question.
    pub fn new(built_in: Table, store: Store) -> Self {
        let current = ArcSwap::from_pointee(built_in.clone());
        Self { store, built_in, current, seen: AtomicU64::new(0), place: Mutex::default() }
    }

    /// The kinds as of now.
    pub fn current(&self) -> Arc<Table> {
        if self.seen.load(Relaxed) < self.store.local().revision() {
            self.catch_up();
        }
        self.current.load_full()
    }

    /// Reads on to the present.
    fn catch_up(&self) {
        let mut place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        if self.seen.load(Relaxed) >= self.store.local().revision() && place.cursor.is_some() {
            return;
        }
        let caught_up = match place.cursor.as_mut() {
            Some(cursor) => read_on(cursor),
            None => Err(Error::Compacted { asked: 0, oldest: 0 }),
        };
        let caught_up = match caught_up {
            // Where the history does not reach back far enough, all begins anew.
            Err(Error::Compacted { .. }) => self.begin(&mut place).map(|revision| (true, revision)),
            other => other,
        };
        match caught_up {
            Ok((changed, revision)) => {
                if changed {
                    self.current.store(Arc::new(self.table(&mut place, &self.store.local())));
                }
                self.seen.store(revision, Relaxed);
            }
            Err(error) => tracing::warn!(%error, "custom resources go by older definitions"),
        }
    }

    fn begin(&self, place: &mut Place) -> Result<Revision, Error> {
        let revision = self.store.local().revision();
        let scope = Scope { topic: Topic::from(TOPIC), prefix: Arc::from(""), index: None };
        place.cursor = Some(self.store.watch(scope, revision)?);
        Ok(revision)
    }

    /// A pure function of the definitions in a state; what was made of those that did not change is kept.
    fn table(&self, place: &mut Place, state: &State) -> Table {
        let mut handlers = HashMap::new();
        for (key, entry) in state.range(TOPIC, "", None) {
            let known = place.handlers.remove(&key.name).filter(|(modified, _)| *modified == entry.modified);
            let made = known.unwrap_or_else(|| (entry.modified, handlers_of(key, entry.modified, &entry.value)));
            handlers.insert(Arc::clone(&key.name), made);
        }
        place.handlers = handlers;
        let mut table = self.built_in.clone();
        let mut custom: Vec<_> = place.handlers.iter().collect();
        custom
            .sort_by_key(|(name, _)| name.split_once('.').map(|(plural, group)| (group.to_owned(), plural.to_owned())));
        for (_, (_, handlers)) in custom {
            handlers.iter().for_each(|handler| table.add(Arc::clone(handler)));
        }
        table
    }
}

fn read_on(cursor: &mut Cursor) -> Result<(bool, Revision), Error> {
    let mut changed = false;
    while !cursor.poll()?.events.is_empty() {
        changed = true;
    }
    Ok((changed, cursor.revision()))
}

/// What is stored was validated; what cannot be read all the same brings nothing.
fn handlers_of(key: &Key, modified: Revision, value: &[u8]) -> Vec<Arc<Handler>> {
    match serde_json::from_slice::<CustomResourceDefinition>(value) {
        Ok(crd) => definition::handlers(&crd, key.clone(), modified).into_iter().map(Arc::new).collect(),
        Err(error) => {
            tracing::error!(%error, name = %key.name, "a stored definition cannot be decoded");
            Vec::new()
        }
    }
}
