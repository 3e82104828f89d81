//! The claims of a StatefulSet's pods: one for each template and ordinal, kept or deleted as the set's policy says.
//! Source: `pkg/controller/statefulset/stateful_set_utils.go` in Kubernetes, KEP-1847.

use k8s_openapi::{
    Resource,
    api::{
        apps::v1::StatefulSet,
        core::v1::{PersistentVolumeClaim, Pod},
    },
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use kubelab_api::meta::controller_reference;

use super::identity::{self, name, ordinals};

/// The name of a claim.
pub fn claim_name(template: &str, set: &str, ordinal: i32) -> String {
    format!("{template}-{set}-{ordinal}")
}

/// The claim may be one of a pod of this set, by its name.
pub fn is_named_after(claim: &str, set: &StatefulSet) -> bool {
    set.spec.volume_claim_templates.iter().flatten().any(|template| {
        let prefix = format!("{}-{}-", template.metadata.name.as_deref().unwrap_or_default(), name(set));
        claim.strip_prefix(&prefix).is_some_and(|ordinal| ordinal.parse::<u32>().is_ok())
    })
}

/// The names of the claims of the pod with this ordinal.
pub fn names(set: &StatefulSet, ordinal: i32) -> impl Iterator<Item = String> {
    let templates = set.spec.volume_claim_templates.iter().flatten();
    templates.map(move |template| claim_name(template.metadata.name.as_deref().unwrap_or_default(), name(set), ordinal))
}

/// The claims of the pod with this ordinal, as they are made: they belong to the set from the start where they are to be
/// deleted along with it.
pub fn make(set: &StatefulSet, ordinal: i32) -> Vec<PersistentVolumeClaim> {
    let templates = set.spec.volume_claim_templates.iter().flatten();
    templates
        .zip(names(set, ordinal))
        .map(|(template, name)| {
            let mut labels = template.metadata.labels.clone().unwrap_or_default();
            labels.extend(set.spec.selector.match_labels.clone().unwrap_or_default());
            PersistentVolumeClaim {
                metadata: ObjectMeta {
                    name: Some(name),
                    namespace: set.metadata.namespace.clone(),
                    labels: Some(labels).filter(|labels| !labels.is_empty()),
                    annotations: template.metadata.annotations.clone(),
                    finalizers: template.metadata.finalizers.clone(),
                    owner_references: owner(set, None, ordinal).map(|owner| vec![owner]),
                    ..Default::default()
                },
                spec: template.spec.clone(),
                status: None,
            }
        })
        .collect()
}

/// The set deletes the claims of pods that it scales away.
pub fn deletes_when_scaled(set: &StatefulSet) -> bool {
    let policy = set.spec.persistent_volume_claim_retention_policy.as_ref();
    policy.and_then(|policy| policy.when_scaled.as_deref()) == Some("Delete")
}

fn deletes_when_deleted(set: &StatefulSet) -> bool {
    let policy = set.spec.persistent_volume_claim_retention_policy.as_ref();
    policy.and_then(|policy| policy.when_deleted.as_deref()) == Some("Delete")
}

/// Whose end is to be the end of a claim: nobody's, the set's, or that of the pod which is scaled away.
fn owner(set: &StatefulSet, pod: Option<&Pod>, ordinal: i32) -> Option<OwnerReference> {
    if deletes_when_scaled(set) && !ordinals(set).contains(&ordinal) {
        pod.map(controller_reference)
    } else if deletes_when_deleted(set) {
        Some(controller_reference(set))
    } else {
        None
    }
}

/// What is to be done about the owners of a claim.
#[derive(Clone, Debug, PartialEq)]
pub enum Owners {
    /// Nothing.
    Right,
    /// They are to be these; `conflict` if somebody else manages the claim, so that the policy does not count.
    Change {
        /// All owners.
        owners: Vec<OwnerReference>,
        /// Somebody else manages the claim.
        conflict: bool,
    },
}

/// Looks at the owners of a claim of this pod.
pub fn owners(set: &StatefulSet, pod: &Pod, claim: &PersistentVolumeClaim) -> Owners {
    let Some(ordinal) = identity::ordinal(set, pod) else { return Owners::Right };
    let present = claim.metadata.owner_references.clone().unwrap_or_default();
    let uid_of = |meta: &ObjectMeta| meta.uid.clone().unwrap_or_default();
    let is_set = |owner: &OwnerReference| names_object::<StatefulSet>(owner, &set.metadata);
    let is_pod = |owner: &OwnerReference| names_object::<Pod>(owner, &pod.metadata);
    let is_us = |owner: &OwnerReference| owner.uid == uid_of(&set.metadata) || owner.uid == uid_of(&pod.metadata);
    // Of a former set or pod of this name: the garbage collector's business.
    if present.iter().any(|owner| (is_set(owner) || is_pod(owner)) && !is_us(owner)) {
        return Owners::Right;
    }
    let wanted = owner(set, Some(pod), ordinal);
    let has_policy = deletes_when_scaled(set) || deletes_when_deleted(set);
    let conflict = has_policy && present.iter().any(|owner| owner.controller == Some(true) && !is_us(owner));
    let wanted = wanted.filter(|_| !conflict);

    let mut owners: Vec<OwnerReference> =
        present.iter().filter(|owner| !is_set(owner) && !is_pod(owner)).cloned().collect();
    owners.extend(wanted.clone());
    let ours: Vec<_> = present.iter().filter(|owner| is_us(owner)).collect();
    let right = match &wanted {
        None => ours.is_empty(),
        Some(wanted) => ours.len() == 1 && ours[0].uid == wanted.uid && ours[0].controller == Some(true),
    };
    if right { Owners::Right } else { Owners::Change { owners, conflict } }
}

/// A claim that a former pod of this name takes with it: a new pod has to wait until it is gone.
pub fn is_stale(claim: &PersistentVolumeClaim, pod_name: &str) -> bool {
    claim
        .metadata
        .owner_references
        .iter()
        .flatten()
        .any(|owner| owner.kind == Pod::KIND && owner.api_version == Pod::API_VERSION && owner.name == pod_name)
}

fn names_object<K: Resource>(owner: &OwnerReference, meta: &ObjectMeta) -> bool {
    owner.kind == K::KIND && owner.api_version == K::API_VERSION && Some(&owner.name) == meta.name.as_ref()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Value, json};

    use super::*;

    fn set(when_deleted: &str, when_scaled: &str) -> StatefulSet {
        serde_json::from_value(json!({
            "metadata": {"name": "web", "namespace": "shop", "uid": "set"},
            "spec": {
                "replicas": 1,
                "persistentVolumeClaimRetentionPolicy": {"whenDeleted": when_deleted, "whenScaled": when_scaled},
                "selector": {"matchLabels": {"app": "web"}}, "template": {},
                "volumeClaimTemplates": [
                    {"metadata": {"name": "www", "labels": {"tier": "x"}, "annotations": {"a": "b"}},
                     "spec": {"accessModes": ["ReadWriteOnce"]}},
                    {"metadata": {"name": "log"}, "spec": {}},
                ],
            },
        }))
        .unwrap()
    }

    fn reference(kind: &str, name: &str, uid: &str, controller: bool) -> Value {
        let api_version = if kind == "Pod" { "v1" } else { "apps/v1" };
        let mut reference = json!({"apiVersion": api_version, "kind": kind, "name": name, "uid": uid});
        if controller {
            reference["controller"] = json!(true);
            reference["blockOwnerDeletion"] = json!(true);
        }
        reference
    }

    #[test]
    fn a_claim_is_made_for_each_template() {
        let claims = make(&set("Retain", "Retain"), 4);
        let names: Vec<_> = claims.iter().map(|claim| claim.metadata.name.as_deref().unwrap()).collect();
        assert_eq!(names, ["www-web-4", "log-web-4"]);
        let meta = serde_json::to_value(&claims[0].metadata).unwrap();
        let expected = json!({
            "name": "www-web-4", "namespace": "shop", "labels": {"app": "web", "tier": "x"}, "annotations": {"a": "b"},
        });
        assert_eq!(meta, expected);
        assert_eq!(claims[0].spec.as_ref().unwrap().access_modes, Some(vec!["ReadWriteOnce".to_owned()]));
        let owned = serde_json::to_value(&make(&set("Delete", "Delete"), 0)[0].metadata.owner_references).unwrap();
        assert_eq!(owned, json!([reference("StatefulSet", "web", "set", true)]));
    }

    #[test]
    fn owners_follow_the_policy() {
        let by_set = || reference("StatefulSet", "web", "set", true);
        let by = |ordinal: i32| reference("Pod", &format!("web-{ordinal}"), "pod", true);
        let other = || reference("Database", "main", "db", true);
        let plain = || reference("Database", "main", "db", false);
        for (why, deleted, scaled, ordinal, present, expected) in [
            ("kept", "Retain", "Retain", 0, json!([]), None),
            ("kept from now on", "Retain", "Retain", 0, json!([by_set()]), Some(json!([]))),
            ("kept, another's", "Retain", "Retain", 0, json!([other()]), None),
            ("gone with the set", "Delete", "Retain", 0, json!([]), Some(json!([by_set()]))),
            ("gone with the set already", "Delete", "Retain", 0, json!([by_set()]), None),
            ("gone with the set, scaled", "Delete", "Retain", 1, json!([by(1)]), Some(json!([by_set()]))),
            ("gone when scaled, not yet", "Retain", "Delete", 0, json!([]), None),
            ("gone when scaled, now", "Retain", "Delete", 1, json!([]), Some(json!([by(1)]))),
            ("scaled up again", "Retain", "Delete", 0, json!([by(0)]), Some(json!([]))),
            ("gone with either", "Delete", "Delete", 0, json!([by(0)]), Some(json!([by_set()]))),
            ("gone with either, scaled", "Delete", "Delete", 1, json!([by_set()]), Some(json!([by(1)]))),
            ("beside other owners", "Delete", "Retain", 0, json!([plain()]), Some(json!([plain(), by_set()]))),
            (
                "no manager yet",
                "Delete",
                "Retain",
                0,
                json!([reference("StatefulSet", "web", "set", false)]),
                Some(json!([by_set()])),
            ),
            ("a former set's", "Delete", "Retain", 0, json!([reference("StatefulSet", "web", "old", true)]), None),
            ("a former pod's", "Retain", "Delete", 1, json!([reference("Pod", "web-1", "old", true)]), None),
            ("managed by another", "Delete", "Delete", 0, json!([other()]), None),
            ("managed by two", "Delete", "Delete", 0, json!([other(), by_set()]), Some(json!([other()]))),
        ] {
            let pod = json!({"metadata": {"name": format!("web-{ordinal}"), "uid": "pod"}});
            let pod: Pod = serde_json::from_value(pod).unwrap();
            let claim = json!({"metadata": {"ownerReferences": present}});
            let outcome = owners(&set(deleted, scaled), &pod, &serde_json::from_value(claim).unwrap());
            let outcome = match outcome {
                Owners::Right => None,
                Owners::Change { owners, conflict } => {
                    assert_eq!(conflict, why == "managed by two", "{why}");
                    Some(serde_json::to_value(owners).unwrap())
                }
            };
            assert_eq!(outcome, expected, "{why}");
        }
    }

    #[test]
    fn claims_are_known_by_their_names() {
        for (claim, expected) in
            [("www-web-0", true), ("log-web-12", true), ("www-web-x", false), ("www-webs-0", false)]
        {
            assert_eq!(is_named_after(claim, &set("Retain", "Retain")), expected, "{claim}");
        }
    }

    #[test]
    fn a_pod_waits_for_the_claims_of_its_predecessor_to_go() {
        for (owner, expected) in [
            (reference("Pod", "web-1", "old", true), true),
            (reference("Pod", "web-2", "old", true), false),
            (reference("StatefulSet", "web", "set", true), false),
        ] {
            let claim = json!({"metadata": {"ownerReferences": [owner.clone()]}});
            assert_eq!(is_stale(&serde_json::from_value(claim).unwrap(), "web-1"), expected, "{owner}");
        }
    }
}
