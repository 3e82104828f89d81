//! What kinds with replicas and a pod template have in common.

use k8s_openapi::api::core::v1::PodTemplateSpec;

use crate::registry::{
    cells::{template_containers, text},
    kind::Scale,
};

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
        (before.image != container.image)
            .then(|| format!("image {} → {}", text(&before.image), text(&container.image)))
    });
    let images: Vec<_> = images.collect();
    Some(if images.is_empty() { "template changed".into() } else { images.join(", ") })
}
