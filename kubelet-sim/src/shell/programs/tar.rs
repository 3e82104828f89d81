//! `tar`, as far as `kubectl cp` needs it: `tar cf - path` and `tar xmf - -C folder`. Links and special files are left
//! out, both ways.

use std::io::{self, Read, Write};

use tar::{Archive, Builder, EntryType, Header};

use super::{Call, Ran};
use crate::shell::{
    files::{describe, normalize},
    streams::Broken,
};

/// The largest archive.
const MAX_ARCHIVE: usize = 64 << 20;

/// What the arguments ask for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Wanted {
    /// `c`, `x` or `t`
    action: Option<char>,
    file: String,
    folder: String,
    paths: Vec<String>,
}

fn wanted(arguments: &[String]) -> Wanted {
    let mut wanted = Wanted { file: "-".to_owned(), ..Wanted::default() };
    let mut arguments = arguments.iter();
    let mut first = true;
    while let Some(argument) = arguments.next() {
        // The first argument is options, with or without a dash.
        let letters = match argument.strip_prefix('-') {
            Some(long) if long.starts_with('-') => "",
            Some(letters) => letters,
            None if first => argument,
            None => {
                wanted.paths.push(argument.clone());
                continue;
            }
        };
        first = false;
        for letter in letters.chars() {
            match letter {
                'c' | 'x' | 't' => wanted.action = Some(letter),
                'f' => wanted.file = arguments.next().cloned().unwrap_or_default(),
                'C' => wanted.folder = arguments.next().cloned().unwrap_or_default(),
                _ => {}
            }
        }
    }
    wanted
}

/// Runs it.
pub async fn run(call: &Call<'_>) -> Ran {
    let wanted = wanted(call.arguments);
    let folder = call.path(&wanted.folder);
    let done = match wanted.action {
        Some('c') => create(call, &wanted, &folder).await?,
        Some(_) => read(call, &wanted, &folder).await?,
        None => return call.fail("must specify one of -c, -x, -t").await,
    };
    match done {
        Ok(()) => Ok(0),
        Err(message) => call.fail(message).await.map(|_| 2),
    }
}

async fn create(call: &Call<'_>, wanted: &Wanted, folder: &str) -> Result<Result<(), String>, Broken> {
    let mut missing = None;
    let mut builder = Builder::new(Vec::new());
    for given in &wanted.paths {
        if given.starts_with('/') {
            call.streams.stderr.print("tar: removing leading '/' from member names\n").await?;
        }
        let path = normalize(folder, given);
        if let Err(error) = add(call, &mut builder, &path, given.trim_start_matches('/')) {
            missing = Some(format!("{given}: {}", describe(&error)));
        }
    }
    let Ok(archive) = builder.into_inner() else { return Ok(Err("write error".to_owned())) };
    if wanted.file == "-" {
        call.streams.stdout.write(&archive).await?;
    } else {
        let written = call.shell.world.files.write(&call.path(&wanted.file), false);
        if let Err(error) = written.and_then(|mut file| file.write_all(&archive)) {
            return Ok(Err(describe(&error).to_owned()));
        }
    }
    Ok(missing.map_or(Ok(()), Err))
}

/// Adds a file, or a folder with all that is in it.
fn add(call: &Call<'_>, builder: &mut Builder<Vec<u8>>, path: &str, name: &str) -> io::Result<()> {
    let files = &call.shell.world.files;
    let mut waiting = vec![(path.to_owned(), name.to_owned())];
    while let Some((path, name)) = waiting.pop() {
        let about = files.about(&path)?;
        let mut header = Header::new_gnu();
        header.set_mtime(
            about
                .modified()
                .ok()
                .map_or(0, |time| time.duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs())),
        );
        if about.is_dir() {
            header.set_entry_type(EntryType::Directory);
            header.set_mode(0o755);
            header.set_size(0);
            let shown = if name.is_empty() { "./".to_owned() } else { format!("{name}/") };
            builder.append_data(&mut header, shown, io::empty())?;
            let names = files.list(&path)?;
            waiting.extend(names.iter().rev().map(|inner| {
                let below = |parent: &str| format!("{}/{inner}", parent.trim_end_matches('/'));
                (below(&path), below(&name).trim_start_matches('/').to_owned())
            }));
        } else if about.is_file() {
            let bytes = files.read(&path)?;
            if builder.get_ref().len() + bytes.len() > MAX_ARCHIVE {
                return Err(io::ErrorKind::StorageFull.into());
            }
            header.set_mode(0o644);
            header.set_size(bytes.len() as u64);
            builder.append_data(&mut header, name, bytes.as_slice())?;
        }
    }
    Ok(())
}

async fn read(call: &Call<'_>, wanted: &Wanted, folder: &str) -> Result<Result<(), String>, Broken> {
    let mut archive = Vec::new();
    if wanted.file == "-" {
        while let Some(bytes) = call.streams.stdin.read().await {
            archive.extend_from_slice(&bytes);
            if archive.len() > MAX_ARCHIVE {
                return Ok(Err("archive too large".to_owned()));
            }
        }
    } else {
        match call.shell.world.files.read(&call.path(&wanted.file)) {
            Ok(bytes) => archive = bytes,
            Err(error) => return Ok(Err(format!("can't open '{}': {}", wanted.file, describe(&error)))),
        }
    }
    let names = match extract(call, &archive, folder, wanted.action == Some('x')) {
        Ok(names) => names,
        Err(error) if error.kind() == io::ErrorKind::Other => return Ok(Err("invalid tar magic".to_owned())),
        Err(error) => return Ok(Err(describe(&error).to_owned())),
    };
    if wanted.action == Some('t') {
        call.print(names.into_iter().map(|name| name + "\n").collect::<String>()).await?;
    }
    Ok(Ok(()))
}

/// Unpacks into a folder, or only looks; the names of what was there.
fn extract(call: &Call<'_>, archive: &[u8], folder: &str, keep: bool) -> io::Result<Vec<String>> {
    let files = &call.shell.world.files;
    let mut names = Vec::new();
    for entry in Archive::new(archive).entries()? {
        let mut entry = entry?;
        let name = entry.path()?.to_string_lossy().into_owned();
        // Whatever the name says, the path stays in the container: `normalize` takes `..` at its word.
        let path = normalize(folder, name.trim_start_matches('/'));
        match entry.header().entry_type() {
            EntryType::Directory if keep && !files.is_folder(&path) => files.make_folder(&path, true)?,
            EntryType::Regular | EntryType::Continuous if keep => {
                let parent = path.rsplit_once('/').map_or("/", |(parent, _)| parent);
                if !parent.is_empty() && !files.is_folder(parent) {
                    files.make_folder(parent, true)?;
                }
                let mut bytes = Vec::new();
                entry.by_ref().take(MAX_ARCHIVE as u64).read_to_end(&mut bytes)?;
                files.write(&path, false)?.write_all(&bytes)?;
            }
            _ => {}
        }
        names.push(name);
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_as_kubectl_gives_them() {
        for (arguments, action, folder, paths) in [
            (&["cf", "-", "/etc/app"][..], 'c', "", &["/etc/app"][..]),
            (&["-xmf", "-", "-C", "/tmp"], 'x', "/tmp", &[]),
            (&["--no-same-permissions", "--no-same-owner", "-xmf", "-", "-C", "/tmp"], 'x', "/tmp", &[]),
        ] {
            let arguments: Vec<String> = arguments.iter().map(|word| (*word).to_owned()).collect();
            let expected = Wanted {
                action: Some(action),
                file: "-".to_owned(),
                folder: folder.to_owned(),
                paths: paths.iter().map(|path| (*path).to_owned()).collect(),
            };
            assert_eq!(wanted(&arguments), expected);
        }
    }
}
