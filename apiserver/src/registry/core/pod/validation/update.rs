//! What an update may change of a pod: little. Source: `ValidatePodUpdate` in
//! `pkg/apis/core/validation/validation.go`.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, NodeSelectorTerm, Pod, PodSchedulingGate, PodSpec, Toleration};
use kubelab_api::field::{Errors, Path};
use serde_json::Value;

use super::annotations;
use crate::registry::{
    cells::list,
    defaults::each,
    validation::{difference, json},
};

const MAY_NOT: &str = "pod updates may not change fields other than `spec.containers[*].image`,\
    `spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing \
    tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/// What is wrong with this change of a pod.
pub fn update(new: &Pod, old: &Pod, errors: &mut Errors) {
    let at = Path::new("metadata").child("annotations");
    annotations::update(new.metadata.annotations.as_ref(), old.metadata.annotations.as_ref(), &at, errors);
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
        errors.forbidden(&path, &format!("{MAY_NOT}\n{}", difference("core.PodSpec", &json(old), &json(&rest))));
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
        (Some(new), _) if !(0..=i64::from(i32::MAX)).contains(&new) => {
            errors.invalid(&path, new, &format!("must be between 0 and {}, inclusive", i32::MAX));
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
    if before.iter().any(|(key, value)| after.get(key) != Some(value)) {
        let detail = "only additions to spec.nodeSelector are allowed (no mutations or deletions)";
        errors.invalid(&path.child("nodeSelector"), json(&after), detail);
    }
    new.node_selector.clone_from(&old.node_selector);
    let affinity = |spec: &PodSpec| spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.clone());
    let terms = |spec: &PodSpec| {
        let required = affinity(spec).and_then(|affinity| affinity.required_during_scheduling_ignored_during_execution);
        required.map(|required| required.node_selector_terms).unwrap_or_default()
    };
    let (after, before) = (terms(new), terms(old));
    let path = path.child("affinity").child("nodeAffinity");
    let path = path.child("requiredDuringSchedulingIgnoredDuringExecution").child("nodeSelectorTerms");
    if !before.is_empty() && before.len() != after.len() {
        let detail = "no additions/deletions to non-empty NodeSelectorTerms list are allowed";
        errors.invalid(&path, json(&after), detail);
    } else {
        for (i, (before, after)) in before.iter().zip(&after).enumerate() {
            if !only_additions(after, before) {
                let detail = "only additions are allowed (no mutations or deletions)";
                errors.invalid(&path.index(i), json(after), detail);
            }
        }
    }
    if affinity(new) != affinity(old) {
        match (&mut new.affinity, &old.affinity) {
            (Some(changed), None) if changed.pod_affinity.is_none() && changed.pod_anti_affinity.is_none() => {
                new.affinity = None;
            }
            (Some(changed), _) => changed.node_affinity = affinity(old),
            (None, old) => new.affinity.clone_from(old),
        }
    }
}

/// A term without requirements selects nothing, so it may not get any.
fn only_additions(new: &NodeSelectorTerm, old: &NodeSelectorTerm) -> bool {
    let (expressions, fields) = (list(&old.match_expressions), list(&old.match_fields));
    let (new_expressions, new_fields) = (list(&new.match_expressions), list(&new.match_fields));
    if expressions.is_empty() && fields.is_empty() {
        return new_expressions.is_empty() && new_fields.is_empty();
    }
    new_expressions.starts_with(expressions) && new_fields.starts_with(fields)
}
