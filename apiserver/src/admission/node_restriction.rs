//! A kubelet writes only its own node and lease, and only the pods that run there.
//! Source: `plugin/pkg/admission/noderestriction/admission.go`.

use k8s_openapi::api::{
    coordination::v1::Lease,
    core::v1::{Node, Pod},
};
use kubelab_api::{Error, well_known::label::NODE_RESTRICTION_DOMAIN};

use super::{Attributes, Operation, Plugin};
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
            Some(any) if any.downcast_ref::<Pod>().is_some() => check_pod(attributes, node, pod(object), pod(old)),
            Some(any) if any.downcast_ref::<Node>().is_some() => {
                check_node(node, object.and_then(downcast), old.and_then(downcast))
            }
            Some(any) if any.downcast_ref::<Lease>().is_some() => check_lease(node, any),
            _ => None,
        };
        refusal.map_or(Ok(()), |message| Err(attributes.forbidden(object.or(old), &message)))
    }
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

fn check_pod(attributes: &Attributes, node: &str, new: Option<&Pod>, old: Option<&Pod>) -> Option<String> {
    match (attributes.operation, attributes.request.subresource.as_str()) {
        (Operation::Create, "eviction") if !runs_on(old, node) => {
            Some(format!("node {node:?} can only evict pods with spec.nodeName set to itself"))
        }
        (Operation::Create, "") => {
            let new = new?;
            let mirrors = new.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(MIRROR));
            if !mirrors {
                Some(format!("pod does not have {MIRROR:?} annotation, node {node:?} can only create mirror pods"))
            } else if !runs_on(Some(new), node) {
                Some(format!("node {node:?} can only create pods with spec.nodeName set to itself"))
            } else {
                None
            }
        }
        (Operation::Update, "status") if !runs_on(old, node) => {
            Some(format!("node {node:?} can only update pod status for pods with spec.nodeName set to itself"))
        }
        (Operation::Update, "") => {
            Some(format!("unexpected operation \"UPDATE\", node {node:?} can only create and delete mirror pods"))
        }
        (Operation::Delete, _) if !runs_on(old, node) => {
            Some(format!("node {node:?} can only delete pods with spec.nodeName set to itself"))
        }
        _ => None,
    }
}

fn check_node(node: &str, new: Option<&Node>, old: Option<&Node>) -> Option<String> {
    let name = new.or(old)?.metadata.name.as_deref().unwrap_or_default();
    if name != node {
        return Some(format!("node {node:?} is not allowed to modify node {name:?}"));
    }
    let (new, old) = (new?, old?);
    let taints = |node: &Node| node.spec.as_ref().and_then(|spec| spec.taints.clone()).unwrap_or_default();
    if taints(new) != taints(old) {
        return Some(format!("node {node:?} is not allowed to modify taints"));
    }
    let restricted = |node: &Node| -> Vec<(String, String)> {
        let is_restricted = |(key, _): &(&String, &String)| {
            let domain = key.split_once('/').map_or("", |(domain, _)| domain);
            domain == NODE_RESTRICTION_DOMAIN || domain.ends_with(&format!(".{NODE_RESTRICTION_DOMAIN}"))
        };
        let labels = node.metadata.labels.iter().flatten().filter(is_restricted);
        labels.map(|(key, value)| (key.clone(), value.clone())).collect()
    };
    let (now, before) = (restricted(new), restricted(old));
    if now != before {
        let changed = now.iter().chain(&before).find(|label| !(now.contains(label) && before.contains(label)));
        let key = changed.map_or("", |(key, _)| key.as_str());
        return Some(format!("is not allowed to modify labels: {key}"));
    }
    None
}

fn check_lease(node: &str, lease: &dyn AnyObject) -> Option<String> {
    if lease.namespace() != LEASES {
        return Some(format!("can only access leases in the {LEASES:?} system namespace"));
    }
    (lease.name() != node).then(|| "can only access node lease with the same name as the requesting node".into())
}
