//! The files in which containers outlive a kubelet, as real ones do: one per pod. They are replaced whole, so that a
//! kubelet killed while writing leaves the file as it was; they are not synced to disk, because containers do not
//! survive the machine either.

use std::{
    fs,
    io::{self, ErrorKind, Write},
    path::{Path, PathBuf},
};

use serde::{Serialize, de::DeserializeOwned};

/// A folder of state.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    pods: PathBuf,
    images: PathBuf,
}

impl Checkpoint {
    /// Uses this folder, and makes it if it is not there.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let pods = folder.join("pods");
        fs::create_dir_all(&pods)?;
        Ok(Self { pods, images: folder.join("images.json") })
    }

    /// Keeps a pod.
    pub fn save_pod<T: Serialize>(&self, uid: &str, pod: &T) {
        self.save(&self.pod_file(uid), pod);
    }

    /// Forgets a pod.
    pub fn remove_pod(&self, uid: &str) {
        if let Err(error) = fs::remove_file(self.pod_file(uid))
            && error.kind() != ErrorKind::NotFound
        {
            tracing::warn!(%uid, %error, "cannot remove a pod's state; it will be removed at the next start");
        }
    }

    /// All pods kept. A file that cannot be read is set aside with a warning: its containers are lost, the node is not.
    pub fn pods<T: DeserializeOwned>(&self) -> io::Result<Vec<T>> {
        let mut pods = Vec::new();
        for entry in fs::read_dir(&self.pods)? {
            let file = entry?.path();
            if file.extension().is_some_and(|extension| extension == "json") {
                pods.extend(load(&file));
            } else {
                // What a write that was cut short left behind.
                fs::remove_file(&file).ok();
            }
        }
        Ok(pods)
    }

    /// Keeps the list of images.
    pub fn save_images<T: Serialize>(&self, images: &T) {
        self.save(&self.images, images);
    }

    /// The list of images kept.
    pub fn images<T: DeserializeOwned>(&self) -> Option<T> {
        self.images.exists().then(|| load(&self.images)).flatten()
    }

    fn pod_file(&self, uid: &str) -> PathBuf {
        // A uid comes from the API, where it is a UUID; anything else must not lead out of the folder.
        let name: String = uid.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
        self.pods.join(name).with_extension("json")
    }

    fn save<T: Serialize>(&self, file: &Path, value: &T) {
        let write = || -> io::Result<()> {
            let draft = file.with_extension("new");
            let mut options = fs::OpenOptions::new();
            options.write(true).create(true).truncate(true);
            #[cfg(unix)]
            // Environments hold secrets.
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            options.open(&draft)?.write_all(&serde_json::to_vec(value)?)?;
            fs::rename(&draft, file)
        };
        if let Err(error) = write() {
            let file = file.display();
            tracing::warn!(%file, %error, "cannot save state: these containers will not survive a restart of the kubelet");
        }
    }
}

fn load<T: DeserializeOwned>(file: &Path) -> Option<T> {
    let read = || -> io::Result<T> { Ok(serde_json::from_slice(&fs::read(file)?)?) };
    match read() {
        Ok(value) => Some(value),
        Err(error) => {
            tracing::warn!(file = %file.display(), %error, "state cannot be read; it is set aside as .broken");
            fs::rename(file, file.with_extension("broken")).ok();
            None
        }
    }
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
    }

    #[test]
    fn a_broken_file_and_a_half_written_one_are_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        let checkpoint = Checkpoint::open(folder.path()).unwrap();
        checkpoint.save_pod("good", &7);
        fs::write(folder.path().join("pods/bad.json"), "{").unwrap();
        fs::write(folder.path().join("pods/draft.new"), "{").unwrap();
        assert_eq!(checkpoint.pods::<i32>().unwrap(), [7]);
        assert_eq!(checkpoint.pods::<i32>().unwrap(), [7]);
    }

    #[test]
    fn a_uid_does_not_lead_out_of_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let checkpoint = Checkpoint::open(folder.path()).unwrap();
        checkpoint.save_pod("../../etc/passwd", &1);
        assert!(folder.path().join("pods/etcpasswd.json").exists());
    }
}
