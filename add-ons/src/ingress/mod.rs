//! The ingress controller, in the place of ingress-nginx: requests to hosts and paths go to the endpoints of Services, over
//! TLS where an Ingress has a certificate.
//!
//! ```text
//!  request ──► routes: which rule ──► redirects, cors ──► limit, access, auth ──► canary ──► upstream: which endpoint ──► forward
//! ```
//!
//! | module | what it is |
//! | --- | --- |
//! | [`annotations`] | what an Ingress' annotations ask for (pure) |
//! | [`routes`] | which backend a request goes to (pure) |
//! | [`access`], [`auth`], [`password`], [`limit`] | who may ask, and how often (pure) |
//! | [`cors`] | which other sites' scripts may ask (pure) |
//! | [`canary`] | which requests a canary takes (pure) |
//! | [`affinity`] | clients that stay with their endpoint (pure) |
//! | [`upstream`] | the endpoints behind a backend |
//! | [`proxy`] | one request, from phase to phase |
//! | [`forward`] | one request over one connection |
//! | [`pages`] | what is answered without a backend |
//! | [`tls`] | the certificates that hosts are served with |
//! | [`status`] | what Ingresses are told: the address under which they are reached |

pub mod access;
pub mod affinity;
pub mod annotations;
pub mod auth;
pub mod canary;
pub mod cors;
pub mod forward;
pub mod limit;
pub mod pages;
pub mod password;
pub mod proxy;
pub mod routes;
pub mod status;
pub mod tls;
pub mod upstream;

use std::{
    convert::Infallible,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use futures::future::BoxFuture;
use http::{Request, Response};
use hyper::{
    body::{Body as _, Incoming},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use k8s_openapi::api::{
    core::v1::{Secret, Service},
    discovery::v1::EndpointSlice,
    networking::v1::{Ingress, IngressClass},
};
use kubelab_client::{Cache, Change, Client, Recorder, Scope, clock, recorder::Kind};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::Notify,
};
use tokio_rustls::TlsAcceptor;

use self::{
    forward::Origin,
    limit::Limiter,
    pages::Body,
    proxy::Outcome,
    routes::{CONTROLLER, Table, is_ours},
    tls::Certificates,
    upstream::Upstreams,
};
use crate::{Connection, Container, Program};

/// The port of connections with TLS.
const SECURE_PORT: u16 = 443;

/// Changes that come close together make one new table.
const SETTLE: Duration = Duration::from_millis(10);

/// How soon an Ingress that could not be told its address is told again.
const RETRY: Duration = Duration::from_secs(1);

/// The controller.
pub struct Controller {
    container: Container,
    client: Client,
    ingresses: Cache<Ingress>,
    classes: Cache<IngressClass>,
    services: Cache<Service>,
    slices: Cache<EndpointSlice>,
    secrets: Cache<Secret>,
    upstreams: Upstreams,
    limiter: Limiter,
    recorder: Recorder,
    table: Arc<RwLock<Arc<Table>>>,
    acceptor: Option<TlsAcceptor>,
    changed: Arc<Notify>,
}

impl Controller {
    /// A controller that begins to watch the cluster.
    pub fn new(container: Container) -> Self {
        let client = container.client.with_agent("nginx-ingress-controller");
        let table: Arc<RwLock<Arc<Table>>> = Arc::default();
        // Certificates, and the passwords of basic auth. Source: ingress-nginx leaves out Helm's alone.
        let scope = Scope { fields: "type!=helm.sh/release.v1".to_owned(), ..Scope::default() };
        let secrets: Cache<Secret> = Cache::start(&client, scope);
        let certificates = Certificates::new(table.clone(), secrets.clone());
        let config = certificates.map_err(|error| error.to_string());
        let config = config.and_then(|certificates| Arc::new(certificates).config().map_err(|error| error.to_string()));
        let acceptor = match config {
            Ok(config) => Some(TlsAcceptor::from(Arc::new(config))),
            Err(error) => {
                (container.log)(&format!("connections with TLS are not served: {error}"));
                None
            }
        };
        let (services, slices) = (Cache::start(&client, Scope::default()), Cache::start(&client, Scope::default()));
        Self {
            upstreams: Upstreams::follow(services.clone(), slices.clone()),
            limiter: Limiter::default(),
            recorder: Recorder::new(&client, "nginx-ingress-controller", &container.pod),
            ingresses: Cache::start(&client, Scope::default()),
            classes: Cache::start(&client, Scope::default()),
            services,
            slices,
            changed: Arc::new(Notify::new()),
            secrets,
            table,
            acceptor,
            client,
            container,
        }
    }

    fn table(&self) -> Arc<Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The Ingresses that are this controller's.
    fn ours(&self) -> Vec<Arc<Ingress>> {
        let (classes, controller) = (self.classes.list(), self.container.argument("--controller-class"));
        let mut ingresses = self.ingresses.list();
        ingresses.retain(|ingress| is_ours(ingress, &classes, controller.unwrap_or(CONTROLLER)));
        ingresses
    }

    async fn synced(&self) {
        tokio::join!(self.ingresses.synced(), self.classes.synced(), self.services.synced(), self.slices.synced());
        self.secrets.synced().await;
    }

    fn follow(self: &Arc<Self>) {
        let changed = self.changed.clone();
        self.classes.on_change(move |_| changed.notify_one());
        let changed = self.changed.clone();
        self.services.on_change(move |_| changed.notify_one());
        let controller = Arc::downgrade(self);
        self.ingresses.on_change(move |change| {
            let Some(controller) = controller.upgrade() else { return };
            controller.changed.notify_one();
            let is_new = match change {
                Change::Added(_) => true,
                Change::Modified { old, new } => old.spec != new.spec,
                Change::Deleted(_) => false,
            };
            let ingress = change.object();
            let ours = is_ours(ingress, &controller.classes.list(), CONTROLLER);
            if is_new && ours {
                controller.recorder.event(&**ingress, Kind::Normal, "Sync", "Scheduled for sync".to_owned());
            }
        });
    }

    async fn serve_http(self: Arc<Self>, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, origin: Origin) {
        let service = service_fn(move |request: Request<Incoming>| {
            let controller = self.clone();
            async move { Ok::<_, Infallible>(controller.respond(request, origin).await) }
        });
        let server = auto::Builder::new(TokioExecutor::new());
        if let Err(error) = server.serve_connection_with_upgrades(TokioIo::new(stream), service).await {
            tracing::debug!(%error, "a connection to the ingress controller broke");
        }
    }

    async fn respond(&self, request: Request<Incoming>, origin: Origin) -> Response<Body> {
        let asked = format!("{} {} {:?}", request.method(), request.uri().path(), request.version());
        let Outcome { response, backend, endpoint } = self.answer(request, origin).await;
        let from = origin.from.map(|from| from.to_string()).unwrap_or_else(|| "-".to_owned());
        let time = clock::now().0.strftime("%d/%b/%Y:%H:%M:%S +0000");
        let length = response.body().size_hint().exact().unwrap_or_default();
        let name = backend.map(|backend| format!("{}-{}", backend.namespace, backend.service)).unwrap_or_default();
        let endpoint = endpoint.map_or_else(|| "-".to_owned(), |endpoint| endpoint.to_string());
        (self.container.log)(&format!(
            "{from} - - [{time}] \"{asked}\" {} {length} [{name}] {endpoint}",
            response.status().as_u16()
        ));
        response
    }
}

impl Program for Controller {
    fn run(self: Arc<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            self.synced().await;
            self.follow();
            (self.container.log)("NGINX Ingress controller");
            loop {
                let ours = self.ours();
                *self.table.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(Table::of(&ours));
                let done = self.publish(&ours).await;
                let retry = async { if done { std::future::pending().await } else { clock::sleep(RETRY).await } };
                tokio::select! {
                    () = self.changed.notified() => clock::sleep(SETTLE).await,
                    () = retry => {}
                }
            }
        })
    }

    fn serve(self: Arc<Self>, connection: Connection) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let Connection { stream, port, from, .. } = connection;
            if port != SECURE_PORT {
                return self.serve_http(stream, Origin { from, secure: false }).await;
            }
            let Some(acceptor) = self.acceptor.clone() else { return };
            match acceptor.accept(stream).await {
                Ok(stream) => self.serve_http(stream, Origin { from, secure: true }).await,
                Err(error) => tracing::debug!(%error, "no TLS with a client of the ingress controller"),
            }
        })
    }
}
