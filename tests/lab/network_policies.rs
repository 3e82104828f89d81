//! NetworkPolicies: whom they choose, and that a cluster's own add-ons are bound by them as any pod is.

use crate::{
    harness::{Kubectl, Lab, Seen, wait_for},
    ingress,
};

/// A server at several ports, and two pods of another namespace.
const PODS: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: ops, labels: {team: ops}}
---
apiVersion: v1
kind: Pod
metadata: {name: server, labels: {app: server}}
spec:
  containers:
  - {name: sh, image: busybox, command: [sleep, infinity]}
  - {name: web, image: "registry.k8s.io/e2e-test-images/agnhost:2.53", args: [netexec], ports: [{name: http, containerPort: 8080}]}
  - {name: cache, image: "redis:7"}
---
apiVersion: v1
kind: Pod
metadata: {name: probe, namespace: ops, labels: {app: probe}}
spec: {containers: [{name: sh, image: busybox, command: [sleep, infinity]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: other, namespace: ops, labels: {app: other}}
spec:
  containers:
  - {name: sh, image: busybox, command: [sleep, infinity]}
  - {name: web, image: "nginxdemos/hello:plain-text"}
---
apiVersion: v1
kind: Pod
metadata: {name: probe, labels: {app: probe}}
spec: {containers: [{name: sh, image: busybox, command: [sleep, infinity]}]}
"#;

/// How a client that tries a port fares: nc's exit code.
fn reach(kubectl: &Kubectl, pod: &str, ip: &str, port: u16) -> i32 {
    let (namespace, pod) = pod.split_once('/').unwrap();
    kubectl.exit(&format!("exec -n {namespace} {pod} -- nc -z -w 2 {ip} {port}"), "").0.unwrap_or(-1)
}

fn policy(spec: &str) -> String {
    format!(
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: server}}\n\
         spec: {{podSelector: {{matchLabels: {{app: server}}}}, {spec}}}"
    )
}

#[test]
fn policies_choose_peers_and_ports() {
    let lab = Lab::with(&["--apiservers", "1", "--nodes", "2"]);
    let kubectl = lab.kubectl();
    kubectl.run_with("apply -f -", PODS);
    for namespace in ["default", "ops"] {
        kubectl.run(&format!("wait --for=condition=Ready pod --all -n {namespace} --timeout=90s"));
    }
    let address = |pod: &str| {
        let (namespace, pod) = pod.split_once('/').unwrap();
        kubectl.run(&format!("get pod {pod} -n {namespace} -o jsonpath={{.status.podIP}}"))
    };
    let (server, probe, other) = (address("default/server"), address("ops/probe"), address("ops/other"));
    assert_eq!(reach(&kubectl, "default/server", &other, 80), 0);
    for (why, spec, yes, no) in [
        (
            "pods of chosen namespaces alone, at a port by name",
            "ingress: [{from: [{namespaceSelector: {matchLabels: {team: ops}}, podSelector: {matchLabels: {app: probe}}}], \
             ports: [{port: http}]}]"
                .to_owned(),
            &[("ops/probe", 8080)][..],
            &[("ops/other", 8080), ("default/probe", 8080), ("ops/probe", 6379)][..],
        ),
        (
            "a range of ports",
            "ingress: [{ports: [{port: 6000, endPort: 6400}]}]".to_owned(),
            &[("ops/other", 6379)],
            &[("ops/other", 8080)],
        ),
        (
            "a block of addresses but for some",
            format!("ingress: [{{from: [{{ipBlock: {{cidr: 10.244.0.0/16, except: [{probe}/32]}}}}]}}]"),
            &[("ops/other", 8080), ("default/probe", 8080)],
            &[("ops/probe", 8080)],
        ),
        (
            "both directions",
            "policyTypes: [Ingress, Egress], ingress: [{from: [{podSelector: {}}]}]".to_owned(),
            &[("default/probe", 8080)],
            &[("ops/other", 8080)],
        ),
    ] {
        kubectl.run_with("apply -f -", &policy(&spec));
        for (pods, dropped) in [(yes, false), (no, true)] {
            for (pod, port) in pods {
                wait_for(&format!("{why}: {pod} at {port}, dropped: {dropped}"), || {
                    match reach(&kubectl, pod, &server, *port) {
                        code if (code != 0) == dropped => Ok(()),
                        code => Err(Seen(format!("nc exits with {code}"))),
                    }
                });
            }
        }
    }
    // Its own egress is forbidden now, but it reaches itself.
    assert_ne!(reach(&kubectl, "default/server", &other, 80), 0);
    assert_eq!(reach(&kubectl, "default/server", &server, 8080), 0);
}

#[test]
fn the_ingress_controller_and_dns_are_bound_by_policies() {
    let lab = Lab::with(&["--apiservers", "1", "--nodes", "2", "--add-ons", "dns,ingress"]);
    let kubectl = lab.kubectl();
    let door = ingress::install(&kubectl);
    kubectl.run_with("apply -f -", &ingress::server("web"));
    kubectl.run("create ingress web '--rule=web.org/*=web-service:80'");
    kubectl.run("run test --image=busybox -- sleep infinity");
    kubectl.run("rollout status deployment/web --timeout=90s");
    kubectl.run("wait --for=condition=Ready pod/test --timeout=90s");
    let until = |status: u16| {
        wait_for(&format!("the ingress to answer {status}"), || match ingress::ask(&door, "web.org", "/") {
            Ok((seen, text)) if seen == status => Ok(text),
            other => Err(Seen(format!("{other:?}"))),
        })
    };
    until(200);
    let from = |namespace: &str| {
        format!(
            "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: web}}\nspec: {{podSelector: {{matchLabels: \
             {{app: web}}}}, ingress: [{{from: [{{namespaceSelector: {{matchLabels: {{kubernetes.io/metadata.name: \
             {namespace}}}}}}}]}}]}}"
        )
    };
    kubectl.run_with("apply -f -", &from("elsewhere"));
    until(504);
    kubectl.run_with("apply -f -", &from("ingress-nginx"));
    until(200);
    let (code, _, _) = kubectl.exit("exec test -- wget -qO- -T 2 http://web-service", "");
    assert_ne!(code, Some(0), "a pod that is not the controller's");

    // A DNS server that may not ask the API knows no names.
    wait_for("names", || match kubectl.exit("exec test -- nslookup web-service", "") {
        (Some(0), _, _) => Ok(()),
        other => Err(Seen(format!("{other:?}"))),
    });
    let deny = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: dns, namespace: kube-system}\n\
                spec: {podSelector: {matchLabels: {k8s-app: kube-dns}}, policyTypes: [Egress]}";
    kubectl.run_with("apply -f -", deny);
    kubectl.run("rollout restart deployment/coredns -n kube-system");
    kubectl.run("rollout status deployment/coredns -n kube-system --timeout=90s");
    wait_for("names to be unknown", || match kubectl.exit("exec test -- nslookup web-service", "") {
        (Some(0), said, _) => Err(Seen(said)),
        _ => Ok(()),
    });
    kubectl.run("delete networkpolicy dns -n kube-system");
    wait_for("names again", || match kubectl.exit("exec test -- nslookup web-service", "") {
        (Some(0), _, _) => Ok(()),
        other => Err(Seen(format!("{other:?}"))),
    });
}
