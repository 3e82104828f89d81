//! The verbs over a real store of one member.
#![allow(clippy::unwrap_used)]

mod applying;
mod cost;
mod custom;
mod decoding;
mod deleting;
mod model;
mod parts;
mod policy;
mod quota;
mod reading;
mod security;
mod several;
mod writing;

use std::{collections::BTreeMap, time::Duration};

use kubelab_store::{Door, Options as StoreOptions, Revision};
use serde_json::json;
use tempfile::TempDir;

use super::{
    watch::{EventType, WatchBatch},
    *,
};
use crate::corridor::{Body, Options, User};

struct Lab {
    registry: Registry,
    _directory: TempDir,
}

/// The member knows a leader.
async fn led(store: &Store) {
    let mut member = store.member();
    let known = tokio::time::timeout(Duration::from_secs(20), member.wait_for(|member| member.leader != 0));
    known.await.unwrap().unwrap();
}

impl Lab {
    async fn start() -> Self {
        let lab = Self::with(Chain::default()).await;
        lab.create("namespaces", "", json!({"metadata": {"name": "default"}})).await.unwrap();
        lab.create("serviceaccounts", "default", json!({"metadata": {"name": "default"}})).await.unwrap();
        lab
    }

    async fn with(admission: Chain) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let peers = BTreeMap::from([(1, "127.0.0.1:0".to_owned())]);
        let options = StoreOptions::new(1, peers, directory.path().into(), "127.0.0.1:0".parse().unwrap());
        let store = Store::open(options).await.unwrap();
        led(&store).await;
        Self { registry: Registry::new(Table::built_in(), store, admission, Timestamp::now), _directory: directory }
    }

    fn request(&self, verb: Verb, plural: &str, namespace: &str, name: &str) -> Request {
        let (plural, subresource) = plural.split_once('/').unwrap_or((plural, ""));
        let resource = resources::named(plural).unwrap();
        Request {
            user: User { name: "kubernetes-admin".into(), ..Default::default() },
            agent: "test".into(),
            door: Door::Rest,
            trace_id: "trace".into(),
            cause: 0,
            verb,
            resource: Arc::new(resource.clone()),
            namespace: namespace.into(),
            name: name.into(),
            subresource: subresource.into(),
            body: Body::None,
            options: Options { field_validation: "Strict".into(), ..Default::default() },
        }
    }

    async fn send(&self, request: Request) -> Result<Response, Error> {
        self.registry.handle(&request, &|_| Ok(())).await.map(|answer| answer.response)
    }

    async fn object(&self, request: Request) -> Result<Value, Error> {
        match self.send(request).await? {
            Response::Object { json, .. } => Ok(serde_json::from_slice(&json).unwrap()),
            Response::Status(status) => Ok(serde_json::to_value(status).unwrap()),
            Response::List(list) => {
                let items: Vec<Value> = list.items.iter().map(|json| serde_json::from_slice(json).unwrap()).collect();
                Ok(json!({"items": items, "continue": list.continue_token, "remaining": list.remaining,
                          "revision": list.revision}))
            }
            Response::Watch(_) => panic!("a watch"),
        }
    }

    async fn create(&self, plural: &str, namespace: &str, object: Value) -> Result<Value, Error> {
        let name = if plural.contains('/') { object["metadata"]["name"].as_str().unwrap_or_default() } else { "" };
        let body = Body::Json(object.to_string().into());
        self.object(Request { body, ..self.request(Verb::Create, plural, namespace, name) }).await
    }

    async fn update(&self, plural: &str, object: Value) -> Result<Value, Error> {
        let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
        let body = Body::Json(object.to_string().into());
        self.object(Request { body, ..self.request(Verb::Update, plural, &text("namespace"), &text("name")) }).await
    }

    async fn patch(&self, plural: &str, name: &str, media_type: &str, patch: Value) -> Result<Value, Error> {
        let body = Body::Patch { media_type: media_type.into(), patch: patch.to_string().into() };
        self.object(Request { body, ..self.request(Verb::Patch, plural, "default", name) }).await
    }

    async fn get(&self, plural: &str, name: &str) -> Result<Value, Error> {
        self.object(self.request(Verb::Get, plural, "default", name)).await
    }

    async fn delete(&self, plural: &str, name: &str, options: Value) -> Result<Value, Error> {
        let body = Body::Json(options.to_string().into());
        self.object(Request { body, ..self.request(Verb::Delete, plural, "default", name) }).await
    }

    async fn list(&self, plural: &str, options: ListOptions) -> Result<Value, Error> {
        let mut request = self.request(Verb::List, plural, "default", "");
        request.options.list = options;
        self.object(request).await
    }

    async fn watch(&self, plural: &str, options: ListOptions) -> Result<Watch, Error> {
        let mut request = self.request(Verb::Watch, plural, "default", "");
        request.options.list = options;
        match self.send(request).await? {
            Response::Watch(watch) => Ok(*watch),
            _ => panic!("no watch"),
        }
    }
}

async fn next(watch: &mut Watch) -> WatchBatch {
    watch.next(Duration::from_secs(10)).await.unwrap().unwrap()
}

fn told(batch: &WatchBatch) -> Vec<(EventType, String, Revision)> {
    let name = |json: &Bytes| decode::metadata(json).and_then(|meta| meta.name).unwrap_or_default();
    batch.events.iter().map(|event| (event.event_type, name(&event.json), event.revision)).collect()
}

fn config(name: &str, data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}, "data": data})
}

fn pod(name: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "nginx"}]}})
}

fn version(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
}
