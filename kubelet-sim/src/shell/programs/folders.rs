//! Programs about files and folders.

use std::{fs::Metadata, io, os::unix::fs::MetadataExt, time::SystemTime};

use jiff::Timestamp;

use super::{Call, Ran};
use crate::shell::{files::describe, pattern::Pattern};

/// The most entries that one program looks at.
const MAX_ENTRIES: usize = 10_000;

/// Runs one of them.
pub async fn run(call: &Call<'_>) -> Ran {
    match call.name {
        "ls" => ls(call).await,
        "find" | "du" => find(call).await,
        "stat" => stat(call).await,
        "cp" | "mv" => transfer(call).await,
        "mktemp" => make_temporary(call).await,
        _ => each(call).await,
    }
}

/// `touch`, `mkdir`, `rm`, `rmdir`: one thing for each argument.
async fn each(call: &Call<'_>) -> Ran {
    let (options, paths) = call.options("m");
    let has = |letter| options.iter().any(|(given, _)| *given == letter);
    let files = &call.shell.world.files;
    let mut status = 0;
    for given in &paths {
        let path = call.path(given);
        let done = match call.name {
            "touch" if files.is_folder(&path) => Ok(()),
            "touch" => files.write(&path, true).and_then(|file| file.set_modified(now())),
            "mkdir" => files.make_folder(&path, has('p')),
            "rmdir" => files.list(&path).and_then(|names| {
                if names.is_empty() { files.remove(&path, true) } else { Err(io::ErrorKind::DirectoryNotEmpty.into()) }
            }),
            _ => match files.remove(&path, has('r') || has('R')) {
                Err(error) if has('f') && error.kind() == io::ErrorKind::NotFound => Ok(()),
                done => done,
            },
        };
        if let Err(error) = done {
            let why = describe(&error);
            let message = match call.name {
                "mkdir" => format!("can't create directory '{given}': {why}"),
                "touch" => format!("{given}: {why}"),
                _ => format!("can't remove '{given}': {why}"),
            };
            status = call.fail(message).await?;
        }
    }
    Ok(status)
}

fn now() -> SystemTime {
    kubelab_client::clock::now_micro().0.into()
}

async fn ls(call: &Call<'_>) -> Ran {
    let (options, mut paths) = call.options("");
    let has = |letter| options.iter().any(|(given, _)| *given == letter);
    if paths.is_empty() {
        paths.push(".".to_owned());
    }
    let files = &call.shell.world.files;
    let mut status = 0;
    let several = paths.len() > 1;
    for given in &paths {
        let path = call.path(given);
        let mut lines = Vec::new();
        match files.about(&path) {
            Err(error) => {
                let why = describe(&error);
                let message = match call.shell.world.userland.has_bash() {
                    true => format!("cannot access '{given}': {why}"),
                    false => format!("{given}: {why}"),
                };
                call.fail(message).await?;
                status = if call.shell.world.userland.has_bash() { 2 } else { 1 };
                continue;
            }
            Ok(_) if files.is_folder(&path) && !has('d') => {
                if several {
                    call.print(format!("{given}:\n")).await?;
                }
                let mut names = files.list(&path).unwrap_or_default();
                names.retain(|name| has('a') || has('A') || !name.starts_with('.'));
                if has('a') {
                    names.splice(0..0, [".".to_owned(), "..".to_owned()]);
                }
                for name in names {
                    let inner = crate::shell::files::normalize(&path, &name);
                    lines.push(if has('l') { long(call, &inner, &name, has('L')) } else { name });
                }
                if has('l') {
                    call.print(format!("total {}\n", lines.len() * 4)).await?;
                }
            }
            Ok(_) => lines.push(if has('l') { long(call, &path, given, has('L')) } else { given.clone() }),
        }
        // On a terminal names stand side by side.
        let side_by_side = call.streams.stdout.is_terminal() && !has('l') && !has('1');
        let text = if side_by_side && !lines.is_empty() {
            lines.join("  ") + "\n"
        } else {
            lines.into_iter().map(|line| line + "\n").collect()
        };
        call.print(text).await?;
    }
    Ok(status)
}

/// One line of `ls -l`; of what a link leads to, if `follow`.
fn long(call: &Call<'_>, path: &str, name: &str, follow: bool) -> String {
    let files = &call.shell.world.files;
    let found = if follow { files.about_target(path) } else { files.about(path) };
    let Ok(about) = found else { return name.to_owned() };
    let links = if about.is_dir() { 2 } else { 1 };
    let modified = about.modified().ok().and_then(|time| Timestamp::try_from(time).ok()).unwrap_or_default();
    let length = if about.is_dir() { 4096 } else { about.len() };
    let leads =
        files.link(path).filter(|_| about.is_symlink()).map(|target| format!(" -> {target}")).unwrap_or_default();
    let mut mode = mode_text(&about);
    if files.is_device(path) {
        mode.replace_range(..1, "b");
    }
    let modified = modified.strftime("%b %e %H:%M");
    format!("{mode}    {links} root     root     {length:>9} {modified} {name}{leads}")
}

/// `drwxr-xr-x`
fn mode_text(about: &Metadata) -> String {
    let kind = if about.is_dir() {
        'd'
    } else if about.is_symlink() {
        'l'
    } else {
        '-'
    };
    let mode = about.mode();
    let bits = (0..9).map(|bit| if mode & (0o400 >> bit) == 0 { '-' } else { ['r', 'w', 'x'][bit % 3] });
    std::iter::once(kind).chain(bits).collect()
}

/// `stat`, `stat -L -c FORMAT`: `%a`, `%A`, `%n`, `%s`, `%F`, `%U`, `%G`, `%u`, `%g`, `%Y`.
async fn stat(call: &Call<'_>) -> Ran {
    let (options, paths) = call.options("c");
    let follow = options.iter().any(|(letter, _)| *letter == 'L');
    let format = options.iter().find(|(letter, _)| *letter == 'c').map(|(_, format)| format.clone());
    let files = &call.shell.world.files;
    let mut status = 0;
    for given in &paths {
        let path = call.path(given);
        match if follow { files.about_target(&path) } else { files.about(&path) } {
            Ok(about) => {
                let text = match &format {
                    Some(format) => stat_line(format, given, &about),
                    None => {
                        let access = format!("({:04o}/{})", about.mode() & 0o7777, mode_text(&about));
                        let leads = files.link(&path).filter(|_| about.is_symlink());
                        let leads = leads.map(|target| format!(" -> '{target}'")).unwrap_or_default();
                        let (size, kind) = (about.len(), kind(&about));
                        format!(
                            "  File: {given}{leads}\n  Size: {size}\t{kind}\nAccess: {access}  Uid: (    0/    root)   Gid: (    0/    root)"
                        )
                    }
                };
                call.print(text + "\n").await?;
            }
            Err(error) => status = call.fail(format!("can't stat '{given}': {}", describe(&error))).await?,
        }
    }
    Ok(status)
}

fn kind(about: &Metadata) -> &'static str {
    match (about.is_dir(), about.is_symlink()) {
        (true, _) => "directory",
        (_, true) => "symbolic link",
        _ if about.len() == 0 => "regular empty file",
        _ => "regular file",
    }
}

fn stat_line(format: &str, name: &str, about: &Metadata) -> String {
    let mut line = String::new();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            line.push(c);
            continue;
        }
        match chars.next() {
            Some('a') => line += &format!("{:o}", about.mode() & 0o7777),
            Some('A') => line += &mode_text(about),
            Some('n') => line += name,
            Some('s') => line += &about.len().to_string(),
            Some('F') => line += kind(about),
            Some('U' | 'G') => line += "root",
            Some('u' | 'g') => line.push('0'),
            Some('Y') => line += &about.mtime().to_string(),
            Some(other) => line.push(other),
            None => line.push('%'),
        }
    }
    line
}

/// `find folder -name pattern -type f`, and `du`.
async fn find(call: &Call<'_>) -> Ran {
    let mut arguments = call.arguments.iter().peekable();
    let mut roots = Vec::new();
    while let Some(root) = arguments.next_if(|argument| !argument.starts_with('-')) {
        roots.push(root.clone());
    }
    if roots.is_empty() {
        roots.push(".".to_owned());
    }
    let (mut name, mut kind) = (None, None);
    while let Some(option) = arguments.next() {
        match option.as_str() {
            "-name" => name = arguments.next().map(|pattern| Pattern::plain(pattern)),
            "-type" => kind = arguments.next().map(String::as_str),
            _ => {}
        }
    }
    let files = &call.shell.world.files;
    let mut status = 0;
    let mut left = MAX_ENTRIES;
    for root in roots {
        if let Err(error) = files.about(&call.path(&root)) {
            status = call.fail(format!("{root}: {}", describe(&error))).await?;
            continue;
        }
        let mut bytes = 0;
        let mut waiting = vec![root.clone()];
        while let Some(shown) = waiting.pop()
            && left > 0
        {
            left -= 1;
            let path = call.path(&shown);
            // Links are not followed.
            let is_folder = files.about(&path).is_ok_and(|about| about.is_dir());
            bytes += files.about(&path).map_or(0, |about| about.len());
            let last = shown.rsplit('/').next().unwrap_or_default();
            let letter = if is_folder { "d" } else { files.link(&path).map_or("f", |_| "l") };
            let matches =
                name.as_ref().is_none_or(|pattern| pattern.matches(last)) && kind.is_none_or(|kind| kind == letter);
            if call.name == "find" && matches {
                call.print(format!("{shown}\n")).await?;
            }
            if is_folder {
                let names = files.list(&path).unwrap_or_default();
                waiting.extend(names.iter().rev().map(|name| format!("{}/{name}", shown.trim_end_matches('/'))));
            }
        }
        if call.name == "du" {
            call.print(format!("{}\t{root}\n", bytes.div_ceil(1024))).await?;
        }
    }
    Ok(status)
}

async fn transfer(call: &Call<'_>) -> Ran {
    let (options, mut paths) = call.options("");
    let recursive = options.iter().any(|(letter, _)| matches!(letter, 'r' | 'R' | 'a')) || call.name == "mv";
    let Some(target) = paths.pop().filter(|_| !paths.is_empty()) else {
        return call.fail("missing file operand").await;
    };
    let files = &call.shell.world.files;
    let mut status = 0;
    for given in &paths {
        let from = call.path(given);
        let mut to = call.path(&target);
        if files.is_folder(&to) {
            to = format!("{}/{}", to.trim_end_matches('/'), from.rsplit('/').next().unwrap_or_default());
        }
        let done = if files.is_folder(&from) && !recursive {
            status = call.fail(format!("omitting directory '{given}'")).await?;
            continue;
        } else if to == from || to.starts_with(&format!("{from}/")) {
            Err(io::ErrorKind::InvalidInput.into())
        } else {
            copy(call, &from, &to)
        };
        let done = done.and_then(|()| if call.name == "mv" { files.remove(&from, true) } else { Ok(()) });
        if let Err(error) = done {
            status = call.fail(format!("can't stat '{given}': {}", describe(&error))).await?;
        }
    }
    Ok(status)
}

/// Copies a file, or a folder with all that is in it.
fn copy(call: &Call<'_>, from: &str, to: &str) -> io::Result<()> {
    let files = &call.shell.world.files;
    let mut waiting = vec![(from.to_owned(), to.to_owned())];
    while let Some((from, to)) = waiting.pop() {
        if !files.is_folder(&from) {
            let bytes = files.read(&from)?;
            io::Write::write_all(&mut files.write(&to, false)?, &bytes)?;
            continue;
        }
        if !files.is_folder(&to) {
            files.make_folder(&to, true)?;
        }
        for name in files.list(&from)? {
            waiting.push((format!("{from}/{name}"), format!("{to}/{name}")));
        }
    }
    Ok(())
}

async fn make_temporary(call: &Call<'_>) -> Ran {
    let path = format!("/tmp/tmp.{:06x}", rand::random::<u32>() & 0xff_ffff);
    let files = &call.shell.world.files;
    let made = match call.arguments.iter().any(|argument| argument == "-d") {
        true => files.make_folder(&path, true),
        false => files.write(&path, false).map(drop),
    };
    match made {
        Ok(()) => call.print(path + "\n").await.map(|()| 0),
        Err(error) => call.fail(describe(&error)).await,
    }
}
