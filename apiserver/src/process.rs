//! One apiserver's life as a process.

use std::{future::Future, sync::Arc};

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
    let store = Store::open(store_options(&options)?).await?;
    let registry = Arc::new(Registry::new(Table::built_in(), store.clone(), Chain::default(), Timestamp::now));
    let corridor = Arc::new(Corridor::new(registry));
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
    doors.health.set_bootstrapped();
    tracing::info!(listen = %listener.local_addr()?, member = options.id, "serving");
    let serving = tokio::spawn(server::serve(listener, tls, Arc::clone(&doors)));
    stop.await;
    tracing::info!("shutting down");
    doors.health.set_leaving();
    shutdown.cancel();
    serving.await?;
    store.shutdown().await;
    Ok(())
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
