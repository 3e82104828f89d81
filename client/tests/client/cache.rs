use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kubelab_api::resource;
use kubelab_client::{Cache, Cause, Change, Partial, Scope};
use serde_json::{Value, json};
use tokio::{
    sync::mpsc::{self, UnboundedReceiver},
    time::timeout,
};

use crate::fake::Fake;

fn config(name: &str, value: u64) -> Value {
    let owner = json!([{"apiVersion": "v1", "kind": "Pod", "name": "owner", "uid": "owner", "controller": true}]);
    let metadata = json!({
        "namespace": "shop", "name": name, "uid": name, "ownerReferences": owner, "managedFields": [{"manager": "x"}],
    });
    json!({"metadata": metadata, "data": {"value": value.to_string()}})
}

fn describe(change: &Change<ConfigMap>) -> String {
    let name = change.object().metadata.name.clone().unwrap();
    match change {
        Change::Added(_) => format!("+{name}"),
        Change::Modified { .. } => format!("~{name}"),
        Change::Deleted(_) => format!("-{name}"),
    }
}

fn told(cache: &Cache<ConfigMap>) -> UnboundedReceiver<(String, u64)> {
    let (tell, told) = mpsc::unbounded_channel();
    cache.on_change(move |change| {
        let _ = tell.send((describe(change), Cause::current().revision));
    });
    told
}

async fn next(told: &mut UnboundedReceiver<(String, u64)>) -> (String, u64) {
    timeout(Duration::from_secs(10), told.recv()).await.unwrap().unwrap()
}

#[tokio::test]
async fn mirrors_state_and_changes_with_their_causes() {
    let fake = Fake::new();
    let server = fake.serve();
    let first = fake.put("configmaps", config("a", 1));
    let cache = Cache::<ConfigMap>::start(&fake.client(&[&server]), Scope::default());
    let mut told = told(&cache);
    cache.synced().await;
    assert_eq!(next(&mut told).await, ("+a".into(), first));
    assert!(cache.get("shop", "a").unwrap().metadata.managed_fields.is_none());

    let second = fake.put("configmaps", config("b", 1));
    assert_eq!(next(&mut told).await, ("+b".into(), second));
    let third = fake.put("configmaps", config("a", 2));
    assert_eq!(next(&mut told).await, ("~a".into(), third));
    assert_eq!(cache.get("shop", "a").unwrap().data.as_ref().unwrap()["value"], "2");
    assert_eq!((cache.list().len(), cache.list_in("shop").len(), cache.list_in("other").len()), (2, 2, 0));
    assert_eq!(cache.controlled_by("owner").len(), 2);

    let fourth = fake.delete_now("configmaps", "shop", "a");
    assert_eq!(next(&mut told).await, ("-a".into(), fourth));
    assert!(cache.get("shop", "a").is_none());

    let (tell, mut late) = mpsc::unbounded_channel();
    cache.on_change(move |change| tell.send((describe(change), Cause::current().revision)).unwrap());
    assert_eq!(next(&mut late).await, ("+b".into(), second), "a late handler sees what is here");
}

#[tokio::test]
async fn resumes_on_another_server_without_gap_or_duplicate() {
    let fake = Fake::new();
    let (one, two) = (fake.serve(), fake.serve());
    let cache = Cache::<ConfigMap>::start(&fake.client(&[&one, &two]), Scope::default());
    let mut told = told(&cache);
    cache.synced().await;
    fake.put("configmaps", config("a", 0));
    assert_eq!(next(&mut told).await.0, "+a");
    one.kill();
    for value in 1..=50 {
        let revision = fake.put("configmaps", config("a", value));
        assert_eq!(next(&mut told).await, ("~a".into(), revision));
    }
    let three = fake.serve();
    let cache = Cache::<ConfigMap>::start(&fake.client(&[&three, &two]), Scope::default());
    cache.synced().await;
    two.kill();
    let revision = fake.put("configmaps", config("b", 0));
    while cache.get("shop", "b").is_none() {
        tokio::task::yield_now().await;
    }
    assert_eq!(cache.get("shop", "b").unwrap().metadata.resource_version, Some(revision.to_string()));
}

#[tokio::test]
async fn reads_all_again_when_history_is_gone() {
    let fake = Fake::new();
    let one = fake.serve();
    let client = fake.client(&[&one]);
    for name in ["kept", "changed", "removed"] {
        fake.put("configmaps", config(name, 0));
    }
    let cache = Cache::<ConfigMap>::start(&client, Scope::default());
    cache.synced().await;
    let mut told = told(&cache);
    for _ in 0..3 {
        next(&mut told).await;
    }
    // The stream says nothing of what comes now, and when it is resumed, history is gone.
    fake.silent.send_replace(true);
    fake.put("configmaps", config("changed", 1));
    fake.put("configmaps", config("added", 0));
    fake.delete_now("configmaps", "shop", "removed");
    fake.forget_history();
    let address = one.address;
    one.kill();
    fake.silent.send_replace(false);
    let revived = fake.serve_at(address);
    let mut changes = vec![next(&mut told).await.0, next(&mut told).await.0, next(&mut told).await.0];
    assert_eq!(changes.pop().unwrap(), "-removed", "deletions are known only when the state is complete");
    changes.sort();
    assert_eq!(changes, ["+added", "~changed"]);
    assert!(told.try_recv().is_err());
    drop(revived);
}

#[tokio::test]
async fn a_silent_stream_is_replaced() {
    let fake = Fake::new();
    let server = fake.serve();
    let cache = Cache::<ConfigMap>::start(&fake.client(&[&server]), Scope::default());
    cache.synced().await;
    let mut told = told(&cache);
    fake.silent.send_replace(true);
    fake.put("configmaps", config("a", 0));
    let silent = timeout(Duration::from_millis(100), told.recv()).await.is_err();
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(16)).await;
    tokio::time::resume();
    fake.silent.send_replace(false);
    assert_eq!(next(&mut told).await.0, "+a");
    assert!(silent);
}

#[tokio::test]
async fn metadata_of_any_resource() {
    let fake = Fake::new();
    let server = fake.serve();
    fake.put(
        "configmaps",
        json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "shop", "name": "a"}, "data": {"k": "v"},
        }),
    );
    let configmaps = resource::find("", "v1", "configmaps").unwrap();
    let cache = Cache::<Partial>::start_dynamic(&fake.client(&[&server]), configmaps, Scope::default());
    cache.synced().await;
    let object = cache.get("shop", "a").unwrap();
    assert_eq!((object.api_version.as_str(), object.kind.as_str()), ("v1", "ConfigMap"));
}

#[tokio::test]
async fn many_watches_leave_room_for_requests() {
    let fake = Fake::new();
    let server = fake.serve();
    let client = fake.client(&[&server]);
    let caches: Vec<_> = (0..230).map(|_| Cache::<ConfigMap>::start(&client, Scope::default())).collect();
    for cache in &caches {
        timeout(Duration::from_secs(10), cache.synced()).await.unwrap();
    }
    client.list::<ConfigMap>("").await.unwrap();
}
