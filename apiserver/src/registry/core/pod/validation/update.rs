//! What an update may change of a pod: little. Source: `ValidatePodUpdate` and `ValidatePodStatusUpdate` in
//! `pkg/apis/core/validation/validation.go`.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod, PodSchedulingGate, PodSpec, Toleration};
use kubelab_api::{
    field::{Errors, Path},
    name,
};
use serde_json::Value;

use crate::registry::{
    cells::{list, text},
    defaults::each,
    validation::{immutable, ip, json},
};

const MAY_NOT: &str = "pod updates may not change fields other than `spec.containers[*].image`,\
    `spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing \
    tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/// What is wrong with this change of a pod.
pub fn update(new: &Pod, old: &Pod, errors: &mut Errors) {
    let path = Path::new("spec");
    let (Some(new), Some(old)) = (&new.spec, &old.spec) else { return };
    if new == old {
        return;
    }
    if !same_containers(&new.containers, &old.containers, &path.child("containers"), errors)
        || !same_containers(
            list(&new.init_containers),
            list(&old.init_containers),
            &path.child("initContainers"),
            errors,
        )
        || !deadline(new.active_deadline_seconds, old.active_deadline_seconds, &path, errors)
    {
        return;
    }
    only_added(list(&new.tolerations), list(&old.tolerations), &path.child("tolerations"), errors);
    let gates = (list(&new.scheduling_gates), list(&old.scheduling_gates));
    only_removed(gates.0, gates.1, &path.child("schedulingGates"), errors);

    // With everything put back that may change, nothing may differ.
    let mut rest = new.clone();
    for (new, old) in rest.containers.iter_mut().zip(&old.containers) {
        new.image.clone_from(&old.image);
    }
    for (new, old) in each(&mut rest.init_containers).zip(list(&old.init_containers)) {
        new.image.clone_from(&old.image);
    }
    rest.active_deadline_seconds = old.active_deadline_seconds;
    rest.scheduling_gates.clone_from(&old.scheduling_gates);
    rest.tolerations.clone_from(&old.tolerations);
    if old.termination_grace_period_seconds.is_some_and(|seconds| seconds < 0)
        && rest.termination_grace_period_seconds == Some(1)
    {
        rest.termination_grace_period_seconds = old.termination_grace_period_seconds;
    }
    if !gates.1.is_empty() {
        gated(&mut rest, old, &path, errors);
    }
    if rest != *old {
        errors.forbidden(&path, &format!("{MAY_NOT}\n{}", difference(old, &rest)));
    }
}

fn same_containers(new: &[Container], old: &[Container], path: &Path, errors: &mut Errors) -> bool {
    if new.len() != old.len() {
        errors.forbidden(path, "pod updates may not add or remove containers");
        return false;
    }
    true
}

fn deadline(new: Option<i64>, old: Option<i64>, path: &Path, errors: &mut Errors) -> bool {
    let path = path.child("activeDeadlineSeconds");
    match (new, old) {
        (Some(new), _) if !(0..=i64::from(u32::MAX)).contains(&new) => {
            errors.invalid(&path, new, &format!("must be between 0 and {}, inclusive", u32::MAX));
            false
        }
        (Some(new), Some(old)) if old < new => {
            errors.invalid(&path, new, "must be less than or equal to previous value");
            false
        }
        (None, Some(_)) => {
            errors.invalid(&path, Value::Null, "must not update from a positive integer to nil value");
            true
        }
        _ => true,
    }
}

fn only_added(new: &[Toleration], old: &[Toleration], path: &Path, errors: &mut Errors) {
    let plain = |toleration: &Toleration| Toleration { toleration_seconds: None, ..toleration.clone() };
    let kept = |old: &Toleration| new.iter().any(|new| plain(new) == plain(old));
    if !old.iter().all(kept) {
        errors.forbidden(path, "existing toleration can not be modified except its tolerationSeconds");
    }
}

fn only_removed(new: &[PodSchedulingGate], old: &[PodSchedulingGate], path: &Path, errors: &mut Errors) {
    for (i, gate) in new.iter().enumerate().filter(|(_, gate)| !old.contains(gate)) {
        let detail = format!("only deletion is allowed, but found new scheduling gate '{}'", gate.name);
        errors.forbidden(&path.index(i).child("name"), &detail);
    }
}

/// While nobody schedules it yet, a pod's choice of nodes may become narrower.
fn gated(new: &mut PodSpec, old: &PodSpec, path: &Path, errors: &mut Errors) {
    let none = BTreeMap::new();
    let before = old.node_selector.as_ref().unwrap_or(&none);
    let after = new.node_selector.as_ref().unwrap_or(&none);
    for (key, value) in before {
        if after.get(key) != Some(value) {
            let detail = "only additions to spec.nodeSelector are allowed (no mutations or deletions)";
            errors.invalid(&path.child("nodeSelector").key(key), value.as_str(), detail);
        }
    }
    new.node_selector.clone_from(&old.node_selector);
    let affinity = |spec: &PodSpec| spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.clone());
    let required = |spec: &PodSpec| {
        affinity(spec).and_then(|affinity| affinity.required_during_scheduling_ignored_during_execution)
    };
    let terms = |spec: &PodSpec| required(spec).map(|required| required.node_selector_terms).unwrap_or_default();
    let (after, before) = (terms(new), terms(old));
    let narrower = before.is_empty()
        || before.len() == after.len()
            && before.iter().zip(&after).all(|(before, after)| {
                list(&before.match_expressions).iter().all(|one| list(&after.match_expressions).contains(one))
                    && list(&before.match_fields).iter().all(|one| list(&after.match_fields).contains(one))
            });
    if narrower && affinity(new) != affinity(old) {
        let affinity = affinity(old);
        match (&mut new.affinity, old.affinity.is_some()) {
            (Some(changed), true) => changed.node_affinity = affinity,
            (changed, _) => changed.clone_from(&old.affinity),
        }
    }
}

/// What differs, field by field, as `-` before and `+` after.
fn difference(old: &PodSpec, new: &PodSpec) -> String {
    let (Value::Object(old), Value::Object(new)) = (json(old), json(new)) else { return String::new() };
    let mut lines = vec!["  core.PodSpec{".to_owned(), "  \t... // identical fields".to_owned()];
    let mut fields: Vec<_> = old.keys().chain(new.keys()).collect();
    fields.sort();
    fields.dedup();
    for field in fields.into_iter().filter(|field| old.get(*field) != new.get(*field)) {
        lines.extend(old.get(field).map(|value| format!("- \t{field}: {value},")));
        lines.extend(new.get(field).map(|value| format!("+ \t{field}: {value},")));
    }
    lines.push("  }\n".into());
    lines.join("\n")
}

/// What is wrong with this change of a pod's status.
pub fn status_update(new: &Pod, old: &Pod, errors: &mut Errors) {
    let path = Path::new("status");
    let (Some(status), Some(before)) = (&new.status, &old.status) else { return };
    let nominated = text(&status.nominated_node_name);
    if !nominated.is_empty() {
        for wrong in name::dns1123_subdomain(nominated) {
            errors.invalid(&path.child("nominatedNodeName"), nominated, &wrong);
        }
    }
    if let Some(spec) = &old.spec {
        let fields = [
            ("containerStatuses", &status.container_statuses, &before.container_statuses),
            ("initContainerStatuses", &status.init_container_statuses, &before.init_container_statuses),
        ];
        for (field, new, old) in fields {
            transitions(spec, list(new), list(old), &path.child(field), errors);
        }
    }
    for (i, address) in list(&status.pod_ips).iter().enumerate() {
        ip(&address.ip, &path.child("podIPs").index(i), errors);
    }
    if before.qos_class.is_some() {
        immutable(&status.qos_class, &before.qos_class, &path.child("qosClass"), errors);
    }
}

/// A container that is not restarted never leaves its end.
fn transitions(spec: &PodSpec, new: &[ContainerStatus], old: &[ContainerStatus], path: &Path, errors: &mut Errors) {
    let all = || spec.containers.iter().chain(list(&spec.init_containers));
    let restarted = all().any(|container| container.restart_policy.is_some());
    if text(&spec.restart_policy) == "Always" || restarted {
        return;
    }
    let ended = |status: &ContainerStatus| status.state.as_ref().and_then(|state| state.terminated.clone());
    for old in old {
        let Some(end) = ended(old) else { continue };
        if end.exit_code != 0 && text(&spec.restart_policy) == "OnFailure" {
            continue;
        }
        let again = new.iter().position(|new| new.name == old.name && ended(new).is_none());
        if let Some(i) = again {
            errors.forbidden(&path.index(i).child("state"), "may not be transitioned to non-terminated state");
        }
    }
}
