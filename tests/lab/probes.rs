//! Probes over the network: what they ask, and what becomes of containers that answer badly. What they say is upstream's
//! wording.

use serde_json::{Value, json};

use crate::harness::{Kubectl, Lab};

const AGNHOST: &str = "registry.k8s.io/e2e-test-images/agnhost:2.53";

fn lab() -> Lab {
    Lab::with(&["--apiservers", "1", "--nodes", "1"])
}

fn pod(name: &str, container: Value) -> String {
    let meta = json!({"name": name, "labels": {"app": name}});
    let spec = json!({"terminationGracePeriodSeconds": 0, "containers": [container]});
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}).to_string()
}

/// A container that is asked every second, with a limit of one failure.
fn asked(image: &str, arguments: &[&str], kind: &str, mut probe: Value) -> Value {
    probe["periodSeconds"] = 1.into();
    probe["failureThreshold"] = 1.into();
    json!({"name": "c", "image": image, "args": arguments, kind: probe})
}

fn until_event(kubectl: &Kubectl, pod: &str, wanted: &str) {
    let events = "-o 'jsonpath={range .items[*]}{.reason}: {.message}{\"\\n\"}{end}'";
    kubectl.wait_until(&format!("get events --field-selector involvedObject.name={pod} {events}"), |text| {
        text.contains(wanted)
    });
}

fn address(kubectl: &Kubectl, pod: &str) -> String {
    kubectl.wait_until(&format!("get pod {pod} -o jsonpath={{.status.podIP}}"), |text| text.starts_with("10."))
}

#[test]
fn the_liveness_example_of_the_documentation_restarts() {
    // https://kubernetes.io/docs/tasks/configure-pod-container/configure-liveness-readiness-startup-probes/
    const EXAMPLE: &str = "
apiVersion: v1
kind: Pod
metadata: {name: liveness-http, labels: {test: liveness}}
spec:
  containers:
  - name: liveness
    image: registry.k8s.io/e2e-test-images/agnhost:2.40
    args: [liveness]
    livenessProbe:
      httpGet:
        path: /healthz
        port: 8080
        httpHeaders: [{name: Custom-Header, value: Awesome}]
      initialDelaySeconds: 3
      periodSeconds: 3
";
    let lab = lab();
    let kubectl = lab.kubectl();
    kubectl.run_with("create -f -", EXAMPLE);
    kubectl.run("wait pod/liveness-http --for=condition=Ready --timeout=60s");
    let healthz = "get --raw /api/v1/namespaces/default/pods/liveness-http:8080/proxy/healthz";
    assert_eq!(kubectl.run(healthz), "ok");
    until_event(&kubectl, "liveness-http", "Unhealthy: Liveness probe failed: HTTP probe failed with statuscode: 500");
    until_event(&kubectl, "liveness-http", "Killing: Container liveness failed liveness probe, will be restarted");
    let restarts = "get pod liveness-http -o jsonpath={.status.containerStatuses[0].restartCount}";
    kubectl.wait_until(restarts, |text| text == "1");
    // The new run is well again.
    kubectl.wait_until(healthz, |text| text == "ok");
}

#[test]
fn http_probes_send_requests() {
    let lab = lab();
    let kubectl = lab.kubectl();
    let ready = |name: &str| kubectl.run(&format!("wait pod/{name} --for=condition=Ready --timeout=60s"));
    let readiness = |get: Value| asked(AGNHOST, &["netexec"], "readinessProbe", json!({"httpGet": get}));

    // A web server's log shows who asked, and what for.
    let mut nginx = asked("nginx", &[], "readinessProbe", json!({"httpGet": {"path": "/ready?full=1", "port": "web"}}));
    nginx["ports"] = json!([{"name": "web", "containerPort": 80}]);
    kubectl.run_with("create -f -", &pod("web", nginx));
    ready("web");
    kubectl.wait_until("logs web", |text| text.contains(r#""GET /ready?full=1 HTTP/1.1" 200 "#));
    assert!(kubectl.run("logs web").contains(r#""kube-probe/1.37""#));

    // Redirects: here they are followed, elsewhere they are told of.
    kubectl.run_with(
        "create -f -",
        &pod("here", readiness(json!({"port": 8080, "path": "/redirect?location=/hostname"}))),
    );
    ready("here");
    let elsewhere = "/redirect?location=http%3A%2F%2Fexample.com%2F";
    kubectl.run_with("create -f -", &pod("elsewhere", readiness(json!({"port": 8080, "path": elsewhere}))));
    ready("elsewhere");
    until_event(
        &kubectl,
        "elsewhere",
        "ProbeWarning: Readiness probe warning: Probe terminated redirects, Response body: ",
    );
    let away = "/redirect?location=/echo%3Fcode%3D418";
    kubectl.run_with("create -f -", &pod("away", readiness(json!({"port": 8080, "path": away}))));
    until_event(&kubectl, "away", "Unhealthy: Readiness probe failed: HTTP probe failed with statuscode: 418");

    // TLS, with a certificate that nobody checks; and a server without it.
    let mut secure = readiness(json!({"port": 8080, "path": "/hostname", "scheme": "HTTPS"}));
    secure["args"] = json!(["netexec", "--tls-cert-file=/localhost.crt", "--tls-private-key-file=/localhost.key"]);
    kubectl.run_with("create -f -", &pod("secure", secure));
    ready("secure");
    kubectl.run_with("create -f -", &pod("plain", readiness(json!({"port": 8080, "path": "/x", "scheme": "HTTPS"}))));
    let ip = address(&kubectl, "plain");
    let why = "http: server gave HTTP response to HTTPS client";
    until_event(&kubectl, "plain", &format!("Readiness probe failed: Get \"https://{ip}:8080/x\": {why}"));

    // Nobody there, no answer, no such port.
    kubectl.run_with("create -f -", &pod("closed", readiness(json!({"port": 81, "path": "/healthz"}))));
    let ip = address(&kubectl, "closed");
    let refused = format!("dial tcp {ip}:81: connect: connection refused");
    until_event(&kubectl, "closed", &format!("Readiness probe failed: Get \"http://{ip}:81/healthz\": {refused}"));
    let slow = asked(
        AGNHOST,
        &["liveness"],
        "readinessProbe",
        json!({"httpGet": {"port": 8080, "path": "/sleep-headers?time=9"}}),
    );
    kubectl.run_with("create -f -", &pod("slow", slow));
    let ip = address(&kubectl, "slow");
    let late = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)";
    until_event(&kubectl, "slow", &format!("failed: Get \"http://{ip}:8080/sleep-headers?time=9\": {late}"));
    kubectl.run_with("create -f -", &pod("unnamed", readiness(json!({"port": "http"}))));
    let unknown =
        "Readiness probe errored and resulted in unknown state: strconv.Atoi: parsing \"http\": invalid syntax";
    until_event(&kubectl, "unnamed", unknown);

    // TCP.
    let tcp = |port: u16| asked("redis", &[], "readinessProbe", json!({"tcpSocket": {"port": port}}));
    kubectl.run_with("create -f -", &pod("redis", tcp(6379)));
    ready("redis");
    kubectl.run_with("create -f -", &pod("deaf", tcp(6380)));
    let ip = address(&kubectl, "deaf");
    until_event(&kubectl, "deaf", &format!("Readiness probe failed: dial tcp {ip}:6380: connect: connection refused"));
}

#[test]
fn grpc_probes_ask_the_health_service() {
    let lab = lab();
    let kubectl = lab.kubectl();
    let ready = |name: &str| kubectl.run(&format!("wait pod/{name} --for=condition=Ready --timeout=60s"));
    let checks = |arguments: &[&str], probe: Value| {
        let arguments = [&["grpc-health-checking"], arguments].concat();
        asked(AGNHOST, &arguments, "readinessProbe", json!({"grpc": probe}))
    };

    // The example of the documentation.
    let command = json!([
        "/usr/local/bin/etcd",
        "--data-dir",
        "/var/lib/etcd",
        "--listen-client-urls",
        "http://0.0.0.0:2379",
        "--advertise-client-urls",
        "http://127.0.0.1:2379",
        "--log-level",
        "debug"
    ]);
    let probe = json!({"grpc": {"port": 2379}, "initialDelaySeconds": 1, "periodSeconds": 1});
    let etcd = json!({"name": "etcd", "image": "registry.k8s.io/etcd:3.5.1-0", "command": command,
        "ports": [{"containerPort": 2379}], "livenessProbe": probe, "readinessProbe": probe});
    kubectl.run_with("create -f -", &pod("etcd-with-grpc", etcd));
    ready("etcd-with-grpc");

    kubectl.run_with(
        "create -f -",
        &pod("named", checks(&["--service", "live"], json!({"port": 5000, "service": "live"}))),
    );
    ready("named");
    kubectl
        .run_with("create -f -", &pod("other", checks(&["--service", "live"], json!({"port": 5000, "service": "x"}))));
    let unknown = "error: health rpc probe failed: rpc error: code = NotFound desc = unknown service";
    until_event(&kubectl, "other", &format!("Unhealthy: Readiness probe failed: {unknown}"));

    // Somebody tells it that it is not well, and that it is.
    kubectl.run_with("create -f -", &pod("told", checks(&[], json!({"port": 5000}))));
    ready("told");
    let tell = |what: &str| kubectl.run(&format!("get --raw /api/v1/namespaces/default/pods/told:8080/proxy/{what}"));
    tell("make-not-serving");
    kubectl.run("wait pod/told --for=condition=Ready=false --timeout=60s");
    until_event(&kubectl, "told", "Readiness probe failed: service unhealthy (responded with \"NOT_SERVING\")");
    tell("make-serving");
    ready("told");

    // A server that speaks something else.
    kubectl.run_with("create -f -", &pod("web", asked("nginx", &[], "readinessProbe", json!({"grpc": {"port": 80}}))));
    let ip = address(&kubectl, "web");
    let failed = format!("timeout: failed to connect service \"{ip}:80\" within 1s: context deadline exceeded");
    until_event(&kubectl, "web", &format!("Readiness probe failed: {failed}"));
}

#[test]
fn hooks_send_requests_too() {
    let lab = lab();
    let kubectl = lab.kubectl();
    let mut web = json!({"name": "c", "image": "nginx"});
    web["lifecycle"] = json!({
        "postStart": {"httpGet": {"port": 80, "path": "/started", "scheme": "HTTPS"}},
        "preStop": {"httpGet": {"port": 80, "path": "/bye"}, },
    });
    let mut spec: Value = serde_json::from_str(&pod("web", web)).unwrap();
    spec["spec"]["terminationGracePeriodSeconds"] = 5.into();
    kubectl.run_with("create -f -", &spec.to_string());
    kubectl.run("wait pod/web --for=condition=Ready --timeout=60s");
    let ip = address(&kubectl, "web");
    let fell_back = format!("request to HTTPS lifecycle hook {ip}:80 got HTTP response, retry with HTTP succeeded");
    until_event(&kubectl, "web", &format!("LifecycleHTTPFallback: {fell_back}"));
    assert!(kubectl.run("logs web").contains(r#""GET /started HTTP/1.1" 200"#));
    assert!(kubectl.run("logs web").contains(r#""kube-lifecycle/1.37""#));
    let mut follow = kubectl.command();
    let follow = follow.args(["logs", "-f", "web"]).stdout(std::process::Stdio::piped()).spawn().unwrap();
    kubectl.run("delete pod web --timeout=60s");
    let said = follow.wait_with_output().unwrap().stdout;
    assert!(String::from_utf8_lossy(&said).contains(r#""GET /bye HTTP/1.1" 200"#));
}
