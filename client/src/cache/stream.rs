//! Keeps a cache's watch stream going: first state, changes, resume, resync.

use std::{sync::Arc, time::Duration};

use kubelab_api::error::{Error, Reason};
use kubelab_proto::objects::{WatchBatch, WatchEvent, WatchRequest, watch_event::Type};
use tokio::time::timeout;

use super::{Shared, index::Seen};
use crate::{Cause, Client, backoff::Backoff, client::Watch, clock, partial::Mirrored};

/// The server sends an empty batch when nothing has happened for about 5 s; three of them missing mean a dead stream.
const SILENCE: Duration = Duration::from_secs(15);

/// Mirrors until aborted.
pub(super) async fn follow<K: Mirrored>(client: Client, request: WatchRequest, shared: Arc<Shared<K>>) {
    let resource = request.target.as_ref().map(|target| target.resource.clone()).unwrap_or_default();
    let mut follower = Follower { request, seen: Some(Seen::default()), shared };
    let mut backoff = Backoff::new(Duration::from_millis(20), Duration::from_secs(1));
    loop {
        let mut progress = false;
        let ended = follower.stream(&client, &mut progress).await;
        if progress {
            backoff.reset();
        }
        match ended {
            Ok(()) => tracing::debug!(resource, "the apiserver ended the watch"),
            Err(error) if error.reason == Reason::Expired => {
                tracing::info!(resource, after = follower.request.after, "watch history is gone: reading all again");
                follower.start_over();
                continue;
            }
            Err(error) if error.reason == Reason::ServiceUnavailable => {
                tracing::debug!(resource, %error, "watch broke off");
            }
            Err(error) => tracing::warn!(resource, %error, "watch refused"),
        }
        clock::sleep(backoff.step()).await;
    }
}

struct Follower<K> {
    /// `after` is the revision up to which the cache is complete; unset while it is not.
    request: WatchRequest,
    /// What the state sent so far holds, while a first state is being sent.
    seen: Option<Seen>,
    shared: Arc<Shared<K>>,
}

impl<K: Mirrored> Follower<K> {
    fn start_over(&mut self) {
        self.request.after = None;
        self.seen = Some(Seen::default());
    }

    /// Follows one stream to its end.
    async fn stream(&mut self, client: &Client, progress: &mut bool) -> Result<(), Error> {
        if self.request.after.is_none() {
            self.start_over();
        }
        let silent = || Error::unavailable("the watch stream fell silent");
        let mut watch: Watch = timeout(SILENCE, client.watch(self.request.clone())).await.map_err(|_| silent())??;
        loop {
            match timeout(SILENCE, watch.next()).await {
                Ok(Ok(Some(batch))) => self.take(batch),
                Ok(Ok(None)) => return Ok(()),
                Ok(Err(error)) => return Err(error),
                Err(_) => {
                    watch.hung();
                    return Err(silent());
                }
            }
            *progress = true;
        }
    }

    fn take(&mut self, batch: WatchBatch) {
        let WatchBatch { events, revision, synced } = batch;
        for event in events {
            self.event(event);
        }
        if synced && let Some(seen) = self.seen.take() {
            self.shared.apply(Cause { revision, trace_id: String::new() }, |index| index.keep(&seen));
            self.shared.synced.send_replace(true);
        }
        if self.seen.is_none() {
            self.request.after = Some(revision);
        }
    }

    fn event(&mut self, event: WatchEvent) {
        let kind = event.r#type();
        let mut object: K = match serde_json::from_slice(&event.json) {
            Ok(object) => object,
            Err(error) => {
                let kind = std::any::type_name::<K>();
                tracing::error!(revision = event.revision, kind, %error, "an event cannot be read and is passed over");
                return;
            }
        };
        // Nobody reads them from a cache, and they are often half of an object.
        object.meta_mut().managed_fields = None;
        if let Some(seen) = &mut self.seen
            && kind != Type::Deleted
        {
            seen.add(object.meta());
        }
        let cause = Cause { revision: event.revision, trace_id: event.trace_id };
        self.shared.apply(cause, |index| match kind {
            Type::Added | Type::Modified => index.put(object),
            Type::Deleted => index.delete(object),
        });
    }
}
