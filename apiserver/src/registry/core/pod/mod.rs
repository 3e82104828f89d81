//! Pod, and what pods and pod templates share.

mod columns;
pub mod defaults;
mod ephemeral;
mod note;
mod qos;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodCondition, PodStatus};
use serde_json::Value;

use crate::registry::{
    cells::{list, text},
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
            qos_class: Some(qos::class(spec).into()),
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

    fn spec_changed(new: &Pod, old: &Pod) -> bool {
        new.spec != old.spec
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
