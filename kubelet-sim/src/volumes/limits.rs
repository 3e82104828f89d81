//! How much may be in a pod's volumes. Source of the rules and the wording: `localStorageEviction` in
//! `pkg/kubelet/eviction/eviction_manager.go` of Kubernetes.

use std::{fs, path::Path};

use k8s_openapi::api::core::v1::{Pod, Volume};
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

/// Why a pod is evicted, if what is in one of its volumes exceeds that volume's limit; `folder` is where they are.
pub fn exceeded(pod: &Pod, folder: &Path) -> Option<String> {
    limited(pod).into_iter().find_map(|(volume, limit)| {
        let used = i64::try_from(used(&folder.join(&volume.name))).unwrap_or(i64::MAX);
        (used > limit.value())
            .then(|| format!("Usage of EmptyDir volume {:?} exceeds the limit {:?}. ", volume.name, limit.to_string()))
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
    use serde_json::json;

    use super::*;

    #[test]
    fn a_full_volume_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let volumes = json!([{"name": "free", "emptyDir": {}}, {"name": "cache", "emptyDir": {"sizeLimit": "1Ki"}}]);
        let pod: Pod = serde_json::from_value(json!({"spec": {"containers": [], "volumes": volumes}})).unwrap();
        assert_eq!(exceeded(&pod, folder.path()), None);
        for (volume, size, expected) in [
            ("free", 5000, None),
            ("cache", 1024, None),
            ("cache", 1025, Some(r#"Usage of EmptyDir volume "cache" exceeds the limit "1Ki". "#)),
        ] {
            fs::create_dir_all(folder.path().join(volume).join("a")).unwrap();
            fs::write(folder.path().join(volume).join("a/file"), vec![0; size]).unwrap();
            assert_eq!(exceeded(&pod, folder.path()).as_deref(), expected, "{volume} {size}");
        }
    }
}
