//! A node falls silent: it is said to be unknown, tainted, its pods go elsewhere; and when it speaks again, all is well.

use futures::StreamExt;
use k8s_openapi::api::core::v1::Node;
use kube::{
    Api,
    runtime::{WatchStreamExt, watcher},
};
use serde_json::json;

use crate::harness::{Lab, PATIENCE};

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

/// Whether the node is ready, and the effects of the taints that say why not.
fn state(node: &Node) -> String {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let ready = conditions.filter(|condition| condition.type_ == "Ready").map(|condition| condition.status.clone());
    let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    let mut words: Vec<String> = ready.collect();
    words.extend(taints.map(|taint| taint.effect.clone()));
    words.join(" ")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_goes_and_comes_back_step_by_step() {
    let mut flags = vec!["--apiservers", "1"];
    flags.extend(QUICK);
    let lab = Lab::with(&flags);
    let nodes: Api<Node> = Api::all(lab.client().await);
    let only = watcher::Config::default().fields("metadata.name=node-2");
    let mut changes = std::pin::pin!(watcher(nodes, only).applied_objects());
    let mut states: Vec<String> = Vec::new();
    let follow = async {
        while states.last().map(String::as_str) != Some("True") || states.len() < 3 {
            let Some(Ok(node)) = changes.next().await else { continue };
            let state = state(&node);
            if states.last() == Some(&state) {
                continue;
            }
            match states.len() {
                0 => drop(lab.kubelab(&["pause", "kubelet-2"])),
                _ if state == "Unknown NoSchedule NoExecute" => drop(lab.kubelab(&["resume", "kubelet-2"])),
                _ => {}
            }
            states.push(state);
        }
    };
    let ended = tokio::time::timeout(PATIENCE, follow).await;
    assert!(ended.is_ok(), "waited too long; the states were {states:?}");
    // Said to be silent, kept from new pods, told to let its pods go; taints go when it speaks again.
    let down = ["True", "Unknown", "Unknown NoSchedule"].into_iter().map(str::to_owned);
    let down: Vec<String> = down.collect();
    let steps = states.iter().position(|state| state == "Unknown NoSchedule NoExecute").unwrap();
    assert!(states[..steps].iter().all(|state| down.contains(state)) && states[0] == "True", "{states:?}");
    assert!(states[steps + 1..].iter().all(|state| state.starts_with("True")), "{states:?}");
}
