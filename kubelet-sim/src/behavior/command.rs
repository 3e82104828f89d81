//! What a command makes of a container: a script that is run, a program that is known to wait and end, a server of the
//! image's own, or nothing that is there.

use std::time::Duration;

use k8s_openapi::api::core::v1::Container;

use super::{
    Behavior, OnTerminate, Page, Run, agnhost,
    foreign::{Foreign, Work, with_port},
    images, plain,
};
use crate::shell::programs;

/// How long a program that is known to be there, but not played, works before it ends.
const UNKNOWN_PROGRAM: Duration = Duration::from_secs(1);

/// The words that a container runs instead of what its image does by itself; empty if it runs that.
pub fn words(container: &Container) -> Vec<String> {
    let command = container.command.as_deref().unwrap_or_default();
    let args = container.args.as_deref().unwrap_or_default();
    let image_is_shell = images::is_shell(container.image.as_deref().unwrap_or_default());
    match (command, args) {
        ([], []) if image_is_shell && container.stdin == Some(true) => vec!["sh".to_owned()],
        // Images of servers have an entry point, which takes these as its options.
        ([], _) if !image_is_shell => Vec::new(),
        _ => command.iter().chain(args).cloned().collect(),
    }
}

/// Whether these words are a shell's work: a shell, or one of the programs that it knows.
pub fn is_played(words: &[String]) -> bool {
    words.first().is_some_and(|program| programs::is_ours(program))
}

/// Changes what the image does into what the container's command does.
pub fn apply(behavior: &mut Behavior, container: &Container, foreign: &Foreign) {
    let words = words(container);
    if words.is_empty() {
        return entry_point(behavior, container, foreign);
    }
    let stands_alone =
        |run| Behavior { run, on_terminate: OnTerminate::Ignore, listens: Vec::new(), ..behavior.clone() };
    if is_played(&words) {
        *behavior = if images::userland(&foreign.image).has_programs() {
            let plain = if container.stdin == Some(true) { None } else { plain::run(&words) };
            stands_alone(plain.unwrap_or(Run::Program))
        } else {
            Behavior { absent: true, ..stands_alone(Run::Program) }
        };
        return;
    }
    if let Some(own) = agnhost::own(&words, &foreign.image) {
        return agnhost::apply(behavior, own);
    }
    match foreign.work(&words, true) {
        Work::Absent => *behavior = Behavior { absent: true, ..stands_alone(Run::Program) },
        Work::Serves(listens) => {
            behavior.run = Run::UntilStopped;
            behavior.on_terminate = OnTerminate::AT_ONCE;
            behavior.listens = listens;
        }
        Work::Ends(time) => *behavior = stands_alone(Run::For { time, exit_code: 0 }),
        Work::NotPlayed => *behavior = stands_alone(Run::For { time: UNKNOWN_PROGRAM, exit_code: 0 }),
    }
}

/// What an image's entry point makes of its arguments.
fn entry_point(behavior: &mut Behavior, container: &Container, foreign: &Foreign) {
    let args = container.args.as_deref().unwrap_or_default();
    if images::short_name(&foreign.image) == "agnhost" {
        return agnhost::apply(behavior, args);
    }
    // The example in Kubernetes' documentation of probes, with the image that it had before agnhost.
    if args.first().is_some_and(|arg| arg == "liveness") {
        return agnhost::apply(behavior, args);
    }
    if let Some(text) = args.iter().find_map(|arg| arg.trim_start_matches('-').strip_prefix("text=")) {
        behavior.page = Page::Text(text.trim_matches('"').to_owned());
    }
    behavior.listens = with_port(std::mem::take(&mut behavior.listens), args);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::behavior::{Listener, Protocol, Role};

    fn container(image: &str, command: &[&str], args: &[&str]) -> Container {
        let list = |words: &[&str]| (!words.is_empty()).then(|| words.iter().map(|word| (*word).to_owned()).collect());
        Container { image: Some(image.to_owned()), command: list(command), args: list(args), ..Default::default() }
    }

    fn behavior(container: &Container) -> Behavior {
        let image = container.image.clone().unwrap_or_default();
        let mut behavior = images::behavior(&image, Role::Service);
        apply(&mut behavior, container, &Foreign { image, role: Role::Service, ports: Vec::new() });
        behavior
    }

    #[test]
    fn a_script_is_run_unless_it_only_waits() {
        let ends = |seconds, exit_code| Run::For { time: Duration::from_secs(seconds), exit_code };
        for (script, expected) in [
            ("sleep 30; exit 2", ends(30, 2)),
            ("while true; do sleep 10; done", Run::UntilStopped),
            ("test -f /data/x || exit 1", Run::Program),
            ("while true; do date >> /pod-data/index.html; sleep 10; done", Run::Program),
        ] {
            for container in [
                container("busybox", &["sh", "-c"], &[script]),
                container("busybox", &["/bin/sh", "-c", script], &[]),
                container("busybox", &[], &["sh", "-c", script]),
                container("nginx", &["sh", "-c", script], &[]),
            ] {
                let behavior = behavior(&container);
                assert_eq!((&behavior.run, behavior.on_terminate), (&expected, OnTerminate::Ignore), "{script}");
                assert_eq!(behavior.listens, []);
            }
        }
    }

    #[test]
    fn what_is_not_in_the_image_is_absent() {
        for (image, command, absent) in [
            ("busybox", "no-such-program", true),
            ("nginx", "no-such-program", true),
            ("pause", "sh", true),
            ("team/app", "no-such-program", false),
            ("nginx", "nginx", false),
            ("busybox", "awk", false),
        ] {
            assert_eq!(behavior(&container(image, &[command], &[])).absent, absent, "{image} {command}");
        }
    }

    #[test]
    fn a_shell_without_a_command_ends_at_once_unless_somebody_types() {
        let mut busybox = container("busybox", &[], &[]);
        assert_eq!(behavior(&busybox).run, Run::For { time: Duration::ZERO, exit_code: 0 });
        busybox.stdin = Some(true);
        assert_eq!((behavior(&busybox).run, words(&busybox)), (Run::Program, vec!["sh".to_owned()]));
        let mut sleeping = container("busybox", &["sleep", "5"], &[]);
        sleeping.stdin = Some(true);
        assert_eq!(behavior(&sleeping).run, Run::Program);
    }

    #[test]
    fn options_of_an_entry_point_are_heeded() {
        let echo = behavior(&container("hashicorp/http-echo", &[], &["-text=hello", "-listen=:8080"]));
        assert_eq!(echo.page, Page::Text("hello".to_owned()));
        assert_eq!(echo.listens, [Listener { port: 8080, protocol: Protocol::Http }]);
        let nginx = behavior(&container("nginx", &[], &["-g", "daemon off;"]));
        assert_eq!((nginx.run, nginx.listens[0].port), (Run::UntilStopped, 80));
    }
}
