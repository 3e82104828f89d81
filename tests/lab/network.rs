//! The network of pods: Services, names, the API from within, and what NetworkPolicies forbid.

use std::collections::BTreeSet;

use crate::harness::{Kubectl, Lab, Seen, wait_for};

const APPLICATION: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: hello}
spec:
  replicas: 3
  selector: {matchLabels: {app: hello}}
  template:
    metadata: {labels: {app: hello}}
    spec: {containers: [{name: hello, image: "nginxdemos/hello:plain-text", ports: [{name: http, containerPort: 80}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: hello}
spec: {selector: {app: hello}, ports: [{name: http, port: 8080, targetPort: http}]}
---
apiVersion: v1
kind: Service
metadata: {name: nobody}
spec: {selector: {app: nobody}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: outside}
spec: {type: ExternalName, externalName: db.example.com}
---
apiVersion: v1
kind: Service
metadata: {name: mysql}
spec: {clusterIP: None, selector: {app: mysql}, ports: [{name: sql, port: 3306}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: mysql}
spec:
  serviceName: mysql
  replicas: 2
  selector: {matchLabels: {app: mysql}}
  template:
    metadata: {labels: {app: mysql}}
    spec: {containers: [{name: mysql, image: "mysql:8.0"}]}
---
apiVersion: v1
kind: Pod
metadata: {name: test, labels: {app: test}}
spec:
  hostAliases: [{ip: 10.1.2.3, hostnames: [alias.local]}]
  containers: [{name: test, image: busybox, command: [sleep, infinity]}]
"#;

/// A lab with cluster DNS and the application, all of it ready.
fn lab() -> (Lab, Kubectl) {
    let lab = Lab::with(&["--apiservers", "1", "--nodes", "2", "--add-ons", "dns"]);
    let kubectl = lab.kubectl();
    kubectl.run_with("apply -f -", APPLICATION);
    ready(&kubectl);
    (lab, kubectl)
}

fn ready(kubectl: &Kubectl) {
    kubectl.wait_until("get deployment coredns -n kube-system", |text| text.contains("coredns"));
    kubectl.run("rollout status deployment/coredns -n kube-system --timeout=90s");
    kubectl.run("rollout status deployment/hello --timeout=90s");
    kubectl.run("rollout status statefulset/mysql --timeout=90s");
    kubectl.run("wait --for=condition=Ready pod/test --timeout=90s");
}

/// What a program in the pod `test` says, and how it exits.
fn exec(kubectl: &Kubectl, command: &str) -> (i32, String) {
    let (code, out, err) = kubectl.exit(&format!("exec test -- {command}"), "");
    (code.unwrap_or(-1), out + &err)
}

fn server_name(page: &str) -> Option<String> {
    page.lines().find_map(|line| line.strip_prefix("Server name: ")).map(str::to_owned)
}

#[test]
fn pods_reach_services_by_name_and_each_other_by_address() {
    let (_lab, kubectl) = lab();

    let mut names = BTreeSet::new();
    wait_for("a Service to lead to several pods", || {
        names.extend(server_name(&exec(&kubectl, "wget -qO- http://hello:8080").1));
        if names.len() > 1 { Ok(()) } else { Err(Seen(format!("{names:?}"))) }
    });

    let pods = kubectl.json("get pods -l app=hello");
    let pods = pods["items"].as_array().unwrap();
    let nodes: BTreeSet<&str> = pods.iter().map(|pod| pod["spec"]["nodeName"].as_str().unwrap()).collect();
    assert_eq!(nodes.len(), 2, "the pods are on both nodes");
    for pod in pods {
        let page =
            exec(&kubectl, &format!("wget -qO- http://{}/some/page", pod["status"]["podIP"].as_str().unwrap())).1;
        assert_eq!(server_name(&page).as_deref(), pod["metadata"]["name"].as_str(), "{page}");
        assert!(page.contains("URI: /some/page"), "{page}");
    }

    let own = kubectl.json("get pod test")["status"]["podIP"].as_str().unwrap().to_owned();
    let logs = kubectl.run("logs -l app=hello --tail=-1");
    assert!(logs.contains(&format!("{own} - - [")), "servers see who asks: {logs}");

    for (command, code, says) in [
        (
            "curl -s -o /dev/null -w '%{http_code} %{remote_port}' http://hello.default.svc.cluster.local:8080/",
            0,
            "200 8080",
        ),
        ("curl -sS http://missing", 6, "curl: (6) Could not resolve host: missing"),
        ("curl -sS http://nobody", 7, "curl: (7) Failed to connect to nobody port 80 after "),
        ("wget -qO- http://missing", 1, "wget: bad address 'missing'"),
        ("wget -O- http://nobody", 1, "Connection refused"),
        ("nc -z hello 8080", 0, ""),
        ("nc -z hello 8081", 1, ""),
        ("nc -zv mysql-0.mysql 3306", 0, ":3306) open"),
        ("curl -sk https://kubernetes.default/version", 0, "\"gitVersion\""),
        ("curl -sS https://kubernetes.default/version", 60, "unable to get local issuer certificate"),
        ("curl -s -m 2 http://10.1.2.3/", 7, ""),
        ("getent hosts alias.local", 0, "10.1.2.3        alias.local"),
        (
            "cat /etc/resolv.conf",
            0,
            "search default.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\n",
        ),
    ] {
        let (status, said) = exec(&kubectl, command);
        assert!(status == code && said.contains(says), "{command}: {status}, {said:?}; wanted {code}, {says:?}");
    }
}

#[test]
fn names_are_resolved_by_the_clusters_own_dns() {
    let (lab, kubectl) = lab();

    let looked_up = kubectl.run("run once --image=busybox --restart=Never --rm -i -- nslookup kubernetes.default");
    assert!(
        looked_up.contains("Server:\t\t10.96.0.10")
            && looked_up.contains("Name:\tkubernetes.default.svc.cluster.local\nAddress: 10.96.0.1\n"),
        "{looked_up}"
    );
    let address = kubectl.json("get pod mysql-0")["status"]["podIP"].as_str().unwrap().to_owned();
    for (command, code, says) in [
        ("nslookup mysql-0.mysql.default.svc.cluster.local", 0, format!("Address: {address}\n")),
        ("nslookup outside", 0, "outside.default.svc.cluster.local\tcanonical name = db.example.com\n".to_owned()),
        ("nslookup -type=srv _sql._tcp.mysql", 0, "mysql-0.mysql.default.svc.cluster.local".to_owned()),
        ("nslookup 10.96.0.1", 0, "name = kubernetes.default.svc.cluster.local\n".to_owned()),
        ("nslookup nobody.anywhere", 1, "** server can't find nobody.anywhere: NXDOMAIN".to_owned()),
        ("dig +short +search hello", 0, "10.".to_owned()),
        ("ping -c 1 mysql-0.mysql", 0, "1 packets transmitted, 1 packets received, 0% packet loss".to_owned()),
    ] {
        let (status, said) = exec(&kubectl, command);
        assert!(status == code && said.contains(&says), "{command}: {status}, {said:?}; wanted {code}, {says:?}");
    }
    let pods = kubectl.run("get pods -n kube-system -l k8s-app=kube-dns");
    assert_eq!(pods.matches("Running").count(), 2, "{pods}");
    let account = "system:serviceaccount:kube-system:coredns";
    assert_eq!(kubectl.exit(&format!("auth can-i list services --as={account}"), "").1.trim(), "yes");
    assert_eq!(kubectl.exit(&format!("auth can-i list secrets --as={account}"), "").1.trim(), "no");

    // As in any cluster, DNS is only pods.
    kubectl.run("scale deployment/coredns -n kube-system --replicas=0");
    wait_for("names to be gone with the pods that know them", || {
        let (status, said) = exec(&kubectl, "nslookup kubernetes.default");
        if status == 1 && said.contains("no servers could be reached") { Ok(()) } else { Err(Seen(said)) }
    });
    kubectl.run("scale deployment/coredns -n kube-system --replicas=1");
    wait_for("names to come back", || {
        let (status, said) = exec(&kubectl, "nslookup kubernetes.default");
        if status == 0 { Ok(()) } else { Err(Seen(said)) }
    });

    // What users delete stays away.
    kubectl.run("delete deployment/coredns -n kube-system");
    lab.kubelab(&["down"]);
    lab.up(&[]);
    kubectl.wait_until("get service kube-dns -n kube-system", |text| text.contains("10.96.0.10"));
    assert!(kubectl.says("get deployment coredns -n kube-system").contains("NotFound"));
}

#[test]
fn policies_decide_who_may_connect() {
    let (_lab, kubectl) = lab();
    let reach = |url: &str| exec(&kubectl, &format!("curl -s -o /dev/null -m 3 {url}")).0;
    assert_eq!(reach("http://hello:8080"), 0);

    let deny = r#"{"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "deny"},
        "spec": {"podSelector": {"matchLabels": {"app": "hello"}}, "policyTypes": ["Ingress"]}}"#;
    kubectl.run_with("apply -f -", deny);
    wait_for("packets to be dropped", || match reach("http://hello:8080") {
        28 => Ok(()),
        code => Err(Seen(format!("curl exits with {code}"))),
    });

    let allow = r#"{"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "allow"},
        "spec": {"podSelector": {"matchLabels": {"app": "hello"}}, "ingress": [
            {"from": [{"podSelector": {"matchLabels": {"access": "granted"}}}], "ports": [{"port": "http"}]}]}}"#;
    kubectl.run_with("apply -f -", allow);
    assert_eq!(reach("http://hello:8080"), 28, "test is not granted access");
    kubectl.run("label pod test access=granted");
    wait_for("the label to open the way", || match reach("http://hello:8080") {
        0 => Ok(()),
        code => Err(Seen(format!("curl exits with {code}"))),
    });

    let egress = r#"{"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "dns-only"},
        "spec": {"podSelector": {"matchLabels": {"app": "test"}}, "policyTypes": ["Egress"], "egress": [
            {"to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}}],
             "ports": [{"protocol": "UDP", "port": 53}]}]}}"#;
    kubectl.run_with("apply -f -", egress);
    wait_for("only names to be left", || match reach("http://hello:8080") {
        28 => Ok(()),
        code => Err(Seen(format!("curl exits with {code}"))),
    });
    assert_eq!(exec(&kubectl, "nslookup hello").0, 0);
    kubectl.run("delete networkpolicy --all");
    wait_for("the way to be free again", || match reach("http://hello:8080") {
        0 => Ok(()),
        code => Err(Seen(format!("curl exits with {code}"))),
    });
}
