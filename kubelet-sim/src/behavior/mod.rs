//! What a simulated container does: how long its image takes to pull, what it listens on, when it exits and how it
//! answers its probes.
//!
//! | module | decides by |
//! | --- | --- |
//! | [`images`] | the image's name: the table of known images |
//! | [`command`] | the command: a script that is run, or a program of the image's own |
//! | [`plain`] | commands that need not be run to know what comes of them |
//! | [`foreign`], [`agnhost`] | programs that are not played, by image and words |
//! | [`file`] | the behaviour file: rules by image and labels |
//! | [`annotations`] | the pod's annotations, which override everything |
//! | [`greeting`] | what it says when it starts |
//! | [`usage`], [`stress`] | what it uses of CPU and memory, and when that is too much |
//! | [`pi`] | π |
//!
//! To teach kubelab an image, add a row to [`images`]. Nothing here does I/O.

pub mod agnhost;
pub mod annotations;
pub mod command;
pub mod file;
pub mod foreign;
pub mod greeting;
pub mod images;
pub mod pi;
pub mod plain;
pub mod stress;
pub mod usage;

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::api::core::v1::{Container, Pod, Probe};
use serde::{Deserialize, Serialize};

use self::{file::Rules, foreign::Foreign, usage::Usage};
use crate::probe;

/// What a container does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Behavior {
    /// How pulling its image goes.
    pub pull: Pull,
    /// From the end of the pull until it runs.
    pub start_time: Duration,
    /// How long it runs.
    pub run: Run,
    /// What SIGTERM does to it.
    pub on_terminate: OnTerminate,
    /// The ports it listens on.
    pub listens: Vec<Listener>,
    /// What its HTTP servers answer.
    #[serde(default)]
    pub page: Page,
    /// Its program is not in its image, so it cannot be started, unless a volume brings it.
    #[serde(default)]
    pub absent: bool,
    /// What its probes find.
    pub health: Health,
    /// What it uses of its node.
    #[serde(default)]
    pub usage: Usage,
}

/// How pulling an image goes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Pull {
    /// It arrives.
    Succeeds {
        /// After this long.
        time: Duration,
        /// So many bytes.
        size: u64,
    },
    /// The registry refuses, with this message.
    Fails(String),
}

/// How long a container runs by itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Run {
    /// Like a server.
    UntilStopped,
    /// As long as its command, which is run by the shell.
    Program,
    /// Like a batch program.
    For {
        /// From start to exit.
        time: Duration,
        /// What it exits with.
        exit_code: i32,
    },
}

/// What SIGTERM does to a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnTerminate {
    /// It ends in good order.
    Exit {
        /// After this long.
        after: Duration,
        /// With this code.
        code: i32,
    },
    /// Nothing: as process 1 it has no handler, so it lives until SIGKILL. This is what `sleep` and shells do.
    Ignore,
}

impl OnTerminate {
    const AT_ONCE: Self = Self::Exit { after: Duration::from_millis(10), code: 0 };
}

/// What is spoken on a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Protocol {
    /// HTTP/1.1, answering who the container is.
    Http,
    /// The same over TLS, with a certificate of its own.
    Https,
    /// gRPC, of which the health service is played; to who speaks HTTP/1.1, that.
    Grpc,
    /// Connections are accepted and what they send is read.
    Tcp,
    /// Redis' own protocol, as far as PING and a few others go.
    Redis,
    /// What the image's own program speaks, which talks to the API: see [`kubelab_add_ons`].
    AddOn,
}

/// What an HTTP server answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Page {
    /// Who it is and what was asked.
    #[default]
    Describe,
    /// This text.
    Text(String),
    /// Its host name.
    Hostname,
    /// What `agnhost netexec` does.
    Netexec,
    /// What `agnhost liveness` does.
    Liveness,
    /// What `agnhost grpc-health-checking` does.
    Health {
        /// The service that it knows.
        service: String,
    },
}

/// A port that a container listens on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listener {
    /// The port.
    pub port: u16,
    /// What is spoken there.
    pub protocol: Protocol,
}

/// What probes find.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Health {
    /// Until then it answers 503.
    pub ready_after: Duration,
    /// From then on it answers 500: Kubernetes' own liveness example does so after 10 s.
    pub healthy_for: Option<Duration>,
    /// What readiness probes find, whatever the container does.
    pub readiness: Option<Answer>,
    /// What liveness probes find.
    pub liveness: Option<Answer>,
    /// What startup probes find.
    pub startup: Option<Answer>,
}

impl Health {
    /// The status code that it answers after running for so long.
    pub fn status(&self, uptime: Duration) -> u16 {
        if uptime < self.ready_after {
            503
        } else if self.healthy_for.is_some_and(|healthy_for| uptime >= healthy_for) {
            500
        } else {
            200
        }
    }

    /// What probes of this kind are made to find.
    pub fn forced(&self, kind: probe::Kind) -> Option<Answer> {
        match kind {
            probe::Kind::Readiness => self.readiness,
            probe::Kind::Liveness => self.liveness,
            probe::Kind::Startup => self.startup,
        }
    }
}

/// What a probe is made to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// All is well.
    Pass,
    /// An error.
    Fail,
    /// No answer at all.
    Timeout,
}

/// How a container stands in its pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// It is to run for as long as the pod.
    #[default]
    Service,
    /// It is to finish: an init container, or a container of a Job.
    Batch,
}

impl Role {
    fn of(pod: &Pod, container: &Container) -> Self {
        let is_init = pod
            .spec
            .iter()
            .flat_map(|spec| spec.init_containers.iter().flatten())
            .any(|init| init.name == container.name && init.restart_policy.as_deref() != Some("Always"));
        let in_job = pod.metadata.owner_references.iter().flatten().any(|owner| owner.kind == "Job");
        if is_init || in_job { Self::Batch } else { Self::Service }
    }
}

impl Behavior {
    /// What this container of this pod does, if the behaviour file says no more than these rules. Annotations that make no sense are passed over here; [`annotations::check`]
    /// finds them.
    pub fn of(pod: &Pod, container: &Container, rules: &Rules) -> Self {
        let image = container.image.as_deref().unwrap_or_default();
        let foreign = Foreign::of(pod, container);
        let mut behavior = images::behavior(image, foreign.role);
        if behavior.listens.is_empty() && !images::is_known(image) {
            behavior.listens.clone_from(&foreign.ports);
        }
        behavior.usage = images::usage(image, container);
        if let Some(usage) = stress::usage(container, &behavior.usage) {
            behavior.usage = usage;
        }
        command::apply(&mut behavior, container, &foreign);
        rules.apply(&mut behavior, pod, container);
        annotations::apply(&mut behavior, pod, &container.name);
        behavior
    }
}

impl Foreign {
    /// How this container of this pod stands to such programs.
    pub fn of(pod: &Pod, container: &Container) -> Self {
        let image = container.image.clone().unwrap_or_default();
        Self { image, role: Role::of(pod, container), ports: declared_ports(container) }
    }
}

/// The ports that a container says it listens on, or is probed at; how it is probed tells what it speaks there.
fn declared_ports(container: &Container) -> Vec<Listener> {
    let declared = container.ports.iter().flatten();
    let declared = declared
        .filter(|port| port.protocol.as_deref().unwrap_or("TCP") == "TCP")
        .filter_map(|port| u16::try_from(port.container_port).ok())
        .map(|port| (port, Protocol::Http));
    let probes = [&container.readiness_probe, &container.liveness_probe, &container.startup_probe];
    let probed = probes.into_iter().flatten().filter_map(|probe| probed_port(probe, container));
    let mut ports: BTreeMap<u16, Protocol> = BTreeMap::new();
    for (port, protocol) in declared.chain(probed) {
        let spoken = ports.entry(port).or_insert(protocol);
        if protocol != Protocol::Http {
            *spoken = protocol;
        }
    }
    ports.into_iter().map(|(port, protocol)| Listener { port, protocol }).collect()
}

fn probed_port(probe: &Probe, container: &Container) -> Option<(u16, Protocol)> {
    if let Some(grpc) = &probe.grpc {
        return Some((u16::try_from(grpc.port).ok()?, Protocol::Grpc));
    }
    // What is probed elsewhere says nothing of this container.
    let here = |host: &Option<String>| host.as_ref().is_none_or(String::is_empty);
    if let Some(get) = probe.http_get.as_ref().filter(|get| here(&get.host)) {
        let secure = get.scheme.as_deref().is_some_and(|scheme| scheme.eq_ignore_ascii_case("https"));
        let protocol = if secure { Protocol::Https } else { Protocol::Http };
        return Some((probe::port(&get.port, container).ok()?, protocol));
    }
    let tcp = probe.tcp_socket.as_ref().filter(|tcp| here(&tcp.host))?;
    Some((probe::port(&tcp.port, container).ok()?, Protocol::Http))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    fn behavior(pod: serde_json::Value) -> Behavior {
        let pod: Pod = serde_json::from_value(pod).unwrap();
        Behavior::of(&pod, &pod.spec.as_ref().unwrap().containers[0], &Rules::default())
    }

    fn ports(behavior: &Behavior) -> Vec<u16> {
        behavior.listens.iter().map(|listener| listener.port).collect()
    }

    #[test]
    fn a_known_server_listens_on_its_own_port_whatever_is_declared() {
        let nginx = json!({"spec": {"containers": [
            {"name": "web", "image": "nginx:1.21", "ports": [{"containerPort": 8080}]}]}});
        assert_eq!(ports(&behavior(nginx)), [80]);
    }

    #[test]
    fn an_unknown_image_listens_where_its_spec_says() {
        let webapp = json!({"spec": {"containers": [{"name": "web", "image": "example.com/team/app:2",
            "ports": [{"containerPort": 8080}, {"containerPort": 53, "protocol": "UDP"}],
            "livenessProbe": {"httpGet": {"port": 8081}}}]}});
        assert_eq!(ports(&behavior(webapp)), [8080, 8081]);
    }

    #[test]
    fn how_a_port_is_probed_tells_what_is_spoken_there() {
        let spoken = json!({"spec": {"containers": [{"name": "web", "image": "example.com/team/app:2",
            "ports": [{"containerPort": 8443, "name": "https"}, {"containerPort": 9000}],
            "livenessProbe": {"httpGet": {"port": "https", "scheme": "HTTPS"}}, "readinessProbe": {"grpc": {"port": 9000}},
            "startupProbe": {"tcpSocket": {"port": 5432, "host": "db"}}}]}});
        let listens = behavior(spoken).listens;
        let listens: Vec<(u16, Protocol)> = listens.iter().map(|listener| (listener.port, listener.protocol)).collect();
        assert_eq!(listens, [(8443, Protocol::Https), (9000, Protocol::Grpc)]);
    }

    #[test]
    fn an_unknown_image_of_a_job_finishes() {
        let job = json!({"metadata": {"ownerReferences": [{"apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": "u"}]},
            "spec": {"containers": [{"name": "work", "image": "migration:latest"}]}});
        assert!(matches!(behavior(job).run, Run::For { exit_code: 0, .. }));
    }

    #[test]
    fn a_command_makes_a_server_image_something_else() {
        let sleeping = json!({"spec": {"containers": [{"name": "web", "image": "nginx", "command": ["sleep", "5"]}]}});
        let behavior = behavior(sleeping);
        assert_eq!(behavior.run, Run::For { time: Duration::from_secs(5), exit_code: 0 });
        assert_eq!(behavior.on_terminate, OnTerminate::Ignore);
        assert_eq!(ports(&behavior), [0u16; 0]);
    }
}
