//! `metrics-server`: what nodes and pods use, as the metrics API tells it to `kubectl top` and to autoscalers.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`scrape`] | what a kubelet's page says (pure) |
//! | [`usage`] | what was used between two looks (pure) |
//! | [`api`] | the API's documents (pure) |
//! | [`tls`] | its certificate, and who may ask |
//!
//! The kubelets are asked when somebody asks, at most once in `--metric-resolution`: a cluster whose metrics nobody reads
//! pays nothing for them.

pub mod api;
pub mod scrape;
pub mod tls;
pub mod usage;

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{StreamExt, future::BoxFuture, stream};
use http::{Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::Full;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use k8s_openapi::api::core::v1::{Node, Pod};
use kubelab_api::{Error, Reason};
use kubelab_client::{
    Client, Scope,
    clock::{self, Instant},
};
use serde_json::Value;
use tokio::sync::{Mutex, OnceCell};
use tokio_rustls::TlsAcceptor;

use self::{
    api::{Asked, Objects},
    usage::Book,
};
use crate::{Connection, Container, Program};

/// How long what was read is good. Source: the default of `--metric-resolution` is 60 s, that of the manifests 15 s.
const RESOLUTION: Duration = Duration::from_secs(15);
/// Kubelets that are asked at the same time.
const AT_ONCE: usize = 32;
/// How long a kubelet may take. Source: `--kubelet-request-timeout`.
const PATIENCE: Duration = Duration::from_secs(10);

/// The server.
pub struct Server {
    container: Container,
    client: Client,
    resolution: Duration,
    acceptor: OnceCell<TlsAcceptor>,
    book: Mutex<(Option<Instant>, Book)>,
}

impl Server {
    /// A server that has asked nobody yet.
    pub fn new(container: Container) -> Self {
        let seconds = container.argument("--metric-resolution").and_then(|text| text.strip_suffix('s')?.parse().ok());
        Self {
            client: container.client.with_agent("metrics-server"),
            resolution: seconds.map_or(RESOLUTION, Duration::from_secs),
            acceptor: OnceCell::new(),
            book: Mutex::default(),
            container,
        }
    }

    /// What is used, not longer ago than the resolution.
    async fn book(&self) -> Result<Book, Error> {
        let mut guard = self.book.lock().await;
        let (read_at, book) = &mut *guard;
        if read_at.is_some_and(|read| read.elapsed() < self.resolution) {
            return Ok(book.clone());
        }
        let nodes: Vec<Node> = self.client.list("").await?;
        let names = nodes.into_iter().filter_map(|node| node.metadata.name);
        let pages = stream::iter(names).map(|name| self.page(name)).buffer_unordered(AT_ONCE);
        let pages: Vec<_> = pages.filter_map(std::future::ready).collect().await;
        book.turn(pages);
        *read_at = Some(clock::instant());
        Ok(book.clone())
    }

    /// What a node's kubelet says; nothing if it does not answer.
    async fn page(&self, node: String) -> Option<(String, scrape::Page)> {
        let path = format!("/api/v1/nodes/{node}/proxy/metrics/resource");
        let asked = tokio::select! {
            asked = self.client.fetch_text(&path) => asked.map_err(|error| error.message),
            () = clock::sleep(PATIENCE) => Err("context deadline exceeded".to_owned()),
        };
        match asked {
            Ok(text) => Some((node, scrape::page(&text))),
            Err(why) => {
                (self.container.log)(&format!("\"Failed to scrape node\" err={why:?} node={node:?}"));
                None
            }
        }
    }

    async fn answer(&self, request: &Request<Incoming>, allowed: bool) -> Result<Value, Error> {
        let asked = Asked::of(request.uri().path(), request.uri().query().unwrap_or_default());
        let asked = asked.ok_or_else(Error::no_such_page)?;
        if let Asked::Document(document) = asked {
            return Ok(document);
        }
        if !allowed {
            return Err(Error::new(Reason::Unauthorized, "Unauthorized"));
        }
        if request.method() != Method::GET {
            return Err(Error::method_not_allowed());
        }
        let Asked::Objects(objects) = asked else { return Err(Error::no_such_page()) };
        let book = self.book().await?;
        let chosen = self.chosen(&objects).await?;
        api::answer(&book, &objects, chosen.as_deref())
    }

    /// The names that a label selector leaves, if there is one: only the API knows labels.
    async fn chosen(&self, objects: &Objects) -> Result<Option<Vec<(String, String)>>, Error> {
        if objects.labels.is_empty() {
            return Ok(None);
        }
        let scope = Scope { namespace: objects.namespace.clone(), labels: objects.labels.clone(), ..Scope::default() };
        let metas: Vec<_> = if objects.of_nodes {
            self.client.list_scope::<Node>(&scope).await?.into_iter().map(|node| node.metadata).collect()
        } else {
            self.client.list_scope::<Pod>(&scope).await?.into_iter().map(|pod| pod.metadata).collect()
        };
        let name = |text: Option<String>| text.unwrap_or_default();
        Ok(Some(metas.into_iter().map(|meta| (name(meta.namespace), name(meta.name))).collect()))
    }

    async fn respond(&self, request: Request<Incoming>, allowed: bool) -> Response<Full<Bytes>> {
        let path = request.uri().path();
        if matches!(path, "/livez" | "/readyz" | "/healthz") {
            return respond(StatusCode::OK, "text/plain; charset=utf-8", "ok".to_owned());
        }
        let (status, body) = match self.answer(&request, allowed).await {
            Ok(value) => (StatusCode::OK, value.to_string()),
            Err(error) => {
                let code = StatusCode::from_u16(error.code()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                (code, serde_json::to_string(&error.to_status()).unwrap_or_default())
            }
        };
        respond(status, "application/json", body)
    }

    async fn acceptor(&self) -> Option<&TlsAcceptor> {
        let made = self.acceptor.get_or_try_init(|| tls::acceptor(&self.client)).await;
        match made {
            Ok(acceptor) => Some(acceptor),
            Err(why) => {
                (self.container.log)(&format!("\"Unable to serve\" err={why:?}"));
                None
            }
        }
    }
}

fn respond(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static(kind));
    response
}

impl Program for Server {
    fn run(self: Arc<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            (self.container.log)("Serving securely on [::]:10250");
            std::future::pending().await
        })
    }

    fn serve(self: Arc<Self>, connection: Connection) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let Some(acceptor) = self.acceptor().await.cloned() else { return };
            let Ok(stream) = acceptor.accept(connection.stream).await else { return };
            // The handshake has checked whatever certificate was shown.
            let allowed = tls::is_proxy(stream.get_ref().1.peer_certificates().unwrap_or_default());
            let server = self.clone();
            let service = service_fn(move |request: Request<Incoming>| {
                let server = server.clone();
                async move { Ok::<_, Infallible>(server.respond(request, allowed).await) }
            });
            let builder = auto::Builder::new(TokioExecutor::new());
            if let Err(error) = builder.serve_connection(TokioIo::new(stream), service).await {
                tracing::debug!(%error, "a connection to the metrics server broke");
            }
        })
    }
}
