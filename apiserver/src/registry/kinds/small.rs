//! Groups with one or two kinds.
#![allow(clippy::unwrap_used)]

use kubelab_api::field::Errors;
use serde_json::{Value, json};

use crate::registry::{
    admissionregistration::validating_webhook_configuration::ValidatingWebhookConfigurationKind,
    apiextensions::custom_resource_definition::CustomResourceDefinitionKind,
    apiregistration::api_service::APIServiceKind,
    certificates::certificate_signing_request::CertificateSigningRequestKind,
    events::event::EventsV1,
    handler::Conversion,
    kind::Kind,
    policy::pod_disruption_budget::PodDisruptionBudgetKind,
    scheduling::priority_class::PriorityClassKind,
    storage::storage_class::StorageClassKind,
    validation::tests::{new_errors, object, update_errors},
};

fn cells<K: Kind>(json: Value) -> Vec<Value> {
    K::cells(&object::<K>(json), "2026-01-01T00:00:10Z".parse().unwrap())
}

fn made(name: &str) -> Value {
    json!({"name": name, "creationTimestamp": "2026-01-01T00:00:00Z"})
}

#[test]
fn disruption_budgets() {
    assert_eq!(
        new_errors::<PodDisruptionBudgetKind>(json!({"spec": {"minAvailable": 1, "maxUnavailable": "200%"}})),
        [
            "spec: Invalid value: {\"maxUnavailable\":\"200%\",\"minAvailable\":1}: minAvailable and maxUnavailable \
             cannot be both set",
            "spec.maxUnavailable: Invalid value: \"200%\": must not be greater than 100%",
        ]
    );
    assert_eq!(
        cells::<PodDisruptionBudgetKind>(json!({"metadata": made("b"), "spec": {"minAvailable": "50%"},
            "status": {"disruptionsAllowed": 1}})),
        [json!("b"), json!("50%"), json!("N/A"), json!(1), json!("10s")]
    );
}

#[test]
fn storage_classes() {
    assert_eq!(new_errors::<StorageClassKind>(json!({"provisioner": ""})), ["provisioner: Required value"]);
    assert_eq!(
        update_errors::<StorageClassKind>(json!({"provisioner": "a.b/c"}), json!({"provisioner": "a.b/d"})),
        ["provisioner: Forbidden: updates to provisioner are forbidden."]
    );
    assert_eq!(
        cells::<StorageClassKind>(json!({"metadata": {"name": "s", "creationTimestamp": "2026-01-01T00:00:00Z",
            "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}, "provisioner": "lab.io/disk"})),
        [json!("s (default)"), json!("lab.io/disk"), json!("Delete"), json!("Immediate"), json!(false), json!("10s")]
    );
}

#[test]
fn priority_classes() {
    assert_eq!(
        new_errors::<PriorityClassKind>(json!({"metadata": {"name": "a"}, "value": 2_000_000_000})),
        ["value: Forbidden: maximum allowed value of a user defined priority is 1000000000"]
    );
    assert_eq!(
        cells::<PriorityClassKind>(json!({"metadata": made("a"), "value": 5})),
        [json!("a"), json!(5), json!(false), json!("10s"), json!("PreemptLowerPriority")]
    );
}

#[test]
fn signing_requests() {
    let request = json!({"metadata": made("r"), "spec": {"signerName": "kubernetes.io/kubelet-serving", "username": "me",
        "request": "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0K", "usages": ["server auth"],
        "expirationSeconds": 3600}});
    assert_eq!(new_errors::<CertificateSigningRequestKind>(request.clone()), Vec::<String>::new());
    assert_eq!(
        cells::<CertificateSigningRequestKind>(request.clone()),
        ["r", "10s", "kubernetes.io/kubelet-serving", "me", "60m", "Pending"]
    );
    // Only the part `approval` says yes or no.
    let old = object::<CertificateSigningRequestKind>(request.clone());
    let mut approved = old.clone();
    approved.status = serde_json::from_value(json!({"conditions": [{"type": "Approved", "status": "True"}]})).unwrap();
    let mut sneaked = approved.clone();
    CertificateSigningRequestKind::prepare_status_update(&mut sneaked, &old);
    CertificateSigningRequestKind::prepare_part("approval", &mut approved, &old);
    let mut errors = Errors::default();
    CertificateSigningRequestKind::validate_status_update(&sneaked, &old, &mut errors);
    let words = "status.conditions: Forbidden: updates may not add a condition of type \"Approved\"";
    assert_eq!(errors.0.iter().map(ToString::to_string).collect::<Vec<_>>(), [words]);
    let state = |object| CertificateSigningRequestKind::cells(object, jiff::Timestamp::UNIX_EPOCH)[5].clone();
    assert_eq!(state(&approved), json!("Approved"));
}

#[test]
fn definitions_of_custom_resources() {
    let definition = json!({"metadata": {"name": "widgets.lab.io"}, "spec": {"group": "lab.io", "scope": "Namespaced",
        "names": {"plural": "widgets", "kind": "Widget"},
        "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}]}});
    assert_eq!(new_errors::<CustomResourceDefinitionKind>(definition.clone()), Vec::<String>::new());
    let mut object = object::<CustomResourceDefinitionKind>(definition);
    CustomResourceDefinitionKind::prepare_create(&mut object);
    let json = serde_json::to_value(&object).unwrap();
    assert_eq!(json["spec"]["names"]["listKind"], "WidgetList");
    assert_eq!(json["spec"]["names"]["singular"], "widget");
    assert_eq!(json["spec"]["conversion"], json!({"strategy": "None"}));
    assert_eq!(json["status"]["storedVersions"], json!(["v1"]));
    assert_eq!(
        new_errors::<CustomResourceDefinitionKind>(json!({"metadata": {"name": "x"}, "spec": {"group": "lab.io",
            "names": {"plural": "widgets", "kind": "Widget"}, "versions": []}})),
        [
            "metadata.name: Invalid value: \"x\": must be spec.names.plural+\".\"+spec.group",
            "spec.versions: Invalid value: []: must have exactly one version marked as storage version",
        ]
    );
}

#[test]
fn webhooks() {
    let configuration = json!({"webhooks": [{"name": "a.b", "clientConfig": {}, "sideEffects": "Some",
        "admissionReviewVersions": ["v1"], "timeoutSeconds": 31}]});
    assert_eq!(
        new_errors::<ValidatingWebhookConfigurationKind>(configuration),
        [
            "webhooks[0].name: Invalid value: \"a.b\": should be a domain with at least three segments separated by dots",
            "webhooks[0].sideEffects: Unsupported value: \"Some\": supported values: \"None\", \"NoneOnDryRun\"",
            "webhooks[0].timeoutSeconds: Invalid value: 31: the timeout value must be between 1 and 30 seconds",
            "webhooks[0].clientConfig: Required value: exactly one of url or service is required",
        ]
    );
}

#[test]
fn api_services_of_this_server_are_available() {
    let mut service = object::<APIServiceKind>(json!({"metadata": made("v1.apps"),
        "spec": {"group": "apps", "version": "v1", "groupPriorityMinimum": 100, "versionPriority": 10}}));
    APIServiceKind::prepare_create(&mut service);
    let cells = APIServiceKind::cells(&service, "2026-01-01T00:00:10Z".parse().unwrap());
    assert_eq!(cells, ["v1.apps", "Local", "True", "10s"]);
}

#[test]
fn events_are_the_same_in_both_groups() {
    let served: k8s_openapi::api::events::v1::Event = serde_json::from_value(json!({
        "metadata": {"name": "e"}, "eventTime": "2026-01-01T00:00:00.000000Z", "action": "Binding", "reason": "Scheduled",
        "note": "done", "reportingController": "scheduler", "reportingInstance": "s-1", "type": "Normal",
        "regarding": {"kind": "Pod", "name": "web"},
        "series": {"count": 2, "lastObservedTime": "2026-01-01T00:01:00.000000Z"},
    }))
    .unwrap();
    let stored = EventsV1::to_stored(served.clone());
    assert_eq!((stored.message.as_deref(), stored.involved_object.name.as_deref()), (Some("done"), Some("web")));
    assert_eq!(EventsV1::to_served(stored), served);
}
