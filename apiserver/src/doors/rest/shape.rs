//! How objects are shown in one answer: as they are, as rows of a table, or as their metadata alone. Stored bytes are
//! spliced, never encoded again.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use kubelab_api::{Error, Resource};
use serde_json::{Value, json};

use super::{
    negotiate::{Accepted, Encoding, Form},
    protobuf::encode,
    table::{self, Include},
};
use crate::{
    corridor::{Corridor, List},
    doors::outline::identity,
    registry::watch::EventType,
};

/// A piece of a long answer is about this large.
const PIECE: usize = 64 * 1024;

/// KEP-3157: the bookmark that ends the initial state carries this annotation.
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

/// How the objects of one answer are shown.
#[derive(Clone)]
pub struct Shape {
    /// Knows the columns.
    pub corridor: Arc<Corridor>,
    /// Whose objects they are.
    pub resource: Arc<Resource>,
    /// They are of another kind: a Scale, an Eviction.
    pub foreign: bool,
    /// What the caller wants.
    pub accepted: Accepted,
    /// What goes with a row.
    pub include: Include,
    /// Ages are told from here.
    pub now: Timestamp,
}

impl Shape {
    fn definitions(&self) -> Value {
        if self.foreign {
            return table::definitions(table::PLAIN);
        }
        table::definitions(&self.corridor.registry().columns(&self.resource))
    }

    fn cells(&self, json: &[u8]) -> Vec<Value> {
        if !self.foreign {
            match self.corridor.registry().cells(&self.resource, json, self.now) {
                Ok(cells) => return cells,
                Err(error) => tracing::warn!(resource = %self.resource.plural, %error, "an object has no cells"),
            }
        }
        let identity = identity(json);
        vec![identity.name.into(), identity.creation_timestamp.into()]
    }

    /// Appends one object of a list.
    fn write_item(&self, json: &[u8], out: &mut Vec<u8>) {
        match self.accepted.form {
            Form::Object => out.extend_from_slice(json),
            Form::Table => {
                table::write_row(&self.cells(json), self.include, self.accepted.meta_version(), json, out);
            }
            Form::Metadata => table::write_metadata(self.accepted.meta_version(), json, out),
        }
    }

    /// What stands before the items of a list with this metadata. Only the first table of a watch has its columns.
    fn head(&self, metadata: &Value, columns: bool) -> String {
        match self.accepted.form {
            Form::Object => format!(
                r#"{{"kind":"{}","apiVersion":"{}","metadata":{metadata},"items":["#,
                self.resource.list_kind(),
                self.resource.api_version()
            ),
            Form::Table => format!(
                r#"{{"kind":"Table","apiVersion":"{}","metadata":{metadata},"columnDefinitions":{},"rows":["#,
                self.accepted.meta_version(),
                if columns { self.definitions() } else { Value::Null }
            ),
            Form::Metadata => format!(
                r#"{{"kind":"PartialObjectMetadataList","apiVersion":"{}","metadata":{metadata},"items":["#,
                self.accepted.meta_version()
            ),
        }
    }

    /// One object as protobuf.
    pub fn protobuf(&self, json: &[u8]) -> Result<Bytes, Error> {
        match self.accepted.form {
            Form::Metadata => encode::object(self.accepted.meta_version(), "PartialObjectMetadata", json),
            _ if self.foreign => encode::any(json),
            _ => encode::object(&self.resource.api_version(), &self.resource.kind, json),
        }
    }

    /// A list as protobuf, whose length has to stand at its beginning.
    pub fn protobuf_list(&self, list: &List) -> Result<Bytes, Error> {
        let metadata = metadata_of(list).to_string();
        let items = list.items.iter().map(|json| &json[..]);
        match self.accepted.form {
            Form::Metadata => encode::list(
                self.accepted.meta_version(),
                "PartialObjectMetadataList",
                "PartialObjectMetadata",
                metadata.as_bytes(),
                items,
            ),
            _ => {
                let kind = format!("{}List", self.resource.kind);
                encode::list(&self.resource.api_version(), &kind, &self.resource.kind, metadata.as_bytes(), items)
            }
        }
    }

    /// One object.
    pub fn object(&self, json: Bytes) -> Bytes {
        match self.accepted.form {
            Form::Object => json,
            Form::Table | Form::Metadata => {
                let mut out = Vec::with_capacity(json.len() + 512);
                self.write_object(&json, true, &mut out);
                out.into()
            }
        }
    }

    fn write_object(&self, json: &[u8], columns: bool, out: &mut Vec<u8>) {
        if self.accepted.form != Form::Table {
            return self.write_item(json, out);
        }
        let metadata = json!({ "resourceVersion": identity(json).resource_version });
        out.extend_from_slice(self.head(&metadata, columns).as_bytes());
        self.write_item(json, out);
        out.extend_from_slice(b"]}");
    }

    /// A list, in pieces.
    pub fn list(self, list: List) -> impl Iterator<Item = Bytes> + Send + 'static {
        let mut piece = self.head(&metadata_of(&list), true).into_bytes();
        let mut items = list.items.into_iter().enumerate();
        let mut done = false;
        std::iter::from_fn(move || {
            while !done && piece.len() < PIECE {
                match items.next() {
                    Some((at, json)) => {
                        if at > 0 {
                            piece.push(b',');
                        }
                        self.write_item(&json, &mut piece);
                    }
                    None => {
                        piece.extend_from_slice(b"]}");
                        done = true;
                    }
                }
            }
            (!piece.is_empty()).then(|| Bytes::from(std::mem::take(&mut piece)))
        })
    }

    /// Appends one event of a watch.
    pub fn write_event(&self, event_type: EventType, json: &[u8], first: bool, out: &mut Vec<u8>) {
        let name = match event_type {
            EventType::Added => "ADDED",
            EventType::Modified => "MODIFIED",
            EventType::Deleted => "DELETED",
        };
        if self.accepted.encoding == Encoding::Protobuf {
            return self.write_frame(name, json, out);
        }
        out.extend_from_slice(format!(r#"{{"type":"{name}","object":"#).as_bytes());
        self.write_object(json, first, out);
        out.extend_from_slice(b"}\n");
    }

    fn write_frame(&self, name: &str, json: &[u8], out: &mut Vec<u8>) {
        match self.protobuf(json) {
            Ok(object) => encode::event(name, &object, out),
            Err(error) => {
                tracing::warn!(resource = %self.resource.plural, %error, "an object has no protobuf form");
                out.extend_from_slice(&self.failure(&error));
            }
        }
    }

    /// The event that ends a watch which cannot go on.
    pub fn failure(&self, error: &Error) -> Vec<u8> {
        let status = serde_json::to_string(&error.to_status()).unwrap_or_default();
        if self.accepted.encoding != Encoding::Protobuf {
            return format!("{{\"type\":\"ERROR\",\"object\":{status}}}\n").into_bytes();
        }
        let mut out = Vec::new();
        if let Ok(object) = encode::object("v1", "Status", status.as_bytes()) {
            encode::event("ERROR", &object, &mut out);
        }
        out
    }

    /// Appends a bookmark: nothing up to this revision is missing.
    pub fn write_bookmark(&self, revision: u64, initial_events_end: bool, first: bool, out: &mut Vec<u8>) {
        let mut metadata = json!({ "resourceVersion": revision.to_string() });
        if initial_events_end {
            metadata["annotations"] = json!({ INITIAL_EVENTS_END: "true" });
        }
        let object = json!({
            "kind": self.resource.kind,
            "apiVersion": self.resource.api_version(),
            "metadata": metadata,
        })
        .to_string();
        if self.accepted.encoding == Encoding::Protobuf {
            return self.write_frame("BOOKMARK", object.as_bytes(), out);
        }
        out.extend_from_slice(br#"{"type":"BOOKMARK","object":"#);
        if self.accepted.form == Form::Table {
            out.extend_from_slice(self.head(&json!({ "resourceVersion": revision.to_string() }), first).as_bytes());
            table::write_row(&[], Include::Metadata, self.accepted.meta_version(), object.as_bytes(), out);
            out.extend_from_slice(b"]}");
        } else {
            self.write_item(object.as_bytes(), out);
        }
        out.extend_from_slice(b"}\n");
    }
}

fn metadata_of(list: &List) -> Value {
    let mut metadata = json!({ "resourceVersion": list.revision.to_string() });
    if !list.continue_token.is_empty() {
        metadata["continue"] = list.continue_token.as_str().into();
    }
    if let Some(remaining) = list.remaining {
        metadata["remainingItemCount"] = remaining.into();
    }
    metadata
}
