//! The TLS port: connections, and what bounds them.

use std::{
    convert::Infallible,
    future::pending,
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use anyhow::Context;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto::Builder,
};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    server::WebPkiClientVerifier,
    version::{TLS12, TLS13},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;

use crate::{
    authentication::certificate::{Holder, user_of},
    doors::{Connection, Doors},
    handoff::{self, Line},
};

/// The most connections at once; more wait at the door.
const CONNECTIONS: usize = 16 * 1024;

/// What a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// What reading a request's head may take, and how large it may be. Source: `ReadHeaderTimeout` and `MaxHeaderBytes` in
/// `k8s.io/apiserver/pkg/server/secure_serving.go` and Go's default.
const HEADER_TIMEOUT: Duration = Duration::from_secs(32);
const HEADER_BYTES: usize = 1024 * 1024;

/// Requests at once on one HTTP/2 connection (CVE-2023-44487). hyper closes connections that open and reset streams too
/// fast. Source: `http2MaxStreamsPerConnection` in `k8s.io/apiserver/pkg/server/secure_serving.go`.
const STREAMS: u32 = 100;

/// The same for the cluster's own components, whose certificates say who they are: ours share one connection among all
/// their watches where upstream's hold several.
const COMPONENT_STREAMS: u32 = 250;

/// What a peer may send on one stream before it is read: most bodies, whole.
/// Source: `resourceBody99Percentile` in `k8s.io/apiserver/pkg/server/secure_serving.go`.
const STREAM_WINDOW: u32 = 256 * 1024;

/// How long connections may take to end when the server goes.
const DRAIN: Duration = Duration::from_secs(2);

/// The TLS side of the port: its certificate, and the authority that client certificates must come from.
pub fn tls(authority: &Path, certificate: &Path, key: &Path) -> anyhow::Result<TlsAcceptor> {
    let provider = Arc::new(ring::default_provider());
    let mut roots = RootCertStore::empty();
    for root in certificates(authority)? {
        roots.add(root).with_context(|| format!("{} is no certificate authority", authority.display()))?;
    }
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .allow_unauthenticated()
        .build()
        .with_context(|| format!("cannot verify clients with {}", authority.display()))?;
    let key_of = PrivateKeyDer::from_pem_file(key).with_context(|| format!("cannot read the key {}", key.display()))?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .with_client_cert_verifier(clients)
        .with_single_cert(certificates(certificate)?, key_of)
        .with_context(|| format!("{} does not go with {}", key.display(), certificate.display()))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn certificates(path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let read = || format!("cannot read the certificate {}", path.display());
    let all: Vec<_> =
        CertificateDer::pem_file_iter(path).with_context(read)?.collect::<Result<_, _>>().with_context(read)?;
    anyhow::ensure!(!all.is_empty(), "{} holds no certificate", path.display());
    Ok(all)
}

/// Serves until the doors shut; then lets requests that are under way end, for a short while.
pub async fn serve(listener: TcpListener, handoff: Option<handoff::Listener>, tls: TlsAcceptor, doors: Arc<Doors>) {
    let connections = TaskTracker::new();
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let house = House { tls, doors, connections, places };
    if let Some(handoff) = handoff {
        tokio::spawn(let_doors_in(handoff, house.clone()));
    }
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &house.places) => accepted,
            () = house.doors.shutdown.cancelled() => break,
        };
        let Some((stream, place)) = accepted else { continue };
        let (tls, doors) = (house.tls.clone(), Arc::clone(&house.doors));
        house.connections.spawn(async move {
            connection(stream, tls, doors).await;
            drop(place);
        });
    }
    drop(listener);
    house.connections.close();
    let _ = timeout(DRAIN, house.connections.wait()).await;
}

/// What every connection needs.
#[derive(Clone)]
struct House {
    tls: TlsAcceptor,
    doors: Arc<Doors>,
    connections: TaskTracker,
    places: Arc<Semaphore>,
}

/// Serves what front doors hand over.
async fn let_doors_in(handoff: handoff::Listener, house: House) {
    while let Some(Ok(line)) = house.doors.shutdown.run_until_cancelled(handoff.accept()).await {
        tokio::spawn(serve_given(Arc::new(line), house.clone()));
    }
}

async fn serve_given(line: Arc<Line>, house: House) {
    loop {
        let Ok(place) = Arc::clone(&house.places).acquire_owned().await else { return };
        let (number, stream) = match house.doors.shutdown.run_until_cancelled(line.take()).await {
            Some(Ok(Some(given))) => given,
            Some(Err(error)) => {
                tracing::warn!(%error, "a connection could not be taken over");
                return;
            }
            Some(Ok(None)) | None => return,
        };
        let (line, tls, doors) = (Arc::clone(&line), house.tls.clone(), Arc::clone(&house.doors));
        house.connections.spawn(async move {
            connection(stream, tls, doors).await;
            // A door that is gone needs not hear it.
            let _ = line.end(number).await;
            drop(place);
        });
    }
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> Option<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => Some((stream, place)),
        Err(error) => {
            // Out of file descriptors: those in use will come free.
            tracing::warn!(%error, "cannot accept a connection");
            sleep(Duration::from_millis(50)).await;
            None
        }
    }
}

/// The certificate is one of the control plane's or of a node's.
fn is_component(holder: &Holder) -> bool {
    holder.as_ref().is_ok_and(|user| user.name.starts_with("system:"))
}

async fn connection(stream: TcpStream, tls: TlsAcceptor, doors: Arc<Doors>) {
    if let Err(error) = converse(stream, tls, doors).await {
        tracing::debug!(%error, "a connection failed");
    }
}

async fn converse(stream: TcpStream, tls: TlsAcceptor, doors: Arc<Doors>) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let peer = stream.peer_addr().ok().map(|address| address.ip());
    let stream =
        timeout(HANDSHAKE, tls.accept(stream)).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    let holder = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first()).map(user_of);
    let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let streams = if holder.as_ref().is_some_and(is_component) { COMPONENT_STREAMS } else { STREAMS };
    let about = Arc::new(Connection { holder, peer });
    let shutdown = doors.shutdown.clone();
    let spoke = Arc::new(AtomicBool::new(false));
    let speaks = Arc::clone(&spoke);
    let service = hyper::service::service_fn(move |request| {
        speaks.store(true, Relaxed);
        let (doors, about) = (Arc::clone(&doors), Arc::clone(&about));
        // In a box, since hyper moves it several times, and it is large.
        Box::pin(async move { Ok::<_, Infallible>(doors.serve(about, request).await) })
    });
    // What was agreed on is spoken: guessing would wait for the first bytes without an end.
    let builder = Builder::new(TokioExecutor::new());
    let mut builder = if http2 { builder.http2_only() } else { builder.http1_only() };
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(HEADER_BYTES)
        .half_close(false);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(streams)
        .initial_stream_window_size(STREAM_WINDOW)
        .max_header_list_size(HEADER_BYTES as u32)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(15));
    let serving = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    tokio::pin!(serving);
    let silence = async {
        sleep(HEADER_TIMEOUT).await;
        if spoke.load(Relaxed) {
            pending::<()>().await;
        }
    };
    tokio::select! {
        served = serving.as_mut() => served,
        () = silence => return Ok(()),
        () = shutdown.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    }
    .map_err(|error| anyhow::anyhow!(error))
}
