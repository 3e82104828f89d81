#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use k8s_openapi::{
    api::{
        apps::v1::{DaemonSet, Deployment, StatefulSet},
        authorization::v1::SelfSubjectAccessReview,
        batch::v1::CronJob,
        core::v1::{ConfigMap, Node, PersistentVolume, Secret, Service},
        policy::v1::{Eviction, PodDisruptionBudget},
    },
    schemars::SchemaGenerator,
};
use kubelab_api::resource::BUILT_IN;
use prost::encoding::{WireType, encode_key, encode_varint};
use serde_json::json;

use super::*;

/// Writes a message by hand.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn bytes(mut self, number: u32, bytes: impl AsRef<[u8]>) -> Self {
        encode_key(number, WireType::LengthDelimited, &mut self.0);
        encode_varint(bytes.as_ref().len() as u64, &mut self.0);
        self.0.extend_from_slice(bytes.as_ref());
        self
    }

    fn number(mut self, number: u32, value: u64) -> Self {
        encode_key(number, WireType::Varint, &mut self.0);
        encode_varint(value, &mut self.0);
        self
    }
}

fn message() -> Message {
    Message::default()
}

fn decode(api_version: &str, kind: &str, raw: Message) -> Result<Value, Error> {
    let type_meta = message().bytes(1, api_version).bytes(2, kind);
    let envelope = message().bytes(1, type_meta.0).bytes(2, raw.0).bytes(3, "").bytes(4, "");
    to_json(&[MAGIC, &envelope.0].concat()).map(|json| serde_json::from_slice(&json).unwrap())
}

#[test]
fn what_go_encodes_as_zero_is_left_out_as_go_leaves_it_out_of_json() {
    // As kubectl v1.33 sends `create configmap foo --from-literal=a=b`.
    let meta = message().bytes(1, "foo").bytes(2, "").bytes(3, "").bytes(4, "").bytes(5, "").bytes(6, "").number(7, 0);
    let meta = meta.bytes(8, "");
    let raw = message().bytes(1, meta.0).bytes(2, message().bytes(1, "a").bytes(2, "b").0);
    assert_eq!(
        decode("v1", "ConfigMap", raw).unwrap(),
        json!({ "kind": "ConfigMap", "apiVersion": "v1", "metadata": { "name": "foo" }, "data": { "a": "b" } })
    );
}

#[test]
fn special_types_are_written_as_json_has_them() {
    let quantity = message().bytes(1, "cpu").bytes(2, message().bytes(1, "500m").0);
    let limits = message().bytes(1, quantity.0);
    let secret = message().bytes(1, "s").bytes(2, message().bytes(3, message().bytes(1, "name").0).0);
    let probe = message()
        .bytes(1, message().bytes(2, message().bytes(1, "/").bytes(2, message().number(1, 0).number(2, 8080).0).0).0)
        .number(2, u64::MAX);
    let container = message().bytes(1, "web").bytes(8, limits.0).bytes(10, probe.0);
    let volume = message().bytes(1, "v").bytes(2, message().bytes(6, secret.0).0);
    let spec = message().bytes(1, volume.0).bytes(2, container.0).number(4, 0);
    let meta = message().bytes(8, message().number(1, 1_700_000_000).number(2, 0).0);
    let pod = decode("v1", "Pod", message().bytes(1, meta.0).bytes(2, spec.0)).unwrap();
    assert_eq!(pod["metadata"]["creationTimestamp"], "2023-11-14T22:13:20Z");
    assert_eq!(pod["spec"]["terminationGracePeriodSeconds"], 0, "a pointer to zero is not left out");
    assert_eq!(
        pod["spec"]["volumes"][0]["secret"]["secretName"], "s",
        "an embedded struct's fields stand in its place"
    );
    let container = &pod["spec"]["containers"][0];
    assert_eq!(container["resources"]["limits"], json!({ "cpu": "500m" }));
    assert_eq!(container["livenessProbe"]["httpGet"]["port"], 8080);
    assert_eq!(container["livenessProbe"]["initialDelaySeconds"], -1);

    let data = message().bytes(2, message().bytes(1, "k").bytes(2, b"\xff").0);
    assert_eq!(decode("v1", "Secret", data).unwrap()["data"], json!({ "k": "/w==" }));
    let grace = message().number(1, 0);
    assert_eq!(decode("apps/v1", "DeleteOptions", grace).unwrap()["gracePeriodSeconds"], 0);
    let renewed = message().bytes(2, message().bytes(4, message().number(1, 1).number(2, 5_000).0).0);
    let lease = decode("coordination.k8s.io/v1", "Lease", renewed).unwrap();
    assert_eq!(lease["spec"]["renewTime"], "1970-01-01T00:00:01.000005Z");
}

#[test]
fn hostile_bodies_are_refused() {
    let refused = |bytes: &[u8]| assert_eq!(to_json(bytes).unwrap_err().code(), 400, "{bytes:?}");
    refused(b"");
    refused(b"{}");
    refused(b"k8s\0\xff");
    refused(b"k8s\0\x0a\xff\xff\xff\xff\x0f");
    assert!(decode("v1", "Nothing", message()).unwrap_err().message.contains("send JSON"));
    assert_eq!(decode("v1", "Pod", message().bytes(1, b"\x0a\x01\xff")).unwrap_err().code(), 400, "not UTF-8");
    assert_eq!(decode("v1", "Pod", message().number(2, 1)).unwrap_err().code(), 400, "a number for a message");
}

#[test]
fn every_built_in_kind_has_a_message() {
    for resource in BUILT_IN.iter() {
        let message = message_of(&resource.api_version(), &resource.kind);
        assert!(MESSAGES.contains_key(message.as_str()), "{message}");
    }
}

#[test]
fn messages_agree_with_the_schemas() {
    let mut generator = SchemaGenerator::default();
    generator.subschema_for::<Deployment>();
    generator.subschema_for::<StatefulSet>();
    generator.subschema_for::<DaemonSet>();
    generator.subschema_for::<CronJob>();
    generator.subschema_for::<ConfigMap>();
    generator.subschema_for::<Secret>();
    generator.subschema_for::<Service>();
    generator.subschema_for::<Node>();
    generator.subschema_for::<PersistentVolume>();
    generator.subschema_for::<Eviction>();
    generator.subschema_for::<PodDisruptionBudget>();
    generator.subschema_for::<SelfSubjectAccessReview>();
    let mut compared = 0;
    for (name, schema) in generator.definitions() {
        let mut parts = name.rsplitn(4, '.');
        let (kind, version, group) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
        let message = format!("{group}/{version}.{kind}");
        let Some(properties) = schema["properties"].as_object().filter(|_| MESSAGES.contains_key(message.as_str()))
        else {
            continue;
        };
        let expected: BTreeSet<&str> =
            properties.keys().map(String::as_str).filter(|name| !["apiVersion", "kind"].contains(name)).collect();
        let mut found = names(&message);
        // They stand in the envelope, except in references to other objects. The youngest field of v1.37 has no number yet.
        found.retain(|name| !["apiVersion", "kind"].contains(name));
        let missing: Vec<_> = expected.difference(&found).collect();
        assert!(found.is_subset(&expected), "{message} has other fields");
        assert!(missing.is_empty() || missing == [&"runningInUserNamespace"], "{message} lacks {missing:?}");
        compared += 1;
    }
    assert!(compared > 150, "only {compared} messages were compared");
}

fn names(message: &str) -> BTreeSet<&'static str> {
    let mut names = BTreeSet::new();
    for field in &MESSAGES[message] {
        if field.name.is_empty() {
            names.extend(self::names(field.kind));
        } else {
            names.insert(field.name);
        }
    }
    names
}
