//! The Kubernetes REST API.

pub mod answer;
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
use uuid::Uuid;

use super::{Body, Connection, Doors};
use answer::Wrapping;
use query::Query;

/// Names a request in the answer and in logs.
const AUDIT_ID: &str = "audit-id";

/// Answers one REST request.
pub(super) async fn serve(
    doors: Arc<Doors>,
    connection: Arc<Connection>,
    request: Request<Incoming>,
) -> Response<Body> {
    let audit_id = request.headers().get(AUDIT_ID).cloned().unwrap_or_else(new_audit_id);
    let query = Query::parse(request.uri().query());
    let people = Wrapping { pretty: wants_pretty(request.headers(), &query), ..Wrapping::default() };
    let answered = match doors.authenticate(&connection, request.headers()).await {
        Err(refusal) => Err(refusal),
        Ok(user) => match path::parse(request.uri().path()) {
            Some(target) => resource::serve(&doors, user, target, query, request).await,
            None => system::serve(&doors, &user, &query, &request),
        },
    };
    let mut response = answered.unwrap_or_else(|refusal| answer::error(&refusal, people));
    response.headers_mut().insert(AUDIT_ID, audit_id);
    response
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
