//! The Kubernetes REST API.

pub mod answer;
mod audit;
pub mod body;
pub mod negotiate;
pub mod path;
mod protobuf;
pub mod query;
mod resource;
mod shape;
mod stream;
mod system;
mod table;
mod watch;

use std::sync::Arc;

use http::{
    HeaderMap, HeaderValue, Request, Response,
    header::{ACCEPT_ENCODING, USER_AGENT},
};
use hyper::body::Incoming;
use kubelab_api::Error;
use uuid::Uuid;

use super::{Body, Connection, Doors, bearer};
use crate::{audit::within, corridor::User};
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
    let people = Wrapping { pretty: wants_pretty(request.headers(), &query), ..Wrapping::default() };
    let asker = doors.corridor.authenticate(connection.holder.as_ref(), bearer(request.headers())).await;
    let target = path::parse(request.uri().path());
    let record = audit::begin(&doors, &connection, asker.as_ref().ok(), target.as_ref(), &mut request, &audit_id);
    let answered = within(record.as_ref(), pass(&doors, asker, target, query, request)).await;
    if let (Some(record), Err(refusal)) = (&record, &answered) {
        record.refused(refusal);
    }
    let mut response = answered.unwrap_or_else(|refusal| answer::error(&refusal, people));
    response.headers_mut().insert(AUDIT_ID, audit_id);
    match record {
        Some(record) => audit::end(record, response),
        None => response,
    }
}

/// Answers a request of somebody, or of whom he may act as.
async fn pass(
    doors: &Arc<Doors>,
    asker: Result<User, Error>,
    target: Option<Target>,
    query: Query,
    request: Request<Incoming>,
) -> Result<Response<Body>, Error> {
    let user = doors.acting(asker?, request.headers())?;
    match target {
        Some(target) => resource::serve(doors, user, target, query, request).await,
        None => system::serve(doors, &user, &query, &request),
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
