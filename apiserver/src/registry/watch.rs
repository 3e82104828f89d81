//! A stream of changes to a selection of objects.
//!
//! A watch reads the store's history by cursor and holds no queue. It begins with the present state where the caller
//! asks for that, in chunks, each object as ADDED. An object that comes into the selection is ADDED, one that leaves it is
//! DELETED with its last selected state. Source: `storage/cacher` and KEP-3157.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use kubelab_api::Error;
use kubelab_store::{Change, Cursor, Error as StoreError, Event, Revision, Scope, State, Store};
use tokio::time::Instant;

use super::{
    custom::conversion,
    handler::Handler,
    list::{Freshness, at_least, unavailable, validate},
    plan::{Shown, restamped, stamp},
    selection::Selection,
};
use crate::{corridor::ListOptions, outside::Outside};

/// A chunk of the initial state has at most about so many bytes.
const CHUNK: usize = 512 * 1024;

/// What happened, as watchers are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventType {
    /// It is new, or newly selected.
    Added,
    /// It changed.
    Modified,
    /// It is gone, or no longer selected.
    Deleted,
}

/// One change.
#[derive(Clone, Debug)]
pub struct WatchEvent {
    /// What happened.
    pub event_type: EventType,
    /// The finished object.
    pub json: Bytes,
    /// When.
    pub revision: Revision,
    /// What it belongs to.
    pub trace_id: Arc<str>,
}

/// Changes, and how far they reach.
#[derive(Clone, Debug)]
pub struct WatchBatch {
    /// In order.
    pub events: Vec<WatchEvent>,
    /// Nothing up to here is missing; 0 while the initial state is incomplete.
    pub revision: Revision,
    /// The initial state is complete with this batch.
    pub synced: bool,
}

/// A running watch.
pub struct Watch {
    handler: Arc<Handler>,
    selection: Selection,
    stage: Stage,
    /// Where the kind's definition is watched, if it has one.
    definition: Option<Cursor>,
    /// The definition is another since, or gone.
    outdated: bool,
    /// Where objects are converted, if their kind needs it.
    outside: Outside,
}

enum Stage {
    /// The state is being told; the name that was told last.
    Initial {
        state: Arc<State>,
        last: Option<Arc<str>>,
        cursor: Cursor,
    },
    /// Changes are told as they come.
    Following(Cursor),
    /// This is told, and then it is over.
    Failed(Error),
    Over,
}

impl Watch {
    /// Begins a watch of what is selected.
    pub async fn begin(
        store: &Store,
        outside: &Outside,
        handler: Arc<Handler>,
        namespace: &str,
        options: &ListOptions,
    ) -> Result<Self, Error> {
        validate(options, true)?;
        let selection = Selection::new(&handler, namespace, options)?;
        let freshness = Freshness::parse(&options.resource_version)?;
        let initial = match (options.send_initial_events, freshness) {
            (Some(wanted), _) => wanted,
            (None, Freshness::Latest | Freshness::Any) => true,
            (None, _) => false,
        };
        let scope = Scope {
            topic: handler.topic.clone(),
            prefix: selection.prefix().into(),
            index: selection.index.as_deref().map(Into::into),
        };
        let (after, state) = match freshness {
            Freshness::NotOlderThan(revision) if !initial => {
                at_least(store, revision).await?;
                (revision, None)
            }
            freshness => {
                let state = freshness.state(store).await?;
                (state.revision(), initial.then_some(state))
            }
        };
        let stage = match (store.watch(scope, after), state) {
            (Ok(cursor), Some(state)) => Stage::Initial { state, last: None, cursor },
            (Ok(cursor), None) => Stage::Following(cursor),
            // As upstream, the refusal comes through the stream.
            (Err(error @ StoreError::Compacted { .. }), _) => Stage::Failed(refusal(error)),
            (Err(error), _) => return Err(refusal(error)),
        };
        let definition = match &handler.definition {
            Some(from) => {
                let scope = Scope { topic: from.key.topic.clone(), prefix: from.key.name.clone(), index: None };
                store.watch(scope, from.modified).ok()
            }
            None => None,
        };
        Ok(Self { handler, selection, stage, definition, outdated: false, outside: outside.clone() })
    }

    /// The next changes; an empty batch after `idle` without any (time for a bookmark). `None` when the watch ends;
    /// an error (410 Expired) when it fell too far behind.
    pub async fn next(&mut self, idle: Duration) -> Option<Result<WatchBatch, Error>> {
        let batch = match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Over => return None,
            Stage::Failed(error) => return Some(Err(error)),
            Stage::Initial { state, last, cursor } => self.initial(state, last, cursor).await,
            Stage::Following(cursor) => self.follow(cursor, idle).await?,
        };
        if batch.is_err() {
            self.stage = Stage::Over;
        }
        Some(batch)
    }

    async fn initial(
        &mut self,
        state: Arc<State>,
        last: Option<Arc<str>>,
        cursor: Cursor,
    ) -> Result<WatchBatch, Error> {
        let chunk = || self.chunk(&state, last.as_deref());
        let (events, told) = conversion::run_many(&self.outside, &self.handler, chunk).await?;
        match told {
            Some(told) => {
                self.stage = Stage::Initial { state, last: Some(told), cursor };
                Ok(WatchBatch { events, revision: 0, synced: false })
            }
            None => {
                self.stage = Stage::Following(cursor);
                Ok(WatchBatch { events, revision: state.revision(), synced: true })
            }
        }
    }

    /// A part of the state, and the last name in it; `None` if this is the last part.
    fn chunk(&self, state: &State, last: Option<&str>) -> Result<(Vec<WatchEvent>, Option<Arc<str>>), Error> {
        let mut events = Vec::new();
        let mut told = None;
        let mut bytes = 0;
        let prefix = self.selection.prefix();
        for (key, entry) in state.range(&self.handler.topic, &prefix, last) {
            if bytes >= CHUNK {
                return Ok((conversion::all(events.into_iter())?, told));
            }
            told = Some(Arc::clone(&key.name));
            if self.selection.matches(&self.handler, key, entry) {
                bytes += entry.value.len();
                let (event_type, revision) = (EventType::Added, entry.modified);
                let added = |json| WatchEvent { event_type, json, revision, trace_id: Arc::from("") };
                events.push(self.handler.present(&entry.value).map(added));
            }
        }
        Ok((conversion::all(events.into_iter())?, None))
    }

    async fn follow(&mut self, mut cursor: Cursor, idle: Duration) -> Option<Result<WatchBatch, Error>> {
        let deadline = Instant::now() + idle;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let next = match &mut self.definition {
                None => cursor.next(left).await,
                // What came before the definition changed is told, and then the watch ends.
                Some(_) if self.outdated => match cursor.poll() {
                    Ok(batch) if batch.events.is_empty() => return None,
                    next => next,
                },
                Some(definition) => tokio::select! {
                    biased;
                    next = cursor.next(left) => next,
                    changed = definition.next(left) => {
                        self.outdated = self.handler.is_outdated(changed);
                        continue;
                    }
                },
            };
            let batch = match next {
                Ok(batch) => batch,
                Err(StoreError::Stopped) => return None,
                Err(error) => return Some(Err(refusal(error))),
            };
            let tell = || conversion::all(batch.events.iter().map(|event| self.tell(event)));
            let events: Vec<WatchEvent> = match conversion::run_many(&self.outside, &self.handler, tell).await {
                Ok(told) => told.into_iter().flatten().collect(),
                Err(error) => return Some(Err(error)),
            };
            if !events.is_empty() || Instant::now() >= deadline {
                self.stage = Stage::Following(cursor);
                return Some(Ok(WatchBatch { events, revision: batch.revision, synced: false }));
            }
        }
    }

    /// What an event means to this watch, if anything.
    fn tell(&self, event: &Event) -> Result<Option<WatchEvent>, Error> {
        let selected = |entry| self.selection.matches(&self.handler, &event.key, entry);
        let (event_type, json) = match &event.change {
            Change::Put { after, before } => match (selected(after), before.as_ref().filter(|old| selected(old))) {
                (true, None) => (EventType::Added, after.value.clone()),
                (true, Some(_)) => (EventType::Modified, after.value.clone()),
                (false, Some(old)) => match restamped(old) {
                    Shown::Stamped { value, place, .. } => (EventType::Deleted, stamp(&value, place, event.revision)),
                    _ => (EventType::Deleted, old.value.clone()),
                },
                (false, None) => return Ok(None),
            },
            Change::Delete { last, before } if selected(before) => (EventType::Deleted, last.value.clone()),
            Change::Delete { .. } => return Ok(None),
        };
        let json = self.handler.present(&json)?;
        let trace_id = Arc::clone(&event.origin.trace_id);
        Ok(Some(WatchEvent { event_type, json, revision: event.revision, trace_id }))
    }
}

fn refusal(error: StoreError) -> Error {
    match error {
        StoreError::Compacted { asked, oldest } => {
            Error::expired(format!("too old resource version: {asked} ({oldest})"))
        }
        error => unavailable(error),
    }
}
