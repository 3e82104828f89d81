//! One request: from the client to an endpoint and back.

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Request, Response, StatusCode, Uri, Version,
    header::{CONNECTION, CONTENT_TYPE, HOST, LOCATION, TE, TRANSFER_ENCODING, UPGRADE},
};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use rand::seq::SliceRandom;

use super::{Controller, routes::Backend, upstream::endpoints};
use crate::{Failure, Protocol};

/// The body of an answer.
pub type Body = BoxBody<Bytes, hyper::Error>;

/// Endpoints that are tried. Source: nginx' `proxy_next_upstream_tries` of the controller's defaults.
const TRIES: usize = 3;

/// Headers that are about one connection alone.
const HOP_BY_HOP: [HeaderName; 4] = [CONNECTION, TE, TRANSFER_ENCODING, UPGRADE];

/// How a request came.
#[derive(Clone, Copy, Debug)]
pub struct Origin {
    /// From whom.
    pub from: Option<IpAddr>,
    /// Over TLS.
    pub secure: bool,
}

/// What became of a request, for the log.
pub struct Outcome {
    /// The answer.
    pub response: Response<Body>,
    /// The backend that it was for.
    pub backend: Option<Backend>,
    /// The endpoint that gave it.
    pub endpoint: Option<SocketAddr>,
}

impl Controller {
    /// Answers a request.
    pub(super) async fn answer(&self, request: Request<Incoming>, origin: Origin) -> Outcome {
        let alone = |status| Outcome { response: page(status), backend: None, endpoint: None };
        let host = host_of(&request);
        let name = host.rsplit_once(':').map_or(host.as_str(), |(name, _)| name);
        let table = self.table();
        let path = request.uri().path().to_owned();
        let (backend, path) = match table.find(name, &path) {
            Some(route) if route.redirects && !origin.secure => {
                let query = request.uri().path_and_query().map_or("/", |path| path.as_str());
                return Outcome { response: redirect(&format!("https://{name}{query}")), ..alone(StatusCode::OK) };
            }
            Some(route) => (route.backend.clone(), route.rewritten(&path)),
            None => (table.rest().cloned(), path),
        };
        let Some(backend) = backend else { return alone(StatusCode::NOT_FOUND) };
        let mut found = self.endpoints(&backend);
        found.shuffle(&mut rand::rng());
        let mut status = StatusCode::SERVICE_UNAVAILABLE;
        for endpoint in found.into_iter().take(TRIES) {
            let stream = match self.container.network.dial(endpoint, Protocol::Tcp).await {
                Ok(stream) => stream,
                Err(failure) => {
                    let dropped = failure == Failure::Dropped;
                    status = if dropped { StatusCode::GATEWAY_TIMEOUT } else { StatusCode::BAD_GATEWAY };
                    continue;
                }
            };
            // From here on the endpoint may have heard of it, so no other gets it.
            let response = forward(stream, request, origin, &host, &path).await.unwrap_or_else(|error| {
                tracing::debug!(%endpoint, %error, "an endpoint broke off");
                page(StatusCode::BAD_GATEWAY)
            });
            return Outcome { response, backend: Some(backend), endpoint: Some(endpoint) };
        }
        Outcome { response: page(status), backend: Some(backend), endpoint: None }
    }

    fn endpoints(&self, backend: &Backend) -> Vec<SocketAddr> {
        let Some(service) = self.services.get(&backend.namespace, &backend.service) else { return Vec::new() };
        let mut slices = self.slices.list_in(&backend.namespace);
        slices.retain(|slice| crate::dns::zone::service_of(slice) == Some(&backend.service));
        endpoints(&service, &slices, &backend.port)
    }
}

async fn forward(
    stream: tokio::io::DuplexStream,
    mut request: Request<Incoming>,
    origin: Origin,
    host: &str,
    path: &str,
) -> Result<Response<Body>, hyper::Error> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to an endpoint broke");
        }
    });
    let target = match request.uri().query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    *request.uri_mut() = target.parse().unwrap_or_else(|_| Uri::from_static("/"));
    *request.version_mut() = Version::HTTP_11;
    complete(&mut request, origin, host);
    let mut response = sender.send_request(request).await?;
    HOP_BY_HOP.iter().for_each(|name| drop(response.headers_mut().remove(name)));
    *response.version_mut() = Version::HTTP_11;
    Ok(response.map(BodyExt::boxed))
}

/// Tells the backend who asked. Source: the headers in ingress-nginx' template.
fn complete(request: &mut Request<Incoming>, origin: Origin, host: &str) {
    let headers = request.headers_mut();
    HOP_BY_HOP.iter().for_each(|name| drop(headers.remove(name)));
    let scheme = if origin.secure { "https" } else { "http" };
    let port = if origin.secure { "443" } else { "80" };
    let client = origin.from.map(|from| from.to_string()).unwrap_or_default();
    let id = headers.get("x-request-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
    let id = id.unwrap_or_else(|| format!("{:032x}", rand::random::<u128>()));
    for (name, value) in [
        ("host", host),
        ("x-request-id", &id),
        ("x-real-ip", &client),
        ("x-forwarded-for", &client),
        ("x-forwarded-host", host),
        ("x-forwarded-port", port),
        ("x-forwarded-proto", scheme),
        ("x-forwarded-scheme", scheme),
        ("x-scheme", scheme),
    ] {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
}

fn host_of(request: &Request<Incoming>) -> String {
    let named = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    named.or_else(|| request.uri().authority().map(http::uri::Authority::as_str)).unwrap_or_default().to_owned()
}

fn redirect(location: &str) -> Response<Body> {
    let mut response = page(StatusCode::PERMANENT_REDIRECT);
    if let Ok(location) = HeaderValue::from_str(location) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

/// What nginx answers by itself.
fn page(status: StatusCode) -> Response<Body> {
    let title = match status {
        StatusCode::SERVICE_UNAVAILABLE => "503 Service Temporarily Unavailable".to_owned(),
        StatusCode::GATEWAY_TIMEOUT => "504 Gateway Time-out".to_owned(),
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
