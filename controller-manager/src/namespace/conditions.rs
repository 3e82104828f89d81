//! How far the deletion of a namespace has come, in its conditions.
//! Source: `pkg/controller/namespace/deletion/status_condition_utils.go` in Kubernetes.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{Namespace, NamespaceCondition},
    apimachinery::pkg::apis::meta::v1::Time,
};

/// What one attempt to empty a namespace has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// How many objects are left, by resource.
    pub remaining: BTreeMap<String, usize>,
    /// How many objects wait for a finalizer, by finalizer.
    pub finalizers: BTreeMap<String, usize>,
    /// What could not be deleted, and why.
    pub failures: Vec<String>,
}

impl Findings {
    /// Nothing is left.
    pub fn is_empty(&self) -> bool {
        self.remaining.is_empty() && self.failures.is_empty()
    }
}

/// The namespace's conditions after an attempt; `None` where they say all that already.
pub fn after(namespace: &Namespace, findings: &Findings, now: &Time) -> Option<Vec<NamespaceCondition>> {
    let before = namespace.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
    let mut conditions = before.clone();
    let list = |counts: &BTreeMap<String, usize>, word: &str| {
        counts
            .iter()
            .map(|(name, count)| format!("{name} {word} {count} resource instances"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let rows = [
        ("NamespaceDeletionDiscoveryFailure", None, "ResourcesDiscovered", "All resources successfully discovered"),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            None,
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed",
        ),
        (
            "NamespaceDeletionContentFailure",
            (!findings.failures.is_empty()).then(|| {
                let why = findings.failures.join(", ");
                (
                    "ContentDeletionFailed",
                    format!("Failed to delete all resource types, {} remaining: {why}", findings.failures.len()),
                )
            }),
            "ContentDeleted",
            "All content successfully deleted, may be waiting on finalization",
        ),
        (
            "NamespaceContentRemaining",
            (!findings.remaining.is_empty()).then(|| {
                ("SomeResourcesRemain", format!("Some resources are remaining: {}", list(&findings.remaining, "has")))
            }),
            "ContentRemoved",
            "All content successfully removed",
        ),
        (
            "NamespaceFinalizersRemaining",
            (!findings.finalizers.is_empty()).then(|| {
                let finalizers = list(&findings.finalizers, "in");
                (
                    "SomeFinalizersRemain",
                    format!("Some content in the namespace has finalizers remaining: {finalizers}"),
                )
            }),
            "ContentHasNoFinalizers",
            "All content-preserving finalizers finished",
        ),
    ];
    for (type_, trouble, reason, message) in rows {
        let (status, reason, message) = match trouble {
            Some((reason, message)) => ("True", reason, message),
            None => ("False", reason, message.to_owned()),
        };
        set(&mut conditions, type_, status, reason, message, now);
    }
    (conditions != before).then_some(conditions)
}

fn set(conditions: &mut Vec<NamespaceCondition>, type_: &str, status: &str, reason: &str, message: String, now: &Time) {
    let mut next = NamespaceCondition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message),
        last_transition_time: Some(now.clone()),
    };
    match conditions.iter_mut().find(|condition| condition.type_ == type_) {
        None => conditions.push(next),
        Some(current) => {
            if current.status == next.status {
                next.last_transition_time.clone_from(&current.last_transition_time);
            }
            *current = next;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use k8s_openapi::api::core::v1::NamespaceStatus;

    use super::*;

    #[test]
    fn conditions_tell_what_is_left() {
        let now = Time("2026-11-20T12:00:00Z".parse().unwrap());
        let findings = Findings {
            remaining: [("pods.".to_owned(), 2), ("secrets.".to_owned(), 1)].into(),
            finalizers: [("example.com/hold".to_owned(), 1)].into(),
            failures: vec![],
        };
        let mut namespace = Namespace::default();
        let conditions = after(&namespace, &findings, &now).unwrap();
        let message = |type_: &str| {
            let condition = conditions.iter().find(|condition| condition.type_ == type_).unwrap();
            (condition.status.clone(), condition.message.clone().unwrap())
        };
        assert_eq!(
            message("NamespaceContentRemaining"),
            (
                "True".to_owned(),
                "Some resources are remaining: pods. has 2 resource instances, secrets. has 1 resource instances"
                    .to_owned()
            )
        );
        assert_eq!(
            message("NamespaceFinalizersRemaining").1,
            "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances"
        );
        assert_eq!(message("NamespaceDeletionContentFailure").0, "False");
        namespace.status = Some(NamespaceStatus { conditions: Some(conditions), phase: None });
        assert_eq!(after(&namespace, &findings, &Time("2026-11-20T12:01:00Z".parse().unwrap())), None);
    }
}
