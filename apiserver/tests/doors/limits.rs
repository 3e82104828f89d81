//! What clients cannot do to the server.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http_body_util::Full;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use super::lab::{Lab, PATIENCE};

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
const JSON: (&str, &str) = ("content-type", "application/json");

#[tokio::test(flavor = "multi_thread")]
async fn who_sends_a_head_too_slowly_is_shown_out() {
    let lab = Lab::start().await;
    let mut silent = [lab.connect("", b"http/1.1").await, lab.connect("", b"h2").await];
    let mut stream = lab.connect("", b"http/1.1").await;
    stream.write_all(b"GET /api HTTP/1.1\r\nhost: x\r\nslow: ").await.unwrap();
    let mut rest = Vec::new();
    // The server allows 32 seconds; then the connection ends, with or without an answer.
    let ended = timeout(Duration::from_secs(45), stream.read_to_end(&mut rest)).await;
    assert!(ended.is_ok(), "the connection stays open");
    assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 408"), "{rest:?}");
    for stream in &mut silent {
        // Whatever it says at the end, it ends.
        let ended = timeout(Duration::from_secs(10), stream.read_to_end(&mut rest)).await;
        assert!(ended.is_ok(), "a silent connection stays open");
    }
    assert_eq!(lab.get("admin", "/healthz").await.body, "ok");
    lab.stop().await;
}

/// How many watches one connection holds at once.
async fn watches(lab: &Lab, user: &str) -> usize {
    let stream = lab.connect(user, b"h2").await;
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let mut held = Vec::new();
    loop {
        let mut sender = sender.clone();
        let request = http::Request::get("https://localhost/api/v1/pods?watch=1&resourceVersion=0")
            .body(Full::new(Bytes::new()))
            .unwrap();
        // Past the limit a request waits in the client.
        match timeout(Duration::from_secs(3), sender.send_request(request)).await {
            Ok(response) => {
                let response = response.unwrap();
                assert_eq!(response.status(), 200);
                held.push(response);
            }
            Err(_) => return held.len(),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_holds_a_hundred_streams() {
    let lab = Lab::start().await;
    assert_eq!(watches(&lab, "admin").await, 100);
    assert_eq!(watches(&lab, "scheduler").await, 250, "components share one connection");
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_bodies_are_refused() {
    let lab = Lab::start().await;
    let deep = format!(r#"{{"kind":"ConfigMap","apiVersion":"v1","data":{}"#, "[".repeat(100_000));
    assert_eq!(lab.send("admin", Method::POST, CONFIG_MAPS, &[JSON], deep).await.refusal().0, 400);
    let mut laughs = String::from("kind: ConfigMap\napiVersion: v1\na0: &a0 [x,x,x,x,x,x,x,x,x]\n");
    for level in 1..9 {
        let inner = vec![format!("*a{}", level - 1); 9].join(",");
        laughs.push_str(&format!("a{level}: &a{level} [{inner}]\n"));
    }
    let yaml = [("content-type", "application/yaml")];
    assert_eq!(lab.send("admin", Method::POST, CONFIG_MAPS, &yaml, laughs).await.refusal().0, 400);
    let large = format!(
        r#"{{"kind":"ConfigMap","apiVersion":"v1","metadata":{{"name":"x"}},"data":{{"a":"{}"}}}}"#,
        "x".repeat(2 * 1024 * 1024)
    );
    assert!(!lab.send("admin", Method::POST, CONFIG_MAPS, &[JSON], large).await.status.is_success());
    let small = r#"{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"x"}}"#;
    assert_eq!(lab.send("admin", Method::POST, CONFIG_MAPS, &[JSON], small).await.status, 201);
    let many = vec![r#"{"op":"test","path":"/kind","value":"ConfigMap"}"#; 10_001].join(",");
    let patch = [("content-type", "application/json-patch+json")];
    let (code, reason, message) =
        lab.send("admin", Method::PATCH, &format!("{CONFIG_MAPS}/x"), &patch, format!("[{many}]")).await.refusal();
    assert_eq!((code, &*reason), (413, "RequestEntityTooLarge"));
    assert!(message.contains("10000, got 10001"), "{message}");
    let selector = format!("{CONFIG_MAPS}?labelSelector={}", "a%2C".repeat(8_000));
    assert!(lab.get("admin", &selector).await.status.is_client_error());
    assert_eq!(lab.get("admin", "/healthz").await.body, "ok", "and the server lives");
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_have_upstreams_words() {
    let lab = Lab::start().await;
    let nowhere = lab.get("admin", "/nothing").await;
    assert_eq!((nowhere.status.as_u16(), &nowhere.body[..]), (404, &b"404 page not found\n"[..]));
    assert_eq!(nowhere.headers["x-content-type-options"], "nosniff");
    assert_eq!(nowhere.headers["cache-control"], "no-cache, private");
    assert_eq!(lab.get("admin", "/apis/none.io/v1/things").await.body, "404 page not found\n");
    let unknown = lab.get("admin", "/api/v1/nothing").await;
    assert_eq!(unknown.json()["details"], serde_json::json!({}));
    let (code, reason, message) = unknown.refusal();
    assert_eq!((code, &*reason, &*message), (404, "NotFound", "the server could not find the requested resource"));
    let (code, reason, message) = lab.send("admin", Method::PUT, CONFIG_MAPS, &[JSON], "{}").await.refusal();
    let expected = "the server does not allow this method on the requested resource";
    assert_eq!((code, &*reason, &*message), (405, "MethodNotAllowed", expected));
    let (code, reason, message) = lab.get("admin", &format!("{CONFIG_MAPS}?timeout=x")).await.refusal();
    let expected = "invalid timeout specified in the request URL - time: invalid duration \"x\"";
    assert_eq!((code, &*reason, &*message), (400, "BadRequest", expected));
    let (code, reason, message) = lab
        .get(
            "admin",
            &format!("{CONFIG_MAPS}?timeout=50ms&resourceVersion=999999999&resourceVersionMatch=NotOlderThan"),
        )
        .await
        .refusal();
    let expected = "Timeout: request did not complete within the allotted timeout";
    assert_eq!((code, &*reason, &*message), (504, "Timeout", expected));
    let kind = [("content-type", "text/plain")];
    let (code, reason, message) = lab.send("admin", Method::POST, CONFIG_MAPS, &kind, "x").await.refusal();
    assert_eq!((code, &*reason), (415, "UnsupportedMediaType"));
    let types = "application/json, application/yaml, application/vnd.kubernetes.protobuf";
    let expected = format!("the body of the request was in an unknown format - accepted media types include: {types}");
    assert_eq!(message, expected);

    let fair = lab.get("alice", "/version").await;
    for header in ["x-kubernetes-pf-flowschema-uid", "x-kubernetes-pf-prioritylevel-uid", "audit-id"] {
        assert_eq!(fair.headers[header].len(), 36, "{header}");
    }
    lab.stop().await;
}

/// Until the levels are read from the store, they have no uid.
#[tokio::test(flavor = "multi_thread")]
async fn the_levels_are_in_the_store() {
    let lab = Lab::start().await;
    let group = "/apis/flowcontrol.apiserver.k8s.io/v1";
    let there = async { while lab.get("admin", &format!("{group}/flowschemas/catch-all")).await.status != 200 {} };
    timeout(PATIENCE, there).await.expect("no flow schemas");
    let schemas = lab.get("admin", &format!("{group}/flowschemas")).await.json();
    let names: Vec<_> =
        schemas["items"].as_array().unwrap().iter().map(|item| item["metadata"]["name"].clone()).collect();
    assert_eq!(names.len(), 11, "{names:?}");
    let dangling = async {
        let path = format!("{group}/flowschemas/probes");
        while lab.get("admin", &path).await.json()["status"]["conditions"][0]["reason"] != "Found" {}
    };
    timeout(PATIENCE, dangling).await.expect("no condition");
    let patch = [("content-type", "application/merge-patch+json")];
    let spec = r#"{"spec":{"limited":{"nominalConcurrencyShares":7}}}"#;
    let path = format!("{group}/prioritylevelconfigurations/system");
    assert_eq!(lab.send("admin", Method::PATCH, &path, &patch, spec).await.status, 200);
    let restored =
        async { while lab.get("admin", &path).await.json()["spec"]["limited"]["nominalConcurrencyShares"] != 30 {} };
    timeout(PATIENCE, restored).await.expect("the suggested level is not restored");
    lab.stop().await;
}
