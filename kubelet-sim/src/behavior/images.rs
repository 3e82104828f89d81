//! The images that kubelab knows, and what an unknown one does.

use std::{hash::Hasher, time::Duration};

use k8s_openapi::api::core::v1::Container;

use super::{Behavior, Health, Listener, OnTerminate, Page, Protocol, Pull, Role, Run, usage::Usage};

/// What the program of a known image is.
enum Program {
    /// A server on these ports.
    Server(&'static [(u16, Protocol)]),
    /// A shell or an interpreter: without a command it ends at once.
    Shell,
    /// A shell that waits without a command, for somebody to come in.
    Toolbox,
    /// Runs until it is stopped and listens on nothing.
    Daemon,
    /// Does its work and ends.
    Batch,
}

use Program::{Batch, Daemon, Server, Shell, Toolbox};
use Protocol::{AddOn, Grpc, Http, Redis, Tcp};

const MB: u64 = 1_000_000;

/// Known images by repository (its last part, or its last two), with the program and the compressed size.
const KNOWN: &[(&[&str], Program, u64)] = &[
    (&["nginx", "nginxdemos/hello", "nginx-unprivileged"], Server(&[(80, Http)]), 72 * MB),
    (&["httpd", "caddy", "whoami", "wordpress", "php-apache", "hpa-example"], Server(&[(80, Http)]), 58 * MB),
    (&["echo", "echo-server", "echoserver", "hello-app", "tomcat", "webapp"], Server(&[(8080, Http)]), 45 * MB),
    (&["http-echo"], Server(&[(5678, Http)]), 6 * MB),
    (&["podinfo"], Server(&[(9898, Http)]), 30 * MB),
    (&["agnhost"], Server(&[(80, Http), (8080, Http), (9376, Http)]), 50 * MB),
    (&["registry"], Server(&[(5000, Http)]), 10 * MB),
    (&["grafana", "grafana/grafana"], Server(&[(3000, Http)]), 120 * MB),
    (&["prometheus"], Server(&[(9090, Http)]), 95 * MB),
    (&["elasticsearch"], Server(&[(9200, Http), (9300, Tcp)]), 600 * MB),
    (&["mysql", "mariadb"], Server(&[(3306, Tcp)]), 150 * MB),
    (&["postgres", "postgresql"], Server(&[(5432, Tcp)]), 140 * MB),
    (&["redis", "valkey"], Server(&[(6379, Redis)]), 45 * MB),
    (&["mongo", "mongodb"], Server(&[(27017, Tcp)]), 250 * MB),
    (&["memcached"], Server(&[(11211, Tcp)]), 30 * MB),
    (&["rabbitmq"], Server(&[(5672, Tcp), (15672, Http)]), 100 * MB),
    (&["etcd"], Server(&[(2379, Grpc), (2380, Tcp)]), 55 * MB),
    (&["zookeeper"], Server(&[(2181, Tcp)]), 110 * MB),
    (&["kafka"], Server(&[(9092, Tcp)]), 200 * MB),
    (&["coredns"], Server(&[(53, AddOn), (8080, Http), (8181, Http)]), 21 * MB),
    (&["ingress-nginx/controller"], Server(&[(80, AddOn), (443, AddOn), (10254, Http)]), 110 * MB),
    (&["metrics-server/metrics-server"], Server(&[(10250, AddOn)]), 19 * MB),
    (&["pause"], Daemon, MB / 3),
    (&["fluentd", "fluent-bit", "filebeat", "logstash", "node-exporter"], Daemon, 50 * MB),
    (&["hello-world"], Batch, MB / 100),
    (&["busybox"], Shell, 2 * MB),
    (&["alpine", "bash", "curl", "curlimages/curl", "netshoot", "kubectl"], Shell, 8 * MB),
    (&["debian", "ubuntu", "centos", "fedora", "rockylinux", "dnsutils"], Shell, 50 * MB),
    (&["doraemon"], Toolbox, 50 * MB),
    (&["perl", "python", "ruby", "node", "golang", "openjdk"], Shell, 300 * MB),
];

/// Tags and repositories that no registry has, so that a failing pull can be shown without the network: `nginx:missing`.
const MISSING: &[&str] = &[
    "missing",
    "nonexistent",
    "non-existent",
    "does-not-exist",
    "doesnotexist",
    "no-such-image",
    "invalid",
    "bad-tag",
];

/// How long a batch program of an unknown image works.
const BATCH_TIME: Duration = Duration::from_secs(1);

/// An image name's parts: `docker.io/library/nginx`, `1.21`.
struct Reference<'a> {
    repository: &'a str,
    tag: &'a str,
}

impl<'a> Reference<'a> {
    fn parse(image: &'a str) -> Self {
        let named = image.split_once('@').map_or(image, |(named, _digest)| named);
        // A colon before the last slash belongs to the registry's port.
        match named.rsplit_once(':') {
            Some((repository, tag)) if !tag.contains('/') => Self { repository, tag },
            _ => Self { repository: named, tag: "latest" },
        }
    }

    fn last_parts(&self, count: usize) -> &'a str {
        let start = self.repository.rmatch_indices('/').nth(count - 1).map_or(0, |(at, _)| at + 1);
        &self.repository[start..]
    }
}

fn known(image: &str) -> Option<&'static (&'static [&'static str], Program, u64)> {
    let reference = Reference::parse(image);
    let names = [reference.last_parts(1), reference.last_parts(2)];
    KNOWN.iter().find(|(known, ..)| known.iter().any(|name| names.contains(name)))
}

/// An image's repository and its tag.
pub fn parts(image: &str) -> (&str, &str) {
    let Reference { repository, tag } = Reference::parse(image);
    (repository, tag)
}

/// The last part of an image's repository: `nginx` of `docker.io/library/nginx:1.25`.
pub fn short_name(image: &str) -> &str {
    Reference::parse(image).last_parts(1)
}

/// The ports that the server of an image listens on.
pub fn ports(image: &str) -> Vec<Listener> {
    let Some((_, Server(ports), _)) = known(image) else { return Vec::new() };
    ports.iter().map(|&(port, protocol)| Listener { port, protocol }).collect()
}

/// Whether kubelab knows this image.
pub fn is_known(image: &str) -> bool {
    known(image).is_some()
}

/// Whether this image's own program is a shell.
pub fn is_shell(image: &str) -> bool {
    matches!(known(image), Some((_, Shell | Toolbox, _)))
}

/// The programs that an image brings with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Userland {
    /// None but its own.
    None,
    /// Busybox: one shell, `sh`.
    Busybox,
    /// GNU's, with `bash`.
    Gnu,
}

impl Userland {
    /// Whether it has a shell and the common programs.
    pub fn has_programs(self) -> bool {
        self != Self::None
    }

    /// Whether it has `bash`.
    pub fn has_bash(self) -> bool {
        self == Self::Gnu
    }
}

/// The user that an image's programs run as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum User {
    /// Root.
    Root,
    /// Somebody else, by his number.
    Number,
    /// Somebody whose number the image's configuration does not say.
    Named(&'static str),
}

/// The user of an image. Whoever builds his own is taken to have given it one.
pub fn user(image: &str) -> User {
    match short_name(image) {
        "nginx-unprivileged" | "elasticsearch" | "grafana" | "node-exporter" | "podinfo" => User::Number,
        "prometheus" => User::Named("nobody"),
        "curl" => User::Named("curl_user"),
        _ if is_known(image) => User::Root,
        _ => User::Number,
    }
}

/// The programs of an image.
pub fn userland(image: &str) -> Userland {
    const BARE: [&str; 10] = [
        "pause",
        "hello-world",
        "etcd",
        "coredns",
        "whoami",
        "http-echo",
        "node-exporter",
        "static",
        "distroless",
        "traefik",
    ];
    const SMALL: [&str; 6] = ["busybox", "alpine", "curl", "podinfo", "agnhost", "echoserver"];
    let reference = Reference::parse(image);
    let name = reference.last_parts(1);
    if BARE.contains(&name) || reference.repository.contains("distroless") {
        Userland::None
    } else if SMALL.contains(&name) || reference.tag.contains("alpine") || reference.repository.contains("nginxdemos/")
    {
        Userland::Busybox
    } else {
        Userland::Gnu
    }
}

/// What a container of this image does without a command.
pub fn behavior(image: &str, role: Role) -> Behavior {
    let known = known(image);
    let (run, on_terminate, ports) = match (known.map(|(_, program, _)| program), role) {
        (Some(Server(ports)), _) => (Run::UntilStopped, OnTerminate::AT_ONCE, *ports),
        (Some(Daemon), _) | (None, Role::Service) => (Run::UntilStopped, OnTerminate::AT_ONCE, &[][..]),
        (Some(Shell), _) => (Run::For { time: Duration::ZERO, exit_code: 0 }, OnTerminate::Ignore, &[][..]),
        (Some(Toolbox), _) => (Run::UntilStopped, OnTerminate::Ignore, &[][..]),
        (Some(Batch), _) => (Run::For { time: Duration::ZERO, exit_code: 0 }, OnTerminate::AT_ONCE, &[][..]),
        (None, Role::Batch) => (Run::For { time: BATCH_TIME, exit_code: 0 }, OnTerminate::AT_ONCE, &[][..]),
    };
    let hash = hash(image);
    Behavior {
        pull: pull(image, known.map_or(20 * MB + hash % (180 * MB), |(.., size)| *size), hash),
        start_time: Duration::from_millis(10 + hash % 40),
        run,
        on_terminate,
        page: Page::default(),
        absent: false,
        listens: ports.iter().map(|&(port, protocol)| Listener { port, protocol }).collect(),
        health: Health::default(),
        usage: Usage::default(),
    }
}

/// What a container of this image uses while nobody asks much of it: servers a little, shells next to nothing.
pub fn usage(image: &str, container: &Container) -> Usage {
    let hash = hash(image);
    let (millicores, bytes) = match known(image).map(|(_, program, _)| program) {
        Some(Shell | Toolbox | Batch) => (0, MB),
        _ => (1 + hash % 4, 8 * MB + hash % 32 * MB),
    };
    Usage::of(container, millicores * 1_000_000, bytes)
}

fn pull(image: &str, size: u64, hash: u64) -> Pull {
    let reference = Reference::parse(image);
    if MISSING.contains(&reference.tag) || MISSING.contains(&reference.last_parts(1)) {
        let full = normalized(image);
        return Pull::Fails(format!(
            "rpc error: code = NotFound desc = failed to pull and unpack image \"{full}\": failed to resolve reference \
             \"{full}\": {full}: not found"
        ));
    }
    Pull::Succeeds { time: Duration::from_millis(50 + hash % 250), size }
}

/// The image as a container runtime names it: `docker.io/library/nginx:latest`.
pub fn normalized(image: &str) -> String {
    let Reference { repository, tag } = Reference::parse(image);
    let is_registry = |part: &str| part.contains(['.', ':']) || part == "localhost";
    let path = match repository.split_once('/') {
        Some((first, _)) if is_registry(first) => repository.to_owned(),
        Some(_) => format!("docker.io/{repository}"),
        None => format!("docker.io/library/{repository}"),
    };
    match image.split_once('@') {
        Some((_, digest)) => format!("{path}@{digest}"),
        None => format!("{path}:{tag}"),
    }
}

/// The image by its content: the same name has the same digest on every node.
pub fn id(image: &str) -> String {
    let normalized = normalized(image);
    if normalized.contains('@') {
        return normalized;
    }
    let repository = Reference::parse(&normalized).repository;
    let digest: String = (0..4).map(|part| format!("{:016x}", hash(&format!("{part}{normalized}")))).collect();
    format!("{repository}@sha256:{digest}")
}

/// Whether an image's name can be parsed at all. Rule: the grammar of `distribution/reference`, which wants lower-case
/// repositories and tags of word characters.
pub fn is_valid(image: &str) -> bool {
    let Reference { repository, tag } = Reference::parse(image);
    let path =
        repository.split_once('/').filter(|(first, _)| first.contains(['.', ':'])).map_or(repository, |(_, path)| path);
    let path_is_valid = path.split('/').all(|part| {
        part.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            && part.ends_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c))
    });
    let tag_is_valid = !tag.is_empty()
        && tag.len() <= 128
        && !tag.starts_with(['.', '-'])
        && tag.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
    path_is_valid && tag_is_valid
}

/// FNV-1a: the same on every node and in every run, unlike the standard library's.
/// A number that is always the same for the same text.
pub fn hash(text: &str) -> u64 {
    struct Fnv(u64);
    impl Hasher for Fnv {
        fn finish(&self) -> u64 {
            self.0
        }
        fn write(&mut self, bytes: &[u8]) {
            for byte in bytes {
                self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
            }
        }
    }
    let mut fnv = Fnv(0xcbf2_9ce4_8422_2325);
    fnv.write(text.as_bytes());
    fnv.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_completed_as_a_runtime_does() {
        for (image, full) in [
            ("nginx", "docker.io/library/nginx:latest"),
            ("nginx:1.21", "docker.io/library/nginx:1.21"),
            ("nginxdemos/hello:plain-text", "docker.io/nginxdemos/hello:plain-text"),
            ("registry.k8s.io/pause:3.10", "registry.k8s.io/pause:3.10"),
            ("localhost:5000/app", "localhost:5000/app:latest"),
            ("app@sha256:00", "docker.io/library/app@sha256:00"),
        ] {
            assert_eq!(normalized(image), full);
        }
        assert!(id("nginx").starts_with("docker.io/library/nginx@sha256:"));
        assert_eq!(id("nginx"), id("docker.io/library/nginx:latest"));
    }

    #[test]
    fn images_are_known_by_their_last_parts() {
        for (image, expected) in [
            ("nginx:1.21", true),
            ("docker.io/library/nginx", true),
            ("nginxdemos/hello:plain-text", true),
            ("registry.k8s.io/e2e-test-images/agnhost:2.53", true),
            ("myapp:1.0", false),
            ("team/hello", false),
        ] {
            assert_eq!(is_known(image), expected, "{image}");
        }
    }

    #[test]
    fn some_images_are_nowhere_to_be_found() {
        for (image, found) in [("nginx:missing", false), ("does-not-exist", false), ("nginx:1.161", true)] {
            let pull = behavior(image, Role::Service).pull;
            assert_eq!(matches!(pull, Pull::Succeeds { .. }), found, "{image}");
        }
    }

    #[test]
    fn some_names_are_no_names() {
        for (image, valid) in [
            ("nginx", true),
            ("localhost:5000/app:v1", true),
            ("a/b/c-d_e.f:Tag_1.2", true),
            ("Nginx", false),
            ("nginx:", false),
            ("bad name", false),
            ("", false),
            ("nginx:a b", false),
        ] {
            assert_eq!(is_valid(image), valid, "{image}");
        }
    }
}
