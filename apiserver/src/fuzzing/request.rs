//! Whole requests: address, query, headers and body.

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Uri,
    header::{ACCEPT, CONTENT_TYPE},
};

use super::{
    body::post,
    ground::{Ground, request},
    line,
};
use crate::{
    authentication::impersonation::Wanted,
    corridor::{Body, Verb},
    doors::{
        origin::Caller,
        rest::{accepts_gzip, body, negotiate, path, query::Query, resource},
    },
    registry::{delete, list, selection::Selection},
};

/// A request as it stands on the wire, without HTTP's version.
pub fn rest(input: &[u8]) {
    let (first, mut rest) = line(input);
    let first = String::from_utf8_lossy(first);
    let (method, uri) = first.split_once(' ').unwrap_or(("GET", &first));
    let (Ok(method), Ok(uri)) = (method.parse::<Method>(), uri.parse::<Uri>()) else { return };
    let mut headers = HeaderMap::new();
    loop {
        let (header, more) = line(rest);
        rest = more;
        let Some(colon) = header.iter().position(|byte| *byte == b':') else { break };
        let (name, value) = (&header[..colon], header[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            let _ = headers.try_append(name, value);
        }
    }
    Caller::of(&headers);
    accepts_gzip(&headers);
    let _ = Wanted::from_headers(&headers);
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let _ = negotiate::negotiate(text(ACCEPT), false);
    let _ = negotiate::negotiate(text(ACCEPT), true);
    let query = Query::parse(uri.query());
    let _ = query.timeout();
    if let Some(target) = path::parse(uri.path())
        && let Ok(verb) = resource::verb(&method, &target, &query)
    {
        about(&target, verb, &query, text(CONTENT_TYPE).unwrap_or_default(), Bytes::copy_from_slice(rest));
    }
}

/// What the address says decides how the body is read.
fn about(target: &path::Target, verb: Verb, query: &Query, content_type: &str, body: Bytes) {
    let Ok(options) = query.options(verb) else { return };
    let Some(handler) = Ground::get().table.find(&target.group, &target.version, &target.resource) else { return };
    match verb {
        Verb::Get | Verb::List | Verb::Watch => {
            let _ = list::validate(&options.list, verb == Verb::Watch);
            let _ = list::continuation(&options.list.continue_token);
            let _ = Selection::new(handler, &target.namespace, &options.list);
        }
        Verb::Create | Verb::Update => {
            if let Ok(Body::Json(json)) = body::object(content_type, body) {
                post(handler, json);
            }
        }
        Verb::Patch => {
            let _ = body::patch(content_type, body);
        }
        Verb::Delete | Verb::DeleteCollection => {
            let _ = query.delete_options();
            if let Ok(body) = body::object(content_type, body) {
                let _ = delete::options(&request(handler, verb, b"{}", body));
            }
        }
    }
}
