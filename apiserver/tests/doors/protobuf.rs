//! Answers as protobuf, which client-go's typed clients prefer.

use bytes::Bytes;
use http::Method;
use http_body_util::{BodyExt, Full};
use serde_json::json;
use tokio::time::timeout;

use super::lab::{Lab, PATIENCE};

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
const TYPE: &str = "application/vnd.kubernetes.protobuf";
const WANTED: (&str, &str) = ("accept", "application/vnd.kubernetes.protobuf,application/json");

/// Some bytes stand in others.
fn holds(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[tokio::test(flavor = "multi_thread")]
async fn typed_clients_get_what_they_prefer() {
    let lab = Lab::start().await;
    let body = json!({ "kind": "ConfigMap", "apiVersion": "v1", "metadata": { "name": "one" }, "data": { "k": "v" } });
    let headers = [WANTED, ("content-type", "application/json")];
    let created = lab.send("admin", Method::POST, CONFIG_MAPS, &headers, body.to_string()).await;
    assert_eq!((created.status.as_u16(), &created.headers["content-type"]), (201, &TYPE.parse().unwrap()));
    assert!(created.body.starts_with(b"k8s\0\n\x0f\n\x02v1\x12\tConfigMap\x12"), "{:?}", created.body);
    assert!(created.body.ends_with(b"\x12\x06\n\x01k\x12\x01v\x1a\0\"\0"), "{:?}", created.body);

    // What was answered can be sent back.
    let again = created.body.clone();
    let headers = [("accept", "application/json"), ("content-type", TYPE)];
    let update = lab.send("admin", Method::PUT, &format!("{CONFIG_MAPS}/one"), &headers, again).await;
    assert_eq!(update.json()["data"], json!({ "k": "v" }));

    let list = lab.send("admin", Method::GET, CONFIG_MAPS, &[WANTED], "").await;
    assert!(list.body.starts_with(b"k8s\0\n\x13\n\x02v1\x12\rConfigMapList\x12"), "{:?}", list.body);
    assert!(holds(&list.body, b"\n\x03one\x12\0\x1a\x07default"), "{:?}", list.body);
    let missing = lab.send("admin", Method::GET, &format!("{CONFIG_MAPS}/none"), &[WANTED], "").await;
    assert_eq!(missing.status, 404);
    assert!(missing.body.starts_with(b"k8s\0\n\x0c\n\x02v1\x12\x06Status\x12"), "{:?}", missing.body);
    assert!(holds(&missing.body, b"configmaps \"none\" not found"));

    let metadata = [("accept", "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1")];
    let metadata = lab.send("admin", Method::GET, &format!("{CONFIG_MAPS}/one"), &metadata, "").await;
    assert!(holds(&metadata.body, b"meta.k8s.io/v1\x12\x15PartialObjectMetadata"), "{:?}", metadata.body);
    assert!(!holds(&metadata.body, b"\n\x01k\x12\x01v"));
    let table = [("accept", "application/vnd.kubernetes.protobuf;as=Table;g=meta.k8s.io;v=v1")];
    let (code, reason, message) = lab.send("admin", Method::GET, CONFIG_MAPS, &table, "").await.refusal();
    assert_eq!((code, &*reason), (406, "NotAcceptable"));
    let types = "application/json, application/yaml, application/vnd.kubernetes.protobuf";
    assert_eq!(message, format!("only the following media types are accepted: {types}"));
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn watches_are_frames() {
    let lab = Lab::start().await;
    let path = format!("https://localhost{CONFIG_MAPS}?watch=1&resourceVersion=0&fieldSelector=metadata.name%3Done");
    let request = http::Request::get(path).header("accept", TYPE).body(Full::new(Bytes::new())).unwrap();
    let response = lab.open("admin", request).await;
    assert_eq!(response.headers()["content-type"], "application/vnd.kubernetes.protobuf;stream=watch");
    let mut body = response.into_body();
    let map = json!({ "kind": "ConfigMap", "apiVersion": "v1", "metadata": { "name": "one" } });
    lab.post("admin", CONFIG_MAPS, map).await;
    let mut bytes = Vec::new();
    let length = |bytes: &[u8]| bytes.first_chunk::<4>().map(|length| u32::from_be_bytes(*length) as usize + 4);
    while length(&bytes).is_none_or(|length| bytes.len() < length) {
        let frame = timeout(PATIENCE, body.frame()).await.expect("the watch is silent").unwrap().unwrap();
        bytes.extend_from_slice(&frame.into_data().unwrap());
    }
    assert_eq!(length(&bytes), Some(bytes.len()));
    assert!(bytes[4..].starts_with(b"\n\x05ADDED\x12"), "{bytes:?}");
    assert!(holds(&bytes, b"k8s\0\n\x0f\n\x02v1\x12\tConfigMap\x12"), "{bytes:?}");
    lab.stop().await;
}
