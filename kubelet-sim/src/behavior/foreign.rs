//! Programs that are neither a shell's nor among those that are played: an image's own server, an interpreter, or nothing
//! that is there. What comes of them is decided by the image and the words alone.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Listener, Protocol, Role, images};

/// How long such a program works before it ends.
const WORK_TIME: Duration = Duration::from_secs(1);

/// Programs that look at a server or set it up, and end.
const CLIENTS: [&str; 12] = [
    "mysql",
    "mysqladmin",
    "mysqldump",
    "mariadb",
    "psql",
    "pg_isready",
    "pg_dump",
    "redis-cli",
    "redis-benchmark",
    "mongosh",
    "etcdctl",
    "rabbitmqctl",
];

/// Options with which a server says something and ends.
const BRIEF: [&str; 8] = ["-v", "-V", "--version", "version", "-t", "-s", "-h", "--help"];

/// Programs of interpreters' images, by the image.
const INTERPRETERS: &[(&str, &[&str])] = &[
    ("python", &["pip", "gunicorn", "flask", "uvicorn"]),
    ("node", &["npm", "npx", "yarn"]),
    ("ruby", &["gem", "bundle", "rails"]),
    ("openjdk", &["java", "javac"]),
    ("httpd", &["apachectl"]),
    ("wordpress", &["apache2", "apache2-foreground", "php"]),
    ("php-apache", &["apache2", "apache2-foreground", "php"]),
    ("kafka", &["zookeeper-server-start.sh"]),
];

/// Programs that real images have and that are not played here.
const NOT_PLAYED: &[&str] = &[
    "awk",
    "vi",
    "vim",
    "nano",
    "less",
    "more",
    "top",
    "apt",
    "apt-get",
    "apk",
    "yum",
    "dnf",
    "dpkg",
    "rpm",
    "git",
    "make",
    "gcc",
    "openssl",
    "ssh",
    "gzip",
    "gunzip",
    "unzip",
    "zip",
    "diff",
    "md5sum",
    "sha256sum",
    "dd",
    "ln",
    "readlink",
    "realpath",
    "mount",
    "umount",
    "adduser",
    "useradd",
    "su",
    "sudo",
    "ip",
    "ifconfig",
    "netstat",
    "ss",
    "iptables",
    "ping",
    "traceroute",
    "wget",
    "curl",
    "nc",
    "nslookup",
    "dig",
    "getent",
    "telnet",
    "httpd",
    "crond",
    "watch",
    "stress",
    "jq",
    "perl",
    "python3",
    "bc",
    "expr",
    "od",
    "hexdump",
    "strings",
    "stty",
    "fold",
    "nl",
    "paste",
    "join",
    "split",
    "comm",
    "shuf",
    "tac",
];

/// A container, as far as it decides what such programs do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Foreign {
    /// The image as the spec names it.
    pub image: String,
    /// How the container stands in its pod.
    pub role: Role,
    /// The ports that the spec declares or probes.
    pub ports: Vec<Listener>,
}

/// What comes of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Work {
    /// It is not there, unless a volume brings it.
    Absent,
    /// It listens and runs until it is stopped.
    Serves(Vec<Listener>),
    /// It works for so long and ends well.
    Ends(Duration),
    /// It would be there, but what it does is not known: it is taken to have done it.
    NotPlayed,
}

impl Foreign {
    /// What comes of a program of the container's own. `is_last`: nothing comes after it.
    pub fn work(&self, words: &[String], is_last: bool) -> Work {
        let Some(path) = words.first() else { return Work::Absent };
        let name = path.rsplit('/').next().unwrap_or(path);
        if words.iter().any(|word| word == "http.server") {
            let port = words.last().and_then(|word| word.parse().ok()).unwrap_or(8000);
            return Work::Serves(vec![Listener { port, protocol: Protocol::Http }]);
        }
        if name == "httpd" && images::is_shell(&self.image) {
            // Busybox's own.
            let port = words.iter().position(|word| word == "-p").and_then(|at| words.get(at + 1)?.parse().ok());
            return Work::Serves(vec![Listener { port: port.unwrap_or(80), protocol: Protocol::Http }]);
        }
        let is_brief = words.get(1).is_some_and(|word| BRIEF.contains(&word.as_str()));
        if !images::is_known(&self.image) {
            return match (is_last && !is_brief, self.role) {
                (true, Role::Service) => Work::Serves(self.ports.clone()),
                (true, Role::Batch) => Work::Ends(WORK_TIME),
                (false, _) => Work::Ends(Duration::ZERO),
            };
        }
        if !self.owns(path, name) {
            return if NOT_PLAYED.contains(&name) { Work::NotPlayed } else { Work::Absent };
        }
        if images::is_shell(&self.image) {
            // A script file is a program that may serve; what stands on the command line does its work.
            let is_file = words.get(1).is_some_and(|word| !word.starts_with('-'));
            return if is_file && self.role == Role::Service {
                Work::Serves(self.ports.clone())
            } else {
                Work::Ends(WORK_TIME)
            };
        }
        if is_brief || CLIENTS.contains(&name) {
            return Work::Ends(Duration::ZERO);
        }
        Work::Serves(with_port(images::ports(&self.image), words))
    }

    /// What comes of a program that somebody starts beside the container's own.
    pub fn work_beside(&self, words: &[String]) -> Work {
        if !images::is_known(&self.image) {
            return Work::Absent;
        }
        match self.work(words, false) {
            Work::Serves(_) | Work::Ends(_) => Work::Ends(Duration::ZERO),
            other => other,
        }
    }

    /// Whether a program is one of a known image's own.
    fn owns(&self, path: &str, name: &str) -> bool {
        let image = images::short_name(&self.image);
        // `httpd` has `httpd-foreground`, `mongo` has `mongod`, `golang` has `go`, `postgresql` has `postgres`.
        let related = name.contains(image) || (name.len() > 1 && image.contains(name));
        let more = INTERPRETERS.iter().find(|(known, _)| *known == image);
        let own_folder =
            path.contains('/') && !crate::shell::programs::is_in_bin(path) && !images::is_shell(&self.image);
        related
            || own_folder
            || CLIENTS.contains(&name) && !images::is_shell(&self.image)
            || name.ends_with(".sh") && !images::is_shell(&self.image)
            || more.is_some_and(|(_, programs)| programs.contains(&name))
    }
}

/// The ports of a server, the first as its options say: `--port 6380`, `--port=6380`, `-listen=:8080`.
pub fn with_port(mut ports: Vec<Listener>, words: &[String]) -> Vec<Listener> {
    let number = |value: &str| value.rsplit(':').next().and_then(|port| port.parse().ok());
    let given = words.iter().enumerate().find_map(|(at, word)| {
        let option = word.trim_start_matches('-');
        let (name, value) = option.split_once('=').map_or((option, None), |(name, value)| (name, Some(value)));
        let is_port = word.starts_with('-') && matches!(name, "port" | "http-port" | "listen" | "listen-address");
        is_port.then(|| value.or_else(|| words.get(at + 1).map(String::as_str))).flatten().and_then(number)
    });
    if let (Some(port), Some(first)) = (given, ports.first_mut()) {
        first.port = port;
    }
    ports
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work(image: &str, role: Role, command: &str, is_last: bool) -> Work {
        let ports = vec![Listener { port: 7000, protocol: Protocol::Http }];
        let words: Vec<String> = command.split(' ').map(str::to_owned).collect();
        Foreign { image: image.to_owned(), role, ports }.work(&words, is_last)
    }

    #[test]
    fn the_image_decides_what_its_programs_do() {
        let http = |port| Work::Serves(vec![Listener { port, protocol: Protocol::Http }]);
        let tcp = |port, protocol| Work::Serves(vec![Listener { port, protocol }]);
        let (now, soon) = (Work::Ends(Duration::ZERO), Work::Ends(WORK_TIME));
        use Role::{Batch, Service};
        for (image, role, command, is_last, expected) in [
            ("nginx:1.25", Service, "nginx -g daemon off;", true, http(80)),
            ("nginx", Service, "nginx -t", false, now.clone()),
            ("nginx", Service, "/docker-entrypoint.sh nginx", true, http(80)),
            ("nginx", Service, "nginxx-does-not", true, http(80)),
            ("nginx", Service, "no-such-program", true, Work::Absent),
            ("httpd:2.4", Service, "httpd-foreground", true, http(80)),
            ("redis:7", Service, "redis-server --port 6380", true, tcp(6380, Protocol::Redis)),
            ("redis:7", Service, "redis-cli ping", true, now.clone()),
            ("mysql:8", Service, "docker-entrypoint.sh mysqld", true, tcp(3306, Protocol::Tcp)),
            ("busybox", Service, "httpd -f -p 8080 -h /www", true, http(8080)),
            ("busybox", Service, "foo", true, Work::Absent),
            ("busybox", Service, "/bin/foo", true, Work::Absent),
            ("busybox", Service, "awk {print}", false, Work::NotPlayed),
            ("python:3", Service, "python -m http.server 8123", true, http(8123)),
            ("python:3", Service, "python app.py", true, http(7000)),
            ("python:3", Batch, "python app.py", true, soon.clone()),
            ("perl", Service, "perl -wle print", true, soon.clone()),
            ("team/app", Service, "./migrate", false, now.clone()),
            ("team/app", Service, "./server", true, http(7000)),
            ("team/app", Batch, "./migrate", true, soon),
            ("team/app", Service, "./server --version", true, now),
        ] {
            assert_eq!(work(image, role, command, is_last), expected, "{image} {command}");
        }
    }
}
