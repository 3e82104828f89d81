//! A container's files: a folder of the node for each pod. Paths are resolved by their text alone and no links are made,
//! so none leads out of it.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Error, ErrorKind},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

/// The most files and bytes that a pod may have.
const MAX_FILES: u64 = 10_000;
const MAX_BYTES: u64 = 256 << 20;

/// The files of one container.
pub struct Files {
    /// The container's root.
    root: PathBuf,
    /// Where volumes are mounted, and their folders; the longest path first.
    mounts: Vec<(String, PathBuf)>,
    used: Mutex<Option<Usage>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Usage {
    files: u64,
    bytes: u64,
}

/// An absolute path without `.` and `..`.
pub fn normalize(folder: &str, path: &str) -> String {
    let whole = if path.starts_with('/') { path.to_owned() } else { format!("{folder}/{path}") };
    let mut parts: Vec<&str> = Vec::new();
    for part in whole.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

impl Files {
    /// The files in this folder, with volumes (mount path → folder) over them.
    pub fn new(root: PathBuf, mounts: impl IntoIterator<Item = (String, PathBuf)>) -> Self {
        let mut mounts: Vec<_> = mounts.into_iter().map(|(path, folder)| (normalize("/", &path), folder)).collect();
        mounts.sort_by_key(|(path, _)| std::cmp::Reverse(path.len()));
        Self { root, mounts, used: Mutex::default() }
    }

    /// Makes what every image has, and `extra`, unless it was done before.
    pub fn prepare(&self, folders: &[&str], extra: &[(&str, String)]) -> io::Result<()> {
        for (_, folder) in &self.mounts {
            fs::create_dir_all(folder)?;
        }
        if self.root.exists() {
            return Ok(());
        }
        for folder in folders {
            fs::create_dir_all(self.place(folder))?;
        }
        for (path, text) in extra {
            let file = self.place(path);
            if let Some(folder) = file.parent() {
                fs::create_dir_all(folder)?;
            }
            fs::write(file, text)?;
        }
        Ok(())
    }

    /// Where a normalized path is on the node.
    pub fn place(&self, path: &str) -> PathBuf {
        for (mount, folder) in &self.mounts {
            if let Some(rest) = path.strip_prefix(mount.as_str())
                && (rest.is_empty() || rest.starts_with('/'))
            {
                return folder.join(rest.trim_start_matches('/'));
            }
        }
        self.root.join(path.trim_start_matches('/'))
    }

    /// The names in a folder, sorted; mount points too.
    pub fn list(&self, path: &str) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.place(path))? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        let inside = format!("{}/", path.trim_end_matches('/'));
        let mounted = self.mounts.iter().filter_map(|(mount, _)| mount.strip_prefix(&inside));
        names.extend(mounted.filter(|rest| !rest.contains('/')).map(str::to_owned));
        names.sort();
        names.dedup();
        Ok(names)
    }

    /// What is there.
    pub fn about(&self, path: &str) -> io::Result<fs::Metadata> {
        fs::symlink_metadata(self.place(path))
    }

    /// Whether it is a folder.
    pub fn is_folder(&self, path: &str) -> bool {
        self.about(path).is_ok_and(|about| about.is_dir())
    }

    /// A file's bytes.
    pub fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        if self.is_folder(path) {
            return Err(ErrorKind::IsADirectory.into());
        }
        fs::read(self.place(path))
    }

    /// Opens a file to write to it; makes it if it is not there.
    pub fn write(&self, path: &str, append: bool) -> io::Result<File> {
        if self.is_folder(path) {
            return Err(ErrorKind::IsADirectory.into());
        }
        self.charge(1)?;
        OpenOptions::new().create(true).write(true).append(append).truncate(!append).open(self.place(path))
    }

    /// Makes a folder.
    pub fn make_folder(&self, path: &str, with_parents: bool) -> io::Result<()> {
        self.charge(1)?;
        let place = self.place(path);
        if with_parents { fs::create_dir_all(place) } else { fs::create_dir(place) }
    }

    /// Removes a file, or a folder with all that is in it. Mount points stay.
    pub fn remove(&self, path: &str, whole_folder: bool) -> io::Result<()> {
        if path == "/" || self.mounts.iter().any(|(mount, _)| mount == path) {
            return Err(ErrorKind::ResourceBusy.into());
        }
        let place = self.place(path);
        match (fs::symlink_metadata(&place)?.is_dir(), whole_folder) {
            (true, true) => fs::remove_dir_all(place),
            (true, false) => Err(ErrorKind::IsADirectory.into()),
            (false, _) => fs::remove_file(place),
        }
    }

    /// Counts files that are about to come, and refuses those that are too many.
    pub fn charge(&self, files: u64) -> io::Result<()> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let counted = used.get_or_insert_with(|| usage(&self.root, &self.mounts));
        counted.files += files;
        // What was removed, and how large files are, is only seen by counting again.
        if counted.files > MAX_FILES || counted.files.is_multiple_of(64) {
            *counted = usage(&self.root, &self.mounts);
        }
        if counted.files >= MAX_FILES || counted.bytes >= MAX_BYTES {
            return Err(Error::from(ErrorKind::StorageFull));
        }
        Ok(())
    }
}

fn usage(root: &Path, mounts: &[(String, PathBuf)]) -> Usage {
    let mut usage = Usage::default();
    let mut folders: Vec<PathBuf> = mounts.iter().map(|(_, folder)| folder.clone()).collect();
    folders.push(root.to_owned());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            usage.files += 1;
            match entry.metadata() {
                Ok(about) if about.is_dir() => folders.push(entry.path()),
                Ok(about) => usage.bytes += about.len(),
                Err(_) => {}
            }
        }
    }
    usage
}

/// An error as C libraries say it.
pub fn describe(error: &Error) -> &'static str {
    match error.kind() {
        ErrorKind::NotFound => "No such file or directory",
        ErrorKind::AlreadyExists => "File exists",
        ErrorKind::IsADirectory => "Is a directory",
        ErrorKind::NotADirectory => "Not a directory",
        ErrorKind::DirectoryNotEmpty => "Directory not empty",
        ErrorKind::StorageFull => "No space left on device",
        ErrorKind::ResourceBusy => "Device or resource busy",
        ErrorKind::InvalidInput => "Invalid argument",
        _ => "Input/output error",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn no_path_leads_out() {
        for (folder, path, expected) in [
            ("/", "a", "/a"),
            ("/tmp", "../etc/passwd", "/etc/passwd"),
            ("/tmp", "../../../../etc", "/etc"),
            ("/a/b", ".", "/a/b"),
            ("/a", "/x//y/", "/x/y"),
            ("/a", "", "/a"),
        ] {
            assert_eq!(normalize(folder, path), expected, "{folder} {path}");
        }
    }

    #[test]
    fn volumes_lie_over_the_containers_own_files() {
        let folder = tempfile::tempdir().unwrap();
        let (root, volume) = (folder.path().join("root"), folder.path().join("volume"));
        let files = Files::new(root.clone(), [("/data/".to_owned(), volume.clone())]);
        files.prepare(&["/tmp"], &[("/etc/hostname", "web\n".to_owned())]).unwrap();
        assert_eq!(files.place("/data/x"), volume.join("x"));
        assert_eq!(files.place("/database"), root.join("database"));
        assert_eq!(files.list("/").unwrap(), ["data", "etc", "tmp"]);
        assert_eq!(files.read("/etc/hostname").unwrap(), b"web\n");
        assert_eq!(files.read("/etc").unwrap_err().kind(), ErrorKind::IsADirectory);
        assert_eq!(files.remove("/data", true).unwrap_err().kind(), ErrorKind::ResourceBusy);
    }

    #[test]
    fn a_pod_has_only_so_many_files() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::new(folder.path().join("root"), []);
        files.prepare(&["/tmp"], &[]).unwrap();
        for n in 0..MAX_FILES {
            if files.write(&format!("/tmp/{n}"), false).is_err() {
                break;
            }
        }
        let refused = files.write("/tmp/more", false).unwrap_err();
        assert_eq!(describe(&refused), "No space left on device");
        files.remove("/tmp/0", false).unwrap();
        files.remove("/tmp/1", false).unwrap();
        assert!(files.write("/tmp/more", false).is_ok());
    }
}
