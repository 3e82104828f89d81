//! Namespaces, nodes, accounts, certificates, custom resources.

use serde_json::json;

use crate::harness::{Kubectl, Lab};

pub const LOOPS: &[&str] = &[
    "endpointslice-mirroring-controller",
    "node-lifecycle-controller",
    "taint-eviction-controller",
    "node-ipam-controller",
    "ttl-controller",
    "service-lb-controller",
    "serviceaccount-controller",
    "root-ca-certificate-publisher-controller",
    "custom-resource-definition-controller",
    "namespace-controller",
    "resourcequota-controller",
    "pod-garbage-collector-controller",
    "serviceaccount-token-controller",
    "clusterrole-aggregation-controller",
    "bootstrap-signer-controller",
    "token-cleaner-controller",
    "certificatesigningrequest-approving-controller",
    "certificatesigningrequest-signing-controller",
];

/// A kubelet speaks every ten seconds.
const FLAGS: &[&str] = &[
    "--extra-config=controller-manager.node-monitor-period=500ms",
    "--extra-config=controller-manager.node-monitor-grace-period=15s",
    "--extra-config=controller-manager.node-eviction-rate=10",
];

const TEAM: &str = "\
apiVersion: v1
kind: ResourceQuota
metadata: {name: few, namespace: team}
spec: {hard: {pods: '3', configmaps: '5'}}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: team}
spec: {terminationGracePeriodSeconds: 1, containers: [{name: main, image: nginx}]}
---
apiVersion: v1
kind: Secret
metadata: {name: token, namespace: team, annotations: {kubernetes.io/service-account.name: default}}
type: kubernetes.io/service-account-token
";

const SERVICES: &str = "\
apiVersion: v1
kind: Service
metadata: {name: front}
spec: {type: LoadBalancer, selector: {app: front}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: outside}
spec: {ports: [{port: 80}]}
---
apiVersion: v1
kind: Endpoints
metadata: {name: outside}
subsets: [{addresses: [{ip: 192.0.2.7}], ports: [{port: 80}]}]
";

const ROLES: &str = "\
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: sum}
aggregationRule: {clusterRoleSelectors: [{matchLabels: {part: 'yes'}}]}
rules: []
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: part, labels: {part: 'yes'}}
rules: [{apiGroups: [''], resources: [pods], verbs: [get]}]
";

#[test]
fn the_cluster_comes_out_as_wanted() {
    let made = super::survive(FLAGS, LOOPS, |lab, kubectl| {
        namespaces(kubectl);
        services(kubectl);
        crate::access::machines_join(lab);
        tokens_expire(kubectl);
        roles(kubectl);
        custom_resources(kubectl);
        nodes(lab, kubectl);
    });
    assert_eq!(made, super::counts([("moves", 2)]), "what was ever made");
}

fn namespaces(kubectl: &Kubectl) {
    kubectl.run("create namespace team");
    kubectl.wait_until("get -n team serviceaccounts,configmaps -o name", |text| {
        text == "serviceaccount/default\nconfigmap/kube-root-ca.crt\n"
    });
    // A quota of which nothing is known yet lets nothing in.
    let (quota, others) = TEAM.split_once("---\n").unwrap();
    kubectl.run_with("create -f -", quota);
    kubectl.wait_until("get -n team quota few -o jsonpath={.status.used.pods}", |text| text == "0");
    kubectl.run_with("create -f -", others);
    let used = "get -n team quota few -o jsonpath={.status.used.pods}/{.status.used.configmaps}";
    kubectl.wait_until(used, |text| text == "1/1");
    kubectl.wait_until("get -n team secret token -o jsonpath={.data.token}", |text| !text.is_empty());
    kubectl.run("wait -n team pod/web --for=condition=Ready --timeout=120s");
    kubectl.run("delete namespace team --timeout=180s");
}

fn services(kubectl: &Kubectl) {
    kubectl.run_with("create -f -", SERVICES);
    let address = "get service front -o jsonpath={.status.loadBalancer.ingress[0].ip}";
    let address = kubectl.wait_until(address, |text| text.starts_with("127."));
    let slices = "get endpointslices -l kubernetes.io/service-name=outside -o \
                  jsonpath={.items[*].endpoints[*].addresses[*]}";
    kubectl.wait_until(slices, |text| text == "192.0.2.7");
    kubectl.run("delete service front --timeout=120s");
    kubectl.run_with("create -f -", SERVICES.split("---").next().unwrap());
    kubectl.wait_until("get service front -o jsonpath={.status.loadBalancer.ingress[0].ip}", |text| text == address);
    kubectl.run("delete service front outside --timeout=120s");
    kubectl.wait_until(slices, str::is_empty);
}

fn tokens_expire(kubectl: &Kubectl) {
    let soon = (jiff::Timestamp::now() + jiff::SignedDuration::from_secs(2)).to_string();
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "bootstrap.kubernetes.io/token",
        "metadata": {"name": "bootstrap-token-fedcba", "namespace": "kube-system"},
        "stringData": {"token-id": "fedcba", "token-secret": "0123456789abcdef", "expiration": soon},
    });
    kubectl.run_with("create -f -", &secret.to_string());
    kubectl.run("wait -n kube-system secret/bootstrap-token-fedcba --for=delete --timeout=120s");
}

fn roles(kubectl: &Kubectl) {
    kubectl.run_with("create -f -", ROLES);
    kubectl.wait_until("get clusterrole sum -o jsonpath={.rules[*].verbs}", |text| text == r#"["get"]"#);
}

fn custom_resources(kubectl: &Kubectl) {
    kubectl.run_with("create -f -", include_str!("../gears.yaml"));
    kubectl.run("wait --for=condition=Established crd/gears.lab.example.com --timeout=60s");
    let gear = json!({"apiVersion": "lab.example.com/v1", "kind": "Gear", "metadata": {"name": "a"},
        "spec": {"teeth": 12}});
    kubectl.run_with("create -f -", &gear.to_string());
    kubectl.run("delete crd gears.lab.example.com --timeout=120s");
}

/// One comes, and one falls silent, so that its pod goes elsewhere.
fn nodes(lab: &Lab, kubectl: &Kubectl) {
    lab.kubelab(&["add", "node"]);
    kubectl.wait_until("get node node-3 -o jsonpath={.spec.podCIDR}", |text| text.ends_with("/24"));
    let ttl = r"get node node-3 -o jsonpath={.metadata.annotations.node\.alpha\.kubernetes\.io/ttl}";
    kubectl.wait_until(ttl, |text| text == "0");

    let patience = json!([
        {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 1},
        {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 1},
    ]);
    let template = json!({
        "metadata": {"labels": {"app": "moves"}},
        "spec": {"terminationGracePeriodSeconds": 1, "tolerations": patience,
            "containers": [{"name": "main", "image": "nginx"}]},
    });
    let moves = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "moves"},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "moves"}}, "template": template},
    });
    kubectl.run_with("create -f -", &moves.to_string());
    kubectl.run("rollout status deployment/moves --timeout=120s");
    let node = kubectl.run("get pods -l app=moves -o jsonpath={.items[0].spec.nodeName}");
    let kubelet = node.replace("node", "kubelet");
    lab.kubelab(&["pause", &kubelet]);
    let there = format!(
        "get pods -l app=moves --field-selector spec.nodeName={node} -o jsonpath={{.items[*].metadata.deletionTimestamp}}"
    );
    kubectl.wait_until(&there, |text| !text.is_empty());
    kubectl.wait_until("get deployment moves -o jsonpath={.status.readyReplicas}", |text| text == "1");
    // It will not come back: whatever lingers there is removed.
    kubectl.run(&format!("taint node {node} node.kubernetes.io/out-of-service=nodeshutdown:NoExecute"));
    kubectl.wait_until("get pods -l app=moves -o name", |text| text.lines().count() == 1);
    lab.kubelab(&["resume", &kubelet]);
    kubectl.wait_until(&format!("get node {node} -o jsonpath={{.spec.taints[*].key}}"), |text| {
        text == "node.kubernetes.io/out-of-service"
    });
}
