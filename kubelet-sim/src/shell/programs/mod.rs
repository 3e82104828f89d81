//! The programs that are known. To teach containers another one, add a row to [`run`].
//!
//! | module | programs |
//! | --- | --- |
//! | [`builtins`] | what only a shell itself can do: `cd`, `export`, `exit`, … |
//! | [`text`] | `echo`, `cat`, `grep`, … |
//! | [`lines`] | `grep`, `sort`, `cut`, … |
//! | [`sed`] | `sed` |
//! | [`expression`] | POSIX' regular expressions (pure) |
//! | [`folders`] | `ls`, `mkdir`, `cp`, … |
//! | [`modes`] | `chmod`, `df`, `mount` |
//! | [`facts`] | `env`, `hostname`, `date`, `ps`, … |
//! | [`network`] | `curl`, `wget`, `nslookup`, … |
//! | [`test`] | `test` and `[` |
//! | [`tar`] | `tar`, which `kubectl cp` needs |

mod builtins;
mod expression;
mod facts;
mod folders;
mod lines;
mod modes;
mod network;
mod sed;
pub mod tar;
pub mod test;
mod text;

use std::time::Duration;

use super::{
    evaluate::{Outcome, Shell, Stop, status_of},
    files::normalize,
    script,
    streams::{Broken, Streams},
};
use crate::behavior::foreign::Work;

/// What a program is killed with when nobody reads what it writes: 128 + SIGPIPE.
const PIPE_BROKEN: i32 = 141;

/// Folders that programs are in.
const BIN: [&str; 6] = ["/bin", "/usr/bin", "/usr/local/bin", "/sbin", "/usr/sbin", "/usr/local/sbin"];

/// Programs that a shell can run as others.
pub const SHELLS: [&str; 4] = ["sh", "bash", "ash", "dash"];

/// One run of a program.
pub struct Call<'a> {
    /// The shell that runs it.
    pub shell: &'a mut Shell,
    /// Its name.
    pub name: &'a str,
    /// Its arguments.
    pub arguments: &'a [String],
    /// Its streams.
    pub streams: &'a Streams,
}

/// A program's status, unless its output is broken.
pub type Ran = Result<i32, Broken>;

impl Call<'_> {
    /// Splits arguments into single-letter options and the rest. `-n5` and `-n 5` give `n` a value if `valued` has it.
    pub fn options(&self, valued: &str) -> (Vec<(char, String)>, Vec<String>) {
        let mut options = Vec::new();
        let mut rest = Vec::new();
        let mut arguments = self.arguments.iter();
        while let Some(argument) = arguments.next() {
            let Some(letters) = argument.strip_prefix('-').filter(|letters| !letters.is_empty()) else {
                rest.push(argument.clone());
                continue;
            };
            if letters == "-" {
                rest.extend(arguments.cloned());
                break;
            }
            if let Some(long) = letters.strip_prefix('-') {
                let letter = long.chars().next().unwrap_or('-');
                options.push((letter, long.split_once('=').map_or(String::new(), |(_, value)| value.to_owned())));
                continue;
            }
            let mut letters = letters.chars();
            while let Some(letter) = letters.next() {
                if valued.contains(letter) {
                    let value: String = letters.by_ref().collect();
                    let value = if value.is_empty() { arguments.next().cloned().unwrap_or_default() } else { value };
                    options.push((letter, value));
                } else {
                    options.push((letter, String::new()));
                }
            }
        }
        (options, rest)
    }

    /// A path of the container, whole.
    pub fn path(&self, path: &str) -> String {
        normalize(&self.shell.folder, path)
    }

    /// Says what went wrong; gives status 1.
    pub async fn fail(&self, what: impl AsRef<str>) -> Ran {
        self.streams.stderr.print(format!("{}: {}\n", self.name, what.as_ref())).await?;
        Ok(1)
    }

    /// Writes to standard output.
    pub async fn print(&self, text: impl AsRef<str>) -> Result<(), Broken> {
        self.streams.stdout.print(text).await
    }
}

/// The name of a program without the folders that programs are in.
pub fn base_name(program: &str) -> &str {
    match program.rsplit_once('/') {
        Some((folder, name)) if BIN.contains(&folder) => name,
        _ => program,
    }
}

/// Whether a path is in one of the folders that programs are in.
pub fn is_in_bin(path: &str) -> bool {
    path.rsplit_once('/').is_some_and(|(folder, _)| BIN.contains(&folder))
}

/// Whether a program is there.
pub fn is_known(shell: &Shell, program: &str) -> bool {
    let userland = shell.world.userland;
    let name = base_name(program);
    match name {
        "bash" => userland.has_bash(),
        name if !userland.has_programs() => builtins::KNOWN.contains(&name) && name == program,
        name => SHELLS.contains(&name) || is_program_name(name) || (name == program && builtins::KNOWN.contains(&name)),
    }
}

/// Whether it is a program of its own, which needs no shell.
pub fn is_program(shell: &Shell, program: &str) -> bool {
    is_known(shell, program) && !builtins::KNOWN.contains(&program)
}

/// Whether this is a shell or a program that is known, wherever it is.
pub fn is_ours(program: &str) -> bool {
    let name = base_name(program);
    SHELLS.contains(&name) || is_program_name(name)
}

/// Whether this is the name of a program that is known.
pub fn is_program_name(name: &str) -> bool {
    PROGRAMS.contains(&name) || network::NAMES.contains(&name)
}

/// Every program beside the shells, their builtins, and those of [`network`].
const PROGRAMS: &[&str] = &[
    "base64", "basename", "cat", "chmod", "chown", "clear", "cp", "cut", "date", "df", "dirname", "du", "echo", "env",
    "false", "find", "free", "grep", "head", "hostname", "id", "ls", "mkdir", "mktemp", "mv", "nproc", "printenv",
    "printf", "ps", "pwd", "rev", "rm", "rmdir", "sed", "seq", "sleep", "sort", "stat", "sync", "tail", "tar", "tee",
    "test", "[", "time", "timeout", "touch", "tr", "true", "tty", "uname", "uniq", "uptime", "wc", "which", "whoami",
    "xargs", "yes", "kill", "nohup",
];

/// Runs a builtin or a program.
pub async fn run(shell: &mut Shell, program: &str, arguments: &[String], streams: &Streams) -> Outcome {
    let name = base_name(program);
    shell.world.files.look_for(&shell.folder, arguments).await;
    let mut call = Call { shell, name, arguments, streams };
    if name == program
        && let Some(outcome) = Box::pin(builtins::run(&mut call)).await
    {
        return outcome;
    }
    if !is_known(call.shell, program) {
        return Box::pin(unknown(&mut call, program)).await;
    }
    if SHELLS.contains(&name) {
        return Box::pin(sub_shell(&mut call)).await;
    }
    let ran = match name {
        "env" | "time" | "timeout" | "nohup" | "xargs" => return Box::pin(wrapper(&mut call)).await,
        "true" | "sync" | "chown" | "clear" => Ok(0),
        "chmod" => modes::chmod(&call).await,
        "false" => Ok(1),
        "test" | "[" => test::run(&call).await,
        "sleep" => sleep(&call).await,
        "kill" => facts::kill(&mut call).await,
        "date" | "df" | "free" | "hostname" | "id" | "mount" | "nproc" | "printenv" | "ps" | "tty" | "uname"
        | "uptime" | "which" | "whoami" => Box::pin(facts::run(&call)).await,
        "cp" | "du" | "find" | "ls" | "mkdir" | "mktemp" | "mv" | "rm" | "rmdir" | "stat" | "touch" => {
            Box::pin(folders::run(&call)).await
        }
        "tar" => Box::pin(tar::run(&call)).await,
        "sed" => Box::pin(sed::run(&call)).await,
        name if network::NAMES.contains(&name) => Box::pin(network::run(&mut call)).await,
        _ => Box::pin(text::run(&call)).await,
    };
    Ok(ran.unwrap_or(PIPE_BROKEN))
}

/// A script of the container's own, or nothing that is known.
async fn unknown(call: &mut Call<'_>, program: &str) -> Outcome {
    let path = call.path(program);
    call.shell.world.files.look_for("/", std::slice::from_ref(&path)).await;
    if program.contains('/') && call.shell.world.files.about_target(&path).is_ok_and(|about| about.is_file()) {
        let text = call.shell.world.files.read(&path).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        let mut inner = call.shell.clone();
        inner.name = program.to_owned();
        inner.arguments = call.arguments.to_vec();
        let outcome = inner.source(&text, call.streams).await;
        return Ok(status_of(outcome, &inner));
    }
    if let Some(status) = foreign(call, program).await {
        return Ok(status);
    }
    let shell = &call.shell;
    let message = match shell.name.as_str() {
        name if name.ends_with("bash") && shell.interactive => format!("bash: {program}: command not found\n"),
        name if name.ends_with("bash") => format!("{name}: line 1: {program}: command not found\n"),
        name if shell.world.userland.has_bash() => format!("{name}: 1: {program}: not found\n"),
        name => format!("{name}: {program}: not found\n"),
    };
    let _ = call.streams.stderr.print(message).await;
    Ok(127)
}

/// What comes of a program that is not played, if it is there.
async fn foreign(call: &mut Call<'_>, program: &str) -> Option<i32> {
    let world = call.shell.world.clone();
    let words: Vec<String> = std::iter::once(program.to_owned()).chain(call.arguments.iter().cloned()).collect();
    let is_last = call.shell.last_program.as_deref() == Some(program);
    let work = if world.is_own { world.foreign.work(&words, is_last) } else { world.foreign.work_beside(&words) };
    match work {
        Work::Absent => None,
        Work::Ends(time) => {
            world.sleep(time).await;
            Some(0)
        }
        Work::NotPlayed => {
            let message = format!("kubelab: {program} is not simulated; its work is taken to be done\n");
            let _ = call.streams.stderr.print(message).await;
            Some(0)
        }
        Work::Serves(ports) => {
            (world.listen)(&ports);
            world.signals.came().await;
            world.signals.take();
            (world.listen)(&[]);
            Some(0)
        }
    }
}

/// `sh -c script name arguments`, `sh file`, or `sh` that reads its commands.
async fn sub_shell(call: &mut Call<'_>) -> Outcome {
    let mut inner = call.shell.clone();
    inner.is_first = std::mem::take(&mut call.shell.hands_over);
    inner.name = call.name.to_owned();
    inner.interactive = false;
    let mut arguments = call.arguments.iter();
    let mut script = None;
    while let Some(argument) = arguments.as_slice().first().filter(|argument| argument.starts_with('-')) {
        arguments.next();
        inner.exit_on_error |= !argument.starts_with("--") && argument.contains('e');
        if !argument.starts_with("--") && argument.ends_with('c') {
            script = arguments.next().cloned();
            break;
        }
    }
    let script = match (script, arguments.next()) {
        (Some(script), name) => {
            inner.name = name.cloned().unwrap_or(inner.name);
            script
        }
        (None, Some(file)) => match call.shell.world.files.read(&call.path(file)) {
            Ok(text) => {
                inner.name = file.clone();
                String::from_utf8_lossy(&text).into_owned()
            }
            Err(_) => {
                let _ = call.streams.stderr.print(format!("{}: can't open '{file}'\n", call.name)).await;
                return Ok(2);
            }
        },
        (None, None) => return Ok(super::session::read_commands(&mut inner, call.streams, None).await),
    };
    inner.arguments = arguments.cloned().collect();
    inner.last_program = script::last_program(&script);
    let outcome = inner.source(&script, call.streams).await;
    let status = inner.leave(outcome, call.streams).await;
    if !inner.is_first {
        inner.wait().await;
    }
    Ok(status)
}

/// Programs that run others.
async fn wrapper(call: &mut Call<'_>) -> Outcome {
    let mut arguments = call.arguments.to_vec();
    match call.name {
        "env" => {
            let before = call.shell.variables.clone();
            while let Some((name, value)) = arguments.first().and_then(|argument| argument.split_once('=')) {
                let (name, value) = (name.to_owned(), value.to_owned());
                call.shell.set(&name, value);
                if let Some(variable) = call.shell.variables.get_mut(&name) {
                    variable.exported = true;
                }
                arguments.remove(0);
            }
            let outcome = if arguments.is_empty() {
                Ok(facts::print_env(call).await.unwrap_or(PIPE_BROKEN))
            } else {
                run_inner(call, &arguments).await
            };
            call.shell.variables = before;
            outcome
        }
        "timeout" => {
            let skipped = arguments.iter().take_while(|argument| argument.starts_with('-')).count();
            arguments.drain(..skipped);
            let Some(time) = arguments.first().and_then(|time| duration(time)) else { return Ok(125) };
            let world = call.shell.world.clone();
            tokio::select! {
                outcome = run_inner(call, &arguments[1..]) => outcome,
                () = world.sleep(time) => Ok(124),
            }
        }
        "xargs" => {
            while let Some(line) = call.streams.stdin.line().await {
                arguments.extend(line.split_whitespace().map(str::to_owned));
                if arguments.len() > 10_000 {
                    break;
                }
            }
            if arguments.len() == call.arguments.len() && arguments.is_empty() {
                return Ok(0);
            }
            run_inner(call, &arguments).await
        }
        _ => run_inner(call, &arguments).await,
    }
}

async fn run_inner(call: &mut Call<'_>, arguments: &[String]) -> Outcome {
    match arguments.split_first() {
        Some((program, arguments)) => call.shell.call(program, arguments, call.streams).await,
        None => Ok(0),
    }
}

async fn sleep(call: &Call<'_>) -> Ran {
    let mut total = Duration::ZERO;
    for argument in call.arguments {
        match duration(argument) {
            Some(time) => total = total.saturating_add(time),
            None => return call.fail(format!("invalid number '{argument}'")).await,
        }
    }
    if call.arguments.is_empty() {
        return call.fail("missing operand").await;
    }
    call.shell.world.sleep(total).await;
    Ok(0)
}

/// `30`, `0.5`, `1m`, `infinity`, as coreutils' sleep reads it.
pub fn duration(text: &str) -> Option<Duration> {
    if matches!(text, "infinity" | "inf") {
        return Some(Duration::from_secs(u32::MAX.into()));
    }
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "d" => 86400.0,
        _ => return None,
    };
    let time = Duration::try_from_secs_f64(digits.parse::<f64>().ok()? * unit).ok()?;
    Some(time.min(Duration::from_secs(u32::MAX.into())))
}

/// A number of levels or a status, from a builtin's argument.
fn number(arguments: &[String], default: i32) -> i32 {
    arguments.first().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// `exit` without a status keeps the last one.
fn exit(shell: &Shell, arguments: &[String]) -> Stop {
    Stop::Exit(number(arguments, shell.status) & 0xff)
}
