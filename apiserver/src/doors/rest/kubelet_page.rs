//! Pages of kubelets for programs that ask by gRPC, as the metrics server does. What a kubelet would let a client see is
//! decided here, by the subresource that it would ask the API about. Source: `GetRequestAttributes` of the kubelet's
//! `pkg/kubelet/server/auth.go`.

use bytes::Bytes;
use k8s_openapi::api::core::v1::Node;
use kubelab_api::{Error, Reason};
use kubelab_proto::node::PageRequest;
use kubelab_store::Key;

use crate::{authorization::Attributes, corridor::User, doors::Doors, nodes::unreachable};

/// The node and the page that a path names: `/api/v1/nodes/NODE/proxy/metrics/resource`.
pub fn parse(path: &str) -> Option<(&str, &str)> {
    let (node, rest) = path.strip_prefix("/api/v1/nodes/")?.split_once('/')?;
    let page = rest.strip_prefix("proxy")?;
    (!node.is_empty() && page.starts_with('/')).then_some((node, page))
}

/// What a kubelet answers: the status and the page.
pub async fn fetch(doors: &Doors, user: &User, node: &str, page: &str) -> Result<(u16, Bytes), Error> {
    let attributes =
        Attributes { subresource: subresource(page), name: node, ..Attributes::resource(user, "get", "", "nodes") };
    doors.corridor.authorize(&attributes).await?;
    let found: Node = {
        let state = doors.aggregator.store().local();
        let entry = state.get(&Key::new("core/nodes", node));
        let found = entry.and_then(|entry| serde_json::from_slice(&entry.value).ok());
        found.ok_or_else(|| Error::new(Reason::NotFound, format!("nodes {node:?} not found")))?
    };
    let asked = PageRequest { method: "GET".to_owned(), path: page.to_owned() };
    let reply = doors.nodes.client(&found)?.page(asked).await;
    let reply = reply.map_err(|status| Error::unavailable(unreachable(&status)))?.into_inner();
    Ok((u16::try_from(reply.status).unwrap_or(502), reply.body))
}

fn subresource(page: &str) -> &'static str {
    match page.split('/').nth(1).unwrap_or_default() {
        "metrics" => "metrics",
        "stats" => "stats",
        "logs" => "log",
        "healthz" => "healthz",
        "pods" | "runningpods" => "pods",
        _ => "proxy",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_seen_by_who_may_see_its_kind() {
        for (path, expected) in [
            ("/api/v1/nodes/n1/proxy/metrics/resource", Some(("n1", "/metrics/resource", "metrics"))),
            ("/api/v1/nodes/n1/proxy/stats/summary", Some(("n1", "/stats/summary", "stats"))),
            ("/api/v1/nodes/n1/proxy/run/x", Some(("n1", "/run/x", "proxy"))),
            ("/api/v1/nodes/n1/proxy", None),
            ("/api/v1/nodes/n1/status", None),
            ("/apis/metrics.k8s.io/v1beta1", None),
        ] {
            assert_eq!(parse(path).map(|(node, page)| (node, page, subresource(page))), expected, "{path}");
        }
    }
}
