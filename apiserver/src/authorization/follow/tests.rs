//! Decisions follow a real store.
#![allow(clippy::unwrap_used)]

use std::net::{Ipv4Addr, SocketAddr};

use kubelab_store::{Door, Options, Origin, Outcome, Transaction, Write};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::{
    authorization::{Attributes, Authorizer},
    corridor::User,
};

async fn store() -> (Store, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let peers = [(1, listen.to_string())].into();
    let store = Store::open(Options::new(1, peers, folder.path().to_owned(), listen)).await.unwrap();
    let mut member = store.member();
    member.wait_for(|member| member.leader == 1).await.unwrap();
    (store, folder)
}

async fn commit(store: &Store, write: Write) {
    let origin = Origin {
        user: "test".into(),
        agent: "test".into(),
        door: Door::Internal,
        verb: "update".into(),
        time_us: 0,
        trace_id: "".into(),
        cause: 0,
        note: "".into(),
    };
    let transaction = Transaction { preconditions: Vec::new(), writes: vec![write], origin };
    assert!(matches!(store.commit(transaction).await.unwrap(), Outcome::Committed(_)));
}

async fn put(store: &Store, topic: &str, name: &str, index: Option<&str>, object: Value) {
    let value = object.to_string().into();
    let key = Key::new(topic, name);
    commit(store, Write::Put { key, value, stamp: None, index: index.map(Arc::from), expires_ms: None }).await;
}

async fn delete(store: &Store, topic: &str, name: &str) {
    commit(store, Write::Delete { key: Key::new(topic, name) }).await;
}

fn role(verb: &str) -> Value {
    json!({"metadata": {"name": "r"}, "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": [verb]}]})
}

#[tokio::test]
async fn what_is_granted_and_revoked_counts_at_once() {
    let (store, _folder) = store().await;
    let authorizer = Authorizer::new(store.clone());
    let jane = User { name: "jane".into(), ..User::default() };
    let allowed = |verb: &str| authorizer.authorize(&Attributes::resource(&jane, verb, "", "pods")).is_ok();
    assert!(!allowed("list"));

    put(&store, CLUSTER_ROLES, "r", None, role("list")).await;
    let binding = json!({
        "metadata": {"name": "b"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "r"},
        "subjects": [{"kind": "User", "name": "jane"}],
    });
    put(&store, CLUSTER_ROLE_BINDINGS, "b", None, binding).await;
    assert!(allowed("list") && !allowed("get"));
    put(&store, CLUSTER_ROLES, "r", None, role("get")).await;
    assert!(!allowed("list") && allowed("get"));
    delete(&store, CLUSTER_ROLES, "r").await;
    let why = authorizer.authorize(&Attributes::resource(&jane, "get", "", "pods")).unwrap_err().message;
    assert!(why.ends_with(": rbac: RBAC: clusterrole.rbac.authorization.k8s.io \"r\" not found"), "{why}");
    let master = User { groups: vec!["system:masters".into()], ..jane.clone() };
    assert!(authorizer.authorize(&Attributes::resource(&master, "get", "", "pods")).is_ok());
    store.shutdown().await;
}

#[tokio::test]
async fn a_pod_opens_its_secrets_to_its_node_alone() {
    let (store, _folder) = store().await;
    let authorizer = Authorizer::new(store.clone());
    let kubelet = |node: &str| User {
        name: format!("system:node:{node}"),
        groups: vec!["system:nodes".into()],
        ..User::default()
    };
    let (one, two) = (kubelet("n1"), kubelet("n2"));
    let sees = |user: &User| {
        let request = Attributes { namespace: "dev", name: "tls", ..Attributes::resource(user, "get", "", "secrets") };
        authorizer.authorize(&request).map_err(|error| error.message)
    };
    let pod = json!({
        "metadata": {"name": "web", "namespace": "dev"},
        "spec": {"containers": [], "volumes": [{"name": "v", "secret": {"secretName": "tls"}}]},
    });
    put(&store, PODS, "dev/web", None, pod.clone()).await;
    assert_eq!(
        sees(&one),
        Err("secrets \"tls\" is forbidden: User \"system:node:n1\" cannot get resource \"secrets\" in API group \"\" in \
             the namespace \"dev\": node: no relationship found between node 'n1' and this object"
            .into())
    );
    put(&store, PODS, "dev/web", Some("n1"), pod.clone()).await;
    assert!(sees(&one).is_ok() && sees(&two).is_err());
    put(&store, PODS, "dev/web", Some("n1"), pod).await;
    assert!(sees(&one).is_ok());
    delete(&store, PODS, "dev/web").await;
    assert!(sees(&one).is_err());
    // An authorizer that starts later finds the same.
    put(
        &store,
        PODS,
        "dev/api",
        Some("n2"),
        json!({
            "metadata": {"name": "api", "namespace": "dev"},
            "spec": {"containers": [], "imagePullSecrets": [{"name": "tls"}]},
        }),
    )
    .await;
    let later = Authorizer::new(store.clone());
    let request = Attributes { namespace: "dev", name: "tls", ..Attributes::resource(&two, "watch", "", "secrets") };
    assert!(later.authorize(&request).is_ok());
    store.shutdown().await;
}
