//! One apiserver's life as a process.

use std::{fs, future::Future, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context;
use jiff::Timestamp;
use kubelab_store::{PeerTls, Store};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    time::sleep,
};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::{
    Options,
    authentication::{Authenticator, token::Keys},
    authorization::Authorizer,
    bootstrap::{Object, publish::publish, seed::seed, service::service},
    corridor::Corridor,
    doors::{Doors, health::Health},
    nodes::Nodes,
    registry::core::service::claim::KUBERNETES,
    server,
};

/// How long to wait before the bootstrap is tried again.
const BOOTSTRAP_EVERY: Duration = Duration::from_millis(200);

/// Runs an apiserver until SIGTERM or SIGINT.
pub async fn run(options: Options) -> anyhow::Result<()> {
    start(&options.name);
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let listener = TcpListener::bind(options.listen).await;
    let listener =
        listener.with_context(|| format!("cannot listen on {}; is another apiserver there?", options.listen))?;
    serve(options, listener, stop).await
}

/// Logs go to standard error; the process is named as itself in `ps`.
fn start(name: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    // A process that already logs, such as a test, goes on as it does.
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init();
    if let Ok(name) = std::ffi::CString::new(name) {
        // The name is for people alone.
        let _ = rustix::thread::set_name(&name);
    }
}

/// Serves on `listener` until `stop` resolves.
pub async fn serve(options: Options, listener: TcpListener, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
    let tls = server::tls(&options.certificate_authority, &options.tls_certificate, &options.tls_key)?;
    let keys = keys(&options)?;
    let store = Store::open(store_options(&options)?).await?;

    let authenticator = Authenticator::new(keys, store.clone(), Box::new(Timestamp::now));
    let authorizer = Authorizer::new(store.clone());
    let corridor = Arc::new(Corridor::new(store.clone(), authenticator, authorizer, Timestamp::now));
    let shutdown = CancellationToken::new();
    let nodes = Nodes::new(&options.certificate_authority, &options.tls_certificate, &options.tls_key)?;
    let doors = Arc::new(Doors {
        name: options.name.clone(),
        corridor,
        limits: Default::default(),
        metrics: Default::default(),
        health: Health::new(store.member()),
        openapi: Default::default(),
        nodes,
        shutdown: shutdown.clone(),
    });
    let address = listener.local_addr()?;
    tracing::info!(listen = %address, member = options.id, "serving");
    let serving = tokio::spawn(server::serve(listener, tls, Arc::clone(&doors)));
    let service = service(KUBERNETES.into(), address.port());
    let published = SocketAddr::new(options.advertised(), address.port());
    let bootstrapping = tokio::spawn(bootstrap(Arc::clone(&doors), service, options.id, published));

    stop.await;
    tracing::info!("shutting down");
    doors.health.set_leaving();
    shutdown.cancel();
    serving.await?;
    bootstrapping.await?;
    store.shutdown().await;
    Ok(())
}

/// Creates what every cluster has, as soon as the store has a leader. Ready is who has seen it done; then this apiserver
/// keeps its address among the endpoints of the Service `kubernetes`.
async fn bootstrap(doors: Arc<Doors>, service: Object, id: u64, published: SocketAddr) {
    if !seed(doors.corridor.store(), Timestamp::now, &doors.shutdown).await {
        return;
    }
    while let Err(error) = doors.corridor.ensure(&service).await {
        tracing::info!(%error, "the Service kubernetes could not be created yet");
        tokio::select! {
            () = sleep(BOOTSTRAP_EVERY) => {}
            () = doors.shutdown.cancelled() => return,
        }
    }
    doors.health.set_bootstrapped();
    publish(doors.corridor.store(), id, published, Timestamp::now, &doors.shutdown).await;
}

fn keys(options: &Options) -> anyhow::Result<Keys> {
    let path = &options.service_account_key;
    let pem = fs::read(path).with_context(|| format!("cannot read --service-account-key {}", path.display()))?;
    Keys::from_pem(&pem, &options.service_account_issuer).with_context(|| path.display().to_string())
}

fn store_options(options: &Options) -> anyhow::Result<kubelab_store::Options> {
    let members = options.members()?;
    let tls = PeerTls {
        ca: options.certificate_authority.clone(),
        cert: options.tls_certificate.clone(),
        key: options.tls_key.clone(),
    };
    let data_dir = options.data_dir.clone();
    let store = kubelab_store::Options::new(options.id, members, data_dir, options.peer_listen);
    Ok(kubelab_store::Options { tls: Some(tls), ..store })
}
