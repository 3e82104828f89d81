//! What makes a pod of a StatefulSet this one and no other: its ordinal, its names, its volumes.
//! Source: `pkg/controller/statefulset/stateful_set_utils.go` in Kubernetes.

use std::ops::Range;

use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{PersistentVolumeClaimVolumeSource, Pod, PodTemplateSpec, Volume},
};
use kubelab_api::{
    meta::label,
    well_known::label::{CONTROLLER_REVISION_HASH, POD_INDEX, STATEFUL_SET_POD_NAME},
};

use super::claims::claim_name;
use crate::pods;

/// A set's name.
pub fn name(set: &StatefulSet) -> &str {
    set.metadata.name.as_deref().unwrap_or_default()
}

/// The number of pods that a set wants.
pub fn replicas(set: &StatefulSet) -> i32 {
    set.spec.replicas.unwrap_or(1)
}

/// The first ordinal.
pub fn start(set: &StatefulSet) -> i32 {
    set.spec.ordinals.as_ref().and_then(|ordinals| ordinals.start).unwrap_or(0)
}

/// The ordinals of the pods that a set wants.
pub fn ordinals(set: &StatefulSet) -> Range<i32> {
    start(set)..start(set).saturating_add(replicas(set))
}

/// The name of the pod with an ordinal.
pub fn pod_name(set: &StatefulSet, ordinal: i32) -> String {
    format!("{}-{ordinal}", name(set))
}

/// The ordinal of one of the set's pods; `None` for a pod that is named otherwise.
pub fn ordinal(set: &StatefulSet, pod: &Pod) -> Option<i32> {
    let pod = pod.metadata.name.as_deref()?;
    let digits = pod.strip_prefix(name(set))?.strip_prefix('-')?;
    let ordinal: i32 = digits.parse().ok()?;
    (ordinal >= 0 && pod == pod_name(set, ordinal)).then_some(ordinal)
}

/// The name of the revision that a pod was made of.
pub fn revision(pod: &Pod) -> &str {
    label(&pod.metadata, CONTROLLER_REVISION_HASH).unwrap_or_default()
}

/// A new pod with this ordinal, of this template, which the revision of this name remembers.
pub fn new_pod(set: &StatefulSet, template: &PodTemplateSpec, revision: &str, ordinal: i32) -> Pod {
    let mut pod = pods::from_template(template, set);
    pod.metadata.name = Some(pod_name(set, ordinal));
    let spec = pod.spec.get_or_insert_default();
    spec.hostname.clone_from(&pod.metadata.name);
    spec.subdomain = set.spec.service_name.clone().filter(|service| !service.is_empty());
    let labels = pod.metadata.labels.get_or_insert_default();
    labels.insert(CONTROLLER_REVISION_HASH.to_owned(), revision.to_owned());
    restored(set, pod, ordinal)
}

/// The pod has the labels of its ordinal.
pub fn is_identified(set: &StatefulSet, pod: &Pod, ordinal: i32) -> bool {
    label(&pod.metadata, STATEFUL_SET_POD_NAME) == Some(pod_name(set, ordinal).as_str())
}

/// The pod has the volumes of its ordinal.
pub fn has_storage(set: &StatefulSet, pod: &Pod, ordinal: i32) -> bool {
    let volumes: Vec<&Volume> = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten()).collect();
    set.spec.volume_claim_templates.iter().flatten().all(|template| {
        let template = template.metadata.name.as_deref().unwrap_or_default();
        let source = volumes.iter().find(|volume| volume.name == template);
        source
            .and_then(|volume| volume.persistent_volume_claim.as_ref())
            .is_some_and(|source| source.claim_name == claim_name(template, name(set), ordinal))
    })
}

/// The pod with the labels and volumes of its ordinal. A volume of the template gives way to a claim of the same name.
pub fn restored(set: &StatefulSet, mut pod: Pod, ordinal: i32) -> Pod {
    let labels = pod.metadata.labels.get_or_insert_default();
    labels.insert(STATEFUL_SET_POD_NAME.to_owned(), pod_name(set, ordinal));
    labels.insert(POD_INDEX.to_owned(), ordinal.to_string());

    let templates = set.spec.volume_claim_templates.iter().flatten();
    let mut volumes: Vec<Volume> = templates
        .map(|template| {
            let template = template.metadata.name.clone().unwrap_or_default();
            let claim_name = claim_name(&template, name(set), ordinal);
            let source = PersistentVolumeClaimVolumeSource { claim_name, ..Default::default() };
            Volume { name: template, persistent_volume_claim: Some(source), ..Default::default() }
        })
        .collect();
    if !volumes.is_empty() {
        let spec = pod.spec.get_or_insert_default();
        let others = spec.volumes.take().unwrap_or_default();
        let others = others.into_iter().filter(|other| volumes.iter().all(|volume| volume.name != other.name));
        let others: Vec<Volume> = others.collect();
        volumes.extend(others);
        spec.volumes = Some(volumes);
    }
    pod
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    fn set() -> StatefulSet {
        serde_json::from_value(json!({
            "metadata": {"name": "web", "namespace": "shop", "uid": "u"},
            "spec": {
                "replicas": 3, "serviceName": "nginx", "ordinals": {"start": 2},
                "selector": {"matchLabels": {"app": "web"}},
                "template": {
                    "metadata": {"labels": {"app": "web"}},
                    "spec": {
                        "containers": [{"name": "c", "image": "nginx"}],
                        "volumes": [{"name": "www", "emptyDir": {}}, {"name": "tmp", "emptyDir": {}}],
                    },
                },
                "volumeClaimTemplates": [{"metadata": {"name": "www"}, "spec": {}}],
            },
        }))
        .unwrap()
    }

    #[test]
    fn a_pod_is_made_with_all_its_names() {
        let set = set();
        let pod = new_pod(&set, &set.spec.template, "web-abc", 3);
        let meta = &pod.metadata;
        assert_eq!(meta.name.as_deref(), Some("web-3"));
        assert_eq!(meta.generate_name.as_deref(), Some("web-"));
        let labels: Vec<_> =
            meta.labels.iter().flatten().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let expected = [
            ("app", "web"),
            ("apps.kubernetes.io/pod-index", "3"),
            ("controller-revision-hash", "web-abc"),
            ("statefulset.kubernetes.io/pod-name", "web-3"),
        ];
        assert_eq!(labels, expected);
        let spec = pod.spec.as_ref().unwrap();
        assert_eq!((spec.hostname.as_deref(), spec.subdomain.as_deref()), (Some("web-3"), Some("nginx")));
        let volumes = serde_json::to_value(&spec.volumes).unwrap();
        let claim = json!({"name": "www", "persistentVolumeClaim": {"claimName": "www-web-3"}});
        assert_eq!(volumes, json!([claim, {"name": "tmp", "emptyDir": {}}]));
        assert!(is_identified(&set, &pod, 3) && has_storage(&set, &pod, 3) && revision(&pod) == "web-abc");
        assert!(!is_identified(&set, &pod, 4) && !has_storage(&set, &pod, 4));
    }

    #[test]
    fn ordinals_are_read_from_names() {
        for (name, expected) in [
            ("web-0", Some(0)),
            ("web-12", Some(12)),
            ("web-012", None),
            ("web-", None),
            ("web--1", None),
            ("web", None),
            ("web-x-1", None),
            ("other-1", None),
            ("web-99999999999", None),
        ] {
            let pod: Pod = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
            assert_eq!(ordinal(&set(), &pod), expected, "{name}");
        }
        assert_eq!(ordinals(&set()), 2..5);
    }
}
