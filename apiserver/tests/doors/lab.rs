//! One apiserver within the test's process, with certificates of its own, and clients for both of its doors.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use clap::Parser;
use http::{HeaderMap, Method, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use kubelab_apiserver::Options;
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType};
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinHandle,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

/// No step of a test takes this long.
pub const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    options: Options,
}

pub struct Lab {
    folder: TempDir,
    pub address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    serving: JoinHandle<anyhow::Result<()>>,
}

/// An answer, read whole.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }

    /// Status code, reason and message of a refusal.
    pub fn refusal(&self) -> (u16, String, String) {
        let status = self.json();
        let text = |key: &str| status[key].as_str().unwrap_or_default().to_owned();
        assert_eq!(status["code"], self.status.as_u16(), "{status}");
        (self.status.as_u16(), text("reason"), text("message"))
    }
}

fn make_certificates(folder: &Path) {
    let write = |name: &str, text: String| std::fs::write(folder.join(name), text).unwrap();
    let pair = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    write("ca.crt", params.self_signed(&pair).unwrap().pem());
    let authority = Issuer::new(params, pair);
    for (name, user, group) in [
        ("apiserver", "kube-apiserver", None),
        ("admin", "kubernetes-admin", Some("system:masters")),
        ("alice", "alice", None),
        ("scheduler", "system:kube-scheduler", None),
    ] {
        let pair = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, user);
        if let Some(group) = group {
            params.distinguished_name.push(DnType::OrganizationName, group);
        }
        params.subject_alt_names =
            vec![SanType::IpAddress([127, 0, 0, 1].into()), SanType::DnsName("localhost".try_into().unwrap())];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        write(&format!("{name}.crt"), params.signed_by(&pair, &authority).unwrap().pem());
        write(&format!("{name}.key"), pair.serialize_pem());
    }
    write("sa.key", KeyPair::generate().unwrap().serialize_pem());

    let pair = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    write("front-proxy-ca.crt", params.self_signed(&pair).unwrap().pem());
    let authority = Issuer::new(params, pair);
    let pair = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "front-proxy-client");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    write("front-proxy-client.crt", params.signed_by(&pair, &authority).unwrap().pem());
    write("front-proxy-client.key", pair.serialize_pem());
}

impl Lab {
    /// Starts an apiserver and waits until it is ready.
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        make_certificates(folder.path());
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let flags = [
            "apiserver".to_owned(),
            "--peer-listen=127.0.0.1:0".to_owned(),
            format!("--data-dir={}", path("data")),
            format!("--certificate-authority={}", path("ca.crt")),
            format!("--tls-certificate={}", path("apiserver.crt")),
            format!("--tls-key={}", path("apiserver.key")),
            format!("--service-account-key={}", path("sa.key")),
            format!("--proxy-client-certificate={}", path("front-proxy-client.crt")),
            format!("--proxy-client-key={}", path("front-proxy-client.key")),
            format!("--requestheader-client-ca={}", path("front-proxy-ca.crt")),
        ];
        let options = Cli::try_parse_from(flags).unwrap().options;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = tokio::spawn(kubelab_apiserver::serve(options, listener, async {
            let _ = stopped.await;
        }));
        let lab = Self { folder, address, stop: Some(stop), serving };
        let ready = async { while lab.get("", "/readyz").await.status != 200 {} };
        timeout(PATIENCE, ready).await.expect("the apiserver does not become ready");
        lab
    }

    /// Stops it as SIGTERM would.
    pub async fn stop(mut self) {
        let _ = self.stop.take().unwrap().send(());
        timeout(PATIENCE, &mut self.serving).await.expect("the apiserver does not stop").unwrap().unwrap();
    }

    /// A file of the lab's: a certificate, a key.
    pub fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.folder.path().join(name)).unwrap()
    }

    /// A TLS connection, as this user; empty for nobody.
    pub async fn connect(&self, user: &str, protocol: &[u8]) -> TlsStream<TcpStream> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(&self.read("ca.crt")).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match user {
            "" => config.with_no_client_auth(),
            user => {
                let certificate = CertificateDer::from_pem_slice(&self.read(&format!("{user}.crt"))).unwrap();
                let key = PrivateKeyDer::from_pem_slice(&self.read(&format!("{user}.key"))).unwrap();
                config.with_client_auth_cert(vec![certificate], key).unwrap()
            }
        };
        config.alpn_protocols = vec![protocol.to_vec()];
        let stream = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
    }

    /// Sends a request over HTTP/2 and gives the answer as it comes.
    pub async fn open(&self, user: &str, request: http::Request<Full<Bytes>>) -> http::Response<Incoming> {
        let stream = self.connect(user, b"h2").await;
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        timeout(PATIENCE, sender.send_request(request)).await.expect("no answer").unwrap()
    }

    /// Sends a request and reads the answer.
    pub async fn send(
        &self,
        user: &str,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let mut request = http::Request::builder().method(method).uri(format!("https://localhost{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.open(user, request.body(Full::new(body.into())).unwrap()).await;
        let (head, body) = response.into_parts();
        let body = timeout(PATIENCE, body.collect()).await.expect("no end of the answer").unwrap().to_bytes();
        Answer { status: head.status, headers: head.headers, body }
    }

    pub async fn get(&self, user: &str, path: &str) -> Answer {
        self.send(user, Method::GET, path, &[], "").await
    }

    pub async fn post(&self, user: &str, path: &str, object: Value) -> Answer {
        self.send(user, Method::POST, path, &[("content-type", "application/json")], object.to_string()).await
    }

    /// A channel to the gRPC door.
    pub async fn channel(&self, user: &str) -> Channel {
        let identity = Identity::from_pem(self.read(&format!("{user}.crt")), self.read(&format!("{user}.key")));
        let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(self.read("ca.crt"))).identity(identity);
        let endpoint = Endpoint::from_shared(format!("https://localhost:{}", self.address.port())).unwrap();
        endpoint.user_agent("kube-test/1 (x)").unwrap().tls_config(tls).unwrap().connect().await.unwrap()
    }
}
