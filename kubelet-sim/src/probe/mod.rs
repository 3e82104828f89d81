//! Probes: what is asked of a container, and what the answers mean.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`worker`] | one probe of one container: when it is due, and what a run of answers amounts to (pure) |

pub mod worker;

use std::{fmt, net::IpAddr, time::Duration};

use k8s_openapi::{
    api::core::v1::{Container, Probe},
    apimachinery::pkg::util::intstr::IntOrString,
};

pub use worker::Worker;

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
    /// It is not, with upstream's words for it.
    Failure(String),
}

/// What a probe does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// GETs a URL; any status from 200 to 399 is well.
    Http {
        /// Where.
        address: IpAddr,
        /// Where.
        port: u16,
        /// `http` or `https`.
        scheme: String,
        /// What.
        path: String,
    },
    /// Connects.
    Tcp {
        /// Where.
        address: IpAddr,
        /// Where.
        port: u16,
    },
    /// Runs a command in the container; exit code 0 is well.
    Exec(Vec<String>),
    /// Asks the gRPC health service.
    Grpc {
        /// Where.
        address: IpAddr,
        /// Where.
        port: u16,
    },
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
        let action = if let Some(exec) = &probe.exec {
            Action::Exec(exec.command.clone().unwrap_or_default())
        } else if let Some(http) = &probe.http_get {
            Action::Http {
                address: host(http.host.as_deref(), address)?,
                port: port(&http.port, container)?,
                scheme: http.scheme.as_deref().unwrap_or("HTTP").to_lowercase(),
                path: format!("/{}", http.path.as_deref().unwrap_or_default().trim_start_matches('/')),
            }
        } else if let Some(tcp) = &probe.tcp_socket {
            Action::Tcp { address: host(tcp.host.as_deref(), address)?, port: port(&tcp.port, container)? }
        } else if let Some(grpc) = &probe.grpc {
            Action::Grpc { address, port: port(&IntOrString::Int(grpc.port), container)? }
        } else {
            return Err("missing probe handler".to_owned());
        };
        let timeout = Duration::from_secs(probe.timeout_seconds.unwrap_or(1).max(1).unsigned_abs().into());
        Ok(Self { kind, action, timeout })
    }
}

fn host(host: Option<&str>, pod: IpAddr) -> Result<IpAddr, String> {
    match host {
        None | Some("") => Ok(pod),
        Some(host) => host.parse().map_err(|_| format!("dial tcp: lookup {host}: no such host")),
    }
}

/// The number of a port that a container may have a name for.
pub fn port(port: &IntOrString, container: &Container) -> Result<u16, String> {
    let named = |name: &str| {
        container.ports.iter().flatten().find(|port| port.name.as_deref() == Some(name)).map(|port| port.container_port)
    };
    let number = match port {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(name) => named(name).or_else(|| name.parse().ok()),
    };
    match (number, port) {
        (Some(number), _) => u16::try_from(number).map_err(|_| format!("invalid port number: {number}")),
        (None, IntOrString::String(name)) => Err(format!("couldn't find port: {name:?}")),
        (None, IntOrString::Int(number)) => Err(format!("invalid port number: {number}")),
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
        let http = |port, path: &str| Action::Http { address, port, scheme: "http".into(), path: path.into() };
        for (probe, expected) in [
            (json!({"httpGet": {"port": "http", "path": "/ready"}}), Ok(http(8080, "/ready"))),
            (json!({"httpGet": {"port": 80, "path": "health"}}), Ok(http(80, "/health"))),
            (json!({"httpGet": {"port": 80}}), Ok(http(80, "/"))),
            (json!({"httpGet": {"port": "https"}}), Err(r#"couldn't find port: "https""#.to_owned())),
            (json!({"tcpSocket": {"port": "9090"}}), Ok(Action::Tcp { address, port: 9090 })),
            (json!({"tcpSocket": {"port": 70000}}), Err("invalid port number: 70000".to_owned())),
            (json!({"exec": {"command": ["cat", "/x"]}}), Ok(Action::Exec(vec!["cat".into(), "/x".into()]))),
            (json!({"grpc": {"port": 9}}), Ok(Action::Grpc { address, port: 9 })),
            (json!({}), Err("missing probe handler".to_owned())),
        ] {
            let parsed: Probe = serde_json::from_value(probe.clone()).unwrap();
            let check = Check::new(Kind::Liveness, &parsed, &container, address);
            assert_eq!(check.map(|check| check.action), expected, "{probe}");
        }
    }
}
