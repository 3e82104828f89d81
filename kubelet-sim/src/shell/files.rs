//! A container's files: a folder of the node for each pod, and its volumes. Paths are resolved by their text alone, and
//! programs make no links; the few that a volume has lead to where that volume is. So no path leads out.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Error, ErrorKind},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use futures::future::BoxFuture;

use crate::runtime::Mount;

/// The most files and bytes that a pod may have.
const MAX_FILES: u64 = 10_000;
const MAX_BYTES: u64 = 256 << 20;

/// Brings a volume up to date.
type Refresh = Box<dyn Fn(String) -> BoxFuture<'static, ()> + Send + Sync>;

/// The files of one container.
pub struct Files {
    /// The container's root.
    root: PathBuf,
    /// Nothing can be written to it.
    read_only: bool,
    /// The longest path first.
    mounts: Vec<Mount>,
    refresh: Option<Refresh>,
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
    /// The files in this folder, with folders (mount path → folder) over them.
    pub fn new(root: PathBuf, mounts: impl IntoIterator<Item = (String, PathBuf)>) -> Self {
        let mounts = mounts.into_iter().map(|(path, folder)| Mount::folder(&path, folder)).collect();
        Self { refresh: None, ..Self::with_mounts(root, mounts, false, Box::new(|_| Box::pin(std::future::ready(())))) }
    }

    /// The files in this folder, with volumes over them; `refresh` is called for those that want it.
    pub fn with_mounts(root: PathBuf, mut mounts: Vec<Mount>, read_only: bool, refresh: Refresh) -> Self {
        mounts.iter_mut().for_each(|mount| mount.path = normalize("/", &mount.path));
        mounts.sort_by_key(|mount| std::cmp::Reverse(mount.path.len()));
        Self { root, read_only, mounts, refresh: Some(refresh), used: Mutex::default() }
    }

    /// Where volumes are mounted; the longest path first.
    pub fn mounts(&self) -> &[Mount] {
        &self.mounts
    }

    /// Makes what every image has, and `extra`, unless it was done before.
    pub fn prepare(&self, folders: &[&str], extra: &[(&str, String)]) -> io::Result<()> {
        for mount in &self.mounts {
            if !mount.source.exists() {
                match mount.source.parent().filter(|_| mount.device) {
                    Some(folder) => {
                        fs::create_dir_all(folder)?;
                        File::create(&mount.source)?;
                    }
                    None => fs::create_dir_all(&mount.source)?,
                }
                // Whatever the umask says.
                fs::set_permissions(&mount.source, Permissions::from_mode(mount.mode))?;
            }
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
        // What is mounted shows in its folder, so that folder is there.
        for mount in &self.mounts {
            let parent = mount.path.rsplit_once('/').map_or("", |(parent, _)| parent);
            fs::create_dir_all(self.place(parent)).ok();
        }
        Ok(())
    }

    fn mount(&self, path: &str) -> Option<&Mount> {
        self.mounts.iter().find(|mount| is_within(path, &mount.path))
    }

    /// Where a normalized path is on the node.
    pub fn place(&self, path: &str) -> PathBuf {
        let (folder, rest) = match self.mount(path) {
            Some(mount) => (&mount.source, path.strip_prefix(&*mount.path).unwrap_or_default()),
            None => (&self.root, path),
        };
        match rest.trim_start_matches('/') {
            // A file can be mounted, and `file/` is none.
            "" => folder.clone(),
            rest => folder.join(rest),
        }
    }

    /// Has the volumes brought up to date that a path leads into, or that lie below it. Whoever looks at files calls it
    /// first: what nobody looks at costs nothing.
    pub async fn look(&self, path: &str) {
        let Some(refresh) = &self.refresh else { return };
        let concerned = self.mounts.iter().filter(|mount| is_within(path, &mount.path) || is_within(&mount.path, path));
        for volume in concerned.filter_map(|mount| mount.volume.clone()) {
            refresh(volume).await;
        }
    }

    /// The same for all paths that a command with these arguments may mean.
    pub async fn look_for(&self, folder: &str, arguments: &[String]) {
        if self.mounts.iter().all(|mount| mount.volume.is_none()) {
            return;
        }
        for argument in arguments {
            let value = argument.split_once('=').map_or(argument.as_str(), |(_, value)| value);
            if !value.is_empty() && !value.starts_with('-') {
                self.look(&normalize(folder, value)).await;
            }
        }
        // Without a path, programs look at where they are.
        if self.mount(folder).is_some_and(|mount| mount.volume.is_some()) {
            self.look(folder).await;
        }
    }

    /// Refuses to change what lies here if that can only be read.
    fn writable(&self, path: &str) -> io::Result<()> {
        let read_only = self.mount(path).map_or(self.read_only, |mount| mount.read_only);
        if read_only { Err(ErrorKind::ReadOnlyFilesystem.into()) } else { Ok(()) }
    }

    /// The names in a folder, sorted; mount points too.
    pub fn list(&self, path: &str) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.place(path))? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        let inside = format!("{}/", path.trim_end_matches('/'));
        let mounted = self.mounts.iter().filter_map(|mount| mount.path.strip_prefix(&inside));
        names.extend(mounted.filter(|rest| !rest.contains('/')).map(str::to_owned));
        names.sort();
        names.dedup();
        Ok(names)
    }

    /// What is there.
    pub fn about(&self, path: &str) -> io::Result<fs::Metadata> {
        fs::symlink_metadata(self.place(path))
    }

    /// What a link there leads to, and what is there if it is none.
    pub fn about_target(&self, path: &str) -> io::Result<fs::Metadata> {
        fs::metadata(self.place(path))
    }

    /// Where a link leads to, as it says so itself.
    pub fn link(&self, path: &str) -> Option<String> {
        Some(fs::read_link(self.place(path)).ok()?.to_string_lossy().into_owned())
    }

    /// Whether it is a folder, or a link to one.
    pub fn is_folder(&self, path: &str) -> bool {
        self.about_target(path).is_ok_and(|about| about.is_dir())
    }

    /// Whether it is a block device.
    pub fn is_device(&self, path: &str) -> bool {
        self.mounts.iter().any(|mount| mount.device && mount.path == path)
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
        self.writable(path)?;
        self.charge(1)?;
        OpenOptions::new().create(true).write(true).append(append).truncate(!append).open(self.place(path))
    }

    /// Makes a folder.
    pub fn make_folder(&self, path: &str, with_parents: bool) -> io::Result<()> {
        if with_parents && self.is_folder(path) {
            return Ok(());
        }
        self.writable(path)?;
        self.charge(1)?;
        let place = self.place(path);
        if with_parents { fs::create_dir_all(place) } else { fs::create_dir(place) }
    }

    /// Changes a mode.
    pub fn set_mode(&self, path: &str, mode: u32) -> io::Result<()> {
        self.writable(path)?;
        fs::set_permissions(self.place(path), Permissions::from_mode(mode))
    }

    /// Removes a file, or a folder with all that is in it. Mount points stay.
    pub fn remove(&self, path: &str, whole_folder: bool) -> io::Result<()> {
        if path == "/" || self.mounts.iter().any(|mount| mount.path == path) {
            return Err(ErrorKind::ResourceBusy.into());
        }
        if self.about(path).is_ok() {
            self.writable(path)?;
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

/// Whether a path is this one or lies below it.
fn is_within(path: &str, folder: &str) -> bool {
    let rest = if folder == "/" { Some("") } else { path.strip_prefix(folder) };
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn usage(root: &Path, mounts: &[Mount]) -> Usage {
    let mut usage = Usage::default();
    let mut folders: Vec<PathBuf> = mounts.iter().map(|mount| mount.source.clone()).collect();
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
        ErrorKind::ReadOnlyFilesystem => "Read-only file system",
        ErrorKind::PermissionDenied => "Permission denied",
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
    fn what_can_only_be_read_is_not_changed() {
        let folder = tempfile::tempdir().unwrap();
        let mount = |path: &str, name: &str, read_only| {
            let source = folder.path().join(name);
            Mount { read_only, ..Mount::folder(path, source) }
        };
        let mounts = vec![mount("/etc/config", "config", true), mount("/var/cache", "cache", false)];
        let refresh: Refresh = Box::new(|_| Box::pin(std::future::ready(())));
        let files = Files::with_mounts(folder.path().join("root"), mounts, true, refresh);
        fs::create_dir_all(folder.path().join("config")).unwrap();
        fs::write(folder.path().join("config/key"), "1").unwrap();
        files.prepare(&["/tmp"], &[]).unwrap();
        for path in ["/etc/config/key", "/etc/config/new", "/tmp/x"] {
            assert_eq!(describe(&files.write(path, false).unwrap_err()), "Read-only file system", "{path}");
            assert!(files.make_folder(&format!("{path}/d"), true).is_err());
        }
        assert_eq!(files.remove("/etc/config/key", true).unwrap_err().kind(), ErrorKind::ReadOnlyFilesystem);
        assert_eq!(files.remove("/etc/config/none", true).unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(files.read("/etc/config/key").unwrap(), b"1");
        assert!(files.write("/var/cache/x", false).is_ok());
        assert_eq!(files.list("/var").unwrap(), ["cache"]);
    }

    #[tokio::test]
    async fn a_volume_is_brought_up_to_date_when_somebody_looks_at_it() {
        let (tell, looked) = std::sync::mpsc::channel();
        let mount = |path: &str| Mount { volume: Some(path.to_owned()), ..Mount::folder(path, PathBuf::new()) };
        let mounts = vec![mount("/etc/config"), mount("/var/run/token"), Mount::folder("/data", PathBuf::new())];
        let refresh = Box::new(move |volume| -> BoxFuture<'static, ()> {
            tell.send(volume).unwrap();
            Box::pin(std::future::ready(()))
        });
        let files = Files::with_mounts(PathBuf::new(), mounts, false, refresh);
        for (folder, arguments, expected) in [
            ("/", &["/etc/config/key"][..], &["/etc/config"][..]),
            ("/etc", &["config"], &["/etc/config"]),
            ("/etc", &["-r", "."], &["/etc/config"]),
            ("/", &["/"], &["/var/run/token", "/etc/config"]),
            ("/", &["if=/var/run/token/token"], &["/var/run/token"]),
            ("/", &["hello", "/data/x", "/etc/configuration", ""], &[]),
            ("/var/run/token", &[], &["/var/run/token"]),
        ] {
            let arguments: Vec<String> = arguments.iter().map(|text| (*text).to_owned()).collect();
            files.look_for(folder, &arguments).await;
            assert_eq!(looked.try_iter().collect::<Vec<String>>(), expected, "{folder} {arguments:?}");
        }
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
