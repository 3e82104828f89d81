//! The subcommands of `agnhost`, the image of Kubernetes' own tests and examples. Source of names and ports:
//! `test/images/agnhost` of Kubernetes.

use std::time::Duration;

use super::{Behavior, Listener, OnTerminate, Page, Protocol, Run, foreign::with_port, images};

/// The arguments of an agnhost that is called by its name.
pub fn own<'a>(words: &'a [String], image: &str) -> Option<&'a [String]> {
    let (program, arguments) = words.split_first()?;
    (images::short_name(image) == "agnhost" && program.ends_with("agnhost")).then_some(arguments)
}

/// Makes a container behave as this subcommand.
pub fn apply(behavior: &mut Behavior, arguments: &[String]) {
    let (name, options) = arguments.split_first().map_or(("pause", &[][..]), |(name, rest)| (name.as_str(), rest));
    let port = match name {
        "netexec" | "liveness" | "webhook" | "fake-gitserver" => Some(8080),
        "serve-hostname" => Some(9376),
        "test-webserver" | "guestbook" => Some(80),
        "grpc-health-checking" => Some(5000),
        "nettest" => Some(8080),
        _ => None,
    };
    let listens: Vec<Listener> = port.into_iter().map(|port| Listener { port, protocol: Protocol::Http }).collect();
    behavior.listens = with_port(listens, options);
    if name == "netexec" {
        let given = options.iter().find_map(|option| option.trim_start_matches('-').strip_prefix("udp-port="));
        let port = given.and_then(|port| port.parse().ok()).unwrap_or(8081);
        behavior.listens.push(Listener { port, protocol: Protocol::Udp });
    }
    behavior.on_terminate = OnTerminate::AT_ONCE;
    let ends = |exit_code| Run::For { time: Duration::ZERO, exit_code };
    behavior.run = match name {
        "fail" => ends(1),
        // What these find out or print, they find well.
        "connect" | "dns-suffix" | "dns-server-list" | "etc-hosts" | "entrypoint-tester" | "mounttest" | "net"
        | "inclusterclient" | "logs-generator" | "help" | "--help" => ends(0),
        _ => Run::UntilStopped,
    };
    behavior.page = match name {
        "netexec" => Page::Netexec,
        "serve-hostname" => Page::Hostname,
        _ => Page::Describe,
    };
    if name == "liveness" {
        behavior.health.healthy_for = Some(Duration::from_secs(10));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::behavior::Role;

    #[test]
    fn subcommands_do_what_they_do_upstream() {
        for (arguments, ports, run) in [
            ("netexec", &[8080, 8081][..], Run::UntilStopped),
            ("netexec --http-port=8083 --udp-port=8084", &[8083, 8084], Run::UntilStopped),
            ("serve-hostname", &[9376], Run::UntilStopped),
            ("pause", &[], Run::UntilStopped),
            ("", &[], Run::UntilStopped),
            ("fail", &[], Run::For { time: Duration::ZERO, exit_code: 1 }),
            ("connect 10.0.0.1:80", &[], Run::For { time: Duration::ZERO, exit_code: 0 }),
        ] {
            let mut behavior = images::behavior("registry.k8s.io/e2e-test-images/agnhost:2.53", Role::Service);
            let words: Vec<String> = arguments.split_whitespace().map(str::to_owned).collect();
            apply(&mut behavior, &words);
            let listens: Vec<u16> = behavior.listens.iter().map(|listener| listener.port).collect();
            assert_eq!((listens.as_slice(), behavior.run), (ports, run), "{arguments}");
        }
    }
}
