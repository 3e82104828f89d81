//! A node falls silent: it is said to be unknown, tainted, its pods go elsewhere; and when it speaks again, all is well.

use serde_json::json;

use crate::harness::Lab;

/// Upstream's way, with shorter times. A kubelet speaks every ten seconds.
const QUICK: [&str; 4] = [
    "--extra-config=controller-manager.node-monitor-period=500ms",
    "--extra-config=controller-manager.node-monitor-grace-period=15s",
    "--extra-config=controller-manager.node-eviction-rate=10",
    "--nodes=2",
];

#[test]
fn a_silent_nodes_pods_go_elsewhere() {
    let mut flags = vec!["--apiservers", "1"];
    flags.extend(QUICK);
    let lab = Lab::with(&flags);
    let kubectl = lab.kubectl();
    assert_eq!(
        kubectl.run(r"get node node-1 -o jsonpath={.metadata.annotations.node\.alpha\.kubernetes\.io/ttl}"),
        "0"
    );
    let tolerations = json!([
        {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 2},
        {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 2},
    ]);
    let template = json!({
        "metadata": {"labels": {"app": "web"}},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "tolerations": tolerations,
            "containers": [{"name": "c", "image": "nginx"}],
        },
    });
    let web = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {"replicas": 4, "selector": {"matchLabels": {"app": "web"}}, "template": template},
    });
    kubectl.run_with("create -f -", &web.to_string());
    kubectl.run("rollout status deployment/web --timeout=120s");
    let on_node_2 = "get pods -l app=web --field-selector=spec.nodeName=node-2 -o name";
    let before = kubectl.run(on_node_2);
    assert!(!before.is_empty(), "pods are on both nodes");

    lab.kubelab(&["pause", "kubelet-2"]);
    let condition = "get node node-2 -o 'jsonpath={.status.conditions[?(@.type==\"Ready\")].status}'";
    kubectl.wait_until(condition, |text| text == "Unknown");
    kubectl.wait_until("get node node-2", |text| text.contains("NotReady"));
    let all = "node.kubernetes.io/unreachable:NoSchedule node.kubernetes.io/unreachable:NoExecute ";
    kubectl
        .wait_until("get node node-2 -o 'jsonpath={range .spec.taints[*]}{.key}:{.effect} {end}'", |text| text == all);
    kubectl.wait_until("get events --field-selector reason=NodeNotReady", |text| {
        text.contains("Node node-2 status is now: NodeNotReady")
    });
    // The pods are told to go, and others take their place; who could end them is silent, so they linger.
    kubectl.wait_until("get events --field-selector reason=TaintManagerEviction", |text| {
        text.contains("Marking for deletion Pod default/web-")
    });
    kubectl.run("rollout status deployment/web --timeout=120s");
    let lingering = kubectl.run(on_node_2);
    assert_eq!(lingering, before, "they linger");

    // An administrator says that the node will not come back: they are gone at once, kubelet or not.
    kubectl.run("taint node node-2 node.kubernetes.io/out-of-service=nodeshutdown:NoExecute");
    kubectl.wait_until(on_node_2, str::is_empty);
    kubectl.run("taint node node-2 node.kubernetes.io/out-of-service-");

    lab.kubelab(&["resume", "kubelet-2"]);
    kubectl.wait_until(condition, |text| text == "True");
    kubectl.wait_until("get node node-2 -o jsonpath={.spec.taints}", str::is_empty);
}
