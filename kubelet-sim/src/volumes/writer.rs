//! Writes a volume's files so that a reader sees all old or all new ones: they are in a folder of their own, a link
//! `..data` leads to it, each name in the volume is a link through that, and `..data` is replaced in one step. Source:
//! `pkg/volume/util/atomic_writer.go` of Kubernetes, whose names programs know.

use std::{
    collections::BTreeSet,
    fs::{self, Permissions},
    io::{self, ErrorKind},
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
};

use jiff::Timestamp;

use super::payload::Payload;

const DATA: &str = "..data";
const DATA_DRAFT: &str = "..data_tmp";

/// Makes this folder show these files, and no others.
pub fn write(folder: &Path, files: &Payload, now: Timestamp) -> io::Result<()> {
    if let Some(path) = files.keys().find(|path| path.split('/').any(|part| matches!(part, "" | "." | ".."))) {
        return Err(io::Error::new(ErrorKind::InvalidInput, format!("invalid path: {path:?}")));
    }
    fs::create_dir_all(folder)?;
    let before = fs::read_link(folder.join(DATA)).ok();
    let name = format!("..{}", now.strftime("%Y_%m_%d_%H_%M_%S.%9f"));
    for (path, entry) in files {
        let file = folder.join(&name).join(path);
        if let Some(parent) = file.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&file, &entry.bytes)?;
        fs::set_permissions(&file, Permissions::from_mode(entry.mode))?;
    }
    fs::create_dir_all(folder.join(&name))?;
    fs::remove_file(folder.join(DATA_DRAFT)).or_else(unless_missing)?;
    symlink(&name, folder.join(DATA_DRAFT))?;
    fs::rename(folder.join(DATA_DRAFT), folder.join(DATA))?;

    let shown: BTreeSet<&str> = files.keys().filter_map(|path| path.split('/').next()).collect();
    for name in &shown {
        match symlink(Path::new(DATA).join(name), folder.join(name)) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let text = name.to_string_lossy();
        if !text.starts_with("..") && !shown.contains(&*text) {
            fs::remove_file(folder.join(&name))?;
        }
    }
    match before {
        Some(before) if before != Path::new(&name) => fs::remove_dir_all(folder.join(before)).or_else(unless_missing),
        _ => Ok(()),
    }
}

fn unless_missing(error: io::Error) -> io::Result<()> {
    if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::volumes::payload::Entry;

    fn files(files: &[(&str, &str, u32)]) -> Payload {
        files
            .iter()
            .map(|(path, text, mode)| ((*path).to_owned(), Entry { bytes: (*text).into(), mode: *mode }))
            .collect()
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_new_version_takes_the_place_of_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let at = |second| Timestamp::from_second(second).unwrap();
        write(folder, &files(&[("a", "1", 0o400), ("dir/b", "2", 0o644)]), at(1)).unwrap();
        assert_eq!(names(folder), ["..1970_01_01_00_00_01.000000000", "..data", "a", "dir"]);
        assert_eq!(fs::read_link(folder.join("a")).unwrap(), Path::new("..data/a"));
        assert_eq!(fs::metadata(folder.join("a")).unwrap().permissions().mode() & 0o777, 0o400);
        assert_eq!(fs::read(folder.join("dir/b")).unwrap(), b"2");
        write(folder, &files(&[("a", "3", 0o644), ("c", "4", 0o644)]), at(2)).unwrap();
        assert_eq!(names(folder), ["..1970_01_01_00_00_02.000000000", "..data", "a", "c"]);
        assert_eq!(fs::read(folder.join("a")).unwrap(), b"3");
        write(folder, &files(&[]), at(3)).unwrap();
        assert_eq!(names(folder), ["..1970_01_01_00_00_03.000000000", "..data"]);
        assert!(write(folder, &files(&[("../x", "", 0o644)]), at(4)).is_err());
    }
}
