//! One run of a program: from `exec`, or as a container's own.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{Notify, mpsc};

use super::{
    evaluate::{Shell, Stop, status_of},
    programs::{self, SHELLS, base_name},
    script::parse,
    streams::{Input, Output, Streams},
    terminal,
    world::World,
};
use crate::behavior::foreign::Work;

/// What a program that was interrupted exits with: 128 + SIGINT.
const INTERRUPTED: i32 = 130;

/// What a program cannot be started with. Source: the exit codes of `docker exec`.
const NOT_EXECUTABLE: i32 = 126;
const NOT_FOUND: i32 = 127;

/// What is to run, and what it is connected to.
pub struct Session {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// It has a terminal.
    pub tty: bool,
    /// What is sent to it; for a terminal the keys.
    pub stdin: Option<mpsc::Receiver<Bytes>>,
    /// Where it writes.
    pub stdout: Output,
    /// Where it writes errors, without a terminal.
    pub stderr: Output,
}

/// Runs a program to its end; its exit status.
pub async fn run(world: Arc<World>, session: Session) -> i32 {
    let Session { command, tty, stdin, stdout, stderr } = session;
    let Some((program, arguments)) = command.split_first() else { return NOT_FOUND };
    let is_own = world.is_own;
    let mut shell = Shell::new(world, "sh");
    shell.hands_over = is_own;
    // A program without a shell around it is its own last one.
    shell.last_program = Some(program.clone());
    if tty {
        shell.set("TERM", "xterm".to_owned());
    }
    let stdout = if tty { Output::Terminal(Box::new(stdout)) } else { stdout };
    let stderr = if tty { stdout.clone() } else { stderr };
    if let Some((status, why)) = refusal(&shell, program) {
        let message = format!(
            "OCI runtime exec failed: exec failed: unable to start container process: exec: {program:?}: {why}: unknown\n"
        );
        let _ = stdout.print(message).await;
        return status;
    }
    let interrupt = Arc::new(Notify::new());
    let (stdin, keyboard) = match stdin {
        Some(keys) if tty => {
            let (sender, lines) = mpsc::channel(16);
            let screen = stdout.clone();
            (Input::live(lines), Some(terminal::run(keys, sender, screen, interrupt.clone())))
        }
        Some(bytes) => (Input::live(bytes), None),
        None => (Input::empty(), None),
    };
    let streams = Streams { stdin, stdout, stderr };
    let is_prompt = tty && SHELLS.contains(&base_name(program)) && !arguments.iter().any(|word| !word.starts_with('-'));
    let work = async {
        if is_prompt && !arguments.iter().any(|option| option.ends_with('c')) {
            shell.name = base_name(program).to_owned();
            shell.interactive = true;
            shell.is_first = is_own;
            return read_commands(&mut shell, &streams, Some(&interrupt)).await;
        }
        let run = async {
            let outcome = programs::run(&mut shell, program, arguments, &streams).await;
            let status = status_of(outcome, &shell);
            if !is_own {
                shell.wait().await;
            }
            status
        };
        tokio::select! {
            status = run => status,
            () = interrupt.notified() => INTERRUPTED,
        }
    };
    match keyboard {
        Some(keyboard) => {
            tokio::pin!(work);
            tokio::select! {
                status = &mut work => status,
                // Whoever typed is gone; the program finds the end of its input.
                () = keyboard => work.await,
            }
        }
        None => work.await,
    }
}

/// Why a program cannot be started, in runc's words.
fn refusal(shell: &Shell, program: &str) -> Option<(i32, &'static str)> {
    let path = super::files::normalize(&shell.folder, program);
    if shell.world.is_own || programs::is_program(shell, program) {
        return None;
    }
    if !matches!(shell.world.foreign.work_beside(&[program.to_owned()]), Work::Absent) {
        return None;
    }
    if !program.contains('/') {
        return Some((NOT_FOUND, "executable file not found in $PATH"));
    }
    match shell.world.files.about(&path) {
        Ok(about) if about.is_dir() => Some((NOT_EXECUTABLE, "is a directory")),
        Ok(_) => None,
        Err(_) => Some((NOT_FOUND, "stat: no such file or directory")),
    }
}

/// Reads commands and runs them, until the input ends: a shell without a script. A person sees prompts and may interrupt.
pub async fn read_commands(shell: &mut Shell, streams: &Streams, person: Option<&Notify>) -> i32 {
    let mut text = String::new();
    loop {
        if person.is_some() {
            let prompt = if text.is_empty() { prompt(shell) } else { "> ".to_owned() };
            if streams.stderr.print(prompt).await.is_err() {
                return shell.status;
            }
        }
        let line = match person {
            Some(interrupt) => tokio::select! {
                line = streams.stdin.line() => line,
                () = interrupt.notified() => {
                    text.clear();
                    shell.status = INTERRUPTED;
                    continue;
                }
            },
            None => streams.stdin.line().await,
        };
        let ended = line.is_none();
        text.push_str(&line.unwrap_or_default());
        if text.trim().is_empty() {
            if ended {
                if person.is_some() {
                    let _ = streams.stderr.print("exit\n").await;
                }
                return shell.status;
            }
            text.clear();
            continue;
        }
        // Commands that go on in the next line: `for i in 1 2; do`.
        if !ended && parse(&text).is_err() && is_unfinished(&text) {
            continue;
        }
        let script = std::mem::take(&mut text);
        let outcome = match person {
            Some(interrupt) => tokio::select! {
                outcome = shell.source(&script, streams) => outcome,
                () = interrupt.notified() => {
                    shell.status = INTERRUPTED;
                    continue;
                }
            },
            None => shell.source(&script, streams).await,
        };
        match outcome {
            Err(Stop::Exit(status) | Stop::Return(status)) => return status,
            Ok(_) | Err(Stop::Break(_) | Stop::Continue(_)) => {}
        }
    }
}

/// Whether a script fails to parse only because more of it is to come.
fn is_unfinished(text: &str) -> bool {
    let closers =
        ["\ndone", "\nfi", "\nesac", "\n}", "\n)", "'", "\"", "\n:\ndone", "\n:\nfi", "\ndo :; done", "\nthen :; fi"];
    text.ends_with("\\\n") || closers.iter().any(|closer| parse(&format!("{text}{closer}")).is_ok())
}

/// What a shell asks for the next command with.
fn prompt(shell: &Shell) -> String {
    let home = shell.get("HOME").unwrap_or_default();
    let folder = match shell.folder.strip_prefix(home) {
        Some(rest) if !home.is_empty() && home != "/" => format!("~{rest}"),
        _ => shell.folder.clone(),
    };
    match shell.name.as_str() {
        "bash" => format!("root@{}:{folder}# ", shell.world.hostname),
        // Debian's sh is dash, which says little; busybox's shows the folder.
        _ if shell.world.userland.has_bash() => "# ".to_owned(),
        _ => format!("{folder} # "),
    }
}
