//! The checks that the level `restricted` adds. Source: `check_*.go` in `k8s.io/pod-security-admission/policy`, in the
//! order of their files.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{PodSpec, Volume};

use super::{
    Row, Subject, Violation,
    baseline::{has_user_namespace, is_seccomp, proc_mount, seccomp},
    containers::{self, Container, Setters, all, named, plural, quoted},
};

const fn row(versions: &'static [(u32, super::Check)]) -> Row {
    Row { versions, overridden_since: None }
}

pub(super) const CHECKS: &[Row] = &[
    row(&[(8, privilege_escalation), (25, privilege_escalation_but_windows)]),
    row(&[(22, capabilities), (25, capabilities_but_windows)]),
    row(&[(35, proc_mount)]),
    row(&[(0, volumes)]),
    row(&[(0, run_as_non_root), (35, run_as_non_root_unless_user_namespace)]),
    row(&[(23, run_as_user), (35, run_as_user_unless_user_namespace)]),
    row(&[(19, seccomp_set), (25, seccomp_set_but_windows)]),
];

fn is_windows(spec: &PodSpec) -> bool {
    spec.os.as_ref().is_some_and(|os| os.name == "windows")
}

fn privilege_escalation(subject: Subject<'_>) -> Option<Violation> {
    let bad = named(subject.spec, |container| {
        container.context.and_then(|context| context.allow_privilege_escalation) != Some(false)
    });
    let detail = format!("{} must set securityContext.allowPrivilegeEscalation=false", containers::containers(&bad));
    (!bad.is_empty()).then(|| Violation::new("allowPrivilegeEscalation != false", detail))
}

fn privilege_escalation_but_windows(subject: Subject<'_>) -> Option<Violation> {
    if is_windows(subject.spec) { None } else { privilege_escalation(subject) }
}

/// The capabilities that a container adds.
pub(super) fn added<'a>(container: &Container<'a>) -> impl Iterator<Item = &'a str> {
    let capabilities = container.context.and_then(|context| context.capabilities.as_ref());
    capabilities.into_iter().flat_map(|all| all.add.iter().flatten()).map(String::as_str)
}

fn capabilities(subject: Subject<'_>) -> Option<Violation> {
    let keeps = named(subject.spec, |container| {
        let dropped = container.context.and_then(|context| context.capabilities.as_ref()?.drop.as_ref());
        !dropped.is_some_and(|dropped| dropped.iter().any(|name| name == "ALL"))
    });
    let (mut adds, mut names) = (Vec::new(), BTreeSet::new());
    for container in all(subject.spec) {
        let more: Vec<_> = added(&container).filter(|name| *name != "NET_BIND_SERVICE").collect();
        if !more.is_empty() {
            adds.push(container.name);
            names.extend(more);
        }
    }
    let mut details = Vec::new();
    if !keeps.is_empty() {
        details
            .push(format!("{} must set securityContext.capabilities.drop=[\"ALL\"]", containers::containers(&keeps)));
    }
    if !adds.is_empty() {
        details.push(format!(
            "{} must not include {} in securityContext.capabilities.add",
            containers::containers(&adds),
            quoted(names)
        ));
    }
    (!details.is_empty()).then(|| Violation::new("unrestricted capabilities", details.join("; ")))
}

fn capabilities_but_windows(subject: Subject<'_>) -> Option<Violation> {
    if is_windows(subject.spec) { None } else { capabilities(subject) }
}

fn volumes(subject: Subject<'_>) -> Option<Violation> {
    let (mut bad, mut types) = (Vec::new(), BTreeSet::new());
    for volume in subject.spec.volumes.iter().flatten() {
        if let Some(type_) = restricted_type(volume) {
            bad.push(volume.name.as_str());
            types.insert(type_);
        }
    }
    let detail = format!(
        "{} {} {} {} {}",
        plural("volume", "volumes", bad.len()),
        quoted(&bad),
        plural("uses", "use", bad.len()),
        plural("restricted volume type", "restricted volume types", types.len()),
        quoted(types)
    );
    (!bad.is_empty()).then(|| Violation::new("restricted volume types", detail))
}

/// The type of a volume that is not among those allowed.
fn restricted_type(volume: &Volume) -> Option<&'static str> {
    let allowed = volume.config_map.is_some()
        || volume.csi.is_some()
        || volume.downward_api.is_some()
        || volume.empty_dir.is_some()
        || volume.ephemeral.is_some()
        || volume.image.is_some()
        || volume.persistent_volume_claim.is_some()
        || volume.projected.is_some()
        || volume.secret.is_some();
    let types = [
        (volume.host_path.is_some(), "hostPath"),
        (volume.gce_persistent_disk.is_some(), "gcePersistentDisk"),
        (volume.aws_elastic_block_store.is_some(), "awsElasticBlockStore"),
        (volume.git_repo.is_some(), "gitRepo"),
        (volume.nfs.is_some(), "nfs"),
        (volume.iscsi.is_some(), "iscsi"),
        (volume.glusterfs.is_some(), "glusterfs"),
        (volume.rbd.is_some(), "rbd"),
        (volume.flex_volume.is_some(), "flexVolume"),
        (volume.cinder.is_some(), "cinder"),
        (volume.cephfs.is_some(), "cephfs"),
        (volume.flocker.is_some(), "flocker"),
        (volume.fc.is_some(), "fc"),
        (volume.azure_file.is_some(), "azureFile"),
        (volume.vsphere_volume.is_some(), "vsphereVolume"),
        (volume.quobyte.is_some(), "quobyte"),
        (volume.azure_disk.is_some(), "azureDisk"),
        (volume.portworx_volume.is_some(), "portworxVolume"),
        (volume.scale_io.is_some(), "scaleIO"),
        (volume.storageos.is_some(), "storageos"),
    ];
    (!allowed).then(|| types.iter().find(|(is_set, _)| *is_set).map_or("unknown", |(_, name)| *name))
}

fn run_as_non_root(subject: Subject<'_>) -> Option<Violation> {
    let own = subject.spec.security_context.as_ref().and_then(|context| context.run_as_non_root);
    let of = |container: &Container<'_>| container.context.and_then(|context| context.run_as_non_root);
    let bad = Setters {
        pod: own == Some(false),
        containers: named(subject.spec, |container| of(container) == Some(false)),
        ..Setters::default()
    };
    let reason = "runAsNonRoot != true";
    if !bad.is_empty() {
        let detail = format!("{} must not set securityContext.runAsNonRoot=false", bad.told());
        return Some(Violation::new(reason, detail));
    }
    let unsaid = named(subject.spec, |container| of(container).is_none() && own != Some(true));
    let detail = format!("pod or {} must set securityContext.runAsNonRoot=true", containers::containers(&unsaid));
    (!unsaid.is_empty()).then(|| Violation::new(reason, detail))
}

fn run_as_non_root_unless_user_namespace(subject: Subject<'_>) -> Option<Violation> {
    if has_user_namespace(subject) { None } else { run_as_non_root(subject) }
}

fn run_as_user(subject: Subject<'_>) -> Option<Violation> {
    let own = subject.spec.security_context.as_ref().and_then(|context| context.run_as_user);
    let bad = Setters {
        pod: own == Some(0),
        containers: named(subject.spec, |container| {
            container.context.and_then(|context| context.run_as_user) == Some(0)
        }),
        ..Setters::default()
    };
    let detail = format!("{} must not set runAsUser=0", bad.told());
    (!bad.is_empty()).then(|| Violation::new("runAsUser=0", detail))
}

fn run_as_user_unless_user_namespace(subject: Subject<'_>) -> Option<Violation> {
    if has_user_namespace(subject) { None } else { run_as_user(subject) }
}

fn seccomp_set(subject: Subject<'_>) -> Option<Violation> {
    if let Some(violation) = seccomp(subject) {
        return Some(violation);
    }
    let own = subject.spec.security_context.as_ref().and_then(|context| context.seccomp_profile.as_ref());
    let is_set = own.is_some_and(|profile| is_seccomp(&profile.type_));
    let unsaid = named(subject.spec, |container| {
        !is_set && container.context.is_none_or(|context| context.seccomp_profile.is_none())
    });
    let detail = format!(
        "pod or {} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"",
        containers::containers(&unsaid)
    );
    (!unsaid.is_empty()).then(|| Violation::new("seccompProfile", detail))
}

fn seccomp_set_but_windows(subject: Subject<'_>) -> Option<Violation> {
    if is_windows(subject.spec) { None } else { seccomp_set(subject) }
}
