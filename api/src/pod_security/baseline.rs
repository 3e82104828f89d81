//! The checks of the level `baseline`. Source: `check_*.go` in `k8s.io/pod-security-admission/policy`, in the order of
//! their files.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{LifecycleHandler, Probe, SELinuxOptions};

use super::{
    Row, Subject, Violation,
    containers::{self, Setters, all, named, plural, quoted},
};

const fn always(check: &'static [(u32, super::Check)]) -> Row {
    Row { versions: check, overridden_since: None }
}

pub(super) const CHECKS: &[Row] = &[
    always(&[(0, app_armor)]),
    Row { versions: &[(0, capabilities)], overridden_since: Some(22) },
    always(&[(0, host_namespaces)]),
    Row { versions: &[(0, host_paths)], overridden_since: Some(0) },
    always(&[(0, host_ports)]),
    always(&[(34, probe_hosts)]),
    always(&[(0, privileged)]),
    Row { versions: &[(0, proc_mount), (35, proc_mount_unless_user_namespace)], overridden_since: Some(35) },
    always(&[(0, se_linux), (31, se_linux_1_31)]),
    Row { versions: &[(0, seccomp_annotations), (19, seccomp)], overridden_since: Some(19) },
    always(&[(0, sysctls_1_0), (27, sysctls_1_27), (29, sysctls_1_29), (32, sysctls_1_32), (37, sysctls_1_37)]),
    always(&[(0, host_process)]),
];

const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";

fn app_armor(subject: Subject<'_>) -> Option<Violation> {
    let fit = |type_: &str| matches!(type_, "RuntimeDefault" | "Localhost");
    let mut bad = Setters::default();
    let own = subject.spec.security_context.as_ref().and_then(|context| context.app_armor_profile.as_ref());
    if let Some(profile) = own.filter(|profile| !fit(&profile.type_)) {
        bad.pod = true;
        bad.values.insert(&profile.type_);
    }
    for container in all(subject.spec) {
        let profile = container.context.and_then(|context| context.app_armor_profile.as_ref());
        if let Some(profile) = profile.filter(|profile| !fit(&profile.type_)) {
            bad.containers.push(container.name);
            bad.values.insert(&profile.type_);
        }
    }
    let annotations: Vec<_> = subject
        .annotations
        .into_iter()
        .flatten()
        .filter(|(key, value)| {
            let fit = value.is_empty() || *value == "runtime/default" || value.starts_with("localhost/");
            key.starts_with(APP_ARMOR) && !fit
        })
        .map(|(key, value)| format!("{key}={value:?}"))
        .collect();
    if bad.is_empty() && annotations.is_empty() {
        return None;
    }
    let what = (!annotations.is_empty()).then(|| plural("annotation", "annotations", annotations.len()));
    let count = bad.values.len() + annotations.len();
    let values: Vec<&str> = bad.values.iter().copied().chain(annotations.iter().map(String::as_str)).collect();
    // As Go's %q, which quotes the quotes within.
    let values: Vec<_> = values.iter().map(|value| format!("{value:?}")).collect();
    Some(Violation::new(
        plural("forbidden AppArmor profile", "forbidden AppArmor profiles", count),
        format!("{} must not set AppArmor profile type to {}", bad.told_with(what), values.join(", ")),
    ))
}

const CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

fn capabilities(subject: Subject<'_>) -> Option<Violation> {
    let (mut bad, mut added) = (Vec::new(), BTreeSet::new());
    for container in all(subject.spec) {
        let more: Vec<_> = super::restricted::added(&container).filter(|name| !CAPABILITIES.contains(name)).collect();
        if !more.is_empty() {
            bad.push(container.name);
            added.extend(more);
        }
    }
    let detail = format!(
        "{} must not include {} in securityContext.capabilities.add",
        containers::containers(&bad),
        quoted(added)
    );
    (!bad.is_empty()).then(|| Violation::new("non-default capabilities", detail))
}

fn host_namespaces(subject: Subject<'_>) -> Option<Violation> {
    let spec = subject.spec;
    let shared = [("hostNetwork", spec.host_network), ("hostPID", spec.host_pid), ("hostIPC", spec.host_ipc)];
    let shared: Vec<_> =
        shared.iter().filter(|(_, set)| *set == Some(true)).map(|(name, _)| format!("{name}=true")).collect();
    (!shared.is_empty()).then(|| Violation::new("host namespaces", shared.join(", ")))
}

fn host_paths(subject: Subject<'_>) -> Option<Violation> {
    let volumes = subject.spec.volumes.iter().flatten();
    let names: Vec<_> =
        volumes.filter(|volume| volume.host_path.is_some()).map(|volume| volume.name.as_str()).collect();
    let detail = format!("{} {}", plural("volume", "volumes", names.len()), quoted(&names));
    (!names.is_empty()).then(|| Violation::new("hostPath volumes", detail))
}

fn host_ports(subject: Subject<'_>) -> Option<Violation> {
    let (mut bad, mut ports) = (Vec::new(), BTreeSet::new());
    for container in all(subject.spec) {
        let own: Vec<_> = container.ports.iter().filter_map(|port| port.host_port).filter(|port| *port != 0).collect();
        if !own.is_empty() {
            bad.push(container.name);
            // Sorted as texts.
            ports.extend(own.iter().map(ToString::to_string));
        }
    }
    let detail = format!(
        "{} {} {} {}",
        containers::containers(&bad),
        plural("uses", "use", bad.len()),
        plural("hostPort", "hostPorts", ports.len()),
        ports.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
    );
    (!bad.is_empty()).then(|| Violation::new("hostPort", detail))
}

fn probe_hosts(subject: Subject<'_>) -> Option<Violation> {
    let (mut bad, mut hosts) = (BTreeSet::new(), BTreeSet::new());
    for container in all(subject.spec) {
        let lifecycle = container.lifecycle;
        let hooks = [
            lifecycle.and_then(|lifecycle| lifecycle.post_start.as_ref()),
            lifecycle.and_then(|lifecycle| lifecycle.pre_stop.as_ref()),
        ];
        let probes = container.probes.into_iter().flatten().flat_map(of_probe);
        let own: Vec<_> = probes.chain(hooks.into_iter().flatten().flat_map(of_hook)).collect();
        if !own.is_empty() {
            bad.insert(container.name);
            hosts.extend(own);
        }
    }
    let detail = format!(
        "{} {} {} {}",
        containers::containers(&bad.iter().copied().collect::<Vec<_>>()),
        plural("uses", "use", bad.len()),
        plural("probe or lifecycle host", "probe or lifecycle hosts", hosts.len()),
        quoted(&hosts)
    );
    (!bad.is_empty()).then(|| Violation::new("probe or lifecycle host", detail))
}

fn of_probe(probe: &Probe) -> impl Iterator<Item = &str> {
    let hosts = [
        probe.http_get.as_ref().and_then(|get| get.host.as_deref()),
        probe.tcp_socket.as_ref().and_then(|socket| socket.host.as_deref()),
    ];
    hosts.into_iter().flatten().filter(|host| !host.is_empty())
}

fn of_hook(hook: &LifecycleHandler) -> impl Iterator<Item = &str> {
    let hosts = [
        hook.http_get.as_ref().and_then(|get| get.host.as_deref()),
        hook.tcp_socket.as_ref().and_then(|socket| socket.host.as_deref()),
    ];
    hosts.into_iter().flatten().filter(|host| !host.is_empty())
}

fn privileged(subject: Subject<'_>) -> Option<Violation> {
    let bad =
        named(subject.spec, |container| container.context.and_then(|context| context.privileged).unwrap_or_default());
    let detail = format!("{} must not set securityContext.privileged=true", containers::containers(&bad));
    (!bad.is_empty()).then(|| Violation::new("privileged", detail))
}

pub(super) fn proc_mount(subject: Subject<'_>) -> Option<Violation> {
    let (mut bad, mut types) = (Vec::new(), BTreeSet::new());
    for container in all(subject.spec) {
        let type_ = container.context.and_then(|context| context.proc_mount.as_deref());
        if let Some(type_) = type_.filter(|type_| *type_ != "Default") {
            bad.push(container.name);
            types.insert(type_);
        }
    }
    let detail =
        format!("{} must not set securityContext.procMount to {}", containers::containers(&bad), quoted(types));
    (!bad.is_empty()).then(|| Violation::new("procMount", detail))
}

/// The pod's users are not the host's. Source: KEP-127.
pub(super) fn has_user_namespace(subject: Subject<'_>) -> bool {
    subject.spec.host_users == Some(false)
}

fn proc_mount_unless_user_namespace(subject: Subject<'_>) -> Option<Violation> {
    if has_user_namespace(subject) { None } else { proc_mount(subject) }
}

const SE_LINUX: &[&str] = &["", "container_t", "container_init_t", "container_kvm_t"];
const SE_LINUX_1_31: &[&str] = &["", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"];

fn se_linux(subject: Subject<'_>) -> Option<Violation> {
    se_linux_of(subject, SE_LINUX)
}

fn se_linux_1_31(subject: Subject<'_>) -> Option<Violation> {
    se_linux_of(subject, SE_LINUX_1_31)
}

fn se_linux_of(subject: Subject<'_>, allowed: &[&str]) -> Option<Violation> {
    let mut bad = Setters::default();
    let (mut user, mut role) = (false, false);
    let is_set = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
    let bad_type = |options: &'_ SELinuxOptions| {
        let type_ = options.type_.as_deref().unwrap_or_default();
        !allowed.contains(&type_)
    };
    let is_bad = |options: &SELinuxOptions| bad_type(options) || is_set(&options.user) || is_set(&options.role);
    let own = subject.spec.security_context.as_ref().and_then(|context| context.se_linux_options.as_ref());
    let own = own.filter(|options| is_bad(options));
    bad.pod = own.is_some();
    let mut options: Vec<&SELinuxOptions> = own.into_iter().collect();
    for container in all(subject.spec) {
        let own = container.context.and_then(|context| context.se_linux_options.as_ref());
        if let Some(own) = own.filter(|options| is_bad(options)) {
            bad.containers.push(container.name);
            options.push(own);
        }
    }
    for options in options {
        if bad_type(options) {
            bad.values.insert(options.type_.as_deref().unwrap_or_default());
        }
        user |= is_set(&options.user);
        role |= is_set(&options.role);
    }
    if bad.is_empty() {
        return None;
    }
    let mut what = Vec::new();
    if !bad.values.is_empty() {
        what.push(format!("{} {}", plural("type", "types", bad.values.len()), quoted(&bad.values)));
    }
    if user {
        what.push("user may not be set".into());
    }
    if role {
        what.push("role may not be set".into());
    }
    let detail = format!("{} set forbidden securityContext.seLinuxOptions: {}", bad.told(), what.join("; "));
    Some(Violation::new("seLinuxOptions", detail))
}

const SECCOMP_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";

fn seccomp_annotations(subject: Subject<'_>) -> Option<Violation> {
    let keys = all(subject.spec).map(|container| format!("{SECCOMP_CONTAINER}{}", container.name));
    let keys: BTreeSet<_> = std::iter::once(SECCOMP_POD.to_owned()).chain(keys).collect();
    let fit = |value: &str| matches!(value, "runtime/default" | "docker/default") || value.starts_with("localhost/");
    let bad: BTreeSet<_> = keys
        .iter()
        .filter_map(|key| Some((key, subject.annotations?.get(key)?)))
        .filter(|(_, value)| !fit(value))
        .map(|(key, value)| format!("{key}={value:?}"))
        .collect();
    let all: Vec<_> = bad.iter().map(String::as_str).collect();
    let detail = format!("forbidden {} {}", plural("annotation", "annotations", all.len()), all.join(", "));
    (!all.is_empty()).then(|| Violation::new("seccompProfile", detail))
}

pub(super) fn is_seccomp(type_: &str) -> bool {
    matches!(type_, "RuntimeDefault" | "Localhost")
}

pub(super) fn seccomp(subject: Subject<'_>) -> Option<Violation> {
    let mut bad = Setters::default();
    let own = subject.spec.security_context.as_ref().and_then(|context| context.seccomp_profile.as_ref());
    if let Some(profile) = own.filter(|profile| !is_seccomp(&profile.type_)) {
        bad.pod = true;
        bad.values.insert(&profile.type_);
    }
    for container in all(subject.spec) {
        let profile = container.context.and_then(|context| context.seccomp_profile.as_ref());
        if let Some(profile) = profile.filter(|profile| !is_seccomp(&profile.type_)) {
            bad.containers.push(container.name);
            bad.values.insert(&profile.type_);
        }
    }
    let detail = format!("{} must not set securityContext.seccompProfile.type to {}", bad.told(), quoted(&bad.values));
    (!bad.is_empty()).then(|| Violation::new("seccompProfile", detail))
}

/// Those that are safe, and since when.
const SYSCTLS: &[(u32, &str)] = &[
    (0, "kernel.shm_rmid_forced"),
    (0, "net.ipv4.ip_local_port_range"),
    (0, "net.ipv4.tcp_syncookies"),
    (0, "net.ipv4.ping_group_range"),
    (0, "net.ipv4.ip_unprivileged_port_start"),
    (27, "net.ipv4.ip_local_reserved_ports"),
    (29, "net.ipv4.tcp_keepalive_time"),
    (29, "net.ipv4.tcp_fin_timeout"),
    (29, "net.ipv4.tcp_keepalive_intvl"),
    (29, "net.ipv4.tcp_keepalive_probes"),
    (32, "net.ipv4.tcp_rmem"),
    (32, "net.ipv4.tcp_wmem"),
    (37, "net.ipv4.tcp_slow_start_after_idle"),
    (37, "net.ipv4.tcp_notsent_lowat"),
];

fn sysctls_1_0(subject: Subject<'_>) -> Option<Violation> {
    sysctls(subject, 0)
}
fn sysctls_1_27(subject: Subject<'_>) -> Option<Violation> {
    sysctls(subject, 27)
}
fn sysctls_1_29(subject: Subject<'_>) -> Option<Violation> {
    sysctls(subject, 29)
}
fn sysctls_1_32(subject: Subject<'_>) -> Option<Violation> {
    sysctls(subject, 32)
}
fn sysctls_1_37(subject: Subject<'_>) -> Option<Violation> {
    sysctls(subject, 37)
}

fn sysctls(subject: Subject<'_>, minor: u32) -> Option<Violation> {
    let safe = |name: &str| SYSCTLS.iter().any(|(since, safe)| *since <= minor && *safe == name);
    let set = subject.spec.security_context.iter().flat_map(|context| context.sysctls.iter().flatten());
    let bad: Vec<_> = set.map(|sysctl| sysctl.name.as_str()).filter(|name| !safe(name)).collect();
    (!bad.is_empty()).then(|| Violation::new("forbidden sysctls", bad.join(", ")))
}

fn host_process(subject: Subject<'_>) -> Option<Violation> {
    let own = subject.spec.security_context.as_ref().and_then(|context| context.windows_options.as_ref());
    let bad = Setters {
        pod: own.and_then(|options| options.host_process).unwrap_or_default(),
        containers: named(subject.spec, |container| {
            let options = container.context.and_then(|context| context.windows_options.as_ref());
            options.and_then(|options| options.host_process).unwrap_or_default()
        }),
        ..Setters::default()
    };
    let detail = format!("{} must not set securityContext.windowsOptions.hostProcess=true", bad.told());
    (!bad.is_empty()).then(|| Violation::new("hostProcess", detail))
}
