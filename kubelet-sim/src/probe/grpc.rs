//! Probes that ask the gRPC health service. Source of the wording: `pkg/probe/grpc` of Kubernetes.

use std::{error::Error, io, sync::Mutex, time::Duration};

use hyper_util::rt::TokioIo;
use kubelab_client::clock;
use kubelab_proto::health::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
use tonic::{
    Code, Request, Status,
    transport::{Channel, Endpoint},
};

use super::{Answer, Target};
use crate::{
    duration,
    network::{Dialer, Protocol, connect},
};

/// Asks whether a service is well; an empty name is the whole server.
pub async fn probe(target: &Target, service: &str, network: &dyn Dialer, timeout: Duration) -> Answer {
    let deadline = clock::instant() + timeout;
    let took = duration::format(timeout);
    let answer = match channel(target, network, timeout).await {
        Some(channel) => tokio::time::timeout_at(deadline, ask(channel, service)).await,
        None => Ok(Err(Failed::NoConnection)),
    };
    match answer {
        Ok(Ok(status)) if status == ServingStatus::Serving as i32 => Answer::Success,
        Ok(Ok(status)) => {
            let name = ServingStatus::try_from(status).map_or("UNKNOWN", |status| status.as_str_name());
            Answer::Failure(format!("service unhealthy (responded with {name:?})"))
        }
        Ok(Err(Failed::Told(status))) => Answer::Failure(match status.code() {
            Code::Unimplemented => format!(
                "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): {}",
                status.message()
            ),
            code => format!("error: health rpc probe failed: rpc error: code = {code:?} desc = {}", status.message()),
        }),
        // Upstream tries until the time is over.
        Ok(Err(Failed::NoConnection)) => {
            clock::sleep_until(deadline).await;
            Answer::Failure(format!(
                "timeout: failed to connect service \"{target}\" within {took}: context deadline exceeded"
            ))
        }
        Err(_) => Answer::Failure(format!("timeout: health rpc did not complete within {took}")),
    }
}

enum Failed {
    /// Nobody there speaks gRPC.
    NoConnection,
    /// The server says so.
    Told(Status),
}

async fn ask(channel: Channel, service: &str) -> Result<i32, Failed> {
    let request = Request::new(HealthCheckRequest { service: service.to_owned() });
    match HealthClient::new(channel).check(request).await {
        Ok(answer) => Ok(answer.into_inner().status),
        // What the transport says has a cause; what a server says has none.
        Err(status) if status.source().is_some() => Err(Failed::NoConnection),
        Err(status) => Err(Failed::Told(status)),
    }
}

/// A connection that is never made again.
async fn channel(target: &Target, network: &dyn Dialer, timeout: Duration) -> Option<Channel> {
    let stream = connect(network, target.address().ok()?, Protocol::Tcp, Some(timeout)).await.ok()?;
    let stream = Mutex::new(Some(TokioIo::new(stream)));
    let connector = tower::service_fn(move |_| {
        let stream = stream.lock().ok().and_then(|mut stream| stream.take());
        async move { stream.ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected)) }
    });
    let endpoint = Endpoint::from_shared(format!("http://{target}")).ok()?.user_agent("kube-probe/1.37").ok()?;
    endpoint.connect_with_connector(connector).await.ok()
}
