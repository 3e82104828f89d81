//! Gives a pod an account, and the account's token as a volume.
//! Source: `plugin/pkg/admission/serviceaccount/admission.go`.

use k8s_openapi::api::core::v1::{
    ConfigMapProjection, Container, DownwardAPIProjection, DownwardAPIVolumeFile, KeyToPath, ObjectFieldSelector, Pod,
    PodSpec, ProjectedVolumeSource, ServiceAccount, ServiceAccountTokenProjection, Volume, VolumeMount,
    VolumeProjection,
};
use kubelab_api::{Error, name};

use super::{Attributes, Operation, Plugin};
use crate::registry::object::AnyObject;

const DEFAULT: &str = "default";
const VOLUME: &str = "kube-api-access-";
const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// An hour and a little: the extra seconds mark tokens that the server may extend. Source: `WarnOnlyBoundTokenExpirationPeriod`.
const TOKEN_SECONDS: i64 = 3607;
/// Pods that show what a kubelet runs by itself have no account.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// See the module.
pub struct ServiceAccountPlugin;

impl Plugin for ServiceAccountPlugin {
    fn admit(
        &self,
        attributes: &Attributes,
        object: &mut dyn AnyObject,
        _old: Option<&dyn AnyObject>,
    ) -> Result<(), Error> {
        if attributes.operation != Operation::Create || !attributes.is_about::<Pod>("") {
            return Ok(());
        }
        let Some(pod) = object.downcast_mut::<Pod>() else { return Ok(()) };
        if pod.metadata.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(MIRROR)) {
            return Ok(());
        }
        let spec = pod.spec.get_or_insert_default();
        let name = spec.service_account_name.clone().filter(|name| !name.is_empty()).unwrap_or_else(|| DEFAULT.into());
        spec.service_account_name = Some(name.clone());
        spec.service_account = Some(name.clone());
        let namespace = &attributes.request.namespace;
        let found: Option<ServiceAccount> =
            attributes.lookup("core/serviceaccounts", &format!("{namespace}/{name}"))?;
        let Some(account) = found else {
            let message =
                format!("error looking up service account {namespace}/{name}: serviceaccount {name:?} not found");
            return Err(attributes.forbidden(Some(object), &message));
        };
        let automount = spec.automount_service_account_token.or(account.automount_service_account_token);
        if automount.unwrap_or(true) {
            mount_token(spec, attributes.draw.random);
        }
        if spec.image_pull_secrets.as_ref().is_none_or(Vec::is_empty) {
            spec.image_pull_secrets = account.image_pull_secrets.filter(|secrets| !secrets.is_empty());
        }
        Ok(())
    }
}

fn mount_token(spec: &mut PodSpec, random: u64) {
    let present = spec.volumes.iter().flatten().find(|volume| volume.name.starts_with(VOLUME));
    let has_volume = present.is_some();
    let volume = present.map_or_else(|| name::generate(VOLUME, random), |volume| volume.name.clone());
    let mut mounted = false;
    for container in spec.init_containers.iter_mut().flatten().chain(&mut spec.containers) {
        mounted |= mount(container, &volume);
    }
    if mounted && !has_volume {
        spec.volumes.get_or_insert_default().push(token_volume(volume));
    }
}

/// Mounts the volume unless something else is mounted there.
fn mount(container: &mut Container, volume: &str) -> bool {
    let mounts = container.volume_mounts.get_or_insert_default();
    if mounts.iter().any(|mount| mount.mount_path == MOUNT_PATH) {
        return false;
    }
    mounts.push(VolumeMount {
        name: volume.to_owned(),
        read_only: Some(true),
        mount_path: MOUNT_PATH.into(),
        ..Default::default()
    });
    true
}

fn token_volume(name: String) -> Volume {
    let token = ServiceAccountTokenProjection {
        expiration_seconds: Some(TOKEN_SECONDS),
        path: "token".into(),
        ..Default::default()
    };
    let authority = ConfigMapProjection {
        name: "kube-root-ca.crt".into(),
        items: Some(vec![KeyToPath { key: "ca.crt".into(), path: "ca.crt".into(), ..Default::default() }]),
        optional: None,
    };
    let namespace = DownwardAPIVolumeFile {
        path: "namespace".into(),
        field_ref: Some(ObjectFieldSelector {
            api_version: Some("v1".into()),
            field_path: "metadata.namespace".into(),
        }),
        ..Default::default()
    };
    let sources = vec![
        VolumeProjection { service_account_token: Some(token), ..Default::default() },
        VolumeProjection { config_map: Some(authority), ..Default::default() },
        VolumeProjection {
            downward_api: Some(DownwardAPIProjection { items: Some(vec![namespace]) }),
            ..Default::default()
        },
    ];
    let projected = ProjectedVolumeSource { default_mode: Some(0o644), sources: Some(sources), ..Default::default() };
    Volume { name, projected: Some(projected), ..Default::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_mounted_once() {
        let mut spec = PodSpec {
            containers: vec![
                Container { name: "a".into(), ..Default::default() },
                Container {
                    name: "own".into(),
                    volume_mounts: Some(vec![VolumeMount { mount_path: MOUNT_PATH.into(), ..Default::default() }]),
                    ..Default::default()
                },
            ],
            ..Default::default()
        };
        mount_token(&mut spec, 7);
        let once = spec.clone();
        mount_token(&mut spec, 8);
        assert_eq!(spec, once);
        let volumes = spec.volumes.unwrap_or_default();
        assert!(matches!(&volumes[..], [volume] if volume.name.starts_with(VOLUME) && volume.projected.is_some()));
        let mounts = |container: &Container| container.volume_mounts.as_ref().map_or(0, Vec::len);
        assert_eq!(spec.containers.iter().map(mounts).collect::<Vec<_>>(), [1, 1]);
    }
}
