//! What only a shell itself can do.

use super::{Call, exit, number};
use crate::shell::evaluate::{Outcome, Stop};

/// Their names.
pub const KNOWN: &[&str] = &[
    ":", ".", "source", "break", "cd", "command", "continue", "eval", "exec", "exit", "export", "local", "read",
    "return", "set", "shift", "trap", "type", "ulimit", "umask", "unset", "wait", "readonly", "declare",
];

/// Runs a builtin; `None` if there is none with this name.
pub async fn run(call: &mut Call<'_>) -> Option<Outcome> {
    let (shell, arguments, streams) = (&mut *call.shell, call.arguments, call.streams);
    Some(match call.name {
        ":" | "ulimit" | "umask" => Ok(0),
        "trap" => Ok(shell.trap(arguments, streams).await),
        "break" => Err(Stop::Break(number(arguments, 1).unsigned_abs())),
        "continue" => Err(Stop::Continue(number(arguments, 1).unsigned_abs())),
        "return" => Err(Stop::Return(number(arguments, shell.status))),
        "exit" => Err(exit(shell, arguments)),
        "cd" => cd(call).await,
        "eval" => shell.source(&arguments.join(" "), streams).await,
        "." | "source" => {
            let file = arguments.first().map(|file| call.path(file)).unwrap_or_default();
            match call.shell.world.files.read(&file) {
                Ok(text) => {
                    let text = String::from_utf8_lossy(&text).into_owned();
                    call.shell.source(&text, call.streams).await
                }
                Err(_) => Ok(call.fail("can't open file").await.unwrap_or(1)),
            }
        }
        "exec" | "command" => match arguments.split_first() {
            Some((option, names)) if option == "-v" && call.name == "command" => {
                let found = names.iter().all(|name| super::is_known(shell, name) || shell.functions.contains_key(name));
                for name in names.iter().filter(|name| super::is_known(shell, name)) {
                    let _ = streams.stdout.print(format!("{name}\n")).await;
                }
                Ok(if found { 0 } else { 127 })
            }
            Some((program, arguments)) => {
                if call.name == "exec" {
                    // What it becomes is the container's first process, if it was.
                    (shell.hands_over, shell.last_program) = (shell.is_first, Some(program.clone()));
                    shell.traps.clear();
                }
                let outcome = shell.call(program, arguments, streams).await;
                match (call.name, outcome) {
                    ("exec", Ok(status)) => Err(Stop::Exit(status)),
                    (_, outcome) => outcome,
                }
            }
            None => Ok(0),
        },
        "export" | "local" | "readonly" | "declare" => {
            for argument in arguments.iter().filter(|argument| !argument.starts_with('-')) {
                let (name, value) = argument.split_once('=').map_or((argument.as_str(), None), |(n, v)| (n, Some(v)));
                let variable = shell.variables.entry(name.to_owned()).or_default();
                variable.exported |= call.name == "export";
                if let Some(value) = value {
                    variable.value = value.to_owned();
                }
            }
            Ok(0)
        }
        "unset" => {
            for name in arguments {
                shell.variables.remove(name);
                shell.functions.remove(name);
            }
            Ok(0)
        }
        "set" => {
            let mut arguments = arguments.iter();
            for argument in arguments.by_ref() {
                match argument.as_str() {
                    "--" => {
                        shell.arguments = arguments.cloned().collect();
                        break;
                    }
                    option if option.starts_with('-') => shell.exit_on_error |= option.contains('e'),
                    option if option.starts_with('+') => shell.exit_on_error &= !option.contains('e'),
                    _ => {}
                }
            }
            Ok(0)
        }
        "shift" => {
            let count = usize::try_from(number(arguments, 1)).unwrap_or(0);
            if count > shell.arguments.len() {
                return Some(Ok(1));
            }
            shell.arguments.drain(..count);
            Ok(0)
        }
        "read" => read(call).await,
        "type" => {
            let mut status = 0;
            for name in arguments {
                let text = if KNOWN.contains(&name.as_str()) {
                    format!("{name} is a shell builtin\n")
                } else if super::is_known(shell, name) {
                    format!("{name} is /bin/{name}\n")
                } else {
                    status = 127;
                    format!("{name}: not found\n")
                };
                let _ = streams.stdout.print(text).await;
            }
            Ok(status)
        }
        "wait" => {
            let pids: Result<Vec<u32>, _> = arguments.iter().map(|pid| pid.trim_start_matches('%').parse()).collect();
            match pids {
                Ok(pids) => Box::pin(shell.wait_for(&pids, streams)).await,
                Err(_) => Ok(2),
            }
        }
        _ => return None,
    })
}

async fn cd(call: &mut Call<'_>) -> Outcome {
    let home = call.shell.get("HOME").unwrap_or("/").to_owned();
    let target = match call.arguments.first().map(String::as_str) {
        None => home,
        Some("-") => call.shell.get("OLDPWD").unwrap_or("/").to_owned(),
        Some(target) => target.to_owned(),
    };
    let path = call.path(&target);
    if path != "/" && !call.shell.world.files.is_folder(&path) {
        return Ok(call.fail(format!("can't cd to {target}: No such file or directory")).await.unwrap_or(1));
    }
    let old = std::mem::replace(&mut call.shell.folder, path.clone());
    call.shell.set("OLDPWD", old);
    call.shell.set("PWD", path);
    Ok(0)
}

async fn read(call: &mut Call<'_>) -> Outcome {
    let (options, names) = call.options("ptdn");
    if let Some((_, prompt)) = options.iter().find(|(letter, _)| *letter == 'p') {
        let _ = call.streams.stderr.print(prompt).await;
    }
    let Some(line) = call.streams.stdin.line().await else { return Ok(1) };
    let mut rest = line.trim_end_matches('\n').trim();
    let names = if names.is_empty() { vec!["REPLY".to_owned()] } else { names };
    for (at, name) in names.iter().enumerate() {
        let (value, next) =
            if at + 1 == names.len() { (rest, "") } else { rest.split_once(char::is_whitespace).unwrap_or((rest, "")) };
        call.shell.set(name, value.to_owned());
        rest = next.trim_start();
    }
    Ok(0)
}
