//! What a command makes of a container: how long `sh -c "sleep 30; exit 1"` runs and how it ends. Only these are read from
//! a script here; what it prints, and does to files, is [`crate::shell`]'s work.

use std::time::Duration;

use k8s_openapi::api::core::v1::Container;

use super::{Behavior, Listener, OnTerminate, Protocol, Run, images};
use crate::shell::programs::{self, SHELLS};

/// How long a program that is not known works before it ends, in an image that is only a shell.
const UNKNOWN_PROGRAM: Duration = Duration::from_secs(1);

/// The command that a container runs, if that is a shell's work: a shell, or one of the programs that it knows.
pub fn of(container: &Container) -> Vec<String> {
    let command = container.command.as_deref().unwrap_or_default();
    let args = container.args.as_deref().unwrap_or_default();
    let image_is_shell = images::is_shell(container.image.as_deref().unwrap_or_default());
    let words: Vec<String> = match (command, args) {
        ([], []) if image_is_shell && container.stdin == Some(true) => vec!["sh".to_owned()],
        ([], _) if !image_is_shell => Vec::new(),
        _ => command.iter().chain(args).cloned().collect(),
    };
    let is_ours = words.first().is_some_and(|program| programs::is_ours(program));
    if is_ours { words } else { Vec::new() }
}

/// Whether a command does anything but wait and end: prints, or writes files.
pub fn speaks(command: &[String]) -> bool {
    const SILENT: [&str; 6] = ["sleep", "true", "false", "test", "[", "sync"];
    let words = command.iter().flat_map(|word| word.split(|c: char| c.is_whitespace() || ";&|()".contains(c)));
    let mut words = words.filter(|word| !word.is_empty());
    words.any(|word| word.contains('>') || (programs::is_program_name(word) && !SILENT.contains(&word)))
}

/// Changes what the image does into what the container's command does.
pub fn apply(behavior: &mut Behavior, container: &Container, image_is_shell: bool) {
    let command = container.command.as_deref().unwrap_or_default();
    let args = container.args.as_deref().unwrap_or_default();
    if container.stdin == Some(true) && !of(container).is_empty() {
        // It runs for as long as somebody types, or what it reads goes on.
        behavior.run = Run::UntilStopped;
        behavior.on_terminate = OnTerminate::Ignore;
        behavior.listens = Vec::new();
        return;
    }
    if image_is_shell && command.is_empty() && args.is_empty() {
        return;
    }
    if command.is_empty() && args.first().is_some_and(|arg| arg == "liveness") {
        // `agnhost liveness`, the example in Kubernetes' documentation of probes.
        behavior.listens = vec![Listener { port: 8080, protocol: Protocol::Http }];
        behavior.health.healthy_for = Some(Duration::from_secs(10));
    }
    if command.is_empty() && !image_is_shell {
        return;
    }
    let words: Vec<&str> = command.iter().chain(args).map(String::as_str).collect();
    let Some(program) = words.first().map(|program| program.rsplit('/').next().unwrap_or(program)) else { return };
    if SHELLS.contains(&program) {
        let script = words.iter().position(|word| word.starts_with('-') && word.ends_with('c'));
        let script = script.and_then(|at| words.get(at + 1)).copied();
        *behavior = Behavior { listens: Vec::new(), ..behavior.clone() };
        match script {
            Some(script) => script_behavior(behavior, script),
            None => behavior.run = Run::For { time: UNKNOWN_PROGRAM, exit_code: 0 },
        }
        if script.is_none_or(|script| !script.contains("trap ")) {
            behavior.on_terminate = OnTerminate::Ignore;
        }
    } else if let Some(run) = simple(&words) {
        behavior.run = run;
        behavior.on_terminate = OnTerminate::Ignore;
        behavior.listens = Vec::new();
    } else if words.contains(&"http.server") {
        let port = words.last().and_then(|word| word.parse().ok()).unwrap_or(8000);
        behavior.run = Run::UntilStopped;
        behavior.listens = vec![Listener { port, protocol: Protocol::Http }];
    } else if image_is_shell {
        behavior.run = Run::For { time: UNKNOWN_PROGRAM, exit_code: 0 };
    }
}

fn script_behavior(behavior: &mut Behavior, script: &str) {
    let mut time = Duration::ZERO;
    let mut exit_code = 0;
    let normalized = script.replace("&&", ";").replace(['\n', '|'], ";");
    let mut skipping_loop = false;
    for statement in normalized.split(';') {
        let words: Vec<&str> =
            statement.split_whitespace().skip_while(|word| ["do", "then", "exec"].contains(word)).collect();
        match words.as_slice() {
            [] => {}
            ["while", "true" | ":" | "[" | "sleep", ..] | ["for", "(("] => {
                behavior.run = Run::UntilStopped;
                return;
            }
            // What other loops wait for is taken to be there already.
            ["while" | "until", ..] => skipping_loop = true,
            ["done", ..] => skipping_loop = false,
            _ if skipping_loop => {}
            ["exit", code, ..] => {
                exit_code = code.parse().unwrap_or(0);
                break;
            }
            ["exit"] => break,
            words => match simple(words) {
                Some(Run::UntilStopped) => {
                    behavior.run = Run::UntilStopped;
                    return;
                }
                Some(Run::For { time: more, exit_code: code }) => {
                    time = time.saturating_add(more);
                    exit_code = code;
                }
                None => exit_code = 0,
            },
        }
    }
    behavior.run = Run::For { time, exit_code };
}

/// Programs whose time and exit code are plain.
fn simple(words: &[&str]) -> Option<Run> {
    let (program, args) = words.split_first()?;
    let ends = |time, exit_code| Some(Run::For { time, exit_code });
    match (program.rsplit('/').next().unwrap_or(program), args) {
        ("sleep", ["infinity" | "inf", ..]) => Some(Run::UntilStopped),
        ("sleep", [time, ..]) => match programs::duration(time) {
            Some(time) => ends(time, 0),
            None => ends(Duration::ZERO, 1),
        },
        ("sleep", []) | ("false", _) => ends(Duration::ZERO, 1),
        ("true" | "echo" | "printf" | "date" | "env" | "hostname" | "ls" | "cat" | "touch" | "mkdir" | "id", _) => {
            ends(Duration::ZERO, 0)
        }
        ("tail", args) if args.iter().any(|arg| *arg == "-f" || *arg == "-F") => Some(Run::UntilStopped),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::behavior::{Role, images};

    fn run(image: &str, command: &[&str], args: &[&str]) -> Behavior {
        let list = |words: &[&str]| Some(words.iter().map(|word| (*word).to_owned()).collect());
        let container = Container { command: list(command), args: list(args), ..Default::default() };
        let mut behavior = images::behavior(image, Role::Service);
        apply(&mut behavior, &container, images::is_shell(image));
        behavior
    }

    #[test]
    fn scripts_are_read_for_their_time_and_exit_code() {
        let forever = Run::UntilStopped;
        let ends = |seconds: f64, exit_code| Run::For { time: Duration::from_secs_f64(seconds), exit_code };
        for (script, expected) in [
            ("sleep 30", ends(30.0, 0)),
            ("echo Processing && sleep 10", ends(10.0, 0)),
            ("sleep 1; exit 3", ends(1.0, 3)),
            ("exit 1; sleep 10", ends(0.0, 1)),
            ("while true; do date >> /pod-data/index.html; sleep 10; done", forever.clone()),
            ("while :; do sleep 1; done", forever.clone()),
            ("until nslookup db; do echo waiting; sleep 2; done; sleep 1", ends(1.0, 0)),
            ("touch /tmp/healthy; sleep 30; rm -f /tmp/healthy; sleep 600", ends(630.0, 0)),
            ("tail -f /dev/null", forever.clone()),
            ("sleep infinity", forever.clone()),
            ("backup.sh", ends(0.0, 0)),
            ("false", ends(0.0, 1)),
            ("sleep 0.5m\nfalse", ends(30.0, 1)),
        ] {
            assert_eq!(run("busybox", &["sh", "-c"], &[script]).run, expected, "{script}");
            assert_eq!(run("busybox", &["/bin/sh", "-c", script], &[]).run, expected, "{script}");
            assert_eq!(run("busybox", &[], &["sh", "-c", script]).run, expected, "{script}");
        }
    }

    #[test]
    fn process_1_without_a_handler_ignores_sigterm() {
        assert_eq!(run("busybox", &["sleep", "3600"], &[]).on_terminate, OnTerminate::Ignore);
        assert_eq!(run("nginx", &["sh", "-c", "sleep 9"], &[]).on_terminate, OnTerminate::Ignore);
        let trapping = run("nginx", &["sh", "-c", "trap 'exit 0' TERM; sleep 9"], &[]);
        assert_eq!(trapping.on_terminate, OnTerminate::AT_ONCE);
    }

    #[test]
    fn a_shell_without_a_command_ends_at_once_and_an_unknown_program_after_a_while() {
        assert_eq!(run("busybox", &[], &[]).run, Run::For { time: Duration::ZERO, exit_code: 0 });
        let perl = run("perl", &["perl", "-Mbignum=bpi", "-wle", "print bpi(2000)"], &[]);
        assert_eq!(perl.run, Run::For { time: UNKNOWN_PROGRAM, exit_code: 0 });
        assert_eq!(run("nginx", &["nginx", "-g", "daemon off;"], &[]).run, Run::UntilStopped);
    }

    #[test]
    fn a_shell_that_somebody_types_to_runs_until_he_leaves() {
        let container = |stdin, image: &str, command: &[&str]| Container {
            image: Some(image.to_owned()),
            command: (!command.is_empty()).then(|| command.iter().map(|word| (*word).to_owned()).collect()),
            stdin: Some(stdin),
            ..Default::default()
        };
        for (stdin, image, command, ours) in [
            (true, "busybox", &[][..], &["sh"][..]),
            (false, "busybox", &[], &[]),
            (true, "nginx", &[], &[]),
            (true, "nginx", &["cat"], &["cat"]),
            (false, "nginx", &["/bin/sh", "-c", "date"], &["/bin/sh", "-c", "date"]),
            (false, "python", &["python", "x.py"], &[]),
        ] {
            let container = container(stdin, image, command);
            assert_eq!(of(&container), ours, "{image} {command:?}");
            let mut behavior = images::behavior(image, Role::Service);
            apply(&mut behavior, &container, images::is_shell(image));
            assert!(!stdin || behavior.run == Run::UntilStopped, "{image} {command:?}");
        }
    }

    #[test]
    fn only_what_says_something_needs_to_be_played() {
        for (script, expected) in [
            ("sleep 3600", false),
            ("while true; do sleep 5; done", false),
            ("exit 1", false),
            ("echo hello; sleep 5", true),
            ("while true; do date; sleep 5; done", true),
            (": > /tmp/x", true),
        ] {
            let command = ["sh", "-c", script].map(str::to_owned);
            assert_eq!(speaks(&command), expected, "{script}");
        }
    }
}
