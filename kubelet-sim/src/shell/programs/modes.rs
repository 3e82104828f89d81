//! `chmod`, and what shows where things are mounted: `df`, `mount`.

use std::{io, os::unix::fs::MetadataExt};

use super::{Call, Ran};
use crate::shell::files::describe;

/// The most entries that `chmod -R` changes.
const MAX_ENTRIES: usize = 10_000;

/// `chmod [-R] MODE PATH…`
pub async fn chmod(call: &Call<'_>) -> Ran {
    let mut arguments: Vec<&String> = call.arguments.iter().collect();
    let recursive = arguments.iter().any(|argument| *argument == "-R");
    arguments.retain(|argument| *argument != "-R");
    let Some((mode, paths)) = arguments.split_first().filter(|(_, paths)| !paths.is_empty()) else {
        return call.fail("missing operand").await;
    };
    if changed(mode, 0).is_none() {
        return call.fail(format!("invalid mode '{mode}'")).await;
    }
    let mut status = 0;
    for given in paths {
        if let Err(error) = change(call, &call.path(given), mode, recursive) {
            status = call.fail(format!("{given}: {}", describe(&error))).await?;
        }
    }
    Ok(status)
}

fn change(call: &Call<'_>, path: &str, mode: &str, recursive: bool) -> io::Result<()> {
    let files = &call.shell.world.files;
    let mut waiting = vec![path.to_owned()];
    let mut left = MAX_ENTRIES;
    while let Some(path) = waiting.pop() {
        let about = files.about_target(&path)?;
        if recursive && about.is_dir() {
            waiting.extend(files.list(&path)?.iter().map(|name| format!("{}/{name}", path.trim_end_matches('/'))));
        }
        files.set_mode(&path, changed(mode, about.mode()).unwrap_or_default())?;
        left -= 1;
        if left == 0 {
            break;
        }
    }
    Ok(())
}

/// What a mode becomes: `755`, `u+x`, `go-w`, `a=r`, `+x,-w`.
fn changed(wanted: &str, mode: u32) -> Option<u32> {
    if wanted.chars().all(|c| c.is_digit(8)) {
        return u32::from_str_radix(wanted, 8).ok().filter(|mode| *mode <= 0o7777);
    }
    wanted.split(',').try_fold(mode & 0o7777, |mode, clause| {
        let at = clause.find(['+', '-', '='])?;
        let (who, rest) = clause.split_at(at);
        let (sign, what) = rest.split_at(1);
        let whom = who.chars().try_fold(0, |whom, who| {
            Some(
                whom | match who {
                    'u' => 0o700,
                    'g' => 0o070,
                    'o' => 0o007,
                    'a' => 0o777,
                    _ => return None,
                },
            )
        });
        let whom = whom.map(|whom| if whom == 0 { 0o777 } else { whom })?;
        let bits = what.chars().try_fold(0, |bits, what| {
            Some(
                bits | match what {
                    'r' => 0o444,
                    'w' => 0o222,
                    'x' | 'X' => 0o111,
                    's' | 't' => 0,
                    _ => return None,
                },
            )
        })?;
        Some(match sign {
            "+" => mode | bits & whom,
            "-" => mode & !(bits & whom),
            _ => mode & !whom | bits & whom,
        })
    })
}

/// `df`
pub fn df(call: &Call<'_>) -> String {
    let line = |what: &str, place: &str| format!("{what:<20} {:>10} {:>9} {:>9}   0% {place}\n", 262_144, 0, 262_144);
    let head = "Filesystem           1K-blocks      Used Available Use% Mounted on\n".to_owned();
    let mounts = call.shell.world.files.mounts().iter().rev();
    let mounts = mounts.map(|mount| line(kind(mount.volume.is_some()), &mount.path));
    [head, line("overlay", "/")].into_iter().chain(mounts).collect()
}

/// `mount`
pub fn mounted(call: &Call<'_>) -> String {
    let mounts = call.shell.world.files.mounts().iter().rev().map(|mount| {
        let (kind, access) = (kind(mount.volume.is_some()), if mount.read_only { "ro" } else { "rw" });
        format!("{kind} on {} type {} ({access},relatime)\n", mount.path, if kind == "tmpfs" { kind } else { "ext4" })
    });
    std::iter::once("overlay on / type overlay (rw,relatime)\n".to_owned()).chain(mounts).collect()
}

/// Upstream keeps what comes from the API in memory.
fn kind(is_written: bool) -> &'static str {
    if is_written { "tmpfs" } else { "/dev/vda1" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_changed_as_asked() {
        for (wanted, mode, expected) in [
            ("755", 0o600, Some(0o755)),
            ("0400", 0o644, Some(0o400)),
            ("+x", 0o644, Some(0o755)),
            ("u+x", 0o644, Some(0o744)),
            ("go-r", 0o644, Some(0o600)),
            ("a=r", 0o755, Some(0o444)),
            ("u+w,o-r", 0o444, Some(0o640)),
            ("99", 0o644, None),
            ("z+x", 0o644, None),
            ("u+q", 0o644, None),
        ] {
            assert_eq!(changed(wanted, mode), expected, "{wanted}");
        }
    }
}
