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
    let http = |port| vec![Listener { port, protocol: Protocol::Http }];
    behavior.listens = match name {
        "netexec" | "liveness" | "webhook" | "fake-gitserver" | "nettest" => with_port(http(8080), options),
        "serve-hostname" => with_port(http(9376), options),
        "test-webserver" | "guestbook" => with_port(http(80), options),
        "grpc-health-checking" => {
            let port = |name, default| option(options, name).and_then(|port| port.parse().ok()).unwrap_or(default);
            let checks = Listener { port: port("port", 5000), protocol: Protocol::Grpc };
            [vec![checks], http(port("http-port", 8080))].concat()
        }
        _ => Vec::new(),
    };
    if name == "netexec" && option(options, "tls-cert-file").is_some() {
        behavior.listens.iter_mut().for_each(|listener| listener.protocol = Protocol::Https);
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
        "liveness" => Page::Liveness,
        "grpc-health-checking" => Page::Health { service: option(options, "service").unwrap_or_default().to_owned() },
        _ => Page::Describe,
    };
    let healthy_for = match name {
        "liveness" => Some(10),
        // A negative number is never.
        "grpc-health-checking" => option(options, "delay-unhealthy-sec").and_then(|seconds| seconds.parse().ok()),
        _ => None,
    };
    if let Some(seconds) = healthy_for {
        behavior.health.healthy_for = Some(Duration::from_secs(seconds));
    }
}

/// The value of an option: `--name=value`, `--name value`.
fn option<'a>(words: &'a [String], name: &str) -> Option<&'a str> {
    words.iter().enumerate().find_map(|(at, word)| match word.strip_prefix("--")?.split_once('=') {
        Some((own, value)) => (own == name).then_some(value),
        None => (word.trim_start_matches('-') == name).then(|| words.get(at + 1)).flatten().map(String::as_str),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::behavior::Role;

    #[test]
    fn subcommands_do_what_they_do_upstream() {
        for (arguments, ports, run) in [
            ("netexec", &[8080][..], Run::UntilStopped),
            ("netexec --http-port=8083", &[8083], Run::UntilStopped),
            ("serve-hostname", &[9376], Run::UntilStopped),
            ("grpc-health-checking", &[5000, 8080], Run::UntilStopped),
            ("grpc-health-checking --port 6000 --http-port=6001", &[6000, 6001], Run::UntilStopped),
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
