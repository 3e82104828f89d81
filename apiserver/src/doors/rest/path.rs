//! Which resource a URL names. Source: `k8s.io/apiserver/pkg/endpoints/request/requestinfo.go`.

use percent_encoding::percent_decode_str;

/// What a resource's URL names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// The API group; empty for the core group.
    pub group: String,
    /// The version.
    pub version: String,
    /// The plural.
    pub resource: String,
    /// Empty for cluster scope and for all namespaces.
    pub namespace: String,
    /// Empty for the collection.
    pub name: String,
    /// Empty for the object; `proxy/…` keeps only its first part.
    pub subresource: String,
    /// The old form `/api/v1/watch/pods`.
    pub watch: bool,
}

/// Parts of a namespace that are no resource of their own.
const NAMESPACE_SUBRESOURCES: [&str; 2] = ["finalize", "status"];

/// The resource that a path names; `None` for every other path.
pub fn parse(path: &str) -> Option<Target> {
    let path = percent_decode_str(path).decode_utf8().ok()?;
    let mut parts = path.trim_matches('/').split('/').peekable();
    let (group, version) = match parts.next()? {
        "api" => ("", parts.next()?),
        "apis" => (parts.next()?, parts.next()?),
        _ => return None,
    };
    let watch = parts.next_if_eq(&"watch").is_some();
    let mut parts: &[&str] = &parts.collect::<Vec<_>>();
    let mut namespace = "";
    if let ["namespaces", name, rest @ ..] = parts {
        namespace = *name;
        if rest.first().is_some_and(|part| !NAMESPACE_SUBRESOURCES.contains(part)) {
            parts = rest;
        }
    }
    let part = |at: usize| parts.get(at).copied().unwrap_or_default().to_owned();
    let resource = part(0);
    if resource.is_empty() {
        return None;
    }
    // The namespaces themselves live in no namespace here; RBAC adds theirs back.
    let namespace = if resource == "namespaces" && group.is_empty() { "" } else { namespace };
    Some(Target {
        group: group.to_owned(),
        version: version.to_owned(),
        namespace: namespace.to_owned(),
        name: part(1),
        subresource: part(2),
        resource,
        watch,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn paths_name_resources() {
        let cases = [
            ("/api/v1/pods", "|v1|pods|||"),
            ("/api/v1/namespaces", "|v1|namespaces|||"),
            ("/api/v1/namespaces/default", "|v1|namespaces||default|"),
            ("/api/v1/namespaces/default/", "|v1|namespaces||default|"),
            ("/api/v1/namespaces/default/finalize", "|v1|namespaces||default|finalize"),
            ("/api/v1/namespaces/default/status", "|v1|namespaces||default|status"),
            ("/api/v1/namespaces/default/pods", "|v1|pods|default||"),
            ("/api/v1/namespaces/default/pods/web", "|v1|pods|default|web|"),
            ("/api/v1/namespaces/default/pods/web/status", "|v1|pods|default|web|status"),
            ("/api/v1/nodes/n1/status", "|v1|nodes||n1|status"),
            ("/apis/apps/v1/deployments", "apps|v1|deployments|||"),
            ("/apis/apps/v1/namespaces/a/deployments/b/scale", "apps|v1|deployments|a|b|scale"),
            (
                "/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Anode",
                "rbac.authorization.k8s.io|v1|clusterroles||system:node|",
            ),
        ];
        for (path, expected) in cases {
            let t = parse(path).unwrap();
            let fields = [t.group, t.version, t.resource, t.namespace, t.name, t.subresource];
            assert_eq!(fields.join("|"), expected, "{path}");
        }
        let watch = parse("/api/v1/watch/namespaces/default/pods").unwrap();
        assert!(watch.watch && watch.resource == "pods" && watch.namespace == "default");
    }

    #[test]
    fn other_paths_name_none() {
        for path in ["/", "/api", "/api/v1", "/apis", "/apis/apps", "/apis/apps/v1", "/healthz", "/openapi/v3", "/%ff"]
        {
            assert_eq!(parse(path), None, "{path}");
        }
    }
}
