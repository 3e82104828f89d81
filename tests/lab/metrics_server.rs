//! A server of `metrics.k8s.io` for tests, outside the lab: the lab reaches it through an APIService.

use std::{
    convert::Infallible,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::{
    body::{Bytes, Incoming},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api,
    api::{ListParams, PostParams},
    core::DynamicObject,
};
use rustls::{
    ServerConfig,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// Says of every pod that it uses this many thousandths of a CPU.
pub struct MetricsServer {
    pub millis: Arc<AtomicI64>,
}

impl MetricsServer {
    /// Starts it, and has the lab ask it.
    pub async fn start(client: kube::Client) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let millis = Arc::new(AtomicI64::new(0));
        tokio::spawn(serve(listener, client.clone(), Arc::clone(&millis)));
        register(client, address).await;
        Self { millis }
    }
}

async fn register(client: kube::Client, address: SocketAddr) {
    let create = async |api_version: &str, kind: &str, plural: &str, namespace: Option<&str>, object: Value| {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let resource = kube::core::ApiResource {
            group: group.into(),
            version: version.into(),
            api_version: api_version.into(),
            kind: kind.into(),
            plural: plural.into(),
        };
        let api: Api<DynamicObject> = match namespace {
            Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
            None => Api::all_with(client.clone(), &resource),
        };
        api.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
    };
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "metrics"},
        "spec": {"type": "ExternalName", "externalName": "localhost"}});
    create("v1", "Service", "services", Some("kube-system"), service).await;
    let place = json!({"name": "metrics", "namespace": "kube-system", "port": address.port()});
    let spec = json!({"group": "metrics.k8s.io", "version": "v1beta1", "groupPriorityMinimum": 100,
        "versionPriority": 100, "insecureSkipTLSVerify": true, "service": place});
    let api_service = json!({"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
        "metadata": {"name": "v1beta1.metrics.k8s.io"}, "spec": spec});
    create("apiregistration.k8s.io/v1", "APIService", "apiservices", None, api_service).await;
}

async fn serve(listener: TcpListener, client: kube::Client, millis: Arc<AtomicI64>) {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], key).unwrap();
    let tls = TlsAcceptor::from(Arc::new(config));
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, client, millis) = (tls.clone(), client.clone(), Arc::clone(&millis));
        tokio::spawn(async move {
            let Ok(stream) = tls.accept(stream).await else { return };
            let service = service_fn(move |request: Request<Incoming>| {
                let (client, millis) = (client.clone(), Arc::clone(&millis));
                async move { Ok::<_, Infallible>(answer(&request, client, millis.load(Ordering::Relaxed)).await) }
            });
            let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
            // The lab may end the connection at any time.
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(request: &Request<Incoming>, client: kube::Client, millis: i64) -> Response<Full<Bytes>> {
    const GROUP: &str = "/apis/metrics.k8s.io/v1beta1";
    let path = request.uri().path();
    let body = if path.trim_end_matches('/') == GROUP {
        let pods = json!({"name": "pods", "singularName": "", "namespaced": true, "kind": "PodMetrics",
            "verbs": ["get", "list"]});
        json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "metrics.k8s.io/v1beta1",
            "resources": [pods]})
    } else if path == format!("{GROUP}/namespaces/default/pods") {
        let pods: Api<Pod> = Api::default_namespaced(client);
        let pods = pods.list(&ListParams::default()).await.unwrap();
        let now = jiff::Timestamp::now();
        let metrics = |pod: &Pod| {
            json!({"metadata": {"name": pod.metadata.name, "namespace": "default"}, "timestamp": now, "window": "1s",
                "containers": [{"name": "c", "usage": {"cpu": format!("{millis}m"), "memory": "10Mi"}}]})
        };
        let items: Vec<Value> = pods.items.iter().map(metrics).collect();
        json!({"kind": "PodMetricsList", "apiVersion": "metrics.k8s.io/v1beta1", "metadata": {}, "items": items})
    } else {
        let body = Full::from("404 page not found\n");
        return Response::builder().status(StatusCode::NOT_FOUND).body(body).unwrap();
    };
    let body = Full::from(body.to_string());
    Response::builder().header("content-type", "application/json").body(body).unwrap()
}
