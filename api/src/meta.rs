//! Owners, conditions and other things that all objects have.

use jiff::Timestamp;
use k8s_openapi::{
    Metadata, Resource,
    apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta, OwnerReference},
};

/// The owner that manages this object: the one owner with `controller: true`.
pub fn controller_of(meta: &ObjectMeta) -> Option<&OwnerReference> {
    meta.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))
}

/// This object is managed by the object with the uid `owner`.
pub fn is_controlled_by(meta: &ObjectMeta, owner: &str) -> bool {
    controller_of(meta).is_some_and(|controller| controller.uid == owner)
}

/// This object belongs to the object with the uid `owner`.
pub fn is_owned_by(meta: &ObjectMeta, owner: &str) -> bool {
    meta.owner_references.iter().flatten().any(|reference| reference.uid == owner)
}

/// A reference by which `owner` manages an object: it blocks the owner's foreground deletion.
/// Source: `metav1.NewControllerRef`.
pub fn controller_reference<T: Resource + Metadata<Ty = ObjectMeta>>(owner: &T) -> OwnerReference {
    OwnerReference {
        controller: Some(true),
        block_owner_deletion: Some(true),
        ..owner_reference(T::API_VERSION, T::KIND, owner.metadata())
    }
}

/// A reference by which an object is deleted along with its owner.
pub fn owner_reference(api_version: &str, kind: &str, owner: &ObjectMeta) -> OwnerReference {
    OwnerReference {
        api_version: api_version.to_owned(),
        kind: kind.to_owned(),
        name: owner.name.clone().unwrap_or_default(),
        uid: owner.uid.clone().unwrap_or_default(),
        ..Default::default()
    }
}

/// `namespace/name`, or `name` for objects without a namespace.
pub fn key(meta: &ObjectMeta) -> String {
    let name = meta.name.as_deref().unwrap_or_default();
    match meta.namespace.as_deref() {
        None | Some("") => name.to_owned(),
        Some(namespace) => format!("{namespace}/{name}"),
    }
}

/// The namespace and the name of a [`key`].
pub fn split_key(key: &str) -> (&str, &str) {
    key.split_once('/').unwrap_or(("", key))
}

/// It is being deleted.
pub fn is_deleting(meta: &ObjectMeta) -> bool {
    meta.deletion_timestamp.is_some()
}

/// It has this finalizer.
pub fn has_finalizer(meta: &ObjectMeta, finalizer: &str) -> bool {
    meta.finalizers.iter().flatten().any(|present| present == finalizer)
}

/// A label's value.
pub fn label<'a>(meta: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    meta.labels.as_ref()?.get(key).map(String::as_str)
}

/// An annotation's value.
pub fn annotation<'a>(meta: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    meta.annotations.as_ref()?.get(key).map(String::as_str)
}

/// When it was made, with which ties are broken.
pub fn created(meta: &ObjectMeta) -> Option<Timestamp> {
    meta.creation_timestamp.as_ref().map(|time| time.0)
}

/// The condition of a type among others.
pub fn condition<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == kind)
}

/// Puts a condition among others; its transition time stays when its status does. Says whether anything changed.
/// Source: `meta.SetStatusCondition`.
pub fn set_condition(conditions: &mut Vec<Condition>, mut new: Condition) -> bool {
    let Some(old) = conditions.iter_mut().find(|condition| condition.type_ == new.type_) else {
        conditions.push(new);
        return true;
    };
    if old.status == new.status {
        new.last_transition_time = old.last_transition_time.clone();
    }
    let changed = *old != new;
    *old = new;
    changed
}

#[cfg(test)]
mod tests {
    use k8s_openapi::{api::apps::v1::ReplicaSet, apimachinery::pkg::apis::meta::v1::Time};

    use super::*;

    fn owner() -> ReplicaSet {
        let metadata = ObjectMeta { name: Some("web".into()), uid: Some("u1".into()), ..Default::default() };
        ReplicaSet { metadata, ..Default::default() }
    }

    #[test]
    fn a_controller_is_the_one_owner_that_manages() {
        let other = owner_reference("v1", "Node", &ObjectMeta { uid: Some("u2".into()), ..Default::default() });
        let meta =
            ObjectMeta { owner_references: Some(vec![other, controller_reference(&owner())]), ..Default::default() };
        let controller = controller_of(&meta).cloned().unwrap_or_default();
        assert_eq!((&*controller.api_version, &*controller.kind, &*controller.name), ("apps/v1", "ReplicaSet", "web"));
        assert_eq!(controller.block_owner_deletion, Some(true));
        assert!(is_controlled_by(&meta, "u1") && !is_controlled_by(&meta, "u2") && is_owned_by(&meta, "u2"));
    }

    #[test]
    fn keys_name_objects() {
        let mut meta = ObjectMeta { name: Some("web".into()), ..Default::default() };
        assert_eq!(key(&meta), "web");
        meta.namespace = Some("default".into());
        assert_eq!(key(&meta), "default/web");
        assert_eq!((split_key("default/web"), split_key("web")), (("default", "web"), ("", "web")));
    }

    #[test]
    fn a_condition_keeps_its_time_while_its_status_stays() {
        let condition = |status: &str, second| Condition {
            type_: "Ready".into(),
            status: status.into(),
            last_transition_time: Time(Timestamp::from_second(second).unwrap_or_default()),
            message: String::new(),
            observed_generation: None,
            reason: String::new(),
        };
        let mut conditions = Vec::new();
        assert!(set_condition(&mut conditions, condition("True", 1)));
        assert!(!set_condition(&mut conditions, condition("True", 2)));
        assert_eq!(conditions, [condition("True", 1)]);
        assert!(set_condition(&mut conditions, condition("False", 3)));
        assert_eq!(conditions, [condition("False", 3)]);
    }
}
