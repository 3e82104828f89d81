//! Requests for streams, as far as no node is needed to answer them.

use http::Method;
use serde_json::json;

use crate::lab::Lab;

const PODS: &str = "/api/v1/namespaces/default/pods";

async fn lab() -> Lab {
    let lab = Lab::start().await;
    lab.post("admin", "/api/v1/namespaces/default/serviceaccounts", json!({"metadata": {"name": "default"}})).await;
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [
        {"name": "a", "image": "nginx"}, {"name": "b", "image": "nginx"}]}});
    assert_eq!(lab.post("admin", PODS, pod).await.status, 201);
    let service = json!({"metadata": {"name": "web"}, "spec": {"selector": {"a": "b"}, "ports": [{"port": 80}]}});
    assert_eq!(lab.post("admin", "/api/v1/namespaces/default/services", service).await.status, 201);
    lab
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_come_in_upstreams_words() {
    let lab = lab().await;
    let services = "/api/v1/namespaces/default/services";
    for (path, code, message) in [
        (format!("{PODS}/p/log"), 400, "a container name must be specified for pod p, choose one of: [a b]"),
        (format!("{PODS}/p/log?container=c"), 400, "container c is not valid for pod p"),
        (format!("{PODS}/none/log"), 404, "pods \"none\" not found"),
        (format!("{PODS}/p/exec?container=a&stdout=true&command=ls"), 400, "pod p does not have a host assigned"),
        (format!("{PODS}/p/attach?container=a&stdout=true"), 400, "pod p does not have a host assigned"),
        (format!("{PODS}/p/portforward?ports=80"), 400, "pod p does not have a host assigned"),
        (format!("{PODS}/p/proxy/x"), 400, "pod p does not have a host assigned"),
        (format!("{PODS}/ftp:p:21/proxy/x"), 400, "invalid request \"ftp:p:21\""),
        (format!("{services}/web/proxy/x"), 503, "no endpoints available for service \"web\""),
        (format!("{services}/web:x/proxy/x"), 503, "no service port \"x\" found for service \"web\""),
        ("/api/v1/nodes/none/proxy/healthz".to_owned(), 404, "nodes \"none\" not found"),
    ] {
        let answer = lab.get("admin", &path).await;
        let (seen, _, text) = answer.refusal();
        assert_eq!((seen, text.as_str()), (code, message), "{path}");
    }
    let empty = lab.get("admin", &format!("{PODS}/p/log?container=a")).await;
    assert_eq!((empty.status.as_u16(), empty.body.len()), (200, 0), "a pod without a node has an empty log");
    let put = lab.send("admin", Method::PUT, &format!("{PODS}/p/exec"), &[], "").await;
    assert_eq!(put.status, 405);
    let moved = lab.get("admin", &format!("{services}/web/proxy?a=b")).await;
    assert_eq!(moved.status, 301);
    assert_eq!(moved.headers["location"], format!("{services}/web/proxy/?a=b"));
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_get_of_exec_needs_the_right_to_create() {
    let lab = lab().await;
    let rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/default";
    let role = json!({"metadata": {"name": "reader"}, "rules": [
        {"apiGroups": [""], "resources": ["pods/exec", "pods/log"], "verbs": ["get"]}]});
    assert_eq!(lab.post("admin", &format!("{rbac}/roles"), role).await.status, 201);
    let binding = json!({"metadata": {"name": "reader"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "alice"}]});
    assert_eq!(lab.post("admin", &format!("{rbac}/rolebindings"), binding).await.status, 201);
    let exec = lab.get("alice", &format!("{PODS}/p/exec?container=a&stdout=true&command=ls")).await;
    let (code, _, message) = exec.refusal();
    assert_eq!(code, 403);
    assert!(message.contains("cannot create resource \"pods/exec\""), "{message}");
    assert_eq!(lab.get("alice", &format!("{PODS}/p/log?container=a")).await.status, 200);
    assert_eq!(lab.get("alice", &format!("{PODS}/p/proxy/")).await.status, 403);
    lab.stop().await;
}
