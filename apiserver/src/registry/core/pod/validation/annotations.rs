//! Annotations that say something of a pod. Source: `ValidatePodSpecificAnnotations`,
//! `validateSeccompAnnotationsAndFields` and `validateAppArmorAnnotationsAndFieldsMatchOnCreate`.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::PodSpec;
use kubelab_api::field::{Errors, Path};

use super::container;
use crate::registry::cells::text;

type Annotations = BTreeMap<String, String>;

/// On the apiserver's picture of a pod that a node runs by itself.
pub(super) const MIRROR: &str = "kubernetes.io/config.mirror";
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";
const SECCOMP_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";
const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";

/// What is wrong with the annotations of a pod or of a template.
pub(super) fn validate(annotations: Option<&Annotations>, spec: &PodSpec, path: &Path, errors: &mut Errors) {
    for (key, value) in annotations.into_iter().flatten() {
        if key == MIRROR && text(&spec.node_name).is_empty() {
            let detail = "must set spec.nodeName if mirror pod annotation is set";
            errors.invalid(&path.key(key), value.as_str(), detail);
        } else if key == DELETION_COST {
            // As Go reads numbers: no plus sign, no leading zero.
            let plain = !value.starts_with('+') && (value == "0" || !value.trim_start_matches('-').starts_with('0'));
            if value.parse::<i32>().is_err() || !plain {
                errors.invalid(&path.key(key), value.as_str(), "must be a 32bit integer");
            }
        } else if key == SECCOMP_POD || key.starts_with(SECCOMP_CONTAINER) {
            seccomp(value, &path.child(key), errors);
        } else if let Some(name) = key.strip_prefix(APP_ARMOR) {
            if !containers(spec).any(|container| container.name == name) {
                errors.invalid(&path.key(key), name, "container not found");
            }
            if !matches!(value.as_str(), "" | "runtime/default" | "unconfined") && !value.starts_with("localhost/") {
                errors.invalid(&path.key(key), value.as_str(), &format!("invalid AppArmor profile name: {value:?}"));
            }
        }
    }
}

fn seccomp(profile: &str, path: &Path, errors: &mut Errors) {
    match profile.strip_prefix("localhost/") {
        Some(file) => container::local_path(file, path, errors),
        None if matches!(profile, "runtime/default" | "docker/default" | "unconfined") => {}
        None => errors.invalid(path, profile, "must be a valid seccomp profile"),
    }
}

/// What is wrong with this change of a pod's annotations.
pub(super) fn update(new: Option<&Annotations>, old: Option<&Annotations>, path: &Path, errors: &mut Errors) {
    let none = Annotations::new();
    let (new, old) = (new.unwrap_or(&none), old.unwrap_or(&none));
    for (key, before) in old {
        if new.get(key) == Some(before) {
            continue;
        }
        if key.starts_with(APP_ARMOR) {
            errors.forbidden(&path.key(key), "may not remove or update AppArmor annotations");
        }
        if key == MIRROR {
            errors.forbidden(&path.key(key), "may not remove or update mirror pod annotation");
        }
    }
    for key in new.keys().filter(|key| !old.contains_key(*key)) {
        if key.starts_with(APP_ARMOR) {
            errors.forbidden(&path.key(key), "may not add AppArmor annotations");
        }
        if key == MIRROR {
            errors.forbidden(&path.key(key), "may not add mirror pod annotation");
        }
    }
}

fn containers(spec: &PodSpec) -> impl Iterator<Item = &k8s_openapi::api::core::v1::Container> {
    spec.containers.iter().chain(spec.init_containers.iter().flatten())
}

/// A profile that an annotation and a field name must be the same.
pub(super) fn profiles_agree(annotations: Option<&Annotations>, spec: &PodSpec, path: &Path, errors: &mut Errors) {
    let Some(annotations) = annotations else { return };
    let said = spec.security_context.as_ref().and_then(|context| context.seccomp_profile.as_ref());
    if let (Some(annotation), Some(profile)) = (annotations.get(SECCOMP_POD), said) {
        let path = path.child("securityContext").child("seccompProfile");
        agree("seccomp", annotation, &profile.type_, &profile.localhost_profile, &path, errors);
    }
    let of_pod = spec.security_context.as_ref().and_then(|context| context.app_armor_profile.as_ref());
    let lists =
        [("initContainers", spec.init_containers.as_deref().unwrap_or_default()), ("containers", &spec.containers)];
    for (field, containers) in lists {
        for (i, container) in containers.iter().enumerate() {
            let path = path.child(field).index(i).child("securityContext");
            let context = container.security_context.as_ref();
            let annotation = annotations.get(&format!("{SECCOMP_CONTAINER}{}", container.name));
            if let (Some(annotation), Some(profile)) = (annotation, context.and_then(|c| c.seccomp_profile.as_ref())) {
                let path = path.child("seccompProfile");
                agree("seccomp", annotation, &profile.type_, &profile.localhost_profile, &path, errors);
            }
            let annotation = annotations.get(&format!("{APP_ARMOR}{}", container.name));
            let profile = context.and_then(|context| context.app_armor_profile.as_ref()).or(of_pod);
            if let (Some(annotation), Some(profile)) = (annotation, profile) {
                let path = path.child("appArmorProfile");
                agree("apparmor", annotation, &profile.type_, &profile.localhost_profile, &path, errors);
            }
        }
    }
}

fn agree(what: &str, annotation: &str, kind: &str, file: &Option<String>, path: &Path, errors: &mut Errors) {
    let same = match kind {
        "Unconfined" => annotation == "unconfined",
        "RuntimeDefault" => annotation == "runtime/default" || what == "seccomp" && annotation == "docker/default",
        "Localhost" => match annotation.strip_prefix("localhost/") {
            Some(name) => {
                if file.as_deref() != Some(name) {
                    let detail = format!("{what} profile in annotation and field must match");
                    errors.forbidden(&path.child("localhostProfile"), &detail);
                }
                true
            }
            None => false,
        },
        _ => true,
    };
    if !same {
        errors.forbidden(&path.child("type"), &format!("{what} type in annotation and field must match"));
    }
}
