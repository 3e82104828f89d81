//! What a request carries: read within bounds, and turned into JSON.

use std::thread;

use bytes::{Bytes, BytesMut};
use http_body::Body as HttpBody;
use http_body_util::BodyExt;
use kubelab_api::{Error, Reason};
use serde_saphyr::{Budget, DuplicateKeyPolicy, with_deserializer_from_slice_with_options};

use super::protobuf;
use crate::corridor::Body;

/// The most that a request may carry. Source: `MaxRequestBodyBytes` in `k8s.io/apiserver/pkg/server/config.go`.
pub const LIMIT: usize = 3 * 1024 * 1024;

/// So much of a body that is too large is read anyway, before the answer.
const DRAINED: usize = 16 * 1024 * 1024;

/// What YAML may nest; serde_json stops at 128 by itself.
const YAML_DEPTH: usize = 100;

/// The stack for YAML as deep as that: its parser takes some 20 KiB a level in a debug build, more than a server's thread
/// has.
const YAML_STACK: usize = 8 * 1024 * 1024;

/// What aliases of a YAML document may grow to, in events (CVE-2019-11253).
const YAML_REPLAYED: usize = 50_000;

/// The whole body, unless it is too large.
pub async fn read<B>(body: B) -> Result<Bytes, Error>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: std::fmt::Display,
{
    let mut body = body;
    let mut first: Option<Bytes> = None;
    let mut whole = BytesMut::new();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Error::bad_request(format!("the body ended too early: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        length += data.len();
        if length > LIMIT || body.size_hint().lower() > LIMIT as u64 {
            drain(body).await;
            return Err(Error::too_large(format!("Request entity too large: limit is {LIMIT}")));
        }
        // Most bodies are one frame, which needs no copy.
        match first.take() {
            None if whole.is_empty() => first = Some(data),
            None => whole.extend_from_slice(&data),
            Some(start) => {
                whole.extend_from_slice(&start);
                whole.extend_from_slice(&data);
            }
        }
    }
    Ok(first.unwrap_or_else(|| whole.freeze()))
}

/// Reads on for a while, and keeps nothing: many clients look for an answer only once they have sent all.
async fn drain<B: HttpBody<Data = Bytes> + Unpin>(mut body: B) {
    let mut left = DRAINED;
    while let Some(Ok(frame)) = body.frame().await {
        let Some(rest) = left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) else { return };
        left = rest;
    }
}

/// The media type without its parameters.
fn media_type(content_type: &str) -> &str {
    content_type.split(';').next().unwrap_or_default().trim()
}

fn unsupported(accepted: &[&str]) -> Error {
    let message = format!(
        "the body of the request was in an unknown format - accepted media types include: {}",
        accepted.join(", ")
    );
    Error::new(Reason::UnsupportedMediaType, message)
}

/// An object, as JSON.
pub fn object(content_type: &str, bytes: Bytes) -> Result<Body, Error> {
    match media_type(content_type) {
        "" | "application/json" => Ok(Body::Json(bytes)),
        "application/yaml" => yaml(&bytes).map(Body::Json),
        "application/vnd.kubernetes.protobuf" => protobuf::to_json(&bytes).map(Body::Json),
        _ => Err(unsupported(&["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"])),
    }
}

/// A patch, as JSON.
pub fn patch(content_type: &str, bytes: Bytes) -> Result<Body, Error> {
    const TYPES: [&str; 4] = [
        "application/json-patch+json",
        "application/merge-patch+json",
        "application/strategic-merge-patch+json",
        "application/apply-patch+yaml",
    ];
    let media_type = media_type(content_type);
    if !TYPES.contains(&media_type) {
        return Err(unsupported(&TYPES));
    }
    let patch = if media_type == "application/apply-patch+yaml" { yaml(&bytes)? } else { bytes };
    Ok(Body::Patch { media_type: media_type.to_owned(), patch })
}

/// YAML as JSON, event by event: keys that stand twice stay, for strict decoding to find.
pub fn yaml(bytes: &[u8]) -> Result<Bytes, Error> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().stack_size(YAML_STACK).spawn_scoped(scope, || converted(bytes));
        let converted = thread.map_err(Error::internal)?.join();
        converted.unwrap_or_else(|_| Err(Error::internal("the conversion of YAML to JSON ended early")))
    })
}

fn converted(bytes: &[u8]) -> Result<Bytes, Error> {
    let mut options = serde_saphyr::Options::default();
    let mut budget = Budget::default();
    budget.max_depth = YAML_DEPTH;
    options.budget = Some(budget);
    options.duplicate_keys = DuplicateKeyPolicy::LastWins;
    options.alias_limits.max_total_replayed_events = YAML_REPLAYED;
    options.with_snippet = false;

    let mut json = Vec::with_capacity(bytes.len());
    with_deserializer_from_slice_with_options(bytes, options, |deserializer| {
        let mut serializer = serde_json::Serializer::new(&mut json);
        serde_transcode::transcode(deserializer, &mut serializer).map_err(serde::de::Error::custom)
    })
    .map_err(|error| Error::bad_request(format!("error converting YAML to JSON: yaml: {error}")))?;
    Ok(json.into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use http_body_util::Full;

    use super::*;

    fn to_json(text: &str) -> Result<String, String> {
        yaml(text.as_bytes()).map(|json| String::from_utf8(json.to_vec()).unwrap()).map_err(|error| error.message)
    }

    #[test]
    fn yaml_becomes_json() {
        let cases = [
            ("a: 1\nb: [x, 'y', 1.5, true, null]", r#"{"a":1,"b":["x","y",1.5,true,null]}"#),
            ("a: &x {b: c}\nd: *x", r#"{"a":{"b":"c"},"d":{"b":"c"}}"#),
            ("text: |\n  one\n  two\n", "{\"text\":\"one\\ntwo\\n\"}"),
            ("80: web", r#"{"80":"web"}"#),
            ("version: '1.20'", r#"{"version":"1.20"}"#),
            (r#"{"already": "json"}"#, r#"{"already":"json"}"#),
            ("image: a\nimage: b", r#"{"image":"a","image":"b"}"#),
        ];
        for (text, json) in cases {
            assert_eq!(to_json(text).unwrap(), json, "{text}");
        }
    }

    #[test]
    fn hostile_yaml_is_refused() {
        let mut laughs = String::from("a0: &a0 [lol,lol,lol,lol,lol,lol,lol,lol,lol]\n");
        for level in 1..9 {
            let inner = vec![format!("*a{}", level - 1); 9].join(",");
            laughs.push_str(&format!("a{level}: &a{level} [{inner}]\n"));
        }
        let deep = "[".repeat(10_000);
        for text in [laughs.as_str(), deep.as_str(), "a: [", "a: b: c"] {
            let error = to_json(text).unwrap_err();
            assert!(error.starts_with("error converting YAML to JSON: yaml: "), "{error}");
        }
    }

    #[test]
    fn other_formats_are_named() {
        let error = object("text/plain", Bytes::new()).unwrap_err();
        assert_eq!(error.code(), 415);
        assert!(error.message.contains("application/json, application/yaml"));
        assert_eq!(patch("application/json", Bytes::new()).unwrap_err().code(), 415);
        assert!(object("application/json; charset=utf-8", Bytes::new()).is_ok());
    }

    #[tokio::test]
    async fn a_body_has_a_limit() {
        let read_of = |size| read(Full::new(Bytes::from(vec![b'x'; size])));
        assert_eq!(read_of(LIMIT).await.unwrap().len(), LIMIT);
        let error = read_of(LIMIT + 1).await.unwrap_err();
        assert_eq!((error.code(), &*error.message), (413, "Request entity too large: limit is 3145728"));
    }
}
