//! The plugins of a server block. They are asked in CoreDNS' order (`plugin.cfg`), whatever that of the Corefile is:
//!
//! ```text
//!  log ─► errors ─► loadbalance ─► cache ─► rewrite ─► hosts ─► kubernetes ─► forward ─► nobody: REFUSED
//! ```
//!
//! | module | what it is |
//! | --- | --- |
//! | [`cache`] | answers that are kept |
//! | [`rewrite`] | names that are asked for in others' place (pure) |
//! | [`hosts`] | names that stand in the Corefile or in a file (pure) |
//! | [`kubernetes`] | names of the cluster |
//! | [`forward`] | other servers |

pub mod cache;
pub mod forward;
pub mod hosts;
pub mod kubernetes;
pub mod rewrite;

use std::{path::Path, time::Duration};

use self::{cache::Cache, forward::Forward, hosts::Hosts, kubernetes::Kubernetes, rewrite::Rewrite};
use super::corefile::{Directive, Line, Wrong, wrong_count, zone_of};

/// How often a Corefile is looked at without a time of its own. Source: CoreDNS' `reload`.
pub const RELOAD: Duration = Duration::from_secs(30);
/// The shortest of such times. Source: CoreDNS' `reload`.
const MIN_RELOAD: Duration = Duration::from_secs(2);

/// Plugins that have nothing to do in a lab: what they serve, the kubelet knows without them, or nobody looks at it.
const IDLE: [&str; 11] =
    ["health", "ready", "prometheus", "loop", "bind", "bufsize", "debug", "metadata", "minimal", "nsid", "pprof"];

/// Plugins of CoreDNS that are not played here; a Corefile may name them.
const NOT_PLAYED: [&str; 21] = [
    "acl",
    "any",
    "auto",
    "autopath",
    "azure",
    "chaos",
    "clouddns",
    "dns64",
    "dnssec",
    "dnstap",
    "erratic",
    "etcd",
    "file",
    "grpc",
    "header",
    "import",
    "k8s_external",
    "local",
    "route53",
    "template",
    "whoami",
];

/// What a server block does with questions.
#[derive(Debug, Default)]
pub struct Plugins {
    /// Each question is logged.
    pub log: bool,
    /// Failures are logged.
    pub errors: bool,
    /// Addresses are shuffled.
    pub loadbalance: bool,
    /// How often the Corefile is looked at.
    pub reload: Option<Duration>,
    /// Names that are asked for in others' place.
    pub rewrites: Vec<Rewrite>,
    /// Answers that are kept.
    pub cache: Option<Cache>,
    /// Names that stand in the Corefile.
    pub hosts: Option<Hosts>,
    /// Names of the cluster.
    pub kubernetes: Option<Kubernetes>,
    /// Other servers.
    pub forwards: Vec<Forward>,
    /// Those that are named and do nothing here, though they would do something.
    pub not_played: Vec<String>,
}

impl Plugins {
    /// The plugins that these lines name, of a server for this zone. `read`: gives the files that they name.
    pub fn of(zone: &str, lines: &[Directive], read: &dyn Fn(&Path) -> Option<String>) -> Result<Self, Wrong> {
        let mut plugins = Self::default();
        for line in lines {
            match line.name() {
                "log" => plugins.log = true,
                "errors" => plugins.errors = true,
                "loadbalance" => plugins.loadbalance = true,
                "reload" => plugins.reload = Some(reload(line)?),
                "rewrite" => plugins.rewrites.push(Rewrite::of(line)?),
                "cache" => plugins.cache = Some(Cache::of(line)?),
                "hosts" => plugins.hosts = Some(Hosts::of(zone, line, read)?),
                "kubernetes" => plugins.kubernetes = Some(Kubernetes::of(zone, line)?),
                "forward" => plugins.forwards.push(Forward::of(line, read)?),
                name if IDLE.contains(&name) => {}
                name if NOT_PLAYED.contains(&name) => plugins.not_played.push(name.to_owned()),
                name => return Err((line.line, format!("Unknown directive '{name}'"))),
            }
        }
        // The one for the most names is asked last.
        plugins.forwards.sort_by_key(|forward| std::cmp::Reverse(forward.from().len()));
        Ok(plugins)
    }
}

/// `reload [INTERVAL] [JITTER]`
fn reload(line: &Directive) -> Result<Duration, Wrong> {
    match line.arguments().first() {
        None => Ok(RELOAD),
        Some(text) => match duration(text) {
            Some(time) => Ok(time.max(MIN_RELOAD)),
            None => Err((line.line, format!("plugin/reload: time: invalid duration \"{text}\""))),
        },
    }
}

/// `30s`, `1m30s`: a time as Go writes it, of hours, minutes, seconds and milliseconds.
pub fn duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut time = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u32 = rest[..digits].parse().ok()?;
        let unit = &rest[digits..];
        let (unit, length) = match unit {
            unit if unit.starts_with("ms") => (Duration::from_millis(1), 2),
            unit if unit.starts_with('s') => (Duration::from_secs(1), 1),
            unit if unit.starts_with('m') => (Duration::from_secs(60), 1),
            unit if unit.starts_with('h') => (Duration::from_secs(3600), 1),
            _ => return None,
        };
        time = time.checked_add(unit.checked_mul(number)?)?;
        rest = &rest[digits + length..];
    }
    (!text.is_empty()).then_some(time)
}

/// The zones that a `fallthrough` line names; all, where it names none.
fn fallthrough(line: &Line) -> Vec<String> {
    match line.split().1 {
        [] => vec![String::new()],
        zones => zones.iter().map(|zone| zone_of(zone)).collect(),
    }
}

/// The only word after a property's name.
fn only(line: &Line) -> Result<&str, Wrong> {
    match line.split() {
        (_, [word]) => Ok(word),
        (name, _) => Err(wrong_count(line.line, name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_gos() {
        for (text, expected) in [
            ("30s", Some(30_000)),
            ("1m30s", Some(90_000)),
            ("250ms", Some(250)),
            ("2h", Some(7_200_000)),
            ("30", None),
            ("s", None),
            ("", None),
            ("3d", None),
        ] {
            assert_eq!(duration(text), expected.map(Duration::from_millis), "{text}");
        }
    }
}
