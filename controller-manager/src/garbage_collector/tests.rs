//! What the graph concludes, case by case.

#![allow(clippy::unwrap_used)]

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kubelab_api::{Resource, resource};
use serde_json::{Value, json};

use super::{
    graph::{Graph, Owner, Verdict},
    node::{Facts, SlimMeta, Uid, uid},
};

fn resource(plural: &str) -> Arc<Resource> {
    Arc::new(resource::named(plural).unwrap().clone())
}

/// The uid that stands for a name: its letters.
fn uid_text(name: &str) -> String {
    let letters = name.bytes().fold(0_u64, |letters, byte| letters << 8 | u64::from(byte));
    format!("00000000-0000-0000-{:04x}-{:012x}", letters >> 48, letters & 0xffff_ffff_ffff)
}

fn uid_of(name: &str) -> Uid {
    uid(&uid_text(name)).unwrap()
}

/// An object whose uid stands for its name.
fn object(name: &str, meta: Value) -> SlimMeta {
    let mut metadata = json!({"name": name, "uid": uid_text(name), "namespace": "default"});
    metadata.as_object_mut().unwrap().extend(meta.as_object().unwrap().clone());
    serde_json::from_value(metadata).unwrap()
}

fn owned_by(kind: &str, name: &str) -> Value {
    let api_version = if kind == "ReplicaSet" || kind == "Deployment" { "apps/v1" } else { "v1" };
    json!({"apiVersion": api_version, "kind": kind, "name": name, "uid": uid_text(name), "blockOwnerDeletion": true})
}

fn owners<const N: usize>(references: [Value; N]) -> Value {
    json!({"ownerReferences": references.to_vec()})
}

fn deleting(finalizer: &str) -> Value {
    json!({"deletionTimestamp": "2026-11-20T12:00:00Z", "finalizers": [finalizer]})
}

fn graph(objects: &[(&str, &SlimMeta)]) -> Graph {
    let mut graph = Graph::default();
    for (plural, object) in objects {
        put(&mut graph, plural, object);
    }
    graph
}

/// The object is now like this: what is to be looked at.
fn put(graph: &mut Graph, plural: &str, object: &SlimMeta) -> BTreeSet<Uid> {
    graph.put(&resource(plural), &Facts::of_slim(object).unwrap()).into_iter().collect()
}

fn remove(graph: &mut Graph, name: &str) -> BTreeSet<Uid> {
    graph.remove(uid_of(name)).into_iter().collect()
}

fn uids<const N: usize>(names: [&str; N]) -> BTreeSet<Uid> {
    names.map(uid_of).into()
}

/// What the graph says of an object when the apiserver knows no other owners.
fn verdict(graph: &Graph, name: &str) -> Verdict {
    let node = graph.get(uid_of(name)).unwrap();
    let owner = |reference| match graph.owner(node, reference) {
        Owner::Unknown(_) => Owner::Dangling,
        known => known,
    };
    let owners: Vec<Owner> = node.owners().iter().map(owner).collect();
    graph.verdict(uid_of(name), node, &owners)
}

#[test]
fn garbage_is_what_has_only_owners_that_are_gone() {
    let set = object("rs", json!({}));
    let waiting = object("old", deleting("foregroundDeletion"));
    let (of_rs, of_old, of_gone) =
        (owned_by("ReplicaSet", "rs"), owned_by("ReplicaSet", "old"), owned_by("ReplicaSet", "gone"));
    let reference = |value: &Value| serde_json::from_value::<OwnerReference>(value.clone()).unwrap();
    for (why, meta, expected) in [
        ("no owner", json!({}), Verdict::Keep),
        ("an owner", owners([of_rs.clone()]), Verdict::Keep),
        ("its owner is gone", owners([of_gone.clone()]), Verdict::Delete("Background")),
        ("its owner waits for it", owners([of_old.clone()]), Verdict::Delete("Background")),
        (
            "one owner of two is gone",
            owners([of_gone.clone(), of_rs.clone()]),
            Verdict::Reduce(vec![reference(&of_rs)]),
        ),
        ("one owner of two waits", owners([of_rs.clone(), of_old.clone()]), Verdict::Reduce(vec![reference(&of_rs)])),
        (
            "deleting already",
            json!({"ownerReferences": [of_gone.clone()], "deletionTimestamp": "2026-11-20T12:00:00Z"}),
            Verdict::Keep,
        ),
        (
            "it wants to orphan",
            json!({"ownerReferences": [of_gone.clone()], "finalizers": ["orphan"]}),
            Verdict::Delete("Orphan"),
        ),
        ("an owner of an unknown kind", owners([owned_by("Widget", "rs")]), Verdict::Keep),
        ("a made-up reference: the uid of an object of another kind", owners([owned_by("ConfigMap", "rs")]), {
            Verdict::Delete("Background")
        }),
        (
            "an owner in another namespace",
            json!({"namespace": "other", "ownerReferences": [of_rs]}),
            Verdict::Delete("Background"),
        ),
    ] {
        let pod = object("pod", meta);
        let graph = graph(&[("rs", &set), ("rs", &waiting), ("po", &pod)]);
        assert_eq!(verdict(&graph, "pod"), expected, "{why}");
    }
}

#[test]
fn cluster_scoped_objects_own_and_are_owned() {
    let node = object("node-1", json!({"namespace": null}));
    let pod = object("pod", owners([owned_by("Node", "node-1")]));
    assert_eq!(verdict(&graph(&[("no", &node), ("po", &pod)]), "pod"), Verdict::Keep);
    assert_eq!(verdict(&graph(&[("po", &pod)]), "pod"), Verdict::Delete("Background"));
    let volume = object("pv", json!({"namespace": null, "ownerReferences": [owned_by("Pod", "gone")]}));
    assert_eq!(verdict(&graph(&[("pv", &volume)]), "pv"), Verdict::Keep, "nobody knows in which namespace to look");
}

#[test]
fn foreground_deletion_goes_down_first_and_up_last() {
    let deployment = object("d", deleting("foregroundDeletion"));
    let set = object("rs", owners([owned_by("Deployment", "d")]));
    let pod = object("pod", owners([owned_by("ReplicaSet", "rs")]));
    let mut graph = graph(&[("deploy", &deployment), ("rs", &set), ("po", &pod)]);
    assert!(graph.is_blocked(uid_of("d")));
    assert_eq!(verdict(&graph, "rs"), Verdict::Delete("Foreground"), "it has dependents of its own");
    assert_eq!(verdict(&graph, "pod"), Verdict::Keep, "its owner is not waiting yet");

    let mut meta = deleting("foregroundDeletion");
    meta["ownerReferences"] = json!([owned_by("Deployment", "d")]);
    assert_eq!(put(&mut graph, "rs", &object("rs", meta)), uids(["d", "rs"]));
    assert_eq!(verdict(&graph, "pod"), Verdict::Delete("Background"));
    assert!(graph.is_blocked(uid_of("rs")));
    assert!(graph.may_be_in_a_circle(uid_of("d")));

    assert_eq!(remove(&mut graph, "pod"), uids(["rs"]), "the owner that waits is looked at");
    assert!(!graph.is_blocked(uid_of("rs")));
    assert_eq!(remove(&mut graph, "rs"), uids(["d"]));
    assert!(!graph.is_blocked(uid_of("d")));
}

#[test]
fn dependents_are_looked_at_when_their_owner_goes() {
    let set = object("rs", json!({}));
    let (a, b) = (object("a", owners([owned_by("ReplicaSet", "rs")])), object("b", json!({})));
    let mut graph = graph(&[("po", &a), ("po", &b), ("rs", &set)]);
    assert_eq!(remove(&mut graph, "rs"), uids(["a"]));
    let mut later = a.clone();
    later.resource_version = Some("7".to_owned());
    assert!(put(&mut graph, "po", &later).is_empty(), "nothing that matters changed");
    assert_eq!(graph.get(uid_of("a")).unwrap().resource_version().as_deref(), Some("7"));
}

#[test]
fn what_a_full_state_does_not_show_is_gone() {
    let (set, pod) = (object("rs", json!({})), object("pod", owners([owned_by("ReplicaSet", "rs")])));
    let mut graph = graph(&[("rs", &set), ("po", &pod)]);
    // Another object of the name: the stream showed the end of the first one to nobody.
    put(&mut graph, "rs", &object("rs", json!({"uid": uid_text("rs-2")})));
    let affected = graph.keep(&resource("rs"), &HashSet::from([uid_of("rs-2")]));
    assert_eq!(affected, [uid_of("pod")]);
    assert_eq!(verdict(&graph, "pod"), Verdict::Delete("Background"));
}

#[test]
fn dependents_that_do_not_block_do_not_hold_up() {
    let owner = object("rs", deleting("foregroundDeletion"));
    let mut reference = owned_by("ReplicaSet", "rs");
    reference["blockOwnerDeletion"] = json!(false);
    let pod = object("pod", owners([reference]));
    let graph = graph(&[("rs", &owner), ("po", &pod)]);
    assert!(!graph.is_blocked(uid_of("rs")));
    assert_eq!(graph.dependents(uid_of("rs")).count(), 1);
}

#[test]
fn custom_objects_own_and_are_owned_once_their_kind_is_known() {
    let widgets = Arc::new(Resource {
        group: "example.com".into(),
        kind: "Widget".into(),
        plural: "widgets".into(),
        version: "v1".into(),
        ..(*resource("po")).clone()
    });
    let mut reference = owned_by("Widget", "w");
    reference["apiVersion"] = json!("example.com/v1");
    let pod = object("pod", owners([reference]));
    let mut graph = graph(&[("po", &pod)]);
    assert_eq!(verdict(&graph, "pod"), Verdict::Keep, "a kind that is not known");
    assert_eq!(graph.know(vec![Arc::clone(&widgets)]), [uid_of("pod")]);
    assert_eq!(verdict(&graph, "pod"), Verdict::Delete("Background"), "the kind is known, the owner is not there");
    let widget = object("w", json!({}));
    graph.put(&widgets, &Facts::of_slim(&widget).unwrap());
    assert_eq!(verdict(&graph, "pod"), Verdict::Keep);
    assert_eq!(graph.keep(&widgets, &HashSet::new()), [uid_of("pod")]);
    assert_eq!(verdict(&graph, "pod"), Verdict::Delete("Background"));
}
