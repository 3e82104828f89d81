//! One request over one connection to an endpoint: how it is spoken, what the backend is told, and what becomes of a
//! connection that changes its protocol.

use std::{net::IpAddr, str::FromStr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri, Version,
    header::{CONNECTION, HOST, TE, TRANSFER_ENCODING, UPGRADE},
};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
    upgrade,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use kubelab_wire::trust;
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream, copy_bidirectional},
    time::timeout,
};
use tokio_rustls::TlsConnector;

use super::pages::{Body, BodyError};

/// Headers that are about one connection alone.
const HOP_BY_HOP: [HeaderName; 4] = [CONNECTION, TE, TRANSFER_ENCODING, UPGRADE];

/// How long a default backend may take for its page.
const PAGE_TIMEOUT: Duration = Duration::from_secs(10);

/// What a client sends, up to the longest that is taken.
pub type Sent = Limited<Incoming>;

/// What is spoken with a backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// `HTTP`: HTTP/1.1, which can change to another, as to WebSocket.
    #[default]
    Http,
    /// `HTTPS`: the same over TLS. Any certificate will do, as without `proxy-ssl-verify`.
    Https,
    /// `GRPC`: HTTP/2.
    Grpc,
    /// `GRPCS`: HTTP/2 over TLS.
    Grpcs,
}

impl FromStr for Protocol {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text.to_ascii_uppercase().as_str() {
            "HTTP" => Ok(Self::Http),
            "HTTPS" => Ok(Self::Https),
            "GRPC" => Ok(Self::Grpc),
            "GRPCS" => Ok(Self::Grpcs),
            _ => Err(()),
        }
    }
}

/// How backends are spoken to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Upstream {
    /// What is spoken.
    pub protocol: Protocol,
    /// How long an answer may take to begin.
    pub read_timeout: Duration,
    /// The host that backends are told in the place of the client's.
    pub host: Option<String>,
    /// What backends are told was taken from the path.
    pub prefix: Option<String>,
}

/// Why an endpoint gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What came is not what is spoken, or the connection broke.
    #[error("{0}")]
    Broken(#[from] hyper::Error),
    /// No TLS came to be.
    #[error("TLS: {0}")]
    Tls(#[from] std::io::Error),
    /// TLS cannot be set up.
    #[error("TLS: {0}")]
    Config(#[from] rustls::Error),
    /// It takes too long.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
}

impl Error {
    /// What the client is told.
    pub fn status(&self) -> StatusCode {
        let mut cause = Some(self as &dyn std::error::Error);
        while let Some(error) = cause {
            if error.is::<http_body_util::LengthLimitError>() {
                return StatusCode::PAYLOAD_TOO_LARGE;
            }
            cause = error.source();
        }
        match self {
            Self::Timeout(_) => StatusCode::GATEWAY_TIMEOUT,
            _ => StatusCode::BAD_GATEWAY,
        }
    }
}

/// How a request came.
#[derive(Clone, Copy, Debug)]
pub struct Origin {
    /// From whom.
    pub from: Option<IpAddr>,
    /// Over TLS.
    pub secure: bool,
}

/// Sends a request, whose address is the one that the backend gets, over a connection to an endpoint.
pub async fn forward(
    stream: DuplexStream,
    mut request: Request<Sent>,
    origin: Origin,
    host: &str,
    upstream: &Upstream,
) -> Result<Response<Body>, Error> {
    let wanted = request.headers().get(UPGRADE).cloned();
    let client = wanted.is_some().then(|| upgrade::on(&mut request));
    complete(request.headers_mut(), origin, host, upstream);
    if let Some(wanted) = wanted {
        request.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
        request.headers_mut().insert(UPGRADE, wanted);
    }
    let answered = timeout(upstream.read_timeout, exchange(stream, request, upstream.protocol, host)).await;
    let mut response = answered.map_err(|_| Error::Timeout(upstream.read_timeout))??;
    if let Some(client) = client.filter(|_| response.status() == StatusCode::SWITCHING_PROTOCOLS) {
        let backend = upgrade::on(&mut response);
        tokio::spawn(join(client, backend));
    } else {
        HOP_BY_HOP.iter().for_each(|name| drop(response.headers_mut().remove(name)));
    }
    *response.version_mut() = Version::HTTP_11;
    Ok(response.map(|body| body.map_err(Into::into).boxed()))
}

/// Joins two connections that have changed their protocol, until both ends are silent.
async fn join(client: upgrade::OnUpgrade, backend: upgrade::OnUpgrade) {
    let joined = async {
        let (client, backend) = tokio::try_join!(client, backend)?;
        // An end that breaks off is an end like another.
        let _ = copy_bidirectional(&mut TokioIo::new(client), &mut TokioIo::new(backend)).await;
        Ok::<_, hyper::Error>(())
    };
    if let Err(error) = joined.await {
        tracing::debug!(%error, "a connection did not change its protocol");
    }
}

/// The page that a default backend has for a request of the controller's own.
pub async fn page_of(
    stream: DuplexStream,
    mut request: Request<Empty<Bytes>>,
    origin: Origin,
    host: &str,
) -> Result<Response<Body>, Error> {
    let upstream = Upstream { read_timeout: PAGE_TIMEOUT, ..Upstream::default() };
    complete(request.headers_mut(), origin, host, &upstream);
    let answered = timeout(PAGE_TIMEOUT, one(stream, request)).await;
    let mut response = answered.map_err(|_| Error::Timeout(PAGE_TIMEOUT))??;
    HOP_BY_HOP.iter().for_each(|name| drop(response.headers_mut().remove(name)));
    Ok(response.map(|body| body.map_err(Into::into).boxed()))
}

async fn exchange(
    stream: DuplexStream,
    request: Request<Sent>,
    protocol: Protocol,
    host: &str,
) -> Result<Response<Incoming>, Error> {
    match protocol {
        Protocol::Http => one(stream, request).await,
        Protocol::Https => one(secured(stream, host, b"http/1.1").await?, request).await,
        Protocol::Grpc => two(stream, request, "http").await,
        Protocol::Grpcs => two(secured(stream, host, b"h2").await?, request, "https").await,
    }
}

async fn secured(
    stream: DuplexStream,
    host: &str,
    spoken: &[u8],
) -> Result<tokio_rustls::client::TlsStream<DuplexStream>, Error> {
    let mut config = trust::anybody()?;
    config.alpn_protocols = vec![spoken.to_vec()];
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name).to_owned();
    let name = ServerName::try_from(name).unwrap_or(ServerName::from(IpAddr::from([0; 4])));
    Ok(TlsConnector::from(Arc::new(config)).connect(name, stream).await?)
}

async fn one<B>(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<B>,
) -> Result<Response<Incoming>, Error>
where
    B: hyper::body::Body<Data = Bytes, Error: Into<BodyError>> + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    spawn(connection.with_upgrades());
    Ok(sender.send_request(request).await?)
}

async fn two(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    mut request: Request<Sent>,
    scheme: &str,
) -> Result<Response<Incoming>, Error> {
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    spawn(connection);
    // HTTP/2 names the scheme and the host in the address itself.
    if let Some(host) = request.headers_mut().remove(HOST)
        && let Ok(host) = host.to_str()
        && let Some(path) = request.uri().path_and_query().cloned()
        && let Ok(uri) = Uri::builder().scheme(scheme).authority(host).path_and_query(path).build()
    {
        *request.uri_mut() = uri;
    }
    *request.version_mut() = Version::HTTP_2;
    request.headers_mut().insert(TE, HeaderValue::from_static("trailers"));
    Ok(sender.send_request(request).await?)
}

fn spawn(connection: impl Future<Output = Result<(), hyper::Error>> + Send + 'static) {
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to an endpoint broke");
        }
    });
}

/// Tells the backend who asked. Source: the headers in ingress-nginx' template.
fn complete(headers: &mut HeaderMap, origin: Origin, host: &str, upstream: &Upstream) {
    HOP_BY_HOP.iter().for_each(|name| drop(headers.remove(name)));
    let scheme = if origin.secure { "https" } else { "http" };
    let port = if origin.secure { "443" } else { "80" };
    let client = origin.from.map(|from| from.to_string()).unwrap_or_default();
    let id = headers.get("x-request-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
    let id = id.unwrap_or_else(|| format!("{:032x}", rand::random::<u128>()));
    for (name, value) in [
        ("host", Some(upstream.host.as_deref().unwrap_or(host))),
        ("x-request-id", Some(id.as_str())),
        ("x-real-ip", Some(client.as_str())),
        ("x-forwarded-for", Some(client.as_str())),
        ("x-forwarded-host", Some(host)),
        ("x-forwarded-port", Some(port)),
        ("x-forwarded-proto", Some(scheme)),
        ("x-forwarded-scheme", Some(scheme)),
        ("x-scheme", Some(scheme)),
        ("x-forwarded-prefix", upstream.prefix.as_deref()),
    ] {
        if let Some(Ok(value)) = value.map(HeaderValue::from_str) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
}
