//! The tables agree with `k8s-openapi`.
#![allow(clippy::unwrap_used)]

use std::{env, fmt::Write, fs};

use k8s_openapi::{
    api::{
        admissionregistration::v1 as admission, apps::v1 as apps, autoscaling::v1 as autoscaling_v1,
        autoscaling::v2 as autoscaling_v2, batch::v1 as batch, certificates::v1 as certificates,
        coordination::v1 as coordination, core::v1 as core, discovery::v1 as discovery, events::v1 as events,
        flowcontrol::v1 as flowcontrol, networking::v1 as networking, node::v1 as node, policy::v1 as policy,
        rbac::v1 as rbac, resource::v1 as devices, scheduling::v1 as scheduling, storage::v1 as storage,
        storagemigration::v1 as storagemigration,
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1 as apiextensions,
    kube_aggregator::pkg::apis::apiregistration::v1 as apiregistration,
};
use schemars::SchemaGenerator;
use serde_json::{Value, json};

use super::{built_in::rows, *};
use crate::resource::{BUILT_IN, Verbs, named};

macro_rules! generate {
    ($generator:ident: $($module:ident { $($kind:ident),* $(,)? })*) => {
        $($( $generator.subschema_for::<$module::$kind>(); )*)*
    };
}

/// `io.k8s.api.core.v1.Pod` → `core/v1.Pod`
fn short(name: &str) -> String {
    let parts: Vec<&str> = name.split('.').collect();
    let [.., group, version, kind] = parts[..] else { panic!("{name}") };
    format!("{group}/{version}.{kind}")
}

fn fields_table() -> String {
    let mut generator = SchemaGenerator::default();
    generate! { generator:
        admission { MutatingAdmissionPolicy, MutatingAdmissionPolicyBinding, MutatingWebhookConfiguration,
            ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding, ValidatingWebhookConfiguration }
        apiextensions { CustomResourceDefinition }
        apiregistration { APIService }
        apps { ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet }
        autoscaling_v1 { HorizontalPodAutoscaler, Scale }
        autoscaling_v2 { HorizontalPodAutoscaler }
        batch { CronJob, Job }
        certificates { CertificateSigningRequest, ClusterTrustBundle, PodCertificateRequest }
        coordination { Lease }
        core { ComponentStatus, ConfigMap, Endpoints, Event, LimitRange, Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod,
            PodTemplate, ReplicationController, ResourceQuota, Secret, Service, ServiceAccount }
        devices { DeviceClass, DeviceTaintRule, ResourceClaim, ResourceClaimTemplate, ResourceSlice }
        discovery { EndpointSlice }
        events { Event }
        flowcontrol { FlowSchema, PriorityLevelConfiguration }
        networking { IPAddress, Ingress, IngressClass, NetworkPolicy, ServiceCIDR }
        node { RuntimeClass }
        policy { PodDisruptionBudget }
        rbac { ClusterRole, ClusterRoleBinding, Role, RoleBinding }
        scheduling { PriorityClass }
        storage { CSIDriver, CSINode, CSIStorageCapacity, StorageClass, VolumeAttachment, VolumeAttributesClass }
        storagemigration { StorageVersionMigration }
    }
    let definitions = generator.definitions();
    let object_behind = |schema: &Value| -> Option<String> {
        let name = schema.get("$ref")?.as_str()?.rsplit('/').next()?;
        definitions[name].get("properties").map(|_| short(name))
    };
    // What stands behind a schema that is no typed object.
    let simple = |schema: &Value| {
        let named = schema.get("$ref").and_then(Value::as_str).and_then(|name| name.rsplit('/').next());
        match (named, named.map_or(schema, |name| &definitions[name])["type"].as_str()) {
            (None, Some("string")) => "string",
            (None, Some("integer" | "number")) => "number",
            (None, Some("boolean")) => "boolean",
            (Some(name), _) if name.ends_with("IntOrString") || name.ends_with("Quantity") => "untyped",
            (Some(name), _) if name.ends_with("RawExtension") => "raw",
            // Times.
            (Some(_), Some("string")) => "untyped",
            _ => "any",
        }
    };
    let of = |schema: &Value| object_behind(schema).unwrap_or_else(|| simple(schema).to_owned());
    let mut rows = Vec::new();
    for (name, definition) in definitions {
        for (field, schema) in definition.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let (shape, element) = match schema.get("type").and_then(Value::as_str) {
                Some("array") => ("list", of(&schema["items"])),
                Some("object") => ("map", schema.get("additionalProperties").map_or("any".into(), of)),
                _ => match object_behind(schema) {
                    Some(element) => ("object", element),
                    None => (simple(schema), String::new()),
                },
            };
            rows.push(format!("{}\t{field}\t{shape}\t{element}", short(name)));
        }
    }
    rows.sort();
    let mut table = "# type\tfield\tshape\telement\n".to_owned();
    for row in rows {
        writeln!(table, "{}", row.trim_end()).unwrap();
    }
    table
}

#[test]
fn the_table_of_fields_agrees_with_the_schemas() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/patch/fields.tsv");
    let table = fields_table();
    if env::var_os("UPDATE_TABLES").is_some() {
        fs::write(path, &table).unwrap();
    }
    let stored = include_str!("../fields.tsv");
    assert!(stored == table, "{path} is out of date: run the test with UPDATE_TABLES=1, then again");
}

#[test]
fn every_list_type_is_about_something_that_exists() {
    let fields: Vec<_> = rows(include_str!("../fields.tsv")).collect();
    for [name, field, ..] in list_types() {
        let known = fields.iter().any(|[n, f, _, element, ..]| match field {
            "" => *n == name || *element == name,
            field => (*n, *f) == (name, field),
        });
        assert!(known, "{name} has no list, map or object {field:?}, or does not exist");
    }
}

#[test]
fn every_field_that_is_always_written_exists() {
    for [name, fields, ..] in rows(include_str!("../always.tsv")) {
        let schema = Schema::named(name).unwrap_or_else(|| panic!("{name}"));
        for field in fields.split(',') {
            assert!(schema.field(field).is_some_and(|field| field.always), "{name} has no {field}");
        }
    }
}

#[test]
fn every_stored_kind_has_a_schema() {
    for resource in BUILT_IN.iter().filter(|resource| resource.verbs != Verbs::Create) {
        let schema = Schema::of(resource).unwrap_or_else(|| panic!("{} has none", resource.group_resource()));
        assert!(schema.field("metadata").is_some(), "{}", schema.name());
    }
}

fn walk(kind: &str, path: &str) -> Field {
    let mut schema = Schema::of(named(kind).unwrap()).unwrap();
    let (parents, last) = path.rsplit_once('.').unwrap_or(("", path));
    for parent in parents.split('.').filter(|parent| !parent.is_empty()) {
        schema = schema.child(parent).unwrap_or_else(|| panic!("{path} ends at {parent}")).clone();
        schema = schema.element().cloned().unwrap_or(schema);
    }
    schema.field(last).unwrap().clone()
}

fn keys(schema: &Schema) -> String {
    match schema.form() {
        Form::List(List { owned: Owned::Keyed(keys), .. }) => {
            let key = |key: &Key| match &key.default {
                Some(default) => format!("{}={default}", key.name),
                None => key.name.to_string(),
            };
            keys.iter().map(key).collect::<Vec<_>>().join(",")
        }
        Form::List(List { owned: Owned::Set, .. }) => "set".into(),
        Form::List(_) => "atomic".into(),
        _ => "no list".into(),
    }
}

#[test]
fn fields_are_found_along_a_path() {
    for (kind, path, strategy, merge_key, owned) in [
        ("deploy", "spec.template.spec.containers", Strategy::Merge, "name", "name=\"\""),
        ("pod", "spec.containers.ports", Strategy::Merge, "containerPort", "containerPort=0,protocol=\"TCP\""),
        ("svc", "spec.ports", Strategy::Merge, "port", "port=0,protocol=\"TCP\""),
        ("sa", "secrets", Strategy::Merge, "name", "name"),
        ("ns", "metadata.finalizers", Strategy::Merge, "", "set"),
        ("pod", "spec.tolerations", Strategy::Default, "", "atomic"),
        ("pdb", "spec.selector", Strategy::Replace, "", "no list"),
        ("pod", "spec.ephemeralContainers.env", Strategy::Merge, "name", "name=\"\""),
    ] {
        let schema = walk(kind, path);
        assert_eq!((schema.strategy, schema.merge_key, &*keys(&schema.schema)), (strategy, merge_key, owned), "{path}");
    }
    assert!(walk("deploy", "spec.selector").schema.is_atomic());
    assert!(!walk("deploy", "spec.template").schema.is_atomic());
    assert!(walk("pod", "spec.nodeSelector").schema.is_atomic());
    assert!(!walk("pv", "spec.claimRef").schema.is_atomic(), "its fields have owners of their own");
    let nested = walk("crd", "spec.versions.schema.openAPIV3Schema.properties.anything.items");
    assert!(matches!(nested.schema.form(), Form::Any));
    for (path, scalar) in [
        ("spec.replicas", Scalar::Numeric),
        ("spec.paused", Scalar::Boolean),
        ("spec.strategy.type", Scalar::String),
        ("spec.strategy.rollingUpdate.maxSurge", Scalar::Untyped),
        ("metadata.creationTimestamp", Scalar::Untyped),
    ] {
        assert!(matches!(walk("deploy", path).schema.form(), Form::Scalar(other) if *other == scalar), "{path}");
    }
}

#[test]
fn structural_schemas_become_types() {
    let schema = Schema::from_structural(&json!({
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "properties": {
                    "ports": {
                        "type": "array",
                        "x-kubernetes-list-type": "map",
                        "x-kubernetes-list-map-keys": ["port", "protocol"],
                        "items": {"type": "object", "properties": {
                            "port": {"type": "integer"}, "protocol": {"type": "string", "default": "TCP"}}},
                    },
                    "tags": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
                    "args": {"type": "array", "items": {"type": "string"}},
                    "selector": {"type": "object", "x-kubernetes-map-type": "atomic",
                                 "additionalProperties": {"type": "string"}},
                    "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                    "either": {"x-kubernetes-int-or-string": true},
                    "template": {"type": "object", "x-kubernetes-embedded-resource": true},
                },
            },
        },
    }));
    assert_eq!(keys(&schema.field("metadata").unwrap().schema.field("finalizers").unwrap().schema), "set");
    let spec = &schema.field("spec").unwrap().schema;
    let of = |name: &str| spec.child(name).unwrap();
    assert_eq!(keys(of("ports")), "port,protocol=\"TCP\"");
    assert_eq!((&*keys(of("tags")), &*keys(of("args"))), ("set", "atomic"));
    assert!(of("selector").is_atomic());
    assert!(matches!(of("free").child("x").unwrap().form(), Form::Any));
    assert!(matches!(of("either").form(), Form::Scalar(Scalar::Untyped)));
    assert!(of("template").field("metadata").is_some());
    assert!(spec.child("other").is_none());
    let unknown = Schema::unknown();
    assert!(matches!(unknown.child("spec").unwrap().form(), Form::Any));
    assert!(unknown.field("metadata").is_some());
}
