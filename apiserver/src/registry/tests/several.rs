//! A client that talks to several apiservers in turn.

use std::net::TcpListener;

use super::*;

async fn start(members: u64) -> Vec<Lab> {
    let listeners: Vec<_> = (0..members).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let addresses: Vec<_> = listeners.iter().map(|listener| listener.local_addr().unwrap()).collect();
    drop(listeners);
    let peers: BTreeMap<_, _> = (1..).zip(addresses.iter().map(ToString::to_string)).collect();
    let mut labs = Vec::new();
    for (id, address) in (1..).zip(addresses) {
        let directory = tempfile::tempdir().unwrap();
        let options = StoreOptions::new(id, peers.clone(), directory.path().into(), address);
        let store = Store::open(options).await.unwrap();
        let registry = Registry::new(Table::built_in(), store, Chain::default(), Timestamp::now);
        labs.push(Lab { registry, _directory: directory });
    }
    for lab in &labs {
        led(lab.registry.store()).await;
    }
    labs
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_apiserver_refuses_what_another_has_just_written() {
    let labs = start(3).await;
    let lab = |n: usize| &labs[n % labs.len()];
    lab(0).create("namespaces", "", json!({"metadata": {"name": "default"}})).await.unwrap();
    for n in 0..60 {
        let name = format!("c{n}");
        let mut object = lab(n).create("configmaps", "default", config(&name, json!({}))).await.unwrap();
        object["data"]["x"] = n.to_string().into();
        let updated = lab(n + 1).update("configmaps", object).await.unwrap();
        let patched = lab(n + 2).patch("configmaps", &name, patch::MERGE, json!({"data": {"y": "1"}})).await.unwrap();
        assert_eq!(patched["data"]["x"], updated["data"]["x"]);
        assert_eq!(lab(n).get("configmaps", &name).await.unwrap(), patched);
        let since = ListOptions { resource_version: version(&updated).to_string(), ..Default::default() };
        let mut watch = lab(n).watch("configmaps", since).await.unwrap();
        assert_eq!(told(&next(&mut watch).await), [(EventType::Modified, name.clone(), version(&patched))]);
        lab(n + 1).delete("configmaps", &name, json!({})).await.unwrap();
        assert_eq!(lab(n + 2).get("configmaps", &name).await.unwrap_err().code(), 404);
        lab(n).create("configmaps", "default", config(&name, json!({}))).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_schedulers_bind_a_pod_once() {
    let labs = Arc::new(start(3).await);
    labs[0].create("namespaces", "", json!({"metadata": {"name": "default"}})).await.unwrap();
    labs[0].create("serviceaccounts", "default", json!({"metadata": {"name": "default"}})).await.unwrap();
    for n in 0..20 {
        let name = format!("p{n}");
        labs[n % 3].create("pods", "default", pod(&name)).await.unwrap();
        let bind = |scheduler: usize| {
            let (labs, name) = (Arc::clone(&labs), name.clone());
            tokio::spawn(async move {
                let target = json!({"kind": "Node", "name": format!("node-{scheduler}")});
                labs[scheduler]
                    .create("pods/binding", "default", json!({"metadata": {"name": name}, "target": target}))
                    .await
            })
        };
        let (first, second) = (bind(0), bind(1));
        let outcomes = [first.await.unwrap(), second.await.unwrap()];
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{outcomes:?}");
        let refused = outcomes.into_iter().find_map(Result::err).unwrap();
        assert!(refused.message.contains("is already assigned to node"), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_is_claimed_once_on_all() {
    let labs = Arc::new(start(3).await);
    labs[0].create("namespaces", "", json!({"metadata": {"name": "default"}})).await.unwrap();
    let claim = |n: usize| {
        let labs = Arc::clone(&labs);
        let service = json!({"metadata": {"name": format!("s{n}")},
                             "spec": {"clusterIP": "10.96.0.77", "ports": [{"port": 80}]}});
        tokio::spawn(async move { labs[n].create("services", "default", service).await })
    };
    let claims: Vec<_> = (0..3).map(claim).collect();
    let mut given = 0;
    for outcome in claims {
        match outcome.await.unwrap() {
            Ok(_) => given += 1,
            Err(error) => assert!(error.message.ends_with("provided IP is already allocated"), "{error}"),
        }
    }
    assert_eq!(given, 1);
}
