use std::sync::atomic::Ordering;

use k8s_openapi::{
    api::core::v1::{Binding, ConfigMap, ObjectReference, Pod},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kubelab_api::error::Reason;
use kubelab_client::{Cause, Client, Patch};
use serde_json::json;

use crate::fake::Fake;

fn config(name: &str) -> ConfigMap {
    ConfigMap {
        metadata: ObjectMeta { namespace: Some("shop".into()), name: Some(name.into()), ..Default::default() },
        ..Default::default()
    }
}

#[tokio::test]
async fn writes_and_reads_and_refusals() {
    let fake = Fake::new();
    let server = fake.serve();
    let client = fake.client(&[&server]);

    let mut created = client.create(&config("web")).await.unwrap();
    let stale = created.clone();
    let refused = client.try_create(&config("web")).await.unwrap_err();
    assert_eq!((refused.error.reason, refused.maybe_done), (Reason::AlreadyExists, false), "somebody else's");

    created.data = Some([("colour".to_owned(), "red".to_owned())].into());
    client.update(&created).await.unwrap();
    let error = client.update(&stale).await.unwrap_err();
    assert_eq!(error.reason, Reason::Conflict);
    assert!(error.message.starts_with("Operation cannot be fulfilled on configmaps \"web\""), "{error}");

    let patch = Patch::Merge(json!({"data": {"size": "xl"}}));
    let patched: ConfigMap = client.patch("shop", "web", patch).await.unwrap();
    assert_eq!(patched.data.unwrap().len(), 2);
    assert_eq!(client.get::<ConfigMap>("shop", "web").await.unwrap().data.unwrap()["size"], "xl");

    client.delete::<ConfigMap>("shop", "web", Default::default()).await.unwrap();
    let error = client.get::<ConfigMap>("shop", "web").await.unwrap_err();
    assert_eq!((error.reason, error.message.as_str()), (Reason::NotFound, "configmaps \"web\" not found"));
}

#[tokio::test]
async fn long_lists_come_in_pages() {
    let fake = Fake::new();
    let server = fake.serve();
    for i in 0..1203 {
        fake.put("configmaps", json!({"metadata": {"namespace": "shop", "name": format!("c{i}")}}));
    }
    let all: Vec<ConfigMap> = fake.client(&[&server]).list("").await.unwrap();
    assert_eq!(all.len(), 1203);
}

#[tokio::test]
async fn a_write_tells_who_and_why() {
    let fake = Fake::new();
    let server = fake.serve();
    let client = fake.client(&[&server]).with_agent("deployment-controller");
    let cause = Cause { revision: 41, trace_id: "t-7".into() };
    cause.scope(async { client.create(&config("web")).await }).await.unwrap();
    let (agent, cause) = fake.writes().pop().unwrap();
    assert!(agent.starts_with("deployment-controller "), "{agent}");
    assert_eq!((cause.revision, cause.trace_id.as_str()), (41, "t-7"));
}

#[tokio::test]
async fn a_binding_counts_once() {
    let fake = Fake::new();
    let server = fake.serve();
    let client = fake.client(&[&server]);
    fake.put("pods", json!({"metadata": {"namespace": "shop", "name": "web"}, "spec": {"containers": []}}));
    let binding = Binding {
        metadata: config("web").metadata,
        target: ObjectReference { kind: Some("Node".into()), name: Some("node-1".into()), ..Default::default() },
    };
    client.bind(&binding).await.unwrap();
    let pod: Pod = client.get("shop", "web").await.unwrap();
    assert_eq!(pod.spec.unwrap().node_name.as_deref(), Some("node-1"));
    assert_eq!(client.bind(&binding).await.unwrap_err().reason, Reason::Conflict);
}

#[tokio::test]
async fn requests_go_to_a_live_server() {
    let fake = Fake::new();
    let (one, two) = (fake.serve(), fake.serve());
    let client = fake.client(&[&one, &two]);
    client.create(&config("a")).await.unwrap();

    let two_address = two.address;
    one.kill();
    client.get::<ConfigMap>("shop", "a").await.unwrap();
    client.create(&config("b")).await.unwrap();

    let three = fake.serve();
    let client = fake.client(&[&two, &three]);
    client.get::<ConfigMap>("shop", "b").await.unwrap();
    two.kill();
    assert_ne!(two_address, three.address);
    client.create(&config("c")).await.unwrap();
    assert_eq!(client.list::<ConfigMap>("shop").await.unwrap().len(), 3);
}

#[tokio::test]
async fn a_write_whose_fate_is_unknown_is_not_done_twice() {
    for (named, expected) in [(false, Reason::Timeout), (true, Reason::AlreadyExists)] {
        let fake = Fake::new();
        let (one, two) = (fake.serve(), fake.serve());
        let client = fake.client(&[&one, &two]);
        // The second server is down at first, so that the write goes to the first one.
        let second = two.address;
        two.kill();
        let mut object = config("web");
        if !named {
            object.metadata.name = None;
            object.metadata.generate_name = Some("web-".into());
        }
        fake.mute.store(true, Ordering::Relaxed);
        let write = tokio::spawn(async move { client.try_create(&object).await });
        while fake.writes().is_empty() {
            tokio::task::yield_now().await;
        }
        one.kill();
        fake.mute.store(false, Ordering::Relaxed);
        let two = fake.serve_at(second);
        let failed = write.await.unwrap().unwrap_err();
        assert_eq!((failed.error.reason, failed.maybe_done), (expected, true), "named: {named}");
        let all: Vec<ConfigMap> = fake.client(&[&two]).list("shop").await.unwrap();
        assert_eq!(all.len(), 1);
    }
}

#[tokio::test]
async fn wrong_settings_say_which() {
    let fake = Fake::new();
    let server = fake.serve();
    let mut connection = fake.connection(&[&server]);
    connection.client_key = "/nowhere/client.key".into();
    let error = Client::new(&connection).err().unwrap();
    assert_eq!(error.message, "cannot read /nowhere/client.key: No such file or directory (os error 2)");
}
