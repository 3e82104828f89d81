//! Admission webhooks, called over real HTTPS.

use http::Method;
use serde_json::{Value, json};

use super::{
    lab::{Answer, Lab},
    webhook_server::WebhookServer,
};

const CONFIGS: &str = "/api/v1/namespaces/default/configmaps";
const ADMISSION: &str = "/apis/admissionregistration.k8s.io/v1";

fn config(name: &str, data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})
}

/// A webhook about ConfigMaps.
fn webhook(server: &WebhookServer, name: &str, more: Value) -> Value {
    let mut webhook = json!({
        "name": format!("{name}.example.com"),
        "clientConfig": server.client_config(),
        "rules": [{"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}],
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        // What the system itself writes is none of the test's business.
        "objectSelector": {"matchExpressions": [{"key": "system", "operator": "DoesNotExist"}]},
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "default"}},
    });
    webhook.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    webhook
}

async fn configure(lab: &Lab, kind: &str, name: &str, webhooks: Value) {
    let object = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": format!("{kind}WebhookConfiguration"),
        "metadata": {"name": name},
        "webhooks": webhooks,
    });
    let plural = format!("{}webhookconfigurations", kind.to_lowercase());
    let answer = lab.post("admin", &format!("{ADMISSION}/{plural}"), object).await;
    assert_eq!(answer.status, 201, "{}", answer.json());
}

async fn forget(lab: &Lab, kind: &str, name: &str) {
    let path = format!("{ADMISSION}/{}webhookconfigurations/{name}", kind.to_lowercase());
    assert_eq!(lab.send("admin", Method::DELETE, &path, &[], "").await.status, 200);
}

async fn create(lab: &Lab, name: &str, data: Value) -> Answer {
    lab.post("admin", CONFIGS, config(name, data)).await
}

fn warnings(answer: &Answer) -> Vec<&str> {
    answer.headers.get_all("warning").iter().map(|value| value.to_str().unwrap()).collect()
}

#[tokio::test]
async fn webhooks_change_objects_and_refuse_them() {
    let lab = Lab::start().await;
    let server = WebhookServer::start(|request| match request["object"]["data"]["mode"].as_str() {
        Some("deny") => json!({"allowed": false}),
        Some("teapot") => json!({"allowed": false, "status": {"code": 418, "message": "short and stout"}}),
        Some("warn") => json!({"allowed": true, "warnings": ["be careful"]}),
        Some("patch") => json!({"allowed": true, "patch": [{"op": "add", "path": "/data/patched", "value": "yes"}]}),
        Some("unfit") => json!({"allowed": true, "patch": [{"op": "remove", "path": "/data/absent"}]}),
        Some("invalid") => {
            json!({"allowed": true, "patch": [{"op": "add", "path": "/metadata/labels", "value": {"a b": "c"}}]})
        }
        _ => json!({"allowed": true}),
    })
    .await;
    configure(&lab, "Mutating", "m", json!([webhook(&server, "m", json!({}))])).await;

    let made = create(&lab, "a", json!({"mode": "patch"})).await;
    assert_eq!((made.status.as_u16(), made.json()["data"]["patched"].as_str()), (201, Some("yes")));
    let review = server.take().remove(0);
    let request = &review["request"];
    assert_eq!((&review["apiVersion"], &review["query"]), (&json!("admission.k8s.io/v1"), &json!("timeout=10s")));
    assert_eq!(request["kind"], json!({"group": "", "version": "v1", "kind": "ConfigMap"}));
    assert_eq!(request["resource"], json!({"group": "", "version": "v1", "resource": "configmaps"}));
    assert_eq!(request["userInfo"]["username"], "kubernetes-admin");
    assert_eq!(request["userInfo"]["groups"], json!(["system:masters", "system:authenticated"]));
    assert_eq!((&request["operation"], &request["namespace"]), (&json!("CREATE"), &json!("default")));
    assert_eq!((&request["name"], &request["dryRun"]), (&json!("a"), &json!(false)));
    assert_eq!(request["options"]["kind"], "CreateOptions");
    assert_eq!((&request["object"]["kind"], &request["oldObject"]), (&json!("ConfigMap"), &Value::Null));
    assert_eq!(request["object"]["metadata"]["uid"], made.json()["metadata"]["uid"]);

    let warned = create(&lab, "b", json!({"mode": "warn"})).await;
    assert_eq!((warned.status.as_u16(), warnings(&warned)), (201, vec!["299 - \"be careful\""]));

    let denied = create(&lab, "c", json!({"mode": "deny"})).await.refusal();
    let message = "admission webhook \"m.example.com\" denied the request without explanation";
    assert_eq!(denied, (400, "".into(), message.into()));
    let denied = create(&lab, "c", json!({"mode": "teapot"})).await.refusal();
    let message = "admission webhook \"m.example.com\" denied the request: short and stout";
    assert_eq!(denied, (418, "".into(), message.into()));
    assert_eq!(create(&lab, "c", json!({"mode": "unfit"})).await.refusal().0, 500);
    let invalid = create(&lab, "c", json!({"mode": "invalid"})).await.refusal();
    assert_eq!((invalid.0, &*invalid.1), (422, "Invalid"));
    assert!(invalid.2.contains("metadata.labels: Invalid value: \"a b\""), "{}", invalid.2);

    server.take();
    let path = format!("{CONFIGS}/a");
    let headers = [("content-type", "application/merge-patch+json")];
    let patch = json!({"data": {"mode": "patch", "x": "1"}}).to_string();
    assert_eq!(lab.send("admin", Method::PATCH, &path, &headers, patch).await.status, 200);
    let request = &server.take()[0]["request"];
    assert_eq!((&request["operation"], &request["oldObject"]["data"]["x"]), (&json!("UPDATE"), &Value::Null));
    assert_eq!(request["object"]["data"]["x"], "1");
    // The calls went over connections that were used again.
    assert!(server.connections() <= 2, "{}", server.connections());

    // Webhooks do not see the configuration of webhooks.
    forget(&lab, "Mutating", "m").await;
    assert!(server.take().is_empty());
    lab.stop().await;
}

#[tokio::test]
async fn validating_webhooks_see_what_the_others_made() {
    let lab = Lab::start().await;
    let mutating = WebhookServer::start(
        |_| json!({"allowed": true, "patch": [{"op": "add", "path": "/data/level", "value": "9"}]}),
    )
    .await;
    let strict = WebhookServer::start(|request| match request["object"]["data"]["level"].as_str() {
        Some("9") => json!({"allowed": false, "status": {"reason": "Forbidden", "code": 403, "message": "level 9"}}),
        _ => json!({"allowed": true}),
    })
    .await;
    configure(&lab, "Mutating", "m", json!([webhook(&mutating, "m", json!({}))])).await;
    configure(&lab, "Validating", "v", json!([webhook(&strict, "v", json!({}))])).await;
    let denied = create(&lab, "a", json!({"level": "1"})).await.refusal();
    assert_eq!(
        denied,
        (403, "Forbidden".into(), "admission webhook \"v.example.com\" denied the request: level 9".into())
    );

    forget(&lab, "Mutating", "m").await;
    assert_eq!(create(&lab, "a", json!({"level": "1"})).await.status, 201);
    strict.take();
    assert_eq!(lab.send("admin", Method::DELETE, &format!("{CONFIGS}/a"), &[], "").await.status, 200);
    let request = &strict.take()[0]["request"];
    assert_eq!((&request["operation"], &request["object"]), (&json!("DELETE"), &Value::Null));
    assert_eq!(request["oldObject"]["data"]["level"], "1");
    assert_eq!(request["options"]["kind"], "DeleteOptions");
    lab.stop().await;
}

#[tokio::test]
async fn failure_policies_decide_what_a_broken_webhook_means() {
    let lab = Lab::start().await;
    let server = WebhookServer::start(|request| match request["object"]["data"]["mode"].as_str() {
        Some("slow") => json!({"allowed": true, "sleep": 5_000}),
        Some("error") => json!({"httpCode": 500}),
        _ => json!({"allowed": true}),
    })
    .await;
    let with = |policy: &str| webhook(&server, "w", json!({"failurePolicy": policy, "timeoutSeconds": 1}));
    configure(&lab, "Validating", "w", json!([with("Fail")])).await;
    let url = server.client_config()["url"].as_str().unwrap().to_owned();
    let calling = "Internal error occurred: failed calling webhook \"w.example.com\": failed to call webhook:";
    let slow = create(&lab, "a", json!({"mode": "slow"})).await.refusal();
    let message = format!("{calling} Post \"{url}?timeout=1s\": context deadline exceeded");
    assert_eq!(slow, (500, "InternalError".into(), message));
    let broken = create(&lab, "a", json!({"mode": "error"})).await.refusal();
    let message = format!("{calling} an error on the server (\"broken\") has prevented the request from succeeding");
    assert_eq!(broken, (500, "InternalError".into(), message));
    forget(&lab, "Validating", "w").await;

    configure(&lab, "Validating", "w", json!([with("Ignore")])).await;
    assert_eq!(create(&lab, "slow", json!({"mode": "slow"})).await.status, 201);
    assert_eq!(create(&lab, "broken", json!({"mode": "error"})).await.status, 201);
    forget(&lab, "Validating", "w").await;

    let mut nowhere = with("Fail");
    nowhere["clientConfig"] = json!({"url": "https://127.0.0.1:1/judge"});
    configure(&lab, "Validating", "w", json!([nowhere])).await;
    let refused = create(&lab, "a", json!({})).await.refusal();
    let message = format!(
        "{calling} Post \"https://127.0.0.1:1/judge?timeout=1s\": dial tcp 127.0.0.1:1: connect: connection refused"
    );
    assert_eq!(refused, (500, "InternalError".into(), message));
    forget(&lab, "Validating", "w").await;

    let other = WebhookServer::start(|_| json!({"allowed": true})).await;
    let mut stranger = with("Fail");
    stranger["clientConfig"]["caBundle"] = other.client_config()["caBundle"].clone();
    configure(&lab, "Validating", "w", json!([stranger])).await;
    let refused = create(&lab, "a", json!({})).await.refusal();
    assert!(refused.2.ends_with("x509: certificate signed by unknown authority"), "{}", refused.2);
    lab.stop().await;
}

#[tokio::test]
async fn webhooks_run_again_where_others_changed_the_object() {
    let lab = Lab::start().await;
    // The first one adds what it lacks, the second one changes the object after it.
    let first = WebhookServer::start(|request| {
        let count = request["object"]["data"].as_object().map_or(0, serde_json::Map::len);
        json!({"allowed": true, "patch": [{"op": "add", "path": "/data/count", "value": count.to_string()}]})
    })
    .await;
    let second = WebhookServer::start(
        |_| json!({"allowed": true, "patch": [{"op": "add", "path": "/data/late", "value": "x"}]}),
    )
    .await;
    let again = json!({"reinvocationPolicy": "IfNeeded"});
    configure(&lab, "Mutating", "a", json!([webhook(&first, "a", again)])).await;
    configure(&lab, "Mutating", "b", json!([webhook(&second, "b", json!({}))])).await;
    let made = create(&lab, "a", json!({"own": "1"})).await.json();
    assert_eq!(made["data"], json!({"own": "1", "late": "x", "count": "3"}));
    assert_eq!((first.take().len(), second.take().len()), (2, 1));
    lab.stop().await;
}

#[tokio::test]
async fn dry_runs_call_only_webhooks_without_side_effects() {
    let lab = Lab::start().await;
    let server = WebhookServer::start(|_| json!({"allowed": true})).await;
    let dry = format!("{CONFIGS}?dryRun=All");
    configure(&lab, "Validating", "w", json!([webhook(&server, "w", json!({"sideEffects": "NoneOnDryRun"}))])).await;
    assert!(lab.post("admin", &dry, config("a", json!({}))).await.status.is_success());
    assert_eq!(server.take()[0]["request"]["dryRun"], true);
    // Validation lets no other class in; only an old object could have one.
    let mut old = webhook(&server, "w", json!({"sideEffects": "Some"}));
    old["rules"][0]["operations"] = json!(["CREATE"]);
    let object = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
                        "metadata": {"name": "old"}, "webhooks": [old]});
    let refused = lab.post("admin", &format!("{ADMISSION}/validatingwebhookconfigurations"), object).await.refusal();
    assert!(refused.2.contains("webhooks[0].sideEffects: Unsupported value: \"Some\""), "{}", refused.2);
    lab.stop().await;
}

#[tokio::test]
async fn match_conditions_save_calls() {
    let lab = Lab::start().await;
    let server = WebhookServer::start(|_| json!({"allowed": false})).await;
    let conditions = json!([
        {"name": "loud", "expression": "object.data.level == 'high'"},
        {"name": "people", "expression": "!authorizer.path('/nobody').check('get').allowed() || request.operation == 'CREATE'"},
    ]);
    configure(&lab, "Validating", "w", json!([webhook(&server, "w", json!({"matchConditions": conditions}))])).await;
    assert_eq!(create(&lab, "a", json!({"level": "low"})).await.status, 201);
    assert!(server.take().is_empty());
    assert_eq!(create(&lab, "b", json!({"level": "high"})).await.refusal().0, 400);
    let failed = create(&lab, "b", json!({})).await.refusal();
    let message =
        "configmaps \"b\" is forbidden: expression 'object.data.level == 'high'' resulted in error: no such key: level";
    assert_eq!(failed, (403, "Forbidden".into(), message.into()));

    let bad = json!({"matchConditions": [{"name": "x", "expression": "object.x ="}]});
    let object = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
                        "metadata": {"name": "bad"}, "webhooks": [webhook(&server, "x", bad)]});
    let refused = lab.post("admin", &format!("{ADMISSION}/validatingwebhookconfigurations"), object).await.refusal();
    assert!(refused.2.contains("compilation failed: ERROR: <input>:1:10: Syntax error"), "{}", refused.2);
    lab.stop().await;
}

#[tokio::test]
async fn services_of_webhooks_are_found_by_their_endpoints() {
    let lab = Lab::start().await;
    let server = WebhookServer::start(|_| json!({"allowed": false})).await;
    let config = json!({"clientConfig": server.service_config()});
    configure(&lab, "Validating", "w", json!([webhook(&server, "w", config)])).await;
    let missing = create(&lab, "a", json!({})).await.refusal();
    let post = "failed to call webhook: Post \"https://hook.default.svc:443/judge?timeout=10s\"";
    assert!(missing.2.ends_with(&format!("{post}: service \"hook\" not found")), "{}", missing.2);

    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "hook"},
                         "spec": {"ports": [{"name": "https", "port": 443}]}});
    assert_eq!(lab.post("admin", "/api/v1/namespaces/default/services", service).await.status, 201);
    let missing = create(&lab, "a", json!({})).await.refusal();
    assert!(missing.2.ends_with(&format!("{post}: no endpoints available for service \"hook\"")), "{}", missing.2);

    // Endpoints may not be on loopback, so the test's server has a name.
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "named"},
                         "spec": {"type": "ExternalName", "externalName": "localhost"}});
    assert_eq!(lab.post("admin", "/api/v1/namespaces/default/services", service).await.status, 201);
    forget(&lab, "Validating", "w").await;
    let mut config = server.service_config();
    config["service"]["name"] = "named".into();
    config["service"]["port"] = server.port().into();
    configure(&lab, "Validating", "w", json!([webhook(&server, "w", json!({"clientConfig": config}))])).await;
    let denied = create(&lab, "a", json!({})).await.refusal();
    assert_eq!(denied.2, "admission webhook \"w.example.com\" denied the request without explanation");
    lab.stop().await;
}

#[tokio::test]
async fn connections_are_admitted_too() {
    let lab = Lab::start().await;
    let server = WebhookServer::start(|_| json!({"allowed": false, "status": {"message": "nobody gets in"}})).await;
    let rules =
        json!([{"operations": ["CONNECT"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods/exec"]}]);
    configure(&lab, "Validating", "w", json!([webhook(&server, "w", json!({"rules": rules}))])).await;
    let path = "/api/v1/namespaces/default/pods/web/exec?command=sh&command=-c&stdin=true&container=c";
    let denied = lab.send("admin", Method::POST, path, &[], "").await.refusal();
    assert_eq!(denied.2, "admission webhook \"w.example.com\" denied the request: nobody gets in");
    let request = &server.take()[0]["request"];
    assert_eq!((&request["operation"], &request["subResource"]), (&json!("CONNECT"), &json!("exec")));
    assert_eq!(request["kind"], json!({"group": "", "version": "v1", "kind": "PodExecOptions"}));
    assert_eq!((&request["name"], &request["oldObject"]), (&json!("web"), &Value::Null));
    let options = json!({"apiVersion": "v1", "kind": "PodExecOptions", "stdin": true, "stdout": true, "stderr": true,
                         "container": "c", "command": ["sh", "-c"]});
    assert_eq!(request["object"], options);
    lab.stop().await;
}
