//! Connections from pods: through Services, by address, and against policies.

use std::net::SocketAddr;

use futures::StreamExt;
use kubelab_kube_proxy_sim::network::{Call, Failure, Network, Protocol};
use serde_json::json;

use crate::rig::Rig;

fn call(to: &str) -> Call {
    let pod = Some(("default".to_owned(), "client".to_owned()));
    Call { from: [10, 244, 1, 99].into(), pod, to: to.parse().unwrap(), protocol: Protocol::Tcp }
}

/// What a pod hears from there.
async fn ask(network: &Network, to: &str) -> Result<String, Failure> {
    let pipe = network.dial(&call(to)).await?;
    drop(pipe.send);
    let heard: Vec<_> = pipe.receive.collect().await;
    let heard: Vec<u8> = heard.into_iter().flat_map(|reply| reply.unwrap().data.to_vec()).collect();
    Ok(String::from_utf8(heard).unwrap())
}

async fn rig(ip: [u8; 4]) -> (Rig, Network) {
    let rig = Rig::new(ip).await;
    let network = rig.network();
    (rig, network)
}

#[tokio::test]
async fn a_pod_reaches_services_and_pods_and_nothing_else() {
    let (rig, network) = rig([127, 99, 4, 1]).await;
    rig.service("web", 30080);
    rig.endpoints("web", &[2, 3]);
    rig.until_rule("10.244.1.3", true).await;
    let mut heard = std::collections::BTreeSet::new();
    while heard.len() < 2 {
        heard.insert(ask(&network, "10.96.0.10:80").await.unwrap());
    }
    assert_eq!(heard.into_iter().collect::<Vec<_>>(), ["10.244.1.2:80 got ", "10.244.1.3:80 got "]);
    assert_eq!(ask(&network, "10.244.1.7:8080").await.unwrap(), "10.244.1.7:8080 got ");

    let refused = |to: &str| Err(Failure::Refused { to: to.parse().unwrap(), protocol: Protocol::Tcp });
    let lost = |to: &str| Err(Failure::NoRoute(to.parse::<SocketAddr>().unwrap()));
    rig.kill(7);
    assert_eq!(ask(&network, "10.244.1.7:80").await, refused("10.244.1.7:80"));
    assert_eq!(ask(&network, "10.244.2.7:80").await, lost("10.244.2.7:80"));
    assert_eq!(ask(&network, "10.96.0.10:81").await, lost("10.96.0.10:81"));
    // Whatever listens on this machine is not of the lab.
    assert_eq!(ask(&network, "127.0.0.2:22").await, lost("127.0.0.2:22"));

    // A node that is listed as a Service's endpoint is no way out either.
    rig.endpoints("web", &[]);
    rig.until_rule("10.244.1.3", false).await;
    assert_eq!(ask(&network, "10.96.0.10:80").await, refused("10.96.0.10:80"));
}

#[tokio::test]
async fn policies_drop_what_they_forbid_as_soon_as_they_are_there() {
    let (rig, network) = rig([127, 99, 4, 2]).await;
    let pod = |name: &str, ip: &str| {
        json!({"metadata": {"name": name, "namespace": "default", "labels": {"app": name}},
               "status": {"phase": "Running", "podIP": ip}})
    };
    rig.api.put("namespaces", json!({"metadata": {"name": "default"}}));
    rig.api.put("pods", pod("client", "10.244.1.99"));
    rig.api.put("pods", pod("web", "10.244.1.2"));
    assert!(ask(&network, "10.244.1.2:80").await.is_ok());
    let policy = |peers: serde_json::Value| {
        json!({"metadata": {"name": "p", "namespace": "default"},
               "spec": {"podSelector": {"matchLabels": {"app": "web"}}, "ingress": peers}})
    };
    rig.api.put("networkpolicies", policy(json!([])));
    let until = async |expected: bool| {
        while ask(&network, "10.244.1.2:80").await.is_ok() != expected {
            tokio::task::yield_now().await;
        }
    };
    until(false).await;
    assert_eq!(ask(&network, "10.244.1.2:80").await, Err(Failure::Dropped("10.244.1.2:80".parse().unwrap())));
    assert!(ask(&network, "10.244.1.3:80").await.is_ok(), "no policy is about this one");
    rig.api.put("networkpolicies", policy(json!([{"from": [{"podSelector": {"matchLabels": {"app": "client"}}}]}])));
    until(true).await;
}
