//! Create, update and patch.

use super::*;

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
async fn names_are_generated_and_dry_runs_store_nothing() {
    let lab = Lab::start().await;
    let object = json!({"metadata": {"generateName": "web-"}});
    let created = lab.create("configmaps", "default", object.clone()).await.unwrap();
    let name = created["metadata"]["name"].as_str().unwrap();
    assert!(name.starts_with("web-") && name.len() == 9, "{name}");

    let mut request = lab.request(Verb::Create, "configmaps", "default", "");
    request.body = Body::Json(object.to_string().into());
    request.options.dry_run = true;
    match lab.send(request).await.unwrap() {
        Response::Object { json, created } => {
            assert!(created, "a dry run is answered as what it tries");
            assert!(decode::metadata(&json).unwrap().uid.is_some());
        }
        _ => panic!("no object"),
    }
    assert_eq!(
        lab.list("configmaps", ListOptions::default()).await.unwrap()["items"].as_array().map(Vec::len),
        Some(1)
    );
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
