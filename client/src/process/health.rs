//! The health and metrics port.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
    task::JoinSet,
};

use super::Pages;
use crate::{clock, metrics};

/// Probes and scrapers are few; whoever comes beyond waits in the kernel's backlog.
const CONNECTIONS: usize = 32;
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) async fn serve(address: SocketAddr, ready: watch::Receiver<bool>, pages: Pages) -> io::Result<()> {
    let named = |error: io::Error| {
        io::Error::new(error.kind(), format!("cannot serve health and metrics on {address}: {error}"))
    };
    let listener = TcpListener::bind(address).await.map_err(named)?;
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let slot = slots.clone().acquire_owned().await;
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // A connection reset before it was accepted, or no file descriptor left: neither is the listener's end.
                tracing::debug!(%error, "accept failed");
                clock::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (ready, pages) = (ready.clone(), pages.clone());
        connections.spawn(async move {
            let _slot = slot;
            let service = service_fn(move |request| {
                let response = answer(&request, *ready.borrow(), &pages);
                async move { Ok::<_, Infallible>(response) }
            });
            let served = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIMEOUT)
                .serve_connection(TokioIo::new(stream), service)
                .await;
            if let Err(error) = served {
                tracing::debug!(%error, "health connection");
            }
        });
        while connections.try_join_next().is_some() {}
    }
}

fn answer(request: &Request<Incoming>, ready: bool, pages: &Pages) -> Response<Full<Bytes>> {
    const TEXT: &str = "text/plain; charset=utf-8";
    const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let (status, kind, body) = match request.uri().path() {
        "/healthz" | "/livez" => (StatusCode::OK, TEXT, "ok".into()),
        "/readyz" if ready => (StatusCode::OK, TEXT, "ok".into()),
        "/readyz" => (StatusCode::SERVICE_UNAVAILABLE, TEXT, "not ready\n".into()),
        "/metrics" => (StatusCode::OK, OPEN_METRICS, metrics::encode()),
        path => match pages(path) {
            Some(page) => (StatusCode::OK, TEXT, page),
            None => {
                (StatusCode::NOT_FOUND, TEXT, "404 page not found: try /healthz, /livez, /readyz or /metrics\n".into())
            }
        },
    };
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static(kind));
    response
}
