//! What an image shows that is mounted as a volume: of the artifact in Kubernetes' own example, its files; of all others, no
//! more than that they are there, since nobody has their layers.

use std::{fs, io, path::Path};

use crate::behavior::images;

/// Files by the last two parts of the repository. Source:
/// <https://kubernetes.io/docs/tasks/configure-pod-container/image-volumes/>.
const KNOWN: [(&str, &[(&str, &str)]); 1] = [("crio/artifact", &[("dir/file", "1\n"), ("file", "2\n")])];

/// The files of an image.
pub fn files(image: &str) -> &'static [(&'static str, &'static str)] {
    let (repository, _) = images::parts(image);
    let known = KNOWN.iter().find(|(name, _)| repository.ends_with(&format!("/{name}")) || repository == *name);
    known.map_or(&[], |(_, files)| files)
}

/// Writes them into a folder, unless that is there.
pub fn write(image: &str, folder: &Path) -> io::Result<()> {
    if folder.exists() {
        return Ok(());
    }
    fs::create_dir_all(folder)?;
    for (path, text) in files(image) {
        let file = folder.join(path);
        if let Some(parent) = file.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(file, text)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_example_of_the_documentation_has_its_files() {
        let folder = tempfile::tempdir().unwrap();
        let volume = folder.path().join("volume");
        write("quay.io/crio/artifact:v2", &volume).unwrap();
        assert_eq!(fs::read_to_string(volume.join("dir/file")).unwrap(), "1\n");
        assert!(files("nginx").is_empty());
    }
}
