//! Which replica set belongs to the present template, and the annotations that number and remember them.
//! Source: `pkg/controller/deployment/util/deployment_util.go` in Kubernetes.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, ReplicaSet, ReplicaSetSpec},
        core::v1::PodTemplateSpec,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use kubelab_api::{
    meta::{annotation, controller_reference},
    well_known::{
        annotation::{DESIRED_REPLICAS, LAST_APPLIED, MAX_REPLICAS, REVISION, REVISION_HISTORY},
        label::POD_TEMPLATE_HASH,
    },
};

use super::limits::Limits;

/// Source: `maxRevHistoryLengthInChars`.
const REVISION_HISTORY_MAX_LENGTH: usize = 2000;
const NAME_MAX_LENGTH: usize = 253;

/// Annotations of a deployment that say nothing about its replica sets.
const NOT_COPIED: [&str; 6] =
    [LAST_APPLIED, REVISION, REVISION_HISTORY, DESIRED_REPLICAS, MAX_REPLICAS, "deprecated.deployment.rollback.to"];

type Annotations = BTreeMap<String, String>;

/// The replica set of the present template (the oldest, should there be several) and all others, oldest first.
pub fn split(
    deployment: &Deployment,
    mut sets: Vec<Arc<ReplicaSet>>,
) -> (Option<Arc<ReplicaSet>>, Vec<Arc<ReplicaSet>>) {
    sets.sort_by(|a, b| {
        let age = |set: &ReplicaSet| (set.metadata.creation_timestamp.clone(), set.metadata.name.clone());
        age(a).cmp(&age(b))
    });
    let template = &deployment.spec.template;
    let is_new =
        |set: &Arc<ReplicaSet>| set.spec.template.as_ref().is_some_and(|of_set| same_template(of_set, template));
    let new = sets.iter().position(is_new).map(|index| sets.remove(index));
    (new, sets)
}

/// The templates make the same pods.
pub fn same_template(a: &PodTemplateSpec, b: &PodTemplateSpec) -> bool {
    let plain = |template: &PodTemplateSpec| {
        let mut meta = template.metadata.clone().unwrap_or_default();
        if let Some(labels) = &mut meta.labels {
            labels.remove(POD_TEMPLATE_HASH);
        }
        meta.labels = meta.labels.filter(|labels| !labels.is_empty());
        meta.annotations = meta.annotations.filter(|annotations| !annotations.is_empty());
        meta
    };
    a.spec == b.spec && plain(a) == plain(b)
}

/// The replica set of a template that has none yet, with no replicas.
pub fn make(deployment: &Deployment, hash: &str) -> ReplicaSet {
    let spec = deployment.spec.clone();
    let (mut template, mut selector) = (spec.template, spec.selector);
    let labels = template.metadata.get_or_insert_default().labels.get_or_insert_default();
    labels.insert(POD_TEMPLATE_HASH.to_owned(), hash.to_owned());
    selector.match_labels.get_or_insert_default().insert(POD_TEMPLATE_HASH.to_owned(), hash.to_owned());
    let base = deployment.metadata.name.as_deref().unwrap_or_default();
    let base = base.get(..NAME_MAX_LENGTH - 1 - hash.len()).unwrap_or(base);
    ReplicaSet {
        metadata: ObjectMeta {
            name: Some(format!("{base}-{hash}")),
            namespace: deployment.metadata.namespace.clone(),
            labels: Some(labels.clone()),
            owner_references: Some(vec![controller_reference(deployment)]),
            ..Default::default()
        },
        spec: ReplicaSetSpec {
            replicas: Some(0),
            min_ready_seconds: spec.min_ready_seconds,
            selector,
            template: Some(template),
        },
        status: None,
    }
}

/// An object's number in the deployment's history; 0 for none.
pub fn revision(meta: &ObjectMeta) -> i64 {
    number(meta, REVISION).unwrap_or(0)
}

/// The largest number among replica sets.
pub fn last_revision(sets: &[Arc<ReplicaSet>]) -> i64 {
    sets.iter().map(|set| revision(&set.metadata)).max().unwrap_or(0)
}

/// The replicas that the deployment wanted when it scaled this replica set last.
pub fn desired_replicas(set: &ReplicaSet) -> Option<i32> {
    number(&set.metadata, DESIRED_REPLICAS)
}

/// The most replicas that the deployment might have had when it scaled this replica set last.
pub fn max_replicas(set: &ReplicaSet) -> Option<i32> {
    number(&set.metadata, MAX_REPLICAS)
}

/// Notes in a replica set's annotations what its deployment wants. True if that is news.
pub fn note_replicas(set: &mut ReplicaSet, limits: Limits) -> bool {
    let annotations = set.metadata.annotations.get_or_insert_default();
    let desired = put(annotations, DESIRED_REPLICAS, limits.replicas.to_string());
    put(annotations, MAX_REPLICAS, limits.most().to_string()) || desired
}

/// Brings the annotations of the new replica set up to date: the deployment's own, and the largest number. A replica set
/// that becomes the newest again, by a rollback, remembers its former numbers. True if anything changed.
pub fn annotate_new(deployment: &Deployment, set: &mut ReplicaSet, next: i64) -> bool {
    let before = revision(&set.metadata);
    let annotations = set.metadata.annotations.get_or_insert_default();
    let mut changed = false;
    for (name, value) in deployment.metadata.annotations.iter().flatten() {
        if !NOT_COPIED.contains(&name.as_str()) {
            changed |= put(annotations, name, value.clone());
        }
    }
    if before < next {
        changed |= put(annotations, REVISION, next.to_string());
        if before > 0 {
            let history = annotations.get(REVISION_HISTORY).map(String::as_str).unwrap_or_default();
            let history = remember(history, before);
            annotations.insert(REVISION_HISTORY.to_owned(), history);
        }
    }
    changed
}

fn remember(history: &str, revision: i64) -> String {
    let mut numbers: Vec<String> = history.split(',').filter(|number| !number.is_empty()).map(str::to_owned).collect();
    numbers.push(revision.to_string());
    while numbers.join(",").len() > REVISION_HISTORY_MAX_LENGTH {
        numbers.remove(0);
    }
    numbers.join(",")
}

fn put(annotations: &mut Annotations, name: &str, value: String) -> bool {
    let changed = annotations.get(name) != Some(&value);
    if changed {
        annotations.insert(name.to_owned(), value);
    }
    changed
}

fn number<N: std::str::FromStr>(meta: &ObjectMeta, name: &str) -> Option<N> {
    annotation(meta, name)?.parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    fn deployment(image: &str) -> Deployment {
        serde_json::from_value(json!({
            "metadata": {
                "name": "web", "namespace": "default", "uid": "u",
                "annotations": {"team": "a", REVISION: "7", LAST_APPLIED: "{}"},
            },
            "spec": {
                "replicas": 3, "selector": {"matchLabels": {"app": "web"}},
                "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": image}]}},
            },
        }))
        .unwrap()
    }

    #[test]
    fn the_replica_set_of_a_template_is_found_again() {
        let (first, second) = (make(&deployment("a:1"), "h1"), make(&deployment("a:2"), "h2"));
        assert_eq!(first.metadata.name.as_deref(), Some("web-h1"));
        let selector = first.spec.selector.match_labels.clone().unwrap();
        assert_eq!(selector[POD_TEMPLATE_HASH], "h1");
        let sets = vec![Arc::new(first), Arc::new(second)];
        let (new, old) = split(&deployment("a:2"), sets.clone());
        assert_eq!(new.unwrap().metadata.name.as_deref(), Some("web-h2"));
        assert_eq!(old.len(), 1);
        let (new, old) = split(&deployment("a:3"), sets);
        assert_eq!((new, old.len()), (None, 2));
    }

    #[test]
    fn a_rollback_gives_a_new_number_and_keeps_the_old() {
        let mut set = make(&deployment("a:1"), "h1");
        assert!(annotate_new(&deployment("a:1"), &mut set, 1));
        assert!(!annotate_new(&deployment("a:1"), &mut set, 1), "nothing new");
        assert!(annotate_new(&deployment("a:1"), &mut set, 3));
        assert!(annotate_new(&deployment("a:1"), &mut set, 5));
        let annotations = set.metadata.annotations.clone().unwrap();
        assert_eq!(annotations[REVISION], "5");
        assert_eq!(annotations[REVISION_HISTORY], "1,3");
        assert_eq!(annotations["team"], "a");
        assert!(!annotations.contains_key(LAST_APPLIED));
        assert!(!annotate_new(&deployment("a:1"), &mut set, 4), "a number never falls");
    }

    #[test]
    fn history_is_bounded() {
        let history = (0..2000).fold(String::new(), |history, revision| remember(&history, 10_000 + revision));
        assert!(history.len() <= REVISION_HISTORY_MAX_LENGTH && history.ends_with(",11999"), "{}", history.len());
    }
}
