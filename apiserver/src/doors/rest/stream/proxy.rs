//! `pods|services|nodes/{name}/proxy/…`: an HTTP request passed on to what listens in a pod, or to a kubelet.
//! Source: `ResourceLocation` in `pkg/registry/core/{pod,service,node}`, and `k8s.io/apimachinery/pkg/util/proxy`.

mod address;
mod headers;

use std::net::SocketAddr;

use bytes::Bytes;
use http::{
    Request, Response, StatusCode, Uri,
    header::{CONTENT_TYPE, HOST, LOCATION, UPGRADE},
};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use kubelab_api::{Error, Reason, pod};
use kubelab_proto::node::PageRequest;
use rand::seq::IndexedRandom;
use tokio::io::copy_bidirectional;

use self::address::Name;
use super::{super::answer, Stream};
use crate::{
    doors::{Body, BoxError},
    nodes::unreachable,
};

/// Where a request goes.
struct Place {
    node: Node,
    address: SocketAddr,
}

/// Passes a request on.
pub async fn serve(stream: Stream, request: Request<Incoming>) -> Result<Response<Body>, Error> {
    let path = request.uri().path().to_owned();
    let Some((prefix, rest)) = split(&path) else { return Err(Error::no_such_page()) };
    let is_upgrade = request.headers().contains_key(UPGRADE);
    // Source: `UpgradeAwareHandler.ServeHTTP`: without its last slash, relative links of the page would go astray.
    if rest.is_empty() && !is_upgrade {
        let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
        let mut response = Response::new(answer::full(Bytes::new()));
        *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
        let location = format!("{path}/{query}").parse().map_err(Error::internal)?;
        response.headers_mut().insert(LOCATION, location);
        return Ok(response);
    }
    let place = stream.doors.nodes.enter()?;
    let name = Name::parse(&stream.connect.name)?;
    if stream.connect.resource.plural == "nodes" {
        return page(&stream, &name, rest, &request).await;
    }
    let to = match &*stream.connect.resource.plural {
        "pods" => pod_place(&stream, &name).await?,
        _ => service_place(&stream, &name).await?,
    };
    if name.is_https {
        return Err(unavailable("tls: first record does not look like a TLS handshake"));
    }
    let connection = stream.doors.nodes.dial(&to.node, to.address).await.map_err(unavailable)?;
    let (mut sender, driver) =
        hyper::client::conn::http1::handshake(TokioIo::new(connection)).await.map_err(unavailable)?;
    let shutdown = stream.doors.shutdown.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = driver.with_upgrades() => {}
            () = shutdown.cancelled() => {}
        }
        drop(place);
    });
    let mut request = request;
    let client = is_upgrade.then(|| hyper::upgrade::on(&mut request));
    let passed = passed_on(request, rest, prefix, to.address)?;
    let mut response = sender.send_request(passed).await.map_err(unavailable)?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS
        && let Some(client) = client
    {
        let server = hyper::upgrade::on(&mut response);
        let shutdown = stream.doors.shutdown.clone();
        tokio::spawn(async move {
            let (Ok(client), Ok(server)) = (client.await, server.await) else { return };
            let (mut client, mut server) = (TokioIo::new(client), TokioIo::new(server));
            tokio::select! {
                _ = copy_bidirectional(&mut client, &mut server) => {}
                () = shutdown.cancelled() => {}
            }
        });
    } else {
        headers::strip(response.headers_mut(), false);
    }
    headers::redirect(response.headers_mut(), prefix, to.address);
    Ok(response.map(|body| body.map_err(|error| Box::new(error) as BoxError).boxed_unsync()))
}

/// The part of a path up to `proxy`, and what follows it, as they were sent.
fn split(path: &str) -> Option<(&str, &str)> {
    let parts: Vec<&str> = path.split('/').collect();
    // …/{resource}/{name}/proxy: the name itself may be "proxy".
    let at = if parts.get(3) == Some(&"namespaces") { 7 } else { 5 };
    if parts.get(at) != Some(&"proxy") {
        return None;
    }
    let length: usize = parts[..=at].iter().map(|part| part.len() + 1).sum::<usize>() - 1;
    Some(path.split_at(length))
}

/// The request as the pod gets it.
fn passed_on(request: Request<Incoming>, rest: &str, prefix: &str, to: SocketAddr) -> Result<Request<Incoming>, Error> {
    let (mut head, body) = request.into_parts();
    let query = head.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let path = if rest.is_empty() { "/" } else { rest };
    let host = head.headers.get(HOST).cloned();
    head.uri = format!("{path}{query}").parse::<Uri>().map_err(|error| Error::bad_request(error.to_string()))?;
    head.version = http::Version::HTTP_11;
    let is_upgrade = head.headers.contains_key(UPGRADE);
    headers::strip(&mut head.headers, is_upgrade);
    headers::forwarded(&mut head.headers, host, &format!("{prefix}{path}"));
    let host = if to.port() == 80 { to.ip().to_string() } else { to.to_string() };
    head.headers.insert(HOST, host.parse().map_err(Error::internal)?);
    Ok(Request::from_parts(head, body))
}

fn unavailable(why: impl std::fmt::Display) -> Error {
    Error::new(Reason::ServiceUnavailable, format!("error trying to reach service: {why}"))
}

async fn pod_place(stream: &Stream, name: &Name) -> Result<Place, Error> {
    let pod: Pod = stream.doors.corridor.target(&stream.connect, &name.name).await?;
    let port = address::pod_port(&pod, &name.port)?;
    let node = pod::node_name(&pod)
        .ok_or_else(|| Error::bad_request(format!("pod {} does not have a host assigned", name.name)))?;
    let ip = pod.status.as_ref().and_then(|status| status.pod_ip.as_deref()?.parse().ok());
    let ip = ip.ok_or_else(|| Error::bad_request("address not allowed"))?;
    Ok(Place { node: stream.doors.corridor.node(&stream.connect, node).await?, address: SocketAddr::new(ip, port) })
}

async fn service_place(stream: &Stream, name: &Name) -> Result<Place, Error> {
    let corridor = &stream.doors.corridor;
    let service: Service = corridor.target(&stream.connect, &name.name).await?;
    let slices = corridor.endpoints(&stream.connect, &name.name).await?;
    let all = address::endpoints(&service, &slices, &name.port)?;
    let (address, node) = all.choose(&mut rand::rng()).ok_or_else(|| {
        Error::new(Reason::ServiceUnavailable, format!("no endpoints available for service {:?}", name.name))
    })?;
    Ok(Place { node: corridor.node(&stream.connect, node).await?, address: *address })
}

/// A page of a kubelet.
async fn page(stream: &Stream, name: &Name, rest: &str, request: &Request<Incoming>) -> Result<Response<Body>, Error> {
    let node: Node = stream.doors.corridor.target(&stream.connect, &name.name).await?;
    let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
    let asked = PageRequest { method: request.method().to_string(), path: format!("{rest}{query}") };
    let reply = stream.doors.nodes.client(&node)?.page(asked).await;
    let reply = reply.map_err(|status| unavailable(unreachable(&status)))?.into_inner();
    let status = u16::try_from(reply.status).ok().and_then(|status| StatusCode::from_u16(status).ok());
    let mut response = Response::new(answer::full(reply.body));
    *response.status_mut() = status.unwrap_or(StatusCode::BAD_GATEWAY);
    if let Ok(value) = reply.content_type.parse() {
        response.headers_mut().insert(CONTENT_TYPE, value);
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_is_passed_on_as_it_was_sent() {
        for (path, expected) in [
            ("/api/v1/namespaces/a/pods/b/proxy/x%2Fy/", Some(("/api/v1/namespaces/a/pods/b/proxy", "/x%2Fy/"))),
            ("/api/v1/namespaces/a/pods/b/proxy", Some(("/api/v1/namespaces/a/pods/b/proxy", ""))),
            ("/api/v1/nodes/proxy/proxy/healthz", Some(("/api/v1/nodes/proxy/proxy", "/healthz"))),
            ("/api/v1/nodes/n/status", None),
        ] {
            assert_eq!(split(path), expected, "{path}");
        }
    }
}
