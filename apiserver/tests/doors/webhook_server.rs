//! A webhook as a user would write one: HTTPS on loopback, with a certificate of its own.

use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use rcgen::{CertificateParams, KeyPair, SanType};
use rustls::{ServerConfig, crypto::ring};
use rustls_pki_types::{PrivateKeyDer, pem::PemObject};
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    task::{JoinHandle, JoinSet},
};
use tokio_rustls::TlsAcceptor;

/// What a webhook does with a review's request: its response, without the uid.
pub type Judge = fn(&Value) -> Value;

pub struct WebhookServer {
    port: u16,
    authority: String,
    connections: Arc<AtomicUsize>,
    seen: Arc<Mutex<Vec<Value>>>,
    serving: JoinHandle<()>,
}

impl Drop for WebhookServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl WebhookServer {
    pub async fn start(judge: Judge) -> Self {
        let pair = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.subject_alt_names =
            vec![SanType::IpAddress([127, 0, 0, 1].into()), SanType::DnsName("named.default.svc".try_into().unwrap())];
        let certificate = params.self_signed(&pair).unwrap();
        let key = PrivateKeyDer::from_pem_slice(pair.serialize_pem().as_bytes()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (connections, seen) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
        let tls = TlsAcceptor::from(Arc::new(config));
        let (counted, noted) = (Arc::clone(&connections), Arc::clone(&seen));
        let serving = tokio::spawn(async move {
            // Its connections end with it.
            let mut open = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                counted.fetch_add(1, Relaxed);
                let (tls, noted) = (tls.clone(), Arc::clone(&noted));
                open.spawn(async move {
                    let Ok(stream) = tls.accept(stream).await else { return };
                    let service = service_fn(move |request| answer(request, judge, Arc::clone(&noted)));
                    let _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { port, authority: STANDARD.encode(certificate.pem()), connections, seen, serving }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// `clientConfig` with this server's URL.
    pub fn client_config(&self) -> Value {
        json!({"url": format!("https://127.0.0.1:{}/judge", self.port), "caBundle": self.authority})
    }

    /// `clientConfig` of the Service `hook` in the namespace `default`.
    pub fn service_config(&self) -> Value {
        let service = json!({"name": "hook", "namespace": "default", "path": "/judge", "port": 443});
        json!({"service": service, "caBundle": self.authority})
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Relaxed)
    }

    /// The reviews since the last look.
    pub fn take(&self) -> Vec<Value> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}

async fn answer(
    request: http::Request<Incoming>,
    judge: Judge,
    seen: Arc<Mutex<Vec<Value>>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let query = request.uri().query().unwrap_or_default().to_owned();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let mut review: Value = serde_json::from_slice(&body).unwrap();
    review["query"] = query.into();
    seen.lock().unwrap().push(review.clone());
    let mut response = judge(&review["request"]);
    if let Some(millis) = response.as_object_mut().and_then(|response| response.remove("sleep")) {
        tokio::time::sleep(Duration::from_millis(millis.as_u64().unwrap())).await;
    }
    if let Some(code) = response["httpCode"].as_u64() {
        let code = StatusCode::from_u16(code as u16).unwrap();
        return Ok(Response::builder().status(code).body(Full::new("broken".into())).unwrap());
    }
    if let Some(patch) = response.get("patch") {
        let patch = STANDARD.encode(patch.to_string());
        response["patch"] = patch.into();
        response["patchType"] = "JSONPatch".into();
    }
    response["uid"] = review["request"]["uid"].clone();
    let answer = json!({"apiVersion": review["apiVersion"], "kind": review["kind"], "response": response});
    Ok(Response::new(Full::new(answer.to_string().into())))
}
