//! What clients may send.

use super::*;

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
            "services",
            r#"{"metadata":{"name":"s_"},"spec":{"ports":[{"port":0,"targetPort":1}]}}"#,
            422,
            "Service \"s_\" is invalid: [metadata.name: Invalid value: \"s_\": a lowercase RFC 1123 label must consist of \
          lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. \
          'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?'), spec.ports[0].port: \
          Invalid value: 0: must be between 1 and 65535, inclusive]",
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
