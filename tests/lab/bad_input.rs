//! What is wrong is refused with upstream's code, reason and words, and nothing of it is stored.

use serde_json::{Value, json};

use crate::harness::Lab;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_refused_and_not_stored() {
    let lab = Lab::with(&["--apiservers", "1", "--nodes", "1"]);
    let client = lab.client().await;
    let send = |method: &str, path: &str, body: Vec<u8>, media: &str| {
        let request =
            http::Request::builder().method(method).uri(path).header("content-type", media).body(body).unwrap();
        let client = client.clone();
        async move {
            let response = client.send(request.map(kube::client::Body::from)).await.unwrap();
            let code = response.status().as_u16();
            let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
            (code, serde_json::from_slice::<Value>(&body).unwrap_or_else(|_| panic!("not JSON: {body:?}")))
        }
    };
    const MAPS: &str = "/api/v1/namespaces/default/configmaps";
    const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
    let deployment = |replicas: i64| {
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "bad"}, "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "bad"}},
            "template": {
                "metadata": {"labels": {"app": "bad"}},
                "spec": {"containers": [{"name": "c", "image": "nginx"}]},
            },
        }})
        .to_string()
        .into_bytes()
    };
    let good = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "good"}}).to_string().into_bytes();
    let (code, created) = send("POST", MAPS, good.clone(), "application/json").await;
    assert_eq!(code, 201, "{created}");

    let before = send("GET", "/api/v1/configmaps?limit=1", Vec::new(), "application/json").await.1;
    let stale = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "good", "resourceVersion": "1"}});
    let unknown = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "bad"}, "dta": {"a": "b"}});
    let mistyped = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "bad"}, "data": {"a": 1}});
    let named = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "Not_A_Name"}});
    let huge = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "bad"},
        "data": {"a": "x".repeat(10 << 20)}});
    let bytes = |value: &Value| value.to_string().into_bytes();
    let strict = format!("{MAPS}?fieldValidation=Strict");

    let cases: Vec<(&str, &str, &str, Vec<u8>, &str, u16, &str, &str)> = vec![
        ("malformed JSON", "POST", MAPS, b"{\"kind\": ".to_vec(), "application/json", 400, "BadRequest", ""),
        ("malformed YAML", "POST", MAPS, b"a: [".to_vec(), "application/yaml", 400, "BadRequest", ""),
        (
            "an unknown field",
            "POST",
            &strict,
            bytes(&unknown),
            "application/json",
            400,
            "BadRequest",
            r#"strict decoding error: unknown field "dta""#,
        ),
        ("a wrong type", "POST", MAPS, bytes(&mistyped), "application/json", 400, "BadRequest", "data"),
        (
            "a body of 10 MiB",
            "POST",
            MAPS,
            bytes(&huge),
            "application/json",
            413,
            "RequestEntityTooLarge",
            "limit is 3145728",
        ),
        (
            "a negative replica count",
            "POST",
            DEPLOYMENTS,
            deployment(-1),
            "application/json",
            422,
            "Invalid",
            "Deployment.apps \"bad\" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0",
        ),
        (
            "a taken name",
            "POST",
            MAPS,
            good,
            "application/json",
            409,
            "AlreadyExists",
            r#"configmaps "good" already exists"#,
        ),
        (
            "a stale resourceVersion",
            "PUT",
            "/api/v1/namespaces/default/configmaps/good",
            bytes(&stale),
            "application/json",
            409,
            "Conflict",
            "Operation cannot be fulfilled on configmaps \"good\": the object has been modified; \
            please apply your changes to the latest version and try again",
        ),
        (
            "a name that is none",
            "POST",
            MAPS,
            bytes(&named),
            "application/json",
            422,
            "Invalid",
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters",
        ),
        ("another kind", "POST", DEPLOYMENTS, bytes(&stale), "application/json", 400, "BadRequest", ""),
        ("a strange media type", "POST", MAPS, b"x".to_vec(), "text/plain", 415, "UnsupportedMediaType", ""),
        (
            "an absent namespace",
            "POST",
            "/api/v1/namespaces/nowhere/configmaps",
            bytes(&json!({"apiVersion": "v1",
            "kind": "ConfigMap", "metadata": {"name": "bad"}})),
            "application/json",
            404,
            "NotFound",
            r#"namespaces "nowhere" not found"#,
        ),
        (
            "an absent object",
            "GET",
            "/api/v1/namespaces/default/configmaps/none",
            Vec::new(),
            "application/json",
            404,
            "NotFound",
            r#"configmaps "none" not found"#,
        ),
    ];
    for (what, method, path, body, media, code, reason, words) in cases {
        let (status, answer) = send(method, path, body, media).await;
        assert_eq!((status, answer["reason"].as_str()), (code, Some(reason)), "{what}: {answer}");
        assert_eq!(answer["kind"], "Status", "{what}: {answer}");
        assert!(answer["message"].as_str().unwrap().contains(words), "{what}: {answer}");
    }
    let after = send("GET", "/api/v1/configmaps?limit=1", Vec::new(), "application/json").await.1;
    assert_eq!(before["items"], after["items"]);
    for kind in [MAPS, DEPLOYMENTS] {
        let (code, answer) = send("GET", &format!("{kind}/bad"), Vec::new(), "application/json").await;
        assert_eq!(code, 404, "{answer}");
    }
}

#[test]
fn who_may_not_is_told_so() {
    let lab = Lab::with(&["--apiservers", "1", "--nodes", "1"]);
    let kubectl = lab.kubectl();
    let forbidden = kubectl.fail("get pods --as=jane", "");
    assert!(
        forbidden.contains(
            r#"Error from server (Forbidden): pods is forbidden: User "jane" cannot list resource "pods" in API group "" in the namespace "default""#
        ),
        "{forbidden}"
    );
    // A token that nobody signed, without the administrator's certificate.
    let server = format!("--server=https://127.0.0.1:{} --insecure-skip-tls-verify", lab.port);
    let config = lab.data_dir().join("nobody");
    std::fs::write(&config, "apiVersion: v1\nkind: Config\n").unwrap();
    let nobody = format!("--kubeconfig={} {server} --token=nonsense get pods", config.display());
    let refused = kubectl.fail(&nobody, "");
    assert!(refused.contains("You must be logged in to the server") || refused.contains("Unauthorized"), "{refused}");

    kubectl.run("create serviceaccount robot");
    kubectl.run("create rolebinding robot --clusterrole=view --serviceaccount=default:robot");
    let token = kubectl.run("create token robot");
    let robot = |rest: &str| format!("--kubeconfig={} {server} --token={} {rest}", config.display(), token.trim());
    kubectl.wait_until(&robot("get pods"), |text| text.contains("No resources found"));
    let refused = kubectl.fail(&robot("delete pod x"), "");
    assert!(
        refused.contains(r#"User "system:serviceaccount:default:robot" cannot delete resource "pods""#),
        "{refused}"
    );
    assert_eq!(kubectl.run("auth can-i create pods").trim(), "yes");
    assert!(kubectl.fail("auth can-i create pods --as=jane", "").is_empty());
}
