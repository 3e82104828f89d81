//! Pages and watches, as raw requests see them.

use serde_json::Value;

use crate::harness::{Lab, config_maps};

#[test]
fn pages_and_watches_are_upstreams() {
    let lab = Lab::start();
    let kubectl = lab.kubectl();
    kubectl.run_with("create -f -", &config_maps("page", 5));
    let get = |path: &str| -> Value {
        let text = kubectl.run(&format!("get --raw '/api/v1/namespaces/default/configmaps{path}'"));
        serde_json::from_str(&text).unwrap()
    };
    let all = get("");
    let (mut items, mut token) = (Vec::new(), String::new());
    loop {
        let page = get(&format!("?limit=2&continue={token}"));
        items.extend(page["items"].as_array().unwrap().clone());
        token = page["metadata"]["continue"].as_str().unwrap_or_default().to_owned();
        if token.is_empty() {
            break;
        }
        assert!(page["metadata"]["remainingItemCount"].is_u64(), "{}", page["metadata"]);
    }
    assert_eq!(Value::from(items), all["items"]);
    assert_eq!(kubectl.run("get configmaps --chunk-size=2 -o name").lines().count(), 6);

    let version_of = |object: &Value| -> u64 { object["resourceVersion"].as_str().unwrap().parse().unwrap() };
    let version = version_of(&all["metadata"]);
    for path in ["/api/v1/namespaces/default/configmaps?watch=true&", "/api/v1/watch/namespaces/default/configmaps?"] {
        let watch = format!("get --raw '{path}allowWatchBookmarks=true&timeoutSeconds=3&resourceVersion={version}'");
        let events = kubectl.run(&watch);
        let last: Value = serde_json::from_str(events.lines().last().unwrap()).unwrap();
        assert_eq!(last["type"], "BOOKMARK", "a watch ends with a bookmark: {events}");
        assert!(version_of(&last["object"]["metadata"]) >= version, "{last}");
        assert_eq!(last["object"]["metadata"].get("creationTimestamp"), None, "what was never made has no time");
    }
    let streamed = kubectl.run(
        "get --raw '/api/v1/namespaces/default/configmaps?watch=true&sendInitialEvents=true&allowWatchBookmarks=true\
         &resourceVersionMatch=NotOlderThan&timeoutSeconds=3'",
    );
    let types: Vec<_> =
        streamed.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["type"].clone()).collect();
    assert_eq!(types[..7], ["ADDED", "ADDED", "ADDED", "ADDED", "ADDED", "ADDED", "BOOKMARK"], "{streamed}");
    assert!(streamed.lines().nth(6).unwrap().contains("\"k8s.io/initial-events-end\":\"true\""), "{streamed}");
}
