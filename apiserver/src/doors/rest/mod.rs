//! The Kubernetes REST API.

pub mod answer;
mod audit;
pub mod body;
mod elsewhere;
mod kubelet_page;
pub mod negotiate;
pub mod path;
pub(crate) mod protobuf;
pub mod query;
pub(crate) mod resource;
mod shape;
mod stream;
mod system;
mod table;
mod watch;

use std::sync::Arc;

use http::{
    HeaderMap, HeaderValue, Request, Response,
    header::{ACCEPT, ACCEPT_ENCODING, CACHE_CONTROL, USER_AGENT},
};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use kubelab_api::Error;
use uuid::Uuid;

pub(super) use elsewhere::fetch;
pub use system::{VERSION, platform};

use super::{Body, Connection, Doors, bearer};
use crate::{
    audit::within,
    corridor::{User, Verb},
    fairness::{Flow, schema::Digest, width::Width},
};
use answer::Wrapping;
use path::Target;
use query::Query;

/// Names a request in the answer and in logs.
const AUDIT_ID: &str = "audit-id";

/// Answers one REST request.
pub(super) async fn serve(
    doors: Arc<Doors>,
    connection: Arc<Connection>,
    mut request: Request<Incoming>,
) -> Response<Body> {
    let audit_id = request.headers().get(AUDIT_ID).cloned().unwrap_or_else(new_audit_id);
    let query = Query::parse(request.uri().query());
    let (accept, pretty) = (request.headers().get(ACCEPT).cloned(), wants_pretty(request.headers(), &query));
    let asker = doors.corridor.authenticate(connection.holder.as_ref(), bearer(request.headers())).await;
    let target = path::parse(request.uri().path());
    let record = audit::begin(&doors, &connection, asker.as_ref().ok(), target.as_ref(), &mut request, &audit_id);
    let mut flow = None;
    let answered = within(record.as_ref(), pass(&doors, asker, target, query, request, &mut flow)).await;
    if let (Some(record), Err(refusal)) = (&record, &answered) {
        record.refused(refusal);
    }
    let mut response = answered.unwrap_or_else(|refusal| {
        let accept = accept.as_ref().and_then(|value| value.to_str().ok());
        let encoding = negotiate::negotiate(accept, false).unwrap_or_default().encoding;
        answer::error(&refusal, Wrapping { encoding, pretty, ..Wrapping::default() })
    });
    let headers = response.headers_mut();
    headers.insert(AUDIT_ID, audit_id);
    if let Some(flow) = flow {
        flow.mark(headers);
    }
    // Source: `WithCacheControl` in `k8s.io/apiserver/pkg/endpoints/filters`.
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-cache, private"));
    match record {
        Some(record) => audit::end(record, response),
        None => response,
    }
}

/// Answers a request of somebody, or of whom he may act as, once there is a seat for it.
async fn pass(
    doors: &Arc<Doors>,
    asker: Result<User, Error>,
    target: Option<Target>,
    query: Query,
    request: Request<Incoming>,
    flow: &mut Option<Flow>,
) -> Result<Response<Body>, Error> {
    let user = doors.acting(asker?, request.headers())?;
    let path = request.uri().path();
    let remote = doors.aggregator.find(path);
    let method = request.method().as_str().to_ascii_lowercase();
    let verb = target.as_ref().and_then(|target| resource::verb(request.method(), target, &query).ok());
    // Streams that are no watches take no seat.
    let lasting = verb != Some(Verb::Watch)
        && target.as_ref().is_some_and(|target| audit::LONG.contains(&target.subresource.as_str()));
    let mut seat = None;
    if !lasting {
        let none = Target::default();
        let named = target.as_ref().unwrap_or(&none);
        let digest = Digest {
            user: &user,
            verb: verb.map_or(method.as_str(), |verb| verb.name()),
            group: &named.group,
            resource: &named.resource,
            subresource: &named.subresource,
            namespace: &named.namespace,
            path: if target.is_none() { path } else { "" },
        };
        *flow = doors.fairness.classify(&digest);
        if let Some(flow) = flow {
            let width = verb.map_or(Width::ONE, |verb| width(doors, flow, verb, named, &query));
            match doors.fairness.enter(flow, width).await {
                Ok(place) => seat = Some(place),
                Err(_) => return Ok(answer::too_many()),
            }
        }
    }
    let answered = match (remote, target) {
        (Some(remote), target) => {
            let request = request.map(|body| body.map_err(Into::into).boxed_unsync());
            elsewhere::serve(doors, &user, &remote, target, &query, request).await
        }
        (None, Some(target)) => resource::serve(doors, user, target, query, request).await,
        (None, None) => system::serve(doors, &user, &query, &request),
    };
    drop(seat);
    answered
}

/// How many seats a request takes. Source: `estimate` in `k8s.io/apiserver/pkg/util/flowcontrol/request/width.go`.
fn width(doors: &Doors, flow: &Flow, verb: Verb, target: &Target, query: &Query) -> Width {
    let (group, resource) = (target.group.as_str(), target.resource.as_str());
    match verb {
        // Of one object by its name there is no more than one.
        Verb::List | Verb::Watch if !target.name.is_empty() => Width::ONE,
        Verb::List => {
            let limit = query.get("limit").and_then(|limit| limit.parse().ok()).unwrap_or(0);
            doors.fairness.list(flow, group, resource, limit)
        }
        // A watch has its seat while it tells what is there already.
        Verb::Watch => match (query.flag("sendInitialEvents"), query.get("resourceVersion")) {
            (Some(true), _) | (_, None | Some("" | "0")) => doors.fairness.list(flow, group, resource, 0),
            _ => Width::ONE,
        },
        Verb::Create if target.subresource == "token" => Width::ONE,
        Verb::Create | Verb::Update | Verb::Patch | Verb::Delete => {
            doors.fairness.write(flow, doors.metrics.watchers(group, resource))
        }
        Verb::Get | Verb::DeleteCollection => Width::ONE,
    }
}

fn new_audit_id() -> HeaderValue {
    HeaderValue::from_str(&Uuid::new_v4().to_string()).unwrap_or_else(|_| HeaderValue::from_static(""))
}

fn header(headers: &HeaderMap, name: http::header::HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// A person asks.
fn wants_pretty(headers: &HeaderMap, query: &Query) -> bool {
    negotiate::wants_pretty(query.get("pretty"), header(headers, USER_AGENT).unwrap_or_default())
}

/// The caller can decompress gzip.
pub(crate) fn accepts_gzip(headers: &HeaderMap) -> bool {
    header(headers, ACCEPT_ENCODING).is_some_and(|accepted| {
        accepted.split(',').any(|coding| coding.split(';').next().is_some_and(|name| name.trim() == "gzip"))
    })
}
