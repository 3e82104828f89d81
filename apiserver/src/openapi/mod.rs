//! How objects look: OpenAPI v3 by group and version, and Swagger 2.0 for all. Documents are made when first asked for,
//! and kept compressed. Source of paths and headers: `k8s.io/kube-openapi/pkg/handler3` and `pkg/handler`.

mod gnostic;
mod parameters;
mod paths;
mod roots;
mod schemas;

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    io::{Read, Write},
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use http::{
    HeaderMap, HeaderValue, Response, StatusCode,
    header::{ACCEPT, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY},
};
use kubelab_api::{Error, Reason, Resource};
use serde_json::{Map, Value, json};

use crate::{
    aggregation::{self, View, merge::groups},
    discovery::etag,
    doors::{
        Body,
        rest::{accepts_gzip, answer, negotiate::clauses},
    },
    registry::Registry,
};
use parameters::Parameters;
use schemas::{Dialect, Schemas};

const JSON: &str = "application/json";

/// How clients ask for Swagger 2.0 as protobuf, and what they are told they get.
const GNOSTIC: [&str; 2] = [
    "application/com.github.proto-openapi.spec.v2@v1.0+protobuf",
    "application/com.github.proto-openapi.spec.v2.v1.0+protobuf",
];

const TITLE: &str = "Kubernetes";
const VERSION: &str = "v1.37.0";

/// The documents that were asked for.
#[derive(Default)]
pub struct OpenApi {
    documents: Mutex<BTreeMap<String, Document>>,
}

/// A document, and what it was made of.
struct Document {
    of: u64,
    packed: Bytes,
}

/// At most so many documents are kept; definitions may bring groups without end.
const MAX_DOCUMENTS: usize = 256;

impl OpenApi {
    /// Answers `/openapi/v2`, `/openapi/v3` and what is below; `None` for every other path.
    pub fn answer(
        &self,
        registry: &Registry,
        view: &View,
        path: &str,
        headers: &HeaderMap,
    ) -> Option<Result<Response<Body>, Error>> {
        let resources = registry.resources();
        if path == "/openapi/v3" || path == "/openapi/v3/" {
            return Some(Ok(send(headers, JSON, &index(registry, &resources, view))));
        }
        if path == "/openapi/v2" {
            return Some(self.swagger(registry, &resources, view, headers));
        }
        let groups: Vec<String> = groups(&resources, view).into_iter().map(|group| group.name).collect();
        if let Some(mut document) = path.strip_prefix("/openapi/v3/").and_then(|path| roots::document(path, &groups)) {
            document["openapi"] = "3.0.0".into();
            document["info"] = json!({ "title": TITLE, "version": VERSION });
            return Some(Ok(send(headers, JSON, &document.to_string().into())));
        }
        let of: Vec<Arc<Resource>> = resources
            .into_iter()
            .filter(|resource| path.strip_prefix("/openapi/v3/") == Some(&*root(resource)))
            .collect();
        (!of.is_empty()).then(|| {
            if !clauses(header(headers)).iter().any(|clause| clause.allows(JSON)) {
                return Err(not_acceptable(JSON));
            }
            let made_of = sources(registry, &of);
            let packed = self.packed(path, made_of, || document(registry, &of).to_string().into_bytes());
            Ok(send_packed(headers, JSON, packed))
        })
    }

    fn swagger(
        &self,
        registry: &Registry,
        resources: &[Arc<Resource>],
        view: &View,
        headers: &HeaderMap,
    ) -> Result<Response<Body>, Error> {
        let parts: Vec<_> = view.remotes().filter_map(|remote| Some((&remote.name, remote.swagger()?))).collect();
        let mut hasher = DefaultHasher::new();
        sources(registry, resources).hash(&mut hasher);
        for (name, (time, _)) in &parts {
            (name, time).hash(&mut hasher);
        }
        let made_of = hasher.finish();
        let whole = || {
            let mut document = swagger(registry, resources);
            for (_, (_, part)) in &parts {
                aggregation::swagger::merge(&mut document, part);
            }
            document
        };
        for clause in clauses(header(headers)) {
            if clause.allows(JSON) {
                let packed = self.packed("v2", made_of, || whole().to_string().into_bytes());
                return Ok(send_packed(headers, JSON, packed));
            }
            if GNOSTIC.iter().any(|known| clause.allows(known)) {
                let packed = self.packed("gnostic", made_of, || gnostic::encode(&whole()));
                return Ok(send_packed(headers, GNOSTIC[1], packed));
            }
        }
        Err(not_acceptable(&format!("{JSON}, {}", GNOSTIC[0])))
    }

    fn packed(&self, key: &str, of: u64, make: impl FnOnce() -> Vec<u8>) -> Bytes {
        let mut documents = self.documents.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(document) = documents.get(key).filter(|document| document.of == of) {
            return document.packed.clone();
        }
        let packed = Bytes::from(pack(&make()));
        if documents.len() >= MAX_DOCUMENTS {
            documents.clear();
        }
        documents.insert(key.to_owned(), Document { of, packed: packed.clone() });
        packed
    }
}

fn header(headers: &HeaderMap) -> Option<&str> {
    headers.get(ACCEPT).and_then(|value| value.to_str().ok())
}

fn not_acceptable(accepted: &str) -> Error {
    Error::new(Reason::NotAcceptable, format!("only the following media types are accepted: {accepted}"))
}

/// `api/v1`, `apis/apps/v1`.
fn root(resource: &Resource) -> String {
    match &*resource.group {
        "" => format!("api/{}", resource.version),
        group => format!("apis/{group}/{}", resource.version),
    }
}

/// Where the documents are. Their hash comes from what they are made of, so that none needs to be made for it.
fn index(registry: &Registry, resources: &[Arc<Resource>], view: &View) -> Bytes {
    let mut of: BTreeMap<String, Vec<Arc<Resource>>> = BTreeMap::new();
    for resource in resources {
        of.entry(root(resource)).or_default().push(Arc::clone(resource));
    }
    let mut paths: Map<String, Value> = of
        .into_iter()
        .map(|(root, rows)| {
            let hash = format!("{:016X}", sources(registry, &rows));
            let url = format!("/openapi/v3/{root}?hash={hash}");
            (root, json!({ "serverRelativeURL": url }))
        })
        .collect();
    let names = groups(resources, view).into_iter().map(|group| format!("apis/{}", group.name));
    for root in ["api", "apis", "version"].map(str::to_owned).into_iter().chain(names) {
        let url = format!("/openapi/v3/{root}?hash={}", etag(VERSION.as_bytes()).replace('"', ""));
        paths.insert(root, json!({ "serverRelativeURL": url }));
    }
    for remote in view.remotes() {
        if let Some(url) = remote.openapi() {
            paths.insert(format!("apis/{}/{}", remote.group, remote.version), json!({ "serverRelativeURL": url }));
        }
    }
    json!({ "paths": paths }).to_string().into()
}

/// Tells what documents are made of from what they were made of before.
fn sources(registry: &Registry, resources: &[Arc<Resource>]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for resource in resources {
        (&resource.group, &resource.version, &resource.plural, registry.fingerprint(resource)).hash(&mut hasher);
    }
    hasher.finish()
}

fn document(registry: &Registry, resources: &[Arc<Resource>]) -> Value {
    let all = || resources.iter().map(|resource| &**resource);
    let schemas = Schemas::collect(all(), |resource, generator| registry.schema(resource, generator), Dialect::V3);
    let paths = paths::build(all(), &schemas, &mut Parameters::new(Dialect::V3), Dialect::V3);
    json!({
        "openapi": "3.0.0",
        "info": { "title": TITLE, "version": VERSION },
        "paths": paths,
        "components": {
            "schemas": schemas.definitions,
            "securitySchemes": {
                "BearerToken": {
                    "description": "Bearer Token authentication",
                    "type": "apiKey",
                    "name": "authorization",
                    "in": "header",
                },
            },
        },
    })
}

fn swagger(registry: &Registry, resources: &[Arc<Resource>]) -> Value {
    let all = || resources.iter().map(|resource| &**resource);
    let schemas = Schemas::collect(all(), |resource, generator| registry.schema(resource, generator), Dialect::V2);
    let mut parameters = Parameters::new(Dialect::V2);
    let paths = paths::build(all(), &schemas, &mut parameters, Dialect::V2);
    let token = "Bearer Token authentication";
    json!({
        "swagger": "2.0",
        "info": { "title": TITLE, "version": VERSION },
        "paths": paths,
        "definitions": schemas.definitions,
        "parameters": parameters.shared,
        "security": [{ "BearerToken": [] }],
        "securityDefinitions": {
            "BearerToken": { "description": token, "type": "apiKey", "name": "authorization", "in": "header" },
        },
    })
}

fn pack(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    // A Vec takes every write.
    let _ = encoder.write_all(bytes);
    encoder.finish().unwrap_or_default()
}

fn send(headers: &HeaderMap, media_type: &'static str, bytes: &Bytes) -> Response<Body> {
    finish(headers, media_type, bytes.clone(), &etag(bytes))
}

fn send_packed(headers: &HeaderMap, media_type: &'static str, packed: Bytes) -> Response<Body> {
    let etag = etag(&packed);
    if accepts_gzip(headers) {
        let mut response = finish(headers, media_type, packed, &etag);
        if response.status() == StatusCode::OK {
            response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        return response;
    }
    let mut plain = Vec::new();
    match GzDecoder::new(&packed[..]).read_to_end(&mut plain) {
        Ok(_) => finish(headers, media_type, plain.into(), &etag),
        Err(error) => answer::error(&Error::internal(error), answer::Wrapping::default()),
    }
}

fn finish(headers: &HeaderMap, media_type: &'static str, bytes: Bytes, etag: &str) -> Response<Body> {
    let known = headers.get(IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == etag.as_bytes());
    let mut response = Response::new(answer::full(if known { Bytes::new() } else { bytes }));
    if known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(VARY, HeaderValue::from_static("Accept, Accept-Encoding"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    if let Ok(etag) = HeaderValue::from_str(etag) {
        headers.insert(ETAG, etag);
    }
    response
}
