//! Subresources, claims and admission.

use super::*;

#[tokio::test]
async fn scale_is_a_view_of_the_replicas() {
    let lab = Lab::start().await;
    let deployment = json!({"metadata": {"name": "web", "namespace": "default"}, "spec": {"replicas": 2, "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "nginx"}]}}}});
    lab.create("deployments", "default", deployment).await.unwrap();
    let scale = lab.get("deployments/scale", "web").await.unwrap();
    assert_eq!(
        (&scale["kind"], &scale["spec"]["replicas"], &scale["status"]["selector"]),
        (&json!("Scale"), &json!(2), &json!("a=b"))
    );
    let scaled = lab.patch("deployments/scale", "web", patch::MERGE, json!({"spec": {"replicas": 5}})).await.unwrap();
    assert_eq!(scaled["spec"]["replicas"], 5);
    let mut stale = scale;
    stale["spec"]["replicas"] = 7.into();
    assert_eq!(lab.update("deployments/scale", stale).await.unwrap_err().code(), 409);
    let negative =
        lab.patch("deployments/scale", "web", patch::MERGE, json!({"spec": {"replicas": -1}})).await.unwrap_err();
    assert_eq!(
        negative.message,
        "Scale.autoscaling \"web\" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0"
    );
    let mut other = lab.get("deployments/scale", "web").await.unwrap();
    other["metadata"]["uid"] = "other".into();
    let refused = lab.update("deployments/scale", other).await.unwrap_err();
    let words = "Operation cannot be fulfilled on deployments/scale.apps \"web\": Precondition failed: UID in precondition: \
                 other, UID in object meta: ";
    assert!(refused.code() == 409 && refused.message.starts_with(words), "{refused}");
    let now = lab.get("deployments", "web").await.unwrap();
    assert_eq!((&now["spec"]["replicas"], &now["metadata"]["generation"]), (&json!(5), &json!(2)));
}

#[tokio::test]
async fn a_service_address_is_given_once() {
    let lab = Lab::start().await;
    let service = |name: &str, ip: Option<&str>| json!({"metadata": {"name": name}, "spec": {"clusterIP": ip, "ports": [{"port": 80}]}});
    let web = lab.create("services", "default", service("web", None)).await.unwrap();
    let ip = web["spec"]["clusterIP"].as_str().unwrap().to_owned();
    let taken = lab.create("services", "default", service("other", Some(&ip))).await.unwrap_err();
    assert!(taken.message.ends_with("provided IP is already allocated"), "{taken}");
    lab.delete("services", "web", json!({})).await.unwrap();
    lab.create("services", "default", service("other", Some(&ip))).await.unwrap();
}

#[tokio::test]
async fn a_missing_account_is_told() {
    let lab = Lab::start().await;
    let mut wanted = pod("a");
    wanted["spec"]["serviceAccountName"] = "robot".into();
    let refused = lab.create("pods", "default", wanted).await.unwrap_err();
    assert_eq!(
        (refused.code(), &*refused.message),
        (
            403,
            "pods \"a\" is forbidden: error looking up service account default/robot: serviceaccount \"robot\" not found"
        )
    );
}

#[tokio::test]
async fn both_versions_of_an_event_are_one_object() {
    let lab = Lab::start().await;
    let involved = json!({"kind": "Pod", "name": "web", "namespace": "default"});
    let event = json!({"metadata": {"name": "e"}, "involvedObject": involved, "reason": "Started", "message": "it runs",
                       "type": "Normal", "count": 2});
    let core = lab.create("events", "default", event).await.unwrap();
    let new = lab.get("events.events.k8s.io", "e").await.unwrap();
    assert_eq!((&new["apiVersion"], &new["note"]), (&json!("events.k8s.io/v1"), &json!("it runs")));
    assert_eq!((&new["regarding"]["name"], &new["deprecatedCount"]), (&json!("web"), &json!(2)));
    assert_eq!(new["metadata"], core["metadata"]);
    let listed = lab.list("events.events.k8s.io", ListOptions::default()).await.unwrap();
    assert_eq!(listed["items"], json!([new]));
    let mut watch = lab.watch("events.events.k8s.io", ListOptions::default()).await.unwrap();
    let told: Value = serde_json::from_slice(&next(&mut watch).await.events[0].json).unwrap();
    assert_eq!(told, new);
    // What was told stays so; that it goes on may be added.
    let note = json!({"note": "still"});
    let refused = lab.patch("events.events.k8s.io", "e", patch::MERGE, note).await.unwrap_err();
    assert!(refused.message.ends_with("message: Invalid value: \"still\": field is immutable"), "{refused}");
    let patched = lab.patch("events", "e", patch::MERGE, json!({"message": "still"})).await.unwrap();
    assert_eq!((&patched["message"], &patched["apiVersion"]), (&json!("still"), &json!("v1")));
    let series = json!({"series": {"count": 2, "lastObservedTime": "2026-01-01T00:00:00.000000Z"}});
    let goes_on = lab.patch("events.events.k8s.io", "e", patch::MERGE, series).await.unwrap();
    assert_eq!((&goes_on["series"]["count"], &goes_on["note"]), (&json!(2), &json!("still")));
}
