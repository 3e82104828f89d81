//! The node's own object and heartbeat.

use serde_json::json;

use crate::{
    fake::Fake,
    rig::{Rig, node_condition},
};

#[tokio::test]
async fn a_node_registers_and_is_ready_once_it_has_a_network() {
    let rig = Rig::without_network();
    let is_registered = |api: &Fake| node_condition(api, "MemoryPressure").0 == "False";
    rig.api.until("the node is registered", is_registered).await;
    assert_eq!(node_condition(&rig.api, "Ready"), ("False".to_owned(), "KubeletNotReady".to_owned()));
    rig.run("early", json!({}), json!({"containers": [{"name": "web"}]}));
    rig.until_event(
        "NetworkNotReady",
        "network is not ready: container runtime network not ready: NetworkReady=false \
        reason:NetworkPluginNotReady message:Network plugin returns error: cni plugin not initialized",
    )
    .await;

    rig.give_network();
    rig.api.until("the node is ready", |api| node_condition(api, "Ready").1 == "KubeletReady").await;
    let pod = rig.until("early", "/status/phase", json!("Running")).await;
    assert_eq!(pod["status"]["podIP"], "10.244.1.2");

    let node = rig.api.object("nodes", "", "node-1").unwrap();
    assert_eq!(node["metadata"]["labels"]["kubernetes.io/hostname"], "node-1");
    assert_eq!(
        node["status"]["addresses"],
        json!([
        {"type": "InternalIP", "address": "127.0.0.1"}, {"type": "Hostname", "address": "node-1"}])
    );
    assert_eq!(node["status"]["capacity"]["cpu"], "4");
    assert_eq!(node["status"]["nodeInfo"]["kubeletVersion"], "v1.37.0");
    assert_eq!(node["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"], 10250);
    rig.until_event("NodeReady", "Node node-1 status is now: NodeReady").await;
    rig.until_event("Starting", "Starting kubelet.").await;
}

#[tokio::test]
async fn a_lease_is_the_heartbeat() {
    let rig = Rig::new().await;
    rig.api.until("there is a Lease", |api| api.object("leases", "kube-node-lease", "node-1").is_some()).await;
    let lease = rig.api.object("leases", "kube-node-lease", "node-1").unwrap();
    assert_eq!(lease["spec"]["holderIdentity"], "node-1");
    assert_eq!(lease["spec"]["leaseDurationSeconds"], 40);
}

#[tokio::test]
async fn a_deleted_node_registers_again() {
    let rig = Rig::new().await;
    rig.api.delete_now("nodes", "", "node-1");
    rig.api.until("the node is back", |api| api.object("nodes", "", "node-1").is_some()).await;
    // It still has its network, so it is ready at once.
    assert_eq!(node_condition(&rig.api, "Ready").0, "True");
}
