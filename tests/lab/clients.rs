//! The `kube` crate's client and watcher.

use std::collections::BTreeMap;

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Pod},
};
use kube::{
    Api,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams},
    runtime::{WatchStreamExt, watcher},
};
use serde_json::json;

use crate::harness::Lab;

fn config_map(name: &str, value: &str) -> ConfigMap {
    serde_json::from_value(json!({"metadata": {"name": name, "labels": {"v": value}}, "data": {"v": value}})).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_made_changed_and_removed() {
    let lab = Lab::start();
    let maps: Api<ConfigMap> = Api::default_namespaced(lab.client().await);
    let made = maps.create(&PostParams::default(), &config_map("a", "1")).await.unwrap();
    assert!(made.metadata.uid.is_some() && made.metadata.creation_timestamp.is_some());

    let mut changed = made.clone();
    changed.data = Some(BTreeMap::from([("v".into(), "2".into())]));
    let changed = maps.replace("a", &PostParams::default(), &changed).await.unwrap();
    let revision = |map: &ConfigMap| map.metadata.resource_version.as_ref().unwrap().parse::<u64>().unwrap();
    assert!(revision(&changed) > revision(&made));
    let stale = maps.replace("a", &PostParams::default(), &made).await.unwrap_err();
    assert!(matches!(&stale, kube::Error::Api(status) if status.code == 409 && status.reason == "Conflict"), "{stale}");

    let merge = Patch::Merge(json!({"data": {"v": null, "w": "3"}}));
    let patched = maps.patch("a", &PatchParams::default(), &merge).await.unwrap();
    assert_eq!(patched.data, Some(BTreeMap::from([("w".into(), "3".into())])));
    let operations = serde_json::from_value(json!([{"op": "replace", "path": "/data/w", "value": "4"}])).unwrap();
    let patched = maps.patch("a", &PatchParams::default(), &Patch::Json::<()>(operations)).await.unwrap();
    assert_eq!(patched.data.unwrap()["w"], "4");

    let dry = PostParams { dry_run: true, ..Default::default() };
    maps.create(&dry, &config_map("dry", "1")).await.unwrap();
    assert!(maps.get_opt("dry").await.unwrap().is_none());
    maps.delete("a", &DeleteParams::default()).await.unwrap();
    assert!(maps.get_opt("a").await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_show_one_snapshot() {
    let lab = Lab::start();
    let maps: Api<ConfigMap> = Api::default_namespaced(lab.client().await);
    for i in 0..10 {
        maps.create(&PostParams::default(), &config_map(&format!("page-{i}"), "1")).await.unwrap();
    }
    let all = ListParams::default().labels("v=1");
    let first = maps.list(&all.clone().limit(4)).await.unwrap();
    maps.create(&PostParams::default(), &config_map("page-55", "1")).await.unwrap();
    maps.delete("page-9", &DeleteParams::default()).await.unwrap();
    let mut names: Vec<_> = first.items.iter().map(|map| map.metadata.name.clone().unwrap()).collect();
    let mut token = first.metadata.continue_.clone();
    while let Some(next) = token.filter(|token| !token.is_empty()) {
        let page = maps.list(&all.clone().limit(4).continue_token(&next)).await.unwrap();
        assert_eq!(page.metadata.resource_version, first.metadata.resource_version);
        names.extend(page.items.iter().map(|map| map.metadata.name.clone().unwrap()));
        token = page.metadata.continue_;
    }
    assert_eq!(names, (0..10).map(|i| format!("page-{i}")).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_by_selector_sees_objects_come_and_go() {
    let lab = Lab::start();
    let maps: Api<ConfigMap> = Api::default_namespaced(lab.client().await);
    let begin = maps.list(&ListParams::default()).await.unwrap().metadata.resource_version.unwrap();
    maps.create(&PostParams::default(), &config_map("w", "1")).await.unwrap();
    let label = |value: &str| Patch::Merge(json!({"metadata": {"labels": {"v": value}}}));
    maps.patch("w", &PatchParams::default(), &label("2")).await.unwrap();
    maps.patch("w", &PatchParams::default(), &label("1")).await.unwrap();
    maps.delete("w", &DeleteParams::default()).await.unwrap();

    let events = maps.watch(&WatchParams::default().labels("v=1"), &begin).await.unwrap();
    let seen: Vec<_> = events
        .try_filter_map(async |event| {
            Ok(match event {
                WatchEvent::Added(_) => Some("ADDED"),
                WatchEvent::Modified(_) => Some("MODIFIED"),
                WatchEvent::Deleted(_) => Some("DELETED"),
                WatchEvent::Bookmark(_) => None,
                WatchEvent::Error(status) => panic!("{status:?}"),
            })
        })
        .take(4)
        .try_collect()
        .await
        .unwrap();
    assert_eq!(seen, ["ADDED", "DELETED", "ADDED", "DELETED"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn watchers_start_both_ways() {
    let lab = Lab::with(&["--apiservers", "1", "--nodes", "1"]);
    let client = lab.client().await;
    let deployments: Api<Deployment> = Api::default_namespaced(client.clone());
    let web = json!({"metadata": {"name": "web"}, "spec": {
        "replicas": 2,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "nginx"}]}},
    }});
    deployments.create(&PostParams::default(), &serde_json::from_value(web).unwrap()).await.unwrap();
    for config in [watcher::Config::default(), watcher::Config::default().streaming_lists()] {
        let pods: Api<Pod> = Api::default_namespaced(client.clone());
        let mut running = std::collections::BTreeSet::new();
        let mut stream = std::pin::pin!(watcher(pods, config).applied_objects());
        while running.len() < 2 {
            let pod = stream.next().await.unwrap().unwrap();
            if pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running") {
                running.insert(pod.metadata.name.unwrap());
            }
        }
    }
}
