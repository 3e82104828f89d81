use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::api::core::v1::{Event, Pod};
use kubelab_client::Client;
use kubelab_scheduler::{config::Configuration, scheduler::Scheduler};
use serde_json::json;
use tokio::{task::JoinHandle, time::timeout};

use crate::{bound, fake::Fake, node, pod};

async fn start(client: &Client) -> JoinHandle<()> {
    let scheduler = Scheduler::new(client, Configuration::default());
    scheduler.synced().await;
    tokio::spawn(async move { scheduler.run().await })
}

/// Waits for an event with this reason; returns its message.
async fn told(client: &Client, reason: &str) -> String {
    let wait = async {
        loop {
            let events: Vec<Event> = client.list("shop").await.unwrap();
            if let Some(event) = events.into_iter().find(|event| event.reason.as_deref() == Some(reason)) {
                return event.message.unwrap();
            }
        }
    };
    timeout(Duration::from_secs(10), wait).await.unwrap()
}

#[tokio::test]
async fn pods_are_spread_and_bound_because_of_their_event() {
    let fake = Fake::new();
    let server = fake.serve();
    let client = fake.client(&[&server]);
    for name in ["node-1", "node-2", "node-3"] {
        fake.put("nodes", node(name));
    }
    let _running = start(&client.with_agent("kube-scheduler")).await;
    let revisions: Vec<u64> = (0..30).map(|at| fake.put("pods", pod(&format!("web-{at}"), "100m"))).collect();
    let nodes = bound(&client, 30).await;
    let mut counts = BTreeMap::new();
    for node in nodes.values() {
        *counts.entry(node.as_str()).or_insert(0) += 1;
    }
    assert_eq!(counts, BTreeMap::from([("node-1", 10), ("node-2", 10), ("node-3", 10)]));
    let causes: Vec<u64> = fake.writes().iter().map(|(_, cause)| cause.revision).collect();
    assert!(revisions.iter().all(|revision| causes.contains(revision)));
    assert!(told(&client, "Scheduled").await.starts_with("Successfully assigned shop/web-"));
}

#[tokio::test]
async fn a_pod_that_fits_nowhere_says_why_and_waits_for_room() {
    let fake = Fake::new();
    let server = fake.serve();
    let client = fake.client(&[&server]);
    let _running = start(&client).await;
    fake.put("pods", pod("web", "3"));
    assert_eq!(told(&client, "FailedScheduling").await, "no nodes available to schedule pods");

    fake.put("nodes", node("small"));
    bound(&client, 1).await;
    fake.put("pods", pod("other", "2"));
    let expected = "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: 1 No preemption \
                    victims found for incoming pod.";
    let condition = timeout(Duration::from_secs(10), async {
        loop {
            let other: Pod = client.get("shop", "other").await.unwrap();
            if let Some(condition) = kubelab_api::pod::get_condition(&other, "PodScheduled") {
                return condition.clone();
            }
        }
    });
    let condition = condition.await.unwrap();
    assert_eq!((condition.status.as_str(), condition.reason.as_deref()), ("False", Some("Unschedulable")));
    assert_eq!(condition.message.as_deref(), Some(expected));

    fake.delete_now("pods", "shop", "web");
    bound(&client, 1).await;
}

#[tokio::test]
async fn two_schedulers_bind_each_pod_once() {
    let fake = Fake::new();
    let server = fake.serve();
    let client = fake.client(&[&server]);
    for at in 0..5 {
        fake.put("nodes", node(&format!("node-{at}")));
    }
    let _one = start(&fake.client(&[&server])).await;
    let _two = start(&fake.client(&[&server])).await;
    for at in 0..200 {
        fake.put("pods", pod(&format!("web-{at}"), "10m"));
    }
    let first = bound(&client, 200).await;
    // Both go on with what really is: the room that a lost race had held is free again.
    fake.put("pods", pod("last", "10m"));
    let mut last = bound(&client, 201).await;
    last.remove("last");
    assert_eq!(first, last);
}

/// What the volume binder does: a claim whose node is chosen, or that a volume names, gets its volume.
async fn binder(fake: &Fake) {
    fake.until("a node is chosen for the claim", |fake| {
        let claim = fake.object("persistentvolumeclaims", "shop", "data").unwrap();
        claim["metadata"]["annotations"]["volume.kubernetes.io/selected-node"] == "node-1"
    })
    .await;
    fake.put("persistentvolumes", json!({ "metadata": { "name": "made" }, "spec": {} }));
    let mut claim = fake.object("persistentvolumeclaims", "shop", "data").unwrap();
    claim["metadata"]["annotations"]["pv.kubernetes.io/bind-completed"] = json!("yes");
    claim["spec"]["volumeName"] = json!("made");
    fake.put("persistentvolumeclaims", claim);
}

#[tokio::test]
async fn a_pod_waits_for_the_volume_that_is_made_on_its_node() {
    let fake = Fake::new();
    let server = fake.serve();
    let client = fake.client(&[&server]);
    fake.put("nodes", node("node-1"));
    let _running = start(&client).await;
    fake.put(
        "storageclasses",
        json!({
            "metadata": { "name": "lazy" }, "provisioner": "made.example", "volumeBindingMode": "WaitForFirstConsumer",
        }),
    );
    let mut waiting = pod("web", "1");
    waiting["spec"]["volumes"] = json!([{ "name": "data", "persistentVolumeClaim": { "claimName": "data" } }]);
    fake.put("pods", waiting);
    assert_eq!(
        told(&client, "FailedScheduling").await,
        "0/1 nodes are available: persistentvolumeclaim \"data\" not found. preemption: 0/1 nodes are available: 1 \
         Preemption is not helpful for scheduling.",
    );
    fake.put(
        "persistentvolumeclaims",
        json!({
            "metadata": { "namespace": "shop", "name": "data" },
            "spec": { "storageClassName": "lazy", "resources": { "requests": { "storage": "1Gi" } } },
        }),
    );
    // Others are bound while it waits.
    fake.put("pods", pod("other", "1"));
    bound(&client, 1).await;
    binder(&fake).await;
    bound(&client, 2).await;
}

#[tokio::test]
async fn room_is_made_for_an_important_pod() {
    let fake = Fake::new();
    let server = fake.serve();
    let client = fake.client(&[&server]);
    fake.put("nodes", node("node-1"));
    fake.put("pods", pod("low", "3"));
    let _running = start(&client).await;
    bound(&client, 1).await;
    let mut important = pod("high", "3");
    important["spec"]["priority"] = json!(10);
    fake.put("pods", important);
    fake.until("the pod has its node", |fake| {
        fake.object("pods", "shop", "high").is_some_and(|pod| pod["spec"]["nodeName"] == "node-1")
    })
    .await;
    assert!(fake.object("pods", "shop", "low").is_none());
    let nominated = |pod: &serde_json::Value| pod["status"]["nominatedNodeName"] == "node-1";
    assert!(fake.versions("pods", "high").iter().any(nominated));
    let by_scheduler = |pod: &serde_json::Value| {
        pod["status"]["conditions"][0]["reason"] == "PreemptionByScheduler"
            && pod["status"]["conditions"][0]["message"]
                == "default-scheduler: preempting to accommodate a higher priority pod"
    };
    assert!(fake.versions("pods", "low").iter().any(by_scheduler));
    assert!(told(&client, "Preempted").await.ends_with(" on node node-1"));
}
