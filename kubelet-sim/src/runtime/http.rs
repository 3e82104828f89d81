//! What a simulated container that speaks HTTP answers: who it is, so that load balancing can be seen. The format is
//! that of the `nginxdemos/hello:plain-text` image, with the node's name added.

use std::{
    convert::Infallible,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Request, Response, StatusCode,
    body::Incoming,
    header::{CONTENT_TYPE, HeaderValue, LOCATION, REFERER, USER_AGENT},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use jiff::Timestamp;
use kubelab_client::clock;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};

use super::{
    agnhost::{self, Asked, Reply, Told},
    console::Console,
    health::Checker,
    site::Site,
    tls,
};
use crate::{
    behavior::{Health, Page, Protocol},
    shell::streams::Fd,
};

/// What a TLS record with a handshake begins with. Source: RFC 8446.
const HANDSHAKE: u8 = 0x16;

/// What Go's servers say to who speaks no TLS.
const NO_TLS: &[u8] = b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";

/// A request's body is read, so that the connection can be kept, up to this.
const MAX_BODY: usize = 16 << 20;

/// A listening container.
#[derive(Clone)]
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its pod's host name.
    pub name: String,
    /// Its node.
    pub node: String,
    /// When it started.
    pub started_at: Timestamp,
    /// How it is.
    pub health: Health,
    /// What it answers.
    pub page: Page,
    /// Who asks, as far as that is known.
    pub from: Option<IpAddr>,
    /// Where it tells of each request.
    pub console: Option<Arc<Console>>,
    /// The files that it serves, if it is a web server.
    pub site: Option<Arc<Site>>,
    /// What it was told to say of its health.
    pub told: Arc<Told>,
}

impl Server {
    /// Serves one connection until it ends.
    pub async fn serve(self, protocol: Protocol, mut connection: DuplexStream) {
        let address = self.address;
        let served = match protocol {
            Protocol::Grpc => self.serve_both(connection).await,
            Protocol::Https => {
                let mut first = [0];
                let (Ok(1), Some(acceptor)) = (connection.read(&mut first).await, tls::acceptor()) else { return };
                if first[0] != HANDSHAKE {
                    connection.write_all(NO_TLS).await.ok();
                    return;
                }
                let (read, write) = tokio::io::split(connection);
                match acceptor.accept(tokio::io::join(first.as_slice().chain(read), write)).await {
                    Ok(connection) => self.serve_http(connection).await,
                    Err(error) => Err(error.to_string()),
                }
            }
            _ => self.serve_http(connection).await,
        };
        if let Err(error) = served {
            tracing::debug!(%address, %error, "a connection to a container broke");
        }
    }

    async fn serve_http(self, connection: impl AsyncRead + AsyncWrite + Unpin) -> Result<(), String> {
        let service = service_fn(|request| self.respond(request));
        let mut builder = http1::Builder::new();
        // A client may say all it has to say before it listens: `printf 'GET / …' | nc`.
        builder.half_close(true);
        builder.serve_connection(TokioIo::new(connection), service).await.map_err(|error| error.to_string())
    }

    /// gRPC, or HTTP/1.1: the client's first bytes tell.
    async fn serve_both(self, connection: DuplexStream) -> Result<(), String> {
        let checker = Checker {
            service: match &self.page {
                Page::Health { service } => Some(service.clone()),
                _ => None,
            },
            health: self.health.clone(),
            started_at: self.started_at,
            told: self.told.clone(),
        };
        let grpc = TowerToHyperService::new(checker.into_service());
        let server = Arc::new(self);
        let service = service_fn(move |request: Request<Incoming>| {
            let (server, grpc) = (server.clone(), grpc.clone());
            async move {
                let is_grpc = request
                    .headers()
                    .get(CONTENT_TYPE)
                    .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
                if is_grpc {
                    let answered = hyper::service::Service::call(&grpc, request).await;
                    return answered.map(|response| response.map(|body| body.boxed_unsync()));
                }
                let answered = server.respond(request).await;
                answered.map(|response| response.map(|body| body.map_err(|never| match never {}).boxed_unsync()))
            }
        });
        let builder = auto::Builder::new(TokioExecutor::new());
        builder.serve_connection(TokioIo::new(connection), service).await.map_err(|error| error.to_string())
    }

    async fn respond(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let uri = request.uri().to_string();
        let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or("-").to_owned();
        let (referer, agent) = (header(REFERER), header(USER_AGENT));
        let asked = format!("{} {uri} {:?}", request.method(), request.version());
        let read = Limited::new(request.into_body(), MAX_BODY).collect().await;
        let now = clock::now().0;
        let uptime = now.duration_since(self.started_at).unsigned_abs();
        let own = self.agnhost(&uri, uptime, now);
        if let Some(Reply { delay, .. }) = &own {
            clock::sleep(*delay).await;
        }
        let status = match &own {
            _ if read.is_err() => 413,
            Some(reply) => reply.status,
            None => self.health.status(uptime),
        };
        let location = own.as_ref().and_then(|reply| reply.location.clone());
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let plain = || format!("{} {}\n", status.as_u16(), status.canonical_reason().unwrap_or_default());
        let file = match &self.site {
            Some(site) if status.is_success() => site.answer(&uri).await,
            _ => None,
        };
        let (status, kind, body) = file.unwrap_or_else(|| {
            let body = match own {
                Some(reply) => reply.body,
                None if status.is_success() => self.body(&uri, now),
                None => plain(),
            };
            (status, "text/plain", body.into_bytes())
        });
        if let Some(console) = &self.console {
            // The combined format of nginx and Apache. A port-forward comes from within.
            let from = self.from.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
            let time = now.strftime("%d/%b/%Y:%H:%M:%S +0000");
            let (code, length) = (status.as_u16(), body.len());
            let line = format!("{from} - - [{time}] \"{asked}\" {code} {length} \"{referer}\" \"{agent}\" \"-\"\n");
            console.write(Fd::Stdout, line.as_bytes());
        }
        let mut response = Response::new(Full::from(body));
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        if let Some(location) = location.and_then(|location| HeaderValue::from_str(&location).ok()) {
            response.headers_mut().insert(LOCATION, location);
        }
        Ok(response)
    }

    fn agnhost(&self, uri: &str, uptime: Duration, now: Timestamp) -> Option<Reply> {
        // Ports of clients are not told; Go always shows one.
        let from = self.from.map(|ip| SocketAddr::new(ip, 0));
        let (health, told) = (&self.health, &*self.told);
        agnhost::answer(&self.page, &Asked { uri, name: &self.name, from, uptime, now, health, told })
    }

    fn body(&self, uri: &str, now: Timestamp) -> String {
        match &self.page {
            Page::Describe => self.describe(uri, now),
            Page::Text(text) => format!("{text}\n"),
            // The others have answers of their own.
            _ => self.name.clone(),
        }
    }

    fn describe(&self, uri: &str, now: Timestamp) -> String {
        let Self { address, name, node, .. } = self;
        let date = now.strftime("%d/%b/%Y:%H:%M:%S +0000");
        let request: u128 = rand::random();
        format!(
            "Server address: {address}\nServer name: {name}\nNode: {node}\nDate: {date}\nURI: {uri}\n\
             Request ID: {request:032x}\n"
        )
    }
}
