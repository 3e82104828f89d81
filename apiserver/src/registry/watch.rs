//! A stream of changes to a selection of objects.

use bytes::Bytes;
use kubelab_store::Revision;

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
    pub trace_id: std::sync::Arc<str>,
}

/// Changes, and how far they reach.
#[derive(Clone, Debug)]
pub struct WatchBatch {
    /// In order.
    pub events: Vec<WatchEvent>,
    /// Nothing up to here is missing.
    pub revision: Revision,
    /// The initial state is complete with this batch.
    pub synced: bool,
}

/// A running watch.
pub struct Watch {}

impl Watch {
    /// The next changes; an empty batch after `idle` without any (time for a bookmark). `None` when the watch ends;
    /// an error (410 Expired) when it fell too far behind.
    pub async fn next(&mut self, idle: std::time::Duration) -> Option<Result<WatchBatch, kubelab_api::Error>> {
        let _ = idle;
        unimplemented!()
    }
}
