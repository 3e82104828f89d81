//! How much may be in a pod's volumes. Source of the rules and the wording: `localStorageEviction` in
//! `pkg/kubelet/eviction/eviction_manager.go` of Kubernetes.

use std::{fs, path::Path};

use k8s_openapi::api::core::v1::{Container, Pod, Volume};
use kubelab_api::Quantity;

/// The emptyDir volumes of a pod that have a limit, and it.
pub fn limited(pod: &Pod) -> Vec<(&Volume, Quantity)> {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let limit = |volume: &Volume| -> Option<Quantity> {
        let limit: Quantity = volume.empty_dir.as_ref()?.size_limit.as_ref()?.0.parse().ok()?;
        (limit.signum() > 0).then_some(limit)
    };
    volumes.filter_map(|volume| Some((volume, limit(volume)?))).collect()
}

/// The containers of a pod that may store only so much, and how much.
fn containers(pod: &Pod) -> Vec<(&str, Quantity)> {
    let limit = |container: &Container| -> Option<Quantity> {
        container.resources.as_ref()?.limits.as_ref()?.get("ephemeral-storage")?.0.parse().ok()
    };
    let all = pod.spec.iter().flat_map(|spec| &spec.containers);
    all.filter_map(|container| Some((container.name.as_str(), limit(container)?))).collect()
}

/// Whether anything of a pod has a limit.
pub fn has_any(pod: &Pod) -> bool {
    !limited(pod).is_empty() || !containers(pod).is_empty()
}

/// Why a pod is evicted, if it stores more than it may: in one of its volumes, which are in `volumes`, in all of them and its
/// containers' own files together, or in one container's own files, which are in `own` under its name.
pub fn exceeded(pod: &Pod, volumes: &Path, own: &Path) -> Option<String> {
    let measure = |folder: &Path| i64::try_from(used(folder)).unwrap_or(i64::MAX);
    let full = limited(pod).into_iter().find_map(|(volume, limit)| {
        (measure(&volumes.join(&volume.name)) > limit.value())
            .then(|| format!("Usage of EmptyDir volume {:?} exceeds the limit {:?}. ", volume.name, limit.to_string()))
    });
    if full.is_some() {
        return full;
    }
    let limits = containers(pod);
    let has_all = pod.spec.as_ref().is_some_and(|spec| spec.containers.len() == limits.len());
    let total: i64 = limits.iter().map(|(_, limit)| limit.value()).sum();
    if has_all && !limits.is_empty() {
        let folders = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
        let shared: i64 = folders
            .filter(|volume| volume.empty_dir.as_ref().is_some_and(|source| source.medium.as_deref() != Some("Memory")))
            .map(|volume| measure(&volumes.join(&volume.name)))
            .sum();
        if shared.saturating_add(measure(own)) > total {
            let total = limits.iter().fold(Quantity::default(), |sum, (_, limit)| sum + *limit);
            return Some(format!("Pod ephemeral local storage usage exceeds the total limit of containers {total}. "));
        }
    }
    limits.into_iter().find_map(|(name, limit)| {
        (measure(&own.join(name)) > limit.value())
            .then(|| format!("Container {name} exceeded its local ephemeral storage limit {:?}. ", limit.to_string()))
    })
}

/// How many bytes are in a folder.
pub fn used(folder: &Path) -> u64 {
    let mut bytes = 0;
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(about) if about.is_dir() => folders.push(entry.path()),
                Ok(about) if about.is_file() => bytes += about.len(),
                _ => {}
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_full_volume_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let volumes = json!([{"name": "free", "emptyDir": {}}, {"name": "cache", "emptyDir": {"sizeLimit": "1Ki"}}]);
        let limited = |name: &str| json!({"name": name, "resources": {"limits": {"ephemeral-storage": "4Ki"}}});
        let pod = |containers: Value| -> Pod {
            serde_json::from_value(json!({"spec": {"containers": containers, "volumes": volumes}})).unwrap()
        };
        let (some, all) = (pod(json!([limited("a"), {"name": "b"}])), pod(json!([limited("a"), limited("b")])));
        let (volumes, own) = (folder.path().join("volumes"), folder.path().join("containers"));
        let put = |file: &Path, size: usize| {
            fs::create_dir_all(file).unwrap();
            fs::write(file.join("file"), vec![0; size]).unwrap();
        };
        let (cache, free) = (volumes.join("cache/a"), volumes.join("free"));
        for (place, size, of_some, of_all) in [
            (&free, 5000, None, None),
            (&cache, 1024, None, None),
            (
                &own.join("a"),
                4000,
                None,
                Some("Pod ephemeral local storage usage exceeds the total limit of containers 8Ki. "),
            ),
            (&free, 1, None, None),
            (
                &own.join("a"),
                4097,
                Some("Container a exceeded its local ephemeral storage limit \"4Ki\". "),
                Some("Container a exceeded its local ephemeral storage limit \"4Ki\". "),
            ),
            (
                &cache,
                1025,
                Some("Usage of EmptyDir volume \"cache\" exceeds the limit \"1Ki\". "),
                Some("Usage of EmptyDir volume \"cache\" exceeds the limit \"1Ki\". "),
            ),
        ] {
            put(place, size);
            assert_eq!(exceeded(&some, &volumes, &own).as_deref(), of_some, "{place:?} {size}");
            assert_eq!(exceeded(&all, &volumes, &own).as_deref(), of_all, "{place:?} {size}");
        }
    }
}
