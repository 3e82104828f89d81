//! Programs about files and folders.

use std::{io, time::SystemTime};

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
            Ok(about) if about.is_dir() && !has('d') => {
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
                    lines.push(if has('l') { long(call, &inner, &name) } else { name });
                }
                if has('l') {
                    call.print(format!("total {}\n", lines.len() * 4)).await?;
                }
            }
            Ok(_) => lines.push(if has('l') { long(call, &path, given) } else { given.clone() }),
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

/// One line of `ls -l`.
fn long(call: &Call<'_>, path: &str, name: &str) -> String {
    let Ok(about) = call.shell.world.files.about(path) else { return name.to_owned() };
    let kind = if about.is_dir() { "drwxr-xr-x" } else { "-rw-r--r--" };
    let links = if about.is_dir() { 2 } else { 1 };
    let modified = about.modified().ok().and_then(|time| Timestamp::try_from(time).ok()).unwrap_or_default();
    let length = if about.is_dir() { 4096 } else { about.len() };
    format!("{kind}    {links} root     root     {length:>9} {} {name}", modified.strftime("%b %e %H:%M"))
}

async fn stat(call: &Call<'_>) -> Ran {
    let (_, paths) = call.options("c");
    let mut status = 0;
    for given in &paths {
        match call.shell.world.files.about(&call.path(given)) {
            Ok(about) => call.print(format!("  File: {given}\n  Size: {}\n", about.len())).await?,
            Err(error) => status = call.fail(format!("can't stat '{given}': {}", describe(&error))).await?,
        }
    }
    Ok(status)
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
            let is_folder = files.is_folder(&path);
            bytes += files.about(&path).map_or(0, |about| about.len());
            let last = shown.rsplit('/').next().unwrap_or_default();
            let matches = name.as_ref().is_none_or(|pattern| pattern.matches(last))
                && kind.is_none_or(|kind| (kind == "d") == is_folder);
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
