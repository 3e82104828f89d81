//! What a watcher sees.

use std::sync::Arc;

use crate::{Entry, Key, Origin, Revision};

/// How a key changed.
#[derive(Clone, Debug)]
pub enum Change {
    /// It was written; `before` is what it replaced.
    Put {
        /// What lives there now.
        after: Arc<Entry>,
        /// What lived there; `None` for a creation.
        before: Option<Arc<Entry>>,
    },
    /// It was removed.
    Delete {
        /// What lived there, its stamp set to the revision of the removal, as Kubernetes shows it.
        last: Arc<Entry>,
        /// What lived there, as it was stored.
        before: Arc<Entry>,
    },
}

/// One change of one key at one revision.
#[derive(Clone, Debug)]
pub struct Event {
    /// When.
    pub revision: Revision,
    /// Where.
    pub key: Key,
    /// What.
    pub change: Change,
    /// Why.
    pub origin: Arc<Origin>,
}
