//! One apiserver's life as a process.

use std::{fs, future::Future, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context;
use base64::{Engine, engine::general_purpose::STANDARD};
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
    authentication::{Authenticator, token::Keys, token_file::TokenFile},
    authorization::Authorizer,
    bootstrap::{Object, cluster_info, publish::publish, seed::seed, service::service, trust},
    corridor::Corridor,
    doors::{Doors, health::Health},
    fairness, handoff,
    nodes::Nodes,
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
    let handoff = options.handoff.as_deref().map(|path| {
        handoff::Listener::bind(path).with_context(|| format!("cannot listen at {} (--handoff)", path.display()))
    });
    let handoff = handoff.transpose()?;
    let keys = keys(&options)?;
    let tokens = tokens(&options)?;
    let audit = options.audit.open()?;
    let store = Store::open(store_options(&options)?).await?;

    let authenticator = Authenticator::new(keys, store.clone(), Box::new(Timestamp::now))
        .with_tokens(tokens)
        .with_anonymous(options.anonymous_auth);
    let authorizer = Authorizer::new(store.clone());
    let corridor = Arc::new(Corridor::new(store.clone(), authenticator, authorizer, Timestamp::now));
    let shutdown = CancellationToken::new();
    let identity = match (&options.proxy_client_certificate, &options.proxy_client_key) {
        (Some(certificate), Some(key)) => Some(Identity::from_files(certificate, key)?),
        _ => None,
    };
    let nodes = Nodes::new(&options.certificate_authority, &options.tls_certificate, &options.tls_key)?;
    let nodes = Arc::new(nodes);
    let aggregator = Aggregator::new(store.clone(), identity, Timestamp::now).through(nodes.clone());
    let aggregator = Arc::new(aggregator);
    let trust = trust(&options)?;
    let address = listener.local_addr()?;
    let doors = Arc::new(Doors {
        name: options.name.clone(),
        address: SocketAddr::new(options.advertised(), address.port()).to_string(),
        corridor,
        audit: audit.clone(),
        limits: Default::default(),
        fairness: Default::default(),
        metrics: Default::default(),
        health: Health::new(store.member()),
        openapi: Default::default(),
        aggregator,
        nodes,
        shutdown: shutdown.clone(),
    });
    tracing::info!(listen = %address, member = options.id, "serving");
    let serving = tokio::spawn(server::serve(listener, handoff, tls, Arc::clone(&doors)));
    let cluster_info = cluster_info(&options)?;
    let service = service(KUBERNETES.into(), address.port());
    let published = SocketAddr::new(options.advertised(), address.port());
    let objects = Objects { service, cluster_info, trust };
    let bootstrapping = tokio::spawn(bootstrap(Arc::clone(&doors), objects, options.id, published));

    stop.await;
    tracing::info!("shutting down");
    doors.health.set_leaving();
    shutdown.cancel();
    serving.await?;
    bootstrapping.await?;
    store.shutdown().await;
    if let Some(audit) = audit {
        tokio::task::spawn_blocking(move || audit.log().flush()).await?;
    }
    Ok(())
}

/// What this apiserver's own options make of the objects that every cluster has.
struct Objects {
    service: Object,
    cluster_info: Option<Object>,
    trust: Object,
}

/// Creates what every cluster has, as soon as the store has a leader. Ready is who has seen it done; then this apiserver
/// keeps its address among the endpoints of the Service `kubernetes`.
async fn bootstrap(doors: Arc<Doors>, objects: Objects, id: u64, published: SocketAddr) {
    let Objects { service, cluster_info, trust } = objects;
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
    if let Some(object) = cluster_info {
        // Another apiserver that was faster wrote the same.
        if let Err(error) = cluster_info::keep(doors.corridor.store(), &object, Timestamp::now()).await {
            tracing::warn!(%error, "the ConfigMap cluster-info could not be written");
        }
    }
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
    let keys = Keys::from_pem(&pem, &options.service_account_issuer).with_context(|| path.display().to_string())?;
    Ok(keys.with_extension(options.service_account_extend_token_expiration))
}

fn cluster_info(options: &Options) -> anyhow::Result<Option<Object>> {
    let Some(server) = &options.cluster_info_server else { return Ok(None) };
    let authority = &options.certificate_authority;
    let pem = fs::read(authority).with_context(|| format!("cannot read {}", authority.display()))?;
    Ok(Some(cluster_info::object(server, &STANDARD.encode(pem))))
}

fn tokens(options: &Options) -> anyhow::Result<TokenFile> {
    let Some(path) = &options.token_auth_file else { return Ok(TokenFile::default()) };
    let text = fs::read_to_string(path).with_context(|| format!("cannot read --token-auth-file {}", path.display()))?;
    TokenFile::parse(&text).map_err(anyhow::Error::msg)
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
