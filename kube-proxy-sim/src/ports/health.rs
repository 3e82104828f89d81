//! `healthCheckNodePort`: a load balancer asks each node whether it has endpoints of the Service. Source:
//! `pkg/proxy/healthcheck/service_health.go`.

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
};

use super::accept;

/// How long a client may take to say what it wants.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// What is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// The Service's namespace.
    pub namespace: String,
    /// The Service's name.
    pub service: String,
    /// How many of its endpoints on this node are ready.
    pub local_endpoints: usize,
}

/// Answers until it is aborted.
pub async fn serve(listener: TcpListener, health: watch::Receiver<Health>, places: Arc<Semaphore>) {
    loop {
        let (client, _, place) = accept(&listener, &places).await;
        let health = health.clone();
        tokio::spawn(async move {
            let service = service_fn(move |_| {
                let response = answer(&health.borrow());
                async move { Ok::<_, Infallible>(response) }
            });
            let served = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIMEOUT)
                .serve_connection(TokioIo::new(client), service)
                .await;
            if let Err(error) = served {
                tracing::debug!(%error, "health check connection");
            }
            drop(place);
        });
    }
}

fn answer(health: &Health) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body(health)));
    if health.local_endpoints == 0 {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert("x-load-balancing-endpoint-weight", HeaderValue::from(health.local_endpoints));
    response
}

fn body(health: &Health) -> String {
    let Health { namespace, service, local_endpoints } = health;
    format!(
        "{{\n\t\"service\": {{\n\t\t\"namespace\": \"{namespace}\",\n\t\t\"name\": \"{service}\"\n\t}},\n\t\"localEndpoints\": \
         {local_endpoints},\n\t\"serviceProxyHealthy\": true\n}}"
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_answer_is_what_load_balancers_expect() {
        for (local_endpoints, status) in [(0, 503), (2, 200)] {
            let health = Health { namespace: "shop".into(), service: "web".into(), local_endpoints };
            let response = answer(&health);
            assert_eq!(response.status(), status);
            assert_eq!(response.headers()["x-load-balancing-endpoint-weight"], local_endpoints.to_string().as_str());
            let expected = serde_json::json!({
                "service": {"namespace": "shop", "name": "web"},
                "localEndpoints": local_endpoints,
                "serviceProxyHealthy": true,
            });
            assert_eq!(serde_json::from_str::<serde_json::Value>(&body(&health)).unwrap(), expected);
        }
    }
}
