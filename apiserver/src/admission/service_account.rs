//! Gives a pod an account, and the account's token as a volume.
//! Source: `plugin/pkg/admission/serviceaccount/admission.go`.

use k8s_openapi::api::core::v1::{
    ConfigMapProjection, Container, DownwardAPIProjection, DownwardAPIVolumeFile, EnvVar, KeyToPath,
    ObjectFieldSelector, Pod, PodSpec, ProjectedVolumeSource, ServiceAccount, ServiceAccountTokenProjection, Volume,
    VolumeMount, VolumeProjection,
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
            mount_token(spec);
        }
        if spec.image_pull_secrets.as_ref().is_none_or(Vec::is_empty) {
            spec.image_pull_secrets = account.image_pull_secrets.filter(|secrets| !secrets.is_empty());
        }
        Ok(())
    }

    fn validate(
        &self,
        attributes: &Attributes,
        object: Option<&dyn AnyObject>,
        _old: Option<&dyn AnyObject>,
    ) -> Result<(), Error> {
        let new = attributes.operation == Operation::Create && attributes.is_about::<Pod>("");
        let ephemeral = attributes.is_about::<Pod>("ephemeralcontainers");
        let Some(pod) = object.filter(|_| new || ephemeral).and_then(|object| object.downcast_ref::<Pod>()) else {
            return Ok(());
        };
        let mirrors = pod.metadata.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(MIRROR));
        let refusal = match &pod.spec {
            Some(spec) if mirrors => mirror_refusal(spec),
            Some(spec) => {
                let name = spec.service_account_name.as_deref().unwrap_or_default();
                let key = format!("{}/{name}", attributes.request.namespace);
                let account: Option<ServiceAccount> = attributes.lookup("core/serviceaccounts", &key)?;
                account.filter(limits_secrets).and_then(|account| secret_refusal(spec, &account))
            }
            None => None,
        };
        refusal.map_or(Ok(()), |message| Err(attributes.forbidden(object, &message)))
    }
}

fn mirror_refusal(spec: &PodSpec) -> Option<String> {
    let volumes = || spec.volumes.iter().flatten();
    let projects_token = |volume: &Volume| {
        let sources = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
        sources.into_iter().any(|source| source.service_account_token.is_some())
    };
    if spec.service_account_name.as_ref().is_some_and(|name| !name.is_empty()) {
        Some("a mirror pod may not reference service accounts".into())
    } else if !secret_names(spec).is_empty() {
        Some("a mirror pod may not reference secrets".into())
    } else if volumes().any(projects_token) {
        Some("a mirror pod may not use service account token volume projections".into())
    } else {
        None
    }
}

/// The account says that its pods may use only the secrets that it names.
fn limits_secrets(account: &ServiceAccount) -> bool {
    let said = account.metadata.annotations.as_ref().and_then(|all| all.get("kubernetes.io/enforce-mountable-secrets"));
    said.is_some_and(|said| matches!(said.as_str(), "1" | "t" | "T" | "true" | "TRUE" | "True"))
}

/// The secrets that volumes and environments use.
pub(super) fn secret_names(spec: &PodSpec) -> Vec<&str> {
    let of_volume = |volume: &'_ Volume| volume.secret.is_some();
    let volumes = spec.volumes.iter().flatten().filter(|volume| of_volume(volume));
    let mut names: Vec<&str> = volumes.filter_map(|volume| volume.secret.as_ref()?.secret_name.as_deref()).collect();
    for container in spec.init_containers.iter().flatten().chain(&spec.containers) {
        names.extend(env_secrets(container.env.as_deref()).map(|(_, secret)| secret));
        let from = container.env_from.iter().flatten();
        names.extend(from.filter_map(|from| Some(from.secret_ref.as_ref()?.name.as_str())));
    }
    names.extend(spec.image_pull_secrets.iter().flatten().map(|secret| secret.name.as_str()));
    names
}

/// Variables that come from secrets.
fn env_secrets(env: Option<&[EnvVar]>) -> impl Iterator<Item = (&str, &str)> {
    let of = |variable: &'_ EnvVar| variable.value_from.as_ref().is_some_and(|from| from.secret_key_ref.is_some());
    env.into_iter().flatten().filter(move |variable| of(variable)).filter_map(|variable| {
        Some((variable.name.as_str(), variable.value_from.as_ref()?.secret_key_ref.as_ref()?.name.as_str()))
    })
}

/// Source: `limitSecretReferences`, `limitEphemeralContainerSecretReferences`.
fn secret_refusal(spec: &PodSpec, account: &ServiceAccount) -> Option<String> {
    let name = account.metadata.name.as_deref().unwrap_or_default();
    let named = |secret: &str| account.secrets.iter().flatten().any(|allowed| allowed.name.as_deref() == Some(secret));
    let tail = format!("is not allowed because service account {name} does not reference that");
    for volume in spec.volumes.iter().flatten() {
        let secret = volume.secret.as_ref().and_then(|secret| secret.secret_name.as_deref());
        if let Some(secret) = secret.filter(|secret| !named(secret)) {
            return Some(format!("volume with secret.secretName={secret:?} {tail} secret"));
        }
    }
    let init = spec.init_containers.iter().flatten().map(|c| ("init container", c.name.as_str(), c.env.as_deref()));
    let containers = spec.containers.iter().map(|c| ("container", c.name.as_str(), c.env.as_deref()));
    let ephemeral = spec.ephemeral_containers.iter().flatten();
    let ephemeral = ephemeral.map(|c| ("ephemeral container", c.name.as_str(), c.env.as_deref()));
    for (what, container, env) in init.chain(containers).chain(ephemeral) {
        if let Some((variable, secret)) = env_secrets(env).find(|(_, secret)| !named(secret)) {
            return Some(format!(
                "{what} {container} with envVar {variable} referencing secret.secretName={secret:?} {tail} secret"
            ));
        }
    }
    let pulls = |secret: &str| account.image_pull_secrets.iter().flatten().any(|allowed| allowed.name == secret);
    let mut used = spec.image_pull_secrets.iter().flatten().enumerate();
    let (index, secret) = used.find(|(_, secret)| !pulls(&secret.name))?;
    Some(format!("imagePullSecrets[{index}].name={:?} {tail} imagePullSecret", secret.name))
}

fn mount_token(spec: &mut PodSpec) {
    let present = spec.volumes.iter().flatten().find(|volume| volume.name.starts_with(VOLUME));
    let has_volume = present.is_some();
    let volume = present.map_or_else(|| name::generate(VOLUME, rand::random()), |volume| volume.name.clone());
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
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn an_account_may_limit_the_secrets_of_its_pods() {
        let account: ServiceAccount = serde_json::from_value(json!({
            "metadata": {"name": "robot", "annotations": {"kubernetes.io/enforce-mountable-secrets": "true"}},
            "secrets": [{"name": "good"}], "imagePullSecrets": [{"name": "pull"}],
        }))
        .unwrap();
        assert!(limits_secrets(&account));
        let env = |secret: &str| json!([{"name": "E", "valueFrom": {"secretKeyRef": {"name": secret, "key": "k"}}}]);
        for (spec, wanted) in [
            (json!({"containers": [{"name": "c", "env": env("good")}]}), None),
            (
                json!({"containers": [], "volumes": [{"name": "v", "secret": {"secretName": "bad"}}]}),
                Some(
                    "volume with secret.secretName=\"bad\" is not allowed because service account robot does not reference \
                      that secret",
                ),
            ),
            (
                json!({"containers": [], "initContainers": [{"name": "i", "env": env("bad")}]}),
                Some(
                    "init container i with envVar E referencing secret.secretName=\"bad\" is not allowed because service \
                      account robot does not reference that secret",
                ),
            ),
            (
                json!({"containers": [], "imagePullSecrets": [{"name": "pull"}, {"name": "other"}]}),
                Some(
                    "imagePullSecrets[1].name=\"other\" is not allowed because service account robot does not reference \
                      that imagePullSecret",
                ),
            ),
        ] {
            let spec: PodSpec = serde_json::from_value(spec).unwrap();
            assert_eq!(secret_refusal(&spec, &account).as_deref(), wanted);
        }
    }

    #[test]
    fn a_mirror_pod_refers_to_nothing() {
        for (spec, wanted) in [
            (json!({"containers": []}), None),
            (
                json!({"containers": [], "serviceAccountName": "robot"}),
                Some("a mirror pod may not reference service accounts"),
            ),
            (
                json!({"containers": [], "volumes": [{"name": "v", "secret": {"secretName": "s"}}]}),
                Some("a mirror pod may not reference secrets"),
            ),
        ] {
            let spec: PodSpec = serde_json::from_value(spec).unwrap();
            assert_eq!(mirror_refusal(&spec).as_deref(), wanted);
        }
    }

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
        mount_token(&mut spec);
        let once = spec.clone();
        mount_token(&mut spec);
        assert_eq!(spec, once);
        let volumes = spec.volumes.unwrap_or_default();
        assert!(matches!(&volumes[..], [volume] if volume.name.starts_with(VOLUME) && volume.projected.is_some()));
        let mounts = |container: &Container| container.volume_mounts.as_ref().map_or(0, Vec::len);
        assert_eq!(spec.containers.iter().map(mounts).collect::<Vec<_>>(), [1, 1]);
    }
}
