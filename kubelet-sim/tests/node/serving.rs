//! What listens in pods.

use std::net::SocketAddr;

use kubelab_kubelet_sim::runtime::DialError;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use crate::rig::Rig;

async fn request(connection: &mut DuplexStream, close: bool) -> String {
    let close = if close { "Connection: close\r\n" } else { "" };
    connection.write_all(format!("GET /x?y=1 HTTP/1.1\r\nHost: web\r\n{close}\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    while !answer.contains("Request ID: ") || !answer.ends_with('\n') {
        let mut chunk = [0; 1024];
        let read = connection.read(&mut chunk).await.unwrap();
        assert_ne!(read, 0, "{answer}");
        answer.push_str(std::str::from_utf8(&chunk[..read]).unwrap());
    }
    answer
}

#[tokio::test]
async fn a_server_says_who_it_is_and_keeps_its_connection() {
    let rig = Rig::new().await;
    rig.run("hello", json!({}), json!({"containers": [{"name": "web", "image": "nginxdemos/hello:plain-text"}]}));
    rig.until("hello", "/status/phase", json!("Running")).await;
    let runtime = rig.runtime.clone().unwrap();
    let address: SocketAddr = "10.244.1.2:80".parse().unwrap();
    let mut connection = runtime.dial(address).unwrap();
    for close in [false, true] {
        let answer = request(&mut connection, close).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains("content-length: "), "{answer}");
        for line in ["Server address: 10.244.1.2:80", "Server name: hello", "Node: node-1", "URI: /x?y=1"] {
            assert!(answer.lines().any(|has| has == line), "{line}: {answer}");
        }
    }
    assert_eq!(connection.read(&mut [0]).await.unwrap(), 0, "closed as asked");
    for (address, refused) in [("10.244.1.2:81", true), ("10.244.1.9:80", false)] {
        let address: SocketAddr = address.parse().unwrap();
        let expected = if refused { DialError::Refused(address) } else { DialError::NoRoute(address) };
        assert_eq!(runtime.dial(address).map(drop), Err(expected));
    }
}

#[tokio::test]
async fn a_stopped_container_cuts_its_connections() {
    let rig = Rig::new().await;
    rig.run("hello", json!({}), json!({"containers": [{"name": "web"}]}));
    rig.until("hello", "/status/phase", json!("Running")).await;
    let mut connection = rig.runtime.clone().unwrap().dial("10.244.1.2:80".parse().unwrap()).unwrap();
    request(&mut connection, false).await;
    rig.delete("hello", 30);
    assert_eq!(connection.read(&mut [0]).await.unwrap(), 0);
}
