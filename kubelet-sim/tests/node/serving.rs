//! What listens in pods.

use std::net::SocketAddr;

use bytes::Bytes;
use futures::StreamExt;
use kubelab_kubelet_sim::runtime::DialError;
use kubelab_proto::node::{DialRequest, LogsRequest, node_client::NodeClient};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tonic::{
    Code,
    transport::{Certificate, ClientTlsConfig, Endpoint, Identity},
};

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
    let mut connection = runtime.dial(address.into()).unwrap();
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
        assert_eq!(runtime.dial(address.into()).map(drop), Err(expected));
    }
}

#[tokio::test]
async fn a_stopped_container_cuts_its_connections() {
    let rig = Rig::new().await;
    rig.run("hello", json!({}), json!({"containers": [{"name": "web"}]}));
    rig.until("hello", "/status/phase", json!("Running")).await;
    let mut connection =
        rig.runtime.clone().unwrap().dial("10.244.1.2:80".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    request(&mut connection, false).await;
    rig.delete("hello", 30);
    assert_eq!(connection.read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test]
async fn the_node_is_dialled_over_grpc_by_those_with_a_certificate() {
    let rig = Rig::new().await;
    rig.run("hello", json!({}), json!({"containers": [{"name": "web"}]}));
    rig.until("hello", "/status/phase", json!("Running")).await;
    let (address, connection) = rig.serve().await;
    let read = |path| std::fs::read(path).unwrap();
    let trusting =
        ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read(&connection.certificate_authority)));
    let identity = Identity::from_pem(read(&connection.client_certificate), read(&connection.client_key));
    let connect = |tls: ClientTlsConfig| {
        Endpoint::from_shared(format!("https://{address}")).unwrap().tls_config(tls).unwrap().connect_lazy()
    };
    let dial = async |tls: ClientTlsConfig, address: &str, data: &'static [u8]| {
        let first = DialRequest { address: address.into(), data: Bytes::from_static(data), ..Default::default() };
        let dialled = NodeClient::new(connect(tls)).dial(tokio_stream::once(first)).await;
        match dialled {
            Ok(replies) => {
                let replies = replies.into_inner().map(|reply| reply.unwrap().data.to_vec());
                Ok(String::from_utf8(replies.concat().await).unwrap())
            }
            Err(status) => Err(status.code()),
        }
    };
    let known = || trusting.clone().identity(identity.clone());
    let request = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let answer = dial(known(), "10.244.1.2:80", request).await.unwrap();
    assert!(answer.contains("Server name: hello"), "{answer}");
    for (address, expected) in [
        ("10.244.1.2:81", Code::FailedPrecondition),
        ("10.244.1.99:80", Code::NotFound),
        ("somewhere", Code::InvalidArgument),
    ] {
        assert_eq!(dial(known(), address, request).await, Err(expected), "{address}");
    }
    let refused = NodeClient::new(connect(known())).logs(LogsRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "what is in containers is for apiservers");
    assert!(refused.message().starts_with("Forbidden (user="), "{refused}");
    assert!(dial(trusting, "10.244.1.2:80", request).await.is_err(), "no certificate, no answer");
}
