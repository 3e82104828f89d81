//! A watcher's place in the watch history.

use std::{sync::Arc, time::Duration};

use tokio::{sync::Notify, time::timeout_at};

use crate::{Change, Error, Event, Revision, Topic, history::Follow, view::View};

/// The most events that one batch holds, unless one revision alone has more.
const BATCH: usize = 256;

/// Which events a watcher wants.
#[derive(Clone, Debug)]
pub struct Scope {
    /// The family.
    pub topic: Topic,
    /// Only names that begin with this; empty for all.
    pub prefix: Arc<str>,
    /// Only entries that had or have this index.
    pub index: Option<Arc<str>>,
}

/// What a cursor yields: whole revisions, in order.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The events of the scope; may be empty, when only time has passed.
    pub events: Vec<Arc<Event>>,
    /// Everything up to here has been seen: resume after it.
    pub revision: Revision,
}

/// A place in the watch history. It holds no queue: a slow reader costs nothing and, once it falls behind the window,
/// gets [`Error::Compacted`].
pub struct Cursor {
    view: Arc<View>,
    follow: Follow,
    prefix: Arc<str>,
    wake: Arc<Notify>,
    after: Revision,
}

impl Cursor {
    pub(crate) fn new(view: Arc<View>, scope: Scope, after: Revision) -> Result<Self, Error> {
        let follow = Follow { topic: scope.topic, index: scope.index };
        let wake = view.follow(&follow, after)?;
        Ok(Self { view, follow, prefix: scope.prefix, wake, after })
    }

    /// Waits for events of the scope. Returns at the latest after `idle`, then with an empty batch that says how far
    /// the store has come.
    pub async fn next(&mut self, idle: Duration) -> Result<Batch, Error> {
        let deadline = tokio::time::Instant::now() + idle;
        let wake = Arc::clone(&self.wake);
        loop {
            // Listening begins before the look, so that nothing falls in between.
            let woken = wake.notified();
            let batch = self.poll()?;
            if !batch.events.is_empty() {
                return Ok(batch);
            }
            if self.view.is_stopped() {
                return Err(Error::Stopped);
            }
            if timeout_at(deadline, woken).await.is_err() {
                return self.poll();
            }
        }
    }

    /// What there is now, without waiting. The batch says how far the cursor has come.
    pub fn poll(&mut self) -> Result<Batch, Error> {
        let (events, revision) = self.view.history(|history| {
            let newer = history
                .after(&self.follow, self.after)
                .map_err(|_| Error::Compacted { asked: self.after, oldest: history.floor() })?;
            let mut events: Vec<Arc<Event>> = Vec::new();
            for event in newer {
                let last = events.last().map_or(event.revision, |last| last.revision);
                if events.len() >= BATCH && event.revision != last {
                    return Ok((events, last));
                }
                if concerns(event, &self.prefix, self.follow.index.as_ref()) {
                    events.push(Arc::clone(event));
                }
            }
            Ok((events, history.head().max(self.after)))
        })?;
        self.after = revision;
        Ok(Batch { events, revision })
    }

    /// Everything up to here has been yielded.
    pub fn revision(&self) -> Revision {
        self.after
    }
}

fn concerns(event: &Event, prefix: &str, index: Option<&Arc<str>>) -> bool {
    let indexed = |entry: &crate::Entry| entry.index.as_ref() == index;
    event.key.name.starts_with(prefix)
        && (index.is_none()
            || match &event.change {
                Change::Put { after, before } => indexed(after) || before.as_deref().is_some_and(indexed),
                Change::Delete { before, .. } => indexed(before),
            })
}

impl Drop for Cursor {
    fn drop(&mut self) {
        self.view.unfollow(&self.follow);
    }
}
