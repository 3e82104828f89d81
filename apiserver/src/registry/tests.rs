//! The verbs over a real store of one member.
#![allow(clippy::unwrap_used)]

use std::{collections::BTreeMap, time::Duration};

use kubelab_store::{Door, Options as StoreOptions};
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
        let mut member = store.member();
        member.wait_for(|member| member.role == kubelab_store::Role::Leader).await.unwrap();
        let registry = Registry::new(Table::built_in(), store, admission, Timestamp::now);
        Self { registry, _directory: directory }
    }

    fn request(&self, verb: Verb, plural: &str, namespace: &str, name: &str) -> Request {
        let (plural, subresource) = plural.split_once('/').unwrap_or((plural, ""));
        let resource = resource::named(plural).unwrap();
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
            Response::Watch(watch) => Ok(watch),
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

#[tokio::test]
async fn an_object_lives_from_create_to_delete() {
    let lab = Lab::start().await;
    let created = lab.create("configmaps", "default", config("a", json!({"k": "1"}))).await.unwrap();
    assert!(version(&created) > 0);
    assert_eq!(created, lab.get("configmaps", "a").await.unwrap());
    let meta = &created["metadata"];
    assert_eq!(meta["uid"].as_str().map(str::len), Some(36));
    assert!(meta["creationTimestamp"].is_string());

    let taken = lab.create("configmaps", "default", config("a", json!({}))).await.unwrap_err();
    assert_eq!((taken.code(), &*taken.message), (409, "configmaps \"a\" already exists"));

    let mut changed = created.clone();
    changed["data"]["k"] = "2".into();
    let updated = lab.update("configmaps", changed.clone()).await.unwrap();
    assert!(version(&updated) > version(&created));
    let stale = lab.update("configmaps", changed).await.unwrap_err();
    assert_eq!(
        (stale.code(), &*stale.message),
        (
            409,
            "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your changes \
             to the latest version and try again"
        )
    );
    let same = lab.update("configmaps", config("a", json!({"k": "2"}))).await.unwrap();
    assert_eq!(version(&same), version(&updated), "an update that changes nothing is no write");

    let mut other = updated.clone();
    other["metadata"]["uid"] = "other".into();
    let error = lab.update("configmaps", other).await.unwrap_err();
    assert!(error.message.contains("Precondition failed: UID in precondition: other"), "{error}");

    let gone = lab.delete("configmaps", "a", json!({})).await.unwrap();
    assert_eq!(gone["status"], "Success");
    assert_eq!(gone["details"]["kind"], "configmaps");
    assert_eq!(gone["details"]["uid"], meta["uid"]);
    for missing in [lab.get("configmaps", "a").await, lab.delete("configmaps", "a", json!({})).await] {
        assert_eq!(missing.unwrap_err().message, "configmaps \"a\" not found");
    }
}

#[tokio::test]
async fn bad_input_is_refused_in_upstreams_words() {
    let lab = Lab::start().await;
    let cases = [
        (
            "configmaps",
            r#"{"metadata":{"name":"a"},"data":{"x":1}}"#,
            400,
            "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: json: cannot unmarshal number into Go struct field \
          ConfigMap.data of type string",
        ),
        (
            "deployments",
            r#"{"metadata":{"name":"a"},"spec":{"replicas":"three"}}"#,
            400,
            "Deployment in version \"v1\" cannot be handled as a Deployment: json: cannot unmarshal string into Go struct field \
          DeploymentSpec.spec.replicas of type int32",
        ),
        (
            "pods",
            r#"{"metadata":{"name":"a"},"spec":{"containers":[{"name":"c","env":[{"name":"a","value":1}]}]}}"#,
            400,
            "Pod in version \"v1\" cannot be handled as a Pod: json: cannot unmarshal number into Go struct field \
          EnvVar.spec.containers.env.value of type string",
        ),
        (
            "configmaps",
            r#"{"metadata":{"name":"a","nam":"b"},"data":{"x":"1","x":"2"},"spec":{}}"#,
            400,
            "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: unknown field \
          \"metadata.nam\", unknown field \"spec\", duplicate field \"data.x\"",
        ),
        (
            "configmaps",
            r#"{"metadata":"#,
            400,
            "the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind; json parse error: \
          unexpected end of JSON input ({\"metadata\":)",
        ),
        (
            "configmaps",
            "hello",
            400,
            "the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind; json parse error: \
          invalid character 'h' looking for beginning of value (68656c6c6f)",
        ),
        (
            "configmaps",
            r#"{"apiVersion":"v2","metadata":{"name":"a"}}"#,
            400,
            "the API version in the data (v2) does not match the expected API version (v1)",
        ),
        (
            "secrets",
            r#"{"metadata":{"name":"a"},"data":{"x":"a?b"}}"#,
            400,
            "Secret in version \"v1\" cannot be handled as a Secret: illegal base64 data at input byte 1",
        ),
        (
            "configmaps",
            r#"{"metadata":{"name":"A"}}"#,
            422,
            "ConfigMap \"A\" is invalid: metadata.name: Invalid value: \"A\": a lowercase RFC 1123 subdomain must consist of \
          lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. \
          'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
        ),
        (
            "configmaps",
            r#"{"metadata":{}}"#,
            422,
            "ConfigMap \"\" is invalid: metadata.name: Required value: name or generateName is required",
        ),
        (
            "configmaps",
            r#"{"metadata":{"name":"a","namespace":"other"}}"#,
            400,
            "the namespace of the provided object does not match the namespace sent on the request",
        ),
        (
            "configmaps",
            r#"{"metadata":{"name":"a","resourceVersion":"7"}}"#,
            400,
            "resourceVersion should not be set on objects to be created",
        ),
    ];
    for (plural, json, code, message) in cases {
        let body = Body::Json(Bytes::from_static(json.as_bytes()));
        let error = lab.object(Request { body, ..lab.request(Verb::Create, plural, "default", "") }).await.unwrap_err();
        assert_eq!((error.code(), &*error.message), (code, message), "{json}");
    }
    let mut huge = pod("huge");
    huge["spec"]["containers"][0]["env"] = json!([{"name": "a", "value": "x".repeat(plan::OBJECT_LIMIT)}]);
    assert_eq!(lab.create("pods", "default", huge).await.unwrap_err().message, "etcdserver: request is too large");
    let body = Body::Json(format!("{{\"x\":{}", "[".repeat(1_000_000)).into());
    assert!(lab.object(Request { body, ..lab.request(Verb::Create, "configmaps", "default", "") }).await.is_err());
    assert_eq!(lab.list("configmaps", ListOptions::default()).await.unwrap()["items"], json!([]));
}

#[tokio::test]
async fn field_validation_is_up_to_the_caller() {
    let lab = Lab::start().await;
    for (validation, warnings) in [("Warn", 1), ("", 1), ("Ignore", 0)] {
        let mut request = lab.request(Verb::Create, "configmaps", "default", "");
        request.body = Body::Json(r#"{"metadata":{"generateName":"a-"},"spec":{}}"#.into());
        request.options.field_validation = validation.into();
        let answer = lab.registry.handle(&request, &|_| Ok(())).await.unwrap();
        assert_eq!(answer.warnings, vec!["unknown field \"spec\""; warnings], "{validation:?}");
    }
}

#[tokio::test]
async fn numbers_are_quantities_too() {
    let lab = Lab::start().await;
    let mut wanted = pod("a");
    wanted["spec"]["containers"][0]["resources"] = json!({"limits": {"cpu": 1}});
    let created = lab.create("pods", "default", wanted).await.unwrap();
    assert_eq!(created["spec"]["containers"][0]["resources"]["limits"]["cpu"], "1");
}

#[tokio::test]
async fn names_are_generated_and_dry_runs_store_nothing() {
    let lab = Lab::start().await;
    let object = json!({"metadata": {"generateName": "web-"}});
    let created = lab.create("configmaps", "default", object.clone()).await.unwrap();
    let name = created["metadata"]["name"].as_str().unwrap();
    assert!(name.starts_with("web-") && name.len() == 9, "{name}");

    let mut request = lab.request(Verb::Create, "configmaps", "default", "");
    request.body = Body::Json(object.to_string().into());
    request.options.dry_run = true;
    assert!(lab.object(request).await.unwrap()["metadata"]["uid"].is_string());
    assert_eq!(
        lab.list("configmaps", ListOptions::default()).await.unwrap()["items"].as_array().map(Vec::len),
        Some(1)
    );
}

#[tokio::test]
async fn pages_show_one_snapshot() {
    let lab = Lab::start().await;
    for name in ["a", "b", "c", "d", "e"] {
        lab.create("configmaps", "default", config(name, json!({}))).await.unwrap();
    }
    let limited = |token: &Value| ListOptions {
        limit: 2,
        continue_token: token.as_str().unwrap_or_default().into(),
        ..Default::default()
    };
    let names = |page: &Value| -> Vec<String> {
        page["items"].as_array().unwrap().iter().map(|item| item["metadata"]["name"].as_str().unwrap().into()).collect()
    };
    let first = lab.list("configmaps", limited(&Value::Null)).await.unwrap();
    assert_eq!((names(&first), &first["remaining"]), (vec!["a".into(), "b".into()], &json!(3)));
    lab.delete("configmaps", "c", json!({})).await.unwrap();
    lab.create("configmaps", "default", config("cc", json!({}))).await.unwrap();
    let second = lab.list("configmaps", limited(&first["continue"])).await.unwrap();
    assert_eq!((names(&second), &second["revision"]), (vec!["c".into(), "d".into()], &first["revision"]));
    let third = lab.list("configmaps", limited(&second["continue"])).await.unwrap();
    assert_eq!((names(&third), &third["continue"], &third["remaining"]), (vec!["e".into()], &json!(""), &Value::Null));

    let exact = ListOptions {
        resource_version: first["revision"].to_string(),
        resource_version_match: "Exact".into(),
        ..Default::default()
    };
    assert_eq!(names(&lab.list("configmaps", exact).await.unwrap()), ["a", "b", "c", "d", "e"]);
    let future = ListOptions { resource_version: "1000000".into(), ..Default::default() };
    let error = lab.list("configmaps", future).await.unwrap_err();
    assert!(error.code() == 504 && error.message.contains("Too large resource version: 1000000"), "{error}");
}

#[tokio::test]
async fn selectors_choose_by_labels_and_fields() {
    let lab = Lab::start().await;
    for (name, app) in [("a", "web"), ("b", "db"), ("c", "web")] {
        let mut wanted = pod(name);
        wanted["metadata"]["labels"] = json!({"app": app});
        lab.create("pods", "default", wanted).await.unwrap();
    }
    let binding = json!({"metadata": {"name": "a"}, "target": {"kind": "Node", "name": "node-1"}});
    lab.create("pods/binding", "default", binding).await.unwrap();
    let cases = [
        ("app=web", "", vec!["a", "c"]),
        ("app!=web", "", vec!["b"]),
        ("app in (web)", "metadata.name=c", vec!["c"]),
        ("", "spec.nodeName=node-1", vec!["a"]),
        ("", "spec.nodeName=", vec!["b", "c"]),
        ("", "spec.nodeName!=node-1,status.phase=Pending", vec!["b", "c"]),
        ("", "metadata.namespace=other", vec![]),
    ];
    for (labels, fields, wanted) in cases {
        let options =
            ListOptions { label_selector: labels.into(), field_selector: fields.into(), ..Default::default() };
        let list = lab.list("pods", options).await.unwrap();
        let names: Vec<_> =
            list["items"].as_array().unwrap().iter().map(|pod| pod["metadata"]["name"].clone()).collect();
        assert_eq!(names, wanted, "{labels} {fields}");
    }
    let unknown = ListOptions { field_selector: "spec.color=red".into(), ..Default::default() };
    assert_eq!(
        lab.list("configmaps", unknown).await.unwrap_err().message,
        "\"spec.color\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
    );
}

#[tokio::test]
async fn a_watch_tells_the_state_and_then_every_change() {
    let lab = Lab::start().await;
    let mut red = config("a", json!({}));
    red["metadata"]["labels"] = json!({"color": "red"});
    let first = version(&lab.create("configmaps", "default", red.clone()).await.unwrap());
    lab.create("configmaps", "default", config("b", json!({}))).await.unwrap();
    let options = ListOptions { label_selector: "color=red".into(), ..Default::default() };
    let mut watch = lab.watch("configmaps", options.clone()).await.unwrap();
    let initial = next(&mut watch).await;
    assert_eq!((told(&initial), initial.synced), (vec![(EventType::Added, "a".into(), first)], true));

    let mut blue = red.clone();
    blue["metadata"]["labels"] = json!({"color": "blue"});
    let left = version(&lab.update("configmaps", blue).await.unwrap());
    let batch = next(&mut watch).await;
    assert_eq!(told(&batch), [(EventType::Deleted, "a".into(), left)]);
    let last: Value = serde_json::from_slice(&batch.events[0].json).unwrap();
    assert_eq!((version(&last), &last["metadata"]["labels"]["color"]), (left, &json!("red")));
    assert_eq!(&*batch.events[0].trace_id, "trace");

    let back = version(&lab.update("configmaps", red.clone()).await.unwrap());
    assert_eq!(told(&next(&mut watch).await), [(EventType::Added, "a".into(), back)]);
    red["data"]["x"] = "y".into();
    let changed = version(&lab.update("configmaps", red).await.unwrap());
    assert_eq!(told(&next(&mut watch).await), [(EventType::Modified, "a".into(), changed)]);
    lab.delete("configmaps", "a", json!({})).await.unwrap();
    let batch = next(&mut watch).await;
    let last: Value = serde_json::from_slice(&batch.events[0].json).unwrap();
    assert_eq!(told(&batch), [(EventType::Deleted, "a".into(), version(&last))]);
    assert!(version(&last) > changed);

    let resumed = ListOptions { resource_version: left.to_string(), ..options };
    let mut watch = lab.watch("configmaps", resumed).await.unwrap();
    let types: Vec<_> = told(&next(&mut watch).await).into_iter().map(|(event, ..)| event).collect();
    assert_eq!(types, [EventType::Added, EventType::Modified, EventType::Deleted]);
    let idle = watch.next(Duration::from_millis(1)).await.unwrap().unwrap();
    assert!(idle.events.is_empty() && idle.revision >= version(&last));
}

#[tokio::test]
async fn patches_of_all_types_apply() {
    let lab = Lab::start().await;
    lab.create("configmaps", "default", config("a", json!({"x": "1", "y": "2"}))).await.unwrap();
    let merged = lab.patch("configmaps", "a", patch::MERGE, json!({"data": {"x": null, "z": "3"}})).await.unwrap();
    assert_eq!(merged["data"], json!({"y": "2", "z": "3"}));
    let operations = json!([{"op": "replace", "path": "/data/y", "value": "9"}]);
    assert_eq!(lab.patch("configmaps", "a", patch::JSON, operations).await.unwrap()["data"]["y"], "9");

    lab.create("pods", "default", pod("p")).await.unwrap();
    let image = json!({"spec": {"containers": [{"name": "c", "image": "nginx:2"}]}});
    let patched = lab.patch("pods", "p", patch::STRATEGIC, image).await.unwrap();
    assert_eq!(patched["spec"]["containers"][0]["image"], "nginx:2");
    assert_eq!(patched["spec"]["containers"].as_array().map(Vec::len), Some(1));

    let cases = [
        (
            patch::MERGE,
            json!({"data": {"x": 1}}),
            422,
            "cannot unmarshal number into Go struct field ConfigMap.data of type string",
        ),
        (patch::MERGE, json!({"dat": {}}), 422, "strict decoding error: unknown field \"dat\""),
        (patch::MERGE, json!([]), 400, "Invalid JSON Patch"),
        (
            patch::JSON,
            json!([{"op": "remove", "path": "/none"}]),
            422,
            "the server rejected our request due to an error in our request",
        ),
        (patch::APPLY, json!({}), 415, "server-side apply is not served yet"),
        ("text/plain", json!({}), 415, "the body of the request was in an unknown format"),
        (
            patch::MERGE,
            json!({"metadata": {"name": "b"}}),
            422,
            "metadata.name: Invalid value: \"b\": field is immutable",
        ),
        (patch::MERGE, json!({"metadata": {"resourceVersion": "1"}}), 409, "the object has been modified"),
    ];
    for (media_type, changes, code, message) in cases {
        let error = lab.patch("configmaps", "a", media_type, changes.clone()).await.unwrap_err();
        assert!(error.code() == code && error.message.contains(message), "{changes}: {} {error}", error.code());
    }
    assert_eq!(lab.patch("configmaps", "none", patch::MERGE, json!({})).await.unwrap_err().code(), 404);
}

#[tokio::test]
async fn finalizers_hold_and_their_end_frees() {
    let lab = Lab::start().await;
    let mut held = config("a", json!({}));
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    lab.create("configmaps", "default", held.clone()).await.unwrap();
    let deleting = lab.delete("configmaps", "a", json!({})).await.unwrap();
    assert_eq!(deleting["kind"], "ConfigMap");
    assert_eq!(deleting["metadata"]["deletionGracePeriodSeconds"], 0);
    let again = lab.delete("configmaps", "a", json!({})).await.unwrap();
    assert_eq!(version(&again), version(&deleting), "a second deletion changes nothing");
    held["metadata"]["finalizers"] = json!(["example.com/hold", "example.com/more"]);
    assert_eq!(lab.update("configmaps", held.clone()).await.unwrap_err().code(), 422);
    held["metadata"]["finalizers"] = json!([]);
    lab.update("configmaps", held).await.unwrap();
    assert_eq!(lab.get("configmaps", "a").await.unwrap_err().code(), 404);

    for (policy, finalizer) in [("Foreground", "foregroundDeletion"), ("Orphan", "orphan")] {
        let name = policy.to_lowercase();
        lab.create("configmaps", "default", config(&name, json!({}))).await.unwrap();
        let deleting = lab.delete("configmaps", &name, json!({"propagationPolicy": policy})).await.unwrap();
        assert_eq!(deleting["metadata"]["finalizers"], json!([finalizer]));
    }
    lab.create("configmaps", "default", config("b", json!({}))).await.unwrap();
    let error = lab.delete("configmaps", "b", json!({"preconditions": {"uid": "x"}})).await.unwrap_err();
    assert!(
        error.message.starts_with(
            "Operation cannot be fulfilled on ConfigMap \"b\": the UID in the precondition (x) does not match"
        ),
        "{error}"
    );
}

#[tokio::test]
async fn pods_end_gracefully() {
    let lab = Lab::start().await;
    let waiting = lab.create("pods", "default", pod("waiting")).await.unwrap();
    assert!(waiting["spec"]["tolerations"].as_array().is_some_and(|list| list.len() == 2), "{waiting}");
    assert_eq!(waiting["spec"]["priority"], 0);
    assert_eq!(lab.delete("pods", "waiting", json!({})).await.unwrap()["kind"], "Pod");
    assert_eq!(lab.get("pods", "waiting").await.unwrap_err().code(), 404);

    lab.create("pods", "default", pod("running")).await.unwrap();
    let binding = json!({"metadata": {"name": "running"}, "target": {"kind": "Node", "name": "node-1"}});
    assert_eq!(lab.create("pods/binding", "default", binding.clone()).await.unwrap()["status"], "Success");
    let twice = lab.create("pods/binding", "default", binding).await.unwrap_err();
    assert_eq!(
        (twice.code(), &*twice.message),
        (
            409,
            "Operation cannot be fulfilled on pods/binding \"running\": pod running is already assigned to node \"node-1\""
        )
    );
    let bound = lab.get("pods", "running").await.unwrap();
    assert_eq!(bound["spec"]["nodeName"], "node-1");
    assert_eq!(bound["status"]["conditions"][0]["type"], "PodScheduled");

    let ending = lab.delete("pods", "running", json!({})).await.unwrap();
    assert_eq!(ending["metadata"]["deletionGracePeriodSeconds"], 30);
    let sooner = lab.delete("pods", "running", json!({"gracePeriodSeconds": 5})).await.unwrap();
    assert_eq!(sooner["metadata"]["deletionGracePeriodSeconds"], 5);
    lab.delete("pods", "running", json!({"gracePeriodSeconds": 0})).await.unwrap();
    assert_eq!(lab.get("pods", "running").await.unwrap_err().code(), 404);
}

#[tokio::test]
async fn evictions_respect_the_budget() {
    let lab = Lab::start().await;
    for name in ["a", "b"] {
        let mut wanted = pod(name);
        wanted["metadata"]["labels"] = json!({"app": "web"});
        lab.create("pods", "default", wanted).await.unwrap();
        let binding = json!({"metadata": {"name": name}, "target": {"name": "node-1"}});
        lab.create("pods/binding", "default", binding).await.unwrap();
        let mut running = lab.get("pods", name).await.unwrap();
        running["status"]["phase"] = "Running".into();
        running["status"]["conditions"] = json!([{"type": "Ready", "status": "True"}]);
        lab.update("pods/status", running).await.unwrap();
    }
    let budget = json!({"metadata": {"name": "web", "namespace": "default"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}}});
    if lab.create("poddisruptionbudgets", "default", budget).await.is_err() {
        return;
    }
    let mut budget = lab.get("poddisruptionbudgets", "web").await.unwrap();
    budget["status"] = json!({"observedGeneration": budget["metadata"]["generation"], "disruptionsAllowed": 1, "currentHealthy": 2, "desiredHealthy": 1, "expectedPods": 2});
    lab.update("poddisruptionbudgets/status", budget).await.unwrap();
    let evict = |name: &str| {
        lab.create(
            "pods/eviction",
            "default",
            json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}),
        )
    };
    assert_eq!(evict("a").await.unwrap()["status"], "Success");
    let refused = evict("b").await.unwrap_err();
    assert_eq!(
        (refused.code(), &*refused.message),
        (429, "Cannot evict pod as it would violate the pod's disruption budget.")
    );
}

#[tokio::test]
async fn scale_is_a_view_of_the_replicas() {
    let lab = Lab::start().await;
    let deployment = json!({"metadata": {"name": "web", "namespace": "default"}, "spec": {"replicas": 2, "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "nginx"}]}}}});
    lab.create("deployments", "default", deployment).await.unwrap();
    let scale = lab.get("deployments/scale", "web").await.unwrap();
    assert_eq!(
        (&scale["kind"], &scale["spec"]["replicas"], &scale["status"]["selector"]),
        (&json!("Scale"), &json!(2), &json!("a=b"))
    );
    let scaled = lab.patch("deployments/scale", "web", patch::MERGE, json!({"spec": {"replicas": 5}})).await.unwrap();
    assert_eq!(scaled["spec"]["replicas"], 5);
    let mut stale = scale;
    stale["spec"]["replicas"] = 7.into();
    assert_eq!(lab.update("deployments/scale", stale).await.unwrap_err().code(), 409);
    let negative =
        lab.patch("deployments/scale", "web", patch::MERGE, json!({"spec": {"replicas": -1}})).await.unwrap_err();
    assert_eq!(
        negative.message,
        "Scale.autoscaling \"web\" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0"
    );
    let now = lab.get("deployments", "web").await.unwrap();
    assert_eq!((&now["spec"]["replicas"], &now["metadata"]["generation"]), (&json!(5), &json!(2)));
}

#[tokio::test]
async fn namespaces_end_when_they_are_finalized() {
    let lab = Lab::start().await;
    let missing = lab.create("configmaps", "none", json!({"metadata": {"name": "a"}})).await.unwrap_err();
    assert_eq!((missing.code(), &*missing.message), (404, "namespaces \"none\" not found"));
    let immortal = lab.object(lab.request(Verb::Delete, "namespaces", "", "default")).await.unwrap_err();
    assert_eq!(
        (immortal.code(), &*immortal.message),
        (403, "namespaces \"default\" is forbidden: this namespace may not be deleted")
    );

    lab.create("namespaces", "", json!({"metadata": {"name": "team"}})).await.unwrap();
    let ending = lab.object(lab.request(Verb::Delete, "namespaces", "", "team")).await.unwrap();
    assert_eq!(ending["status"]["phase"], "Terminating");
    let refused = lab.create("configmaps", "team", json!({"metadata": {"name": "a"}})).await.unwrap_err();
    assert_eq!(
        (refused.code(), &*refused.message),
        (
            403,
            "configmaps \"a\" is forbidden: unable to create new content in namespace team because it is being terminated"
        )
    );
    let mut finalized = ending;
    finalized["spec"]["finalizers"] = json!([]);
    lab.update("namespaces/finalize", finalized).await.unwrap();
    assert_eq!(lab.object(lab.request(Verb::Get, "namespaces", "", "team")).await.unwrap_err().code(), 404);
}

#[tokio::test]
async fn collections_are_deleted_by_selection() {
    let lab = Lab::start().await;
    for n in 0..50 {
        let mut wanted = config(&format!("c{n}"), json!({}));
        wanted["metadata"]["labels"] = json!({"odd": (n % 2).to_string()});
        lab.create("configmaps", "default", wanted).await.unwrap();
    }
    let mut request = lab.request(Verb::DeleteCollection, "configmaps", "default", "");
    request.options.list.label_selector = "odd=1".into();
    assert_eq!(lab.object(request).await.unwrap()["items"].as_array().map(Vec::len), Some(25));
    let left = lab.list("configmaps", ListOptions::default()).await.unwrap();
    assert_eq!(left["items"].as_array().map(Vec::len), Some(25));
}

#[tokio::test]
async fn a_service_address_is_given_once() {
    let lab = Lab::start().await;
    let service = |name: &str, ip: Option<&str>| json!({"metadata": {"name": name}, "spec": {"clusterIP": ip, "ports": [{"port": 80}]}});
    let web = lab.create("services", "default", service("web", None)).await.unwrap();
    let ip = web["spec"]["clusterIP"].as_str().unwrap().to_owned();
    let taken = lab.create("services", "default", service("other", Some(&ip))).await.unwrap_err();
    assert!(taken.message.ends_with("provided IP is already allocated"), "{taken}");
    lab.delete("services", "web", json!({})).await.unwrap();
    lab.create("services", "default", service("other", Some(&ip))).await.unwrap();
}

#[tokio::test]
async fn writers_that_meet_all_get_their_turn() {
    let lab = Arc::new(Lab::start().await);
    lab.create("configmaps", "default", config("a", json!({}))).await.unwrap();
    let writers = (0..20).map(|n| {
        let lab = Arc::clone(&lab);
        tokio::spawn(
            async move { lab.patch("configmaps", "a", patch::MERGE, json!({"data": {n.to_string(): "x"}})).await },
        )
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap().unwrap();
    }
    assert_eq!(lab.get("configmaps", "a").await.unwrap()["data"].as_object().map(|data| data.len()), Some(20));
}

#[tokio::test]
async fn a_missing_account_is_told() {
    let lab = Lab::start().await;
    let mut wanted = pod("a");
    wanted["spec"]["serviceAccountName"] = "robot".into();
    let refused = lab.create("pods", "default", wanted).await.unwrap_err();
    assert_eq!(
        (refused.code(), &*refused.message),
        (
            403,
            "pods \"a\" is forbidden: error looking up service account default/robot: serviceaccount \"robot\" not found"
        )
    );
}
