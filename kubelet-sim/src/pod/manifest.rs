//! Static pods: what a manifest on the node becomes in the API. Source: `pkg/kubelet/config/common.go` and
//! `pkg/kubelet/pod/mirror_client.go` of Kubernetes.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Node, Pod, Toleration},
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};

use crate::behavior::images;

/// Marks pods that stand for a manifest; its value is the manifest's hash.
pub const MIRROR: &str = "kubernetes.io/config.mirror";
const HASH: &str = "kubernetes.io/config.hash";
const SOURCE: &str = "kubernetes.io/config.source";
const SEEN: &str = "kubernetes.io/config.seen";

/// Why a manifest is passed over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is no pod in YAML or JSON.
    #[error("not a pod: {0}")]
    Malformed(String),
    /// It has no name.
    #[error("the pod has no name")]
    NoName,
    /// It asks for what only the API has.
    #[error("static pods may not reference {0}")]
    Refers(&'static str),
}

/// A manifest's hash, as the mirror pod's annotation has it.
pub fn hash(text: &str) -> String {
    format!("{:016x}{:016x}", images::hash(text), images::hash(&format!("{text}\n")))
}

/// The pod in the API that stands for a manifest on this node, seen at this time.
pub fn mirror(text: &str, node: &Node, now: Timestamp) -> Result<Pod, Error> {
    let mut pod: Pod = serde_saphyr::from_str(text).map_err(|error| Error::Malformed(error.to_string()))?;
    let name = pod.metadata.name.take().filter(|name| !name.is_empty()).ok_or(Error::NoName)?;
    let node_name = node.metadata.name.clone().unwrap_or_default();
    let spec = pod.spec.as_mut().ok_or_else(|| Error::Malformed("it has no spec".to_owned()))?;
    if spec.service_account_name.as_ref().is_some_and(|account| !account.is_empty()) {
        return Err(Error::Refers("a service account"));
    }
    let has_api_volume = |volume: &k8s_openapi::api::core::v1::Volume| {
        volume.secret.is_some() || volume.config_map.is_some() || volume.persistent_volume_claim.is_some()
    };
    if spec.volumes.iter().flatten().any(has_api_volume) {
        return Err(Error::Refers("secrets, configmaps or claims"));
    }
    spec.node_name = Some(node_name.clone());
    // A node that is not ready keeps them.
    let stays =
        Toleration { operator: Some("Exists".to_owned()), effect: Some("NoExecute".to_owned()), ..Default::default() };
    spec.tolerations.get_or_insert_default().push(stays);
    let hash = hash(text);
    let own = [(MIRROR, hash.clone()), (HASH, hash), (SOURCE, "file".to_owned()), (SEEN, now.to_string())];
    let annotations: &mut BTreeMap<String, String> = pod.metadata.annotations.get_or_insert_default();
    annotations.extend(own.map(|(key, value)| (key.to_owned(), value)));
    pod.metadata.name = Some(format!("{name}-{node_name}"));
    pod.metadata.namespace.get_or_insert_with(|| "default".to_owned());
    pod.metadata.owner_references = Some(vec![OwnerReference {
        api_version: "v1".to_owned(),
        kind: "Node".to_owned(),
        name: node_name,
        uid: node.metadata.uid.clone().unwrap_or_default(),
        controller: Some(true),
        ..Default::default()
    }]);
    pod.status = None;
    Ok(pod)
}

/// The hash of the manifest that a pod stands for, if it stands for one.
pub fn hash_of(pod: &Pod) -> Option<&str> {
    pod.metadata.annotations.as_ref()?.get(MIRROR).map(String::as_str)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn a_manifest_becomes_its_mirror() {
        let node: Node = serde_json::from_value(json!({"metadata": {"name": "node-1", "uid": "n"}})).unwrap();
        let text = "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec: {containers: [{name: c, image: nginx}]}\n";
        let pod = mirror(text, &node, Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(pod.metadata.name.as_deref(), Some("web-node-1"));
        assert_eq!(hash_of(&pod), Some(hash(text).as_str()));
        assert_eq!(pod.metadata.owner_references.as_ref().unwrap()[0].uid, "n");
        assert_eq!(pod.spec.as_ref().unwrap().node_name.as_deref(), Some("node-1"));
        assert_ne!(hash(text), hash(&text.replace("nginx", "httpd")));
        for (text, expected) in [
            ("metadata: {}\nspec: {containers: []}", Error::NoName),
            (
                "metadata: {name: x}\nspec: {containers: [], volumes: [{name: v, secret: {secretName: s}}]}",
                Error::Refers("secrets, configmaps or claims"),
            ),
        ] {
            assert_eq!(mirror(text, &node, Timestamp::UNIX_EPOCH).unwrap_err(), expected, "{text}");
        }
        assert!(matches!(mirror("[", &node, Timestamp::UNIX_EPOCH), Err(Error::Malformed(_))));
    }
}
