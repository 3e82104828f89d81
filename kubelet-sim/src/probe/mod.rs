//! Probes: what is asked of a container, and what the answers mean. Source of actions and wording: `pkg/kubelet/prober`
//! and `pkg/probe` of Kubernetes.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`worker`] | one probe of one container: when it is due, and what a run of answers amounts to (pure) |
//! | [`http`], [`tcp`], [`grpc`] | asking over the network |

pub mod grpc;
pub mod http;
pub mod tcp;
pub mod worker;

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use k8s_openapi::{
    api::core::v1::{Container, Probe},
    apimachinery::pkg::util::intstr::IntOrString,
};

pub use worker::Worker;

use crate::network::Dialer;

/// The three probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Has it started? Until then the others wait.
    Startup,
    /// Is it alive? Otherwise it is restarted.
    Liveness,
    /// Can it serve? Otherwise it leaves its services.
    Readiness,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Startup, Self::Liveness, Self::Readiness];

    /// This probe of a container.
    pub fn of(self, container: &Container) -> Option<&Probe> {
        match self {
            Self::Startup => container.startup_probe.as_ref(),
            Self::Liveness => container.liveness_probe.as_ref(),
            Self::Readiness => container.readiness_probe.as_ref(),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Startup => "Startup",
            Self::Liveness => "Liveness",
            Self::Readiness => "Readiness",
        })
    }
}

/// What a probe found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// All is well.
    Success,
    /// It is, but there is something to say.
    Warning(String),
    /// It is not, with upstream's words for it.
    Failure(String),
    /// It could not be found out; counts as a failure.
    Error {
        /// `unknown` or `failure`.
        state: &'static str,
        /// Why.
        why: String,
    },
}

impl Answer {
    /// What could not even be asked.
    pub fn unknown(why: impl Into<String>) -> Self {
        Self::Error { state: "unknown", why: why.into() }
    }

    /// Whether the container is well.
    pub fn is_good(&self) -> bool {
        matches!(self, Self::Success | Self::Warning(_))
    }

    /// The event that tells of it: reason and message.
    pub fn event(&self, kind: Kind) -> Option<(&'static str, String)> {
        match self {
            Self::Success => None,
            Self::Warning(what) => Some(("ProbeWarning", format!("{kind} probe warning: {what}"))),
            Self::Failure(why) => Some(("Unhealthy", format!("{kind} probe failed: {why}"))),
            Self::Error { state, why } => {
                Some(("Unhealthy", format!("{kind} probe errored and resulted in {state} state: {why}")))
            }
        }
    }
}

/// What a probe does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// GETs a URL; any status from 200 to 399 is well.
    Http(http::Get),
    /// Connects.
    Tcp(Target),
    /// Runs a command in the container; exit code 0 is well.
    Exec(Vec<String>),
    /// Asks the gRPC health service.
    Grpc {
        /// Where.
        target: Target,
        /// Of which service.
        service: String,
    },
}

/// Where a probe goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// An address, or a name that the node knows.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl Target {
    /// The address; or what Go's resolver says of the name. The simulated node knows no names but its own.
    pub fn address(&self) -> Result<SocketAddr, String> {
        let ip = match self.host.parse::<IpAddr>() {
            Ok(ip) => ip,
            Err(_) if self.host == "localhost" => Ipv4Addr::LOCALHOST.into(),
            Err(_) => return Err(format!("dial tcp: lookup {}: no such host", self.host)),
        };
        Ok(SocketAddr::new(ip, self.port))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// A question to a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// For which probe.
    pub kind: Kind,
    /// What to do.
    pub action: Action,
    /// When to give up.
    pub timeout: Duration,
}

impl Check {
    /// The question of a probe of a container whose pod has this address; or why it cannot be asked.
    pub fn new(kind: Kind, probe: &Probe, container: &Container, address: IpAddr) -> Result<Self, String> {
        let target = |host: Option<&str>, wanted: &IntOrString| -> Result<Target, String> {
            let host = host.filter(|host| !host.is_empty()).map_or_else(|| address.to_string(), str::to_owned);
            Ok(Target { host, port: port(wanted, container)? })
        };
        let action = if let Some(exec) = &probe.exec {
            Action::Exec(exec.command.clone().unwrap_or_default())
        } else if let Some(get) = &probe.http_get {
            Action::Http(http::Get::new(get, container, address, "probe")?)
        } else if let Some(tcp) = &probe.tcp_socket {
            Action::Tcp(target(tcp.host.as_deref(), &tcp.port)?)
        } else if let Some(grpc) = &probe.grpc {
            let target = target(None, &IntOrString::Int(grpc.port))?;
            Action::Grpc { target, service: grpc.service.clone().unwrap_or_default() }
        } else {
            return Err("missing probe handler".to_owned());
        };
        let timeout = Duration::from_secs(probe.timeout_seconds.unwrap_or(1).max(1).unsigned_abs().into());
        Ok(Self { kind, action, timeout })
    }

    /// Asks over this network; `None` for commands, which are run in the container instead.
    pub async fn ask(&self, network: &dyn Dialer) -> Option<Answer> {
        match &self.action {
            Action::Http(get) => Some(get.probe(network, self.timeout).await),
            Action::Tcp(target) => Some(tcp::probe(target, network, self.timeout).await),
            Action::Grpc { target, service } => Some(grpc::probe(target, service, network, self.timeout).await),
            Action::Exec(_) => None,
        }
    }
}

/// The number of a port that a container may have a name for. Source of the wording: Go's `strconv`, which is the last to
/// look at a name that no port has.
pub fn port(port: &IntOrString, container: &Container) -> Result<u16, String> {
    let named = |name: &str| {
        container.ports.iter().flatten().find(|port| port.name.as_deref() == Some(name)).map(|port| port.container_port)
    };
    let number = match port {
        IntOrString::Int(number) => *number,
        IntOrString::String(name) => match named(name).or_else(|| name.parse().ok()) {
            Some(number) => number,
            None => return Err(format!("strconv.Atoi: parsing {name:?}: invalid syntax")),
        },
    };
    match u16::try_from(number) {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(format!("invalid port number: {number}")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn a_probe_becomes_a_question() {
        let container: Container =
            serde_json::from_value(json!({"name": "web", "ports": [{"name": "http", "containerPort": 8080}]})).unwrap();
        let address: IpAddr = "10.244.1.7".parse().unwrap();
        let target = |host: &str, port| Target { host: host.into(), port };
        for (probe, expected) in [
            (json!({"tcpSocket": {"port": "9090"}}), Ok(Action::Tcp(target("10.244.1.7", 9090)))),
            (json!({"tcpSocket": {"port": "http", "host": "db"}}), Ok(Action::Tcp(target("db", 8080)))),
            (json!({"tcpSocket": {"port": 70000}}), Err("invalid port number: 70000".to_owned())),
            (json!({"tcpSocket": {"port": "no"}}), Err("strconv.Atoi: parsing \"no\": invalid syntax".to_owned())),
            (json!({"exec": {"command": ["cat", "/x"]}}), Ok(Action::Exec(vec!["cat".into(), "/x".into()]))),
            (
                json!({"grpc": {"port": 9, "service": "live"}}),
                Ok(Action::Grpc { target: target("10.244.1.7", 9), service: "live".into() }),
            ),
            (json!({}), Err("missing probe handler".to_owned())),
        ] {
            let parsed: Probe = serde_json::from_value(probe.clone()).unwrap();
            let check = Check::new(Kind::Liveness, &parsed, &container, address);
            assert_eq!(check.map(|check| check.action), expected, "{probe}");
        }
    }

    #[test]
    fn answers_are_told_as_upstream_tells_them() {
        let why = || "no".to_owned();
        for (answer, good, told) in [
            (Answer::Success, true, None),
            (Answer::Warning(why()), true, Some(("ProbeWarning", "Liveness probe warning: no"))),
            (Answer::Failure(why()), false, Some(("Unhealthy", "Liveness probe failed: no"))),
            (
                Answer::unknown("no"),
                false,
                Some(("Unhealthy", "Liveness probe errored and resulted in unknown state: no")),
            ),
        ] {
            let event = answer.event(Kind::Liveness);
            let event = event.as_ref().map(|(reason, message)| (*reason, message.as_str()));
            assert_eq!((answer.is_good(), event), (good, told), "{answer:?}");
        }
    }
}
