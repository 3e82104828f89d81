//! What nodes keep of a volume: a folder named by its driver and its handle.

use std::{
    fs,
    io::ErrorKind,
    path::{Component, Path, PathBuf},
};

use k8s_openapi::api::core::v1::PersistentVolume;

/// Deletes it. What cannot be deleted is told of and left: it is in nobody's way, as no volume has the same handle again.
pub fn delete(folder: &Path, volume: &PersistentVolume) {
    let Some(place) = place(folder, volume) else { return };
    if let Err(error) = fs::remove_dir_all(&place)
        && error.kind() != ErrorKind::NotFound
    {
        tracing::warn!(place = %place.display(), %error, "cannot delete a volume's content");
    }
}

fn place(folder: &Path, volume: &PersistentVolume) -> Option<PathBuf> {
    let source = volume.spec.as_ref()?.csi.as_ref()?;
    let is_plain = |name: &str| {
        let mut parts = Path::new(name).components();
        matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None))
    };
    let plain = is_plain(&source.driver) && is_plain(&source.volume_handle);
    plain.then(|| folder.join(&source.driver).join(&source.volume_handle))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    #[test]
    fn nothing_but_the_volume_is_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let made = |name: &str| {
            fs::create_dir_all(folder.path().join(name)).unwrap();
            fs::write(folder.path().join(name).join("file"), "").unwrap();
        };
        made("d/pvc-1");
        made("d/pvc-2");
        for handle in ["pvc-1", "..", "../../d", "", "none"] {
            let csi = json!({"driver": "d", "volumeHandle": handle});
            delete(folder.path(), &serde_json::from_value(json!({"spec": {"csi": csi}})).unwrap());
        }
        assert!(!folder.path().join("d/pvc-1").exists() && folder.path().join("d/pvc-2/file").exists());
    }
}
