//! The tables agree with `k8s-openapi`.
#![allow(clippy::unwrap_used)]

use std::{env, fmt::Write, fs};

use k8s_openapi::{
    api::{
        admissionregistration::v1 as admission, apps::v1 as apps, autoscaling::v1 as autoscaling_v1,
        autoscaling::v2 as autoscaling_v2, batch::v1 as batch, certificates::v1 as certificates,
        coordination::v1 as coordination, core::v1 as core, discovery::v1 as discovery, events::v1 as events,
        flowcontrol::v1 as flowcontrol, networking::v1 as networking, node::v1 as node, policy::v1 as policy,
        rbac::v1 as rbac, scheduling::v1 as scheduling, storage::v1 as storage,
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1 as apiextensions,
    kube_aggregator::pkg::apis::apiregistration::v1 as apiregistration,
};
use schemars::SchemaGenerator;
use serde_json::Value;

use super::*;
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
        admission { MutatingWebhookConfiguration, ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
            ValidatingWebhookConfiguration }
        apiextensions { CustomResourceDefinition }
        apiregistration { APIService }
        apps { ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet }
        autoscaling_v1 { HorizontalPodAutoscaler, Scale }
        autoscaling_v2 { HorizontalPodAutoscaler }
        batch { CronJob, Job }
        certificates { CertificateSigningRequest }
        coordination { Lease }
        core { ConfigMap, Endpoints, Event, LimitRange, Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod,
            PodTemplate, ReplicationController, ResourceQuota, Secret, Service, ServiceAccount }
        discovery { EndpointSlice }
        events { Event }
        flowcontrol { FlowSchema, PriorityLevelConfiguration }
        networking { Ingress, IngressClass, NetworkPolicy }
        node { RuntimeClass }
        policy { PodDisruptionBudget }
        rbac { ClusterRole, ClusterRoleBinding, Role, RoleBinding }
        scheduling { PriorityClass }
        storage { CSIDriver, CSINode, CSIStorageCapacity, StorageClass, VolumeAttachment }
    }
    let definitions = generator.definitions();
    let object_behind = |schema: &Value| -> Option<String> {
        let name = schema.get("$ref")?.as_str()?.rsplit('/').next()?;
        definitions[name].get("properties").map(|_| short(name))
    };
    let mut rows = Vec::new();
    for (name, definition) in definitions {
        for (field, schema) in definition.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let (shape, element) = match schema.get("type").and_then(Value::as_str) {
                Some("array") => ("list", object_behind(&schema["items"])),
                Some("object") => ("map", schema.get("additionalProperties").and_then(object_behind)),
                _ => match object_behind(schema) {
                    Some(element) => ("object", Some(element)),
                    None => continue,
                },
            };
            rows.push(format!("{}\t{field}\t{shape}\t{}", short(name), element.unwrap_or_default()));
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
fn every_stored_kind_has_a_schema() {
    for resource in BUILT_IN.iter().filter(|resource| resource.verbs == Verbs::All) {
        let schema = Schema::of(resource).unwrap_or_else(|| panic!("{} has none", resource.group_resource()));
        assert!(schema.field("metadata").is_some(), "{}", schema.name());
    }
}

#[test]
fn fields_are_found_along_a_path() {
    let walk = |kind: &str, path: &[&str]| {
        let mut schema = Schema::of(named(kind).unwrap()).unwrap();
        let (last, parents) = path.split_last().unwrap();
        for parent in parents {
            schema = schema.field(parent).unwrap().element.unwrap();
        }
        schema.field(last).unwrap()
    };
    let containers = walk("deploy", &["spec", "template", "spec", "containers"]);
    assert_eq!((containers.shape, containers.strategy, containers.merge_key), (Shape::List, Strategy::Merge, "name"));
    assert_eq!(containers.topology, Topology::Map);
    let ports = walk("pod", &["spec", "containers", "ports"]);
    assert_eq!(ports.merge_key, "containerPort");
    assert_eq!(ports.keys().collect::<Vec<_>>(), ["containerPort", "protocol"]);
    let finalizers = walk("ns", &["metadata", "finalizers"]);
    assert_eq!((finalizers.strategy, finalizers.topology, finalizers.element), (Strategy::Merge, Topology::Set, None));
    assert_eq!(walk("pdb", &["spec", "selector"]).strategy, Strategy::Replace);
    assert_eq!(walk("pod", &["spec", "ephemeralContainers", "env"]).merge_key, "name");
    let selector = walk("deploy", &["spec", "selector"]).element.unwrap();
    assert!(selector.is_atomic() && !walk("deploy", &["spec"]).element.unwrap().is_atomic());
    let properties = ["spec", "versions", "schema", "openAPIV3Schema", "properties"];
    let nested = walk("crd", &properties).element.unwrap().field("anything").unwrap();
    assert_eq!(nested.element.unwrap().name(), "apiextensions/v1.JSONSchemaProps");
}
