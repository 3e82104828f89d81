//! The REST door.

use bytes::Bytes;
use http::Method;
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use super::lab::{Lab, PATIENCE};

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn config_map(name: &str) -> Value {
    json!({ "kind": "ConfigMap", "apiVersion": "v1", "metadata": { "name": name }, "data": { "a": "b" } })
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_come_and_go() {
    let lab = Lab::start().await;
    let created = lab.post("admin", CONFIG_MAPS, config_map("one")).await;
    assert_eq!(created.status, 201, "{:?}", created.body);
    assert!(created.headers.contains_key("audit-id"));
    assert_eq!(lab.post("admin", CONFIG_MAPS, config_map("one")).await.refusal().1, "AlreadyExists");

    let one = format!("{CONFIG_MAPS}/one");
    let read = lab.get("admin", &one).await.json();
    assert_eq!(read, created.json());
    let patched = lab
        .send(
            "admin",
            Method::PATCH,
            &one,
            &[("content-type", "application/merge-patch+json")],
            r#"{"data":{"a":"c"}}"#,
        )
        .await;
    assert_eq!(patched.json()["data"]["a"], "c");
    let list = lab.get("admin", &format!("{CONFIG_MAPS}?fieldSelector=metadata.name%3Done")).await.json();
    assert_eq!((list["kind"].as_str(), list["items"].as_array().map(Vec::len)), (Some("ConfigMapList"), Some(1)));

    let table = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json")];
    let table = lab.send("admin", Method::GET, &one, &table, "").await.json();
    assert_eq!(table["kind"], "Table");
    assert_eq!(table["columnDefinitions"][0]["name"], "Name");
    assert_eq!(table["rows"][0]["cells"][0], "one");
    assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");

    let deleted = lab.send("admin", Method::DELETE, &one, &[], "").await;
    assert_eq!(deleted.status, 200, "{:?}", deleted.body);
    let (code, reason, message) = lab.get("admin", &one).await.refusal();
    assert_eq!((code, &*reason, &*message), (404, "NotFound", "configmaps \"one\" not found"));
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_come_in_three_formats() {
    let lab = Lab::start().await;
    let yaml = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: three}\ndata: {a: b}\ndata: {a: c}\nmore: 1\n";
    let created = lab.send("admin", Method::POST, CONFIG_MAPS, &[("content-type", "application/yaml")], yaml).await;
    assert_eq!((created.status.as_u16(), &created.json()["data"]), (201, &json!({ "a": "c" })));
    let warnings: Vec<_> = created.headers.get_all("warning").iter().collect();
    assert_eq!(warnings, ["299 - \"unknown field \\\"more\\\"\"", "299 - \"duplicate field \\\"data\\\"\""]);
    let strict = format!("{CONFIG_MAPS}?fieldValidation=Strict");
    let refused = lab.send("admin", Method::POST, &strict, &[("content-type", "application/yaml")], yaml).await;
    let (code, _, message) = refused.refusal();
    assert_eq!(code, 400);
    assert!(message.ends_with("strict decoding error: unknown field \"more\", duplicate field \"data\""), "{message}");

    // `kubectl create configmap p`, as v1.33 sends it.
    let protobuf = b"k8s\0\n\x0f\n\x02v1\x12\tConfigMap\x12\x13\n\x11\n\x01p\x12\0\x1a\0\"\0*\x002\x008\0B\0\x1a\0\"\0";
    let kind = [("content-type", "application/vnd.kubernetes.protobuf")];
    let created = lab.send("admin", Method::POST, CONFIG_MAPS, &kind, &protobuf[..]).await;
    assert_eq!((created.status.as_u16(), &created.json()["metadata"]["name"]), (201, &json!("p")));
    let kind = [("content-type", "text/plain")];
    assert_eq!(lab.send("admin", Method::POST, CONFIG_MAPS, &kind, "x").await.refusal().0, 415);
    let kind = [("accept", "text/html")];
    assert_eq!(lab.send("admin", Method::GET, CONFIG_MAPS, &kind, "").await.refusal().0, 406);
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn watches_are_lines_and_end_in_time() {
    let lab = Lab::start().await;
    lab.post("admin", CONFIG_MAPS, config_map("before")).await;
    let path = format!(
        "https://localhost{CONFIG_MAPS}?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan\
         &allowWatchBookmarks=true&labelSelector=!none&fieldSelector=metadata.name!%3Dkube-root-ca.crt"
    );
    let request = http::Request::get(path).body(Full::new(Bytes::new())).unwrap();
    let mut body = lab.open("admin", request).await.into_body();
    let mut text = String::new();
    let mut next = async || {
        loop {
            if let Some((line, rest)) = text.split_once('\n') {
                let event: Value = serde_json::from_str(line).unwrap();
                text = rest.to_owned();
                return Some((event["type"].as_str().unwrap().to_owned(), event["object"].clone()));
            }
            let frame = timeout(PATIENCE, body.frame()).await.expect("the watch is silent")?.ok()?;
            text.push_str(std::str::from_utf8(&frame.into_data().unwrap()).unwrap());
        }
    };
    let (kind, object) = next().await.unwrap();
    assert_eq!((&*kind, &object["metadata"]["name"]), ("ADDED", &json!("before")));
    let (kind, object) = next().await.unwrap();
    assert_eq!((&*kind, &object["metadata"]["annotations"]["k8s.io/initial-events-end"]), ("BOOKMARK", &json!("true")));
    lab.post("admin", CONFIG_MAPS, config_map("after")).await;
    assert_eq!(next().await.unwrap().0, "ADDED");
    lab.send("admin", Method::DELETE, &format!("{CONFIG_MAPS}/after"), &[], "").await;
    assert_eq!(next().await.unwrap().0, "DELETED");

    let short = lab.get("admin", &format!("{CONFIG_MAPS}?watch=1&timeoutSeconds=1&resourceVersion=1")).await;
    assert_eq!(short.status, 200, "and it has ended");
    lab.stop().await;
    assert_eq!(next().await, None, "a watch ends when the server goes");
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_are_refused() {
    let lab = Lab::start().await;
    let (code, reason, message) = lab.get("", "/api/v1/pods").await.refusal();
    assert_eq!((code, &*reason), (403, "Forbidden"));
    let expected = "pods is forbidden: User \"system:anonymous\" cannot list resource \"pods\" in API group \"\" at the cluster \
                    scope";
    assert_eq!(message, expected);
    let token = [("authorization", "Bearer nonsense")];
    let (code, reason, message) = lab.send("", Method::GET, "/api/v1/pods", &token, "").await.refusal();
    assert_eq!((code, &*reason, &*message), (401, "Unauthorized", "Unauthorized"));
    let (code, _, message) = lab.get("alice", "/api/v1/namespaces/default").await.refusal();
    assert_eq!(code, 403);
    assert!(message.ends_with("in API group \"\" in the namespace \"default\""), "{message}");
    let (code, _, message) = lab.get("alice", "/metrics").await.refusal();
    assert_eq!((code, &*message), (403, "forbidden: User \"alice\" cannot get path \"/metrics\""));

    assert_eq!(lab.get("", "/version").await.status, 200, "anyone may ask for the version");
    let whoami = json!({ "kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1" }).to_string();
    let headers = [("content-type", "application/json"), ("impersonate-user", "bob")];
    let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let answer = lab.send("admin", Method::POST, path, &headers, whoami.clone()).await;
    assert_eq!(answer.json()["status"]["userInfo"]["username"], "bob");
    assert_eq!(lab.send("alice", Method::POST, path, &headers, whoami).await.refusal().0, 403);
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_hold() {
    let lab = Lab::start().await;
    let large = vec![b' '; 10 * 1024 * 1024];
    let kind = [("content-type", "application/json")];
    let (code, reason, message) = lab.send("admin", Method::POST, CONFIG_MAPS, &kind, large).await.refusal();
    assert_eq!((code, &*reason), (413, "RequestEntityTooLarge"));
    assert_eq!(message, "Request entity too large: limit is 3145728");

    let mut stream = lab.connect("admin", b"http/1.1").await;
    let header = "x".repeat(1100 * 1024);
    stream.write_all(format!("GET /api HTTP/1.1\r\nhost: x\r\nlong: {header}\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    timeout(PATIENCE, stream.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(&answer, b"HTTP/1.1 431");
    assert_eq!(lab.get("admin", "/healthz").await.body, "ok", "and the server lives");
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_tells_what_it_serves() {
    let lab = Lab::start().await;
    assert_eq!(lab.get("admin", "/version").await.json()["minor"], "37");
    let v2 = [("accept", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList")];
    let groups = lab.send("admin", Method::GET, "/apis", &v2, "").await;
    assert_eq!(groups.json()["kind"], "APIGroupDiscoveryList");
    let etag = groups.headers["etag"].to_str().unwrap();
    let known = [v2[0], ("if-none-match", etag)];
    assert_eq!(lab.send("admin", Method::GET, "/apis", &known, "").await.status, 304);
    assert_eq!(lab.get("admin", "/apis/apps/v1").await.json()["groupVersion"], "apps/v1");

    let index = lab.get("admin", "/openapi/v3").await.json();
    for (path, at) in index["paths"].as_object().unwrap() {
        let url = at["serverRelativeURL"].as_str().unwrap();
        let document = lab.get("admin", url).await;
        assert_eq!(document.status, 200, "{path}");
        assert_refers_to_itself(path, &document.json());
    }
    let swagger = lab.send("admin", Method::GET, "/openapi/v2", &[("accept", "application/json")], "").await;
    assert!(swagger.body.len() < 12 * 1024 * 1024, "{} bytes", swagger.body.len());
    assert_refers_to_itself("v2", &swagger.json());
    assert_names_each_operation_once(&swagger.json());
    let kind = [("accept", "application/com.github.proto-openapi.spec.v2@v1.0+protobuf")];
    let swagger = lab.send("admin", Method::GET, "/openapi/v2", &kind, "").await;
    assert_eq!(swagger.headers["content-type"], "application/com.github.proto-openapi.spec.v2.v1.0+protobuf");
    assert!(swagger.body.len() > 100_000);

    let (at, path) = (lab.address.port(), "/api/v1/namespaces/default/endpoints/kubernetes");
    let known = async { while lab.get("admin", path).await.json()["subsets"][0]["ports"][0]["port"] != at {} };
    timeout(PATIENCE, known).await.expect("the Service kubernetes has no endpoints");

    let metrics = lab.get("admin", "/metrics").await;
    assert!(std::str::from_utf8(&metrics.body).unwrap().contains("etcd_server_has_leader 1"));
    assert_eq!(lab.get("admin", "/nothing").await.status, 404);
    assert_eq!(lab.get("admin", "/api/v1/nothing").await.refusal().0, 404);
    lab.stop().await;
}

/// Generators make a function of each operation.
fn assert_names_each_operation_once(document: &Value) {
    let mut names = std::collections::BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap().iter().filter(|(method, _)| *method != "parameters")
        {
            let name = operation["operationId"].as_str().unwrap_or_else(|| panic!("{method} {path} has no name"));
            assert!(names.insert(name.to_owned()), "{name} stands twice");
            assert!(operation["responses"]["401"].is_object(), "{method} {path}");
        }
    }
    for name in ["listCoreV1NamespacedPod", "createCoreV1NamespacedPodBinding", "patchAppsV1NamespacedDeploymentScale"]
    {
        assert!(names.contains(name), "{name} is missing");
    }
}

/// Every reference in a document points to something in it.
fn assert_refers_to_itself(path: &str, document: &Value) {
    let mut left = vec![document];
    while let Some(value) = left.pop() {
        match value {
            Value::Object(object) => {
                if let Some(Value::String(reference)) = object.get("$ref") {
                    let place = reference.strip_prefix('#').expect(reference);
                    assert!(document.pointer(place).is_some(), "{path} lacks {reference}");
                }
                left.extend(object.values());
            }
            Value::Array(list) => left.extend(list),
            _ => {}
        }
    }
}
