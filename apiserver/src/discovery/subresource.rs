//! What the parts of resources are: their kinds and verbs. Source: the discovery documents of Kubernetes v1.37.

use kubelab_api::Resource;

/// A part of a resource, as discovery shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subresource {
    /// Its own group, where its kind is not the resource's.
    pub group: &'static str,
    /// Its own version; empty where its kind is the resource's.
    pub version: &'static str,
    /// Its own kind; empty for the resource's.
    pub kind: &'static str,
    /// What can be asked of it.
    pub verbs: &'static [&'static str],
}

const CHANGED: &[&str] = &["get", "patch", "update"];
const CREATED: &[&str] = &["create"];
const CONNECTED: &[&str] = &["create", "get"];

/// The part of a resource that has this name; `None` where it has none such.
pub fn find(resource: &Resource, name: &str) -> Option<Subresource> {
    if !resource.has(name) {
        return None;
    }
    let own = |verbs| Subresource { group: "", version: "", kind: "", verbs };
    let foreign = |group, version, kind, verbs| Subresource { group, version, kind, verbs };
    Some(match name {
        "scale" => foreign("autoscaling", "v1", "Scale", CHANGED),
        "binding" => foreign("", "v1", "Binding", CREATED),
        "eviction" => foreign("policy", "v1", "Eviction", CREATED),
        "token" => foreign("authentication.k8s.io", "v1", "TokenRequest", CREATED),
        "finalize" => own(&["update"]),
        "attach" => foreign("", "v1", "PodAttachOptions", CONNECTED),
        "exec" => foreign("", "v1", "PodExecOptions", CONNECTED),
        "portforward" => foreign("", "v1", "PodPortForwardOptions", CONNECTED),
        "log" => own(&["get"]),
        "proxy" => {
            let kind = match &*resource.plural {
                "nodes" => "NodeProxyOptions",
                "services" => "ServiceProxyOptions",
                _ => "PodProxyOptions",
            };
            foreign("", "v1", kind, &["create", "delete", "get", "patch", "update"])
        }
        _ => own(CHANGED),
    })
}
