//! What is known of one request so far. Parts of the corridor add to the record of the request that they work for without
//! being handed it, as upstream's do through the request's context.

use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError},
};

use jiff::Timestamp;
use kubelab_api::Error;
use serde_json::{Value, value::RawValue};

use super::{
    Audit,
    event::{Event, ResponseStatus, Somebody, Stage},
    policy::{Level, Verdict},
};
use crate::{
    corridor::{Body, User},
    registry::decode,
};

/// The most of an answer that is recorded; of one that is longer, nothing is. Source of the annotation that says so:
/// `plugin/pkg/audit/truncate`.
pub const ANSWER_BYTES: usize = 4 * 1024 * 1024;
const TRUNCATED: &str = "audit.k8s.io/truncated";

tokio::task_local! {
    static CURRENT: Arc<Record>;
}

/// Answers a request whose record, if it has one, is the [`current`] one meanwhile.
pub async fn within<T>(record: Option<&Arc<Record>>, answer: impl Future<Output = T>) -> T {
    match record {
        // In a box, so that requests without a record do not carry the room for one.
        Some(record) => Box::pin(CURRENT.scope(Arc::clone(record), answer)).await,
        None => answer.await,
    }
}

/// The record of the request that this task answers, if it has one.
pub fn current() -> Option<Arc<Record>> {
    CURRENT.try_with(Arc::clone).ok()
}

/// Notes something about the request that this task answers. The first value of a key stays.
pub fn annotate(key: &str, value: impl FnOnce() -> String) {
    let _ = CURRENT.try_with(|record| record.annotate(key, value()));
}

/// One request's record.
pub struct Record {
    audit: Arc<Audit>,
    verdict: Verdict,
    long: bool,
    known: bool,
    event: Mutex<Event>,
}

impl Record {
    pub(super) fn new(audit: Arc<Audit>, verdict: Verdict, event: Event, long: bool, known: bool) -> Self {
        Self { audit, verdict, long, known, event: Mutex::new(event) }
    }

    /// How much is recorded.
    pub fn level(&self) -> Level {
        self.verdict.level
    }

    /// The answer goes on until somebody ends it.
    pub fn is_long(&self) -> bool {
        self.long
    }

    /// Somebody asks who is known.
    pub fn is_known(&self) -> bool {
        self.known
    }

    fn event(&self) -> std::sync::MutexGuard<'_, Event> {
        self.event.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes how far the request has come, unless the policy leaves that out.
    pub fn tell(&self, stage: Stage) {
        if self.verdict.omit_stages.contains(&stage) {
            return;
        }
        let mut event = self.event();
        event.stage = stage;
        event.stage_timestamp = match stage {
            Stage::RequestReceived => event.request_received_timestamp,
            _ => Timestamp::now(),
        };
        match serde_json::to_vec(&*event) {
            Ok(mut line) => {
                drop(event);
                line.push(b'\n');
                self.audit.log.write(line);
            }
            Err(error) => tracing::error!(%error, "an audit event cannot be encoded"),
        }
    }

    /// Notes something. The first value of a key stays.
    pub fn annotate(&self, key: &str, value: String) {
        self.event().annotations.entry(key.to_owned()).or_insert(value);
    }

    /// Whom the asker acts as.
    pub fn acts_as(&self, user: &User) {
        self.event().impersonated_user = Some(Somebody::from(user));
    }

    /// What was sent: it names the object, and is kept where the policy wants it.
    pub fn sent(&self, body: &Body) {
        let (json, is_object) = match body {
            Body::None => return,
            Body::Json(json) => (json, true),
            Body::Patch { patch, .. } => (patch, false),
        };
        let wanted = self.verdict.level >= Level::Request;
        let kept = if wanted { self.kept(json) } else { None };
        let mut event = self.event();
        if let (true, Some(about)) = (is_object, event.object_ref.as_mut()) {
            let metadata = decode::metadata(json).unwrap_or_default();
            for (known, given) in [
                (&mut about.namespace, metadata.namespace),
                (&mut about.name, metadata.name),
                (&mut about.uid, metadata.uid),
                (&mut about.resource_version, metadata.resource_version),
            ] {
                if known.is_empty() {
                    *known = given.unwrap_or_default();
                }
            }
        }
        event.request_object = kept;
    }

    /// What was answered, as JSON; `None` if it was too long.
    pub fn answered(&self, json: Option<&[u8]>) {
        if self.verdict.level < Level::RequestResponse {
            return;
        }
        match json {
            Some(json) => {
                let kept = self.kept(json);
                self.event().response_object = kept;
            }
            None => self.annotate(TRUNCATED, "true".into()),
        }
    }

    /// Compact, on one line; without managed fields where the policy says so.
    fn kept(&self, json: &[u8]) -> Option<Box<RawValue>> {
        if self.verdict.omit_managed_fields {
            let mut value: Value = serde_json::from_slice(json).ok()?;
            drop_managed_fields(&mut value);
            return serde_json::value::to_raw_value(&value).ok();
        }
        let mut compact = Vec::with_capacity(json.len());
        let mut from = serde_json::Deserializer::from_slice(json);
        serde_transcode::transcode(&mut from, &mut serde_json::Serializer::new(&mut compact)).ok()?;
        RawValue::from_string(String::from_utf8(compact).ok()?).ok()
    }

    /// It was refused.
    pub fn refused(&self, error: &Error) {
        self.event().response_status = Some(ResponseStatus::from(error));
    }

    /// The answer's code.
    pub fn code(&self, code: u16) {
        self.event().response_status.get_or_insert_default().code = code;
    }
}

/// From the object, from those of a list, and from those in the rows of a table.
fn drop_managed_fields(value: &mut Value) {
    let forget = |object: &mut Value| {
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("managedFields");
        }
    };
    forget(value);
    for (list, part) in [("items", ""), ("rows", "object")] {
        for item in value.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            match part {
                "" => forget(item),
                part => item.get_mut(part).into_iter().for_each(forget),
            }
        }
    }
}

/// Tells that an answer is complete, once it is dropped: at its end, or when its reader went away.
pub struct Ending(pub Arc<Record>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.tell(Stage::ResponseComplete);
    }
}
