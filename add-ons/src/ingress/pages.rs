//! What nginx answers by itself.

use bytes::Bytes;
use http::{
    HeaderValue, Response, StatusCode,
    header::{CONTENT_TYPE, LOCATION},
};
use http_body_util::{BodyExt, Empty, Full, combinators::BoxBody};

/// Why a body ends before its end.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// The body of an answer.
pub type Body = BoxBody<Bytes, BodyError>;

/// The page of a status.
pub fn page(status: StatusCode) -> Response<Body> {
    let title = match status {
        StatusCode::SERVICE_UNAVAILABLE => "503 Service Temporarily Unavailable".to_owned(),
        StatusCode::GATEWAY_TIMEOUT => "504 Gateway Time-out".to_owned(),
        StatusCode::PAYLOAD_TOO_LARGE => "413 Request Entity Too Large".to_owned(),
        StatusCode::UNAUTHORIZED => "401 Authorization Required".to_owned(),
        other => format!("{} {}", other.as_u16(), other.canonical_reason().unwrap_or_default()),
    };
    let lines = [
        "<html>".to_owned(),
        format!("<head><title>{title}</title></head>"),
        "<body>".to_owned(),
        format!("<center><h1>{title}</h1></center>"),
        "<hr><center>nginx</center>".to_owned(),
        "</body>".to_owned(),
        "</html>".to_owned(),
        String::new(),
    ];
    let body = Full::from(Bytes::from(lines.join("\r\n"))).map_err(|never| match never {});
    let mut response = Response::new(body.boxed());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html"));
    response
}

/// The answer that sends a client elsewhere.
pub fn redirect(status: StatusCode, location: &str) -> Response<Body> {
    let mut response = page(status);
    if let Ok(location) = HeaderValue::from_str(location) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

/// The answer to a browser that asks whether it may ask.
pub fn preflight() -> Response<Body> {
    let mut response = Response::new(Empty::new().map_err(|never| match never {}).boxed());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain charset=UTF-8"));
    response
}
