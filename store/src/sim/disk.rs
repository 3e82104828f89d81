//! A disk that loses what was not synced, tears writes, fills up and fails.

use std::{
    collections::BTreeMap,
    io::{self, ErrorKind},
    sync::{Arc, Mutex},
};

use super::rng::Rng;
use crate::disk::Files;

#[derive(Clone, Default)]
struct Content {
    bytes: Vec<u8>,
    /// How much of it survives a crash for sure.
    synced: usize,
}

#[derive(Default)]
struct Inner {
    files: BTreeMap<String, Content>,
    /// The names as of the last sync of the folder, and what removed ones held.
    names: BTreeMap<String, Content>,
    full: bool,
    /// The next syncs until one fails.
    fails_in: Option<u64>,
}

/// A handle on the disk, which outlives the process that uses it.
#[derive(Clone, Default)]
pub(crate) struct SimDisk(Arc<Mutex<Inner>>);

fn missing() -> io::Error {
    ErrorKind::NotFound.into()
}

impl SimDisk {
    fn with<T>(&self, work: impl FnOnce(&mut Inner) -> T) -> T {
        work(&mut self.0.lock().unwrap())
    }

    /// The power goes: a torn part of what was not synced is left, and names may be as they were.
    pub(super) fn crash(&self, rng: &mut Rng) {
        self.with(|inner| {
            inner.fails_in = None;
            for content in inner.files.values_mut() {
                let unsynced = (content.bytes.len() - content.synced) as u64;
                let kept = content.synced + rng.range(0, unsynced + 1) as usize;
                content.bytes.truncate(kept);
                if kept > content.synced && rng.percent(50) {
                    // A page that never reached the disk, though later ones did.
                    let hole = rng.range(content.synced as u64, kept as u64) as usize;
                    let end = kept.min(hole + 64);
                    content.bytes[hole..end].fill(0);
                }
                content.synced = kept;
            }
            if rng.percent(50) {
                let now = std::mem::take(&mut inner.files);
                let before = std::mem::take(&mut inner.names);
                let known = before.into_iter().map(|(name, old)| {
                    let content = now.get(&name).cloned().unwrap_or(old);
                    (name, content)
                });
                inner.files = known.collect();
            }
            inner.names = inner.files.clone();
        });
    }

    pub(crate) fn set_full(&self, full: bool) {
        self.with(|inner| inner.full = full);
    }

    pub(crate) fn fail_in(&self, syncs: u64) {
        self.with(|inner| inner.fails_in = Some(syncs));
    }

    /// Damages one bit of a file.
    pub(crate) fn flip(&self, name: &str, bit: usize) {
        self.with(|inner| inner.files.get_mut(name).unwrap().bytes[bit / 8] ^= 1 << (bit % 8));
    }
}

impl Files for SimDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.with(|inner| inner.files.keys().cloned().collect()))
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        self.with(|inner| inner.files.get(name).map(|content| content.bytes.clone()).ok_or_else(missing))
    }

    fn append(&mut self, name: &str, data: &[u8]) -> io::Result<()> {
        self.with(|inner| {
            let full = inner.full;
            let content = inner.files.entry(name.to_owned()).or_default();
            let fits = if full { data.len() / 2 } else { data.len() };
            content.bytes.extend_from_slice(&data[..fits]);
            if full { Err(ErrorKind::StorageFull.into()) } else { Ok(()) }
        })
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        self.with(|inner| {
            if let Some(left) = &mut inner.fails_in {
                *left = left.saturating_sub(1);
                if *left == 0 {
                    return Err(io::Error::other("the disk failed"));
                }
            }
            let content = inner.files.get_mut(name).ok_or_else(missing)?;
            content.synced = content.bytes.len();
            Ok(())
        })
    }

    fn truncate(&mut self, name: &str, length: u64) -> io::Result<()> {
        self.with(|inner| {
            let content = inner.files.get_mut(name).ok_or_else(missing)?;
            content.bytes.truncate(length as usize);
            content.synced = content.synced.min(length as usize);
            Ok(())
        })
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.with(|inner| {
            let content = inner.files.remove(from).ok_or_else(missing)?;
            inner.files.insert(to.to_owned(), content);
            Ok(())
        })
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.with(|inner| {
            let content = inner.files.remove(name).ok_or_else(missing)?;
            if let Some(known) = inner.names.get_mut(name) {
                *known = content;
            }
            Ok(())
        })
    }

    fn sync_folder(&mut self) -> io::Result<()> {
        self.with(|inner| inner.names = inner.files.clone());
        Ok(())
    }
}
