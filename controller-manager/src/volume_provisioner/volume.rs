//! The volume that is made for a claim. Source: `Provision` in `external-provisioner/pkg/controller`, for a driver that
//! can make anything.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        core::v1::{
            CSIPersistentVolumeSource, Node, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, ObjectReference,
            PersistentVolume, PersistentVolumeClaim, PersistentVolumeSpec, TopologySelectorTerm, VolumeNodeAffinity,
        },
        storage::v1::StorageClass,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kubelab_api::{
    meta::label,
    well_known::label::{REGION, ZONE},
};

use crate::claims::{STORAGE, annotations::PROVISIONED_BY, requested};

/// Keeps a volume from vanishing before what it stands for is deleted. Source: KEP-2644.
pub const FINALIZER: &str = "external-provisioner.volume.kubernetes.io/finalizer";
/// Parameters of a class that are meant for the provisioner, not for the driver.
const RESERVED: &str = "csi.storage.k8s.io/";
const FS_TYPE: &str = "csi.storage.k8s.io/fstype";
const DEFAULT_FS_TYPE: &str = "ext4";

/// The drivers that took the place of provisioners that were a part of Kubernetes once. Source: `csi-translation-lib`.
const MIGRATED: [(&str, &str); 7] = [
    ("kubernetes.io/aws-ebs", "ebs.csi.aws.com"),
    ("kubernetes.io/azure-disk", "disk.csi.azure.com"),
    ("kubernetes.io/azure-file", "file.csi.azure.com"),
    ("kubernetes.io/cinder", "cinder.csi.openstack.org"),
    ("kubernetes.io/gce-pd", "pd.csi.storage.gke.io"),
    ("kubernetes.io/portworx-volume", "pxd.portworx.com"),
    ("kubernetes.io/vsphere-volume", "csi.vsphere.vmware.com"),
];

/// A volume cannot be made where the scheduler wants it.
#[derive(Debug, PartialEq, Eq)]
pub struct NotThere(pub String);

/// The name of a claim's volume. Source: `getProvisionedVolumeNameForClaim`.
pub fn name_for(claim: &PersistentVolumeClaim) -> String {
    format!("pvc-{}", claim.metadata.uid.as_deref().unwrap_or_default())
}

/// The volume for a claim of this class; for a pod on this node, if the class waits for its consumer.
pub fn volume_for(
    claim: &PersistentVolumeClaim,
    class: &StorageClass,
    node: Option<&Node>,
) -> Result<PersistentVolume, NotThere> {
    let name = name_for(claim);
    let spec = claim.spec.clone().unwrap_or_default();
    let parameters = class.parameters.clone().unwrap_or_default();
    let mode = spec.volume_mode.unwrap_or_else(|| "Filesystem".to_owned());
    let fs_type = parameters.get(FS_TYPE).map_or(DEFAULT_FS_TYPE, String::as_str);
    let attributes: BTreeMap<_, _> =
        parameters.iter().filter(|(key, _)| !key.starts_with(RESERVED)).map(|(k, v)| (k.clone(), v.clone())).collect();
    let policy = class.reclaim_policy.clone().unwrap_or_else(|| "Delete".to_owned());
    Ok(PersistentVolume {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            annotations: Some([(PROVISIONED_BY.to_owned(), class.provisioner.clone())].into()),
            finalizers: (policy == "Delete").then(|| vec![FINALIZER.to_owned()]),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeSpec {
            access_modes: spec.access_modes,
            capacity: Some([(STORAGE.to_owned(), requested(claim).into())].into()),
            claim_ref: Some(ObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("PersistentVolumeClaim".to_owned()),
                namespace: claim.metadata.namespace.clone(),
                name: claim.metadata.name.clone(),
                uid: claim.metadata.uid.clone(),
                resource_version: claim.metadata.resource_version.clone(),
                field_path: None,
            }),
            csi: Some(CSIPersistentVolumeSource {
                driver: driver(&class.provisioner),
                volume_handle: name,
                fs_type: (mode == "Filesystem").then(|| fs_type.to_owned()),
                volume_attributes: (!attributes.is_empty()).then_some(attributes),
                ..CSIPersistentVolumeSource::default()
            }),
            mount_options: class.mount_options.clone(),
            node_affinity: affinity(class.allowed_topologies.as_deref().unwrap_or_default(), node)?,
            persistent_volume_reclaim_policy: Some(policy),
            storage_class_name: class.metadata.name.clone(),
            volume_attributes_class_name: spec.volume_attributes_class_name,
            volume_mode: Some(mode),
            ..PersistentVolumeSpec::default()
        }),
        status: None,
    })
}

/// The driver that a provisioner stands for. Most have the same name; one that is no name of a driver is turned around:
/// `rancher.io/local-path` is `local-path.rancher.io`.
pub fn driver(provisioner: &str) -> String {
    if let Some((_, driver)) = MIGRATED.iter().find(|(name, _)| *name == provisioner) {
        return (*driver).to_owned();
    }
    match provisioner.split_once('/') {
        Some((domain, name)) => format!("{name}.{domain}"),
        None => provisioner.to_owned(),
    }
}

/// From which nodes the volume can be used: from those that the class allows; if there is a chosen node, from those that
/// are where it is, as a cloud's disks are of one zone.
fn affinity(allowed: &[TopologySelectorTerm], node: Option<&Node>) -> Result<Option<VolumeNodeAffinity>, NotThere> {
    let terms: Vec<Vec<(String, Vec<String>)>> = match node {
        None => allowed.iter().map(requirements).collect(),
        Some(node) => {
            let of_node = |key: &str| label(&node.metadata, key);
            let keys: Vec<String> = if allowed.is_empty() {
                [REGION, ZONE].map(str::to_owned).into()
            } else {
                let holds = |term: &&TopologySelectorTerm| {
                    requirements(term).iter().all(|(key, values)| {
                        of_node(key).is_some_and(|value| values.iter().any(|allowed| allowed == value))
                    })
                };
                let Some(term) = allowed.iter().find(holds) else {
                    let name = node.metadata.name.as_deref().unwrap_or_default();
                    return Err(NotThere(format!(
                        "error generating accessibility requirements: topology from selected node {name:?} is not in \
                         requisite"
                    )));
                };
                requirements(term).into_iter().map(|(key, _)| key).collect()
            };
            let own =
                keys.into_iter().filter_map(|key| of_node(&key).map(|value| vec![value.to_owned()]).map(|v| (key, v)));
            vec![own.collect()]
        }
    };
    let terms: Vec<NodeSelectorTerm> = terms.into_iter().filter(|term| !term.is_empty()).map(term).collect();
    if terms.is_empty() {
        return Ok(None);
    }
    Ok(Some(VolumeNodeAffinity { required: Some(NodeSelector { node_selector_terms: terms }) }))
}

fn requirements(term: &TopologySelectorTerm) -> Vec<(String, Vec<String>)> {
    let expressions = term.match_label_expressions.iter().flatten();
    expressions.map(|expression| (expression.key.clone(), expression.values.clone())).collect()
}

fn term(requirements: Vec<(String, Vec<String>)>) -> NodeSelectorTerm {
    let expressions = requirements.into_iter().map(|(key, values)| NodeSelectorRequirement {
        key,
        operator: "In".to_owned(),
        values: Some(values),
    });
    NodeSelectorTerm { match_expressions: Some(expressions.collect()), match_fields: None }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Value, json};

    use super::*;

    fn claim(more: Value) -> PersistentVolumeClaim {
        let mut spec = json!({"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "5Gi"}}});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let metadata = json!({"namespace": "shop", "name": "data", "uid": "u1"});
        serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap()
    }

    fn class(more: Value) -> StorageClass {
        let mut class = json!({"metadata": {"name": "fast"}, "provisioner": "disk.example.com"});
        class.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(class).unwrap()
    }

    fn node(labels: Value) -> Node {
        serde_json::from_value(json!({"metadata": {"name": "node-1", "labels": labels}})).unwrap()
    }

    #[test]
    fn a_volume_is_as_claim_and_class_say() {
        let parameters = json!({"type": "ssd", FS_TYPE: "xfs", "csi.storage.k8s.io/pvc/name": "x"});
        let class = class(json!({"parameters": parameters, "mountOptions": ["noatime"], "reclaimPolicy": "Retain"}));
        let volume = volume_for(&claim(json!({})), &class, None).unwrap();
        let shown = serde_json::to_value(&volume).unwrap();
        assert_eq!(volume.metadata.name.as_deref(), Some("pvc-u1"));
        assert_eq!(shown["metadata"]["finalizers"], Value::Null, "kept volumes need no deletion");
        assert_eq!(
            shown["spec"],
            json!({
                "accessModes": ["ReadWriteMany"],
                "capacity": {"storage": "5Gi"},
                "claimRef": {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": "shop", "name": "data", "uid": "u1"},
                "csi": {
                    "driver": "disk.example.com",
                    "volumeHandle": "pvc-u1",
                    "fsType": "xfs",
                    "volumeAttributes": {"type": "ssd"},
                },
                "mountOptions": ["noatime"],
                "persistentVolumeReclaimPolicy": "Retain",
                "storageClassName": "fast",
                "volumeMode": "Filesystem",
            })
        );
        let device = volume_for(&claim(json!({"volumeMode": "Block"})), &super::tests::class(json!({})), None).unwrap();
        assert_eq!(device.metadata.finalizers, Some(vec![FINALIZER.to_owned()]));
        assert_eq!(device.spec.unwrap().csi.unwrap().fs_type, None);
    }

    #[test]
    fn a_volume_is_where_it_may_be() {
        let zones = |zones: &[&str]| json!([{"matchLabelExpressions": [{"key": ZONE, "values": zones}]}]);
        let of_zone = |zone: &str| node(json!({ZONE: zone, "kubernetes.io/hostname": "node-1"}));
        let within = |key: &str, values: &[&str]| json!([{"matchExpressions": [{"key": key, "operator": "In", "values": values}]}]);
        for (why, allowed, node, expected) in [
            ("anywhere", json!([]), None, Value::Null),
            ("where the class allows", zones(&["a", "b"]), None, within(ZONE, &["a", "b"])),
            ("where the node is", json!([]), Some(of_zone("b")), within(ZONE, &["b"])),
            ("the node is nowhere in particular", json!([]), Some(node(json!({}))), Value::Null),
            ("where the class allows and the node is", zones(&["a", "b"]), Some(of_zone("b")), within(ZONE, &["b"])),
            ("the node is elsewhere", zones(&["a"]), Some(of_zone("b")), json!("not there")),
        ] {
            let class = class(json!({"allowedTopologies": allowed}));
            let shown = match volume_for(&claim(json!({})), &class, node.as_ref()) {
                Ok(volume) => {
                    let volume = serde_json::to_value(volume).unwrap();
                    volume["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"].clone()
                }
                Err(NotThere(_)) => json!("not there"),
            };
            assert_eq!(shown, expected, "{why}");
        }
    }

    #[test]
    fn every_provisioner_has_a_driver() {
        for (provisioner, expected) in [
            ("csi.kubelab.dev", "csi.kubelab.dev"),
            ("kubernetes.io/aws-ebs", "ebs.csi.aws.com"),
            ("rancher.io/local-path", "local-path.rancher.io"),
        ] {
            assert_eq!(driver(provisioner), expected);
        }
    }
}
