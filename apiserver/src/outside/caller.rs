//! HTTPS with connections that are used again.

use std::{
    collections::HashMap,
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures::future::join_all;
use http::{Method, Request, Uri, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{
        Client,
        connect::{Connected, Connection},
    },
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use kubelab_api::Error;
use kubelab_store::Store;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::{
    net::{TcpStream, lookup_host},
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tower::Service;

use super::{Address, Aside, Call, Destination, service, trust};
use crate::registry::custom::conversion_answers::Answers;

/// So many servers' connections are kept. Source: `defaultCacheSize` in `k8s.io/apiserver/pkg/util/webhook/client.go`.
const CLIENTS: usize = 200;
/// Idle connections to one server that are kept.
const IDLE: usize = 16;
/// An idle connection is kept so long.
const IDLE_TIME: Duration = Duration::from_secs(60);
/// A longer answer is refused. Source: the largest body of a request.
const ANSWER_BYTES: usize = 3 * 1024 * 1024;
/// A request may lead to so many rounds of calls, each of which asks for what the last one made necessary.
const ROUNDS: usize = 200;

/// A client for each server.
#[derive(Clone)]
pub struct Outside {
    store: Store,
    clients: Arc<Mutex<HashMap<Destination, Client<Connector, Full<Bytes>>>>>,
    /// What conversion webhooks made of stored objects.
    pub conversions: Arc<Answers>,
}

impl Outside {
    /// No connections yet. Services are looked up in this store.
    pub fn new(store: Store) -> Self {
        Self { store, clients: Arc::default(), conversions: Arc::default() }
    }

    /// Makes all calls that the last plan wanted, at once. `false` if there were none.
    pub async fn answer(&self, aside: &Aside, rounds: &mut usize) -> Result<bool, Error> {
        let calls = aside.wanted();
        if calls.is_empty() {
            return Ok(false);
        }
        *rounds += 1;
        if *rounds > ROUNDS {
            return Err(Error::internal("too many calls to webhooks: they never agree on the object"));
        }
        let calls = calls.into_iter().map(|call| async {
            let reply = self.call(&call).await;
            aside.know(call, Arc::new(reply));
        });
        join_all(calls).await;
        Ok(true)
    }

    /// Makes one call. Source of the wording: Go's `net/http` and `k8s.io/client-go/rest/request.go`.
    pub async fn call(&self, call: &Call) -> Result<Bytes, String> {
        let url = call.destination.url();
        let shown = format!("{}{}timeout={}s", url, if url.contains('?') { '&' } else { '?' }, call.timeout.as_secs());
        let failed = |error: String| format!("Post \"{shown}\": {error}");
        let request =
            Request::builder().method(Method::POST).uri(shown.as_str()).header(CONTENT_TYPE, "application/json");
        let request = request.body(Full::new(call.body.clone())).map_err(|error| failed(error.to_string()))?;
        let answered = async {
            let response = self.send(&call.destination, request).await?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_BYTES).collect().await;
            let body = body.map_err(|error| format!("http: cannot read the response: {error}"))?.to_bytes();
            Ok::<_, String>((status, body))
        };
        let answered = timeout(call.timeout, answered).await;
        let answered = answered.unwrap_or_else(|_| Err("context deadline exceeded".into()));
        let (status, body) = answered.map_err(failed)?;
        if status.is_success() { Ok(body) } else { Err(refusal(status, &body)) }
    }

    /// Sends any request to a server; the caller bounds the time and the body. The URI's host is the server's.
    pub async fn send(
        &self,
        destination: &Destination,
        request: Request<Full<Bytes>>,
    ) -> Result<http::Response<Incoming>, String> {
        let client = self.client(destination)?;
        client.request(request).await.map_err(|error| cause(&error))
    }

    fn client(&self, destination: &Destination) -> Result<Client<Connector, Full<Bytes>>, String> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(destination) {
            return Ok(client.clone());
        }
        let config = trust::client_config(&destination.authorities, destination.insecure)?;
        let connector =
            Connector { address: destination.address.clone(), config: Arc::new(config), store: self.store.clone() };
        let mut builder = Client::builder(TokioExecutor::new());
        builder.pool_timer(TokioTimer::new()).pool_idle_timeout(IDLE_TIME).pool_max_idle_per_host(IDLE);
        let client = builder.build(connector);
        if clients.len() >= CLIENTS {
            clients.clear();
        }
        clients.insert(destination.clone(), client.clone());
        Ok(client)
    }

    /// A connection to a server, for those who speak another protocol over it or pass one on.
    pub async fn connect(&self, destination: &Destination) -> Result<TlsStream<TcpStream>, String> {
        let config = trust::client_config(&destination.authorities, destination.insecure)?;
        let uri = destination.url().parse().map_err(|error| format!("parse {:?}: {error}", destination.url()))?;
        open(destination.address.clone(), Arc::new(config), self.store.clone(), uri).await
    }
}

/// What a server that answers with an error says. Source: `transformResponse` and `NewGenericServerResponse`.
fn refusal(status: http::StatusCode, body: &[u8]) -> String {
    let said: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    let message = said.as_ref().and_then(|said| said["message"].as_str()).unwrap_or_default();
    if !message.is_empty() {
        return message.to_owned();
    }
    match status.as_u16() {
        400 => "the server rejected our request for an unknown reason".into(),
        401 => "the server has asked for the client to provide credentials".into(),
        403 => "forbidden".into(),
        404 => "the server could not find the requested resource".into(),
        405 => "the server does not allow this method on the requested resource".into(),
        503 => "the server is currently unable to handle the request".into(),
        code if code >= 500 => {
            let text = String::from_utf8_lossy(&body[..body.len().min(2048)]);
            let text = if text.trim().is_empty() { "unknown" } else { text.trim() };
            format!("an error on the server ({text:?}) has prevented the request from succeeding")
        }
        code => format!("the server responded with the status code {code} but did not return more information"),
    }
}

/// The innermost cause, which says most.
fn cause(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

/// Opens connections to one server, wherever its Service's endpoints are now.
#[derive(Clone)]
struct Connector {
    address: Address,
    config: Arc<ClientConfig>,
    store: Store,
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let Self { address, config, store } = self.clone();
        Box::pin(async move { Ok(Stream(TokioIo::new(open(address, config, store, uri).await?))) })
    }
}

async fn open(
    address: Address,
    config: Arc<ClientConfig>,
    store: Store,
    uri: Uri,
) -> Result<TlsStream<TcpStream>, String> {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let (name, addresses) = match &address {
        Address::Url(_) => {
            let found = look_up(&host, uri.port_u16().unwrap_or(443)).await?;
            (host, found)
        }
        Address::Service { namespace, name, port, .. } => {
            let (host, port) = service::resolve(&store.local(), namespace, name, *port)?;
            (format!("{name}.{namespace}.svc"), look_up(&host, port).await?)
        }
    };
    let mut wrong = format!("dial tcp: lookup {name}: no such host");
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                let _ = stream.set_nodelay(true);
                let server = ServerName::try_from(name).map_err(|error| error.to_string())?;
                return TlsConnector::from(config).connect(server, stream).await.map_err(|error| untrusted(&error));
            }
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                wrong = format!("dial tcp {address}: connect: connection refused");
            }
            Err(error) => wrong = format!("dial tcp {address}: {error}"),
        }
    }
    Err(wrong)
}

async fn look_up(host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    let found = lookup_host((host, port)).await;
    Ok(found.map_err(|_| format!("dial tcp: lookup {host}: no such host"))?.collect())
}

/// Go's words for the common faults of certificates.
fn untrusted(error: &std::io::Error) -> String {
    use rustls::{CertificateError, Error as Tls};
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<Tls>());
    let why = match tls {
        // An authority of the same name with another key is unknown, too.
        Some(Tls::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature)) => {
            "certificate signed by unknown authority".into()
        }
        Some(Tls::InvalidCertificate(CertificateError::Expired)) => {
            "certificate has expired or is not yet valid".into()
        }
        Some(Tls::InvalidCertificate(other)) => other.to_string(),
        _ => return error.to_string(),
    };
    format!("tls: failed to verify certificate: x509: {why}")
}

/// A TLS connection as hyper wants it.
struct Stream(TokioIo<TlsStream<TcpStream>>);

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl hyper::rt::Read for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl hyper::rt::Write for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
