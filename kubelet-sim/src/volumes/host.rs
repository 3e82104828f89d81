//! What a node's own file system has, as hostPath volumes show it: a folder of the node's data, laid out as a small Linux.
//! Source of the checks: `pkg/volume/hostpath/host_path.go` of Kubernetes.

use std::{fs, io, os::unix::fs::symlink, path::Path};

/// What is there on every node.
const FOLDERS: [&str; 13] = [
    "dev",
    "etc/kubernetes/manifests",
    "home",
    "opt/cni/bin",
    "proc",
    "root",
    "run/containerd",
    "sys/fs/cgroup",
    "tmp",
    "usr/lib",
    "var/lib/docker/containers",
    "var/lib/kubelet/pods",
    "var/log/containers",
];
const FILES: [(&str, &str); 8] = [
    ("dev/fuse", ""),
    ("dev/kmsg", ""),
    ("dev/null", ""),
    ("etc/machine-id", "00000000000000000000000000000000\n"),
    ("etc/localtime", "TZif"),
    ("etc/os-release", "NAME=\"kubelab\"\nID=kubelab\nPRETTY_NAME=\"kubelab (simulated)\"\n"),
    ("run/containerd/containerd.sock", ""),
    ("run/docker.sock", ""),
];

/// Lays out the file system, unless it was done before. `logs` is where the logs of pods are, from the file system's root.
pub fn prepare(root: &Path, node: &str, logs: &str) -> io::Result<()> {
    if root.join("etc/hostname").exists() {
        return Ok(());
    }
    for folder in FOLDERS {
        fs::create_dir_all(root.join(folder))?;
    }
    for (file, text) in FILES {
        fs::write(root.join(file), text)?;
    }
    for (link, target) in [("var/run", "../run"), ("var/log/pods", logs)] {
        match symlink(target, root.join(link)) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    fs::write(root.join("etc/hostname"), format!("{node}\n"))
}

/// Checks what a hostPath volume says of a path, and makes what it says that should be made; `shown` is the path as the
/// volume names it.
pub fn check(place: &Path, shown: &str, type_: &str) -> Result<(), String> {
    let failed = |why: &str| Err(format!("hostPath type check failed: {shown} is not {why}"));
    let made = |result: io::Result<()>| result.map_err(|error| format!("cannot make {shown}: {error}"));
    let (is_folder, is_file) = (place.is_dir(), place.is_file());
    // Nothing but files and folders is on a simulated node; which of them are something else on a real one, their paths say.
    let is_device = is_file && shown.starts_with("/dev/");
    let is_socket = is_file && shown.ends_with(".sock");
    match type_ {
        "Directory" if !is_folder => failed("a directory"),
        "DirectoryOrCreate" if !place.exists() => made(fs::create_dir_all(place)),
        "DirectoryOrCreate" if !is_folder => failed("a directory"),
        "File" if !is_file => failed("a file"),
        "FileOrCreate" if !place.exists() => made(fs::write(place, "")),
        "FileOrCreate" if !is_file => failed("a file"),
        "Socket" if !is_socket => failed("a socket file"),
        "CharDevice" if !is_device => failed("a character device"),
        "BlockDevice" if !is_device => failed("a block device"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_path_is_what_its_volume_says() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("host");
        prepare(&root, "node-1", "../../../logs").unwrap();
        prepare(&root, "node-1", "../../../logs").unwrap();
        fs::create_dir_all(folder.path().join("logs/a")).unwrap();
        assert!(root.join("var/log/pods/a").is_dir());
        for (path, type_, expected) in [
            ("/etc", "", None),
            ("/none", "", None),
            ("/etc", "Directory", None),
            ("/etc/hostname", "Directory", Some("hostPath type check failed: /etc/hostname is not a directory")),
            ("/none", "Directory", Some("hostPath type check failed: /none is not a directory")),
            ("/new/folder", "DirectoryOrCreate", None),
            ("/new/folder", "Directory", None),
            ("/etc/hostname", "File", None),
            ("/etc", "File", Some("hostPath type check failed: /etc is not a file")),
            ("/new/file", "FileOrCreate", None),
            ("/new/file", "File", None),
            ("/run/docker.sock", "Socket", None),
            ("/var/run/docker.sock", "Socket", None),
            ("/etc", "Socket", Some("hostPath type check failed: /etc is not a socket file")),
            ("/dev/fuse", "CharDevice", None),
            ("/dev/sdz", "BlockDevice", Some("hostPath type check failed: /dev/sdz is not a block device")),
        ] {
            let place = root.join(path.trim_start_matches('/'));
            assert_eq!(check(&place, path, type_).err().as_deref(), expected, "{path} {type_}");
        }
    }
}
