//! A real server of another group behind the apiserver.

use std::{convert::Infallible, net::SocketAddr, sync::Arc};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};
use rustls::{RootCertStore, ServerConfig, crypto::ring, server::WebPkiClientVerifier};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinHandle,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;

use super::lab::{Lab, PATIENCE};

type Body = UnsyncBoxBody<Bytes, Infallible>;

const GROUP: &str = "/apis/ext.example.com/v1";
const API_SERVICES: &str = "/apis/apiregistration.k8s.io/v1/apiservices";

/// An extension server, which believes whoever the lab's front proxy speaks for.
struct Extension {
    address: SocketAddr,
    authority: String,
    serving: JoinHandle<()>,
}

impl Extension {
    async fn start(lab: &Lab) -> Self {
        let pair = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = params.self_signed(&pair).unwrap().pem();
        let issuer = Issuer::new(params, pair);
        let pair = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::DnsName("ext.default.svc".try_into().unwrap())];
        let certificate = params.signed_by(&pair, &issuer).unwrap().pem();

        let provider = Arc::new(ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(&lab.read("front-proxy-ca.crt")).unwrap()).unwrap();
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build();
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(clients.unwrap())
            .with_single_cert(
                vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(pair.serialize_pem().as_bytes()).unwrap(),
            )
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let tls = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(async move {
            // Dropping the set ends all connections with the server.
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let tls = tls.clone();
                connections.spawn(async move {
                    let Ok(stream) = tls.accept(stream).await else { return };
                    let service =
                        hyper::service::service_fn(|request| async move { Ok::<_, Infallible>(answer(request)) });
                    let builder = Builder::new(TokioExecutor::new());
                    let _ = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { address, authority, serving }
    }
}

fn object(value: &Value) -> Response<Body> {
    let body = Full::new(Bytes::from(value.to_string())).boxed_unsync();
    Response::builder().header("content-type", "application/json").body(body).unwrap()
}

fn answer(mut request: Request<Incoming>) -> Response<Body> {
    let header = |headers: &HeaderMap, name: &str| -> Vec<String> {
        headers.get_all(name).iter().map(|value| value.to_str().unwrap().to_owned()).collect()
    };
    let path = request.uri().path().to_owned();
    match path.as_str() {
        GROUP => object(&json!({
            "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "ext.example.com/v1",
            "resources": [{ "name": "things", "singularName": "thing", "namespaced": true, "kind": "Thing", "verbs": ["get"] }],
        })),
        "/openapi/v3" => object(&json!({
            "paths": { "apis/ext.example.com/v1": { "serverRelativeURL": "/openapi/v3/apis/ext.example.com/v1?hash=1" } },
        })),
        "/openapi/v3/apis/ext.example.com/v1" => object(&json!({ "openapi": "3.0.0", "info": { "title": "ext" } })),
        path if path.ends_with("/stream") => {
            let lines = ["{\"a\":1}\n", "{\"b\":2}\n"].map(|line| Ok(Frame::data(Bytes::from(line))));
            Response::new(StreamBody::new(futures::stream::iter(lines)).boxed_unsync())
        }
        path if path.ends_with("/echo") => {
            let upgrade = hyper::upgrade::on(&mut request);
            tokio::spawn(async move {
                let mut stream = TokioIo::new(upgrade.await.unwrap());
                let mut word = [0; 4];
                stream.read_exact(&mut word).await.unwrap();
                stream.write_all(&word).await.unwrap();
                stream.shutdown().await.unwrap();
            });
            let response = Response::builder().status(StatusCode::SWITCHING_PROTOCOLS);
            let response = response.header("connection", "Upgrade").header("upgrade", "echo");
            response.body(Full::default().boxed_unsync()).unwrap()
        }
        path => {
            let headers = request.headers();
            object(&json!({
                "path": path,
                "query": request.uri().query(),
                "method": request.method().as_str(),
                "user": header(headers, "x-remote-user"),
                "groups": header(headers, "x-remote-group"),
                "authorization": header(headers, "authorization"),
                "impersonate": header(headers, "impersonate-user"),
            }))
        }
    }
}

async fn condition(lab: &Lab, wanted: &str) -> Value {
    let path = format!("{API_SERVICES}/v1.ext.example.com");
    let told = async {
        loop {
            let condition = lab.get("admin", &path).await.json()["status"]["conditions"][0].clone();
            if condition["reason"] == wanted {
                return condition;
            }
        }
    };
    timeout(PATIENCE, told).await.unwrap_or_else(|_| panic!("no condition {wanted}"))
}

async fn register(lab: &Lab, extension: &Extension) {
    let spec = json!({
        "group": "ext.example.com", "version": "v1", "groupPriorityMinimum": 100, "versionPriority": 10,
        "service": { "namespace": "default", "name": "ext", "port": extension.address.port() },
        "caBundle": BASE64_STANDARD.encode(&extension.authority),
    });
    let service = json!({
        "kind": "APIService", "apiVersion": "apiregistration.k8s.io/v1",
        "metadata": { "name": "v1.ext.example.com" }, "spec": spec,
    });
    let created = lab.post("admin", API_SERVICES, service).await;
    assert_eq!(created.status, 201, "{:?}", created.body);
    let found = condition(lab, "ServiceNotFound").await;
    assert_eq!(
        (&found["status"], &found["message"]),
        (&json!("False"), &json!("service/ext in \"default\" is not present"))
    );
    let unavailable = lab.get("admin", GROUP).await;
    assert_eq!((unavailable.status.as_u16(), &unavailable.body[..]), (503, &b"service unavailable\n"[..]));

    let spec = json!({ "ports": [{ "name": "https", "port": extension.address.port() }] });
    let mut service = json!({ "kind": "Service", "apiVersion": "v1", "metadata": { "name": "ext" }, "spec": spec });
    assert_eq!(lab.post("admin", "/api/v1/namespaces/default/services", service.clone()).await.status, 201);
    condition(lab, "EndpointsNotFound").await;
    // Endpoints may not be on loopback, so the test's server has a name.
    service["spec"] = json!({ "type": "ExternalName", "externalName": "localhost" });
    let put = [("content-type", "application/json")];
    let path = "/api/v1/namespaces/default/services/ext";
    let updated = lab.send("admin", Method::PUT, path, &put, service.to_string()).await;
    assert_eq!(updated.status, 200, "{:?}", updated.body);
    let found = condition(lab, "Passed").await;
    assert_eq!((&found["status"], &found["message"]), (&json!("True"), &json!("all checks passed")));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_server_answers_for_its_group() {
    let lab = Lab::start().await;
    let extension = Extension::start(&lab).await;
    register(&lab, &extension).await;
    let routed = async { while lab.get("admin", GROUP).await.status != 200 {} };
    timeout(PATIENCE, routed).await.expect("requests are not passed on");

    let things = format!("{GROUP}/namespaces/x/things");
    let headers = [("authorization", "Bearer none"), ("x-remote-user", "forged"), ("content-type", "application/json")];
    let answer = lab.send("admin", Method::POST, &format!("{things}?dryRun=All"), &headers[1..], "{}").await.json();
    assert_eq!(answer["path"], things);
    assert_eq!((&answer["query"], &answer["method"]), (&json!("dryRun=All"), &json!("POST")));
    assert_eq!(answer["user"], json!(["kubernetes-admin"]));
    assert_eq!(answer["groups"], json!(["system:masters", "system:authenticated"]));
    let as_bob = [("impersonate-user", "bob"), ("impersonate-group", "system:masters")];
    let answer = lab.send("admin", Method::GET, &things, &as_bob, "").await.json();
    assert_eq!((&answer["user"], &answer["impersonate"]), (&json!(["bob"]), &json!([])));
    let (code, _, message) = lab.get("alice", &things).await.refusal();
    assert_eq!(code, 403);
    assert!(message.contains("cannot list resource \"things\" in API group \"ext.example.com\""), "{message}");
    let stream = lab.get("admin", &format!("{things}/a/stream")).await;
    assert_eq!(stream.body, "{\"a\":1}\n{\"b\":2}\n");

    let mut stream = lab.connect("admin", b"http/1.1").await;
    let head = format!("GET {things}/a/echo HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: echo\r\n\r\nping");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // TLS may end without a goodbye; what came before counts.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("the stream does not end");
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(answer.starts_with("HTTP/1.1 101") && answer.ends_with("\r\n\r\nping"), "{answer}");

    let groups = lab.get("admin", "/apis").await.json();
    let names: Vec<_> = groups["groups"].as_array().unwrap().iter().map(|group| group["name"].clone()).collect();
    assert_eq!(names.last().unwrap(), "ext.example.com");
    let v2 = [("accept", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList")];
    let merged = lab.send("admin", Method::GET, "/apis", &v2, "").await.json();
    let last = merged["items"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(last["versions"][0]["resources"][0]["resource"], "things", "{last}");
    let index = lab.get("admin", "/openapi/v3").await.json();
    let url = index["paths"]["apis/ext.example.com/v1"]["serverRelativeURL"].as_str().unwrap().to_owned();
    assert_eq!(lab.get("admin", &url).await.json()["info"]["title"], "ext");

    extension.serving.abort();
    let patch = [("content-type", "application/merge-patch+json")];
    let service = "/api/v1/namespaces/default/services/ext";
    let touch = r#"{"metadata":{"annotations":{"touched":"now"}}}"#;
    assert_eq!(lab.send("admin", Method::PATCH, service, &patch, touch).await.status, 200);
    let found = condition(&lab, "FailedDiscoveryCheck").await;
    let message = found["message"].as_str().unwrap();
    let url = format!("https://localhost:{}{GROUP}", extension.address.port());
    assert!(message.starts_with(&format!("failing or missing response from {url}: ")), "{message}");
    let closed = async { while lab.get("admin", &things).await.status != 503 {} };
    timeout(PATIENCE, closed).await.expect("requests are still passed on");
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn others_learn_whom_to_trust() {
    let lab = Lab::start().await;
    let path = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication";
    let there = async { while lab.get("admin", path).await.status != 200 {} };
    timeout(PATIENCE, there).await.expect("no ConfigMap");
    let data = lab.get("admin", path).await.json()["data"].clone();
    assert_eq!(data["requestheader-allowed-names"], r#"["front-proxy-client"]"#);
    assert_eq!(data["requestheader-username-headers"], r#"["X-Remote-User"]"#);
    let authority = String::from_utf8(lab.read("front-proxy-ca.crt")).unwrap();
    assert_eq!(data["requestheader-client-ca-file"], authority.as_str());
    let apps = lab.get("admin", &format!("{API_SERVICES}/v1.apps")).await.json();
    assert_eq!(apps["status"]["conditions"][0]["reason"], "Local");
    lab.stop().await;
}
