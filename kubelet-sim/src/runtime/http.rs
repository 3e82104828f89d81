//! What a simulated container that speaks HTTP answers: who it is, so that load balancing can be seen. The format is
//! that of the `nginxdemos/hello:plain-text` image, with the node's name added.

use std::{
    convert::Infallible,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Request, Response, StatusCode,
    body::Incoming,
    header::{CONTENT_TYPE, HeaderValue, REFERER, USER_AGENT},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use kubelab_client::clock;
use tokio::io::DuplexStream;

use super::{console::Console, site::Site};
use crate::{
    behavior::{Health, Page},
    shell::streams::Fd,
};

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
}

impl Server {
    /// Serves one connection until it ends.
    pub async fn serve(self, connection: DuplexStream) {
        let service = service_fn(|request| self.respond(request));
        let mut builder = http1::Builder::new();
        // A client may say all it has to say before it listens: `printf 'GET / …' | nc`.
        builder.half_close(true);
        if let Err(error) = builder.serve_connection(TokioIo::new(connection), service).await {
            tracing::debug!(address = %self.address, %error, "a connection to a container broke");
        }
    }

    async fn respond(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let uri = request.uri().to_string();
        let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or("-").to_owned();
        let (referer, agent) = (header(REFERER), header(USER_AGENT));
        let asked = format!("{} {uri} {:?}", request.method(), request.version());
        let read = Limited::new(request.into_body(), MAX_BODY).collect().await;
        let now = clock::now().0;
        let status =
            if read.is_err() { 413 } else { self.health.status(now.duration_since(self.started_at).unsigned_abs()) };
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let own = || format!("{} {}\n", status.as_u16(), status.canonical_reason().unwrap_or_default());
        let file = match &self.site {
            Some(site) if status.is_success() => site.answer(&uri).await,
            _ => None,
        };
        let (status, kind, body) = file.unwrap_or_else(|| {
            let body = if status.is_success() { self.body(&uri, now) } else { own() };
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
        Ok(response)
    }

    fn body(&self, uri: &str, now: Timestamp) -> String {
        match &self.page {
            Page::Describe => self.describe(uri, now),
            Page::Text(text) => format!("{text}\n"),
            Page::Hostname => self.name.clone(),
            Page::Netexec => self.netexec(uri, now),
        }
    }

    /// Source: `test/images/agnhost/netexec` of Kubernetes.
    fn netexec(&self, uri: &str, now: Timestamp) -> String {
        let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
        let query = |name: &str| {
            let value = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
            value.unwrap_or_default().replace('+', " ")
        };
        match path {
            "/hostname" | "/hostName" => self.name.clone(),
            "/echo" => query("msg"),
            "/healthz" => "OK".to_owned(),
            _ => format!("NOW: {}", now.strftime("%Y-%m-%d %H:%M:%S.%f +0000 UTC")),
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
