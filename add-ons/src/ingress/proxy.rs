//! One request: from the client to an endpoint and back, by nginx' phases: redirects, who may ask, what is asked, who
//! answers, and what is said in the place of an answer that failed.

use std::net::SocketAddr;

use http::{
    HeaderValue, Request, Response, StatusCode, Uri, Version,
    header::{CONTENT_LENGTH, HOST, SET_COOKIE, WWW_AUTHENTICATE},
};
use http_body_util::Limited;
use hyper::body::Incoming;
use kubelab_client::clock;

use super::{
    Controller,
    affinity::Stay,
    auth::{Auth, Verdict},
    forward::{Origin, Sent, forward},
    pages::{Body, page, preflight, redirect},
    routes::{Backend, Route},
};
use crate::{Failure, Protocol};

/// Endpoints that are tried. Source: nginx' `proxy_next_upstream_tries` of the controller's defaults.
const TRIES: usize = 3;

/// What became of a request, for the log.
pub struct Outcome {
    /// The answer.
    pub response: Response<Body>,
    /// The backend that it was for.
    pub backend: Option<Backend>,
    /// The endpoint that gave it.
    pub endpoint: Option<SocketAddr>,
}

impl Outcome {
    fn alone(response: Response<Body>) -> Self {
        Self { response, backend: None, endpoint: None }
    }
}

/// What of a request is still needed when it has been sent.
struct Asked {
    method: http::Method,
    headers: http::HeaderMap,
    uri: Uri,
    host: String,
    origin: Origin,
}

impl Controller {
    /// Answers a request.
    pub(super) async fn answer(&self, request: Request<Incoming>, origin: Origin) -> Outcome {
        let host = host_of(&request);
        let name = host.rsplit_once(':').map_or(host.as_str(), |(name, _)| name).to_owned();
        let table = self.table();
        let (head, body) = request.into_parts();
        let asked =
            Asked { method: head.method.clone(), headers: head.headers.clone(), uri: head.uri.clone(), host, origin };
        let Some(route) = table.find(&name, head.uri.path()).or(table.rest()) else {
            return Outcome::alone(page(StatusCode::NOT_FOUND));
        };
        let mut outcome = match redirected(route, &name, &asked).or_else(|| self.refused(route, &asked)) {
            Some(response) => Outcome::alone(response),
            None => {
                let longest =
                    route.settings.max_body.map_or(usize::MAX, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
                self.ask(route, Request::from_parts(head, Limited::new(body, longest)), &asked).await
            }
        };
        let told = route.settings.cors.as_ref().map(|cors| cors.headers(&asked.headers)).unwrap_or_default();
        outcome.response.headers_mut().extend(told);
        outcome
    }

    /// Who may not ask, or not so often or so much, is told so.
    fn refused(&self, route: &Route, asked: &Asked) -> Option<Response<Body>> {
        let (settings, from) = (&route.settings, asked.origin.from);
        let whose = format!("{}/{}", route.ingress.0, route.ingress.1);
        let length = asked.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        let within = |rate| self.limiter.admits(rate, &whose, from, clock::instant());
        if settings.limit.as_ref().is_some_and(|rate| !within(rate)) {
            Some(page(StatusCode::SERVICE_UNAVAILABLE))
        } else if !settings.access.admits(from) {
            Some(page(StatusCode::FORBIDDEN))
        } else if let Some(refusal) = settings.auth.as_ref().and_then(|auth| self.unknown(auth, asked)) {
            Some(refusal)
        } else if settings.max_body.zip(length).is_some_and(|(longest, length)| length > longest) {
            Some(page(StatusCode::PAYLOAD_TOO_LARGE))
        } else {
            None
        }
    }

    fn unknown(&self, auth: &Auth, asked: &Asked) -> Option<Response<Body>> {
        let Some(secret) = self.secrets.get(&auth.namespace, &auth.secret) else {
            // Source: ingress-nginx denies a location whose Secret is missing.
            (self.container.log)(&format!("secret {}/{} for basic auth is not there", auth.namespace, auth.secret));
            return Some(page(StatusCode::SERVICE_UNAVAILABLE));
        };
        match auth.check(&asked.headers, &secret) {
            Verdict::Known => return None,
            Verdict::Unknown => {}
            Verdict::Unreadable => (self.container.log)(&format!(
                "a password in secret {}/{} cannot be checked: keep it as `htpasswd -m` or `htpasswd -s` does",
                auth.namespace, auth.secret
            )),
        }
        let mut response = page(StatusCode::UNAUTHORIZED);
        response.headers_mut().insert(WWW_AUTHENTICATE, auth.challenge());
        Some(response)
    }

    /// Asks the backend, or whoever answers in its place.
    async fn ask(&self, route: &Route, request: Request<Sent>, asked: &Asked) -> Outcome {
        let Some(backend) = route.choose(&asked.headers, rand::random()).cloned() else {
            return Outcome::alone(page(StatusCode::NOT_FOUND));
        };
        let path = route.rewritten(asked.uri.path());
        let outcome = self.send(route, &backend, request, &path, asked).await;
        let status = outcome.response.status();
        let is_intercepted = route.settings.custom_errors.contains(&status.as_u16());
        let is_nobody = status == StatusCode::SERVICE_UNAVAILABLE && self.upstreams.of(&backend).endpoints().is_empty();
        if is_intercepted || (is_nobody && route.settings.default_backend.is_some()) {
            return self.instead(route, &backend, status, asked).await.unwrap_or(outcome);
        }
        outcome
    }

    /// Sends a request to an endpoint of a backend.
    async fn send(
        &self,
        route: &Route,
        backend: &Backend,
        mut request: Request<Sent>,
        path: &str,
        asked: &Asked,
    ) -> Outcome {
        let target = match asked.uri.query() {
            Some(query) => format!("{path}?{query}"),
            None => path.to_owned(),
        };
        *request.uri_mut() = target.parse().unwrap_or_else(|_| Uri::from_static("/"));
        *request.version_mut() = Version::HTTP_11;
        let upstream = self.upstreams.of(backend);
        let affinity = route.settings.affinity.as_ref();
        let stay = affinity.map(|affinity| affinity.stay(&asked.headers).unwrap_or_else(|| Stay::new(rand::random())));
        let order = match affinity.zip(stay) {
            Some((affinity, stay)) => affinity.order(stay, upstream.endpoints()),
            None => upstream.turn(TRIES),
        };
        let mut status = StatusCode::SERVICE_UNAVAILABLE;
        for endpoint in order.into_iter().take(TRIES) {
            let stream = match self.container.network.dial(endpoint, Protocol::Tcp).await {
                Ok(stream) => stream,
                Err(failure) => {
                    let dropped = failure == Failure::Dropped;
                    status = if dropped { StatusCode::GATEWAY_TIMEOUT } else { StatusCode::BAD_GATEWAY };
                    continue;
                }
            };
            // From here on the endpoint may have heard of it, so no other gets it.
            let answered = forward(stream, request, asked.origin, &asked.host, &route.settings.upstream).await;
            let mut response = answered.unwrap_or_else(|error| {
                tracing::debug!(%endpoint, %error, "an endpoint broke off");
                page(error.status())
            });
            if let Some((affinity, stay)) = affinity.zip(stay)
                && affinity.stay(&asked.headers).is_none()
                && let Some(cookie) = affinity.cookie(stay.key(), endpoint, route.cookie_path(), asked.origin.secure)
            {
                response.headers_mut().append(SET_COOKIE, cookie);
            }
            return Outcome { response, backend: Some(backend.clone()), endpoint: Some(endpoint) };
        }
        Outcome { response: page(status), backend: Some(backend.clone()), endpoint: None }
    }

    /// Asks the default backend for a page in the place of an answer. Source: ingress-nginx' custom errors, and the headers
    /// that it documents for them.
    async fn instead(&self, route: &Route, backend: &Backend, status: StatusCode, asked: &Asked) -> Option<Outcome> {
        let fallback = route.fallback()?;
        let text = |name: &str| asked.headers.get(name).cloned().unwrap_or(HeaderValue::from_static(""));
        let said = |text: &str| HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""));
        let mut request = Request::new(http_body_util::Empty::new());
        for (name, value) in [
            ("x-code", said(status.as_str())),
            ("x-format", text("accept")),
            ("x-original-uri", said(asked.uri.path_and_query().map_or("/", |uri| uri.as_str()))),
            ("x-namespace", said(&route.ingress.0)),
            ("x-ingress-name", said(&route.ingress.1)),
            ("x-service-name", said(&backend.service)),
            ("x-request-id", text("x-request-id")),
        ] {
            request.headers_mut().insert(name, value);
        }
        let upstream = self.upstreams.of(&fallback);
        for endpoint in upstream.turn(TRIES) {
            let Ok(stream) = self.container.network.dial(endpoint, Protocol::Tcp).await else { continue };
            let answered = super::forward::page_of(stream, request, asked.origin, &asked.host).await.ok()?;
            return Some(Outcome { response: answered, backend: Some(fallback), endpoint: Some(endpoint) });
        }
        None
    }
}

/// Who is sent elsewhere, or only asks whether it may ask.
fn redirected(route: &Route, name: &str, asked: &Asked) -> Option<Response<Body>> {
    let settings = &route.settings;
    if route.redirects && !asked.origin.secure {
        let query = asked.uri.path_and_query().map_or("/", |path| path.as_str());
        return Some(redirect(StatusCode::PERMANENT_REDIRECT, &format!("https://{name}{query}")));
    }
    if let Some(root) = settings.app_root.as_ref().filter(|_| asked.uri.path() == "/") {
        let scheme = if asked.origin.secure { "https" } else { "http" };
        return Some(redirect(StatusCode::FOUND, &format!("{scheme}://{}{root}", asked.host)));
    }
    if let Some(to) = &settings.redirect {
        return Some(redirect(to.code, &to.location));
    }
    (settings.cors.is_some() && asked.method == http::Method::OPTIONS).then(preflight)
}

fn host_of(request: &Request<Incoming>) -> String {
    let named = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    named.or_else(|| request.uri().authority().map(http::uri::Authority::as_str)).unwrap_or_default().to_owned()
}
