//! The names by which attached volumes are known. Source: `getAttachmentName` in `pkg/volume/csi/csi_attacher.go`,
//! `GetUniqueVolumeName` in `pkg/volume/util`, `SanitizeDriverName` in `kubernetes-csi/external-attacher`.

use std::fmt::Write as _;

use k8s_openapi::api::core::v1::{CSIPersistentVolumeSource, PersistentVolume};
use ring::digest::{SHA256, digest};

const PREFIX: &str = "csi-";

/// Where a volume is, if it is of the kind that is attached.
pub fn source(volume: &PersistentVolume) -> Option<&CSIPersistentVolumeSource> {
    volume.spec.as_ref()?.csi.as_ref()
}

/// The VolumeAttachment of a volume at a node.
pub fn attachment(source: &CSIPersistentVolumeSource, node: &str) -> String {
    let hash = digest(&SHA256, format!("{}{}{node}", source.volume_handle, source.driver).as_bytes());
    let mut name = PREFIX.to_owned();
    for byte in hash.as_ref() {
        // Writing to a String cannot fail.
        let _ = write!(name, "{byte:02x}");
    }
    name
}

/// The name was made by [`attachment`]: others are other people's.
pub fn is_attachment(name: &str) -> bool {
    let is_hex = |hash: &str| hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    name.strip_prefix(PREFIX).is_some_and(is_hex)
}

/// How a node calls a volume in its status.
pub fn unique(source: &CSIPersistentVolumeSource) -> String {
    format!("kubernetes.io/csi/{}^{}", source.driver, source.volume_handle)
}

/// The finalizer by which an attacher keeps volumes and attachments until they are detached.
pub fn finalizer(driver: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let mut name: String = driver.chars().map(plain).collect();
    if name.ends_with('-') {
        name.push('X');
    }
    format!("external-attacher/{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_upstreams() {
        let source = CSIPersistentVolumeSource {
            driver: "csi.example.com".into(),
            volume_handle: "pvc-1".into(),
            ..Default::default()
        };
        // $ printf pvc-1csi.example.comnode-1 | sha256sum
        let name = attachment(&source, "node-1");
        assert_eq!(name, "csi-f0d69eda56dfe9ea8586d189daae7fa89add6711d9033a35b699766adb2ebaef");
        assert!(is_attachment(&name) && !is_attachment("csi-mine"));
        assert_eq!(unique(&source), "kubernetes.io/csi/csi.example.com^pvc-1");
        assert_eq!(finalizer("csi.example.com"), "external-attacher/csi-example-com");
        assert_eq!(finalizer("a."), "external-attacher/a-X");
    }
}
