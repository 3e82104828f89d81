//! The core group's smaller kinds.
#![allow(clippy::unwrap_used)]

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    config_map::ConfigMapKind, endpoints::EndpointsKind, event::EventKind, limit_range::LimitRangeKind,
    namespace::NamespaceKind, node::NodeKind, persistent_volume::PersistentVolumeKind,
    persistent_volume_claim::PersistentVolumeClaimKind, resource_quota::ResourceQuotaKind, secret::SecretKind,
    service_account::ServiceAccountKind,
};
use crate::registry::{
    coordination::lease::LeaseKind,
    discovery::endpoint_slice::EndpointSliceKind,
    kind::Kind,
    validation::tests::{new_errors, object, update_errors},
};

fn created<K: Kind>(json: Value) -> Value {
    let mut object = object::<K>(json);
    K::prepare_create(&mut object);
    serde_json::to_value(&object).unwrap()
}

fn cells<K: Kind>(json: Value) -> Vec<Value> {
    let now: Timestamp = "2026-01-01T00:10:00Z".parse().unwrap();
    let object = object::<K>(json);
    let cells = K::cells(&object, now);
    assert_eq!(cells.len(), K::COLUMNS.len());
    cells
}

#[test]
fn minimal_objects_are_completed() {
    assert_eq!(
        created::<NamespaceKind>(json!({"metadata": {"name": "dev"}})),
        json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": "dev", "labels": {"kubernetes.io/metadata.name": "dev"}},
            "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"},
        })
    );
    assert_eq!(
        created::<SecretKind>(json!({"metadata": {"name": "s"}, "data": {"a": "MQ=="}, "stringData": {"b": "2"}})),
        json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"},
            "data": {"a": "MQ==", "b": "Mg=="}, "type": "Opaque",
        })
    );
    assert_eq!(
        created::<ServiceAccountKind>(json!({"metadata": {"name": "a"}, "secrets": [{"name": "s", "kind": "X"}]})),
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "a"}, "secrets": [{"name": "s"}]})
    );
    assert_eq!(
        created::<EndpointsKind>(json!({"subsets": [{"addresses": [{"ip": "10.0.0.1"}], "ports": [{"port": 80}]}]}))["subsets"]
            [0]["ports"][0],
        json!({"port": 80, "protocol": "TCP"})
    );
    assert_eq!(
        created::<EndpointSliceKind>(json!({"addressType": "IPv4", "ports": [{"port": 80}]}))["ports"][0],
        json!({"name": "", "port": 80, "protocol": "TCP"})
    );
    assert_eq!(
        created::<NodeKind>(json!({"metadata": {"name": "n"}, "status": {"capacity": {"cpu": "2000m"}}}))["status"],
        json!({"allocatable": {"cpu": "2"}, "capacity": {"cpu": "2"}})
    );
    assert_eq!(
        created::<LimitRangeKind>(json!({"spec": {"limits": [
            {"type": "Container", "max": {"cpu": "1"}, "min": {"memory": "1Gi"}}]}}))["spec"]["limits"][0],
        json!({"type": "Container", "max": {"cpu": "1"}, "min": {"memory": "1Gi"}, "default": {"cpu": "1"},
            "defaultRequest": {"cpu": "1", "memory": "1Gi"}})
    );
    assert_eq!(
        created::<PersistentVolumeKind>(json!({"spec": {"hostPath": {"path": "/x"}}})),
        json!({
            "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {},
            "spec": {"hostPath": {"path": "/x", "type": ""}, "persistentVolumeReclaimPolicy": "Retain",
                "volumeMode": "Filesystem"},
            "status": {"phase": "Pending"},
        })
    );
}

#[test]
fn bad_objects_are_refused_in_upstreams_words() {
    let key = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or \
               'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
    assert_eq!(
        new_errors::<ConfigMapKind>(json!({"data": {"a b": "", "c": ""}, "binaryData": {"c": ""}})),
        [
            format!("data[a b]: Invalid value: \"a b\": {key}"),
            "data[c]: Invalid value: \"c\": duplicate of key present in binaryData".into(),
        ]
    );
    let big = "x".repeat(super::config_map::MAX_SIZE + 1);
    assert_eq!(
        new_errors::<ConfigMapKind>(json!({"data": {"a": big}})),
        ["[]: Too long: may not be more than 1048576 bytes"]
    );
    let sealed = json!({"data": {"a": "1"}, "immutable": true});
    assert_eq!(
        update_errors::<ConfigMapKind>(sealed.clone(), json!({"data": {"a": "2"}})),
        [
            "immutable: Forbidden: field is immutable when `immutable` is set",
            "data: Forbidden: field is immutable when `immutable` is set",
        ]
    );
    assert_eq!(
        update_errors::<SecretKind>(json!({"type": "Opaque"}), json!({"type": "other"})),
        ["type: Invalid value: \"other\": field is immutable"]
    );
    assert_eq!(
        new_errors::<SecretKind>(json!({"type": "kubernetes.io/tls"})),
        ["data[tls.crt]: Required value", "data[tls.key]: Required value"]
    );
    assert_eq!(
        new_errors::<SecretKind>(json!({"type": "kubernetes.io/basic-auth"})),
        ["data[username]: Required value", "data[password]: Required value"]
    );
    assert_eq!(
        new_errors::<EndpointsKind>(json!({"subsets": [{}, {"addresses": [{"ip": "127.0.0.1"}],
            "ports": [{"port": 1}, {"port": 2, "name": "b", "protocol": "X"}]}]})),
        [
            "subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`",
            "subsets[1].addresses[0].ip: Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, \
             ::1/128)",
            "subsets[1].ports[0].name: Required value",
            "subsets[1].ports[1].protocol: Unsupported value: \"X\": supported values: \"SCTP\", \"TCP\", \"UDP\"",
        ]
    );
    assert_eq!(
        new_errors::<EndpointSliceKind>(json!({"addressType": "IPv9", "endpoints": [{"addresses": []}]})),
        [
            "addressType: Unsupported value: \"IPv9\": supported values: \"FQDN\", \"IPv4\", \"IPv6\"",
            "endpoints[0].addresses: Required value: must contain at least 1 address",
        ]
    );
    assert_eq!(
        new_errors::<LeaseKind>(json!({"spec": {"leaseDurationSeconds": 0, "leaseTransitions": -1}})),
        [
            "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0",
            "spec.leaseTransitions: Invalid value: -1: must be greater than or equal to 0",
        ]
    );
    assert_eq!(
        new_errors::<EventKind>(json!({"metadata": {"namespace": "dev"}, "involvedObject": {"namespace": "other"}})),
        ["involvedObject.namespace: Invalid value: \"other\": does not match event.namespace"]
    );
    assert_eq!(
        new_errors::<NodeKind>(json!({"spec": {"taints": [
            {"key": "a", "effect": "NoSchedule"}, {"key": "a", "effect": "NoSchedule"}]}})),
        [
            "metadata.taints[1]: Duplicate value: {\"effect\":\"NoSchedule\",\"key\":\"a\"}: taints must be unique by key and \
          effect pair"
        ]
    );
    assert_eq!(
        update_errors::<NodeKind>(json!({"spec": {"podCIDRs": ["10.0.0.0/24"]}}), json!({"spec": {}})),
        ["spec.podCIDRs: Forbidden: node updates may not change podCIDR except from \"\" to valid"]
    );
    assert_eq!(
        new_errors::<PersistentVolumeClaimKind>(json!({"spec": {}})),
        [
            "spec.accessModes: Required value: at least 1 access mode is required",
            "spec.resources[storage]: Required value",
        ]
    );
    assert_eq!(
        new_errors::<PersistentVolumeKind>(json!({"spec": {"accessModes": ["ReadWriteOnce"],
            "capacity": {"storage": "1Gi"}}})),
        ["spec: Required value: must specify a volume type"]
    );
}

#[test]
fn columns_tell_what_upstreams_tell() {
    let made = "2026-01-01T00:00:00Z";
    let meta = |name: &str| json!({"name": name, "creationTimestamp": made});
    assert_eq!(
        cells::<NamespaceKind>(json!({"metadata": meta("a"), "status": {"phase": "Active"}})),
        ["a", "Active", "10m"]
    );
    assert_eq!(
        cells::<ConfigMapKind>(json!({"metadata": meta("a"), "data": {"x": ""}, "binaryData": {"y": ""}}))[1],
        2
    );
    assert_eq!(
        cells::<SecretKind>(json!({"metadata": meta("a"), "data": {"x": ""}}))[1..3],
        [json!("Opaque"), json!(1)]
    );
    assert_eq!(
        cells::<NodeKind>(json!({
            "metadata": {"name": "n", "creationTimestamp": made, "labels": {
                "node-role.kubernetes.io/control-plane": "", "kubernetes.io/role": "worker"}},
            "spec": {"unschedulable": true},
            "status": {
                "conditions": [{"type": "Ready", "status": "False"}],
                "addresses": [{"type": "InternalIP", "address": "192.168.0.2"}],
                "nodeInfo": {"kubeletVersion": "v1.37.0"},
            },
        })),
        [
            "n",
            "NotReady,SchedulingDisabled",
            "control-plane,worker",
            "10m",
            "v1.37.0",
            "192.168.0.2",
            "<none>",
            "<unknown>",
            "<unknown>",
            "<unknown>",
        ]
    );
    let addresses: Vec<_> = (1..=5).map(|i| json!({"ip": format!("10.0.0.{i}")})).collect();
    assert_eq!(
        cells::<EndpointsKind>(
            json!({"metadata": meta("a"), "subsets": [{"addresses": addresses, "ports": [{"port": 80}]}]})
        )[1],
        "10.0.0.1:80,10.0.0.2:80,10.0.0.3:80 + 2 more..."
    );
    assert_eq!(cells::<EndpointsKind>(json!({"metadata": meta("a")}))[1], "<none>");
    assert_eq!(
        cells::<EndpointSliceKind>(json!({"metadata": meta("a"), "addressType": "IPv4", "ports": [{"port": 80}, {}],
            "endpoints": [{"addresses": ["10.0.0.1"]}]})),
        ["a", "IPv4", "80,*", "10.0.0.1", "10m"]
    );
    assert_eq!(cells::<EndpointSliceKind>(json!({"metadata": meta("a"), "addressType": "IPv4"}))[3], "<unset>");
    assert_eq!(
        cells::<LeaseKind>(json!({"metadata": meta("a"), "spec": {"holderIdentity": "me"}})),
        ["a", "me", "10m"]
    );
    assert_eq!(
        cells::<EventKind>(json!({
            "metadata": {"name": "e"}, "type": "Normal", "reason": "Scheduled", "message": " done ", "count": 3,
            "involvedObject": {"kind": "Pod", "name": "web", "fieldPath": "spec.containers{web}"},
            "source": {"component": "kubelet", "host": "node-1"},
            "firstTimestamp": made, "lastTimestamp": "2026-01-01T00:09:00Z",
        })),
        [
            json!("60s"),
            json!("Normal"),
            json!("Scheduled"),
            json!("pod/web"),
            json!("spec.containers{web}"),
            json!("kubelet, node-1"),
            json!("done"),
            json!("10m"),
            json!(3),
            json!("e"),
        ]
    );
    let series =
        cells::<EventKind>(json!({"metadata": {"name": "e"}, "involvedObject": {"kind": "Pod", "name": "web"},
        "eventTime": "2026-01-01T00:00:00.000000Z", "reportingComponent": "scheduler"}));
    assert_eq!((&series[0], &series[5], &series[8]), (&json!("10m"), &json!("scheduler"), &json!(1)));
    assert_eq!(
        cells::<PersistentVolumeClaimKind>(json!({"metadata": meta("c"),
            "spec": {"volumeName": "v", "storageClassName": "fast"},
            "status": {"phase": "Bound", "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteMany", "ReadWriteOnce"]}})),
        ["c", "Bound", "v", "1Gi", "RWO,RWX", "fast", "<unset>", "10m", "Filesystem"]
    );
    assert_eq!(
        cells::<PersistentVolumeKind>(json!({"metadata": meta("v"),
            "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
                "claimRef": {"namespace": "d", "name": "c"}},
            "status": {"phase": "Bound"}})),
        ["v", "1Gi", "RWO", "Retain", "Bound", "d/c", "", "<unset>", "", "10m", "Filesystem"]
    );
    assert_eq!(
        cells::<ResourceQuotaKind>(json!({"metadata": meta("q"), "status": {
            "hard": {"pods": "5", "limits.cpu": "2"}, "used": {"pods": "1"}}})),
        ["q", "pods: 1/5", "limits.cpu: 0/2", "10m"]
    );
}

#[test]
fn a_namespace_goes_in_steps() {
    let mut namespace = object::<NamespaceKind>(json!({"metadata": {"name": "dev"}}));
    NamespaceKind::prepare_create(&mut namespace);
    assert!(NamespaceKind::finalizing(&namespace));
    let active = namespace.clone();
    NamespaceKind::prepare_delete(&mut namespace);
    assert_eq!(NamespaceKind::note(&namespace, Some(&active)), "Active → Terminating");
    // An update cannot lift the claim of the namespace controller; the part `finalize` can.
    let mut update = namespace.clone();
    update.spec = None;
    NamespaceKind::prepare_update(&mut update, &namespace);
    assert!(NamespaceKind::finalizing(&update));
    update.spec = None;
    NamespaceKind::prepare_part("finalize", &mut update, &namespace);
    assert!(!NamespaceKind::finalizing(&update));
}
