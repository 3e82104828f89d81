use std::time::Duration;

use k8s_openapi::{
    api::core::v1::{Event, Pod},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kubelab_client::{Cause, Recorder, recorder::Kind};
use tokio::time::timeout;

use crate::fake::Fake;

#[tokio::test]
async fn repeated_events_become_one_with_a_count() {
    let fake = Fake::new();
    let server = fake.serve();
    let client = fake.client(&[&server]);
    let recorder = Recorder::new(&client, "kubelet", "node-1");
    let pod = Pod {
        metadata: ObjectMeta {
            namespace: Some("shop".into()),
            name: Some("web".into()),
            uid: Some("u".into()),
            ..Default::default()
        },
        ..Default::default()
    };
    let events = |count: i32| {
        let client = client.clone();
        let wait = async move {
            loop {
                let events: Vec<Event> = client.list("shop").await.unwrap();
                if events.iter().filter_map(|event| event.count).sum::<i32>() == count {
                    return events;
                }
            }
        };
        async { timeout(Duration::from_secs(10), wait).await.unwrap() }
    };
    Cause { revision: 5, trace_id: String::new() }.sync_scope(|| {
        recorder.event_at(&pod, "spec.containers{web}", Kind::Warning, "BackOff", "Back-off restarting");
    });
    let first = events(1).await.pop().unwrap();
    assert_eq!(first.involved_object.field_path.as_deref(), Some("spec.containers{web}"));
    assert_eq!(first.source.unwrap().host.as_deref(), Some("node-1"));
    assert_eq!(first.type_.as_deref(), Some("Warning"));
    assert!(first.metadata.name.unwrap().starts_with("web."));
    assert_eq!(fake.writes()[0].1.revision, 5);

    recorder.event_at(&pod, "spec.containers{web}", Kind::Warning, "BackOff", "Back-off restarting");
    assert_eq!(events(2).await.len(), 1);
    fake.delete_now("events", "shop", events(2).await[0].metadata.name.as_deref().unwrap());
    recorder.event_at(&pod, "spec.containers{web}", Kind::Warning, "BackOff", "Back-off restarting");
    assert_eq!(events(3).await.len(), 1, "an event that has expired is made anew, with its count");
    recorder.event(&pod, Kind::Normal, "Started", "Started container web");
    assert_eq!(events(4).await.len(), 2);
}
