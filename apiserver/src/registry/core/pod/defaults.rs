//! Defaults of pods and of pod templates. Source: `pkg/apis/core/v1/defaults.go`.

use k8s_openapi::{
    api::core::v1::{
        Container, DownwardAPIVolumeFile, EphemeralContainer, HTTPGetAction, LifecycleHandler, ObjectFieldSelector,
        Pod, PodSpec, PodTemplateSpec, Probe, ResourceFieldSelector, Volume,
    },
    apimachinery::pkg::api::resource::Quantity,
};

use super::ephemeral;
use crate::registry::{
    core::resources,
    defaults::{each, missing, nonzero, text},
};

/// Defaults that pods get and templates don't.
pub fn pod(pod: &mut Pod) {
    let spec = pod.spec.get_or_insert_default();
    pod_spec(spec);
    for container in spec.containers.iter_mut().chain(each(&mut spec.init_containers)) {
        if let Some(resources) = &mut container.resources {
            resources::requests_from_limits(resources);
        }
    }
    missing(&mut spec.enable_service_links, true);
    if spec.host_network == Some(true) {
        for container in spec.containers.iter_mut().chain(each(&mut spec.init_containers)) {
            for port in each(&mut container.ports) {
                nonzero(&mut port.host_port, port.container_port);
            }
        }
    }
}

/// Defaults of a workload's pod template.
pub fn template(template: &mut PodTemplateSpec) {
    pod_spec(template.spec.get_or_insert_default());
}

/// Defaults of a pod's spec, in a pod or in a template.
pub fn pod_spec(spec: &mut PodSpec) {
    text(&mut spec.dns_policy, "ClusterFirst");
    text(&mut spec.restart_policy, "Always");
    missing(&mut spec.security_context, Default::default());
    missing(&mut spec.termination_grace_period_seconds, 30);
    text(&mut spec.scheduler_name, "default-scheduler");
    // The deprecated name is an alias in both directions; the new one wins.
    if spec.service_account_name.as_deref().is_none_or(str::is_empty) {
        spec.service_account_name = spec.service_account.clone();
    }
    spec.service_account = spec.service_account_name.clone();

    spec.containers.iter_mut().chain(each(&mut spec.init_containers)).for_each(container);
    each(&mut spec.ephemeral_containers).for_each(ephemeral_container);
    each(&mut spec.volumes).for_each(volume);
    if let Some(overhead) = &mut spec.overhead {
        resources::canonical(overhead);
    }
    if let Some(resources) = &mut spec.resources {
        resources::default(resources);
    }
}

fn container(container: &mut Container) {
    let policy = if is_latest(container.image.as_deref().unwrap_or_default()) { "Always" } else { "IfNotPresent" };
    text(&mut container.image_pull_policy, policy);
    text(&mut container.termination_message_path, "/dev/termination-log");
    text(&mut container.termination_message_policy, "File");
    resources::default(container.resources.get_or_insert_default());
    for port in each(&mut container.ports) {
        text(&mut port.protocol, "TCP");
    }
    for variable in each(&mut container.env) {
        let Some(source) = &mut variable.value_from else { continue };
        source.field_ref.iter_mut().for_each(field_ref);
        source.resource_field_ref.iter_mut().for_each(resource_field_ref);
    }
    let probes = [&mut container.liveness_probe, &mut container.readiness_probe, &mut container.startup_probe];
    probes.into_iter().flatten().for_each(probe);
    if let Some(lifecycle) = &mut container.lifecycle {
        [&mut lifecycle.post_start, &mut lifecycle.pre_stop].into_iter().flatten().for_each(handler);
    }
}

/// The image has the tag `latest`, said or meant.
pub fn is_latest(image: &str) -> bool {
    let (name, digest) = image.split_once('@').map_or((image, None), |(name, digest)| (name, Some(digest)));
    let last = name.rsplit('/').next().unwrap_or_default();
    match last.split_once(':') {
        Some((_, tag)) => tag == "latest",
        None => digest.is_none() && !last.is_empty(),
    }
}

fn probe(probe: &mut Probe) {
    nonzero(&mut probe.timeout_seconds, 1);
    nonzero(&mut probe.period_seconds, 10);
    nonzero(&mut probe.success_threshold, 1);
    nonzero(&mut probe.failure_threshold, 3);
    probe.http_get.iter_mut().for_each(http_get);
    if let Some(grpc) = &mut probe.grpc {
        missing(&mut grpc.service, String::new());
    }
}

fn handler(handler: &mut LifecycleHandler) {
    handler.http_get.iter_mut().for_each(http_get);
}

fn http_get(action: &mut HTTPGetAction) {
    text(&mut action.path, "/");
    text(&mut action.scheme, "HTTP");
}

fn field_ref(field: &mut ObjectFieldSelector) {
    text(&mut field.api_version, "v1");
}

/// Go writes a quantity that nobody set as `0`, which stands for one unit.
fn resource_field_ref(field: &mut ResourceFieldSelector) {
    field.divisor.get_or_insert_with(|| Quantity("0".into()));
}

fn downward_file(file: &mut DownwardAPIVolumeFile) {
    file.field_ref.iter_mut().for_each(field_ref);
    file.resource_field_ref.iter_mut().for_each(resource_field_ref);
}

/// Files of ConfigMaps, Secrets and the downward API are `rw-r--r--`.
const FILE_MODE: i32 = 0o644;

fn volume(volume: &mut Volume) {
    if (Volume { name: volume.name.clone(), ..Default::default() }) == *volume {
        volume.empty_dir = Some(Default::default());
    }
    if let Some(source) = &mut volume.secret {
        missing(&mut source.default_mode, FILE_MODE);
    }
    if let Some(source) = &mut volume.config_map {
        missing(&mut source.default_mode, FILE_MODE);
    }
    if let Some(source) = &mut volume.downward_api {
        missing(&mut source.default_mode, FILE_MODE);
        each(&mut source.items).for_each(downward_file);
    }
    if let Some(source) = &mut volume.projected {
        missing(&mut source.default_mode, FILE_MODE);
        for projection in each(&mut source.sources) {
            if let Some(token) = &mut projection.service_account_token {
                missing(&mut token.expiration_seconds, 60 * 60);
            }
            if let Some(downward) = &mut projection.downward_api {
                each(&mut downward.items).for_each(downward_file);
            }
        }
    }
    if let Some(source) = &mut volume.host_path {
        missing(&mut source.type_, String::new());
    }
    if let Some(source) = &mut volume.image {
        let policy = if is_latest(source.reference.as_deref().unwrap_or_default()) { "Always" } else { "IfNotPresent" };
        text(&mut source.pull_policy, policy);
    }
    if let Some(claim) = volume.ephemeral.as_mut().and_then(|source| source.volume_claim_template.as_mut()) {
        missing(&mut claim.spec.volume_mode, "Filesystem".into());
    }
    if let Some(source) = &mut volume.iscsi {
        text(&mut source.iscsi_interface, "default");
    }
    if let Some(source) = &mut volume.rbd {
        text(&mut source.pool, "rbd");
        text(&mut source.user, "admin");
        text(&mut source.keyring, "/etc/ceph/keyring");
    }
    if let Some(source) = &mut volume.scale_io {
        text(&mut source.storage_mode, "ThinProvisioned");
        text(&mut source.fs_type, "xfs");
    }
    if let Some(source) = &mut volume.azure_disk {
        missing(&mut source.caching_mode, "ReadWrite".into());
        missing(&mut source.kind, "Shared".into());
        missing(&mut source.fs_type, "ext4".into());
        missing(&mut source.read_only, false);
    }
}

fn ephemeral_container(target: &mut EphemeralContainer) {
    let (mut inner, name) = ephemeral::split(std::mem::take(target));
    container(&mut inner);
    *target = ephemeral::join(inner, name);
}
