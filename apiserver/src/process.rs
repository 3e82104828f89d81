//! One apiserver's life as a process.

use std::{fs, future::Future, net::SocketAddr, sync::Arc};

use anyhow::Context;
use jiff::Timestamp;
use kubelab_store::{PeerTls, Store};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::{
    Options,
    admission::Chain,
    authentication::{Authenticator, token::Keys},
    authorization::{Authorizer, policy::NoEscalation},
    bootstrap::{publish::publish, seed::seed, service},
    corridor::Corridor,
    doors::{Doors, health::Health},
    registry::{Registry, table::Table},
    server,
};

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
    let listener = listener.with_context(|| format!("cannot listen on {}; is another apiserver there?", options.listen))?;
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
    let store = Store::open(store_options(&options)?).await?;
    let authenticator = Authenticator::new(keys(&options)?, store.clone(), Box::new(Timestamp::now));
    let authorizer = Arc::new(Authorizer::new(store.clone()));
    let admission = Chain::default().and(NoEscalation(Arc::clone(&authorizer)));
    let registry = Arc::new(Registry::new(Table::built_in(), store.clone(), admission, Timestamp::now));
    let corridor = Arc::new(Corridor::new(Arc::clone(&registry), authenticator, authorizer));
    let address = SocketAddr::new(options.advertised(), listener.local_addr()?.port());
    let cluster_ip = options.service_cluster_ip_range.hosts().next().context("--service-cluster-ip-range is empty")?;
    let kubernetes = service::service(cluster_ip, address.port());
    let shutdown = CancellationToken::new();
    let doors = Arc::new(Doors {
        name: options.name.clone(),
        corridor,
        store: store.clone(),
        limits: Default::default(),
        metrics: Default::default(),
        health: Health::new(store.member()),
        openapi: Default::default(),
        shutdown: shutdown.clone(),
    });
    let bootstrapping = tokio::spawn({
        let (store, doors, stop, id) = (store.clone(), Arc::clone(&doors), shutdown.clone(), options.id);
        async move {
            if seed(&store, Timestamp::now, &stop).await {
                doors.health.set_bootstrapped();
                publish(&registry, id, address, kubernetes, Timestamp::now, &stop).await;
            }
        }
    });
    tracing::info!(listen = %listener.local_addr()?, member = options.id, "serving");
    let serving = tokio::spawn(server::serve(listener, tls, Arc::clone(&doors)));
    stop.await;
    tracing::info!("shutting down");
    doors.health.set_leaving();
    shutdown.cancel();
    serving.await?;
    bootstrapping.await?;
    store.shutdown().await;
    Ok(())
}

fn keys(options: &Options) -> anyhow::Result<Keys> {
    let path = &options.service_account_key;
    let pem = fs::read(path).with_context(|| format!("cannot read --service-account-key {}", path.display()))?;
    Ok(Keys::from_pem(&pem, &options.service_account_issuer)?)
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
