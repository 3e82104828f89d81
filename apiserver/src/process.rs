//! One apiserver's life as a process.

use std::{future::Future, sync::Arc, time::Duration};

use anyhow::Context;
use jiff::Timestamp;
use kubelab_api::Error;
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
    authentication::{Authenticator, token::{ISSUER, Keys}},
    authorization::Authorizer,
    bootstrap::{self, seed::seed},
    corridor::Corridor,
    doors::{Doors, health::Health},
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
    let key = std::fs::read(&options.service_account_key)
        .with_context(|| format!("cannot read {}", options.service_account_key.display()))?;
    let keys = Keys::from_pem(&key, ISSUER).with_context(|| options.service_account_key.display().to_string())?;
    let store = Store::open(store_options(&options)?).await?;

    let authenticator = Authenticator::new(keys, store.clone(), Box::new(Timestamp::now));
    let authorizer = Authorizer::new(store.clone());
    let corridor = Arc::new(Corridor::new(store.clone(), authenticator, authorizer, Timestamp::now));
    let shutdown = CancellationToken::new();
    let doors = Arc::new(Doors {
        name: options.name.clone(),
        corridor,
        limits: Default::default(),
        metrics: Default::default(),
        health: Health::new(store.member()),
        openapi: Default::default(),
        shutdown: shutdown.clone(),
    });
    let address = listener.local_addr()?;
    tracing::info!(listen = %address, member = options.id, "serving");
    let serving = tokio::spawn(server::serve(listener, tls, Arc::clone(&doors)));
    let service = bootstrap::service::service(options.kubernetes_service_ip(), address.port());
    let bootstrapping = tokio::spawn(bootstrap(Arc::clone(&doors), service, shutdown.clone()));

    stop.await;
    tracing::info!("shutting down");
    doors.health.set_leaving();
    shutdown.cancel();
    bootstrapping.abort();
    serving.await?;
    store.shutdown().await;
    Ok(())
}

/// Writes what every cluster has, as soon as the store has a leader: the policy in one transaction, and the Service
/// `kubernetes` by the path that all Services take, since its address must be claimed.
async fn bootstrap(doors: Arc<Doors>, service: bootstrap::Object, stop: CancellationToken) {
    if !seed(doors.corridor.store(), Timestamp::now, &stop).await {
        return;
    }
    loop {
        match doors.corridor.ensure(vec![service.clone()]).await {
            Ok(()) => return doors.health.set_bootstrapped(),
            Err(error) => retry(&error).await,
        }
    }
}

async fn retry(error: &Error) {
    tracing::warn!(%error, "the objects that every cluster has could not all be created yet");
    sleep(BOOTSTRAP_EVERY).await;
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
