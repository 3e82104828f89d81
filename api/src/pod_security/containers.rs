//! The containers of a pod, whatever their kind, and how messages speak of them.
//! Source: `visitor.go`, `helpers.go` in `k8s.io/pod-security-admission/policy`.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{ContainerPort, Lifecycle, PodSpec, Probe, SecurityContext};

/// What the standards look at in a container.
#[derive(Clone, Copy)]
pub(super) struct Container<'a> {
    pub name: &'a str,
    pub context: Option<&'a SecurityContext>,
    pub ports: &'a [ContainerPort],
    pub probes: [Option<&'a Probe>; 3],
    pub lifecycle: Option<&'a Lifecycle>,
}

/// All of them: init containers, containers, ephemeral containers.
pub(super) fn all(spec: &PodSpec) -> impl Iterator<Item = Container<'_>> {
    let regular = spec.init_containers.iter().flatten().chain(&spec.containers).map(|container| Container {
        name: &container.name,
        context: container.security_context.as_ref(),
        ports: container.ports.as_deref().unwrap_or_default(),
        probes: [&container.liveness_probe, &container.readiness_probe, &container.startup_probe].map(Option::as_ref),
        lifecycle: container.lifecycle.as_ref(),
    });
    let ephemeral = spec.ephemeral_containers.iter().flatten().map(|container| Container {
        name: &container.name,
        context: container.security_context.as_ref(),
        ports: container.ports.as_deref().unwrap_or_default(),
        probes: [&container.liveness_probe, &container.readiness_probe, &container.startup_probe].map(Option::as_ref),
        lifecycle: container.lifecycle.as_ref(),
    });
    regular.chain(ephemeral)
}

/// The names of those for which this holds.
pub(super) fn named<'a>(spec: &'a PodSpec, holds: impl Fn(&Container<'a>) -> bool) -> Vec<&'a str> {
    all(spec).filter(holds).map(|container| container.name).collect()
}

/// `one` for one, else `many`.
pub(super) fn plural<'a>(one: &'a str, many: &'a str, count: usize) -> &'a str {
    if count == 1 { one } else { many }
}

/// `"a", "b"`
pub(super) fn quoted(names: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    let names: Vec<_> = names.into_iter().map(|name| format!("\"{}\"", name.as_ref())).collect();
    names.join(", ")
}

/// `container "a"`, `containers "a", "b"`
pub(super) fn containers(names: &[&str]) -> String {
    format!("{} {}", plural("container", "containers", names.len()), quoted(names))
}

/// Who has set something bad, and to what: the pod itself, or containers.
#[derive(Default)]
pub(super) struct Setters<'a> {
    pub pod: bool,
    pub containers: Vec<&'a str>,
    pub values: BTreeSet<&'a str>,
}

impl Setters<'_> {
    pub fn is_empty(&self) -> bool {
        !self.pod && self.containers.is_empty()
    }

    /// `pod and container "a"`
    pub fn told(&self) -> String {
        self.told_with(None)
    }

    /// The same, and something else.
    pub fn told_with(&self, other: Option<&str>) -> String {
        let mut parts = Vec::new();
        if self.pod {
            parts.push("pod".to_owned());
        }
        if !self.containers.is_empty() {
            parts.push(containers(&self.containers));
        }
        parts.extend(other.map(str::to_owned));
        parts.join(" and ")
    }
}
