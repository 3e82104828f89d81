//! What kinds with replicas and a pod template have in common.

use k8s_openapi::{
    api::core::v1::PodTemplateSpec,
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
};
use kubelab_api::{
    field::{Errors, Path},
    name,
    selector::label::{self, Selector},
};
use serde_json::Value;

use crate::registry::{
    cells::{template_containers, text},
    core::pod,
    kind::Scale,
    validation::{is_empty, json, nonnegative},
};

/// What is wrong with a workload's selector and template: the pods that it makes must be its own, and never end by
/// themselves. `owner` is how messages call it.
pub fn selector_and_template(
    selector: &LabelSelector,
    template: Option<&PodTemplateSpec>,
    owner: &str,
    path: &Path,
    errors: &mut Errors,
) {
    let selector_path = path.child("selector");
    if is_empty(selector) {
        errors.required(&selector_path, "");
    } else {
        label::validate(selector, &selector_path, errors);
    }
    let path = path.child("template");
    let Some(template) = template else { return errors.required(&path, "") };
    match Selector::from_typed(Some(selector)) {
        Ok(parsed) => {
            let labels = template.metadata.as_ref().and_then(|meta| meta.labels.as_ref());
            if is_empty(selector) || !parsed.matches(labels) {
                let labels = labels.map_or(Value::Null, json);
                let path = path.child("metadata").child("labels");
                errors.invalid(&path, labels, "`selector` does not match template `labels`");
            }
        }
        Err(_) => errors.invalid(&selector_path, json(selector), "invalid label selector"),
    }
    pod::validation::template(template, &path, errors);
    let Some(spec) = &template.spec else { return };
    if text(&spec.restart_policy) != "Always" {
        errors.not_supported(&path.child("spec").child("restartPolicy"), text(&spec.restart_policy), &["Always"]);
    }
    if spec.active_deadline_seconds.is_some() {
        let detail = format!("activeDeadlineSeconds in {owner} is not Supported");
        errors.forbidden(&path.child("spec").child("activeDeadlineSeconds"), &detail);
    }
}

/// Warnings about a new workload: its name becomes part of its pods' names, which are host names too.
pub fn create_warnings(meta: &ObjectMeta, template: Option<&PodTemplateSpec>) -> Vec<String> {
    let wrong = name::dns1123_label(meta.name.as_deref().unwrap_or_default());
    let words = "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS \
                 label is recommended";
    let of_name = (!wrong.is_empty()).then(|| format!("{words}: [{}]", wrong.join(" ")));
    of_name.into_iter().chain(warnings(template)).collect()
}

/// Warnings about a change: of the pods, if they change.
pub fn update_warnings(new: Option<&PodTemplateSpec>, old: Option<&PodTemplateSpec>) -> Vec<String> {
    if new == old { Vec::new() } else { warnings(new) }
}

/// Warnings about a workload's pods.
pub fn warnings(template: Option<&PodTemplateSpec>) -> Vec<String> {
    template_warnings(template, &Path::new("spec").child("template"))
}

/// Warnings about a pod template at this path.
pub fn template_warnings(template: Option<&PodTemplateSpec>, path: &Path) -> Vec<String> {
    let Some(template) = template else { return Vec::new() };
    let spec = template.spec.as_ref();
    spec.map(|spec| pod::warnings::warnings(spec, template.metadata.as_ref(), Some(path))).unwrap_or_default()
}

/// Counts of a status: none negative, and none of the parts greater than the whole, which comes first.
pub fn counts(whole: (&str, i32), parts: &[(&str, Option<i32>)], path: &Path, errors: &mut Errors) {
    let (field, total) = whole;
    nonnegative(Some(total), &path.child(field), errors);
    for (field, count) in parts {
        nonnegative(*count, &path.child(field), errors);
    }
    for (field, count) in parts {
        if let Some(count) = count.filter(|count| *count > total) {
            errors.invalid(&path.child(field), count, "cannot be greater than status.replicas");
        }
    }
}

/// A count of collisions only grows. Source: `IsDecremented`.
pub fn not_decremented(new: Option<i32>, old: Option<i32>, path: &Path, errors: &mut Errors) {
    // `None` is less than any number.
    if new < old {
        errors.invalid(&path.child("collisionCount"), new.unwrap_or_default(), "cannot be decremented");
    }
}

/// What is available is ready.
pub fn available_are_ready(available: Option<i32>, ready: Option<i32>, path: &Path, errors: &mut Errors) {
    let (available, ready) = (available.unwrap_or_default(), ready.unwrap_or_default());
    if available > ready {
        errors.invalid(&path.child("availableReplicas"), available, "cannot be greater than readyReplicas");
    }
}

/// The scale subresource's view of a workload.
pub fn scale(replicas: Option<i32>, observed: Option<i32>, selector: String) -> Scale {
    Scale { replicas: replicas.unwrap_or_default(), observed: observed.unwrap_or_default(), selector }
}

/// How large a workload is meant to be, and how much of it is ready.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// `spec.replicas`.
    pub wanted: i32,
    /// `status.readyReplicas`.
    pub ready: i32,
}

type Template<'a> = Option<&'a PodTemplateSpec>;

/// What changed in a workload, in a few words: its size, its images, how much of it is ready.
pub fn note((size, template): (Size, Template), old: Option<(Size, Template)>) -> String {
    let Some((before, old_template)) = old else { return format!("created with {} replicas", size.wanted) };
    let mut said = Vec::new();
    if before.wanted != size.wanted {
        said.push(format!("scaled {} → {}", before.wanted, size.wanted));
    }
    said.extend(template.zip(old_template).and_then(|(new, old)| template_note(new, old)));
    if before.ready != size.ready {
        said.push(format!("ready {}/{} → {}/{}", before.ready, size.wanted, size.ready, size.wanted));
    }
    said.join(", ")
}

/// What changed in a pod template, in a few words.
pub fn template_note(new: &PodTemplateSpec, old: &PodTemplateSpec) -> Option<String> {
    if new == old {
        return None;
    }
    let images = template_containers(new).iter().filter_map(|container| {
        let before = template_containers(old).iter().find(|before| before.name == container.name)?;
        (before.image != container.image).then(|| format!("image {} → {}", text(&before.image), text(&container.image)))
    });
    let images: Vec<_> = images.collect();
    Some(if images.is_empty() { "template changed".into() } else { images.join(", ") })
}

/// A strategy that is none of the known. Upstream shows its internal type, with the fields in their order.
pub(super) fn unknown_strategy(
    kind: &str,
    rolling: Option<(&Option<IntOrString>, &Option<IntOrString>)>,
    known: &[&str],
    path: &Path,
    errors: &mut Errors,
) {
    let rolling = rolling.map_or_else(
        || "null".to_owned(),
        |(unavailable, surge)| format!("{{\"MaxUnavailable\":{},\"MaxSurge\":{}}}", json(unavailable), json(surge)),
    );
    errors.not_among(path, Value::Null, known);
    if let Some(error) = errors.0.last_mut() {
        let shown = format!("{{\"Type\":{kind:?},\"RollingUpdate\":{rolling}}}");
        error.message = error.message.replacen("\"null\"", &shown, 1);
    }
}
