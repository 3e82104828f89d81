//! A kubelet writes only its own node and lease, and only the pods that run there.
//! Source: `plugin/pkg/admission/noderestriction/admission.go`.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::{
    certificates::v1::PodCertificateRequest,
    coordination::v1::Lease,
    core::v1::{Node, PersistentVolumeClaim, Pod, PodSpec},
    storage::v1::CSINode,
};
use kubelab_api::{Error, well_known::label::NODE_RESTRICTION_DOMAIN};

use super::{Attributes, Operation, Plugin, service_account::secret_names};
use crate::{corridor::User, registry::object::AnyObject};

const MIRROR: &str = "kubernetes.io/config.mirror";
const LEASES: &str = "kube-node-lease";

/// See the module.
pub struct NodeRestriction;

impl Plugin for NodeRestriction {
    fn validate(
        &self,
        attributes: &Attributes,
        object: Option<&dyn AnyObject>,
        old: Option<&dyn AnyObject>,
    ) -> Result<(), Error> {
        let Some(node) = node_name(&attributes.request.user) else { return Ok(()) };
        let refusal = match object.or(old) {
            Some(any) if any.downcast_ref::<Pod>().is_some() => check_pod(attributes, node, pod(object), pod(old))?,
            Some(any) if any.downcast_ref::<Node>().is_some() => {
                check_node(node, object.and_then(downcast), old.and_then(downcast))
            }
            Some(any) if any.downcast_ref::<Lease>().is_some() => check_lease(node, any),
            Some(any) if any.downcast_ref::<CSINode>().is_some() => {
                (any.name() != node).then(|| "can only access CSINode with the same name as the requesting node".into())
            }
            Some(any) if any.downcast_ref::<PersistentVolumeClaim>().is_some() => {
                check_claim(attributes, node, object.and_then(downcast), old.and_then(downcast))
            }
            Some(any) if any.downcast_ref::<PodCertificateRequest>().is_some() => {
                check_certificate_request(attributes, node, any.downcast_ref())
            }
            _ => None,
        };
        refusal.map_or(Ok(()), |message| Err(attributes.forbidden(object.or(old), &message)))
    }
}

/// A kubelet asks for certificates of pods on its own node.
fn check_certificate_request(
    attributes: &Attributes,
    node: &str,
    request: Option<&PodCertificateRequest>,
) -> Option<String> {
    if attributes.operation != Operation::Create {
        return Some(format!("unexpected operation {:?}", attributes.operation.name()));
    }
    let asked = request.map_or("", |request| request.spec.node_name.as_str());
    (asked != node)
        .then(|| format!("PodCertificateRequest.Spec.NodeName={asked:?}, which is not the requesting node {node:?}"))
}

/// The node that this user is the kubelet of. Source: `NodeIdentity` in `pkg/auth/nodeidentifier`.
fn node_name(user: &User) -> Option<&str> {
    let is_node = user.groups.iter().any(|group| group == "system:nodes");
    user.name.strip_prefix("system:node:").filter(|_| is_node)
}

fn downcast<T: 'static>(object: &dyn AnyObject) -> Option<&T> {
    object.downcast_ref()
}

fn pod(object: Option<&dyn AnyObject>) -> Option<&Pod> {
    object.and_then(downcast)
}

fn runs_on(pod: Option<&Pod>, node: &str) -> bool {
    pod.and_then(|pod| pod.spec.as_ref()).is_some_and(|spec| spec.node_name.as_deref() == Some(node))
}

fn check_pod(
    attributes: &Attributes,
    node: &str,
    new: Option<&Pod>,
    old: Option<&Pod>,
) -> Result<Option<String>, Error> {
    let part = attributes.request.subresource.as_str();
    Ok(match (attributes.operation, part) {
        (Operation::Create, "eviction") => {
            (!runs_on(old, node)).then(|| format!("node {node} can only evict pods with spec.nodeName set to itself"))
        }
        (Operation::Create, "") => match new {
            Some(new) => {
                let own: Option<Node> = attributes.lookup("core/nodes", node)?;
                check_mirror(node, new, own.as_ref())
            }
            None => None,
        },
        (Operation::Update, "status") if !runs_on(old, node) => {
            Some(format!("node {node:?} can only update pod status for pods with spec.nodeName set to itself"))
        }
        (Operation::Update, "status") => {
            let labels = |pod: Option<&Pod>| pod.and_then(|pod| pod.metadata.labels.clone()).unwrap_or_default();
            let claims = |pod: Option<&Pod>| {
                pod.and_then(|pod| pod.status.as_ref()?.resource_claim_statuses.clone()).unwrap_or_default()
            };
            if labels(new) != labels(old) {
                Some(format!("node {node:?} cannot update labels through pod status"))
            } else if claims(new) != claims(old) {
                Some(format!("node {node:?} cannot update resource claim statues"))
            } else {
                None
            }
        }
        (Operation::Update, "") => {
            Some(format!("unexpected operation \"UPDATE\", node {node:?} can only create and delete mirror pods"))
        }
        (Operation::Delete, _) if !runs_on(old, node) => {
            Some(format!("node {node:?} can only delete pods with spec.nodeName set to itself"))
        }
        (Operation::Delete, _) => None,
        _ => Some(format!("unexpected pod subresource {part:?}, only 'status' and 'eviction' are allowed")),
    })
}

/// What a kubelet may create: a pod that shows what it runs by itself, and that refers to nothing.
fn check_mirror(node: &str, pod: &Pod, own: Option<&Node>) -> Option<String> {
    let refuse = |message: String| Some(message);
    if !pod.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(MIRROR)) {
        return refuse(format!("pod does not have {MIRROR:?} annotation, node {node:?} can only create mirror pods"));
    }
    if !runs_on(Some(pod), node) {
        return refuse(format!("node {node:?} can only create pods with spec.nodeName set to itself"));
    }
    let no_owner = || format!("node {node:?} can only create pods with an owner reference set to itself");
    match pod.metadata.owner_references.as_deref().unwrap_or_default() {
        [] => return refuse(no_owner()),
        [owner] if owner.api_version != "v1" || owner.kind != "Node" || owner.name != node => {
            return refuse(no_owner());
        }
        [owner] if owner.controller != Some(true) => {
            return refuse(format!(
                "node {node:?} can only create pods with a controller owner reference set to itself"
            ));
        }
        [owner] if owner.block_owner_deletion == Some(true) => {
            return refuse(format!("node {node:?} must not set blockOwnerDeletion on an owner reference"));
        }
        [owner] => {
            let Some(uid) = own.map(|own| own.metadata.uid.as_deref().unwrap_or_default()) else {
                return refuse(format!("error looking up node {node} to verify uid: node {node:?} not found"));
            };
            if owner.uid != uid {
                return refuse(format!("node {node} UID mismatch: expected {} got {uid}", owner.uid));
            }
        }
        _ => {
            return refuse(format!("node {node:?} can only create pods with a single owner reference set to itself"));
        }
    }
    let what = pod.spec.as_ref().and_then(referred)?;
    refuse(format!("node {node:?} can not create pods that reference {what}"))
}

/// The first kind of object that a pod refers to.
fn referred(spec: &PodSpec) -> Option<&'static str> {
    let volumes = || spec.volumes.iter().flatten();
    let projected =
        || volumes().flat_map(|volume| volume.projected.iter()).flat_map(|all| all.sources.iter().flatten());
    let containers = || spec.init_containers.iter().flatten().chain(&spec.containers);
    let env = || containers().flat_map(|container| container.env.iter().flatten());
    let account = spec.service_account_name.as_ref().is_some_and(|name| !name.is_empty());
    let secrets = !secret_names(spec).is_empty() || projected().any(|source| source.secret.is_some());
    let config_maps = volumes().any(|volume| volume.config_map.is_some())
        || projected().any(|source| source.config_map.is_some())
        || env().any(|variable| variable.value_from.as_ref().is_some_and(|from| from.config_map_key_ref.is_some()))
        || containers()
            .flat_map(|container| container.env_from.iter().flatten())
            .any(|from| from.config_map_ref.is_some());
    let rows = [
        (account, "a service account"),
        (secrets, "secrets"),
        (config_maps, "configmaps"),
        (projected().any(|source| source.cluster_trust_bundle.is_some()), "clustertrustbundles"),
        (volumes().any(|volume| volume.persistent_volume_claim.is_some()), "persistentvolumeclaims"),
    ];
    rows.iter().find(|(refers, _)| *refers).map(|(_, what)| *what)
}

fn check_node(node: &str, new: Option<&Node>, old: Option<&Node>) -> Option<String> {
    let name = new.or(old)?.metadata.name.as_deref().unwrap_or_default();
    if name != node {
        return Some(format!("node {node:?} is not allowed to modify node {name:?}"));
    }
    let new = new?;
    let source = |node: &Node| node.spec.as_ref().and_then(|spec| spec.config_source.clone());
    let Some(old) = old else {
        let labels = forbidden_labels(new, None);
        return if source(new).is_some() {
            Some(format!("node {node:?} is not allowed to create pods with a non-nil configSource"))
        } else {
            labels.map(|labels| format!("node {node:?} is not allowed to set the following labels: {labels}"))
        };
    };
    if source(new).is_some() && source(new) != source(old) {
        return Some(format!("node {node:?} is not allowed to update configSource to a new non-nil configSource"));
    }
    let taints = |node: &Node| node.spec.as_ref().and_then(|spec| spec.taints.clone()).unwrap_or_default();
    if taints(new) != taints(old) {
        return Some(format!("node {node:?} is not allowed to modify taints"));
    }
    let labels = forbidden_labels(new, Some(old));
    labels.map(|labels| format!("is not allowed to modify labels: {labels}"))
}

/// Labels below Kubernetes' own domains that a kubelet sets. Source: `k8s.io/kubelet/pkg/apis/well_known_labels.go`.
const KUBELET_LABELS: [&str; 11] = [
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/instance-type",
    "beta.kubernetes.io/os",
    "failure-domain.beta.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "kubernetes.io/arch",
    "kubernetes.io/hostname",
    "kubernetes.io/os",
    "node.kubernetes.io/instance-type",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
];

/// The labels that were changed and are not the kubelet's to change.
fn forbidden_labels(new: &Node, old: Option<&Node>) -> Option<String> {
    let none = BTreeMap::new();
    let now = new.metadata.labels.as_ref().unwrap_or(&none);
    let before = old.and_then(|old| old.metadata.labels.as_ref()).unwrap_or(&none);
    let within = |key: &str, domain: &str| {
        let own = key.split_once('/').map_or("", |(own, _)| own);
        own == domain || own.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'))
    };
    let is_forbidden = |key: &str| {
        let kubernetes = within(key, "kubernetes.io") || within(key, "k8s.io");
        let kubelets =
            KUBELET_LABELS.contains(&key) || within(key, "kubelet.kubernetes.io") || within(key, "node.kubernetes.io");
        within(key, NODE_RESTRICTION_DOMAIN) || (kubernetes && !kubelets)
    };
    let changed: BTreeSet<&str> = now
        .keys()
        .chain(before.keys())
        .filter(|key| now.get(*key) != before.get(*key))
        .map(String::as_str)
        .filter(|key| is_forbidden(key))
        .collect();
    (!changed.is_empty()).then(|| changed.into_iter().collect::<Vec<_>>().join(", "))
}

fn check_claim(
    attributes: &Attributes,
    node: &str,
    new: Option<&PersistentVolumeClaim>,
    old: Option<&PersistentVolumeClaim>,
) -> Option<String> {
    if attributes.request.subresource != "status" {
        return Some("may only update PVC status".into());
    }
    // Only these are the kubelet's to say.
    let rest = |claim: &PersistentVolumeClaim| {
        let mut claim = claim.clone();
        claim.metadata.resource_version = None;
        claim.metadata.managed_fields = None;
        let status = claim.status.get_or_insert_default();
        status.capacity = None;
        status.conditions = None;
        status.allocated_resources = None;
        status.allocated_resource_statuses = None;
        claim
    };
    (new.map(rest) != old.map(rest)).then(|| {
        format!("node {node:?} is not allowed to update fields other than status.capacity and status.conditions")
    })
}

fn check_lease(node: &str, lease: &dyn AnyObject) -> Option<String> {
    if lease.namespace() != LEASES {
        return Some(format!("can only access leases in the {LEASES:?} system namespace"));
    }
    (lease.name() != node).then(|| "can only access node lease with the same name as the requesting node".into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::{Value, json};

    use super::*;

    fn node(name: &str, labels: Value) -> Node {
        serde_json::from_value(json!({"metadata": {"name": name, "uid": "u", "labels": labels}})).unwrap()
    }

    #[test]
    fn a_kubelet_sets_only_its_own_labels() {
        for (new, old, wanted) in [
            (json!({"kubernetes.io/hostname": "n1", "team": "a"}), None, None),
            (json!({"node.kubernetes.io/x": "", "a.kubelet.kubernetes.io/y": ""}), None, None),
            (
                json!({"node-role.kubernetes.io/control-plane": "", "x.k8s.io/y": ""}),
                None,
                Some(
                    "node \"n1\" is not allowed to set the following labels: node-role.kubernetes.io/control-plane, x.k8s.io/y",
                ),
            ),
            (
                json!({}),
                Some(json!({"node-restriction.kubernetes.io/team": "a"})),
                Some("is not allowed to modify labels: node-restriction.kubernetes.io/team"),
            ),
            (json!({"node-role.kubernetes.io/x": "a"}), Some(json!({"node-role.kubernetes.io/x": "a"})), None),
        ] {
            let old = old.map(|labels| node("n1", labels));
            assert_eq!(check_node("n1", Some(&node("n1", new)), old.as_ref()).as_deref(), wanted);
        }
    }

    #[test]
    fn a_mirror_pod_belongs_to_its_node_and_refers_to_nothing() {
        let own = node("n1", json!({}));
        let owner = json!({"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "u", "controller": true});
        let change = |owners: Value, spec: Value| {
            let mut pod = json!({"metadata": {"annotations": {MIRROR: "x"}, "ownerReferences": owners},
                                 "spec": {"nodeName": "n1", "containers": [{"name": "c"}]}});
            for (key, value) in spec.as_object().unwrap() {
                pod["spec"][key] = value.clone();
            }
            check_mirror("n1", &serde_json::from_value(pod).unwrap(), Some(&own))
        };
        let with = |key: &str, value: Value| {
            let mut owner = owner.clone();
            owner[key] = value;
            json!([owner])
        };
        let owners = json!([owner]);
        for (found, wanted) in [
            (change(owners.clone(), json!({})), None),
            (
                change(owners.clone(), json!({"nodeName": "n2"})),
                Some("node \"n1\" can only create pods with spec.nodeName set to itself"),
            ),
            (
                change(json!([]), json!({})),
                Some("node \"n1\" can only create pods with an owner reference set to itself"),
            ),
            (
                change(with("controller", json!(false)), json!({})),
                Some("node \"n1\" can only create pods with a controller owner reference set to itself"),
            ),
            (
                change(with("blockOwnerDeletion", json!(true)), json!({})),
                Some("node \"n1\" must not set blockOwnerDeletion on an owner reference"),
            ),
            (change(with("uid", json!("v")), json!({})), Some("node n1 UID mismatch: expected v got u")),
            (
                change(owners.clone(), json!({"serviceAccountName": "a"})),
                Some("node \"n1\" can not create pods that reference a service account"),
            ),
            (
                change(owners.clone(), json!({"volumes": [{"name": "v", "configMap": {"name": "c"}}]})),
                Some("node \"n1\" can not create pods that reference configmaps"),
            ),
            (
                change(owners, json!({"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]})),
                Some("node \"n1\" can not create pods that reference persistentvolumeclaims"),
            ),
        ] {
            assert_eq!(found.as_deref(), wanted);
        }
    }
}
