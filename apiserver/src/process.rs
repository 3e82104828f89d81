//! One apiserver's life as a process.

use std::{fs, future::Future, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

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
    aggregation::{Aggregator, remote::Identity},
    authentication::{Authenticator, token::Keys},
    authorization::Authorizer,
    bootstrap::{Object, publish::publish, seed::seed, service::service, trust},
    corridor::Corridor,
    doors::{Doors, health::Health},
    fairness,
    registry::{self, core::service::claim::KUBERNETES},
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
    let identity = match (&options.proxy_client_certificate, &options.proxy_client_key) {
        (Some(certificate), Some(key)) => Some(Identity::from_files(certificate, key)?),
        _ => None,
    };
    let aggregator = Arc::new(Aggregator::new(store.clone(), identity, Timestamp::now));
    let trust = trust(&options)?;
    let address = listener.local_addr()?;
    let doors = Arc::new(Doors {
        name: options.name.clone(),
        address: SocketAddr::new(options.advertised(), address.port()).to_string(),
        corridor,
        limits: Default::default(),
        fairness: Default::default(),
        metrics: Default::default(),
        health: Health::new(store.member()),
        openapi: Default::default(),
        aggregator,
        shutdown: shutdown.clone(),
    });
    tracing::info!(listen = %address, member = options.id, "serving");
    let serving = tokio::spawn(server::serve(listener, tls, Arc::clone(&doors)));
    let service = service(KUBERNETES.into(), address.port());
    let published = SocketAddr::new(options.advertised(), address.port());
    let bootstrapping = tokio::spawn(bootstrap(Arc::clone(&doors), service, trust, options.id, published));

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
async fn bootstrap(doors: Arc<Doors>, service: Object, trust: Object, id: u64, published: SocketAddr) {
    if !seed(doors.corridor.store(), Timestamp::now, &doors.shutdown).await {
        return;
    }
    let prepare = async || -> Result<(), kubelab_api::Error> {
        doors.corridor.ensure(&service).await?;
        let unavailable = registry::list::unavailable;
        trust::write(doors.corridor.store(), &trust, Timestamp::now()).await.map_err(unavailable)?;
        fairness::keep::put_in_force(doors.corridor.store(), &doors.fairness, Timestamp::now())
            .await
            .map_err(unavailable)?;
        doors.aggregator.register(doors.corridor.registry()).await.map_err(unavailable)
    };
    while let Err(error) = prepare().await {
        tracing::info!(%error, "what every cluster has could not be created yet");
        tokio::select! {
            () = sleep(BOOTSTRAP_EVERY) => {}
            () = doors.shutdown.cancelled() => return,
        }
    }
    doors.health.set_bootstrapped();
    let (store, stop) = (doors.corridor.store(), &doors.shutdown);
    tokio::join!(
        publish(store, id, published, Timestamp::now, stop),
        fairness::keep::keep(store, &doors.fairness, Timestamp::now, stop),
        trust::keep(store, &trust, Timestamp::now, stop),
        Arc::clone(&doors.aggregator).run(doors.corridor.registry(), stop.clone()),
    );
}

/// What servers of other groups need to know whom this apiserver speaks for.
fn trust(options: &Options) -> anyhow::Result<Object> {
    let read = |path: &PathBuf| {
        fs::read_to_string(path).with_context(|| format!("cannot read the certificate authority {}", path.display()))
    };
    let clients = read(&options.certificate_authority)?;
    let proxies = options.requestheader_client_ca.as_ref().map(read).transpose()?;
    Ok(trust::config_map(&clients, proxies.as_deref()))
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
