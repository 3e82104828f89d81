//! What a container's restart keeps and what it does not; containers that their kubelet does not find again; annotations
//! that make no sense.

use serde_json::{Value, json};

use crate::harness::{Kubectl, Lab};

fn lab() -> Lab {
    Lab::with(&["--apiservers", "1", "--nodes", "1"])
}

fn pod(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec})
}

fn create(kubectl: &Kubectl, pod: &Value) {
    kubectl.run_with("create -f -", &pod.to_string());
}

/// Waits until a part of the first container's status is this.
fn until(kubectl: &Kubectl, pod: &str, path: &str, wanted: &str) {
    let get = format!("get pod {pod} -o jsonpath={{.status.containerStatuses[0].{path}}}");
    kubectl.wait_until(&get, |text| text == wanted);
}

#[test]
fn an_empty_dir_outlives_a_restart_and_the_container_s_own_files_do_not() {
    let lab = lab();
    let kubectl = lab.kubectl();
    let script = "echo $(date +%s) >> /cache/starts; touch /tmp/own; sleep 3600 & wait";
    let mut container = json!({"name": "c", "image": "busybox", "command": ["sh", "-c", script],
        "volumeMounts": [{"name": "cache", "mountPath": "/cache"}]});
    container["livenessProbe"] =
        json!({"exec": {"command": ["test", "!", "-f", "/tmp/broken"]}, "periodSeconds": 1, "failureThreshold": 1});
    let spec = json!({"terminationGracePeriodSeconds": 0, "containers": [container], "volumes": [{"name": "cache", "emptyDir": {}}]});
    create(&kubectl, &pod("app", spec));
    kubectl.run("wait pod/app --for=condition=Ready --timeout=60s");
    kubectl.run("exec app -- sh -c 'echo kept > /cache/file; echo lost > /tmp/file; touch /tmp/broken'");
    until(&kubectl, "app", "restartCount", "1");
    kubectl.wait_until("exec app -- cat /cache/file", |text| text == "kept\n");
    kubectl.wait_until("exec app -- cat /cache/starts", |text| text.lines().count() == 2);
    let gone = kubectl.fail("exec app -- cat /tmp/file", "");
    assert!(gone.contains("can't open '/tmp/file': No such file or directory"), "{gone}");
}

#[test]
fn a_container_that_its_kubelet_does_not_find_has_ended_somehow() {
    let lab = lab();
    let kubectl = lab.kubectl();
    for (name, policy) in [("always", "Always"), ("never", "Never")] {
        create(&kubectl, &pod(name, json!({"restartPolicy": policy, "containers": [{"name": "c", "image": "nginx"}]})));
        kubectl.run(&format!("wait pod/{name} --for=condition=Ready --timeout=60s"));
    }
    // The machine is started anew, and no container with it.
    lab.kubelab(&["kill", "kubelet-1"]);
    std::fs::remove_file(lab.data_dir().join("node-1/pods.jsonl")).unwrap();
    lab.kubelab(&["restart", "kubelet-1"]);
    until(&kubectl, "always", "restartCount", "1");
    until(&kubectl, "always", "lastState.terminated.reason", "ContainerStatusUnknown");
    until(&kubectl, "always", "lastState.terminated.exitCode", "137");
    let message = "The container could not be located when the pod was terminated";
    until(&kubectl, "always", "lastState.terminated.message", message);
    kubectl.run("wait pod/always --for=condition=Ready --timeout=60s");
    kubectl.wait_until("get pod never --no-headers", |text| text.contains(" ContainerStatusUnknown "));
    kubectl.wait_until("get pod never -o jsonpath={.status.phase}", |text| text == "Failed");
}

#[test]
fn an_annotation_that_makes_no_sense_is_told_of() {
    let lab = lab();
    let kubectl = lab.kubectl();
    let mut web = pod("web", json!({"containers": [{"name": "c", "image": "nginx"}]}));
    web["metadata"]["annotations"] = json!({"kubelab.dev/colour": "blue", "kubelab.dev/exit-code": "many"});
    create(&kubectl, &web);
    kubectl.run("wait pod/web --for=condition=Ready --timeout=60s");
    let events =
        "get events --field-selector reason=InvalidBehavior,involvedObject.name=web -o jsonpath={.items[*].message}";
    kubectl.wait_until(events, |text| {
        text.contains("\"kubelab.dev/colour\"") && text.contains("\"kubelab.dev/exit-code\"")
    });
}
