//! Pod, and what pods and pod templates share.

mod columns;
pub mod defaults;
mod ephemeral;
mod label_keys;
mod note;
pub mod validation;
pub mod warnings;

#[cfg(test)]
mod tests;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodCondition, PodStatus};
use kubelab_api::{field::Errors, pod::qos_class};
use serde_json::Value;

use crate::registry::{
    cells::{list, text},
    defaults::each,
    kind::{Column, Kind},
};

/// Pod. Source of the rules: `pkg/registry/core/pod/strategy.go`.
pub struct PodKind;

impl Kind for PodKind {
    type Object = Pod;

    fn default(pod: &mut Pod) {
        defaults::pod(pod);
    }

    fn prepare_create(pod: &mut Pod) {
        label_keys::resolve(pod);
        let qos = qos_class(pod).name();
        let spec = pod.spec.get_or_insert_default();
        // A pod with gates says from its first moment why nobody schedules it.
        let gated = (!list(&spec.scheduling_gates).is_empty()).then(|| PodCondition {
            type_: "PodScheduled".into(),
            status: "False".into(),
            reason: Some("SchedulingGated".into()),
            message: Some("Scheduling is blocked due to non-empty scheduling gates".into()),
            ..Default::default()
        });
        pod.status = Some(PodStatus {
            phase: Some("Pending".into()),
            qos_class: Some(qos.into()),
            conditions: gated.map(|condition| vec![condition]),
            ..Default::default()
        });
    }

    fn prepare_update(new: &mut Pod, old: &Pod) {
        new.status.clone_from(&old.status);
    }

    fn prepare_status_update(new: &mut Pod, old: &Pod) {
        new.spec.clone_from(&old.spec);
        new.metadata.deletion_timestamp.clone_from(&old.metadata.deletion_timestamp);
        new.metadata.owner_references.clone_from(&old.metadata.owner_references);
        if let (Some(new), Some(old)) = (&mut new.status, &old.status)
            && text(&new.qos_class).is_empty()
        {
            new.qos_class.clone_from(&old.qos_class);
        }
    }

    const GENERATION: bool = true;

    const RETURNS_DELETED: bool = true;

    fn spec_changed(new: &Pod, old: &Pod) -> bool {
        new.spec != old.spec
    }

    fn validate(pod: &Pod, errors: &mut Errors) {
        validation::pod(pod, errors);
    }

    fn validate_create(pod: &Pod, errors: &mut Errors) {
        validation::create(pod, errors);
    }

    fn validate_update(new: &Pod, old: &Pod, errors: &mut Errors) {
        validation::update(new, old, errors);
    }

    fn validate_status_update(new: &Pod, old: &Pod, errors: &mut Errors) {
        validation::status_update(new, old, errors);
    }

    fn warnings(pod: &Pod) -> Vec<String> {
        let name = kubelab_api::name::dns1123_label(pod.metadata.name.as_deref().unwrap_or_default());
        let words = "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS \
                     label is recommended";
        let of_name = (!name.is_empty()).then(|| format!("{words}: [{}]", name.join(" ")));
        let spec = pod.spec.iter().flat_map(|spec| warnings::warnings(spec, Some(&pod.metadata), None));
        of_name.into_iter().chain(spec).collect()
    }

    // Controllers update pods, and they do not read warnings.
    fn update_warnings(_new: &Pod, _old: &Pod) -> Vec<String> {
        Vec::new()
    }

    fn validate_part(part: &str, new: &Pod, old: &Pod, errors: &mut Errors) {
        match part {
            "ephemeralcontainers" => validation::ephemeral_containers_update(new, old, errors),
            "resize" => validation::resize(new, old, errors),
            _ => {}
        }
    }

    fn grace_seconds(pod: &Pod, asked: Option<i64>) -> Option<i64> {
        let spec = pod.spec.as_ref();
        let bound = spec.is_some_and(|spec| !text(&spec.node_name).is_empty());
        // Nobody stops a pod that no node has, and one that has ended needs no time.
        if !bound || kubelab_api::pod::is_terminal(pod) {
            return Some(0);
        }
        let own = spec.and_then(|spec| spec.termination_grace_period_seconds);
        let seconds = asked.or(own).unwrap_or_default();
        // Upstream reads what makes no sense as "soon".
        Some(if seconds < 0 { 1 } else { seconds })
    }

    fn prepare_part(part: &str, new: &mut Pod, old: &Pod) {
        let wanted = new.spec.take().unwrap_or_default();
        let mut spec = old.spec.clone().unwrap_or_default();
        match part {
            "ephemeralcontainers" => spec.ephemeral_containers = wanted.ephemeral_containers,
            "resize" => {
                let containers = wanted.containers.into_iter().chain(wanted.init_containers.unwrap_or_default());
                for wanted in containers {
                    let mut all = spec.containers.iter_mut().chain(each(&mut spec.init_containers));
                    if let Some(container) = all.find(|container| container.name == wanted.name) {
                        container.resources = wanted.resources;
                        container.resize_policy = wanted.resize_policy;
                    }
                }
            }
            _ => {}
        }
        new.spec = Some(spec);
        new.status.clone_from(&old.status);
        // Source: `dropPodUpdates`: these parts leave the metadata alone too.
        let (meta, before) = (&mut new.metadata, &old.metadata);
        meta.labels.clone_from(&before.labels);
        meta.annotations.clone_from(&before.annotations);
        meta.finalizers.clone_from(&before.finalizers);
        meta.owner_references.clone_from(&before.owner_references);
    }

    const COLUMNS: &'static [Column] = columns::COLUMNS;

    fn cells(pod: &Pod, now: Timestamp) -> Vec<Value> {
        columns::cells(pod, now)
    }

    fn fields(pod: &Pod) -> Vec<(&'static str, String)> {
        let (spec, status) = (pod.spec.as_ref(), pod.status.as_ref());
        let of_spec = |field: Option<&Option<String>>| field.map(|field| text(field).to_owned()).unwrap_or_default();
        vec![
            ("spec.nodeName", of_spec(spec.map(|spec| &spec.node_name))),
            ("spec.restartPolicy", of_spec(spec.map(|spec| &spec.restart_policy))),
            ("spec.schedulerName", of_spec(spec.map(|spec| &spec.scheduler_name))),
            ("spec.serviceAccountName", of_spec(spec.map(|spec| &spec.service_account_name))),
            ("spec.hostNetwork", spec.is_some_and(|spec| spec.host_network == Some(true)).to_string()),
            ("status.phase", of_spec(status.map(|status| &status.phase))),
            ("status.podIP", of_spec(status.map(|status| &status.pod_ip))),
            ("status.nominatedNodeName", of_spec(status.map(|status| &status.nominated_node_name))),
        ]
    }

    fn index(pod: &Pod) -> Option<String> {
        pod.spec.as_ref()?.node_name.clone().filter(|name| !name.is_empty())
    }

    const INDEX_FIELD: &'static str = "spec.nodeName";

    fn note(new: &Pod, old: Option<&Pod>) -> String {
        note::note(new, old)
    }
}
