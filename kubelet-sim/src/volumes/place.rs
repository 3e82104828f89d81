//! Where volumes are on disk.

use std::path::PathBuf;

use k8s_openapi::api::core::v1::{NFSVolumeSource, PersistentVolume};

use crate::shell::files::normalize;

/// The folders that a node has for volumes.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// What containers see as the node's own file system.
    pub host: PathBuf,
    /// What is the same on all nodes of a lab.
    pub shared: PathBuf,
}

impl Places {
    /// A path of the node.
    pub fn host_path(&self, path: &str) -> PathBuf {
        self.host.join(normalize("/", path).trim_start_matches('/'))
    }

    /// What an NFS server exports: the same wherever it is mounted.
    pub fn nfs(&self, source: &NFSVolumeSource) -> PathBuf {
        let path = normalize("/", &source.path);
        self.shared.join("nfs").join(component(&source.server)).join(path.trim_start_matches('/'))
    }

    /// A persistent volume. A driver's volume is known by its handle, whichever object stands for it.
    pub fn persistent(&self, volume: &PersistentVolume) -> PathBuf {
        let spec = volume.spec.as_ref();
        if let Some(csi) = spec.and_then(|spec| spec.csi.as_ref()) {
            return self.csi(&csi.driver, &csi.volume_handle);
        }
        if let Some(local) = spec.and_then(|spec| spec.local.as_ref()) {
            return self.host_path(&local.path);
        }
        if let Some(host) = spec.and_then(|spec| spec.host_path.as_ref()) {
            return self.host_path(&host.path);
        }
        if let Some(nfs) = spec.and_then(|spec| spec.nfs.as_ref()) {
            let source = NFSVolumeSource { path: nfs.path.clone(), server: nfs.server.clone(), read_only: None };
            return self.nfs(&source);
        }
        self.shared.join("other").join(component(volume.metadata.name.as_deref().unwrap_or_default()))
    }

    fn csi(&self, driver: &str, handle: &str) -> PathBuf {
        self.shared.join(component(driver)).join(component(handle))
    }
}

/// A name that leads to no other folder.
fn component(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-._".contains(c) { c } else { '_' };
    let name: String = name.chars().map(plain).collect();
    if name.trim_matches('.').is_empty() { format!("_{name}") } else { name }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_volume_has_its_place() {
        let places = Places { host: "/node/host".into(), shared: "/lab/volumes".into() };
        let spec = |source: &str, body: Value| json!({"metadata": {"name": "pv"}, "spec": {source: body}});
        for (volume, expected) in [
            (
                spec("csi", json!({"driver": "csi.kubelab.dev", "volumeHandle": "pvc-1"})),
                "/lab/volumes/csi.kubelab.dev/pvc-1",
            ),
            (spec("csi", json!({"driver": "d", "volumeHandle": "../../x"})), "/lab/volumes/d/.._.._x"),
            (spec("csi", json!({"driver": "d", "volumeHandle": ".."})), "/lab/volumes/d/_.."),
            (spec("hostPath", json!({"path": "/mnt/../../data"})), "/node/host/data"),
            (spec("local", json!({"path": "/mnt/disk"})), "/node/host/mnt/disk"),
            (spec("nfs", json!({"server": "nas", "path": "/exports/a"})), "/lab/volumes/nfs/nas/exports/a"),
            (spec("rbd", json!({"image": "i", "monitors": []})), "/lab/volumes/other/pv"),
        ] {
            let parsed: PersistentVolume = serde_json::from_value(volume.clone()).unwrap();
            assert_eq!(places.persistent(&parsed), PathBuf::from(expected), "{volume}");
        }
    }
}
