//! Containers, init containers and ephemeral containers.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Container, ContainerPort, PodSpec, VolumeMount};
use kubelab_api::{
    field::{Errors, Path},
    name, pod,
};

use super::{claims, env, probe, security, volume::Volumes};
use crate::registry::{
    cells::{list, text},
    core::{pod::ephemeral, resources},
    validation::{choice, port, required, required_choice, required_form},
};

/// What a container's checks need to know of its pod.
pub(super) struct Context<'a> {
    pub spec: &'a PodSpec,
    pub volumes: &'a Volumes,
    pub grace_seconds: i64,
}

pub(super) fn containers(context: &Context<'_>, path: &Path, errors: &mut Errors) {
    let containers = &context.spec.containers;
    if containers.is_empty() {
        return errors.required(path, "");
    }
    let mut names = BTreeSet::new();
    let mut host_ports = BTreeSet::new();
    for (i, container) in containers.iter().enumerate() {
        let path = path.index(i);
        any(container, context, &path, errors);
        if !names.insert(container.name.as_str()) {
            errors.duplicate(&path.child("name"), container.name.as_str());
        }
        probe::lifecycle_and_probes(container, context, &path, errors);
        restart_policy(container, &path, errors);
    }
    for (i, container) in containers.iter().enumerate() {
        unique_host_ports(list(&container.ports), &mut host_ports, &path.index(i).child("ports"), errors);
    }
}

pub(super) fn init_containers(context: &Context<'_>, path: &Path, errors: &mut Errors) {
    let mut names: BTreeSet<_> = context.spec.containers.iter().map(|container| container.name.as_str()).collect();
    for (i, container) in list(&context.spec.init_containers).iter().enumerate() {
        let list_path = path;
        let path = path.index(i);
        any(container, context, &path, errors);
        if !names.insert(&container.name) {
            errors.duplicate(&path.child("name"), container.name.as_str());
        }
        // Init containers run one by one, so each has the node's ports for itself; upstream looks at lists of one.
        let of_one = list_path.index(0).child("ports");
        unique_host_ports(list(&container.ports), &mut BTreeSet::new(), &of_one, errors);
        restart_policy(container, &path, errors);
        if pod::is_sidecar(container) {
            probe::lifecycle_and_probes(container, context, &path, errors);
            continue;
        }
        let given = [
            ("lifecycle", container.lifecycle.is_some()),
            ("livenessProbe", container.liveness_probe.is_some()),
            ("readinessProbe", container.readiness_probe.is_some()),
            ("startupProbe", container.startup_probe.is_some()),
        ];
        for (field, _) in given.iter().filter(|(_, given)| *given) {
            errors.forbidden(&path.child(field), "may not be set for init containers without restartPolicy=Always");
        }
    }
}

pub(super) fn ephemeral_containers(context: &Context<'_>, path: &Path, errors: &mut Errors) {
    let others = context.spec.containers.iter().chain(list(&context.spec.init_containers));
    let targets: BTreeSet<_> = others.map(|container| container.name.as_str()).collect();
    let mut names = targets.clone();
    for (i, container) in list(&context.spec.ephemeral_containers).iter().enumerate() {
        let path = path.index(i);
        let (inner, target) = ephemeral::split(container.clone());
        any(&inner, context, &path, errors);
        untrimmed_image(&inner, &path, errors);
        if !names.insert(&container.name) {
            errors.duplicate(&path.child("name"), container.name.as_str());
        }
        if let Some(target) = target.filter(|target| !target.is_empty() && !targets.contains(target.as_str())) {
            errors.not_found(&path.child("targetContainerName"), target);
        }
        let given = [
            ("ports", !list(&inner.ports).is_empty()),
            ("restartPolicy", inner.restart_policy.is_some()),
            ("restartPolicyRules", !list(&inner.restart_policy_rules).is_empty()),
            ("resizePolicy", !list(&inner.resize_policy).is_empty()),
            ("livenessProbe", inner.liveness_probe.is_some()),
            ("readinessProbe", inner.readiness_probe.is_some()),
            ("startupProbe", inner.startup_probe.is_some()),
            ("lifecycle", inner.lifecycle.is_some()),
            ("resources", inner.resources.as_ref().is_some_and(|resources| *resources != Default::default())),
        ];
        for (field, _) in given.iter().filter(|(_, given)| *given) {
            errors.forbidden(&path.child(field), "cannot be set for an Ephemeral Container");
        }
        for (i, mount) in list(&inner.volume_mounts).iter().enumerate() {
            let path = path.child("volumeMounts").index(i);
            for (field, value) in [("subPath", &mount.sub_path), ("subPathExpr", &mount.sub_path_expr)] {
                if !text(value).is_empty() {
                    errors.forbidden(&path.child(field), "cannot be set for an Ephemeral Container");
                }
            }
        }
    }
}

/// An image with spaces around it, which templates may have for historical reasons, and pods may not.
pub(super) fn untrimmed_image(container: &Container, path: &Path, errors: &mut Errors) {
    let image = text(&container.image);
    if image.trim() != image {
        errors.invalid(&path.child("image"), image, "must not have leading or trailing whitespace");
    }
}

/// Source: KEP-5307.
fn restart_policy(container: &Container, path: &Path, errors: &mut Errors) {
    const MAX_RULES: usize = 20;
    const MAX_CODES: usize = 255;
    let rules = list(&container.restart_policy_rules);
    match &container.restart_policy {
        Some(policy) => choice(policy, &["Always", "Never", "OnFailure"], &path.child("restartPolicy"), errors),
        None if !rules.is_empty() => {
            errors.required(&path.child("restartPolicy"), "must specify restartPolicy when restart rules are used");
        }
        None => {}
    }
    let path = path.child("restartPolicyRules");
    if rules.len() > MAX_RULES {
        errors.too_long(&path, MAX_RULES);
    }
    for (i, rule) in rules.iter().enumerate() {
        let path = path.index(i);
        required_choice(&rule.action, &["Restart", "RestartAllContainers"], &path.child("action"), errors);
        let Some(codes) = &rule.exit_codes else {
            errors.required(&path.child("exitCodes"), "must be specified");
            continue;
        };
        let path = path.child("exitCodes");
        required_choice(&codes.operator, &["In", "NotIn"], &path.child("operator"), errors);
        if list(&codes.values).len() > MAX_CODES {
            errors.too_long(&path.child("values"), MAX_CODES);
        }
    }
}

fn any(container: &Container, context: &Context<'_>, path: &Path, errors: &mut Errors) {
    required_form(&container.name, name::dns1123_label, &path.child("name"), errors);
    required(text(&container.image), &path.child("image"), errors);
    let policy = text(&container.termination_message_policy);
    let policies = ["File", "FallbackToLogsOnError"];
    required_choice(policy, &policies, &path.child("terminationMessagePolicy"), errors);
    ports(list(&container.ports), &path.child("ports"), errors);
    env::variables(list(&container.env), &path.child("env"), errors);
    env::sources(list(&container.env_from), &path.child("envFrom"), errors);
    mounts(container, context.volumes, &path.child("volumeMounts"), errors);
    devices(container, context.volumes, &path.child("volumeDevices"), errors);
    let pulls = ["Always", "IfNotPresent", "Never"];
    required_choice(text(&container.image_pull_policy), &pulls, &path.child("imagePullPolicy"), errors);
    if let Some(resources) = &container.resources {
        let path = path.child("resources");
        resources::validate(resources, &path, errors);
        claims::validate(list(&resources.claims), context.spec, &path.child("claims"), errors);
    }
    resize_policy(container, context.spec, &path.child("resizePolicy"), errors);
    if let Some(said) = &container.security_context {
        security::container(said, context.spec.host_users != Some(false), &path.child("securityContext"), errors);
    }
}

// Upstream reports on the list what is wrong with its elements.
fn resize_policy(container: &Container, spec: &PodSpec, path: &Path, errors: &mut Errors) {
    let mut seen = BTreeSet::new();
    for (i, policy) in list(&container.resize_policy).iter().enumerate() {
        if !seen.insert(&policy.resource_name) {
            errors.duplicate(&path.index(i), policy.resource_name.as_str());
        }
        required_choice(&policy.resource_name, &["cpu", "memory"], path, errors);
        required_choice(&policy.restart_policy, &["NotRequired", "RestartContainer"], path, errors);
        if text(&spec.restart_policy) == "Never" && policy.restart_policy != "NotRequired" {
            let detail = "must be 'NotRequired' when `restartPolicy` is 'Never'";
            errors.invalid(path, policy.restart_policy.as_str(), detail);
        }
    }
}

fn ports(ports: &[ContainerPort], path: &Path, errors: &mut Errors) {
    let mut names = BTreeSet::new();
    for (i, entry) in ports.iter().enumerate() {
        let path = path.index(i);
        let name = text(&entry.name);
        if !name.is_empty() {
            let wrong = name::port_name(name);
            wrong.iter().for_each(|wrong| errors.invalid(&path.child("name"), name, wrong));
            if wrong.is_empty() && !names.insert(name) {
                errors.duplicate(&path.child("name"), name);
            }
        }
        match entry.container_port {
            0 => errors.required(&path.child("containerPort"), ""),
            number => port(number, &path.child("containerPort"), errors),
        }
        if let Some(number) = entry.host_port.filter(|number| *number != 0) {
            port(number, &path.child("hostPort"), errors);
        }
        required_choice(text(&entry.protocol), &["SCTP", "TCP", "UDP"], &path.child("protocol"), errors);
    }
}

fn unique_host_ports(ports: &[ContainerPort], used: &mut BTreeSet<String>, path: &Path, errors: &mut Errors) {
    for (i, port) in ports.iter().enumerate() {
        let Some(number) = port.host_port.filter(|number| *number != 0) else { continue };
        let key = format!("{}/{}/{number}", text(&port.protocol), text(&port.host_ip));
        if !used.insert(key.clone()) {
            errors.duplicate(&path.index(i).child("hostPort"), key);
        }
    }
}

fn mounts(container: &Container, volumes: &Volumes, path: &Path, errors: &mut Errors) {
    let devices = list(&container.volume_devices);
    let mut targets = BTreeSet::new();
    for (i, mount) in list(&container.volume_mounts).iter().enumerate() {
        let list_path = path;
        let path = path.index(i);
        required(&mount.name, &path.child("name"), errors);
        if !volumes.contains_key(&mount.name) {
            errors.not_found(&path.child("name"), mount.name.as_str());
        }
        required(&mount.mount_path, &path.child("mountPath"), errors);
        if !targets.insert(&mount.mount_path) {
            errors.invalid(&path.child("mountPath"), mount.mount_path.as_str(), "must be unique");
        }
        if devices.iter().any(|device| device.name == mount.name) {
            errors.invalid(&path.child("name"), mount.name.as_str(), "must not already exist in volumeDevices");
        }
        if devices.iter().any(|device| device.device_path == mount.mount_path) {
            let detail = "must not already exist as a path in volumeDevices";
            errors.invalid(&path.child("mountPath"), mount.mount_path.as_str(), detail);
        }
        sub_paths(mount, list_path, &path, errors);
        if let Some(propagation) = &mount.mount_propagation {
            let path = list_path.child("mountPropagation");
            choice(propagation, &["Bidirectional", "HostToContainer", "None"], &path, errors);
            let privileged =
                container.security_context.as_ref().is_some_and(|context| context.privileged == Some(true));
            if propagation == "Bidirectional" && !privileged {
                let detail = "Bidirectional mount propagation is available only to privileged containers";
                errors.forbidden(&path, detail);
            }
        }
        recursive_read_only(mount, &list_path.child("recursiveReadOnly"), errors);
    }
}

fn recursive_read_only(mount: &VolumeMount, path: &Path, errors: &mut Errors) {
    match mount.recursive_read_only.as_deref() {
        None | Some("Disabled") => {}
        Some("Enabled" | "IfPossible") => {
            if mount.read_only != Some(true) {
                errors.forbidden(path, "may only be specified when readOnly is true");
            }
            if mount.mount_propagation.as_deref().is_some_and(|propagation| propagation != "None") {
                errors.forbidden(path, "may only be specified when mountPropagation is None or not specified");
            }
        }
        Some(other) => errors.not_supported(path, other, &["Disabled", "Enabled", "IfPossible"]),
    }
}

// Upstream reports a bad sub-path on the list of mounts, not on the mount.
fn sub_paths(mount: &VolumeMount, list_path: &Path, path: &Path, errors: &mut Errors) {
    if !text(&mount.sub_path).is_empty() {
        local_path(text(&mount.sub_path), &list_path.child("subPath"), errors);
    }
    if !text(&mount.sub_path_expr).is_empty() {
        if !text(&mount.sub_path).is_empty() {
            let detail = "subPathExpr and subPath are mutually exclusive";
            errors.invalid(&path.child("subPathExpr"), text(&mount.sub_path_expr), detail);
        }
        local_path(text(&mount.sub_path_expr), &list_path.child("subPathExpr"), errors);
    }
}

/// A path that leads only downwards.
pub(super) fn local_path(value: &str, path: &Path, errors: &mut Errors) {
    if value.starts_with('/') {
        errors.invalid(path, value, "must be a relative path");
    }
    no_back_steps(value, path, errors);
}

/// A path without `..`.
pub(super) fn no_back_steps(value: &str, path: &Path, errors: &mut Errors) {
    if value.split('/').any(|part| part == "..") {
        errors.invalid(path, value, "must not contain '..'");
    }
}

fn devices(container: &Container, volumes: &Volumes, path: &Path, errors: &mut Errors) {
    let (mut names, mut targets) = (BTreeSet::new(), BTreeSet::new());
    for (i, device) in list(&container.volume_devices).iter().enumerate() {
        let path = path.index(i);
        required(&device.name, &path.child("name"), errors);
        match volumes.get(&device.name) {
            None => errors.not_found(&path.child("name"), device.name.as_str()),
            Some(volume) if volume.persistent_volume_claim.is_none() && volume.ephemeral.is_none() => {
                let detail = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode";
                errors.invalid(&path.child("name"), device.name.as_str(), detail);
            }
            Some(_) => {}
        }
        if !names.insert(&device.name) {
            errors.invalid(&path.child("name"), device.name.as_str(), "must be unique");
        }
        let (at, target) = (path.child("devicePath"), device.device_path.as_str());
        required(target, &at, errors);
        if !targets.insert(target) {
            errors.invalid(&at, target, "must be unique");
        }
        if target.split('/').any(|part| part == "..") {
            errors.invalid(&at, target, "can not contain backsteps ('..')");
        }
        let mounts = list(&container.volume_mounts);
        if mounts.iter().any(|mount| mount.name == device.name) {
            errors.invalid(&path.child("name"), device.name.as_str(), "must not already exist in volumeMounts");
        }
        if mounts.iter().any(|mount| mount.mount_path == target) {
            errors.invalid(&at, target, "must not already exist as a path in volumeMounts");
        }
    }
}
