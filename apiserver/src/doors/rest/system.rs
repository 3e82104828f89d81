//! Paths that are no resource: health, version, metrics, discovery, OpenAPI.

use http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, HOST},
};
use hyper::body::Incoming;
use kubelab_api::Error;
use serde_json::json;

use super::{accepts_gzip, answer, answer::Wrapping, header, query::Query, wants_pretty};
use crate::{
    authentication::discovery as oidc,
    corridor::User,
    discovery,
    doors::{Body, Doors},
};

/// Anyone may ask for these. Source: `--authorization-always-allow-paths`.
const ALWAYS_ALLOWED: [&str; 3] = ["/healthz", "/livez", "/readyz"];

pub(super) fn serve(
    doors: &Doors,
    user: &User,
    query: &Query,
    request: &Request<Incoming>,
) -> Result<Response<Body>, Error> {
    let path = request.uri().path();
    let headers = request.headers();
    if !ALWAYS_ALLOWED.contains(&path) {
        let verb = request.method().as_str().to_ascii_lowercase();
        doors.corridor.authorize_path(user, &verb, path)?;
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Err(Error::method_not_allowed());
    }
    if let Some(response) = doors.health.answer(path, query) {
        return Ok(response);
    }
    let registry = doors.corridor.registry();
    if let Some(response) = discovery::answer(registry, path, headers) {
        return Ok(response);
    }
    if let Some(response) = doors.openapi.answer(registry, path, headers) {
        return response;
    }
    let wrapping =
        Wrapping { pretty: wants_pretty(headers, query), gzip: accepts_gzip(headers), ..Wrapping::default() };
    match path.strip_suffix('/').unwrap_or(path) {
        oidc::CONFIGURATION => {
            let address = request.uri().authority().map(|authority| authority.as_str());
            let address = address.or_else(|| header(headers, HOST)).unwrap_or(&doors.name);
            let json = oidc::configuration(doors.corridor.token_keys(), address);
            return Ok(public(json.to_string(), "application/json"));
        }
        oidc::JWKS => {
            let json = oidc::jwks(doors.corridor.token_keys());
            return Ok(public(json.to_string(), "application/jwk-set+json"));
        }
        _ => {}
    }
    match path {
        "/version" | "/version/" => Ok(answer::object(StatusCode::OK, version().to_string().into(), wrapping)),
        "/metrics" => {
            let text = doors.metrics.text(doors.limits.under_way(), &doors.corridor.store().member().borrow());
            let mut response = answer::text(StatusCode::OK, text);
            let open_metrics = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
            response.headers_mut().insert(CONTENT_TYPE, open_metrics);
            Ok(response)
        }
        "/" => {
            let mut paths: Vec<String> = ["/api", "/api/v1", "/apis"].map(str::to_owned).into();
            for resource in registry.resources().iter().filter(|resource| !resource.group.is_empty()) {
                for path in [format!("/apis/{}", resource.group), format!("/apis/{}", resource.api_version())] {
                    if !paths.contains(&path) {
                        paths.push(path);
                    }
                }
            }
            for path in ["/healthz", "/livez", "/metrics", "/openapi/v2", "/openapi/v3", "/readyz", "/version"] {
                paths.push(path.to_owned());
            }
            Ok(answer::object(StatusCode::OK, json!({ "paths": paths }).to_string().into(), wrapping))
        }
        _ => Err(Error::no_such_page()),
    }
}

/// Source: `pkg/routes/openidmetadata.go`.
fn public(json: String, content_type: &'static str) -> Response<Body> {
    let mut response = answer::text(StatusCode::OK, json);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600"));
    response
}

fn version() -> serde_json::Value {
    json!({
        "major": "1",
        "minor": "37",
        "emulationMajor": "1",
        "emulationMinor": "37",
        "minCompatibilityMajor": "1",
        "minCompatibilityMinor": "36",
        "gitVersion": concat!("v1.37.0+kubelab-", env!("CARGO_PKG_VERSION")),
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, go_architecture()),
    })
}

/// The architecture as Go names it, and so everyone in Kubernetes.
fn go_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
