//! Admission policies in CEL, through the door.

use http::Method;
use serde_json::{Value, json};

use super::lab::{Answer, Lab};

const ADMISSION: &str = "/apis/admissionregistration.k8s.io/v1";
const CONFIGS: &str = "/api/v1/namespaces/default/configmaps";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

async fn post(lab: &Lab, plural: &str, kind: &str, name: &str, spec: Value) {
    let object = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": name}, "spec": spec});
    let answer = lab.post("admin", &format!("{ADMISSION}/{plural}"), object).await;
    assert_eq!(answer.status, 201, "{}", answer.json());
}

async fn validating(lab: &Lab, name: &str, spec: Value) {
    post(lab, "validatingadmissionpolicies", "ValidatingAdmissionPolicy", name, spec).await;
}

async fn binding(lab: &Lab, name: &str, policy: &str, more: Value) {
    let mut spec = json!({"policyName": policy, "validationActions": ["Deny"]});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    post(lab, "validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding", name, spec).await;
}

fn about(group: &str, resource: &str) -> Value {
    json!({
        "resourceRules": [{"operations": ["CREATE", "UPDATE"], "apiGroups": [group], "apiVersions": ["v1"], "resources": [resource]}],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "default"}},
    })
}

fn deployment(name: &str, replicas: u32) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "c", "image": "nginx"}]}},
        },
    })
}

async fn config(lab: &Lab, name: &str, data: Value) -> Answer {
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data});
    lab.post("admin", CONFIGS, object).await
}

#[tokio::test]
async fn policies_refuse_and_warn() {
    let lab = Lab::start().await;
    validating(&lab, "few", json!({
        "matchConstraints": about("apps", "deployments"),
        "variables": [{"name": "replicas", "expression": "object.spec.replicas"}],
        "validations": [
            {"expression": "variables.replicas <= 5", "messageExpression": "'at most 5 replicas, not ' + string(variables.replicas)"},
            {"expression": "object.metadata.name != 'bad'", "message": "a bad name", "reason": "Forbidden"},
        ],
    }))
    .await;
    // Without a binding, a policy says nothing.
    assert_eq!(lab.post("admin", DEPLOYMENTS, deployment("free", 9)).await.status, 201);
    binding(&lab, "few-here", "few", json!({})).await;
    let denied = lab.post("admin", DEPLOYMENTS, deployment("big", 6)).await;
    let message = "deployments.apps \"big\" is forbidden: ValidatingAdmissionPolicy 'few' with binding 'few-here' denied \
                   request: at most 5 replicas, not 6";
    assert_eq!(denied.refusal(), (422, "Invalid".into(), message.into()));
    let cause = denied.json()["details"]["causes"][0]["message"].clone();
    assert!(message.ends_with(cause.as_str().unwrap()), "{cause}");
    let denied = lab.post("admin", DEPLOYMENTS, deployment("bad", 1)).await.refusal();
    assert_eq!((denied.0, &*denied.1), (403, "Forbidden"));
    assert!(denied.2.ends_with("denied request: a bad name"), "{}", denied.2);
    assert_eq!(lab.post("admin", DEPLOYMENTS, deployment("good", 5)).await.status, 201);

    // By patch, and by the scale subresource for a policy that asks for it.
    let patch = |path: String, body: Value| {
        let lab = &lab;
        async move {
            let headers = [("content-type", "application/merge-patch+json")];
            lab.send("admin", Method::PATCH, &path, &headers, body.to_string()).await
        }
    };
    let more = json!({"spec": {"replicas": 7}});
    assert_eq!(patch(format!("{DEPLOYMENTS}/good"), more.clone()).await.refusal().0, 422);
    assert_eq!(patch(format!("{DEPLOYMENTS}/good/scale"), more.clone()).await.status, 200);
    validating(&lab, "scale", json!({
        "matchConstraints": about("apps", "deployments/scale"),
        "validations": [{"expression": "object.kind == 'Scale' && object.spec.replicas <= oldObject.spec.replicas"}],
    }))
    .await;
    binding(&lab, "scale", "scale", json!({})).await;
    let denied = patch(format!("{DEPLOYMENTS}/good/scale"), json!({"spec": {"replicas": 8}})).await.refusal();
    assert!(denied.2.contains("denied request: failed expression: object.kind == 'Scale'"), "{}", denied.2);

    validating(
        &lab,
        "warn",
        json!({
            "matchConstraints": about("", "configmaps"),
            "validations": [{"expression": "has(object.data)", "message": "no data"}],
        }),
    )
    .await;
    binding(&lab, "warn", "warn", json!({"validationActions": ["Warn"]})).await;
    let warned =
        lab.post("admin", CONFIGS, json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "w"}})).await;
    assert_eq!(warned.status, 201);
    let warning = warned.headers["warning"].to_str().unwrap();
    assert_eq!(
        warning,
        "299 - \"Validation failed for ValidatingAdmissionPolicy 'warn' with binding 'warn': no data\""
    );
    lab.stop().await;
}

#[tokio::test]
async fn policies_go_by_parameters_namespaces_and_rights() {
    let lab = Lab::start().await;
    assert_eq!(config(&lab, "limits", json!({"max": "3"})).await.status, 201);
    validating(
        &lab,
        "limited",
        json!({
            "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
            "matchConstraints": about("apps", "deployments"),
            "matchConditions": [{"name": "not-me", "expression": "object.metadata.name != 'mine'"}],
            "validations": [{"expression": "object.spec.replicas <= int(params.data.max)"}],
        }),
    )
    .await;
    let by_name = |name: &str, action: &str| json!({"paramRef": {"name": name, "namespace": "default", "parameterNotFoundAction": action}});
    binding(&lab, "limited", "limited", by_name("limits", "Deny")).await;
    let denied = lab.post("admin", DEPLOYMENTS, deployment("a", 4)).await.refusal();
    assert!(
        denied.2.ends_with("denied request: failed expression: object.spec.replicas <= int(params.data.max)"),
        "{}",
        denied.2
    );
    assert_eq!(lab.post("admin", DEPLOYMENTS, deployment("a", 3)).await.status, 201);
    assert_eq!(lab.post("admin", DEPLOYMENTS, deployment("mine", 9)).await.status, 201);
    assert_eq!(lab.send("admin", Method::DELETE, &format!("{CONFIGS}/limits"), &[], "").await.status, 200);
    let denied = lab.post("admin", DEPLOYMENTS, deployment("b", 1)).await.refusal();
    let message = "denied request: failed to configure binding: no params found for policy binding with `Deny` \
                   parameterNotFoundAction";
    assert!(denied.2.ends_with(message), "{}", denied.2);

    validating(&lab, "rights", json!({
        "matchConstraints": about("", "configmaps"),
        "validations": [
            {"expression": "namespaceObject.metadata.name == 'default' && request.namespace == 'default'"},
            {"expression": "authorizer.group('').resource('secrets').namespace('default').check('delete').allowed()"},
            {"expression": "request.userInfo.username == 'kubernetes-admin'"},
        ],
    }))
    .await;
    binding(&lab, "rights", "rights", json!({})).await;
    assert_eq!(config(&lab, "ok", json!({})).await.status, 201);

    // An expression that fails refuses, unless the policy does not mind.
    for (policy, status) in [("Fail", 422), ("Ignore", 201)] {
        let name = policy.to_lowercase();
        validating(
            &lab,
            &name,
            json!({
                "failurePolicy": policy,
                "matchConstraints": about("", "services"),
                "validations": [{"expression": "object.spec.nope == 1"}],
            }),
        )
        .await;
        binding(&lab, &name, &name, json!({})).await;
        let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {"ports": [{"port": 80}]}});
        let answer = lab.post("admin", "/api/v1/namespaces/default/services", service).await;
        assert_eq!(answer.status, status, "{}", answer.json());
        if status == 422 {
            let message = "denied request: expression 'object.spec.nope == 1' resulted in error: no such key: nope";
            assert!(answer.refusal().2.ends_with(message), "{}", answer.json());
            let path = format!("{ADMISSION}/validatingadmissionpolicybindings/fail");
            assert_eq!(lab.send("admin", Method::DELETE, &path, &[], "").await.status, 200);
        }
    }
    lab.stop().await;
}

async fn mutating(lab: &Lab, name: &str, mutation: Value) {
    let spec = json!({
        "matchConstraints": about("apps", "deployments"),
        "reinvocationPolicy": "IfNeeded",
        "mutations": [mutation],
    });
    post(lab, "mutatingadmissionpolicies", "MutatingAdmissionPolicy", name, spec).await;
    let spec = json!({"policyName": name});
    post(lab, "mutatingadmissionpolicybindings", "MutatingAdmissionPolicyBinding", name, spec).await;
}

#[tokio::test]
async fn policies_change_objects() {
    let lab = Lab::start().await;
    let sidecar = "Object{spec: Object.spec{template: Object.spec.template{spec: Object.spec.template.spec{containers: \
                   [Object.spec.template.spec.containers{name: 'sidecar', image: 'busybox'}]}}}}";
    mutating(
        &lab,
        "sidecar",
        json!({"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": sidecar}}),
    )
    .await;
    let label = "[JSONPatch{op: 'add', path: '/metadata/labels/' + jsonpatch.escapeKey('example.com/count'), \
                 value: string(object.spec.template.spec.containers.size())}]";
    mutating(&lab, "label", json!({"patchType": "JSONPatch", "jsonPatch": {"expression": label}})).await;
    let made = lab.post("admin", DEPLOYMENTS, deployment("web", 1)).await;
    assert_eq!(made.status, 201, "{}", made.json());
    let made = made.json();
    let containers = made["spec"]["template"]["spec"]["containers"].as_array().unwrap().clone();
    let names: Vec<_> = containers.iter().map(|container| container["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["c", "sidecar"]);
    // Defaults come after, and the first policy (by name) ran again after the second.
    assert_eq!(containers[1]["imagePullPolicy"], "Always");
    assert_eq!(made["metadata"]["labels"]["example.com/count"], "2");

    let wrong = "[JSONPatch{op: 'remove', path: '/spec/absent'}]";
    mutating(&lab, "wrong", json!({"patchType": "JSONPatch", "jsonPatch": {"expression": wrong}})).await;
    let denied = lab.post("admin", DEPLOYMENTS, deployment("db", 1)).await.refusal();
    assert_eq!((denied.0, &*denied.1), (422, "Invalid"));
    assert!(denied.2.starts_with("policy 'wrong' with binding 'wrong' denied request: JSON Patch: "), "{}", denied.2);
    lab.stop().await;
}
