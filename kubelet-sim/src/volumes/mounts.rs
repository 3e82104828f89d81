//! What a container sees of its pod's volumes. Source of the rules: `makeMounts` in `pkg/kubelet/kubelet_pods.go` of
//! Kubernetes.

use std::{collections::BTreeMap, path::PathBuf};

use k8s_openapi::api::core::v1::{Container, VolumeMount};

use crate::{pod::env, runtime::Mount, shell::files::normalize};

/// A volume of a pod, on the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Where it is.
    pub path: PathBuf,
    /// The mode of its folder, where that is made.
    pub mode: u32,
    /// Nobody writes to it.
    pub read_only: bool,
    /// Its files are written when somebody looks.
    pub written: bool,
    /// It is a block device.
    pub device: bool,
}

impl Source {
    /// A folder.
    pub fn folder(path: PathBuf, mode: u32, read_only: bool) -> Self {
        Self { path, mode, read_only, written: false, device: false }
    }
}

/// Why a container cannot have a mount; shown as the reason of `CreateContainerConfigError`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It names no volume of the pod.
    #[error("cannot find volume {0:?} to mount into container {1:?}")]
    NoVolume(String, String),
    /// A variable in `subPathExpr` is not set.
    #[error("missing value for {0:?}")]
    NoVariable(String),
    /// A part of a volume must lie in it.
    #[error("error SubPath `{0}` must not be an absolute path")]
    Absolute(String),
    /// A part of a volume must lie in it.
    #[error("unable to provision SubPath `{0}`: must not contain '..'")]
    Outside(String),
}

/// The mounts of a container with this environment.
pub fn mounts(
    container: &Container,
    sources: &BTreeMap<String, Source>,
    env: &[(String, String)],
) -> Result<Vec<Mount>, Error> {
    let env: BTreeMap<String, String> = env.iter().cloned().collect();
    let folders = container.volume_mounts.iter().flatten().map(|mount| one(container, mount, sources, &env));
    let devices = container.volume_devices.iter().flatten().map(|device| {
        let none = || Error::NoVolume(device.name.clone(), container.name.clone());
        let source = sources.get(&device.name).filter(|source| source.device).ok_or_else(none)?;
        Ok(Mount::device(&device.device_path, source.path.clone(), source.read_only))
    });
    folders.chain(devices).collect()
}

fn one(
    container: &Container,
    mount: &VolumeMount,
    sources: &BTreeMap<String, Source>,
    env: &BTreeMap<String, String>,
) -> Result<Mount, Error> {
    let source = sources.get(&mount.name).ok_or_else(|| Error::NoVolume(mount.name.clone(), container.name.clone()))?;
    let part = part(mount, env)?;
    Ok(Mount {
        path: mount.mount_path.clone(),
        source: if part.is_empty() { source.path.clone() } else { source.path.join(&part) },
        mode: source.mode,
        read_only: source.read_only || mount.read_only == Some(true),
        // What was mounted by a part of it stays as it was then.
        volume: (source.written && part.is_empty()).then(|| mount.name.clone()),
        device: false,
    })
}

/// Which part of a volume is mounted; empty for all of it.
fn part(mount: &VolumeMount, env: &BTreeMap<String, String>) -> Result<String, Error> {
    let part = match mount.sub_path_expr.as_deref().filter(|expression| !expression.is_empty()) {
        Some(expression) => {
            let expanded = env::expand(expression, env);
            if let Some((_, rest)) = expanded.split_once("$(") {
                let name = rest.split(')').next().unwrap_or_default();
                return Err(Error::NoVariable(name.to_owned()));
            }
            expanded
        }
        None => mount.sub_path.clone().unwrap_or_default(),
    };
    if part.starts_with('/') {
        return Err(Error::Absolute(part));
    }
    if part.split('/').any(|name| name == "..") {
        return Err(Error::Outside(part));
    }
    Ok(normalize("/", &part).trim_start_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_container_sees_what_it_mounts() {
        let source = |path: &str, written| Source { written, ..Source::folder(path.into(), 0o777, written) };
        let sources = [("data".to_owned(), source("/v/data", false)), ("config".to_owned(), source("/v/config", true))];
        let sources = sources.into();
        let env = [("POD".to_owned(), "web-0".to_owned()), ("UP".to_owned(), "../x".to_owned())];
        let seen = |mount: Value| {
            let mut mount = mount;
            mount["mountPath"] = "/m".into();
            let container = json!({"name": "c", "volumeMounts": [mount]});
            let container: Container = serde_json::from_value(container).unwrap();
            mounts(&container, &sources, &env)
                .map(|mounts| {
                    let Mount { source, read_only, volume, .. } = &mounts[0];
                    format!("{} {read_only} {}", source.display(), volume.as_deref().unwrap_or("-"))
                })
                .map_err(|error| error.to_string())
        };
        for (mount, expected) in [
            (json!({"name": "data"}), Ok("/v/data false -")),
            (json!({"name": "data", "readOnly": true}), Ok("/v/data true -")),
            (json!({"name": "data", "subPath": "a/./b"}), Ok("/v/data/a/b false -")),
            (json!({"name": "data", "subPathExpr": "logs/$(POD)"}), Ok("/v/data/logs/web-0 false -")),
            (json!({"name": "data", "subPathExpr": "$(NONE)"}), Err(r#"missing value for "NONE""#)),
            (
                json!({"name": "data", "subPathExpr": "$(UP)"}),
                Err("unable to provision SubPath `../x`: must not contain '..'"),
            ),
            (json!({"name": "data", "subPath": "/etc"}), Err("error SubPath `/etc` must not be an absolute path")),
            (json!({"name": "config"}), Ok("/v/config true config")),
            (json!({"name": "config", "subPath": "key"}), Ok("/v/config/key true -")),
            (json!({"name": "none"}), Err(r#"cannot find volume "none" to mount into container "c""#)),
        ] {
            assert_eq!(seen(mount.clone()), expected.map(str::to_owned).map_err(str::to_owned), "{mount}");
        }
    }

    #[test]
    fn a_block_device_is_a_file() {
        let disk = Source { device: true, ..Source::folder("/v/disk".into(), 0o660, false) };
        let sources = [("disk".to_owned(), disk), ("data".to_owned(), Source::folder("/v/data".into(), 0o755, false))];
        let devices = |name: &str| {
            let container = json!({"name": "c", "volumeDevices": [{"name": name, "devicePath": "/dev/xvda"}]});
            mounts(&serde_json::from_value(container).unwrap(), &sources.clone().into(), &[])
        };
        assert_eq!(devices("disk"), Ok(vec![Mount::device("/dev/xvda", "/v/disk".into(), false)]));
        assert_eq!(devices("data"), Err(Error::NoVolume("data".into(), "c".into())));
    }
}
