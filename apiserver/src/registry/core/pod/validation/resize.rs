//! What the parts `resize` and `ephemeralcontainers` may change of a pod. Source: `ValidatePodResize` and
//! `ValidatePodEphemeralContainersUpdate` in `pkg/apis/core/validation/validation.go`.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, ResourceRequirements};
use kubelab_api::{
    field::{Errors, Path},
    pod::{is_sidecar, qos_class},
};

use super::annotations::{self, MIRROR};
use crate::registry::{
    cells::{list, text},
    core::resources::Amounts,
    validation::{difference, json},
};

fn is_static(pod: &Pod) -> bool {
    kubelab_api::meta::annotation(&pod.metadata, MIRROR).is_some()
}

/// A refusal that upstream gives alone, with a path that has no name.
fn alone(errors: &mut Errors, detail: &str) {
    errors.0.clear();
    errors.forbidden(&Path::new("[]"), detail);
}

/// Ephemeral containers are added; what is there stays as it is.
pub fn ephemeral_containers_update(new: &Pod, old: &Pod, errors: &mut Errors) {
    let at = Path::new("metadata").child("annotations");
    annotations::update(new.metadata.annotations.as_ref(), old.metadata.annotations.as_ref(), &at, errors);
    if is_static(old) {
        return alone(errors, "static pods do not support ephemeral containers");
    }
    let containers = |pod: &Pod| pod.spec.as_ref().map(|spec| list(&spec.ephemeral_containers).to_vec());
    let new: BTreeMap<_, _> =
        containers(new).unwrap_or_default().into_iter().map(|container| (container.name.clone(), container)).collect();
    let path = Path::new("spec").child("ephemeralContainers");
    for before in containers(old).unwrap_or_default() {
        match new.get(&before.name) {
            None => {
                let detail = format!("existing ephemeral containers {:?} may not be removed\n", before.name);
                errors.forbidden(&path, &detail);
            }
            Some(after) if *after != before => {
                let difference = difference("core.EphemeralContainer", &json(&before), &json(after));
                let detail =
                    format!("existing ephemeral containers {:?} may not be changed\n{difference}", before.name);
                errors.forbidden(&path, &detail);
            }
            Some(_) => {}
        }
    }
}

/// CPU and memory of containers that run may change, the pod's class of service may not.
pub fn resize(new: &Pod, old: &Pod, errors: &mut Errors) {
    let sized = |pod: &Pod| {
        let whole = pod.spec.as_ref().and_then(|spec| spec.resources.as_ref());
        whole.is_some_and(|whole| [&whole.requests, &whole.limits].into_iter().flatten().any(|some| !some.is_empty()))
    };
    let on_windows = |spec: &PodSpec| spec.os.as_ref().is_some_and(|os| os.name == "windows");
    if sized(old) || sized(new) {
        return alone(errors, "pods with pod-level resources cannot be resized");
    }
    if is_static(old) {
        return alone(errors, "static pods cannot be resized");
    }
    let (Some(spec), Some(before)) = (&new.spec, &old.spec) else { return };
    if on_windows(before) {
        return alone(errors, "windows pods cannot be resized");
    }
    let path = Path::new("spec");
    if qos_class(new) != qos_class(old) {
        let class = new.status.as_ref().map_or("", |status| text(&status.qos_class));
        errors.invalid(&path, class, "Pod QOS Class may not change as a result of resizing");
    }
    let running = old.status.iter().flat_map(|status| list(&status.container_statuses));
    let mut running = running.filter(|status| status.state.as_ref().is_some_and(|state| state.running.is_some()));
    if running.next().is_some_and(|status| status.resources.is_none()) {
        errors.forbidden(&path, "Pod running on node without support for resize");
    }
    for (i, (new, old)) in list(&spec.init_containers).iter().zip(list(&before.init_containers)).enumerate() {
        if is_sidecar(old) {
            removed(new, old, &path.child("initContainers").index(i).child("resources"), errors);
        }
    }
    for (i, (new, old)) in spec.containers.iter().zip(&before.containers).enumerate() {
        removed(new, old, &path.child("containers").index(i).child("resources"), errors);
    }
    for (new, old) in spec.containers.iter().zip(&before.containers) {
        if without_changes(new, old) != *old {
            errors.forbidden(&path, "only cpu and memory resources are mutable");
        }
    }
    for (new, old) in list(&spec.init_containers).iter().zip(list(&before.init_containers)) {
        if is_sidecar(new) && without_changes(new, old) != *old {
            errors.forbidden(&path, "only cpu and memory resources for sidecar containers are mutable");
        } else if !is_sidecar(new) && new != old {
            errors.forbidden(&path, "resources for non-sidecar init containers are immutable");
        }
    }
}

fn removed(new: &Container, old: &Container, path: &Path, errors: &mut Errors) {
    let names = |amounts: &Option<Amounts>| amounts.iter().flatten().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    let none = ResourceRequirements::default();
    let (new, old) = (new.resources.as_ref().unwrap_or(&none), old.resources.as_ref().unwrap_or(&none));
    let parts = [("requests", &new.requests, &old.requests), ("limits", &new.limits, &old.limits)];
    for (field, new, old) in parts {
        let new = names(new);
        if names(old).iter().any(|name| !new.contains(name)) {
            errors.forbidden(&path.child(field), &format!("resource {field} cannot be removed"));
        }
    }
}

/// The new container with the old one's CPU and memory.
fn without_changes(new: &Container, old: &Container) -> Container {
    let restored = |new: Option<Amounts>, old: Option<&Amounts>| {
        let old = old?;
        let mut amounts = new.unwrap_or_default();
        for name in ["cpu", "memory"] {
            amounts.remove(name);
            if let Some(amount) = old.get(name) {
                amounts.insert(name.into(), amount.clone());
            }
        }
        Some(amounts)
    };
    let mut restored_container = new.clone();
    let said = new.resources.clone().unwrap_or_default();
    let before = old.resources.as_ref();
    restored_container.resources = before.map(|before| ResourceRequirements {
        limits: restored(said.limits, before.limits.as_ref()),
        requests: restored(said.requests, before.requests.as_ref()),
        claims: said.claims,
    });
    restored_container
}
