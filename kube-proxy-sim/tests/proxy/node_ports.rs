//! Node ports, as clients see them.

use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

use serde_json::json;
use tokio::net::TcpStream;

use crate::rig::Rig;

#[tokio::test]
async fn a_node_port_leads_to_every_pod() {
    let rig = Rig::new([127, 0, 77, 1]).await;
    rig.service("hello", 30080);
    rig.endpoints("hello", &[2, 3, 4]);
    rig.until_open(30080, true).await;
    let mut answers = BTreeSet::new();
    for _ in 0..200 {
        answers.insert(rig.ask(30080, "hi").await.unwrap());
        if answers.len() == 3 {
            break;
        }
    }
    let expected = ["10.244.1.2:80 got hi", "10.244.1.3:80 got hi", "10.244.1.4:80 got hi"];
    assert_eq!(answers, expected.map(str::to_owned).into());
    let metrics = kubelab_client::metrics::encode();
    for name in [
        "kubeproxy_sync_proxy_rules_duration_seconds_count ",
        "kubeproxy_sync_proxy_rules_iptables_total{ip_family=\"IPv4\",table=\"nat\"} ",
        "kubeproxy_sync_proxy_rules_no_local_endpoints_total{ip_family=\"IPv4\",traffic_policy=\"external\"} ",
        "kubeproxy_sync_proxy_rules_service_changes_total ",
        "kubeproxy_sync_proxy_rules_endpoint_changes_pending ",
        "kubeproxy_sync_proxy_rules_last_timestamp_seconds ",
    ] {
        assert!(metrics.contains(&format!("\n{name}")), "{name} in\n{metrics}");
    }
}

#[tokio::test]
async fn a_pod_that_does_not_answer_is_passed_over() {
    let rig = Rig::new([127, 0, 77, 2]).await;
    rig.service("hello", 30080);
    rig.endpoints("hello", &[2, 3]);
    rig.until_open(30080, true).await;
    rig.kill(2);
    for _ in 0..20 {
        assert_eq!(rig.ask(30080, "hi").await.unwrap(), "10.244.1.3:80 got hi");
    }
    rig.kill(3);
    assert_eq!(rig.ask(30080, "").await.unwrap_or_default(), "", "closed without an answer");
}

#[tokio::test]
async fn a_port_is_open_while_it_leads_somewhere() {
    let rig = Rig::new([127, 0, 77, 3]).await;
    rig.service("hello", 30080);
    rig.until_rule("has no endpoints", true).await;
    rig.until_open(30080, false).await;
    rig.endpoints("hello", &[2]);
    rig.until_open(30080, true).await;
    rig.service("hello", 30081);
    rig.until_open(30081, true).await;
    rig.until_open(30080, false).await;
    rig.endpoints("hello", &[]);
    rig.until_open(30081, false).await;
    rig.api.delete_now("services", "default", "hello");
    rig.until_rule("default/hello", false).await;
}

#[tokio::test]
async fn a_taken_port_is_told_of_and_opened_once_it_is_free() {
    let rig = Rig::new([127, 0, 77, 4]).await;
    let squatter = tokio::net::TcpListener::bind(SocketAddr::new(rig.ip, 30080)).await.unwrap();
    rig.service("hello", 30080);
    rig.endpoints("hello", &[2]);
    let told =
        |api: &crate::fake::Fake| api.objects("events").iter().any(|event| event["reason"] == "FailedToOpenNodePort");
    rig.api.until("the service is told", told).await;
    drop(squatter);
    rig.until_open(30080, true).await;
    assert_eq!(rig.ask(30080, "hi").await.unwrap(), "10.244.1.2:80 got hi");
}

#[tokio::test]
async fn datagrams_of_a_client_go_one_way_until_it_ends() {
    let rig = Rig::new([127, 0, 77, 5]).await;
    rig.service_of("dns", 30053, "UDP");
    rig.endpoints_of("dns", &[2, 3, 4], "UDP");
    rig.until_rule("default/dns -> 10.244.1.4:80", true).await;
    let ask = async |socket: &tokio::net::UdpSocket| {
        let mut buffer = [0; 100];
        // A datagram may be lost; a client asks again.
        for _ in 0..20 {
            socket.send_to(b"hi", SocketAddr::new(rig.ip, 30053)).await.unwrap();
            let answer = socket.recv_from(&mut buffer);
            if let Ok(Ok((length, _))) = tokio::time::timeout(Duration::from_secs(1), answer).await {
                return String::from_utf8_lossy(&buffer[..length]).into_owned();
            }
        }
        panic!("no answer");
    };
    let client = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let first = ask(&client).await;
    assert!(first.ends_with(":80 got hi"), "{first}");
    for _ in 0..5 {
        assert_eq!(ask(&client).await, first);
    }
    // Its endpoint goes, and with it the flow.
    let part: u8 = first["10.244.1.".len()..].split(':').next().unwrap().parse().unwrap();
    let left: Vec<u8> = [2, 3, 4].into_iter().filter(|other| *other != part).collect();
    rig.endpoints_of("dns", &left, "UDP");
    rig.until_rule(&format!("default/dns -> 10.244.1.{part}:80"), false).await;
    assert_ne!(ask(&client).await, first);
}

#[tokio::test]
async fn endpoints_that_hang_keep_no_other_client_waiting() {
    let rig = Rig::new([127, 0, 77, 7]).await;
    rig.service_of("dns", 30053, "UDP");
    // Each is waited for, a second long.
    let hung = [2, 3, 4, 5, 6];
    hung.iter().for_each(|part| rig.hang(*part));
    rig.endpoints_of("dns", &hung, "UDP");
    rig.until_rule("default/dns -> 10.244.1.6:80", true).await;
    let port = SocketAddr::new(rig.ip, 30053);
    let [first, second] = [
        tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap(),
        tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap(),
    ];
    // The first client's flow has begun once its datagram was taken from the port's queue; the second one's comes after it.
    first.send_to(b"hi", port).await.unwrap();
    let begun = tokio::time::Instant::now();
    rig.endpoints_of("dns", &[7], "UDP");
    rig.until_rule("default/dns -> 10.244.1.7:80", true).await;
    let mut answer = [0; 100];
    second.send_to(b"hi", port).await.unwrap();
    let (length, _) = second.recv_from(&mut answer).await.unwrap();
    assert_eq!(&answer[..length], b"10.244.1.7:80 got hi");
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_port_that_falls_silent_was_not_in_its_own_way() {
    let rig = Rig::new([127, 0, 77, 6]).await;
    rig.service("hello", 30080);
    rig.endpoints("hello", &[2]);
    rig.until_open(30080, true).await;
    let local = json!({"type": "NodePort", "clusterIP": "10.96.0.10", "externalTrafficPolicy": "Local",
        "ports": [{"port": 80, "nodePort": 30080}]});
    let labels = json!({"kubernetes.io/service-name": "hello"});
    let elsewhere = json!([{"addresses": ["10.244.2.2"], "nodeName": "another"}]);
    rig.api.put(
        "endpointslices",
        json!({"metadata": {"name": "hello", "namespace": "default", "labels": labels},
        "addressType": "IPv4", "ports": [{"name": "", "port": 80}], "endpoints": elsewhere}),
    );
    rig.api.put("services", json!({"metadata": {"name": "hello", "namespace": "default"}, "spec": local}));
    rig.until_rule("has no local endpoints", true).await;
    let silent = async {
        let address = SocketAddr::new(rig.ip, 30080);
        while tokio::time::timeout(Duration::from_millis(300), TcpStream::connect(address)).await.is_ok() {}
    };
    tokio::time::timeout(Duration::from_secs(20), silent).await.unwrap();
    assert!(rig.api.objects("events").is_empty(), "{:?}", rig.api.objects("events"));
}
