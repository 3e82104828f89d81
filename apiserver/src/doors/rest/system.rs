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
    metrics::{self, Look},
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
    if let Some(response) = discovery::answer(registry, &doors.aggregator.view(), &doors.address, path, headers) {
        return Ok(response);
    }
    if let Some(response) = doors.openapi.answer(registry, &doors.aggregator.view(), path, headers) {
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
            let store = doors.corridor.store();
            let text = doors.metrics.text(&Look {
                under_way: doors.limits.under_way(),
                member: &store.member().borrow(),
                state: &store.local(),
                fairness: &doors.fairness,
            });
            Ok(metrics_text(text))
        }
        "/metrics/slis" => Ok(metrics_text(metrics::slis(doors.health.all()))),
        "/" => {
            let own = ["/api", "/api/v1", "/apis", "/apis/"];
            let mut paths: Vec<String> = own.map(str::to_owned).into();
            for resource in registry.resources().iter().filter(|resource| !resource.group.is_empty()) {
                for path in [format!("/apis/{}", resource.group), format!("/apis/{}", resource.api_version())] {
                    if !paths.contains(&path) {
                        paths.push(path);
                    }
                }
            }
            for remote in doors.aggregator.view().remotes() {
                paths.push(format!("/apis/{}", remote.group));
                paths.push(format!("/apis/{}/{}", remote.group, remote.version));
            }
            let own = ["/healthz", "/livez", "/metrics", "/metrics/slis", "/openapi/v2", "/openapi/v3", "/openapi/v3/"];
            paths.extend(own.map(str::to_owned));
            paths.extend(
                ["/.well-known/openid-configuration", "/openid/v1/jwks", "/readyz", "/version"].map(str::to_owned),
            );
            for (name, root, _) in doors.health.all() {
                paths.push(format!("/{root}/{name}"));
            }
            paths.sort();
            paths.dedup();
            Ok(answer::object(StatusCode::OK, json!({ "paths": paths }).to_string().into(), wrapping))
        }
        _ => Ok(answer::no_page()),
    }
}

/// Source: `pkg/routes/openidmetadata.go`.
fn public(json: String, content_type: &'static str) -> Response<Body> {
    let mut response = answer::text(StatusCode::OK, json);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600"));
    response
}

/// Source: `k8s.io/component-base/metrics`, whose text format this is.
fn metrics_text(text: String) -> Response<Body> {
    let mut response = answer::text(StatusCode::OK, text);
    let format = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, format);
    response
}

/// The version of this build, as upstream writes versions.
pub const VERSION: &str = concat!("v1.37.0+kubelab-", env!("CARGO_PKG_VERSION"));

/// `linux/amd64`.
pub fn platform() -> String {
    format!("{}/{}", std::env::consts::OS, go_architecture())
}

/// Every field of `version.Info` in `k8s.io/apimachinery/pkg/version` (v1.37). Clients take apart `gitVersion` and
/// `goVersion`, so these look like upstream's.
fn version() -> serde_json::Value {
    json!({
        "major": "1",
        "minor": "37",
        "emulationMajor": "1",
        "emulationMinor": "37",
        "minCompatibilityMajor": "1",
        "minCompatibilityMinor": "36",
        "gitVersion": VERSION,
        "gitCommit": "0000000000000000000000000000000000000000",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "go1.26.0",
        "compiler": "rustc",
        "platform": platform(),
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
