//! What containers do, and what becomes of their pods: scripts that decide, probes, hooks, memory, programs that are not
//! there. A lab each is dear, so each test shows several things on one.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Kubectl, Lab, Seen, wait_for};

fn small_lab(flags: &[&str]) -> Lab {
    Lab::with(&[&["--apiservers", "1", "--nodes", "1"], flags].concat())
}

fn pod(name: &str, spec: Value) -> String {
    let meta = json!({"name": name, "labels": {"app": name}});
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}).to_string()
}

fn script(name: &str, text: &str) -> Value {
    json!({"name": name, "image": "busybox", "command": ["sh", "-c", text]})
}

/// Waits until a container's state, at a JSON path below `status.containerStatuses[0]`, is this.
fn until(kubectl: &Kubectl, pod: &str, path: &str, wanted: &str) {
    let get = format!("get pod {pod} -o jsonpath={{.status.containerStatuses[0].{path}}}");
    kubectl.wait_until(&get, |text| text == wanted);
}

fn until_event(kubectl: &Kubectl, pod: &str, wanted: &str) {
    let events = "-o 'jsonpath={range .items[*]}{.reason}: {.message}{\"\\n\"}{end}'";
    kubectl.wait_until(&format!("get events --field-selector involvedObject.name={pod} {events}"), |text| {
        text.contains(wanted)
    });
}

#[test]
fn scripts_decide_by_their_files() {
    let lab = small_lab(&[]);
    let kubectl = lab.kubectl();
    let mounts = json!([{"name": "data", "mountPath": "/data"}]);
    let with_data = |mut container: Value| {
        container["volumeMounts"] = mounts.clone();
        container
    };
    let volumes = json!([{"name": "data", "emptyDir": {}}]);

    // One container waits for what another writes, and then ends with what it found.
    let waits = with_data(script("waits", "until test -f /data/go; do sleep 0.2; done; exit $(cat /data/go)"));
    let writes = with_data(script("writes", "sleep 1; echo 7 > /data/go; echo written"));
    let spec = json!({"restartPolicy": "Never", "containers": [waits, writes], "volumes": volumes});
    kubectl.run_with("create -f -", &pod("pair", spec));
    kubectl.wait_until("get pod pair -o jsonpath={.status.phase}", |text| text == "Failed");
    let codes = kubectl.run("get pod pair -o jsonpath={.status.containerStatuses[*].state.terminated.exitCode}");
    assert_eq!(codes, "7 0");
    assert_eq!(kubectl.run("logs pair -c writes"), "written\n");

    // A file from outside decides too.
    let spec = json!({"restartPolicy": "Never", "containers": [script("c", "while ! [ -f /tmp/stop ]; do sleep 0.2; done; exit 3")]});
    kubectl.run_with("create -f -", &pod("waits", spec));
    kubectl.run("wait pod/waits --for=condition=Ready --timeout=60s");
    kubectl.run("exec waits -- touch /tmp/stop");
    until(&kubectl, "waits", "state.terminated.exitCode", "3");

    // A trap is run, and its pod is gone long before its grace period is over.
    let trap = script("c", "trap 'echo asked to end; exit 0' TERM; while true; do sleep 0.5; done");
    kubectl.run_with("create -f -", &pod("trap", json!({"containers": [trap]})));
    kubectl.run("wait pod/trap --for=condition=Ready --timeout=60s");
    kubectl.run("delete pod trap --timeout=15s");

    // Without one, process 1 does not hear SIGTERM.
    let deaf = json!({"terminationGracePeriodSeconds": 3, "containers": [script("c", "while true; do date; sleep 0.5; done")]});
    kubectl.run_with("create -f -", &pod("deaf", deaf));
    kubectl.run("wait pod/deaf --for=condition=Ready --timeout=60s");
    let begun = std::time::Instant::now();
    kubectl.run("delete pod deaf --timeout=30s");
    assert!(begun.elapsed() >= Duration::from_secs(2), "it ended after {:?}", begun.elapsed());

    // A kubelet that comes back goes on with the script.
    kubectl.run_with(
        "create -f -",
        &pod("counts", json!({"containers": [script("c", "i=0; while true; do i=$((i+1)); echo $i; sleep 1; done")]})),
    );
    kubectl.wait_until("logs counts", |text| text.lines().count() >= 3);
    lab.kill("kubelet-1");
    kubectl.wait_until("logs counts", |text| text.lines().count() >= 8);
    let log = kubectl.run("logs counts");
    let numbers: Vec<u32> = log.lines().map(|line| line.parse().unwrap()).collect();
    assert!(numbers.is_sorted() && numbers[0] == 1, "nothing is said twice: {numbers:?}");
    until(&kubectl, "counts", "restartCount", "0");
}

#[test]
fn probes_take_out_and_restart() {
    let lab = small_lab(&[]);
    let kubectl = lab.kubectl();
    let mut web = script("web", "touch /tmp/ready /tmp/healthy; sleep 3600");
    web["readinessProbe"] =
        json!({"exec": {"command": ["cat", "/tmp/ready"]}, "periodSeconds": 1, "failureThreshold": 1});
    web["livenessProbe"] =
        json!({"exec": {"command": ["cat", "/tmp/healthy"]}, "periodSeconds": 1, "failureThreshold": 2});
    kubectl.run_with("create -f -", &pod("web", json!({"terminationGracePeriodSeconds": 0, "containers": [web]})));
    kubectl.run("expose pod web --port=80");
    let ready =
        "get endpointslices -l kubernetes.io/service-name=web -o jsonpath={.items[*].endpoints[*].conditions.ready}";
    kubectl.wait_until(ready, |text| text == "true");
    kubectl.run("exec web -- rm /tmp/ready");
    kubectl.wait_until(ready, |text| text == "false");
    until_event(
        &kubectl,
        "web",
        "Unhealthy: Readiness probe failed: cat: can't open '/tmp/ready': No such file or directory",
    );
    kubectl.run("exec web -- touch /tmp/ready");
    kubectl.wait_until(ready, |text| text == "true");
    until(&kubectl, "web", "restartCount", "0");
    kubectl.run("exec web -- rm /tmp/healthy");
    until(&kubectl, "web", "restartCount", "1");
    until_event(&kubectl, "web", "Killing: Container web failed liveness probe, will be restarted");
    // The new run has files of its own.
    kubectl.wait_until(ready, |text| text == "true");
}

#[test]
fn what_cannot_go_well_is_told_of() {
    let lab = small_lab(&[]);
    let kubectl = lab.kubectl();
    let bad = json!({"name": "c", "image": "busybox", "command": ["no-such-program"]});
    kubectl.run_with("create -f -", &pod("bad", json!({"containers": [bad]})));
    until_event(&kubectl, "bad", "exec: \"no-such-program\": executable file not found in $PATH");
    until(&kubectl, "bad", "lastState.terminated.reason", "StartError");
    until(&kubectl, "bad", "state.waiting.reason", "CrashLoopBackOff");

    let unknown = script("c", "no-such-program; echo $?");
    kubectl.run_with("create -f -", &pod("unknown", json!({"restartPolicy": "Never", "containers": [unknown]})));
    kubectl.wait_until("logs unknown", |text| text == "sh: no-such-program: not found\n127\n");
    let broken = script("c", "if then");
    kubectl.run_with("create -f -", &pod("broken", json!({"restartPolicy": "Never", "containers": [broken]})));
    until(&kubectl, "broken", "state.terminated.exitCode", "2");
    assert!(kubectl.run("logs broken").contains("syntax error"));

    let mut hungry = pod(
        "hungry",
        json!({"containers": [{"name": "c", "image": "nginx", "resources": {"limits": {"memory": "100Mi"}}}]}),
    );
    hungry =
        hungry.replace("\"labels\"", "\"annotations\":{\"kubelab.dev/memory-usage\":\"0s:10Mi,2s:200Mi\"},\"labels\"");
    kubectl.run_with("create -f -", &hungry);
    until(&kubectl, "hungry", "lastState.terminated.reason", "OOMKilled");
    until(&kubectl, "hungry", "lastState.terminated.exitCode", "137");

    let mut hooked = script("c", "sleep 3600");
    hooked["lifecycle"] = json!({
        "postStart": {"exec": {"command": ["sh", "-c", "echo started > /data/log"]}},
        "preStop": {"exec": {"command": ["sh", "-c", "echo stopping >> /data/log; sleep 1"]}},
    });
    let mut reader = script("reader", "trap 'sleep 0.5; cat /data/log; exit 0' TERM; sleep 3600 & wait");
    for container in [&mut hooked, &mut reader] {
        container["volumeMounts"] = json!([{"name": "data", "mountPath": "/data"}]);
    }
    let spec = json!({"terminationGracePeriodSeconds": 4, "containers": [hooked, reader], "volumes": [{"name": "data", "emptyDir": {}}]});
    kubectl.run_with("create -f -", &pod("hooked", spec));
    kubectl.run("wait pod/hooked --for=condition=Ready --timeout=60s");
    assert_eq!(kubectl.run("exec hooked -c c -- cat /data/log"), "started\n");
    let mut follow = kubectl.command();
    let follow =
        follow.args(["logs", "-f", "hooked", "-c", "reader"]).stdout(std::process::Stdio::piped()).spawn().unwrap();
    kubectl.run("delete pod hooked --timeout=60s");
    let said = follow.wait_with_output().unwrap().stdout;
    assert_eq!(String::from_utf8_lossy(&said), "started\nstopping\n");
}

#[test]
fn a_script_listens_by_nc() {
    let lab = small_lab(&[]);
    let kubectl = lab.kubectl();
    kubectl.run("run once --image=busybox -- sh -c 'while true; do echo hello | nc -l -p 8080; done'");
    kubectl.run("run always --image=busybox -- nc -lk -p 9000 -e echo served");
    kubectl.run("run client --image=busybox -- sleep infinity");
    kubectl.run("wait pod/once pod/always pod/client --for=condition=Ready --timeout=60s");
    let address = |name: &str| kubectl.run(&format!("get pod {name} -o jsonpath={{.status.podIP}}"));
    let (once, always) = (address("once"), address("always"));
    for said in ["first", "second"] {
        let talk = format!("exec client -- sh -c 'echo {said} | nc -w 2 {once} 8080; nc -w 2 {always} 9000'");
        kubectl.wait_until(&talk, |text| text == "hello\nserved\n");
        kubectl.wait_until("logs once", |text| text.contains(said));
    }
    let taken = kubectl.fail("exec always -- nc -l -p 9000", "");
    assert!(taken.contains("nc: bind: Address already in use"), "{taken}");
}

const BEHAVIORS: &str = r#"
apiVersion: kubelab.dev/v1alpha1
kind: Behaviors
rules:
- match: {image: "team/batch*"}
  behavior: {exit-after: 1s, exit-code: 3}
---
apiVersion: kwok.x-k8s.io/v1alpha1
kind: Stage
metadata: {name: done}
spec:
  resourceRef: {apiGroup: v1, kind: Pod}
  selector: {matchLabels: {app: staged}}
  delay: {durationMilliseconds: 500}
  next:
    statusTemplate: |
      phase: Succeeded
"#;

#[test]
fn a_behaviour_file_says_what_images_do() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("behaviors.yaml");
    std::fs::write(&file, BEHAVIORS).unwrap();
    let lab = small_lab(&["--behaviors", file.to_str().unwrap()]);
    let kubectl = lab.kubectl();
    let once = |image: &str| json!({"restartPolicy": "Never", "containers": [{"name": "c", "image": image}]});
    kubectl.run_with("create -f -", &pod("batch", once("team/batch:2")));
    kubectl.run_with("create -f -", &pod("staged", once("nginx")));
    kubectl.run_with("create -f -", &pod("plain", once("nginx")));
    until(&kubectl, "batch", "state.terminated.exitCode", "3");
    kubectl.wait_until("get pod staged -o jsonpath={.status.phase}", |text| text == "Succeeded");
    kubectl.run("wait pod/plain --for=condition=Ready --timeout=60s");

    // A bad one is refused before anything starts, and the lab keeps the good one.
    lab.kubelab(&["down"]);
    std::fs::write(&file, BEHAVIORS.replace("exit-code: 3", "exit-code: many")).unwrap();
    let refused = lab.try_kubelab(&["up", "--detach", "--behaviors", file.to_str().unwrap()]);
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && text.contains("rule 1 in document 1"), "{text}");
    assert!(text.contains("\"exit-code\" has the value \"many\", but needs a number from 0 to 255"), "{text}");
    lab.up(&[]);
    kubectl.run_with("create -f -", &pod("again", once("team/batch:3")));
    until(&kubectl, "again", "state.terminated.exitCode", "3");
}

#[test]
fn a_running_pod_is_resized() {
    let lab = small_lab(&[]);
    let kubectl = lab.kubectl();
    let resources = json!({"requests": {"cpu": "500m", "memory": "64Mi"}, "limits": {"cpu": "1", "memory": "128Mi"}});
    kubectl.run_with(
        "create -f -",
        &pod("web", json!({"containers": [{"name": "c", "image": "nginx", "resources": resources}]})),
    );
    kubectl.run("wait pod/web --for=condition=Ready --timeout=60s");
    until(&kubectl, "web", "resources.requests.cpu", "500m");
    let resize = |cpu: &str| {
        let resources = format!("{{\"requests\":{{\"cpu\":\"{cpu}\"}},\"limits\":{{\"cpu\":\"{cpu}\"}}}}");
        let patch = format!("{{\"spec\":{{\"containers\":[{{\"name\":\"c\",\"resources\":{resources}}}]}}}}");
        kubectl.run(&format!("patch pod web --subresource resize -p '{patch}'"));
    };
    resize("800m");
    until(&kubectl, "web", "resources.requests.cpu", "800m");
    until(&kubectl, "web", "restartCount", "0");
    let pending = "get pod web -o 'jsonpath={range .status.conditions[?(@.type==\"PodResizePending\")]}{.status} {.reason}: {.message}{end}'";
    resize("64");
    let infeasible = "True Infeasible: Node didn't have enough capacity: cpu, requested: 64000, capacity: 4000";
    kubectl.wait_until(pending, |text| text == infeasible);
    until(&kubectl, "web", "resources.requests.cpu", "800m");
    resize("900m");
    until(&kubectl, "web", "allocatedResources.cpu", "900m");
    kubectl.wait_until(pending, str::is_empty);
}

#[test]
fn a_node_that_runs_out_of_memory_evicts_who_takes_too_much() {
    let lab = small_lab(&[]);
    let kubectl = lab.kubectl();
    let usage = |name: &str, amount: &str, spec: Value| {
        let labels = format!("\"annotations\":{{\"kubelab.dev/memory-usage\":\"{amount}\"}},\"labels\"");
        kubectl.run_with("create -f -", &pod(name, spec).replace("\"labels\"", &labels));
        kubectl.run(&format!("wait pod/{name} --for=condition=Ready --timeout=60s"));
    };
    let asks = json!({"requests": {"memory": "4Gi"}});
    usage("modest", "3Gi", json!({"containers": [{"name": "c", "image": "nginx", "resources": asks}]}));
    usage("greedy", "5100Mi", json!({"containers": [{"name": "c", "image": "nginx"}]}));
    let status = kubectl
        .wait_until("get pod greedy -o jsonpath={.status.phase}/{.status.reason}/{.status.message}", |text| {
            text.starts_with("Failed/Evicted/")
        });
    assert!(
        status.contains("The node was low on resource: memory. Threshold quantity: 100Mi, available: "),
        "{status}"
    );
    assert!(
        status.contains("Container c was using 5100Mi, request is 0, has larger consumption of memory."),
        "{status}"
    );
    let target = "get pod greedy -o 'jsonpath={.status.conditions[?(@.type==\"DisruptionTarget\")].reason}'";
    assert_eq!(kubectl.run(target), "TerminationByKubelet");
    let pressure = "get nodes -o 'jsonpath={.items[*].status.conditions[?(@.type==\"MemoryPressure\")].status}'";
    kubectl.wait_until(pressure, |text| text == "True");
    kubectl.wait_until("get nodes -o jsonpath={.items[*].spec.taints[*].key}", |text| text.contains("memory-pressure"));
    wait_for("the modest pod to stay", || {
        let phase = kubectl.run("get pod modest -o jsonpath={.status.phase}");
        if phase == "Running" { Ok(()) } else { Err(Seen(phase)) }
    });
}
