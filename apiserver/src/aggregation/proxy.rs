//! Passes a request on to another server, in the name of who asks.
//! Source: `pkg/apiserver/handler_proxy.go` of kube-aggregator and `transport/round_trippers.go` of client-go.

use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode,
    header::{AUTHORIZATION, CONNECTION, HOST, TE, TRAILER, TRANSFER_ENCODING, UPGRADE},
};
use http_body_util::BodyExt;
use hyper::{body::Incoming, upgrade::OnUpgrade};
use hyper_util::rt::TokioIo;
use kubelab_store::State;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rand::seq::IndexedRandom;
use tokio::io::copy_bidirectional;

use super::{remote::Remote, resolve::resolve};
use crate::{
    corridor::User,
    doors::{Body, rest::answer},
};

/// What belongs to one connection and not to the request (RFC 9110, 7.6.1).
const OF_CONNECTION: [HeaderName; 6] = [
    CONNECTION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// Answers a request with the remote's answer.
pub async fn forward(remote: &Remote, state: &State, user: &User, request: Request<Body>) -> Response<Body> {
    if !remote.is_available() {
        return failure("service unavailable");
    }
    let Ok(addresses) = resolve(state, &remote.namespace, &remote.service, remote.port) else {
        return failure("service unavailable");
    };
    let Some(address) = addresses.choose(&mut rand::rng()) else { return failure("service unavailable") };
    let wants_upgrade = request.headers().contains_key(UPGRADE)
        && request.headers().get(CONNECTION).is_some_and(|value| {
            value.to_str().unwrap_or_default().split(',').any(|token| token.trim().eq_ignore_ascii_case("upgrade"))
        });
    let (mut head, body) = request.into_parts();
    let client = head.extensions.remove::<OnUpgrade>();
    let upgrade = head.headers.get(UPGRADE).cloned().filter(|_| wants_upgrade);
    head.headers.remove(UPGRADE);
    OF_CONNECTION.iter().for_each(|name| drop(head.headers.remove(name)));
    head.headers.remove(AUTHORIZATION);
    let impersonating: Vec<HeaderName> =
        head.headers.keys().filter(|name| name.as_str().starts_with("impersonate-")).cloned().collect();
    impersonating.iter().for_each(|name| drop(head.headers.remove(name)));
    speak_for(user, &mut head.headers);
    if let Some(upgrade) = &upgrade {
        head.headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        head.headers.insert(UPGRADE, upgrade.clone());
    }
    if let Ok(host) = HeaderValue::from_str(address) {
        head.headers.insert(HOST, host);
    }
    if let Some(path) = head.uri.path_and_query().cloned() {
        head.uri = path.into();
    }
    head.version = http::Version::HTTP_11;
    head.extensions.clear();
    let request = Request::from_parts(head, body);
    let answered = match upgrade {
        Some(_) => remote.upgrade(address, request).await,
        None => remote.send(address, request).await,
    };
    match answered {
        Ok(response) => pass_back(response, client),
        Err(error) => failure(&format!("error trying to reach service: {error}")),
    }
}

fn pass_back(mut response: Response<Incoming>, client: Option<OnUpgrade>) -> Response<Body> {
    if response.status() == StatusCode::SWITCHING_PROTOCOLS
        && let Some(client) = client
    {
        let server = hyper::upgrade::on(&mut response);
        tokio::spawn(async move {
            if let (Ok(client), Ok(server)) = (client.await, server.await) {
                // Either side may end it at any time.
                let _ = copy_bidirectional(&mut TokioIo::new(client), &mut TokioIo::new(server)).await;
            }
        });
    } else {
        OF_CONNECTION.iter().for_each(|name| drop(response.headers_mut().remove(name)));
    }
    response.map(|body| body.map_err(Into::into).boxed_unsync())
}

/// In Go's words: `http.Error`.
fn failure(message: &str) -> Response<Body> {
    answer::text(StatusCode::SERVICE_UNAVAILABLE, format!("{message}\n"))
}

/// Says in the headers who asks. What a client wrote there is removed.
pub fn speak_for(user: &User, headers: &mut HeaderMap) {
    let forged: Vec<HeaderName> =
        headers.keys().filter(|name| name.as_str().starts_with("x-remote-")).cloned().collect();
    forged.iter().for_each(|name| drop(headers.remove(name)));
    let mut add = |name: &str, value: &str| {
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value.as_bytes()))
        {
            headers.append(name, value);
        }
    };
    add("x-remote-user", &user.name);
    if !user.uid.is_empty() {
        add("x-remote-uid", &user.uid);
    }
    for group in &user.groups {
        add("x-remote-group", group);
    }
    for (key, values) in &user.extra {
        for value in values {
            add(&format!("x-remote-extra-{}", escape(key)), value);
        }
    }
}

/// What may not stand in a header's name as it is. Source: `headerKeyEscape` in `transport/round_trippers.go` of client-go.
const UNFIT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'*')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

/// A key as part of a header's name.
fn escape(key: &str) -> String {
    utf8_percent_encode(key, UNFIT).to_string()
}
