//! Warnings about containers.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, ContainerPort, PodSpec};
use kubelab_api::field::Path;

use super::fractions;
use crate::registry::cells::{list, text};

pub(super) fn warnings(
    spec: &PodSpec,
    said: &dyn Fn(&str) -> bool,
    annotation: &dyn Fn(&str) -> Path,
    in_template: bool,
    path: &Path,
    warnings: &mut Vec<String>,
) {
    let lists = [("initContainers", list(&spec.init_containers)), ("containers", &spec.containers[..])];
    let of_pod = spec.security_context.as_ref().and_then(|context| context.app_armor_profile.as_ref());
    for (field, containers) in lists {
        for (i, container) in containers.iter().enumerate() {
            let path = path.child(field).index(i);
            let context = container.security_context.as_ref();
            let key = format!("container.seccomp.security.alpha.kubernetes.io/{}", container.name);
            if context.and_then(|context| context.seccomp_profile.as_ref()).is_none() && said(&key) {
                let path = annotation(&key);
                warnings.push(format!("{path}: non-functional in v1.27+; use the \"seccompProfile\" field instead"));
            }
            let key = format!("container.apparmor.security.beta.kubernetes.io/{}", container.name);
            let profile = context.and_then(|context| context.app_armor_profile.as_ref()).or(of_pod);
            if in_template && profile.is_none() && said(&key) {
                let path = annotation(&key);
                warnings.push(format!("{path}: deprecated since v1.30; use the \"appArmorProfile\" field instead"));
            }
            if let Some(resources) = &container.resources {
                fractions(resources.limits.as_ref(), &path.child("resources").child("limits"), warnings);
                fractions(resources.requests.as_ref(), &path.child("resources").child("requests"), warnings);
            }
            env(container, &path.child("env"), warnings);
        }
    }
    let mut seen: BTreeMap<(i32, &str), Vec<(Path, &ContainerPort)>> = BTreeMap::new();
    for (field, containers) in lists {
        for (i, container) in containers.iter().enumerate() {
            let path = path.child(field).index(i).child("ports");
            for (i, port) in list(&container.ports).iter().enumerate() {
                ports(port, &path.index(i), &mut seen, warnings);
            }
        }
    }
}

fn ports<'a>(
    port: &'a ContainerPort,
    path: &Path,
    seen: &mut BTreeMap<(i32, &'a str), Vec<(Path, &'a ContainerPort)>>,
    warnings: &mut Vec<String>,
) {
    let host = |port: &ContainerPort| port.host_port.unwrap_or_default();
    let ip = |port: &'a ContainerPort| text(&port.host_ip);
    if !ip(port).is_empty() && host(port) == 0 {
        // As Go prints a struct.
        warnings.push(format!(
            "{path}: hostIP set without hostPort: {{Name:{} HostPort:0 ContainerPort:{} Protocol:{} HostIP:{}}}",
            text(&port.name),
            port.container_port,
            text(&port.protocol),
            ip(port)
        ));
    }
    let others = seen.entry((port.container_port, text(&port.protocol))).or_default();
    for (other_path, other) in others.iter() {
        let words = match () {
            () if ip(port) == ip(other) && host(port) == host(other) => "duplicate",
            () if host(port) == 0 || host(other) == 0 => "overlapping",
            () if host(port) == host(other) && ip(port).is_empty() != ip(other).is_empty() => "dangerously ambiguous",
            () => continue,
        };
        warnings.push(format!("{path}: {words} port definition with {other_path}"));
    }
    others.push((path.clone(), port));
}

fn env(container: &Container, path: &Path, warnings: &mut Vec<String>) {
    let variables = list(&container.env);
    for (i, variable) in variables.iter().enumerate() {
        let reference = format!("$({})", variable.name);
        let value = text(&variable.value);
        // A variable that builds on its former value is meant.
        let builds_on = variable.value_from.is_none() && value != reference && value.contains(&reference);
        if !builds_on && variables[..i].iter().any(|before| before.name == variable.name) {
            let (path, name) = (path.index(i), &variable.name);
            warnings
                .push(format!("{path}: hides previous definition of {name:?}, which may be dropped when using apply"));
        }
    }
}
