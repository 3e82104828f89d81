//! What every cluster has from the start: namespaces, priority classes, roles and their bindings, and the Service that
//! pods find the API by.
//!
//! | file | what it is |
//! | --- | --- |
//! | `cluster_roles.txt` | the roles of people and components |
//! | `controller_roles.txt` | the roles of the control loops |
//! | `namespace_roles.txt` | the roles in `kube-system` and `kube-public` |
//! | [`roles`] | how these files are read |
//! | `bindings` | who has the roles |
//! | [`reconcile`] | how roles that an older version wrote get what is new |
//! | [`cluster_info`] | what machines begin with that join |
//! | [`publish`] | how these follow the apiservers that live |
//! | [`seed`] | how all this gets into the store |
//! | [`trust`] | what servers of other groups need to believe the apiservers |
//! | [`service`] | the Service `kubernetes` and what stands behind it |
//!
//! Source: `plugin/pkg/auth/authorizer/rbac/bootstrappolicy`, `pkg/controlplane/controller`, `pkg/apis/scheduling`.

mod bindings;
pub mod cluster_info;
pub mod publish;
pub mod reconcile;
pub mod roles;
pub mod seed;
pub mod service;
pub mod trust;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kubelab_api::{
    Resource, resource,
    well_known::{annotation, label, namespace},
};
use serde_json::{Value, json};

use crate::registry::core::service::{claim, ip_address};

pub use roles::rules_of;

/// An object to be created as it stands: all but uid, creation time and revision are there.
#[derive(Clone, Debug)]
pub struct Object {
    /// Its row in the table of resources.
    pub resource: &'static Resource,
    /// Itself.
    pub value: Value,
}

impl Object {
    pub(crate) fn new(mut value: Value, group: &str, version: &str, plural: &str) -> Self {
        let resource = resource::find(group, version, plural)
            .unwrap_or_else(|| panic!("{plural} of {group}/{version} is not in the table of resources"));
        value["apiVersion"] = resource.api_version().into();
        value["kind"] = Value::from(&*resource.kind);
        Self { resource, value }
    }

    /// Its namespace; empty for cluster scope.
    pub fn namespace(&self) -> &str {
        self.value["metadata"]["namespace"].as_str().unwrap_or_default()
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.value["metadata"]["name"].as_str().unwrap_or_default()
    }
}

/// Everything, in the order in which it is to be written.
pub fn objects() -> Vec<Object> {
    let namespaces =
        [namespace::DEFAULT, namespace::SYSTEM, namespace::PUBLIC, namespace::NODE_LEASE].map(of_namespace);
    let mut objects: Vec<Object> = namespaces.into();
    objects.extend(PRIORITY_CLASSES.iter().map(of_priority_class));
    objects.extend(roles::objects());
    objects
}

/// What a new cluster begins with besides, for its users to change or remove: a class of volumes for claims that name none,
/// as kind's and minikube's clusters have it, and the driver of those volumes, which the controller-manager makes; the range
/// of cluster addresses, and the one that is taken from it.
pub fn beginnings(now: Timestamp) -> Vec<Object> {
    const DRIVER: &str = "csi.kubelab.dev";
    let class = json!({
        "metadata": {"name": "standard", "annotations": {annotation::DEFAULT_STORAGE_CLASS: "true"}},
        "provisioner": DRIVER,
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "Immediate",
        "allowVolumeExpansion": true,
    });
    let driver = json!({
        "metadata": {"name": DRIVER},
        "spec": {
            "attachRequired": true,
            "fsGroupPolicy": "ReadWriteOnceWithFSType",
            "podInfoOnMount": false,
            "requiresRepublish": false,
            "seLinuxMount": false,
            "storageCapacity": false,
            "volumeLifecycleModes": ["Persistent"],
        },
    });
    // Source: `pkg/controlplane/controller/defaultservicecidr`.
    let range = json!({
        "metadata": {"name": "kubernetes", "generation": 1},
        "spec": {"cidrs": [claim::CLUSTER_IPS.to_string()]},
        "status": {"conditions": [{
            "type": "Ready",
            "status": "True",
            "reason": "",
            "message": "Kubernetes default Service CIDR is ready",
            "lastTransitionTime": Time(now),
        }]},
    });
    let address = ip_address::object(&claim::KUBERNETES.to_string(), "default", "kubernetes");
    vec![
        Object::new(class, "storage.k8s.io", "v1", "storageclasses"),
        Object::new(driver, "storage.k8s.io", "v1", "csidrivers"),
        Object::new(range, "networking.k8s.io", "v1", "servicecidrs"),
        Object::new(address, "networking.k8s.io", "v1", "ipaddresses"),
    ]
}

fn of_namespace(name: &str) -> Object {
    let value = json!({
        "metadata": {"name": name, "labels": {label::METADATA_NAME: name}},
        "spec": {"finalizers": ["kubernetes"]},
        "status": {"phase": "Active"},
    });
    Object::new(value, "", "v1", "namespaces")
}

const PRIORITY_CLASSES: &[(&str, i32, &str)] = &[
    (
        "system-cluster-critical",
        2_000_000_000,
        "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
    ),
    (
        "system-node-critical",
        2_000_001_000,
        "Used for system critical pods that must not be moved from their current node.",
    ),
];

fn of_priority_class((name, value, description): &(&str, i32, &str)) -> Object {
    let value = json!({
        "metadata": {"name": name, "generation": 1},
        "value": value,
        "description": description,
        "preemptionPolicy": "PreemptLowerPriority",
    });
    Object::new(value, "scheduling.k8s.io", "v1", "priorityclasses")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_object_is_named_once_and_has_its_namespace() {
        let objects: Vec<_> = objects().into_iter().chain(beginnings(Timestamp::UNIX_EPOCH)).collect();
        let names: BTreeSet<_> =
            objects.iter().map(|object| (&object.resource.plural, object.namespace(), object.name())).collect();
        assert_eq!(names.len(), objects.len());
        for object in &objects {
            assert!(!object.name().is_empty());
            assert_eq!(object.resource.namespaced, !object.namespace().is_empty(), "{}", object.name());
        }
        assert!(objects.iter().any(|object| object.name() == "kube-node-lease"));
    }
}
