//! Server-side apply, and who manages which fields after other writes.

use super::*;

impl Lab {
    async fn apply(&self, plural: &str, name: &str, manager: &str, force: bool, config: Value) -> Result<Value, Error> {
        let body = Body::Patch { media_type: patch::APPLY.into(), patch: config.to_string().into() };
        let mut request = Request { body, ..self.request(Verb::Patch, plural, "default", name) };
        request.options.field_manager = manager.into();
        request.options.force = force;
        self.object(request).await
    }
}

/// The managers of an object, with their operations and what they manage.
fn managers(object: &Value) -> Vec<(String, Value)> {
    let entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let name = |entry: &Value| {
        let text = |field: &str| entry[field].as_str().unwrap_or_default().to_owned();
        format!("{} {} {}{}", text("manager"), text("operation"), text("apiVersion"), text("subresource"))
    };
    entries.iter().map(|entry| (name(entry), entry["fieldsV1"].clone())).collect()
}

fn deployment(spec: Value) -> Value {
    let mut object = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {
        "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "nginx"}]}},
    }});
    for (name, value) in spec.as_object().unwrap() {
        object["spec"][name] = value.clone();
    }
    object
}

#[tokio::test]
async fn every_write_notes_who_manages_what() {
    let lab = Lab::start().await;
    let created = lab.create("configmaps", "default", config("a", json!({"x": "1"}))).await.unwrap();
    assert_eq!(managers(&created), [("test Update v1".to_owned(), json!({"f:data": {".": {}, "f:x": {}}}))]);
    let entry = &created["metadata"]["managedFields"][0];
    assert_eq!((&entry["fieldsType"], &entry["time"]), (&json!("FieldsV1"), &created["metadata"]["creationTimestamp"]));

    let mut request = lab.request(Verb::Patch, "configmaps", "default", "a");
    request.body = Body::Patch { media_type: patch::MERGE.into(), patch: r#"{"data":{"x":"2","y":"1"}}"#.into() };
    request.options.field_manager = "me".into();
    let patched = lab.object(request).await.unwrap();
    assert_eq!(
        managers(&patched),
        [
            ("me Update v1".to_owned(), json!({"f:data": {"f:x": {}, "f:y": {}}})),
            ("test Update v1".to_owned(), json!({"f:data": {}})),
        ]
    );

    // Clients that know nothing of them lose nothing, and what makes no sense is ignored.
    for given in [json!(null), json!([{"manager": "x", "operation": "Eat"}])] {
        let mut same = patched.clone();
        same["metadata"]["managedFields"] = given;
        let updated = lab.update("configmaps", same).await.unwrap();
        assert_eq!(updated, patched, "nothing changed, not even a time");
    }
    let mut forgotten = patched.clone();
    forgotten["metadata"]["managedFields"] = json!([{}]);
    let updated = lab.update("configmaps", forgotten).await.unwrap();
    assert_eq!(managers(&updated), []);
}

#[tokio::test]
async fn components_are_named_by_their_certificates() {
    let lab = Lab::start().await;
    for (user, name) in [
        ("system:kube-scheduler", "kube-scheduler"),
        ("system:kube-controller-manager", "kube-controller-manager"),
        ("system:node:node-1", "kubelet"),
    ] {
        let mut request = lab.request(Verb::Create, "configmaps", "default", "");
        request.user.name = user.into();
        request.door = Door::Grpc;
        request.body = Body::Json(json!({"metadata": {"generateName": "a-"}, "data": {"x": "1"}}).to_string().into());
        let created = lab.object(request).await.unwrap();
        assert_eq!(managers(&created)[0].0, format!("{name} Update v1"));
    }
}

#[tokio::test]
async fn what_is_not_there_is_created_and_what_is_there_is_merged() {
    let lab = Lab::start().await;
    let body = Body::Patch { media_type: patch::APPLY.into(), patch: deployment(json!({})).to_string().into() };
    let mut request = Request { body, ..lab.request(Verb::Patch, "deployments", "default", "web") };
    request.options.field_manager = "me".into();
    request.options.dry_run = true;
    lab.object(request.clone()).await.unwrap();
    assert_eq!(lab.get("deployments", "web").await.unwrap_err().code(), 404, "a dry run stores nothing");
    request.options.dry_run = false;
    match lab.send(request).await.unwrap() {
        Response::Object { created, .. } => assert!(created, "201"),
        _ => panic!("no object"),
    }
    let created = lab.get("deployments", "web").await.unwrap();
    let (name, fields) = &managers(&created)[0];
    assert_eq!(name, "me Apply apps/v1");
    assert_eq!(
        *fields,
        json!({"f:spec": {"f:selector": {}, "f:template": {
            "f:metadata": {"f:labels": {"f:app": {}}},
            "f:spec": {"f:containers": {"k:{\"name\":\"c\"}": {".": {}, "f:image": {}, "f:name": {}}}},
        }}})
    );

    let again = lab.apply("deployments", "web", "me", false, deployment(json!({}))).await.unwrap();
    assert_eq!(again, created, "to apply the same again changes nothing");

    let scaled = lab.apply(
        "deployments",
        "web",
        "scaler",
        false,
        json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {"replicas": 3}}),
    );
    assert_eq!(scaled.await.unwrap()["spec"]["replicas"], 3, "a default has no owner");
    let wanted = deployment(json!({"replicas": 5}));
    let refused = lab.apply("deployments", "web", "me", false, wanted.clone()).await.unwrap_err();
    assert_eq!(
        (refused.code(), &*refused.message),
        (409, "Apply failed with 1 conflict: conflict with \"scaler\": .spec.replicas")
    );
    let forced = lab.apply("deployments", "web", "me", true, wanted).await.unwrap();
    assert_eq!((&forced["spec"]["replicas"], managers(&forced).len()), (&json!(5), 1));
    let given_up = lab.apply("deployments", "web", "me", false, deployment(json!({}))).await.unwrap();
    assert_eq!(given_up["spec"]["replicas"], 1, "a field without an owner gets its default again");
}

#[tokio::test]
async fn parts_are_told_apart() {
    let lab = Lab::start().await;
    lab.apply("deployments", "web", "me", false, deployment(json!({"replicas": 1}))).await.unwrap();
    let status = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
                        "spec": {"replicas": 9}, "status": {"replicas": 1, "observedGeneration": 1}});
    let applied = lab.apply("deployments/status", "web", "controller", false, status).await.unwrap();
    assert_eq!((&applied["spec"]["replicas"], &applied["status"]["replicas"]), (&json!(1), &json!(1)));
    assert!(managers(&applied).contains(&(
        "controller Apply apps/v1status".to_owned(),
        json!({"f:status": {"f:observedGeneration": {}, "f:replicas": {}}})
    )));

    let mut whole = applied.clone();
    whole.as_object_mut().unwrap().remove("status");
    whole["spec"]["paused"] = true.into();
    let updated = lab.update("deployments", whole).await.unwrap();
    assert_eq!(managers(&updated).len(), 3, "the controller loses nothing by it: {:?}", managers(&updated));

    let scale =
        json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "web"}, "spec": {"replicas": 4}});
    let refused = lab.apply("deployments/scale", "web", "hpa", false, scale.clone()).await.unwrap_err();
    assert_eq!(refused.message, "Apply failed with 1 conflict: conflict with \"me\": .spec.replicas");
    let scaled = lab.apply("deployments/scale", "web", "hpa", true, scale).await.unwrap();
    assert_eq!(scaled["spec"]["replicas"], 4);
    let now = managers(&lab.get("deployments", "web").await.unwrap());
    assert!(now.contains(&("hpa Apply apps/v1scale".to_owned(), json!({"f:spec": {"f:replicas": {}}}))), "{now:?}");
}

#[tokio::test]
async fn managers_that_speak_another_version_are_understood() {
    let lab = Lab::start().await;
    let scaler = |version: &str, spec: Value| {
        json!({"apiVersion": format!("autoscaling/{version}"), "kind": "HorizontalPodAutoscaler",
               "metadata": {"name": "a"}, "spec": spec})
    };
    let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"});
    let old = scaler("v1", json!({"scaleTargetRef": target, "maxReplicas": 5, "minReplicas": 2}));
    let send = |version: &str, manager: &str, config: &Value| {
        let body = Body::Patch { media_type: patch::APPLY.into(), patch: config.to_string().into() };
        let mut request = Request { body, ..lab.request(Verb::Patch, "hpa", "default", "a") };
        let resource = resources::find("autoscaling", version, "horizontalpodautoscalers").unwrap();
        request.resource = Arc::new(resource.clone());
        request.options.field_manager = manager.into();
        request
    };
    lab.object(send("v1", "old", &old)).await.unwrap();
    let new = scaler("v2", json!({"maxReplicas": 7}));
    let refused = lab.object(send("v2", "new", &new)).await.unwrap_err();
    assert_eq!(refused.message, "Apply failed with 1 conflict: conflict with \"old\": .spec.maxReplicas");
    let less = scaler("v2", json!({"scaleTargetRef": target, "maxReplicas": 5}));
    let applied = lab.object(send("v2", "old", &less)).await.unwrap();
    assert_eq!(managers(&applied).len(), 1, "one that applies is the same in all versions");
    assert_eq!(applied["spec"]["minReplicas"], 1, "what it gave up has its default again");
}

#[tokio::test]
async fn what_makes_no_sense_is_refused() {
    let lab = Lab::start().await;
    let map = |metadata: Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata});
    let cases = [
        (
            "",
            map(json!({"name": "a"})),
            422,
            "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch",
        ),
        ("me", json!({"kind": "ConfigMap", "metadata": {"name": "a"}}), 400, "invalid object type: /, Kind=ConfigMap"),
        ("me", json!({"apiVersion": "v1", "kind": "Secret"}), 400, "invalid object type: /v1, Kind=Secret"),
        ("me", map(json!({"name": "b"})), 400, "the name of the object (b) does not match the name on the URL (a)"),
        ("me", map(json!({"name": "a", "managedFields": []})), 400, "metadata.managedFields must be nil"),
        (
            "me",
            json!([]),
            400,
            "error decoding patch: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal array into Go value of type map[string]interface {}",
        ),
        (
            "me",
            map(json!({"name": "a", "uid": "u"})),
            409,
            "Operation cannot be fulfilled on configmaps \"a\": uid mismatch: the provided object specified uid u, and no existing object was found",
        ),
        (
            "me",
            map(json!({"name": "a", "x": "u"})),
            500,
            "failed to create typed patch object (/a; /v1, Kind=ConfigMap): .metadata.x: field not declared in schema",
        ),
    ];
    for (manager, config, code, message) in cases {
        let error = lab.apply("configmaps", "a", manager, false, config).await.unwrap_err();
        assert_eq!((error.code(), &*error.message), (code, message));
    }
    let mut request = lab.request(Verb::Patch, "configmaps", "default", "a");
    request.body = Body::Patch { media_type: patch::MERGE.into(), patch: "{}".into() };
    request.options.force = true;
    assert_eq!(
        lab.object(request).await.unwrap_err().message,
        "PatchOptions.meta.k8s.io \"\" is invalid: force: Forbidden: may not be specified for non-apply patch"
    );
    let applied = lab.apply("configmaps", "a", "me", false, map(json!({"name": "a"}))).await.unwrap();
    let stale = map(json!({"name": "a", "resourceVersion": "1", "labels": {"x": "y"}}));
    assert_eq!(lab.apply("configmaps", "a", "me", false, stale).await.unwrap_err().code(), 409);
    let fresh = json!({"name": "a", "resourceVersion": applied["metadata"]["resourceVersion"], "labels": {"x": "y"}});
    assert_eq!(lab.apply("configmaps", "a", "me", false, map(fresh)).await.unwrap()["metadata"]["labels"]["x"], "y");
}
