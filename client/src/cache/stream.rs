//! Keeps a mirror's watch stream going: first state, changes, resume, resync.

use std::{sync::Arc, time::Duration};

use kubelab_api::{
    error::{Error, Reason},
    json,
};
use kubelab_proto::objects::{WatchBatch, WatchEvent, WatchRequest, watch_event::Type};
use tokio::{sync::watch, time::timeout};

use super::Mirror;
use crate::{Cause, Client, backoff::Backoff, client::Watch, clock, endpoints::is_about_server};

/// The server sends an empty batch when nothing has happened for about 5 s; three of them missing mean a dead stream.
const SILENCE: Duration = Duration::from_secs(15);

/// Mirrors until aborted; says when the first full state is there.
pub(super) async fn follow<M: Mirror>(
    client: Client,
    request: WatchRequest,
    mirror: Arc<M>,
    synced: watch::Sender<bool>,
) {
    let resource = request.target.as_ref().map(|target| target.resource.clone()).unwrap_or_default();
    let mut follower = Follower::new(request, mirror, synced);
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
            Err(error) if is_about_server(&error) => {
                tracing::debug!(resource, %error, "watch broke off");
            }
            Err(error) => tracing::warn!(resource, %error, "watch refused"),
        }
        clock::sleep(backoff.step()).await;
    }
}

struct Follower<M: Mirror> {
    /// `after` is the revision up to which the mirror is complete; unset while it is not.
    request: WatchRequest,
    /// The latest change that was applied. It is ahead of `after` where the stream broke within a long batch: what is sent
    /// again up to here would go back in time.
    applied: u64,
    /// What the state sent so far holds, while a first state is being sent.
    seen: Option<M::Seen>,
    mirror: Arc<M>,
    synced: watch::Sender<bool>,
}

impl<M: Mirror> Follower<M> {
    fn new(request: WatchRequest, mirror: Arc<M>, synced: watch::Sender<bool>) -> Self {
        Self { request, applied: 0, seen: Some(M::Seen::default()), mirror, synced }
    }

    fn start_over(&mut self) {
        self.request.after = None;
        self.applied = 0;
        self.seen = Some(M::Seen::default());
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
            self.mirror.keep(&seen, Cause { revision, trace_id: String::new() });
            self.synced.send_replace(true);
            self.applied = revision;
        }
        if self.seen.is_none() {
            self.request.after = self.request.after.max(Some(revision));
        }
    }

    fn event(&mut self, event: WatchEvent) {
        if event.revision < self.applied {
            return;
        }
        let kind = event.r#type();
        // Nobody reads who manages what from a mirror, and to parse it takes a third of the time.
        let json = json::without(&event.json, &["metadata", "managedFields"]);
        let object: M::Object = match serde_json::from_slice(&json) {
            Ok(object) => object,
            Err(error) => {
                let kind = std::any::type_name::<M::Object>();
                tracing::error!(revision = event.revision, kind, %error, "an event cannot be read and is passed over");
                return;
            }
        };
        if let Some(seen) = &mut self.seen
            && kind != Type::Deleted
        {
            M::see(seen, &object);
        }
        if self.seen.is_none() {
            self.applied = event.revision;
        }
        let cause = Cause { revision: event.revision, trace_id: event.trace_id };
        match kind {
            Type::Added | Type::Modified => self.mirror.put(object, cause),
            Type::Deleted => self.mirror.delete(object, cause),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use serde_json::json;

    use super::{super::Shared, *};
    use crate::partial::Partial;

    fn event(kind: Type, name: &str, revision: u64) -> WatchEvent {
        let meta = json!({"name": name, "uid": name, "resourceVersion": revision.to_string()});
        let json = serde_json::to_vec(&json!({ "metadata": meta })).unwrap().into();
        WatchEvent { r#type: kind.into(), json, revision, trace_id: String::new() }
    }

    fn batch(events: Vec<WatchEvent>, revision: u64, synced: bool) -> WatchBatch {
        WatchBatch { events, revision, synced }
    }

    /// A follower whose handlers write down what they are told.
    fn follower() -> (Follower<Shared<Partial>>, Arc<Mutex<Vec<String>>>) {
        let told = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::new(Shared::new(|_| {}));
        let tell = told.clone();
        shared.handlers.lock().unwrap().push(Box::new(move |change: &crate::Change<Partial>| {
            let meta = &change.object().metadata;
            let sign = match change {
                crate::Change::Added(_) => '+',
                crate::Change::Modified { .. } => '~',
                crate::Change::Deleted(_) => '-',
            };
            let text = format!("{sign}{}@{}", meta.name.as_deref().unwrap(), meta.resource_version.as_deref().unwrap());
            tell.lock().unwrap().push(text);
        }));
        (Follower::new(WatchRequest::default(), shared, watch::Sender::new(false)), told)
    }

    #[test]
    fn what_is_sent_again_after_a_break_within_a_batch_changes_nothing() {
        let (mut follower, told) = follower();
        follower.take(batch(vec![event(Type::Added, "a", 3)], 0, false));
        assert_eq!(follower.request.after, None, "an incomplete first state is not resumed");
        follower.take(batch(vec![], 4, true));
        assert_eq!(follower.request.after, Some(4));

        let first_part =
            || vec![event(Type::Modified, "a", 5), event(Type::Deleted, "a", 6), event(Type::Added, "a", 7)];
        follower.take(batch(first_part(), 4, false));
        assert_eq!(follower.request.after, Some(4), "only a whole batch is resumed from");
        follower.take(batch(first_part(), 0, false));
        follower.take(batch(vec![event(Type::Modified, "a", 8)], 8, false));
        assert_eq!(*told.lock().unwrap(), ["+a@3", "~a@5", "-a@6", "+a@7", "~a@8"]);
        assert_eq!(follower.request.after, Some(8));
    }

    #[test]
    fn a_broken_first_state_starts_over() {
        let (mut follower, told) = follower();
        follower.take(batch(vec![event(Type::Added, "a", 3), event(Type::Added, "b", 2)], 0, false));
        follower.start_over();
        follower.take(batch(vec![event(Type::Added, "a", 3), event(Type::Added, "c", 1)], 9, true));
        assert_eq!(*told.lock().unwrap(), ["+a@3", "+b@2", "+c@1", "-b@2"]);
        assert!(*follower.synced.borrow());
    }
}
