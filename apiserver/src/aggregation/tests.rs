#![allow(clippy::unwrap_used)]

use std::net::{Ipv4Addr, SocketAddr};

use kubelab_api::resource::BUILT_IN;
use kubelab_store::{Key, Options, Transaction, Write};
use serde_json::{Value, json};

use super::{resolve::resolve, *};
use crate::{bootstrap::seed::origin, corridor::User, registry::scan};

async fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let peers = [(1, listen.to_string())].into();
    let store = Store::open(Options::new(1, peers, folder.path().to_owned(), listen)).await.unwrap();
    store.member().wait_for(|member| member.leader == 1).await.unwrap();
    (folder, store)
}

async fn put(store: &Store, topic: &str, name: &str, mut value: Value) {
    value["metadata"]["resourceVersion"] = "".into();
    let value = bytes::Bytes::from(value.to_string());
    let stamp = scan::stamp_place(&value);
    let write = Write::Put { key: Key::new(topic, name), value, stamp, index: None, expires_ms: None };
    let origin = origin("create", "test", Timestamp::now());
    store.commit(Transaction { preconditions: vec![], writes: vec![write], origin }).await.unwrap();
}

fn served() -> Vec<Arc<kubelab_api::Resource>> {
    BUILT_IN.iter().cloned().map(Arc::new).collect()
}

#[tokio::test]
async fn every_group_that_is_served_has_its_apiservice() {
    let (_folder, store) = store().await;
    let mut resources = served();
    let now = Timestamp::now();
    store.commit(register::plan(&store.local(), &resources, now, true).unwrap()).await.unwrap();
    let read = |name: &str| -> Value {
        let entry = store.local().get(&Key::new(TOPIC, name)).cloned();
        entry.map(|entry| serde_json::from_slice(&entry.value).unwrap()).unwrap_or_default()
    };
    let apps = read("v1.apps");
    assert_eq!(
        apps["spec"],
        json!({ "group": "apps", "version": "v1", "groupPriorityMinimum": 17800, "versionPriority": 15 })
    );
    assert_eq!(apps["metadata"]["labels"]["kube-aggregator.kubernetes.io/automanaged"], "onstart");
    assert_eq!(apps["status"]["conditions"][0]["message"], "Local APIServices are always available");
    assert_eq!(read("v1.")["spec"], json!({ "version": "v1", "groupPriorityMinimum": 18000, "versionPriority": 1 }));
    assert_eq!(read("v1.apiregistration.k8s.io"), Value::Null);
    assert!(register::plan(&store.local(), &resources, now, true).is_none(), "all is well");

    let custom =
        kubelab_api::Resource { group: "example.com".into(), plural: "foos".into(), ..(*resources[0]).clone() };
    resources.push(Arc::new(custom));
    store.commit(register::plan(&store.local(), &resources, now, false).unwrap()).await.unwrap();
    let custom = read("v1.example.com");
    assert_eq!(
        (&custom["spec"]["groupPriorityMinimum"], &custom["spec"]["versionPriority"]),
        (&json!(1000), &json!(100))
    );
    resources.pop();
    store.commit(register::plan(&store.local(), &resources, now, false).unwrap()).await.unwrap();
    assert_eq!(read("v1.example.com"), Value::Null);
    store.shutdown().await;
}

#[tokio::test]
async fn services_lead_to_their_servers() {
    let (_folder, store) = store().await;
    let refused = |store: &Store, port| resolve(&store.local(), "a", "x", port).unwrap_err();
    let missing = refused(&store, 443);
    assert_eq!((missing.reason, &*missing.message), ("ServiceNotFound", "service/x in \"a\" is not present"));
    let spec = json!({ "type": "ClusterIP", "ports": [{ "name": "https", "port": 443 }] });
    put(&store, "core/services", "a/x", json!({ "metadata": { "name": "x" }, "spec": spec })).await;
    let missing = refused(&store, 80);
    assert_eq!(
        (missing.reason, &*missing.message),
        ("ServicePortError", "service/x in \"a\" is not listening on port 80")
    );
    let missing = refused(&store, 443);
    assert_eq!(
        (missing.reason, &*missing.message),
        ("EndpointsNotFound", "cannot find endpointslices for service/x in \"a\"")
    );
    let slice = |ready: bool| {
        json!({
            "metadata": { "name": "x-1", "labels": { "kubernetes.io/service-name": "x" } },
            "addressType": "IPv4",
            "ports": [{ "name": "https", "port": 8443 }],
            "endpoints": [{ "addresses": ["127.0.0.1"], "conditions": { "ready": ready } }],
        })
    };
    put(&store, "discovery.k8s.io/endpointslices", "a/x-1", slice(false)).await;
    let missing = refused(&store, 443);
    assert_eq!(
        (missing.reason, &*missing.message),
        ("MissingEndpoints", "endpointslices for service/x in \"a\" have no addresses with port name \"https\"")
    );
    put(&store, "discovery.k8s.io/endpointslices", "a/x-1", slice(true)).await;
    assert_eq!(resolve(&store.local(), "a", "x", 443).unwrap(), ["127.0.0.1:8443"]);
    store.shutdown().await;
}

#[test]
fn requests_are_passed_on_in_the_name_of_who_asks() {
    let mut headers = http::HeaderMap::new();
    headers.insert("x-remote-user", "forged".parse().unwrap());
    headers.insert("x-remote-extra-forged", "x".parse().unwrap());
    let user = User {
        name: "alice".into(),
        groups: vec!["a".into(), "b".into()],
        extra: [("example.com/Pod".into(), vec!["p".into()])].into(),
        ..User::default()
    };
    proxy::speak_for(&user, &mut headers);
    let all: Vec<_> = headers.iter().map(|(name, value)| format!("{name}={}", value.to_str().unwrap())).collect();
    assert_eq!(
        all,
        ["x-remote-user=alice", "x-remote-group=a", "x-remote-group=b", "x-remote-extra-example.com%2fpod=p"]
    );
}

#[test]
fn groups_of_others_stand_where_their_priority_puts_them() {
    let service = |group: &str, version: &str, priority: i32| {
        let spec = json!({
            "group": group, "version": version, "groupPriorityMinimum": priority, "versionPriority": 1,
            "service": { "namespace": "a", "name": "x" }, "insecureSkipTLSVerify": true,
        });
        Remote::read(json!({ "metadata": { "name": "n" }, "spec": spec }).to_string().as_bytes(), None, None).unwrap()
    };
    let mut view = View::default();
    for remote in [service("metrics.k8s.io", "v1beta1", 100), service("first.io", "v1", 20000)] {
        view.remotes.insert((remote.group.clone(), remote.version.clone()), remote);
    }
    let names: Vec<_> = merge::groups(&served(), &view).into_iter().map(|group| group.name).collect();
    assert_eq!((&*names[0], &*names[1]), ("apiregistration.k8s.io", "first.io"));
    assert_eq!(names.last().unwrap(), "metrics.k8s.io");
    let remote = view.remotes().last().unwrap();
    assert_eq!(remote.discovery(), json!({ "version": "v1beta1", "freshness": "Stale" }));
    let list = json!({ "resources": [
        { "name": "pods", "singularName": "", "namespaced": true, "kind": "PodMetrics", "verbs": ["get", "list"] },
        { "name": "pods/x", "kind": "X", "verbs": ["create"], "namespaced": true },
    ] });
    remote.documents.store(Some(Arc::new(merge::Documents::new(remote, &list, &Value::Null, None))));
    remote.set_available(true);
    let resource = &remote.discovery()["resources"][0];
    assert_eq!(
        resource["responseKind"],
        json!({ "group": "metrics.k8s.io", "version": "v1beta1", "kind": "PodMetrics" })
    );
    assert_eq!((&resource["scope"], &resource["subresources"][0]["subresource"]), (&json!("Namespaced"), &json!("x")));
}
