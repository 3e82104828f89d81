//! Many nodes in a process.

use crate::harness::{Lab, Seen, wait_for};

#[test]
fn nodes_share_processes_and_are_nodes_all_the_same() {
    let lab = Lab::with(&["--apiservers", "1", "--nodes", "6", "--nodes-per-process", "3"]);
    let kubectl = lab.kubectl();
    let role = |process: &str| {
        let status = lab.status();
        let found = status["components"].as_array().unwrap().iter().find(|c| c["name"] == process).cloned();
        found.map_or_else(String::new, |found| found["role"].as_str().unwrap().to_owned())
    };
    assert_eq!((role("kubelets-1"), role("kubelets-2")), ("3 of 3 nodes Ready".into(), "3 of 3 nodes Ready".into()));
    kubectl.run("create deployment web --image=nginx --replicas=12");
    kubectl.run("rollout status deployment/web --timeout=120s");
    let nodes = kubectl.run("get pods -l app=web -o jsonpath={.items[*].spec.nodeName}");
    let distinct: std::collections::BTreeSet<_> = nodes.split_whitespace().collect();
    assert_eq!(distinct.len(), 6, "{nodes}");
    // Each node has an address of its own, and its own pods' logs.
    let pod =
        kubectl.run("get pods -l app=web --field-selector=spec.nodeName=node-5 -o jsonpath={.items[0].metadata.name}");
    assert!(kubectl.run(&format!("exec {pod} -- hostname")).contains(&pod));
    let restarts =
        || kubectl.run("get pods -l app=web -o jsonpath={.items[*].status.containerStatuses[*].restartCount}");
    assert!(!restarts().contains('1'));

    // A process that dies takes its nodes with it, and their containers outlive it.
    lab.kill_and_wait("kubelets-2");
    wait_for("the nodes to be back", || match role("kubelets-2").as_str() {
        "3 of 3 nodes Ready" => Ok(()),
        now => Err(Seen(now.to_owned())),
    });
    assert!(kubectl.run(&format!("exec {pod} -- hostname")).contains(&pod));
    assert!(!restarts().contains('1'), "containers outlive their kubelet");

    lab.kubelab(&["add", "node"]);
    kubectl.wait_until("get nodes", |text| text.lines().any(|line| line.contains("node-7") && line.contains(" Ready")));
    assert!(lab.kubelab(&["status"]).contains("kubelets-3"));
    lab.kubelab(&["remove", "node", "node-2"]);
    kubectl.wait_until("get nodes", |text| !text.contains("node-2 "));
    kubectl.run("rollout status deployment/web --timeout=120s");
    wait_for("the other nodes of the process", || match role("kubelets-1").as_str() {
        "2 of 2 nodes Ready" => Ok(()),
        now => Err(Seen(now.to_owned())),
    });
    assert!(!restarts().contains('1'));
}
