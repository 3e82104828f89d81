//! What a pod may do to its node.

use k8s_openapi::api::core::v1::{PodSpec, SeccompProfile, SecurityContext};
use kubelab_api::{
    field::{Errors, Path},
    name,
};

use crate::registry::{
    cells::{list, text},
    validation::{choice, json},
};

/// In the node's network a container's port is the node's port.
pub(super) fn host_network(spec: &PodSpec, in_pod: bool, path: &Path, errors: &mut Errors) {
    if spec.host_network != Some(true) {
        return;
    }
    let lists = [("containers", &spec.containers[..]), ("initContainers", list(&spec.init_containers))];
    for (field, containers) in lists {
        for (i, container) in containers.iter().enumerate() {
            let path = path.child(field).index(i).child("ports");
            for (i, port) in list(&container.ports).iter().enumerate() {
                let host = port.host_port.unwrap_or_default();
                // A template's host ports are filled in when its pods are made.
                if (in_pod || host != 0) && host != port.container_port {
                    let detail = "must match `containerPort` when `hostNetwork` is true";
                    errors.invalid(&path.index(i).child("hostPort"), host, detail);
                }
            }
        }
    }
}

fn id(id: Option<i64>, path: &Path, errors: &mut Errors) {
    let Some(id) = id else { return };
    for wrong in name::in_range(id, 0, i32::MAX.into()) {
        errors.invalid(path, id, &wrong);
    }
}

pub(super) fn pod(spec: &PodSpec, spec_path: &Path, path: &Path, errors: &mut Errors) {
    let Some(context) = &spec.security_context else { return };
    id(context.fs_group, &path.child("fsGroup"), errors);
    id(context.run_as_user, &path.child("runAsUser"), errors);
    id(context.run_as_group, &path.child("runAsGroup"), errors);
    for (i, group) in list(&context.supplemental_groups).iter().enumerate() {
        id(Some(*group), &path.child("supplementalGroups").index(i), errors);
    }
    if spec.share_process_namespace == Some(true) && spec.host_pid == Some(true) {
        let detail = "ShareProcessNamespace and HostPID cannot both be enabled";
        errors.invalid(&spec_path.child("shareProcessNamespace"), true, detail);
    }
    if let Some(policy) = &context.fs_group_change_policy {
        choice(policy, &["Always", "OnRootMismatch"], &path.child("fsGroupChangePolicy"), errors);
    }
    seccomp(context.seccomp_profile.as_ref(), &path.child("seccompProfile"), errors);
    for (i, sysctl) in list(&context.sysctls).iter().enumerate() {
        if sysctl.name.is_empty() {
            errors.required(&path.child("sysctls").index(i).child("name"), "");
        }
    }
}

pub(super) fn container(context: &SecurityContext, path: &Path, errors: &mut Errors) {
    id(context.run_as_user, &path.child("runAsUser"), errors);
    id(context.run_as_group, &path.child("runAsGroup"), errors);
    if let Some(mount) = &context.proc_mount {
        choice(mount, &["Default", "Unmasked"], &path.child("procMount"), errors);
    }
    seccomp(context.seccomp_profile.as_ref(), &path.child("seccompProfile"), errors);
    if context.allow_privilege_escalation == Some(false) {
        if context.privileged == Some(true) {
            let detail = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
            errors.invalid(path, json(context), detail);
        }
        let added = context.capabilities.as_ref().map_or(&[][..], |capabilities| list(&capabilities.add));
        if added.iter().any(|capability| capability == "CAP_SYS_ADMIN") {
            let detail = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
            errors.invalid(path, json(context), detail);
        }
    }
}

fn seccomp(profile: Option<&SeccompProfile>, path: &Path, errors: &mut Errors) {
    let Some(profile) = profile else { return };
    let local = text(&profile.localhost_profile);
    match profile.type_.as_str() {
        "" => errors.required(&path.child("type"), "type is required when seccompProfile is set"),
        "Localhost" if local.is_empty() => {
            errors.required(&path.child("localhostProfile"), "must be set when seccomp type is Localhost");
        }
        "Localhost" => {}
        "RuntimeDefault" | "Unconfined" => {
            if profile.localhost_profile.is_some() {
                let detail = "can only be set when seccomp type is Localhost";
                errors.invalid(&path.child("localhostProfile"), local, detail);
            }
        }
        other => errors.not_supported(&path.child("type"), other, &["Localhost", "RuntimeDefault", "Unconfined"]),
    }
}
