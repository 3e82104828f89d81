//! The Corefile: what people change in it takes effect, and what is wrong with it is told.

use crate::harness::{Kubectl, Lab, Seen, wait_for};

/// The parts of a ConfigMap with this Corefile.
fn corefile(name: &str, lines: &str) -> String {
    let lines: String = lines.lines().map(|line| format!("    {line}\n")).collect();
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: kube-system}}\ndata:\n  Corefile: |\n{lines}"
    )
}

/// Another DNS server, for another domain; and a pod to ask from.
const ELSEWHERE: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: elsewhere, namespace: kube-system, labels: {app: elsewhere}}
spec:
  serviceAccountName: coredns
  containers:
  - name: coredns
    image: registry.k8s.io/coredns/coredns:v1.13.1
    args: [-conf, /etc/coredns/Corefile]
    volumeMounts: [{name: config, mountPath: /etc/coredns}]
  volumes: [{name: config, configMap: {name: elsewhere}}]
---
apiVersion: v1
kind: Pod
metadata: {name: test}
spec: {containers: [{name: test, image: busybox, command: [sleep, infinity]}]}
"#;

fn until(kubectl: &Kubectl, name: &str, says: &str) {
    wait_for(&format!("{name} to be {says}"), || {
        let said = kubectl.says(&format!("exec test -- nslookup {name}"));
        if said.contains(says) { Ok(()) } else { Err(Seen(said)) }
    });
}

fn until_logged(kubectl: &Kubectl, says: &str) {
    kubectl.wait_until("logs -n kube-system -l k8s-app=kube-dns --tail=-1", |text| text.contains(says));
}

#[test]
fn a_corefile_is_obeyed_and_taken_up_anew_when_it_changes() {
    let lab = Lab::with(&["--apiservers", "1", "--nodes", "1", "--add-ons", "dns"]);
    let kubectl = lab.kubectl();
    kubectl.run_with("apply -f -", &corefile("elsewhere", ".:53 {\n  hosts {\n    192.0.2.7 api.corp.example\n  }\n}"));
    kubectl.run_with("apply -f -", ELSEWHERE);
    kubectl.run("wait --for=condition=Ready pod/test --timeout=90s");
    kubectl.run("wait --for=condition=Ready pod/elsewhere -n kube-system --timeout=90s");
    kubectl.wait_until("get deployment coredns -n kube-system", |text| text.contains("coredns"));
    kubectl.run("rollout status deployment/coredns -n kube-system --timeout=90s");
    until(&kubectl, "kubernetes.default.svc.cluster.local.", "Address: 10.96.0.1\n");
    until(&kubectl, "api.corp.example.", "NXDOMAIN");

    // A stub domain, names of one's own, another name for a Service, and a log of questions.
    let other = kubectl.run("get pod elsewhere -n kube-system -o jsonpath={.status.podIP}");
    let changed = format!(
        ".:53 {{\n    errors\n    log\n    reload 2s\n    rewrite name api.shop kubernetes.default.svc.cluster.local\n    \
         hosts {{\n        192.0.2.9 legacy.example\n        fallthrough\n    }}\n    kubernetes cluster.local in-addr.arpa ip6.arpa \
         {{\n        pods disabled\n        ttl 7\n        fallthrough in-addr.arpa ip6.arpa\n    }}\n    forward . /etc/resolv.conf\n    \
         cache 30\n}}\ncorp.example:53 {{\n    errors\n    cache 30\n    forward . {other}\n}}"
    );
    kubectl.run_with("apply -f -", &corefile("coredns", &changed));
    // The one before was looked at every half a minute; a pod that begins reads what is there.
    kubectl.run("rollout restart deployment/coredns -n kube-system");
    kubectl.run("rollout status deployment/coredns -n kube-system --timeout=90s");
    until(&kubectl, "api.corp.example.", "Address: 192.0.2.7\n");
    until(&kubectl, "legacy.example.", "Address: 192.0.2.9\n");
    until(&kubectl, "api.shop.", "Address: 10.96.0.1\n");
    until(&kubectl, "10-96-0-1.default.pod.cluster.local.", "NXDOMAIN");
    until_logged(&kubectl, "\"A IN legacy.example. udp ");

    // What is wrong is told of, and what was there before goes on.
    kubectl.run_with("apply -f -", &corefile("coredns", ".:53 {\n    reload 2s\n    no-such-plugin\n}"));
    until_logged(&kubectl, "/etc/coredns/Corefile:3 - Error during parsing: Unknown directive 'no-such-plugin'");
    until(&kubectl, "legacy.example.", "Address: 192.0.2.9\n");
    let mended = changed.replace("192.0.2.9", "192.0.2.10").replace("cache 30", "cache 1");
    kubectl.run_with("apply -f -", &corefile("coredns", &mended));
    until_logged(&kubectl, "Reloading complete");
    until(&kubectl, "legacy.example.", "Address: 192.0.2.10\n");
}
