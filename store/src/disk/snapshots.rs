//! Snapshot files: a mark, then chunks behind their length and checksum. A file has its name only once it is whole and
//! synced.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
};

use bytes::Bytes;

use super::{DiskError, Files};
use crate::snapshot::{Frozen, Thawing};

const MARK: &[u8] = b"kubelab snapshot\n";
const PREFIX: &str = "snapshot-";
const UNFINISHED: &str = ".unfinished";

/// Writes a snapshot and removes older ones; how many bytes it has. An error leaves the older ones in place.
pub(crate) fn save<F: Files>(files: &mut F, frozen: &Frozen) -> Result<u64, DiskError> {
    let name = format!("{PREFIX}{:020}", frozen.index);
    let unfinished = format!("{name}{UNFINISHED}");
    let written = write(files, &unfinished, frozen).map_err(|error| {
        let _ = files.remove(&unfinished);
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => DiskError::Full,
            _ => DiskError::Failed("write a snapshot", error),
        }
    })?;
    let publish = |files: &mut F| {
        files.rename(&unfinished, &name)?;
        files.sync_folder()
    };
    publish(files).map_err(|error| DiskError::Failed("name a snapshot", error))?;
    remove_older(files, &name).map_err(|error| DiskError::Failed("remove an old snapshot", error))?;
    Ok(written)
}

fn write<F: Files>(files: &mut F, name: &str, frozen: &Frozen) -> io::Result<u64> {
    if files.list()?.iter().any(|known| known == name) {
        files.remove(name)?;
    }
    let mut written = 0;
    write_to(frozen, |data| {
        written += data.len() as u64;
        files.append(name, data)
    })?;
    files.sync(name)?;
    Ok(written)
}

fn write_to(frozen: &Frozen, mut append: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    append(MARK)?;
    for chunk in frozen.chunks() {
        let mut head = [0; 8];
        head[..4].copy_from_slice(&(chunk.len() as u32).to_le_bytes());
        head[4..].copy_from_slice(&crc32fast::hash(&chunk).to_le_bytes());
        append(&head)?;
        append(&chunk)?;
    }
    Ok(())
}

fn remove_older<F: Files>(files: &mut F, newest: &str) -> io::Result<()> {
    for name in files.list()? {
        if name.starts_with(PREFIX) && name.as_str() < newest && !name.ends_with(UNFINISHED) {
            files.remove(&name)?;
        }
    }
    Ok(())
}

/// Writes a snapshot to a file of its own, which must not exist yet.
pub(crate) fn export(path: &Path, frozen: &Frozen) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    write_to(frozen, |data| file.write_all(data))?;
    file.sync_all()
}

/// The snapshot in a file that [`export`] wrote.
pub(crate) fn import(path: &Path) -> Result<Frozen, DiskError> {
    let content = fs::read(path).map_err(|error| DiskError::Failed("read the snapshot to restore", error))?;
    read(content.into()).map_err(|at| damaged(&path.display().to_string(), at))
}

fn damaged(file: &str, at: usize) -> DiskError {
    DiskError::Damaged { file: file.to_owned(), at: at as u64, what: "not a whole snapshot" }
}

/// The newest snapshot, if there is one; clears away unfinished ones.
pub(super) fn load<F: Files>(files: &mut F) -> Result<Option<Frozen>, DiskError> {
    let failed = |error| DiskError::Failed("read the snapshots", error);
    let mut names = files.list().map_err(failed)?;
    names.retain(|name| name.starts_with(PREFIX));
    for name in names.extract_if(.., |name| name.ends_with(UNFINISHED)) {
        files.remove(&name).map_err(failed)?;
    }
    let Some(newest) = names.iter().max() else { return Ok(None) };
    let content = Bytes::from(files.read(newest).map_err(failed)?);
    read(content).map(Some).map_err(|at| damaged(newest, at))
}

/// The snapshot in a file, or the place of the damage.
fn read(file: Bytes) -> Result<Frozen, usize> {
    if !file.starts_with(MARK) {
        return Err(0);
    }
    let mut thawing = Thawing::default();
    let mut at = MARK.len();
    while at < file.len() {
        let field = |from: usize| -> Result<u32, usize> {
            let bytes = file.get(from..from + 4).ok_or(at)?;
            bytes.try_into().map(u32::from_le_bytes).map_err(|_| at)
        };
        let (start, length) = (at + 8, field(at)? as usize);
        if file.len() - start < length {
            return Err(at);
        }
        let chunk = file.slice(start..start + length);
        if crc32fast::hash(&chunk) != field(at + 4)? {
            return Err(at);
        }
        thawing.push(chunk).map_err(|_| at)?;
        at = start + length;
    }
    thawing.finish().map_err(|_| at)
}
