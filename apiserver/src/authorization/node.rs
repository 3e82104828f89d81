//! The node authorizer: a kubelet sees its own Node and Lease, the pods bound to it, and what those pods refer to.
//! Pure, but for what [`Cluster`] answers. What a kubelet may write into these is admission's business.
//! Source: `plugin/pkg/auth/authorizer/node/node_authorizer.go`.

use std::sync::LazyLock;

use k8s_openapi::api::{
    core::v1::{EnvFromSource, EnvVar, Pod, PodSpec, Volume},
    rbac::v1::PolicyRule,
};
use kubelab_api::{
    pod,
    well_known::{annotation::MIRROR_POD, namespace::NODE_LEASE},
};

use super::{Attributes, rules};
use crate::{bootstrap, corridor::User};

/// What the authorizer needs to know of the cluster.
pub trait Cluster {
    /// The pods on a node in a namespace.
    fn pods(&self, node: &str, namespace: &str) -> Vec<Pod>;
    /// A pod is on a node.
    fn has_pod(&self, node: &str, namespace: &str, name: &str) -> bool;
    /// The namespace and the name of the claim that a volume is bound to.
    fn claim_of_volume(&self, name: &str) -> Option<(String, String)>;
    /// The node that a VolumeAttachment attaches to.
    fn node_of_attachment(&self, name: &str) -> Option<String>;
}

/// The node that a user is the kubelet of.
pub fn name_of(user: &User) -> Option<&str> {
    let node = user.name.strip_prefix("system:node:")?;
    user.groups.iter().any(|group| group == "system:nodes").then_some(node)
}

/// What every node may do. Source: `NodeRules` in the bootstrap policy.
static NODE_RULES: LazyLock<Vec<PolicyRule>> = LazyLock::new(|| bootstrap::rules_of("system:node"));

type Verdict = Result<(), String>;

fn refuse(reason: &str) -> Verdict {
    Err(reason.to_owned())
}

/// Whether a node may do something; if not, why, as far as there is something to say.
pub fn decide(node: &str, request: &Attributes<'_>, cluster: &dyn Cluster) -> Verdict {
    match (request.group, request.resource) {
        ("", "secrets") => read_named(node, request, cluster, refers_to_secret),
        ("", "configmaps") => read_named(node, request, cluster, refers_to_config_map),
        ("", "persistentvolumeclaims") if request.subresource == "status" => match request.verb {
            "get" | "update" | "patch" => related(node, request, cluster, refers_to_claim),
            _ => refuse("can only get, update or patch the status of resources of this type"),
        },
        ("", "persistentvolumeclaims") => {
            get_one(request).and_then(|()| related(node, request, cluster, refers_to_claim))
        }
        ("", "persistentvolumes") => get_one(request).and_then(|()| {
            let claim = cluster.claim_of_volume(request.name);
            let used =
                |(namespace, name): (String, String)| is_referred(node, &namespace, &name, cluster, refers_to_claim);
            related_if(node, claim.is_some_and(used))
        }),
        ("storage.k8s.io", "volumeattachments") => get_one(request)
            .and_then(|()| related_if(node, cluster.node_of_attachment(request.name).as_deref() == Some(node))),
        ("", "serviceaccounts") => service_account(node, request, cluster),
        ("coordination.k8s.io", "leases") => lease(node, request),
        ("storage.k8s.io", "csinodes") => csi_node(node, request),
        ("", "nodes") => own_node(node, request),
        ("", "pods") => own_pods(node, request, cluster),
        _ => by_rules(request),
    }
}

fn by_rules(request: &Attributes<'_>) -> Verdict {
    let full_resource = request.full_resource();
    let allowed = NODE_RULES.iter().any(|rule| rules::allows(rule, request, &full_resource));
    if allowed { Ok(()) } else { Err(String::new()) }
}

fn related_if(node: &str, related: bool) -> Verdict {
    if related { Ok(()) } else { Err(format!("no relationship found between node '{node}' and this object")) }
}

fn related(node: &str, request: &Attributes<'_>, cluster: &dyn Cluster, refers: fn(&Pod, &str) -> bool) -> Verdict {
    if request.name.is_empty() {
        return refuse("No Object name found");
    }
    related_if(node, is_referred(node, request.namespace, request.name, cluster, refers))
}

/// A pod on the node refers to the object. A mirror pod, which the kubelet itself makes, gives it no rights.
/// Source: `AddPod` in `plugin/pkg/auth/authorizer/node/graph.go`.
fn is_referred(node: &str, namespace: &str, name: &str, cluster: &dyn Cluster, refers: fn(&Pod, &str) -> bool) -> bool {
    let is_mirror = |pod: &Pod| pod.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(MIRROR_POD));
    cluster.pods(node, namespace).iter().any(|pod| !is_mirror(pod) && refers(pod, name))
}

fn read_named(node: &str, request: &Attributes<'_>, cluster: &dyn Cluster, refers: fn(&Pod, &str) -> bool) -> Verdict {
    match (request.verb, request.subresource, request.namespace) {
        ("get" | "list" | "watch", "", "") => refuse("can only read namespaced object of this type"),
        ("get" | "list" | "watch", "", _) => related(node, request, cluster, refers),
        ("get" | "list" | "watch", _, _) => refuse("cannot read subresource"),
        _ => refuse("can only read resources of this type"),
    }
}

fn get_one(request: &Attributes<'_>) -> Verdict {
    match (request.verb, request.subresource) {
        ("get", "") => Ok(()),
        ("get", _) => refuse("cannot get subresource"),
        _ => refuse("can only get individual resources of this type"),
    }
}

fn service_account(node: &str, request: &Attributes<'_>, cluster: &dyn Cluster) -> Verdict {
    match (request.verb, request.subresource, request.name) {
        ("get", "", _) | ("create", "token", _) if !request.name.is_empty() => {
            related(node, request, cluster, |pod, name| {
                pod.spec.as_ref().and_then(|spec| spec.service_account_name.as_deref()) == Some(name)
            })
        }
        ("create", "token", _) | (_, "token", _) => refuse("can only create tokens for individual service accounts"),
        _ => refuse("can only create token subresource of service account"),
    }
}

fn lease(node: &str, request: &Attributes<'_>) -> Verdict {
    match request.verb {
        "get" | "create" | "update" | "patch" | "delete" => {}
        _ => return refuse("can only get, create, update, patch, or delete a node lease"),
    }
    if request.namespace != NODE_LEASE {
        return Err(format!("can only access leases in the {NODE_LEASE:?} system namespace"));
    }
    if request.verb != "create" && request.name != node {
        return refuse("can only access node lease with the same name as the requesting node");
    }
    Ok(())
}

fn csi_node(node: &str, request: &Attributes<'_>) -> Verdict {
    match request.verb {
        "get" | "create" | "update" | "patch" | "delete" => {}
        _ => return refuse("can only get, create, update, patch, or delete a CSINode"),
    }
    if !request.subresource.is_empty() {
        return refuse("cannot authorize CSINode subresources");
    }
    if request.verb != "create" && request.name != node {
        return refuse("can only access CSINode with the same name as the requesting node");
    }
    Ok(())
}

fn own_node(node: &str, request: &Attributes<'_>) -> Verdict {
    match (request.subresource, request.verb) {
        ("", "create" | "update" | "patch") | ("status", "update" | "patch") => Ok(()),
        ("" | "status", "get" | "list" | "watch") => match request.name {
            "" => Err(format!("node '{node}' cannot read all nodes, only its own Node object")),
            name if name == node => Ok(()),
            name => Err(format!("node '{node}' cannot read '{name}', only its own Node object")),
        },
        _ => by_rules(request),
    }
}

fn own_pods(node: &str, request: &Attributes<'_>, cluster: &dyn Cluster) -> Verdict {
    match (request.subresource, request.verb) {
        ("", "get") => related_if(node, cluster.has_pod(node, request.namespace, request.name)),
        ("", "list" | "watch") if request.selected("spec.nodeName").as_deref() == Some(node) => Ok(()),
        ("", "list" | "watch") => {
            Err(format!("can only list/watch pods with spec.nodeName field selector for node '{node}'"))
        }
        ("", "create" | "delete") | ("status", "update" | "patch") | ("eviction", "create") => Ok(()),
        _ => Err(String::new()),
    }
}

fn spec(pod: &Pod) -> Option<&PodSpec> {
    pod.spec.as_ref()
}

fn volumes(pod: &Pod) -> impl Iterator<Item = &Volume> {
    spec(pod).into_iter().flat_map(|spec| spec.volumes.iter().flatten())
}

fn environments(pod: &Pod) -> impl Iterator<Item = (&[EnvVar], &[EnvFromSource])> {
    let ephemeral = spec(pod).into_iter().flat_map(|spec| spec.ephemeral_containers.iter().flatten());
    let ephemeral = ephemeral.map(|container| (&container.env, &container.env_from));
    let all = pod::containers(pod).map(|container| (&container.env, &container.env_from)).chain(ephemeral);
    all.map(|(env, from)| (env.as_deref().unwrap_or_default(), from.as_deref().unwrap_or_default()))
}

fn refers_to_secret(pod: &Pod, name: &str) -> bool {
    let in_volume = |volume: &Volume| {
        let projected = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
        volume.secret.as_ref().and_then(|secret| secret.secret_name.as_deref()) == Some(name)
            || projected.filter_map(|source| source.secret.as_ref()).any(|secret| secret.name == name)
            || volume
                .csi
                .as_ref()
                .and_then(|csi| csi.node_publish_secret_ref.as_ref())
                .is_some_and(|secret| secret.name == name)
    };
    let in_environment = |(env, from): (&[EnvVar], &[EnvFromSource])| {
        env.iter()
            .filter_map(|variable| variable.value_from.as_ref()?.secret_key_ref.as_ref())
            .any(|secret| secret.name == name)
            || from.iter().filter_map(|source| source.secret_ref.as_ref()).any(|secret| secret.name == name)
    };
    let mut pulls = spec(pod).into_iter().flat_map(|spec| spec.image_pull_secrets.iter().flatten());
    pulls.any(|secret| secret.name == name) || volumes(pod).any(in_volume) || environments(pod).any(in_environment)
}

fn refers_to_config_map(pod: &Pod, name: &str) -> bool {
    let in_volume = |volume: &Volume| {
        let projected = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
        volume.config_map.as_ref().is_some_and(|map| map.name == name)
            || projected.filter_map(|source| source.config_map.as_ref()).any(|map| map.name == name)
    };
    let in_environment = |(env, from): (&[EnvVar], &[EnvFromSource])| {
        env.iter()
            .filter_map(|variable| variable.value_from.as_ref()?.config_map_key_ref.as_ref())
            .any(|map| map.name == name)
            || from.iter().filter_map(|source| source.config_map_ref.as_ref()).any(|map| map.name == name)
    };
    volumes(pod).any(in_volume) || environments(pod).any(in_environment)
}

fn refers_to_claim(pod: &Pod, name: &str) -> bool {
    let own = pod.metadata.name.as_deref().unwrap_or_default();
    volumes(pod).any(|volume| {
        volume.persistent_volume_claim.as_ref().is_some_and(|claim| claim.claim_name == name)
            || (volume.ephemeral.is_some() && name == format!("{own}-{}", volume.name))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    struct OnePod(Pod);

    impl Cluster for OnePod {
        fn pods(&self, node: &str, namespace: &str) -> Vec<Pod> {
            if (node, namespace) == ("n1", "dev") { vec![self.0.clone()] } else { Vec::new() }
        }
        fn has_pod(&self, node: &str, namespace: &str, name: &str) -> bool {
            (node, namespace, name) == ("n1", "dev", "web")
        }
        fn claim_of_volume(&self, name: &str) -> Option<(String, String)> {
            (name == "pv-1").then(|| ("dev".into(), "data".into()))
        }
        fn node_of_attachment(&self, name: &str) -> Option<String> {
            (name == "va-1").then(|| "n1".into())
        }
    }

    fn cluster() -> OnePod {
        OnePod(
            serde_json::from_value(json!({
                "metadata": {"name": "web", "namespace": "dev"},
                "spec": {
                    "serviceAccountName": "robot",
                    "imagePullSecrets": [{"name": "pull"}],
                    "containers": [{"name": "c", "env": [
                        {"name": "A", "valueFrom": {"secretKeyRef": {"name": "s-env", "key": "k"}}},
                        {"name": "B", "valueFrom": {"configMapKeyRef": {"name": "c-env", "key": "k"}}},
                    ]}],
                    "initContainers": [{"name": "i", "envFrom": [
                        {"secretRef": {"name": "s-from"}}, {"configMapRef": {"name": "c-from"}},
                    ]}],
                    "volumes": [
                        {"name": "a", "secret": {"secretName": "s-vol"}},
                        {"name": "b", "configMap": {"name": "c-vol"}},
                        {"name": "c", "projected": {"sources": [
                            {"secret": {"name": "s-proj"}}, {"configMap": {"name": "c-proj"}},
                        ]}},
                        {"name": "d", "persistentVolumeClaim": {"claimName": "data"}},
                        {"name": "e", "ephemeral": {}},
                    ],
                },
            }))
            .unwrap(),
        )
    }

    fn kubelet() -> User {
        User { name: "system:node:n1".into(), groups: vec!["system:nodes".into()], ..User::default() }
    }

    #[test]
    fn only_members_of_system_nodes_are_nodes() {
        assert_eq!(name_of(&kubelet()), Some("n1"));
        assert_eq!(name_of(&User { groups: vec![], ..kubelet() }), None);
        assert_eq!(name_of(&User { name: "system:kube-proxy".into(), ..kubelet() }), None);
    }

    #[test]
    fn mirror_pods_give_no_rights() {
        let (user, mut cluster) = (kubelet(), cluster());
        let secret =
            Attributes { namespace: "dev", name: "s-vol", ..Attributes::resource(&user, "get", "", "secrets") };
        assert_eq!(decide("n1", &secret, &cluster), Ok(()));
        cluster.0.metadata.annotations = Some([(MIRROR_POD.to_owned(), "x".to_owned())].into());
        assert!(decide("n1", &secret, &cluster).is_err());
    }

    #[test]
    fn a_node_sees_what_its_pods_refer_to() {
        let (user, cluster) = (kubelet(), cluster());
        let unrelated = Err("no relationship found between node 'n1' and this object".to_owned());
        for (verb, resource, names, verdict) in [
            ("get", "/secrets", "pull s-env s-from s-vol s-proj", Ok(())),
            ("watch", "/secrets", "pull", Ok(())),
            ("get", "/secrets", "other c-env", unrelated.clone()),
            ("list", "/secrets", "", Err("No Object name found".into())),
            ("update", "/secrets", "pull", Err("can only read resources of this type".into())),
            ("get", "/configmaps", "c-env c-from c-vol c-proj", Ok(())),
            ("get", "/configmaps", "s-env", unrelated.clone()),
            ("get", "/persistentvolumeclaims", "data web-e", Ok(())),
            ("list", "/persistentvolumeclaims", "data", Err("can only get individual resources of this type".into())),
            ("patch", "/persistentvolumeclaims/status", "data", Ok(())),
            ("get", "/persistentvolumes", "pv-1", Ok(())),
            ("get", "/persistentvolumes", "pv-2", unrelated.clone()),
            ("get", "storage.k8s.io/volumeattachments", "va-1", Ok(())),
            ("create", "/serviceaccounts/token", "robot", Ok(())),
            ("create", "/serviceaccounts/token", "default", unrelated.clone()),
            ("get", "/serviceaccounts", "robot", Ok(())),
            ("delete", "/serviceaccounts", "robot", Err("can only create token subresource of service account".into())),
            ("get", "/pods", "web", Ok(())),
            ("get", "/pods", "other", unrelated),
            ("patch", "/pods/status", "web", Ok(())),
            ("create", "/pods/eviction", "web", Ok(())),
            ("create", "/pods/binding", "web", Err(String::new())),
            ("get", "/nodes", "n1", Ok(())),
            ("get", "/nodes", "n2", Err("node 'n1' cannot read 'n2', only its own Node object".into())),
            ("list", "/nodes", "", Err("node 'n1' cannot read all nodes, only its own Node object".into())),
            ("patch", "/nodes/status", "n1", Ok(())),
            ("delete", "/nodes", "n1", Err(String::new())),
            ("list", "/services", "", Ok(())),
            ("create", "/events", "", Ok(())),
            ("delete", "/services", "web", Err(String::new())),
        ] {
            let mut parts = resource.split('/');
            let (group, plural) = (parts.next().unwrap(), parts.next().unwrap());
            let subresource = parts.next().unwrap_or_default();
            for name in names.split(' ') {
                let request = Attributes {
                    subresource,
                    namespace: "dev",
                    name,
                    ..Attributes::resource(&user, verb, group, plural)
                };
                assert_eq!(decide("n1", &request, &cluster), verdict, "{verb} {resource} {name}");
            }
        }
    }

    #[test]
    fn a_node_has_its_own_lease_and_lists_its_own_pods() {
        let (user, cluster) = (kubelet(), cluster());
        let lease = Attributes::resource(&user, "update", "coordination.k8s.io", "leases");
        for (verb, namespace, name, allowed) in [
            ("create", "kube-node-lease", "", true),
            ("update", "kube-node-lease", "n1", true),
            ("update", "kube-node-lease", "n2", false),
            ("update", "kube-system", "n1", false),
            ("list", "kube-node-lease", "n1", false),
        ] {
            let request = Attributes { verb, namespace, name, ..lease };
            assert_eq!(decide("n1", &request, &cluster).is_ok(), allowed, "{verb} {namespace}/{name}");
        }
        let pods = Attributes::resource(&user, "watch", "", "pods");
        for (field_selector, allowed) in [("", false), ("spec.nodeName=n1", true), ("spec.nodeName=n2", false)] {
            assert_eq!(
                decide("n1", &Attributes { field_selector, ..pods }, &cluster).is_ok(),
                allowed,
                "{field_selector}"
            );
        }
    }
}
