//! The table of kinds, kept in step with the definitions in the local store. There is no task: whoever asks first after a
//! change makes it anew, as authorization does.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::ArcSwap;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kubelab_api::custom::TOPIC;
use kubelab_store::{Key, Revision, State, Store};

use super::definition;
use crate::registry::{handler::Handler, table::Table};

/// The kinds that are served now.
pub struct Tables {
    store: Store,
    built_in: Table,
    current: ArcSwap<Current>,
    made: Mutex<Made>,
}

/// The table, and the revision of the definitions that it shows.
struct Current {
    touched: Revision,
    table: Arc<Table>,
}

/// What came of each definition.
type Made = HashMap<Arc<str>, (Revision, Vec<Arc<Handler>>)>;

impl Tables {
    /// No definition is known before the first question.
    pub fn new(built_in: Table, store: Store) -> Self {
        let current = Current { touched: 0, table: Arc::new(built_in.clone()) };
        Self { store, built_in, current: ArcSwap::from_pointee(current), made: Mutex::default() }
    }

    /// The kinds as of now.
    pub fn current(&self) -> Arc<Table> {
        let state = self.store.local();
        let touched = state.touched(TOPIC);
        let current = self.current.load();
        if current.touched >= touched {
            return Arc::clone(&current.table);
        }
        drop(current);
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let current = self.current.load_full();
        // Somebody else may have made it, or one that is newer still, while this one waited.
        if current.touched >= touched {
            return Arc::clone(&current.table);
        }
        let table = Arc::new(self.table(&mut made, &state));
        self.current.store(Arc::new(Current { touched, table: Arc::clone(&table) }));
        table
    }

    /// A pure function of the definitions in a state; what was made of those that did not change is kept.
    fn table(&self, made: &mut Made, state: &State) -> Table {
        let mut handlers = HashMap::new();
        for (key, entry) in state.range(TOPIC, "", None) {
            let known = made.remove(&key.name).filter(|(modified, _)| *modified == entry.modified);
            let new = || (entry.modified, handlers_of(key, entry.modified, &entry.value));
            handlers.insert(Arc::clone(&key.name), known.unwrap_or_else(new));
        }
        *made = handlers;
        let mut table = self.built_in.clone();
        let mut custom: Vec<_> = made.iter().collect();
        custom
            .sort_by_key(|(name, _)| name.split_once('.').map(|(plural, group)| (group.to_owned(), plural.to_owned())));
        for (_, (_, handlers)) in custom {
            handlers.iter().for_each(|handler| table.add(Arc::clone(handler)));
        }
        table
    }
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
