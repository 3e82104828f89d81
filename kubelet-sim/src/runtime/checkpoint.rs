//! The files in which containers outlive a kubelet, as real ones do. Pods stand in a journal, a line for each change of
//! one: a line costs a write, where a file for each pod costs the making of several, and a node has many pods. Nothing is
//! synced to disk, because containers do not survive the machine either.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;

/// A journal is written anew once it is larger than this in bytes, and than [`GROWTH`] times what it was then.
const SMALL: u64 = 256 << 10;
const GROWTH: u64 = 4;

/// A folder of state.
#[derive(Debug)]
pub struct Checkpoint {
    pods: PathBuf,
    images: PathBuf,
    journal: Mutex<Journal>,
}

/// The journal, open at its end.
#[derive(Debug)]
struct Journal {
    file: File,
    bytes: u64,
    /// When it is written anew.
    limit: u64,
}

/// A line of the journal: how a pod is since then; without `pod`, it is gone.
#[derive(Serialize, Deserialize)]
struct Line<'a, T> {
    uid: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pod: Option<T>,
}

impl Checkpoint {
    /// Uses this folder, and makes it if it is not there.
    pub fn open(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let pods = folder.join("pods.jsonl");
        let journal = Mutex::new(rewrite(&pods)?);
        Ok(Self { pods, images: folder.join("images.json"), journal })
    }

    /// Keeps a pod.
    pub fn save_pod<T: Serialize>(&self, uid: &str, pod: &T) {
        self.append(&Line { uid, pod: Some(pod) });
    }

    /// Forgets a pod.
    pub fn remove_pod(&self, uid: &str) {
        self.append(&Line::<()> { uid, pod: None });
    }

    /// All pods kept. One that cannot be read is lost with a warning, the node is not.
    pub fn pods<T: DeserializeOwned>(&self) -> io::Result<Vec<T>> {
        let text = fs::read_to_string(&self.pods)?;
        let pods = newest(&text).into_iter().filter_map(|(uid, line)| {
            let read = serde_json::from_str::<Line<T>>(line);
            read.inspect_err(
                |error| tracing::warn!(uid, %error, "a pod's state cannot be read: its containers are lost"),
            )
            .ok()?
            .pod
        });
        Ok(pods.collect())
    }

    /// Keeps the list of images.
    pub fn save_images<T: Serialize>(&self, images: &T) {
        let write = || replace(&self.images, &serde_json::to_vec(images)?);
        if let Err(error) = write() {
            tracing::warn!(file = %self.images.display(), %error, "cannot save which images are here");
        }
    }

    /// The list of images kept.
    pub fn images<T: DeserializeOwned>(&self) -> Option<T> {
        let read = || -> io::Result<T> { Ok(serde_json::from_slice(&fs::read(&self.images)?)?) };
        match read() {
            Ok(images) => Some(images),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!(file = %self.images.display(), %error, "which images are here cannot be read");
                None
            }
        }
    }

    fn append<T: Serialize>(&self, line: &Line<T>) {
        let write = || -> io::Result<()> {
            let mut text = serde_json::to_vec(line)?;
            text.push(b'\n');
            let mut journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
            // One write: a kubelet that is killed leaves the whole line or none.
            journal.file.write_all(&text)?;
            journal.bytes += text.len() as u64;
            if journal.bytes > journal.limit {
                *journal = rewrite(&self.pods)?;
            }
            Ok(())
        };
        if let Err(error) = write() {
            let file = self.pods.display();
            tracing::warn!(%file, %error, "cannot save state: these containers will not survive a restart of the kubelet");
        }
    }
}

/// Leaves of a journal what still counts, and opens it.
fn rewrite(path: &Path) -> io::Result<Journal> {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        read => read?,
    };
    let kept: String = newest(&text).into_values().flat_map(|line| [line, "\n"]).collect();
    replace(path, kept.as_bytes())?;
    let bytes = kept.len() as u64;
    Ok(Journal { file: OpenOptions::new().append(true).open(path)?, bytes, limit: SMALL.max(GROWTH * bytes) })
}

/// The newest line of each pod that is not gone. What cannot be read at all is no line.
fn newest(text: &str) -> BTreeMap<String, &str> {
    let mut newest = BTreeMap::new();
    for line in text.lines() {
        match serde_json::from_str::<Line<&RawValue>>(line) {
            Ok(Line { uid, pod: Some(_) }) => newest.insert(uid.to_owned(), line),
            Ok(Line { uid, pod: None }) => newest.remove(uid),
            Err(error) => {
                tracing::warn!(%error, "a line of the pods' journal cannot be read and is left out");
                None
            }
        };
    }
    newest
}

/// Replaces a file at once. Only its owner may read it, for environments hold secrets.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let draft = path.with_extension("new");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(&draft)?.write_all(content)?;
    fs::rename(&draft, path)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_was_saved_is_there_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let checkpoint = Checkpoint::open(folder.path()).unwrap();
        checkpoint.save_pod("uid-1", &1);
        checkpoint.save_pod("uid-2", &2);
        checkpoint.save_pod("uid-2", &3);
        checkpoint.remove_pod("uid-1");
        checkpoint.remove_pod("uid-9");
        let again = Checkpoint::open(folder.path()).unwrap();
        assert_eq!(again.pods::<i32>().unwrap(), [3]);
        assert_eq!(again.images::<i32>(), None);
        again.save_images(&[1, 2]);
        assert_eq!(Checkpoint::open(folder.path()).unwrap().images::<Vec<i32>>(), Some(vec![1, 2]));
    }

    #[test]
    fn what_cannot_be_read_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let checkpoint = Checkpoint::open(folder.path()).unwrap();
        checkpoint.save_pod("text", &"text");
        checkpoint.save_pod("good", &7);
        let mut journal = OpenOptions::new().append(true).open(folder.path().join("pods.jsonl")).unwrap();
        journal.write_all(b"{\"uid\":\"torn").unwrap();
        assert_eq!(Checkpoint::open(folder.path()).unwrap().pods::<i32>().unwrap(), [7]);
    }

    #[test]
    fn a_journal_does_not_grow_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let checkpoint = Checkpoint::open(folder.path()).unwrap();
        let large = "x".repeat(10_000);
        for number in 0..200 {
            checkpoint.save_pod("uid", &format!("{large}{number}"));
        }
        assert!(fs::metadata(folder.path().join("pods.jsonl")).unwrap().len() <= SMALL + 10_100);
        assert_eq!(checkpoint.pods::<String>().unwrap(), [format!("{large}199")]);
    }
}
