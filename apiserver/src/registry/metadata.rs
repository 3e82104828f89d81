//! What every object has in `metadata`, checked and filled in for all kinds alike.
//! Source: `k8s.io/apimachinery/pkg/api/validation/objectmeta.go`, `registry/rest/{create,update,meta}.go`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use kubelab_api::{
    Error, Resource,
    field::{Errors, Path},
    name,
    resource::Verbs,
    selector::label,
};
use serde_json::json;

use super::{kind::NameRule, plan::Draw, validation::canonical_ip};

/// All annotations of an object together. Source: `TotalAnnotationSizeLimitB`.
const ANNOTATIONS_LIMIT: usize = 256 * 1024;

/// Waits for the garbage collector to cut dependents loose.
pub const ORPHAN: &str = "orphan";
/// Waits for the garbage collector to delete dependents first.
pub const FOREGROUND: &str = "foregroundDeletion";

static METADATA: LazyLock<Path> = LazyLock::new(|| Path::new("metadata"));

/// How messages about a request's options name them.
pub fn options_kind(kind: &'static str) -> Resource {
    Resource {
        group: "meta.k8s.io".into(),
        version: "v1".into(),
        kind: kind.into(),
        plural: "".into(),
        singular: "".into(),
        list_kind: "".into(),
        short_names: Default::default(),
        categories: Default::default(),
        namespaced: false,
        verbs: Verbs::Create,
        subresources: Default::default(),
    }
}

/// Times in the API have whole seconds.
pub fn seconds(time: Timestamp) -> Time {
    Time(Timestamp::from_second(time.as_second()).unwrap_or(time))
}

/// The object lives where the request says.
pub fn ensure_namespace(meta: &mut ObjectMeta, namespaced: bool, requested: &str) -> Result<(), Error> {
    let given = meta.namespace.as_deref().unwrap_or_default();
    let requested = if namespaced { requested } else { "" };
    match (given, requested) {
        (given, requested) if given == requested => {
            if requested.is_empty() {
                meta.namespace = None;
            }
        }
        ("", requested) => meta.namespace = Some(requested.to_owned()),
        (_, "") => meta.namespace = None,
        _ => {
            return Err(Error::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
    }
    Ok(())
}

/// What admission sees of a new object's metadata, beside what was sent. Source: `FillObjectMetaSystemFields`.
pub fn fill_system(meta: &mut ObjectMeta, draw: &Draw) {
    meta.creation_timestamp = Some(seconds(draw.now));
    meta.uid = Some(draw.uid.to_string());
    meta.self_link = None;
}

/// Makes the metadata of a new object: what only the server may say is said here.
pub fn prepare_create(meta: &mut ObjectMeta, has_generation: bool, draw: &Draw) {
    meta.creation_timestamp = Some(seconds(draw.now));
    meta.uid = Some(draw.uid.to_string());
    meta.deletion_timestamp = None;
    meta.deletion_grace_period_seconds = None;
    drop_unstored(meta);
    meta.generation = has_generation.then_some(1);
    let prefix = meta.generate_name.as_deref().unwrap_or_default();
    if meta.name.as_deref().unwrap_or_default().is_empty() && !prefix.is_empty() {
        meta.name = Some(name::generate(prefix, draw.random));
    }
}

/// Carries over what an update cannot change. `generation` is set by the caller, who knows the spec.
pub fn prepare_update(meta: &mut ObjectMeta, old: &ObjectMeta) {
    meta.generation = old.generation;
    if meta.uid.as_deref().unwrap_or_default().is_empty() {
        meta.uid.clone_from(&old.uid);
    }
    meta.creation_timestamp.clone_from(&old.creation_timestamp);
    if old.deletion_timestamp.is_some() {
        meta.deletion_timestamp.clone_from(&old.deletion_timestamp);
    }
    if meta.deletion_grace_period_seconds.is_none() {
        meta.deletion_grace_period_seconds = old.deletion_grace_period_seconds;
    }
    drop_unstored(meta);
}

/// Removes what is never stored. Upstream's encoder leaves out what is empty.
fn drop_unstored(meta: &mut ObjectMeta) {
    meta.self_link = None;
    meta.managed_fields.take_if(|managers| managers.is_empty());
    meta.labels.take_if(|labels| labels.is_empty());
    meta.annotations.take_if(|annotations| annotations.is_empty());
    meta.finalizers.take_if(|finalizers| finalizers.is_empty());
    meta.owner_references.take_if(|owners| owners.is_empty());
}

/// What is wrong with the metadata of any object.
pub fn validate(meta: &ObjectMeta, rule: NameRule, namespaced: bool, errors: &mut Errors) {
    let generate_name = meta.generate_name.as_deref().unwrap_or_default();
    if !generate_name.is_empty() {
        for wrong in check_name(rule, generate_name, true) {
            errors.invalid(&METADATA.child("generateName"), generate_name, &wrong);
        }
    }
    match meta.name.as_deref().unwrap_or_default() {
        "" => errors.required(&METADATA.child("name"), "name or generateName is required"),
        given => {
            for wrong in check_name(rule, given, false) {
                errors.invalid(&METADATA.child("name"), given, &wrong);
            }
        }
    }
    let path = METADATA.child("namespace");
    match meta.namespace.as_deref().unwrap_or_default() {
        "" if namespaced => errors.required(&path, ""),
        "" => {}
        given if namespaced => {
            for wrong in name::dns1123_label(given) {
                errors.invalid(&path, given, &wrong);
            }
        }
        _ => errors.forbidden(&path, "not allowed on this type"),
    }
    validate_mutable(meta, errors);
    validate_finalizers(meta, errors);
}

/// What is wrong with what a user may write there.
fn validate_mutable(meta: &ObjectMeta, errors: &mut Errors) {
    label::validate_labels(meta.labels.as_ref(), &METADATA.child("labels"), errors);
    validate_annotations(meta.annotations.as_ref(), &METADATA.child("annotations"), errors);
    validate_owners(meta.owner_references.as_deref().unwrap_or_default(), errors);
}

/// What is wrong with annotations. Source: `ValidateAnnotations`.
pub fn validate_annotations(annotations: Option<&BTreeMap<String, String>>, path: &Path, errors: &mut Errors) {
    let mut size = 0;
    for (key, value) in annotations.into_iter().flatten() {
        size += key.len() + value.len();
        for wrong in name::label_key(&key.to_lowercase()) {
            errors.invalid(path, key.as_str(), &wrong);
        }
    }
    if size > ANNOTATIONS_LIMIT {
        errors.too_long(path, ANNOTATIONS_LIMIT);
    }
}

fn validate_owners(owners: &[OwnerReference], errors: &mut Errors) {
    let list = METADATA.child("ownerReferences");
    let mut controller: Option<String> = None;
    for (index, owner) in owners.iter().enumerate() {
        let path = list.index(index);
        for (field, value) in
            [("apiVersion", &owner.api_version), ("kind", &owner.kind), ("name", &owner.name), ("uid", &owner.uid)]
        {
            if value.is_empty() {
                errors.required(&path.child(field), "must not be empty");
            }
        }
        if owner.api_version.matches('/').count() > 1 || owner.api_version.ends_with('/') {
            let wrong = "must be <group>/<version> or <version>";
            errors.invalid(&path.child("apiVersion"), owner.api_version.as_str(), wrong);
        }
        if owner.api_version == "v1" && owner.kind == "Event" {
            errors.invalid(&path, json!(owner), "/v1, Kind=Event is disallowed from being an owner");
        }
        if owner.controller == Some(true) {
            let this = format!("{}/{}", owner.kind, owner.name);
            match &controller {
                None => controller = Some(this),
                Some(first) => errors.invalid(
                    &list,
                    json!(owners),
                    &format!(
                        "Only one reference can have Controller set to true. Found \"true\" in references for {first} \
                         and {this}"
                    ),
                ),
            }
        }
    }
}

fn validate_finalizers(meta: &ObjectMeta, errors: &mut Errors) {
    let path = METADATA.child("finalizers");
    let finalizers = meta.finalizers.as_deref().unwrap_or_default();
    for finalizer in finalizers {
        for wrong in name::label_key(finalizer) {
            errors.invalid(&path, finalizer.as_str(), &wrong);
        }
    }
    let has = |wanted: &str| finalizers.iter().any(|finalizer| finalizer == wanted);
    if has(ORPHAN) && has(FOREGROUND) {
        errors.invalid(&path, json!(finalizers), &format!("finalizer {FOREGROUND} and {ORPHAN} cannot be both set"));
    }
}

/// What is wrong with a change of the metadata, beyond [`validate`].
pub fn validate_update(new: &ObjectMeta, old: &ObjectMeta, errors: &mut Errors) {
    if old.deletion_timestamp.is_some() {
        let set = |meta: &ObjectMeta| meta.finalizers.iter().flatten().cloned().collect::<BTreeSet<_>>();
        let (new, old) = (set(new), set(old));
        let extra: Vec<_> = new.difference(&old).map(|name| format!("{name:?}")).collect();
        if !extra.is_empty() {
            errors.forbidden(
                &METADATA.child("finalizers"),
                &format!(
                    "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                    extra.join(", ")
                ),
            );
        }
    }
    let mut immutable = |field: &str, new: serde_json::Value, old: serde_json::Value| {
        if new != old {
            errors.invalid(&METADATA.child(field), new, "field is immutable");
        }
    };
    immutable("name", json!(new.name), json!(old.name));
    immutable("namespace", json!(new.namespace), json!(old.namespace));
    immutable("uid", json!(new.uid), json!(old.uid));
    immutable("deletionTimestamp", json!(new.deletion_timestamp), json!(old.deletion_timestamp));
    immutable(
        "deletionGracePeriodSeconds",
        json!(new.deletion_grace_period_seconds),
        json!(old.deletion_grace_period_seconds),
    );
}

/// What is wrong with a name; with `prefix`, something will be appended to it.
fn check_name(rule: NameRule, name: &str, prefix: bool) -> Vec<String> {
    if rule == NameRule::PathSegment {
        return if prefix { name::path_segment_prefix(name) } else { name::path_segment(name) };
    }
    let masked;
    let name = match name.strip_suffix('-') {
        Some(head) if prefix && !head.is_empty() => {
            masked = format!("{head}a");
            &masked
        }
        _ => name,
    };
    match rule {
        NameRule::Subdomain => name::dns1123_subdomain(name),
        NameRule::Label => name::dns1123_label(name),
        NameRule::Ip => canonical_ip(name),
        NameRule::PathSegment => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta() -> ObjectMeta {
        ObjectMeta { name: Some("web".into()), namespace: Some("default".into()), ..Default::default() }
    }

    fn owner(kind: &str, controller: bool) -> OwnerReference {
        OwnerReference {
            api_version: "apps/v1".into(),
            kind: kind.into(),
            name: "x".into(),
            uid: "u".into(),
            controller: Some(controller),
            ..Default::default()
        }
    }

    #[test]
    fn metadata_is_validated() {
        let cases: Vec<(ObjectMeta, &str)> = vec![
            (meta(), "[]"),
            (ObjectMeta { name: None, ..meta() }, "metadata.name: Required value: name or generateName is required"),
            (ObjectMeta { namespace: None, ..meta() }, "metadata.namespace: Required value"),
            (ObjectMeta { generate_name: Some("web-".into()), ..meta() }, "[]"),
            (
                ObjectMeta { annotations: Some([("a".into(), "x".repeat(ANNOTATIONS_LIMIT))].into()), ..meta() },
                "metadata.annotations: Too long: may not be more than 262144 bytes",
            ),
            (
                ObjectMeta {
                    owner_references: Some(vec![OwnerReference { uid: String::new(), ..owner("A", false) }]),
                    ..meta()
                },
                "metadata.ownerReferences[0].uid: Required value: must not be empty",
            ),
            (
                ObjectMeta { finalizers: Some(vec![ORPHAN.into(), FOREGROUND.into()]), ..meta() },
                "metadata.finalizers: Invalid value: [\"orphan\",\"foregroundDeletion\"]: finalizer foregroundDeletion \
                 and orphan cannot be both set",
            ),
        ];
        for (meta, wrong) in cases {
            let mut errors = Errors::default();
            validate(&meta, NameRule::Subdomain, true, &mut errors);
            assert_eq!(errors.to_string(), wrong, "{meta:?}");
        }
        let mut errors = Errors::default();
        let two = ObjectMeta { owner_references: Some(vec![owner("A", true), owner("B", true)]), ..meta() };
        validate(&two, NameRule::Subdomain, true, &mut errors);
        assert!(errors.to_string().contains("Found \"true\" in references for A/x and B/x"), "{errors}");
    }

    #[test]
    fn a_deleting_object_gets_no_new_finalizers() {
        let old = ObjectMeta { deletion_timestamp: Some(seconds(Timestamp::UNIX_EPOCH)), ..meta() };
        let new = ObjectMeta { finalizers: Some(vec!["example.com/hold".into()]), ..old.clone() };
        let mut errors = Errors::default();
        validate_update(&new, &old, &mut errors);
        assert_eq!(
            errors.to_string(),
            "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new \
             finalizers []string{\"example.com/hold\"}"
        );
    }

    #[test]
    fn the_namespace_must_match() {
        for (given, requested, namespaced, kept) in [
            (None, "a", true, Some("a")),
            (Some("a"), "a", true, Some("a")),
            (Some("b"), "", false, None),
            (Some(""), "", false, None),
        ] {
            let mut meta = ObjectMeta { namespace: given.map(str::to_owned), ..Default::default() };
            assert!(ensure_namespace(&mut meta, namespaced, requested).is_ok());
            assert_eq!(meta.namespace.as_deref(), kept);
        }
        assert!(ensure_namespace(&mut meta(), true, "other").is_err());
    }
}
