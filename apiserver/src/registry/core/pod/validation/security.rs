//! What a pod may do to its node.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{
    AppArmorProfile, PodSpec, SeccompProfile, SecurityContext, Sysctl, WindowsSecurityContextOptions,
};
use kubelab_api::{
    field::{Errors, Path},
    name,
};

use crate::registry::{
    cells::list,
    validation::{choice, form, json},
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

/// A pod with users of its own does not share the node's namespaces. Source: KEP-127.
pub(super) fn host_users(spec: &PodSpec, path: &Path, errors: &mut Errors) {
    if spec.host_users != Some(false) {
        return;
    }
    for (field, shared) in [("hostNetwork", spec.host_network), ("HostPID", spec.host_pid), ("HostIPC", spec.host_ipc)]
    {
        if shared == Some(true) {
            errors.forbidden(&path.child(field), "when `pod.Spec.HostUsers` is false");
        }
    }
}

pub(super) fn pod(spec: &PodSpec, path: &Path, errors: &mut Errors) {
    let Some(context) = &spec.security_context else { return };
    id(context.fs_group, &path.child("fsGroup"), errors);
    id(context.run_as_user, &path.child("runAsUser"), errors);
    id(context.run_as_group, &path.child("runAsGroup"), errors);
    for (i, group) in list(&context.supplemental_groups).iter().enumerate() {
        id(Some(*group), &path.child("supplementalGroups").index(i), errors);
    }
    if spec.share_process_namespace == Some(true) && spec.host_pid == Some(true) {
        let detail = "ShareProcessNamespace and HostPID cannot both be enabled";
        errors.invalid(&path.child("shareProcessNamespace"), true, detail);
    }
    sysctls(list(&context.sysctls), spec, &path.child("sysctls"), errors);
    if let Some(policy) = &context.fs_group_change_policy {
        choice(policy, &["Always", "OnRootMismatch"], &path.child("fsGroupChangePolicy"), errors);
    }
    seccomp(context.seccomp_profile.as_ref(), &path.child("seccompProfile"), errors);
    windows(context.windows_options.as_ref(), &path.child("windowsOptions"), errors);
    app_armor(context.app_armor_profile.as_ref(), &path.child("appArmorProfile"), errors);
    if let Some(policy) = &context.supplemental_groups_policy {
        choice(policy, &["Merge", "Strict"], &path.child("supplementalGroupsPolicy"), errors);
    }
    if let Some(policy) = &context.se_linux_change_policy {
        choice(policy, &["MountOption", "Recursive"], &path.child("seLinuxChangePolicy"), errors);
    }
}

/// Source: `validateSysctls`, and the prefixes of `component-helpers/node/util/sysctl`.
fn sysctls(sysctls: &[Sysctl], spec: &PodSpec, path: &Path, errors: &mut Errors) {
    const MAX: usize = 253;
    const SEGMENT: &str = "[a-z0-9]([-_a-z0-9]*[a-z0-9])?";
    let edge = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let is_segment = |segment: &str| {
        let bytes = segment.as_bytes();
        edge(bytes.first()) && edge(bytes.last()) && bytes.iter().all(|byte| edge(Some(byte)) || b"-_".contains(byte))
    };
    let mut names = BTreeSet::new();
    for (i, sysctl) in sysctls.iter().enumerate() {
        let path = path.index(i).child("name");
        let name = sysctl.name.as_str();
        if name.is_empty() {
            errors.required(&path, "");
        } else if name.len() > MAX || !name.split(['.', '/']).all(is_segment) {
            let form = format!(r"^({SEGMENT}[\./])*{SEGMENT}$");
            errors.invalid(&path, name, &format!("must have at most {MAX} characters and match regex {form}"));
        } else if !names.insert(name) {
            errors.duplicate(&path, name);
        }
        let dotted = name.replace('/', ".");
        let of_node = [
            ("hostNetwork", spec.host_network, &["net."][..]),
            ("hostIPC", spec.host_ipc, &["kernel.shm", "kernel.msg", "fs.mqueue."][..]),
        ];
        for (field, shared, prefixes) in of_node {
            let is_its = prefixes.iter().any(|prefix| dotted.starts_with(prefix))
                || field == "hostIPC" && dotted == "kernel.sem";
            if shared == Some(true) && is_its {
                errors.invalid(&path, name, &format!("may not be specified when '{field}' is true"));
            }
        }
    }
}

/// Source: `ValidateAppArmorProfileField`.
fn app_armor(profile: Option<&AppArmorProfile>, path: &Path, errors: &mut Errors) {
    const MAX: usize = 4095;
    let Some(profile) = profile else { return };
    let at = path.child("localhostProfile");
    match (profile.type_.as_str(), profile.localhost_profile.as_deref()) {
        ("Localhost", None | Some("")) => errors.required(&at, "must be set when AppArmor type is Localhost"),
        ("Localhost", Some(file)) => {
            if file.trim() != file {
                errors.invalid(&at, file, "must not be padded with whitespace");
            }
            if file.len() > MAX {
                errors.too_long(&at, MAX);
            }
        }
        ("RuntimeDefault" | "Unconfined", Some(file)) => {
            errors.invalid(&at, file, "can only be set when AppArmor type is Localhost");
        }
        ("RuntimeDefault" | "Unconfined", None) => {}
        ("", _) => errors.required(&path.child("type"), "type is required when appArmorProfile is set"),
        (other, _) => {
            errors.not_supported(&path.child("type"), other, &["Localhost", "RuntimeDefault", "Unconfined"]);
        }
    }
}

/// Source: `validateWindowsSecurityContextOptions`.
fn windows(options: Option<&WindowsSecurityContextOptions>, path: &Path, errors: &mut Errors) {
    const MAX_KIB: usize = 64;
    let Some(options) = options else { return };
    if let Some(name) = &options.gmsa_credential_spec_name {
        form(name, name::dns1123_subdomain, &path.child("gmsaCredentialSpecName"), errors);
    }
    if let Some(spec) = &options.gmsa_credential_spec {
        let at = path.child("gmsaCredentialSpec");
        if spec.is_empty() {
            errors.invalid(&at, "", "gmsaCredentialSpec cannot be an empty string");
        } else if spec.len() > MAX_KIB * 1024 {
            errors.invalid(&at, spec.as_str(), &format!("gmsaCredentialSpec size must be under {MAX_KIB} KiB"));
        }
    }
    if let Some(said) = &options.run_as_user_name {
        user_name(said, &path.child("runAsUserName"), errors);
    }
}

fn user_name(said: &str, path: &Path, errors: &mut Errors) {
    let mut wrong = |detail: &str| errors.invalid(path, said, &format!("runAsUserName{detail}"));
    if said.is_empty() {
        return wrong(" cannot be an empty string");
    }
    if said.chars().any(|c| c.is_ascii_control()) {
        return wrong(" cannot contain control characters");
    }
    if said.matches('\\').count() > 1 {
        return wrong(" cannot contain more than one backslash");
    }
    let (domain, user) = said.split_once('\\').map_or((None, said), |(domain, user)| (Some(domain), user));
    if let Some(domain) = domain {
        let net_bios = (1..=15).contains(&domain.len())
            && !domain.starts_with('.')
            && !domain.contains(['/', ':', '*', '?', '"', '<', '>', '|']);
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        if domain.len() >= 256 {
            wrong("'s Domain length must be under 256 characters");
        }
        if !net_bios && !domain.split('.').all(label) {
            wrong("'s Domain doesn't match the NetBios nor the DNS format");
        }
    }
    if user.is_empty() {
        wrong("'s User cannot be empty");
    } else if user.len() > 104 {
        wrong("'s User length must not be longer than 104 characters");
    }
    if !user.is_empty() && user.chars().all(|c| matches!(c, '.' | ' ')) {
        wrong("'s User cannot contain only periods or spaces");
    }
    if user.contains(['"', '/', '\\', ':', ';', '|', '=', ',', '+', '*', '?', '<', '>', '@', '[', ']']) {
        wrong(r#"'s User cannot contain the following characters: "/\:;|=,+*?<>@[]"#);
    }
}

pub(super) fn container(context: &SecurityContext, host_users: bool, path: &Path, errors: &mut Errors) {
    id(context.run_as_user, &path.child("runAsUser"), errors);
    id(context.run_as_group, &path.child("runAsGroup"), errors);
    if let Some(mount) = &context.proc_mount {
        choice(mount, &["Default", "Unmasked"], &path.child("procMount"), errors);
        if host_users && mount == "Unmasked" {
            let detail = "`hostUsers` must be false to use `Unmasked`";
            errors.invalid(&path.child("procMount"), mount.as_str(), detail);
        }
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
    windows(context.windows_options.as_ref(), &path.child("windowsOptions"), errors);
    app_armor(context.app_armor_profile.as_ref(), &path.child("appArmorProfile"), errors);
}

fn seccomp(profile: Option<&SeccompProfile>, path: &Path, errors: &mut Errors) {
    let Some(profile) = profile else { return };
    let at = path.child("localhostProfile");
    match profile.type_.as_str() {
        "" => errors.required(&path.child("type"), "type is required when seccompProfile is set"),
        "Localhost" | "RuntimeDefault" | "Unconfined" => {}
        other => errors.not_supported(&path.child("type"), other, &["Localhost", "RuntimeDefault", "Unconfined"]),
    }
    match (profile.type_.as_str(), &profile.localhost_profile) {
        ("Localhost", None) => errors.required(&at, "must be set when seccomp type is Localhost"),
        ("Localhost", Some(file)) => super::container::local_path(file, &at, errors),
        (_, Some(_)) => errors.invalid(&at, json(profile), "can only be set when seccomp type is Localhost"),
        _ => {}
    }
}
