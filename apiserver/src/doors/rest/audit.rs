//! Requests as the audit log sees them.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Request, Response,
    header::{ACCEPT_ENCODING, CONTENT_TYPE},
};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::{body, header, path::Target, protobuf, query::Query, resource};
use crate::{
    audit::{
        Record, Seen,
        event::Stage,
        policy::Level,
        record::{ANSWER_BYTES, Ending},
    },
    authorization::{Attributes, attributes::named_by},
    corridor::{User, Verb},
    doors::{Body, BoxError, Connection, Doors},
};

/// Parts of objects whose answers go on for long. Source: `BasicLongRunningRequestCheck` as
/// `pkg/controlplane/apiserver/config.go` sets it up.
const LONG: [&str; 5] = ["attach", "exec", "log", "portforward", "proxy"];

/// Begins the record of a request, where the policy wants one.
pub(super) fn begin(
    doors: &Doors,
    connection: &Connection,
    user: Option<&User>,
    target: Option<&Target>,
    request: &mut Request<Incoming>,
    id: &HeaderValue,
) -> Option<Arc<Record>> {
    let audit = doors.audit.as_ref()?;
    let nobody = User::default();
    let query = Query::parse(request.uri().query());
    let method = request.method().as_str().to_ascii_lowercase();
    let asker = user.unwrap_or(&nobody);
    let (attributes, long) = match target {
        None => (Attributes::path(asker, &method, request.uri().path()), false),
        Some(target) => {
            let verb = resource::verb(request.method(), target, &query).map(Verb::name).unwrap_or(&method);
            let long = verb == "watch" || LONG.contains(&target.subresource.as_str());
            (of_target(asker, verb, target, &query), long)
        }
    };
    let seen = Seen {
        id: id.to_str().unwrap_or_default().to_owned(),
        uri: request.uri().path_and_query().map(ToString::to_string).unwrap_or_default(),
        headers: request.headers(),
        peer: connection.peer,
        attributes,
        version: target.map_or("", |target| target.version.as_str()),
        user,
        long,
    };
    let record = audit.begin(seen)?;
    if record.level() == Level::RequestResponse && !record.is_long() {
        // What is compressed could not be recorded.
        request.headers_mut().remove(ACCEPT_ENCODING);
    }
    Some(record)
}

fn of_target<'a>(user: &'a User, verb: &'a str, target: &'a Target, query: &'a Query) -> Attributes<'a> {
    let is_namespace = target.resource == "namespaces" && target.group.is_empty();
    let selected = match verb {
        "list" | "watch" | "deletecollection" => named_by(query.get("fieldSelector").unwrap_or_default()),
        _ => "",
    };
    Attributes {
        subresource: &target.subresource,
        namespace: if is_namespace { &target.name } else { &target.namespace },
        name: if target.name.is_empty() { selected } else { &target.name },
        ..Attributes::resource(user, verb, &target.group, &target.resource)
    }
}

/// Tells what came of a request: now, or once its answer is out.
pub(super) fn end(record: Arc<Record>, response: Response<Body>) -> Response<Body> {
    record.code(response.status().as_u16());
    if !record.is_known() {
        record.tell(Stage::ResponseStarted);
        return response;
    }
    if record.is_long() {
        record.tell(Stage::ResponseStarted);
        return response.map(|inner| Audited { inner, copy: None, _ending: Ending(record) }.boxed_unsync());
    }
    if record.level() < Level::RequestResponse {
        record.tell(Stage::ResponseComplete);
        return response;
    }
    let to_json = to_json(response.headers());
    response.map(|inner| {
        let copy = Copy { bytes: Some(Vec::new()), to_json, record: Arc::clone(&record) };
        Audited { inner, copy: Some(copy), _ending: Ending(record) }.boxed_unsync()
    })
}

type ToJson = fn(Vec<u8>) -> Option<Bytes>;

/// How an answer of this form becomes JSON, if it can.
fn to_json(headers: &HeaderMap) -> ToJson {
    match header(headers, CONTENT_TYPE).unwrap_or_default().split(';').next().unwrap_or_default() {
        "application/json" => |bytes| Some(bytes.into()),
        "application/yaml" => |bytes| body::yaml(&bytes).ok(),
        "application/vnd.kubernetes.protobuf" => |bytes| protobuf::to_json(&bytes).ok(),
        _ => |_| None,
    }
}

/// What went out so far; `None` once it is too much.
struct Copy {
    bytes: Option<Vec<u8>>,
    to_json: ToJson,
    record: Arc<Record>,
}

impl Drop for Copy {
    fn drop(&mut self) {
        match self.bytes.take() {
            None => self.record.answered(None),
            Some(bytes) => {
                if let Some(json) = (self.to_json)(bytes) {
                    self.record.answered(Some(&json));
                }
            }
        }
    }
}

/// A body whose end is told. The copy is dropped first.
struct Audited {
    inner: Body,
    copy: Option<Copy>,
    _ending: Ending,
}

impl HttpBody for Audited {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(context);
        if let (Poll::Ready(Some(Ok(frame))), Some(copy)) = (&polled, self.copy.as_mut())
            && let (Some(data), Some(bytes)) = (frame.data_ref(), copy.bytes.as_mut())
        {
            if bytes.len() + data.len() > ANSWER_BYTES {
                copy.bytes = None;
            } else {
                bytes.extend_from_slice(data);
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
