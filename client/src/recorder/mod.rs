//! Events about objects, as `kubectl describe` shows them. Source of the rules: client-go's `tools/record`.

mod correlator;

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, stream};
use k8s_openapi::{
    api::core::v1::{Event, EventSource, ObjectReference},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kubelab_api::error::Reason;
use serde_json::json;
use tokio::sync::{
    Semaphore,
    mpsc::{self, error::TrySendError},
};

use self::correlator::{Correlator, Key, Record};
use crate::{Cause, Client, Object, Patch, clock};

/// `Normal` or `Warning`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// As it should be.
    Normal,
    /// Not as it should be.
    Warning,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// How many events wait for being sent (upstream's broadcaster keeps as many); more are dropped.
const WAITING: usize = 1000;
/// How many events a process sends at the same time, whatever number of recorders it has: few, so that where much happens
/// the events about it do not stand in its way.
const AT_ONCE: usize = 4;
static PLACES: Semaphore = Semaphore::const_new(AT_ONCE);
/// Upstream sends an event at most 12 times, 10 s apart; within each try the client has failed over for 30 s.
const TRIES: u32 = 4;
const PAUSE: Duration = Duration::from_secs(10);

/// Writes core/v1 Events in the background. Repeated ones become one with a count, similar ones are aggregated and too
/// many are dropped, as client-go's event correlator does. Cheap to clone.
#[derive(Clone)]
pub struct Recorder {
    waiting: mpsc::Sender<Occurrence>,
}

/// Something happened to an object.
struct Occurrence {
    object: ObjectReference,
    kind: Kind,
    reason: String,
    message: String,
    cause: Cause,
}

impl Recorder {
    /// A recorder for this component (`default-scheduler`, `kubelet`, `deployment-controller`) on this host (a node's
    /// name, else empty).
    pub fn new(client: &Client, component: &str, host: &str) -> Self {
        let (waiting, arriving) = mpsc::channel(WAITING);
        let sender = Sender { client: client.clone(), component: component.to_owned(), host: host.to_owned() };
        tokio::spawn(sender.run(arriving));
        Self { waiting }
    }

    /// Records an event about an object; never blocks.
    pub fn event<K: Object>(&self, object: &K, kind: Kind, reason: &str, message: impl Into<String>) {
        self.event_at(object, "", kind, reason, message);
    }

    /// The same about a part of an object: `spec.containers{web}`.
    pub fn event_at<K: Object>(&self, object: &K, field: &str, kind: Kind, reason: &str, message: impl Into<String>) {
        let meta = object.metadata();
        let object = ObjectReference {
            api_version: Some(K::API_VERSION.to_owned()),
            kind: Some(K::KIND.to_owned()),
            namespace: meta.namespace.clone(),
            name: meta.name.clone(),
            uid: meta.uid.clone(),
            resource_version: meta.resource_version.clone(),
            field_path: (!field.is_empty()).then(|| field.to_owned()),
        };
        let (reason, message, cause) = (reason.to_owned(), message.into(), Cause::current());
        match self.waiting.try_send(Occurrence { object, kind, reason, message, cause }) {
            Ok(()) | Err(TrySendError::Closed(_)) => {}
            Err(TrySendError::Full(lost)) => {
                tracing::warn!(reason = lost.reason, message = lost.message, "too many events wait: dropped");
            }
        }
    }
}

struct Sender {
    client: Client,
    component: String,
    host: String,
}

impl Sender {
    /// Sends what has gathered since the last batch. Within a batch each event stands once, so that they may be sent in any
    /// order; the next batch waits for all of them, so that counts only grow.
    async fn run(self, mut arriving: mpsc::Receiver<Occurrence>) {
        let mut correlator = Correlator::default();
        let mut batch = Vec::new();
        while arriving.recv_many(&mut batch, WAITING).await > 0 {
            let mut keys: Vec<Arc<Key>> = Vec::new();
            for occurrence in batch.drain(..) {
                if let Some(key) = correlator.observe(occurrence, clock::now().0)
                    && !keys.contains(&key)
                {
                    keys.push(key);
                }
            }
            let sender = &self;
            let sends: Vec<_> = keys
                .into_iter()
                .filter_map(|key| correlator.record(&key).cloned().map(|record| (key, record)))
                .map(|(key, record)| async move { (sender.send(&key, &record).await, key) })
                .collect();
            let outcomes: Vec<_> = stream::iter(sends).buffer_unordered(AT_ONCE).collect().await;
            for (sent, key) in outcomes {
                correlator.sent(&key, sent);
            }
        }
    }

    /// Says whether the event exists afterwards.
    async fn send(&self, key: &Key, record: &Record) -> bool {
        let namespace = namespace(&key.object);
        for attempt in 1..=TRIES {
            let place = PLACES.acquire().await;
            let outcome = record.cause.clone().scope(async {
                if record.exists {
                    let change = json!({
                        "count": record.count,
                        "lastTimestamp": record.last,
                        "message": record.message,
                    });
                    let patched = self.client.patch::<Event>(namespace, &record.name, Patch::Merge(change)).await;
                    match patched {
                        Err(error) if error.reason == Reason::NotFound => {}
                        other => return other.map(drop),
                    }
                }
                self.client.create(&self.event(key, record)).await.map(drop)
            });
            let outcome = outcome.await;
            drop(place);
            match outcome {
                Ok(()) => return true,
                Err(error) if error.reason == Reason::AlreadyExists => return true,
                Err(error) if matches!(error.reason, Reason::ServiceUnavailable | Reason::Timeout) => {
                    tracing::debug!(%error, attempt, "an event cannot be sent now");
                    clock::sleep(PAUSE).await;
                }
                Err(error) => {
                    tracing::debug!(%error, reason = key.reason, "the apiserver refused an event");
                    return false;
                }
            }
        }
        false
    }

    fn event(&self, key: &Key, record: &Record) -> Event {
        Event {
            metadata: ObjectMeta {
                namespace: Some(namespace(&key.object).to_owned()),
                name: Some(record.name.clone()),
                ..ObjectMeta::default()
            },
            involved_object: ObjectReference { resource_version: record.object_version.clone(), ..key.object.clone() },
            type_: Some(key.kind.name().to_owned()),
            reason: Some(key.reason.clone()),
            message: Some(record.message.clone()),
            count: Some(record.count),
            first_timestamp: Some(record.first.clone()),
            last_timestamp: Some(record.last.clone()),
            source: Some(EventSource {
                component: Some(self.component.clone()),
                host: (!self.host.is_empty()).then(|| self.host.clone()),
            }),
            reporting_component: Some(self.component.clone()),
            reporting_instance: Some(self.host.clone()),
            ..Event::default()
        }
    }
}

/// Events about cluster-scoped objects live in `default`.
fn namespace(object: &ObjectReference) -> &str {
    object.namespace.as_deref().filter(|namespace| !namespace.is_empty()).unwrap_or("default")
}
