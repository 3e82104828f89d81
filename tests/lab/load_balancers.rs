//! Services of type LoadBalancer get an address of the lab's, and give it back.

use serde_json::json;

use crate::harness::{Kubectl, Lab, Seen, wait_for};

fn service(name: &str, more: serde_json::Value) -> String {
    let mut spec = json!({"type": "LoadBalancer", "selector": {"app": "web"}, "ports": [{"port": 80}]});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}).to_string()
}

fn address(kubectl: &Kubectl, name: &str) -> String {
    kubectl.wait_until(&format!("get service {name} -o jsonpath={{.status.loadBalancer.ingress[0].ip}}"), |text| {
        text.parse::<std::net::Ipv4Addr>().is_ok()
    })
}

fn events(kubectl: &Kubectl, name: &str, wanted: &[&str]) {
    wait_for(&format!("the events {wanted:?}"), || {
        let reasons = kubectl.says(&format!("events --for service/{name} -o jsonpath={{.items[*].reason}}"));
        if wanted.iter().all(|reason| reasons.contains(reason)) { Ok(()) } else { Err(Seen(reasons)) }
    });
}

#[test]
fn an_address_is_given_and_withdrawn() {
    let lab = Lab::with(&["--apiservers", "1", "--nodes", "1"]);
    let kubectl = lab.kubectl();
    kubectl.run_with("create -f -", &service("web", json!({})));
    let first = address(&kubectl, "web");
    let octets = first.parse::<std::net::Ipv4Addr>().unwrap().octets();
    assert_eq!((octets[0], octets[2]), (127, 251));
    let status = kubectl.json("get service web");
    assert_eq!(status["status"]["loadBalancer"]["ingress"], json!([{"ip": first, "ipMode": "VIP"}]));
    assert_eq!(status["metadata"]["finalizers"], json!(["service.kubernetes.io/load-balancer-cleanup"]));
    assert!(kubectl.run("get service web").contains(&first), "kubectl shows it");
    events(&kubectl, "web", &["EnsuringLoadBalancer", "EnsuredLoadBalancer"]);

    // Each service has its own; one that asks for a certain one gets it, if it is free.
    let wanted = format!("127.{}.251.77", octets[1]);
    kubectl.run_with("create -f -", &service("asks", json!({"loadBalancerIP": wanted})));
    assert_eq!(address(&kubectl, "asks"), wanted);
    kubectl.run_with("create -f -", &service("late", json!({"loadBalancerIP": wanted})));
    events(&kubectl, "late", &["SyncLoadBalancerFailed"]);
    kubectl.run_with("create -f -", &service("other", json!({"loadBalancerClass": "example.com/other"})));
    kubectl.run_with("create -f -", &service("next", json!({})));
    assert_ne!(address(&kubectl, "next"), first);
    assert!(kubectl.run("get service other").contains("<pending>"), "it is another's business");

    // Whoever needs it no longer gives it back.
    kubectl.run(r#"patch service web -p '{"spec":{"type":"ClusterIP"}}'"#);
    kubectl.wait_until("get service web -o jsonpath={.metadata.finalizers}{.status.loadBalancer}", |text| text == "{}");
    events(&kubectl, "web", &["Type", "DeletingLoadBalancer", "DeletedLoadBalancer"]);
    kubectl.run("delete service asks --timeout=60s");
    assert_eq!(address(&kubectl, "late"), wanted, "who waited for it has it now");
    kubectl.run_with("create -f -", &service("again", json!({})));
    assert_eq!(address(&kubectl, "again"), first);

    // What was given stays given.
    lab.kill("controller-manager-1");
    kubectl.run_with("create -f -", &service("last", json!({})));
    let last = address(&kubectl, "last");
    for (name, known) in [("again", &first), ("late", &wanted)] {
        assert_eq!(&address(&kubectl, name), known);
        assert_ne!(&last, known);
    }
}
