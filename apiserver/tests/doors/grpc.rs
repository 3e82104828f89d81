//! The gRPC door.

use kubelab_api::{Error, Reason};
use kubelab_proto::{
    flow::{MemberRequest, WhyRequest, flow_client::FlowClient},
    objects::{
        Cause, DeleteRequest, GetRequest, ListRequest, PatchRequest, Target, WatchRequest, WriteRequest,
        objects_client::ObjectsClient, watch_event::Type,
    },
};
use serde_json::json;
use tokio::time::timeout;
use tonic::{Code, Status};

use super::lab::{Lab, PATIENCE};

fn target(name: &str) -> Option<Target> {
    Some(Target {
        version: "v1".into(),
        resource: "configmaps".into(),
        namespace: "default".into(),
        name: name.into(),
        ..Target::default()
    })
}

fn write(name: &str, cause: u64) -> WriteRequest {
    let json = json!({ "kind": "ConfigMap", "apiVersion": "v1", "metadata": { "name": name } });
    let cause = Some(Cause { revision: cause, trace_id: "t".into() });
    WriteRequest { target: target(""), json: json.to_string().into(), cause, dry_run: false }
}

fn refusal(status: &Status) -> Error {
    Error::from_status(serde_json::from_slice(status.details()).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_pass_the_grpc_door() {
    let lab = Lab::start().await;
    let mut objects = ObjectsClient::new(lab.channel("admin").await);
    let created = objects.create(write("one", 0)).await.unwrap().into_inner();
    assert!(created.revision > 0);
    let again = objects.create(write("one", 0)).await.unwrap_err();
    assert_eq!((again.code(), refusal(&again).reason), (Code::AlreadyExists, Reason::AlreadyExists));
    let dry = WriteRequest { dry_run: true, ..write("dry", 0) };
    objects.create(dry).await.unwrap();
    let gone = objects.get(GetRequest { target: target("dry"), revision: None }).await.unwrap_err();
    assert_eq!(gone.code(), Code::NotFound);

    let patch = PatchRequest {
        target: target("one"),
        patch_type: "application/merge-patch+json".into(),
        patch: br#"{"data":{"a":"b"}}"#.as_slice().into(),
        ..PatchRequest::default()
    };
    let patched = objects.patch(patch).await.unwrap().into_inner();
    assert!(patched.revision > created.revision);
    let stale = WriteRequest { target: target("one"), json: created.json, cause: None, dry_run: false };
    assert_eq!(objects.update(stale).await.unwrap_err().code(), Code::Aborted);

    let field_selector = "metadata.name=one".into();
    let list = ListRequest { target: target(""), field_selector, ..ListRequest::default() };
    let list = objects.list(list).await.unwrap().into_inner();
    assert_eq!(list.items.len(), 1);
    assert!(list.revision >= patched.revision);
    objects.delete(DeleteRequest { target: target("one"), ..DeleteRequest::default() }).await.unwrap();
    let unknown = Target { resource: "nothings".into(), ..target("x").unwrap() };
    let unknown = objects.get(GetRequest { target: Some(unknown), revision: None }).await.unwrap_err();
    assert_eq!(refusal(&unknown).reason, Reason::NotFound);
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_gives_the_state_and_then_its_changes_and_can_be_resumed() {
    let lab = Lab::start().await;
    let mut objects = ObjectsClient::new(lab.channel("admin").await);
    objects.create(write("before", 0)).await.unwrap();
    let request = |after| WatchRequest {
        target: target(""),
        field_selector: "metadata.name!=kube-root-ca.crt".into(),
        after,
        ..WatchRequest::default()
    };
    let mut watch = objects.watch(request(None)).await.unwrap().into_inner();
    let mut state = Vec::new();
    let mut synced = 0;
    while synced == 0 {
        let batch = timeout(PATIENCE, watch.message()).await.unwrap().unwrap().unwrap();
        state.extend(batch.events);
        if batch.synced {
            synced = batch.revision;
        }
    }
    assert_eq!(state.len(), 1);
    let created = objects.create(write("after", synced)).await.unwrap().into_inner();
    let next = async |watch: &mut tonic::Streaming<_>| loop {
        let batch: kubelab_proto::objects::WatchBatch =
            timeout(PATIENCE, watch.message()).await.unwrap().unwrap().unwrap();
        assert!(!batch.synced);
        if let Some(event) = batch.events.first() {
            break (event.clone(), batch.revision);
        }
    };
    let (event, revision) = next(&mut watch).await;
    assert_eq!((event.r#type(), event.revision, &*event.trace_id), (Type::Added, created.revision, "t"));
    assert!(revision >= created.revision);

    let mut resumed = objects.watch(request(Some(synced))).await.unwrap().into_inner();
    assert_eq!(next(&mut resumed).await.0.revision, created.revision, "no gap and no repetition");
    lab.stop().await;
    let end = timeout(PATIENCE, async { while let Ok(Some(_)) = watch.message().await {} }).await;
    assert!(end.is_ok(), "a watch ends when the server goes");
}

#[tokio::test(flavor = "multi_thread")]
async fn why_follows_causes_back_to_the_first() {
    let lab = Lab::start().await;
    let mut objects = ObjectsClient::new(lab.channel("admin").await);
    let path = "/api/v1/namespaces/default/configmaps";
    lab.post("admin", path, json!({ "kind": "ConfigMap", "apiVersion": "v1", "metadata": { "name": "root" } })).await;
    let root = objects.get(GetRequest { target: target("root"), revision: None }).await.unwrap().into_inner().revision;
    let child = objects.create(write("child", root)).await.unwrap().into_inner().revision;
    objects.create(write("other", root)).await.unwrap();
    let grandchild = objects.create(write("grandchild", child)).await.unwrap().into_inner().revision;

    let mut flow = FlowClient::new(lab.channel("admin").await);
    let request = WhyRequest {
        resource: "configmaps".into(),
        namespace: "default".into(),
        name: "grandchild".into(),
        ..WhyRequest::default()
    };
    let reply = flow.why(request).await.unwrap().into_inner();
    assert!(!reply.truncated);
    let hops: Vec<_> = reply.hops.iter().map(|hop| (hop.revision, hop.name.as_str(), hop.door.as_str())).collect();
    assert_eq!(hops, [(root, "root", "rest"), (child, "child", "grpc"), (grandchild, "grandchild", "grpc")]);
    assert_eq!(reply.hops[1].agent, "kube-test/1");
    assert_eq!((reply.hops[2].cause, &*reply.hops[2].verb), (child, "create"));
    assert!(reply.hops[2].time_us >= reply.hops[0].time_us);

    let member = flow.member(MemberRequest {}).await.unwrap().into_inner();
    assert_eq!((member.id, member.leader, &*member.voters), (1, 1, &[1][..]));
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_is_deleted_and_that_is_said() {
    let lab = Lab::start().await;
    let mut objects = ObjectsClient::new(lab.channel("admin").await);
    for name in ["a", "b"] {
        objects.create(write(name, 0)).await.unwrap();
    }
    objects.delete(DeleteRequest { target: target(""), ..DeleteRequest::default() }).await.unwrap();
    let left = objects.list(ListRequest { target: target(""), ..ListRequest::default() }).await.unwrap().into_inner();
    assert!(left.items.is_empty());
    lab.stop().await;
}
