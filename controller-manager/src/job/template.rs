//! What a job's pods look like. Source: `manageJob` and `indexed_job_utils.go` in Kubernetes.

use std::sync::Arc;

use k8s_openapi::api::{
    batch::v1::Job,
    core::v1::{Container, EnvVar, EnvVarSource, ObjectFieldSelector, Pod},
};
use kubelab_api::well_known::{annotation, label};

use super::{
    pod::{IGNORED_INDEX_FAILURES, INDEX_FAILURES, failures_with},
    spec::{TRACKING_FINALIZER, Wants},
};
use crate::pods;

/// The variable that tells a container its index.
const INDEX_VARIABLE: &str = "JOB_COMPLETION_INDEX";
/// The longest prefix of a generated name. Source: `MaxGeneratedNameLength` of the apiserver's name generator.
const PREFIX_MAX: usize = 58;

/// A pod of this job.
pub fn pod(job: &Job, wants: Wants<'_>) -> Pod {
    let mut pod = pods::from_template(&wants.0.template, job);
    let finalizers = pod.metadata.finalizers.get_or_insert_default();
    if !finalizers.iter().any(|finalizer| finalizer == TRACKING_FINALIZER) {
        finalizers.push(TRACKING_FINALIZER.to_owned());
    }
    pod
}

/// A pod that works on an index, in the place of one that failed there.
pub fn indexed(job: &Job, wants: Wants<'_>, index: i32, failed: Option<&Arc<Pod>>) -> Pod {
    let mut pod = pod(job, wants);
    let name = job.metadata.name.as_deref().unwrap_or_default();
    let meta = &mut pod.metadata;
    meta.generate_name = Some(prefix(name, index));
    meta.labels.get_or_insert_default().insert(label::JOB_COMPLETION_INDEX.into(), index.to_string());
    let annotations = meta.annotations.get_or_insert_default();
    annotations.insert(annotation::JOB_COMPLETION_INDEX.into(), index.to_string());
    if wants.limit_per_index().is_some() {
        let (counted, ignored) = failed.map_or((0, 0), |failed| failures_with(failed, wants));
        annotations.insert(INDEX_FAILURES.into(), counted.to_string());
        if ignored > 0 {
            annotations.insert(IGNORED_INDEX_FAILURES.into(), ignored.to_string());
        }
    }
    if let Some(spec) = &mut pod.spec {
        spec.hostname = Some(format!("{name}-{index}"));
        spec.init_containers.iter_mut().flatten().chain(&mut spec.containers).for_each(tell_index);
    }
    pod
}

/// The index is read from the label, so that it is the same for all containers; a variable that is there already stays.
fn tell_index(container: &mut Container) {
    let env = container.env.get_or_insert_default();
    if env.iter().any(|variable| variable.name == INDEX_VARIABLE) {
        return;
    }
    let path = format!("metadata.labels['{}']", label::JOB_COMPLETION_INDEX);
    let field = ObjectFieldSelector { api_version: None, field_path: path };
    let source = EnvVarSource { field_ref: Some(field), ..Default::default() };
    env.push(EnvVar { name: INDEX_VARIABLE.into(), value: None, value_from: Some(source) });
}

fn prefix(job: &str, index: i32) -> String {
    let suffix = format!("-{index}-");
    // A job's name is ASCII, so it may be cut anywhere.
    let room = PREFIX_MAX.saturating_sub(suffix.len());
    format!("{}{suffix}", job.get(..room).unwrap_or(job))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    fn job() -> Job {
        serde_json::from_value(json!({
            "metadata": {"name": "pi", "namespace": "ns", "uid": "u1"},
            "spec": {
                "completions": 3, "completionMode": "Indexed", "backoffLimitPerIndex": 2,
                "template": {
                    "metadata": {"labels": {"app": "pi"}},
                    "spec": {
                        "initContainers": [{"name": "i", "env": [{"name": "JOB_COMPLETION_INDEX", "value": "mine"}]}],
                        "containers": [{"name": "c"}],
                    },
                },
            },
        }))
        .unwrap()
    }

    #[test]
    fn a_pod_is_told_its_index() {
        let job = job();
        let wants = Wants::of(&job).unwrap();
        let pod = serde_json::to_value(indexed(&job, wants, 2, None)).unwrap();
        assert_eq!(pod["metadata"]["generateName"], "pi-2-");
        assert_eq!(pod["metadata"]["finalizers"], json!([TRACKING_FINALIZER]));
        assert_eq!(pod["metadata"]["labels"], json!({"app": "pi", "batch.kubernetes.io/job-completion-index": "2"}));
        assert_eq!(
            pod["metadata"]["annotations"],
            json!({"batch.kubernetes.io/job-completion-index": "2", "batch.kubernetes.io/job-index-failure-count": "0"})
        );
        assert_eq!(pod["spec"]["hostname"], "pi-2");
        assert_eq!(
            pod["spec"]["containers"][0]["env"],
            json!([{"name": "JOB_COMPLETION_INDEX", "valueFrom": {"fieldRef": {
                "fieldPath": "metadata.labels['batch.kubernetes.io/job-completion-index']"}}}])
        );
        assert_eq!(pod["spec"]["initContainers"][0]["env"][0]["value"], "mine");
    }

    #[test]
    fn a_successor_inherits_the_failures() {
        let job = job();
        let wants = Wants::of(&job).unwrap();
        let failed: Pod = serde_json::from_value(json!({
            "metadata": {"annotations": {INDEX_FAILURES: "1", IGNORED_INDEX_FAILURES: "3"}},
            "status": {"phase": "Failed"},
        }))
        .unwrap();
        let annotations = indexed(&job, wants, 0, Some(&Arc::new(failed))).metadata.annotations.unwrap();
        assert_eq!((annotations[INDEX_FAILURES].as_str(), annotations[IGNORED_INDEX_FAILURES].as_str()), ("2", "3"));
    }

    #[test]
    fn a_long_name_is_cut_before_the_index() {
        let prefix = prefix(&"a".repeat(63), 17);
        assert_eq!(prefix.len(), 58);
        assert!(prefix.ends_with("a-17-"));
    }
}
