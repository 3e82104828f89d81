//! Kinds whose versions a webhook makes of one another, over real HTTPS.

use http::Method;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{
    lab::{Answer, Lab, PATIENCE},
    webhook_server::WebhookServer,
};

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const MERGE: [(&str, &str); 1] = [("content-type", "application/merge-patch+json")];
const APPLY: [(&str, &str); 1] = [("content-type", "application/apply-patch+yaml")];

fn path(version: &str, rest: &str) -> String {
    format!("/apis/example.com/{version}/namespaces/default/widgets{rest}")
}

/// `spec.size` of v1 is `spec.shirt.size` in v2; annotations tell what else is to be done.
fn convert(request: &Value) -> Value {
    let to = request["desiredAPIVersion"].as_str().unwrap();
    let mut objects = request["objects"].as_array().unwrap().clone();
    for object in &mut objects {
        object["apiVersion"] = to.into();
        object["spec"] = match to {
            "example.com/v2" => json!({"shirt": {"size": object["spec"]["size"]}}),
            _ => json!({"size": object["spec"]["shirt"]["size"]}),
        };
        match object["metadata"]["annotations"]["mode"].as_str() {
            Some("rename") => object["metadata"]["name"] = "other".into(),
            Some("fail") if to == "example.com/v2" => {
                return json!({"result": {"status": "Failed", "message": "there are no shirts"}});
            }
            Some("label") => object["metadata"]["labels"] = json!({"converted": "yes"}),
            _ => {}
        }
        object["metadata"]["generation"] = 99.into();
    }
    json!({"result": {"status": "Success"}, "convertedObjects": objects})
}

fn definition(server: &WebhookServer, review: &str) -> Value {
    let version = |name: &str, spec: Value| {
        json!({
            "name": name, "served": true, "storage": name == "v1",
            "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object", "properties": spec}}}},
            "subresources": {"status": {}},
        })
    };
    let size = json!({"type": "string"});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced", "names": {"plural": "widgets", "kind": "Widget"},
            "versions": [
                version("v1", json!({"size": size})),
                version("v2", json!({"shirt": {"type": "object", "properties": {"size": size}}})),
            ],
            "conversion": {
                "strategy": "Webhook",
                "webhook": {"clientConfig": server.client_config(), "conversionReviewVersions": [review]},
            },
        },
    })
}

async fn start(review: &str) -> (Lab, WebhookServer) {
    let (lab, server) = (Lab::start().await, WebhookServer::start(convert).await);
    let made = lab.post("admin", DEFINITIONS, definition(&server, review)).await;
    assert_eq!(made.status, 201, "{}", made.json());
    (lab, server)
}

fn widget(version: &str, name: &str, spec: Value) -> Value {
    json!({"apiVersion": format!("example.com/{version}"), "kind": "Widget", "metadata": {"name": name}, "spec": spec})
}

async fn create(lab: &Lab, version: &str, name: &str, spec: Value) -> Answer {
    lab.post("admin", &path(version, ""), widget(version, name, spec)).await
}

fn good(answer: &Answer) -> Value {
    let object = answer.json();
    assert!(answer.status.is_success(), "{object}");
    object
}

fn lengths(reviews: &[Value]) -> Vec<usize> {
    reviews.iter().map(|review| review["request"]["objects"].as_array().unwrap().len()).collect()
}

#[tokio::test]
async fn every_version_reads_and_writes_the_same_objects() {
    let (lab, server) = start("v1").await;
    good(&create(&lab, "v1", "a", json!({"size": "S"})).await);
    good(&lab.get("admin", &path("v1", "/a")).await);
    assert!(server.take().is_empty(), "the stored version needs no webhook");

    let a = good(&lab.get("admin", &path("v2", "/a")).await);
    assert_eq!((&a["apiVersion"], &a["spec"]), (&json!("example.com/v2"), &json!({"shirt": {"size": "S"}})));
    assert_eq!(a["metadata"]["generation"], 1, "a webhook may change labels and annotations only");
    let review = server.take().remove(0);
    assert_eq!(
        (&review["kind"], &review["apiVersion"]),
        (&json!("ConversionReview"), &json!("apiextensions.k8s.io/v1"))
    );
    assert_eq!(
        (&review["query"], &review["request"]["desiredAPIVersion"]),
        (&json!("timeout=30s"), &json!("example.com/v2"))
    );
    assert_eq!(review["request"]["objects"][0]["metadata"]["uid"], a["metadata"]["uid"]);

    let made = good(&create(&lab, "v2", "b", json!({"shirt": {"size": "M"}})).await);
    assert_eq!(made["spec"], json!({"shirt": {"size": "M"}}));
    let b = good(&lab.get("admin", &path("v1", "/b")).await);
    assert_eq!(b["spec"], json!({"size": "M"}));
    assert_eq!(
        (&b["metadata"]["resourceVersion"], &b["metadata"]["uid"]),
        (&made["metadata"]["resourceVersion"], &made["metadata"]["uid"])
    );

    server.take();
    let list = good(&lab.get("admin", &path("v2", "")).await);
    let sizes: Vec<_> = list["items"].as_array().unwrap().iter().map(|item| &item["spec"]["shirt"]["size"]).collect();
    assert_eq!((json!(sizes), &list["apiVersion"]), (json!(["S", "M"]), &json!("example.com/v2")));
    assert_eq!(lengths(&server.take()), [2], "a list is one review");
    good(&lab.get("admin", &path("v2", "")).await);
    assert_eq!(lengths(&server.take()), [0; 0], "what did not change is not asked again for a list");
    good(&lab.get("admin", &path("v2", "/a")).await);
    assert_eq!(lengths(&server.take()), [1], "but for one by its name");

    let patch = json!({"spec": {"shirt": {"size": "L"}}}).to_string();
    let patched = good(&lab.send("admin", Method::PATCH, &path("v2", "/a"), &MERGE, patch).await);
    assert_eq!((&patched["spec"]["shirt"]["size"], &patched["metadata"]["generation"]), (&json!("L"), &json!(2)));
    let mut b = good(&lab.get("admin", &path("v2", "/b")).await);
    b["spec"]["shirt"]["size"] = "XL".into();
    let body = b.to_string();
    good(&lab.send("admin", Method::PUT, &path("v2", "/b"), &[("content-type", "application/json")], body).await);
    server.take();
    good(&lab.get("admin", &path("v2", "")).await);
    assert_eq!(lengths(&server.take()), [2], "both were changed");
    assert_eq!(good(&lab.get("admin", &path("v1", "/b")).await)["spec"]["size"], "XL");

    let applied = widget("v2", "c", json!({"shirt": {"size": "S"}})).to_string();
    let query = "/c?fieldManager=me";
    good(&lab.send("admin", Method::PATCH, &path("v2", query), &APPLY, applied).await);
    // In the other version it is the same manager's field.
    let applied = widget("v1", "c", json!({"size": "M"})).to_string();
    let c = good(&lab.send("admin", Method::PATCH, &path("v1", query), &APPLY, applied.clone()).await);
    let managers = c["metadata"]["managedFields"].as_array().unwrap();
    assert_eq!((managers.len(), &managers[0]["fieldsV1"]), (1, &json!({"f:spec": {"f:size": {}}})));
    let other = lab
        .send(
            "admin",
            Method::PATCH,
            &path("v2", "/c?fieldManager=you"),
            &APPLY,
            widget("v2", "c", json!({"shirt": {"size": "L"}})).to_string(),
        )
        .await;
    assert_eq!(other.refusal().1, "Conflict");

    good(&lab.send("admin", Method::DELETE, &path("v2", "/c"), &[], "").await);
    assert_eq!(lab.get("admin", &path("v1", "/c")).await.status, 404);
    lab.stop().await;
}

#[tokio::test]
async fn watchers_see_the_version_that_they_watch() {
    let (lab, server) = start("v1beta1").await;
    for name in ["a", "b"] {
        good(&create(&lab, "v1", name, json!({"size": "S"})).await);
    }
    let request = http::Request::get(format!("https://localhost{}", path("v2", "?watch=true")));
    let mut events = lab.open("admin", request.body(Default::default()).unwrap()).await.into_body();
    let mut text = String::new();
    let mut made = false;
    let seen = async {
        while text.matches('\n').count() < 3 {
            let frame = events.frame().await.expect("the watch ends").unwrap();
            text.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
            if !made && text.matches('\n').count() == 2 {
                made = true;
                good(&create(&lab, "v1", "c", json!({"size": "L"})).await);
            }
        }
    };
    timeout(PATIENCE, seen).await.expect("no events");
    let told: Vec<_> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|event| {
            (event["type"].clone(), event["object"]["metadata"]["name"].clone(), event["object"]["spec"].clone())
        })
        .collect();
    let added = |name: &str, size: &str| (json!("ADDED"), json!(name), json!({"shirt": {"size": size}}));
    assert_eq!(told, [added("a", "S"), added("b", "S"), added("c", "L")]);
    let reviews = server.take();
    assert_eq!(lengths(&reviews), [2, 1]);
    assert_eq!(reviews[0]["apiVersion"], "apiextensions.k8s.io/v1beta1");
    lab.stop().await;
}

#[tokio::test]
async fn what_a_webhook_does_wrong_is_said_in_upstreams_words() {
    let (lab, server) = start("v1").await;
    let annotated = |mode: &str| json!({"metadata": {"annotations": {"mode": mode}}}).to_string();
    good(&create(&lab, "v1", "a", json!({"size": "S"})).await);
    let failed = |how: &str| (500, String::new(), format!("conversion webhook for example.com/v1, Kind=Widget {how}"));
    for (mode, how) in [
        ("fail", "failed: there are no shirts"),
        ("rename", "returned invalid object: must have the same name: a != other"),
    ] {
        good(&lab.send("admin", Method::PATCH, &path("v1", "/a"), &MERGE, annotated(mode)).await);
        for rest in ["/a", ""] {
            assert_eq!(lab.get("admin", &path("v2", rest)).await.refusal(), failed(how));
        }
        let patch = json!({"spec": {"shirt": {"size": "L"}}}).to_string();
        assert_eq!(lab.send("admin", Method::PATCH, &path("v2", "/a"), &MERGE, patch).await.refusal(), failed(how));
    }
    good(&lab.send("admin", Method::PATCH, &path("v1", "/a"), &MERGE, annotated("label")).await);
    assert_eq!(good(&lab.get("admin", &path("v2", "/a")).await)["metadata"]["labels"], json!({"converted": "yes"}));

    // The webhook goes away; what needs none goes on.
    let port = server.port();
    drop(server);
    let refusal = lab.get("admin", &path("v2", "/a")).await.refusal();
    let how = format!("failed: Post \"https://127.0.0.1:{port}/judge?timeout=30s\": ");
    assert!(refusal.2.starts_with(&failed(&how).2), "{refusal:?}");
    let created = create(&lab, "v2", "x", json!({})).await.refusal().2;
    assert!(created.starts_with("conversion webhook for example.com/v2, Kind=Widget failed: Post "), "{created}");
    good(&lab.get("admin", &path("v1", "/a")).await);

    let server = WebhookServer::start(convert).await;
    let mut broken = definition(&server, "v1");
    broken["metadata"]["name"] = "gadgets.example.com".into();
    broken["spec"]["names"] = json!({"plural": "gadgets", "kind": "Gadget"});
    broken["spec"]["conversion"]["webhook"]["clientConfig"]["caBundle"] = "eA==".into();
    let (code, reason, message) = lab.post("admin", DEFINITIONS, broken).await.refusal();
    assert_eq!((code, &*reason), (422, "Invalid"));
    let wrong =
        "spec.conversion.webhookClientConfig.caBundle: Invalid value: \"eA==\": unable to load root certificates";
    assert!(message.contains(wrong), "{message}");
    lab.stop().await;
}
