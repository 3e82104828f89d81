//! Leaving HTTP: which protocols the client offers, and the answer that changes to one of them.

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode,
    header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, UPGRADE},
};
use hyper::{body::Incoming, upgrade::OnUpgrade};
use kubelab_api::{Error, Reason};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::super::answer;
use crate::doors::Body;

/// The versions of the streams within a SPDY connection.
const STREAM_PROTOCOL: HeaderName = HeaderName::from_static("x-stream-protocol-version");

/// What the client wants to change to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A WebSocket.
    WebSocket,
    /// SPDY/3.1.
    Spdy,
}

/// What the client wants to change to; an error if it does not want to.
/// Source: `k8s.io/apimachinery/pkg/util/proxy` and `pkg/util/httpstream`.
pub fn kind(headers: &HeaderMap) -> Result<Kind, Error> {
    let has = |name: HeaderName, word: &str| {
        let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|part| part.trim().eq_ignore_ascii_case(word))
    };
    match has(CONNECTION, "upgrade") {
        true if has(UPGRADE, "websocket") => Ok(Kind::WebSocket),
        true if has(UPGRADE, "SPDY/3.1") => Ok(Kind::Spdy),
        _ => Err(Error::bad_request("Upgrade request required")),
    }
}

/// The protocols that the client offers, in its order.
fn offered(headers: &HeaderMap, name: HeaderName) -> Vec<String> {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(|part| part.trim().to_owned()).filter(|p| !p.is_empty()).collect()
}

/// A change of protocol that was agreed on.
pub struct Upgrade {
    /// The version of the streams within it; empty if none was offered.
    pub protocol: String,
    /// The connection, once the answer is sent.
    pub connection: OnUpgrade,
    /// The answer.
    pub response: Response<Body>,
}

/// Agrees on one of the versions that are served.
pub fn accept(kind: Kind, mut request: Request<Incoming>, served: &[&str]) -> Result<Upgrade, Error> {
    let headers = request.headers();
    let name = if kind == Kind::WebSocket { SEC_WEBSOCKET_PROTOCOL } else { STREAM_PROTOCOL };
    let offered = offered(headers, name.clone());
    let protocol = offered.iter().find(|offered| served.contains(&offered.as_str())).cloned();
    let protocol = match protocol {
        Some(protocol) => protocol,
        // Source: `Handshake` in `pkg/util/httpstream`: a client that names none speaks the oldest.
        None if offered.is_empty() && served.contains(&"") => String::new(),
        None => {
            let message = format!(
                "unable to upgrade: unable to negotiate protocol: client supports [{}], server accepts [{}]",
                offered.join(" "),
                served.join(" ")
            );
            return Err(Error::new(Reason::Forbidden, message));
        }
    };
    let mut response = Response::new(answer::full(Bytes::new()));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let mut set = |name: HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            response.headers_mut().insert(name, value);
        }
    };
    set(CONNECTION, "Upgrade");
    match kind {
        Kind::WebSocket => {
            let key = headers.get(SEC_WEBSOCKET_KEY).ok_or_else(|| Error::bad_request("missing Sec-WebSocket-Key"))?;
            set(UPGRADE, "websocket");
            set(SEC_WEBSOCKET_ACCEPT, &derive_accept_key(key.as_bytes()));
        }
        Kind::Spdy => set(UPGRADE, "SPDY/3.1"),
    }
    if !protocol.is_empty() {
        set(name, &protocol);
    }
    Ok(Upgrade { protocol, connection: hyper::upgrade::on(&mut request), response })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn clients_say_what_they_change_to() {
        let kind_of = |connection: &'static str, upgrade: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONNECTION, HeaderValue::from_static(connection));
            headers.insert(UPGRADE, HeaderValue::from_static(upgrade));
            kind(&headers).map_err(|error| error.message)
        };
        assert_eq!(kind_of("Upgrade", "SPDY/3.1"), Ok(Kind::Spdy));
        assert_eq!(kind_of("keep-alive, upgrade", "WebSocket"), Ok(Kind::WebSocket));
        assert_eq!(kind_of("close", "websocket"), Err("Upgrade request required".to_owned()));
        assert_eq!(kind_of("upgrade", "h2c"), Err("Upgrade request required".to_owned()));
    }

    #[test]
    fn protocols_are_offered_in_one_header_or_in_several() {
        let mut headers = HeaderMap::new();
        headers.append(STREAM_PROTOCOL, HeaderValue::from_static("v4.channel.k8s.io"));
        headers.append(STREAM_PROTOCOL, HeaderValue::from_static("v3.channel.k8s.io, v2.channel.k8s.io"));
        let all = ["v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io"];
        assert_eq!(offered(&headers, STREAM_PROTOCOL), all);
    }
}
