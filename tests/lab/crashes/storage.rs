//! Claims, volumes, attachments.

use serde_json::json;

use crate::harness::Kubectl;

pub const LOOPS: &[&str] = &[
    "persistentvolume-binder-controller",
    "volume-provisioner",
    "persistentvolume-expander-controller",
    "ephemeral-volume-controller",
    "persistentvolume-attach-detach-controller",
    "volume-attacher",
    "persistentvolumeclaim-protection-controller",
    "persistentvolume-protection-controller",
];

const LATE: &str = "\
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: late}
provisioner: csi.kubelab.dev
volumeBindingMode: WaitForFirstConsumer
";

const BY_HAND: &str = "\
apiVersion: v1
kind: PersistentVolume
metadata: {name: shelf}
spec:
  accessModes: [ReadWriteOnce]
  capacity: {storage: 9Gi}
  hostPath: {path: /tmp/shelf}
  persistentVolumeReclaimPolicy: Recycle
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: reserved}
spec:
  accessModes: [ReadWriteOnce]
  capacity: {storage: 9Gi}
  hostPath: {path: /tmp/reserved}
  persistentVolumeReclaimPolicy: Delete
  claimRef: {namespace: default, name: asked}
";

fn claim(name: &str, more: &str) -> String {
    format!(
        "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {{name: {name}}}\n\
         spec: {{accessModes: [ReadWriteOnce], resources: {{requests: {{storage: 5Gi}}}}{more}}}\n---\n"
    )
}

/// A pod on this node, or wherever the scheduler places it.
fn pod(name: &str, volume: serde_json::Value, node: Option<&str>) -> String {
    let mut volume = volume;
    volume["name"] = json!("data");
    let spec = json!({
        "nodeName": node,
        "terminationGracePeriodSeconds": 1,
        "containers": [{"name": "c", "image": "nginx", "volumeMounts": [{"name": "data", "mountPath": "/data"}]}],
        "volumes": [volume],
    });
    let meta = json!({"name": name, "labels": {"app": name}});
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}).to_string()
}

fn of_claim(claim: &str) -> serde_json::Value {
    json!({"persistentVolumeClaim": {"claimName": claim}})
}

#[test]
fn storage_comes_out_as_wanted() {
    let made = super::survive(&[], LOOPS, |_, kubectl| scenario(kubectl));
    let wanted = super::counts([
        ("brings", 1),
        ("first", 1),
        ("second", 1),
        ("waits", 1),
        ("volume of ", 1),
        ("volume of asked", 1),
        ("volume of brings-data", 1),
        ("volume of grows", 1),
        ("volume of late", 1),
    ]);
    assert_eq!(made, wanted, "what was ever made");
}

fn scenario(kubectl: &Kubectl) {
    let phase = |claim: &str, wanted: &str| {
        kubectl.wait_until(&format!("get pvc {claim} -o jsonpath={{.status.phase}}"), |text| text == wanted);
    };
    kubectl.run_with("create -f -", LATE);
    kubectl.run_with("create -f -", &(claim("grows", "") + &claim("late", ", storageClassName: late")));

    // A new volume, which grows, and goes from node to node.
    phase("grows", "Bound");
    kubectl.run(r#"patch pvc grows -p '{"spec":{"resources":{"requests":{"storage":"8Gi"}}}}'"#);
    kubectl.wait_until("get pvc grows -o jsonpath={.status.capacity.storage}", |text| text == "8Gi");
    let attached = "get volumeattachments -o 'jsonpath={range .items[*]}{.spec.nodeName} {.status.attached};{end}'";
    kubectl.run_with("create -f -", &pod("first", of_claim("grows"), Some("node-1")));
    kubectl.run("wait pod/first --for=condition=Ready --timeout=120s");
    assert_eq!(kubectl.run(attached), "node-1 true;");
    kubectl.run("delete pod first --timeout=120s");
    kubectl.run_with("create -f -", &pod("second", of_claim("grows"), Some("node-2")));
    kubectl.run("wait pod/second --for=condition=Ready --timeout=120s");
    kubectl.wait_until(attached, |text| text == "node-2 true;");

    // A volume that waits for the scheduler, one that a pod brings, and two made by hand.
    kubectl.run_with("create -f -", &pod("waits", of_claim("late"), None));
    let template = json!({"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
    kubectl.run_with("create -f -", &pod("brings", json!({"ephemeral": {"volumeClaimTemplate": template}}), None));
    kubectl.run("wait pod/waits pod/brings --for=condition=Ready --timeout=120s");
    kubectl.run_with("create -f -", BY_HAND);
    let by_hand = ", storageClassName: ''";
    kubectl.run_with("create -f -", &(claim("asked", by_hand) + &claim("any", by_hand)));
    phase("asked", "Bound");
    phase("any", "Bound");
    let bound = "get pv shelf reserved -o jsonpath={.items[*].spec.claimRef.name}";
    assert_eq!(kubectl.run(bound), "any asked");

    // Used, a claim outlives its deletion; then its volume goes with it, or is emptied, as its policy says.
    kubectl.run("delete pvc grows --wait=false");
    phase("grows", "Bound");
    kubectl.run("delete pod second waits brings --timeout=120s");
    kubectl.run("wait pvc/grows --for=delete --timeout=120s");
    kubectl.run("delete pvc late any asked --timeout=120s");
    kubectl.wait_until("get pvc -o name", str::is_empty);
    kubectl.wait_until("get volumeattachments -o name", str::is_empty);
    kubectl.wait_until("get pv -o 'jsonpath={range .items[*]}{.metadata.name} {.status.phase};{end}'", |text| {
        text == "shelf Available;"
    });
    kubectl.run("delete pv shelf --timeout=120s");
}
