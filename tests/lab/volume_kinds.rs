//! Volumes of pods that are neither folders of the node nor of a claim: images, drivers' own, block devices.

use serde_json::{Value, json};

use crate::harness::{Kubectl, Lab};

fn pod(name: &str, container: Value, volumes: Value) -> String {
    let mut container = container;
    container["name"] = "c".into();
    container["image"] = "busybox".into();
    container["command"] = json!(["sleep", "infinity"]);
    let spec = json!({"terminationGracePeriodSeconds": 0, "containers": [container], "volumes": volumes});
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}).to_string()
}

fn ready(kubectl: &Kubectl, pod: &str) {
    kubectl.run(&format!("wait pod/{pod} --for=condition=Ready --timeout=120s"));
}

fn event(kubectl: &Kubectl, pod: &str, wanted: &str) {
    let events = format!("get events --field-selector involvedObject.name={pod} -o jsonpath={{.items[*].message}}");
    kubectl.wait_until(&events, |text| text.contains(wanted));
}

#[test]
fn images_drivers_and_devices_are_volumes() {
    let lab = Lab::with(&["--apiservers", "1", "--nodes", "2"]);
    let kubectl = lab.kubectl();
    let mounts = |path: &str| json!({"volumeMounts": [{"name": "v", "mountPath": path}]});

    // https://kubernetes.io/docs/tasks/configure-pod-container/image-volumes/
    let image =
        |reference: &str| json!([{"name": "v", "image": {"reference": reference, "pullPolicy": "IfNotPresent"}}]);
    kubectl.run_with("create -f -", &pod("image-volume", mounts("/volume"), image("quay.io/crio/artifact:v2")));
    ready(&kubectl, "image-volume");
    assert_eq!(kubectl.run("exec image-volume -- cat /volume/dir/file"), "1\n");
    let refused = kubectl.fail("exec image-volume -- touch /volume/file", "");
    assert!(refused.contains("Read-only file system"), "{refused}");
    kubectl.run_with("create -f -", &pod("no-image", mounts("/volume"), image("quay.io/crio/nonexistent")));
    let reason = "get pod no-image -o jsonpath={.status.containerStatuses[0].state.waiting.reason}";
    kubectl.wait_until(reason, |text| matches!(text, "ErrImagePull" | "ImagePullBackOff"));

    // A driver's own volume, for one pod.
    let inline = json!([{"name": "v", "csi": {"driver": "inline.example.com"}}]);
    kubectl.run_with("create -f -", &pod("inline", mounts("/data"), inline));
    let mode = "volume mode \"Ephemeral\" not supported by driver inline.example.com (no CSIDriver object)";
    event(&kubectl, "inline", &format!("MountVolume.NewMounter initialization failed for volume \"v\" : {mode}"));
    let driver = json!({"apiVersion": "storage.k8s.io/v1", "kind": "CSIDriver", "metadata": {"name": "inline.example.com"},
        "spec": {"attachRequired": false, "volumeLifecycleModes": ["Ephemeral"]}});
    kubectl.run_with("create -f -", &driver.to_string());
    ready(&kubectl, "inline");
    assert_eq!(kubectl.run("exec inline -- sh -c 'echo 1 > /data/x; cat /data/x'"), "1\n");

    // A block device, whose data follows it to another node.
    let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "disk"}, "spec": {
        "accessModes": ["ReadWriteOnce"], "volumeMode": "Block", "resources": {"requests": {"storage": "1Gi"}}}});
    kubectl.run_with("create -f -", &claim.to_string());
    let disk = || json!([{"name": "v", "persistentVolumeClaim": {"claimName": "disk"}}]);
    let device = || json!({"volumeDevices": [{"name": "v", "devicePath": "/dev/xvda"}]});
    let on = |node: &str, text: String| {
        let mut pod: Value = serde_json::from_str(&text).unwrap();
        pod["spec"]["nodeName"] = node.into();
        pod.to_string()
    };
    kubectl.run_with("create -f -", &on("node-1", pod("writer", device(), disk())));
    ready(&kubectl, "writer");
    assert!(kubectl.run("exec writer -- ls -l /dev/xvda").starts_with("brw-rw----"));
    kubectl.run("exec writer -- sh -c 'test -b /dev/xvda && echo raw > /dev/xvda'");
    kubectl.run("delete pod writer --timeout=60s");
    kubectl.run_with("create -f -", &on("node-2", pod("reader", device(), disk())));
    ready(&kubectl, "reader");
    assert_eq!(kubectl.run("exec reader -- cat /dev/xvda"), "raw\n");
    kubectl.run_with("create -f -", &on("node-2", pod("folder", mounts("/data"), disk())));
    event(&kubectl, "folder", "volume v has volumeMode Block, but is specified in volumeMounts");
}

#[test]
fn the_add_ons_of_a_new_lab_find_their_volumes() {
    let lab = Lab::with(&["--apiservers", "1", "--nodes", "1", "--add-ons", "dns,ingress,metrics"]);
    let kubectl = lab.kubectl();
    kubectl.wait_until("get pods -A -o jsonpath={.items[*].metadata.name}", |text| text.contains("coredns"));
    kubectl.run("wait pods -A --all --for=condition=Ready --timeout=120s");
    let failed = kubectl.run("get events -A --field-selector reason=FailedMount -o jsonpath={.items[*].message}");
    assert_eq!(failed, "");
}
