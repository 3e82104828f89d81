//! Lists and watches.

use super::*;

#[tokio::test]
async fn pages_show_one_snapshot() {
    let lab = Lab::start().await;
    for name in ["a", "b", "c", "d", "e"] {
        lab.create("configmaps", "default", config(name, json!({}))).await.unwrap();
    }
    let limited = |token: &Value| ListOptions {
        limit: 2,
        continue_token: token.as_str().unwrap_or_default().into(),
        ..Default::default()
    };
    let names = |page: &Value| -> Vec<String> {
        page["items"].as_array().unwrap().iter().map(|item| item["metadata"]["name"].as_str().unwrap().into()).collect()
    };
    let first = lab.list("configmaps", limited(&Value::Null)).await.unwrap();
    assert_eq!((names(&first), &first["remaining"]), (vec!["a".into(), "b".into()], &json!(3)));
    lab.delete("configmaps", "c", json!({})).await.unwrap();
    lab.create("configmaps", "default", config("cc", json!({}))).await.unwrap();
    let second = lab.list("configmaps", limited(&first["continue"])).await.unwrap();
    assert_eq!((names(&second), &second["revision"]), (vec!["c".into(), "d".into()], &first["revision"]));
    let third = lab.list("configmaps", limited(&second["continue"])).await.unwrap();
    assert_eq!((names(&third), &third["continue"], &third["remaining"]), (vec!["e".into()], &json!(""), &Value::Null));

    let exact = ListOptions {
        resource_version: first["revision"].to_string(),
        resource_version_match: "Exact".into(),
        ..Default::default()
    };
    assert_eq!(names(&lab.list("configmaps", exact).await.unwrap()), ["a", "b", "c", "d", "e"]);
    let future = ListOptions { resource_version: "1000000".into(), ..Default::default() };
    let error = lab.list("configmaps", future).await.unwrap_err();
    assert!(error.code() == 504 && error.message.contains("Too large resource version: 1000000"), "{error}");
}

#[tokio::test]
async fn selectors_choose_by_labels_and_fields() {
    let lab = Lab::start().await;
    for (name, app) in [("a", "web"), ("b", "db"), ("c", "web")] {
        let mut wanted = pod(name);
        wanted["metadata"]["labels"] = json!({"app": app});
        lab.create("pods", "default", wanted).await.unwrap();
    }
    let binding = json!({"metadata": {"name": "a"}, "target": {"kind": "Node", "name": "node-1"}});
    lab.create("pods/binding", "default", binding).await.unwrap();
    let cases = [
        ("app=web", "", vec!["a", "c"]),
        ("app!=web", "", vec!["b"]),
        ("app in (web)", "metadata.name=c", vec!["c"]),
        ("", "spec.nodeName=node-1", vec!["a"]),
        ("", "spec.nodeName=", vec!["b", "c"]),
        ("", "spec.nodeName!=node-1,status.phase=Pending", vec!["b", "c"]),
        ("", "metadata.namespace=other", vec![]),
    ];
    for (labels, fields, wanted) in cases {
        let options =
            ListOptions { label_selector: labels.into(), field_selector: fields.into(), ..Default::default() };
        let list = lab.list("pods", options).await.unwrap();
        let names: Vec<_> =
            list["items"].as_array().unwrap().iter().map(|pod| pod["metadata"]["name"].clone()).collect();
        assert_eq!(names, wanted, "{labels} {fields}");
    }
    let unknown = ListOptions { field_selector: "spec.color=red".into(), ..Default::default() };
    assert_eq!(
        lab.list("configmaps", unknown).await.unwrap_err().message,
        "\"spec.color\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
    );
}

#[tokio::test]
async fn a_watch_tells_the_state_and_then_every_change() {
    let lab = Lab::start().await;
    let mut red = config("a", json!({}));
    red["metadata"]["labels"] = json!({"color": "red"});
    let first = version(&lab.create("configmaps", "default", red.clone()).await.unwrap());
    lab.create("configmaps", "default", config("b", json!({}))).await.unwrap();
    let options = ListOptions { label_selector: "color=red".into(), ..Default::default() };
    let mut watch = lab.watch("configmaps", options.clone()).await.unwrap();
    let initial = next(&mut watch).await;
    assert_eq!((told(&initial), initial.synced), (vec![(EventType::Added, "a".into(), first)], true));

    let mut blue = red.clone();
    blue["metadata"]["labels"] = json!({"color": "blue"});
    let left = version(&lab.update("configmaps", blue).await.unwrap());
    let batch = next(&mut watch).await;
    assert_eq!(told(&batch), [(EventType::Deleted, "a".into(), left)]);
    let last: Value = serde_json::from_slice(&batch.events[0].json).unwrap();
    assert_eq!((version(&last), &last["metadata"]["labels"]["color"]), (left, &json!("red")));
    assert_eq!(&*batch.events[0].trace_id, "trace");

    let back = version(&lab.update("configmaps", red.clone()).await.unwrap());
    assert_eq!(told(&next(&mut watch).await), [(EventType::Added, "a".into(), back)]);
    red["data"]["x"] = "y".into();
    let changed = version(&lab.update("configmaps", red).await.unwrap());
    assert_eq!(told(&next(&mut watch).await), [(EventType::Modified, "a".into(), changed)]);
    lab.delete("configmaps", "a", json!({})).await.unwrap();
    let batch = next(&mut watch).await;
    let last: Value = serde_json::from_slice(&batch.events[0].json).unwrap();
    assert_eq!(told(&batch), [(EventType::Deleted, "a".into(), version(&last))]);
    assert!(version(&last) > changed);

    let resumed = ListOptions { resource_version: left.to_string(), ..options };
    let mut watch = lab.watch("configmaps", resumed).await.unwrap();
    let types: Vec<_> = told(&next(&mut watch).await).into_iter().map(|(event, ..)| event).collect();
    assert_eq!(types, [EventType::Added, EventType::Modified, EventType::Deleted]);
    let idle = watch.next(Duration::from_millis(1)).await.unwrap().unwrap();
    assert!(idle.events.is_empty() && idle.revision >= version(&last));
}
