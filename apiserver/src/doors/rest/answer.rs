//! HTTP responses: whole, in pieces, compressed, for people.

use std::{convert::Infallible, io::Write};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use futures::stream;
use http::{
    HeaderValue, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER, VARY, X_CONTENT_TYPE_OPTIONS},
};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use kubelab_api::Error;

use super::{negotiate::Encoding, protobuf::encode};
use crate::doors::{Body, limits::TOO_MANY};

/// Answers from this size on are compressed. Source: `defaultGzipThresholdBytes` in
/// `k8s.io/apiserver/pkg/endpoints/handlers/responsewriters/writers.go`.
const GZIP_THRESHOLD: usize = 128 * 1024;

/// How one answer is sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wrapping {
    /// JSON, protobuf, or for people YAML.
    pub encoding: Encoding,
    /// Indented.
    pub pretty: bool,
    /// The caller can decompress.
    pub gzip: bool,
}

impl Wrapping {
    /// The answer is not the JSON as it stands.
    fn rewrites(self) -> bool {
        self.pretty || self.encoding != Encoding::Json
    }
}

/// A body that is known as a whole.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never: Infallible| match never {}).boxed_unsync()
}

/// A plain text.
pub fn text(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(full(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// A path that is nothing, in Go's words: `http.NotFound`.
pub fn no_page() -> Response<Body> {
    text(StatusCode::NOT_FOUND, "404 page not found\n")
}

/// Too many requests are under way. Source: `tooManyRequests` in `k8s.io/apiserver/pkg/server/filters/maxinflight.go`.
pub fn too_many() -> Response<Body> {
    let mut response = text(StatusCode::TOO_MANY_REQUESTS, format!("{TOO_MANY}\n"));
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(1));
    response
}

/// A refusal.
pub fn error(error: &Error, wrapping: Wrapping) -> Response<Body> {
    if error.message == TOO_MANY {
        return too_many();
    }
    let json = serde_json::to_vec(&error.to_status()).unwrap_or_default();
    let status = StatusCode::from_u16(error.code()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = object(status, json.into(), wrapping);
    if let Some(seconds) = error.details.as_ref().and_then(|details| details.retry_after_seconds) {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// A body of several pieces of JSON, which are made only as fast as they are sent.
pub fn pieces<I>(status: StatusCode, mut pieces: I, wrapping: Wrapping) -> Response<Body>
where
    I: Iterator<Item = Bytes> + Send + 'static,
{
    if wrapping.rewrites() {
        return object(status, pieces.flatten().collect::<Vec<u8>>().into(), wrapping);
    }
    // Whole, with a length, when it fits two pieces; else as a stream.
    let (first, second) = (pieces.next().unwrap_or_default(), pieces.next());
    let (Some(second), third) = (second, pieces.next()) else {
        return object(status, first, wrapping);
    };
    let pieces = [first, second].into_iter().chain(third).chain(pieces);
    if !wrapping.gzip {
        let frames = stream::iter(pieces.map(|piece| Ok(Frame::data(piece))));
        return respond(status, wrapping.encoding, StreamBody::new(frames).boxed_unsync());
    }
    let frames = stream::iter(compress(pieces).map(|piece| Ok(Frame::data(piece))));
    let mut response = respond(status, wrapping.encoding, StreamBody::new(frames).boxed_unsync());
    response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    response.headers_mut().insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    response
}

/// A finished piece of JSON.
pub fn object(status: StatusCode, json: Bytes, wrapping: Wrapping) -> Response<Body> {
    if !wrapping.rewrites() {
        return encoded(status, json, wrapping);
    }
    match rewrite(&json, wrapping.encoding) {
        Ok(bytes) => encoded(status, bytes, wrapping),
        Err(refusal) => error(&refusal, Wrapping::default()),
    }
}

/// A whole answer that is already written as it is wanted.
pub fn encoded(status: StatusCode, bytes: Bytes, wrapping: Wrapping) -> Response<Body> {
    if !wrapping.gzip || bytes.len() <= GZIP_THRESHOLD {
        return respond(status, wrapping.encoding, full(bytes));
    }
    let whole: Vec<u8> = compress(std::iter::once(bytes)).flatten().collect();
    let mut response = respond(status, wrapping.encoding, full(whole));
    response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    response.headers_mut().insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    response
}

/// A watch, which goes out as it comes.
pub fn stream(encoding: Encoding, body: Body) -> Response<Body> {
    let mut response = respond(StatusCode::OK, encoding, body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(encoding.stream_type()));
    response
}

/// A body with the headers that every answer has.
fn respond(status: StatusCode, encoding: Encoding, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(encoding.media_type()));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}

fn rewrite(json: &[u8], encoding: Encoding) -> Result<Bytes, Error> {
    let mut out = Vec::with_capacity(json.len() * 2);
    match encoding {
        Encoding::Json => {
            let mut pretty = serde_json::Serializer::pretty(&mut out);
            serde_transcode::transcode(&mut serde_json::Deserializer::from_slice(json), &mut pretty)
                .map_err(Error::internal)?;
            out.push(b'\n');
        }
        Encoding::Protobuf => return encode::any(json),
        Encoding::Yaml => {
            let value: serde_json::Value = serde_json::from_slice(json).map_err(Error::internal)?;
            out.extend_from_slice(serde_saphyr::to_string(&value).map_err(Error::internal)?.as_bytes());
        }
    }
    Ok(out.into())
}

/// The same pieces, compressed as they go by.
fn compress<I: Iterator<Item = Bytes>>(mut pieces: I) -> impl Iterator<Item = Bytes> {
    let mut encoder = Some(GzEncoder::new(Vec::new(), Compression::fast()));
    std::iter::from_fn(move || {
        loop {
            let gzip = encoder.as_mut()?;
            match pieces.next() {
                Some(piece) => {
                    // A Vec takes every write.
                    gzip.write_all(&piece).ok()?;
                    if gzip.get_ref().len() >= 16 * 1024 {
                        return Some(Bytes::from(std::mem::take(gzip.get_mut())));
                    }
                }
                None => return encoder.take()?.finish().ok().map(Bytes::from),
            }
        }
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::Read;

    use flate2::read::GzDecoder;

    use super::*;

    fn numbers(count: u32) -> impl Iterator<Item = Bytes> + Send + 'static {
        (0..count).map(|n| Bytes::from(format!("{n}").repeat(10_000)))
    }

    async fn body(response: Response<Body>) -> Bytes {
        response.into_body().collect().await.unwrap().to_bytes()
    }

    #[tokio::test]
    async fn long_answers_are_compressed_in_pieces() {
        let plain: Vec<u8> = numbers(40).flatten().collect();
        let wrapping = Wrapping { gzip: true, ..Wrapping::default() };
        let response = pieces(StatusCode::OK, numbers(40), wrapping);
        assert_eq!(response.headers()[CONTENT_ENCODING], "gzip");
        let mut unpacked = Vec::new();
        GzDecoder::new(&body(response).await[..]).read_to_end(&mut unpacked).unwrap();
        assert_eq!(unpacked, plain);
        let response = pieces(StatusCode::OK, numbers(40), Wrapping::default());
        assert_eq!(body(response).await, plain);
    }

    #[tokio::test]
    async fn short_answers_have_a_length() {
        let wrapping = Wrapping { gzip: true, ..Wrapping::default() };
        let response = pieces(StatusCode::OK, std::iter::once(Bytes::from_static(b"{}")), wrapping);
        assert!(!response.headers().contains_key(CONTENT_ENCODING));
        assert_eq!(http_body::Body::size_hint(response.body()).exact(), Some(2));
    }

    #[tokio::test]
    async fn people_get_lines() {
        let json = Bytes::from_static(br#"{"b":[1,{"a":null}]}"#);
        let pretty = Wrapping { pretty: true, ..Wrapping::default() };
        let text = body(object(StatusCode::OK, json.clone(), pretty)).await;
        assert_eq!(text, "{\n  \"b\": [\n    1,\n    {\n      \"a\": null\n    }\n  ]\n}\n");
        let yaml = Wrapping { encoding: Encoding::Yaml, ..Wrapping::default() };
        let text = body(object(StatusCode::OK, json, yaml)).await;
        assert!(text.starts_with(b"b:\n"), "{text:?}");
    }
}
