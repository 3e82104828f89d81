//! What a command makes of a container: how long `sh -c "sleep 30; exit 1"` runs and how it ends. Only the time and the
//! exit code are read from a script; its other effects are not simulated.

use std::time::Duration;

use k8s_openapi::api::core::v1::Container;

use super::{Behavior, Listener, OnTerminate, Protocol, Run};

const SHELLS: [&str; 4] = ["sh", "bash", "ash", "dash"];

/// How long a program that is not known works before it ends, in an image that is only a shell.
const UNKNOWN_PROGRAM: Duration = Duration::from_secs(1);

/// Changes what the image does into what the container's command does.
pub fn apply(behavior: &mut Behavior, container: &Container, image_is_shell: bool) {
    let command = container.command.as_deref().unwrap_or_default();
    let args = container.args.as_deref().unwrap_or_default();
    if image_is_shell && command.is_empty() && args.is_empty() {
        if container.stdin == Some(true) {
            // A shell that waits for its terminal.
            behavior.run = Run::UntilStopped;
        }
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
            None if container.stdin == Some(true) => behavior.run = Run::UntilStopped,
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
        ("sleep", [time, ..]) => match sleep_time(time) {
            Some(time) => ends(time, 0),
            None if *time == "infinity" || *time == "inf" => Some(Run::UntilStopped),
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

/// `30`, `0.5`, `1m`, as coreutils' sleep reads it.
fn sleep_time(text: &str) -> Option<Duration> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "d" => 86400.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(digits.parse::<f64>().ok()? * unit).ok()
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
}
