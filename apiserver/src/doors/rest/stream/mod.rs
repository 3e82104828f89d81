//! Streams through the API: logs, programs in containers, forwarded ports, proxied requests.
//!
//! ```text
//!                 ┌─ websocket ─┐
//! kubectl exec ───┤             ├─ session ─ exec ──► Node.Exec, Node.Attach
//!                 └─ SPDY/3.1 ──┘
//! kubectl port-forward ─ websocket, SPDY, SPDY in a websocket ─ forward ──► Node.Dial
//! kubectl logs ─────────────────────────────────────────────────── log ──► Node.Logs
//! kubectl get --raw …/proxy/… ─────────────────────────────────── proxy ──► Node.Dial, Node.Page
//! ```
//!
//! | module | what it is |
//! | --- | --- |
//! | [`container`] | which container of a pod is meant, and which run of it (pure) |
//! | [`upgrade`] | leaving HTTP: which protocols the client offers, and the answer |
//! | [`session`] | a program's streams, neutral to the protocol |
//! | [`websocket`], [`spdy`] | the two protocols for those |
//! | [`exec`], [`forward`], [`log`], [`proxy`] | the subresources |
//!
//! Invariant: every queue here is short, so a client that does not read stops the program that writes.

mod container;
mod exec;
mod forward;
mod log;
mod proxy;
mod session;
mod spdy;
mod upgrade;
mod websocket;

use std::sync::Arc;

use http::{Method, Request, Response};
use hyper::body::Incoming;
use k8s_openapi::api::core::v1::{Node, Pod};
use kubelab_api::{Error, Resource, pod};

use super::{path::Target, query::Query};
use crate::{
    corridor::{Connect, User},
    doors::{Body, Doors, origin::Caller},
};

/// Whether a part of a resource is a stream.
pub fn is_stream(resource: &Resource, part: &str) -> bool {
    resource.group.is_empty() && matches!(part, "log" | "exec" | "attach" | "portforward" | "proxy")
}

/// Answers a request for a stream.
pub async fn serve(
    doors: &Arc<Doors>,
    user: User,
    resource: Arc<Resource>,
    target: Target,
    query: Query,
    request: Request<Incoming>,
) -> Result<Response<Body>, Error> {
    let connect = Connect {
        user,
        agent: Caller::of(request.headers()).agent,
        verb: verb(request.method(), &target.subresource)?,
        resource,
        namespace: target.namespace,
        name: target.name,
        subresource: target.subresource,
    };
    if connect.name.is_empty() {
        return Err(Error::method_not_allowed());
    }
    let stream = Stream { doors: Arc::clone(doors), connect, query };
    // A proxied name carries a port, and is authorized as it stands.
    stream.doors.corridor.connect(&stream.connect).await?;
    match stream.connect.subresource.as_str() {
        "log" => log::serve(&stream).await,
        "exec" | "attach" => exec::serve(stream, request).await,
        "portforward" => forward::serve(stream, request).await,
        _ => proxy::serve(stream, request).await,
    }
}

/// What RBAC calls a method. Source: `NewRequestInfo` in `k8s.io/apiserver/pkg/endpoints/request`.
fn verb(method: &Method, part: &str) -> Result<&'static str, Error> {
    let is_proxy = part == "proxy";
    Ok(match *method {
        Method::GET | Method::HEAD => "get",
        Method::POST if part != "log" => "create",
        Method::PUT if is_proxy => "update",
        Method::PATCH if is_proxy => "patch",
        Method::DELETE if is_proxy => "delete",
        Method::OPTIONS if is_proxy => "",
        _ => return Err(Error::method_not_allowed()),
    })
}

/// One request for a stream.
struct Stream {
    doors: Arc<Doors>,
    connect: Connect,
    query: Query,
}

impl Stream {
    async fn pod(&self) -> Result<Pod, Error> {
        self.doors.corridor.target(&self.connect, &self.connect.name).await
    }

    /// The node of a pod. Source: `streamLocation` in `pkg/registry/core/pod`.
    async fn node_of(&self, pod: &Pod) -> Result<Node, Error> {
        let name = &self.connect.name;
        let node = pod::node_name(pod)
            .ok_or_else(|| Error::bad_request(format!("pod {name} does not have a host assigned")))?;
        self.doors.corridor.node(&self.connect, node).await
    }
}

/// A pod's uid.
fn uid(pod: &Pod) -> String {
    pod.metadata.uid.clone().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_verbs() {
        for (method, part, expected) in [
            (Method::GET, "log", Ok("get")),
            (Method::POST, "log", Err(405)),
            (Method::GET, "exec", Ok("get")),
            (Method::POST, "exec", Ok("create")),
            (Method::PUT, "exec", Err(405)),
            (Method::PUT, "proxy", Ok("update")),
            (Method::HEAD, "proxy", Ok("get")),
            (Method::OPTIONS, "proxy", Ok("")),
            (Method::TRACE, "proxy", Err(405)),
        ] {
            assert_eq!(verb(&method, part).map_err(|error| error.code()), expected, "{method} {part}");
        }
    }
}
