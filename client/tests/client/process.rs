use std::net::{SocketAddr, TcpListener};

use kubelab_client::process::Process;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
};

async fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = loop {
        match TcpStream::connect(address).await {
            Ok(stream) => break stream,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn serves_health_and_metrics() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let process = Process { name: "test".into(), metrics_listen: address, crash_after_writes: 0 };
    let (ready, readiness) = watch::channel(false);
    let serving = tokio::spawn(async move { process.serve_health(readiness).await });

    assert!(get(address, "/healthz").await.starts_with("HTTP/1.1 200 "));
    assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 503 "));
    ready.send_replace(true);
    assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 200 "));
    assert!(get(address, "/metrics").await.contains("process_resident_memory_bytes"));
    assert!(get(address, "/").await.starts_with("HTTP/1.1 404 "));
    serving.abort();
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let process = Process { name: "test".into(), metrics_listen: taken.local_addr().unwrap(), crash_after_writes: 0 };
    let error = process.serve_health(watch::channel(true).1).await.unwrap_err();
    assert!(error.to_string().contains(&taken.local_addr().unwrap().to_string()), "{error}");
}
