//! An APIService that another server answers for: its place, its TLS and the connection to it.
//! Source: `pkg/apiserver/handler_proxy.go` and `BuildTransportConfig` of kube-aggregator.

use std::{
    io,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use anyhow::Context;
use arc_swap::ArcSwapOption;
use http::{Request, Response, Uri, uri::PathAndQuery};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::{APIService, APIServiceSpec};
use kubelab_wire::trust::Anybody;
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{merge::Documents, reach::Reach};
use crate::doors::Body;

/// What reaching a server may take.
const CONNECT: Duration = Duration::from_secs(5);

/// What this apiserver shows other servers, so that they believe whom it speaks for.
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Identity {
    /// Reads a certificate and its key.
    pub fn from_files(certificate: &Path, key: &Path) -> anyhow::Result<Self> {
        let why = || format!("cannot read the proxy client certificate {}", certificate.display());
        let chain = CertificateDer::pem_file_iter(certificate).with_context(why)?.collect::<Result<_, _>>();
        let key =
            PrivateKeyDer::from_pem_file(key).with_context(|| format!("cannot read the key {}", key.display()))?;
        Ok(Self { chain: chain.with_context(why)?, key })
    }
}

/// An APIService of another server.
pub struct Remote {
    /// `v1beta1.metrics.k8s.io`.
    pub name: String,
    /// `metrics.k8s.io`.
    pub group: String,
    /// `v1beta1`.
    pub version: String,
    /// Among other groups; the higher the earlier.
    pub priority: i32,
    /// The Service's namespace.
    pub namespace: String,
    /// The Service's name.
    pub service: String,
    /// The Service's port.
    pub port: i32,
    spec: APIServiceSpec,
    tls: Result<Arc<ClientConfig>, String>,
    available: AtomicBool,
    shared: Mutex<Option<(String, http2::SendRequest<Body>)>>,
    /// The way to pods.
    reach: Option<Arc<Reach>>,
    /// What it serves, once that is known.
    pub documents: ArcSwapOption<Documents>,
}

impl Remote {
    /// From a stored APIService; `None` for a local one.
    pub fn read(stored: &[u8], identity: Option<&Identity>, reach: Option<Arc<Reach>>) -> Option<Arc<Self>> {
        let service: APIService = serde_json::from_slice(stored).ok()?;
        let spec = service.spec?;
        let target = spec.service.clone()?;
        let conditions = service.status.and_then(|status| status.conditions).unwrap_or_default();
        let available = conditions.iter().any(|found| found.type_ == "Available" && found.status == "True");
        let insecure = spec.insecure_skip_tls_verify == Some(true);
        let bundle = spec.ca_bundle.as_ref().map(|bundle| &bundle.0[..]).unwrap_or_default();
        Some(Arc::new(Self {
            name: service.metadata.name.unwrap_or_default(),
            group: spec.group.clone().unwrap_or_default(),
            version: spec.version.clone().unwrap_or_default(),
            priority: spec.group_priority_minimum,
            namespace: target.namespace.unwrap_or_default(),
            service: target.name.unwrap_or_default(),
            port: target.port.unwrap_or(443),
            tls: client_config(identity, bundle, insecure),
            spec,
            available: AtomicBool::new(available),
            shared: Mutex::default(),
            reach,
            documents: ArcSwapOption::empty(),
        }))
    }

    /// The other one is the same, but perhaps for its availability.
    pub fn is_same(&self, other: &Self) -> bool {
        self.name == other.name && self.spec == other.spec
    }

    /// Its APIService says so.
    pub fn is_available(&self) -> bool {
        self.available.load(Relaxed)
    }

    pub(super) fn set_available(&self, available: bool) {
        self.available.store(available, Relaxed);
    }

    /// Sends a request to the server at `address` (`host:port`), over a connection that all requests share where the
    /// server speaks HTTP/2.
    pub async fn send(&self, address: &str, mut request: Request<Body>) -> Result<Response<Incoming>, String> {
        if let Some(mut sender) = self.shared(address) {
            make_absolute(&mut request, address);
            return sender.send_request(request).await.map_err(said);
        }
        let stream = self.connect(address, &[b"h2", b"http/1.1"]).await?;
        if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
            let (mut sender, connection) =
                http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.map_err(said)?;
            tokio::spawn(connection);
            *self.shared.lock().unwrap_or_else(PoisonError::into_inner) = Some((address.to_owned(), sender.clone()));
            make_absolute(&mut request, address);
            return sender.send_request(request).await.map_err(said);
        }
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(said)?;
        tokio::spawn(connection);
        sender.send_request(request).await.map_err(said)
    }

    fn shared(&self, address: &str) -> Option<http2::SendRequest<Body>> {
        let shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let (place, sender) = shared.as_ref()?;
        (place == address && !sender.is_closed()).then(|| sender.clone())
    }

    /// Sends a request that asks for another protocol, over a connection of its own.
    pub async fn upgrade(&self, address: &str, request: Request<Body>) -> Result<Response<Incoming>, String> {
        let stream = self.connect(address, &[b"http/1.1"]).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(said)?;
        tokio::spawn(connection.with_upgrades());
        sender.send_request(request).await.map_err(said)
    }

    async fn connect(&self, address: &str, protocols: &[&[u8]]) -> Result<TlsStream<Box<dyn Wire>>, String> {
        let mut config = ClientConfig::clone(self.tls.as_ref().map_err(String::clone)?);
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        let name = format!("{}.{}.svc", self.service, self.namespace);
        let name = ServerName::try_from(name).map_err(|error| error.to_string())?;
        let connecting = async {
            let stream = self.dial(address).await?;
            TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(|error| handshake(&error))
        };
        timeout(CONNECT, connecting).await.map_err(|_| format!("dial tcp {address}: i/o timeout"))?
    }

    async fn dial(&self, address: &str) -> Result<Box<dyn Wire>, String> {
        if let Some(reach) = &self.reach
            && let Some(dialled) = reach.dial(address).await
        {
            return Ok(Box::new(dialled?));
        }
        let stream = TcpStream::connect(address).await.map_err(|error| dial(address, &error))?;
        stream.set_nodelay(true).map_err(|error| dial(address, &error))?;
        Ok(Box::new(stream))
    }
}

/// What a server is reached over.
trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

fn said(error: hyper::Error) -> String {
    error.to_string()
}

/// As Go's `net` says it.
fn dial(address: &str, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => format!("dial tcp {address}: connect: connection refused"),
        _ => format!("dial tcp {address}: {error}"),
    }
}

/// As Go's `crypto/tls` says it, where it is about the certificate.
fn handshake(error: &io::Error) -> String {
    let cause = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let verify = "tls: failed to verify certificate: x509:";
    match cause {
        Some(rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer)) => {
            format!("{verify} certificate signed by unknown authority")
        }
        Some(rustls::Error::InvalidCertificate(why)) => format!("{verify} {why}"),
        _ => error.to_string(),
    }
}

/// HTTP/2 names the scheme and the host in the address itself.
fn make_absolute(request: &mut Request<Body>, address: &str) {
    let path = request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    if let Ok(uri) = Uri::builder().scheme("https").authority(address).path_and_query(path).build() {
        *request.uri_mut() = uri;
    }
    request.headers_mut().remove(http::header::HOST);
}

fn client_config(identity: Option<&Identity>, bundle: &[u8], insecure: bool) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let builder = if insecure {
        builder.dangerous().with_custom_certificate_verifier(Anybody::new(provider))
    } else {
        let mut roots = RootCertStore::empty();
        for root in CertificateDer::pem_slice_iter(bundle) {
            let root = root.map_err(|_| "unable to load root certificates: unable to parse bytes as PEM block")?;
            roots.add(root).map_err(|error| format!("unable to load root certificates: {error}"))?;
        }
        builder.with_root_certificates(roots)
    };
    let config = match identity {
        Some(Identity { chain, key }) => builder
            .with_client_auth_cert(chain.clone(), key.clone_key())
            .map_err(|error| format!("the proxy client certificate is of no use: {error}"))?,
        None => builder.with_no_client_auth(),
    };
    Ok(Arc::new(config))
}
