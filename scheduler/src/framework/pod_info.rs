//! A pod, with what plugins need of it computed once.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::{
    api::core::v1::{Container, Pod, PodSpec, ResourceRequirements, Toleration},
    apimachinery::pkg::api::resource::Quantity as Text,
};
use kubelab_api::pod;

use super::{Resources, affinity::PodAffinity};

/// What a container that asks for nothing is taken to use, for scoring alone, so that such pods spread too. Source:
/// `pkg/scheduler/util/pod_resources.go`.
const DEFAULT_CPU: &str = "100m";
const DEFAULT_MEMORY: &str = "200Mi";

/// The scheduler of pods that do not name one.
pub const DEFAULT_SCHEDULER: &str = "default-scheduler";

/// A port of the node that a pod wants for itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// `0.0.0.0` for all addresses.
    pub ip: String,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: String,
    /// The port's number.
    pub port: i32,
}

impl HostPort {
    /// Both cannot be had on one node.
    pub fn conflicts(&self, other: &Self) -> bool {
        const ALL: &str = "0.0.0.0";
        self.port == other.port
            && self.protocol == other.protocol
            && (self.ip == other.ip || self.ip == ALL || other.ip == ALL)
    }
}

/// A pod that waits, is assumed to run, or runs.
#[derive(Clone, Debug)]
pub struct PodInfo {
    /// As the apiserver has it.
    pub pod: Arc<Pod>,
    /// More important pods come first.
    pub priority: i32,
    /// What it asks for.
    pub requests: Resources,
    /// The same with defaults for containers that do not say, for scoring.
    pub scored_requests: Resources,
    /// The node's ports that it wants.
    pub host_ports: Vec<HostPort>,
    /// What it wants to run beside and away from, if anything.
    pub affinity: Option<Arc<PodAffinity>>,
    /// The claims that its volumes mean.
    pub claims: Arc<[Claim]>,
}

/// A claim that a volume of a pod means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The claim's name; its namespace is the pod's.
    pub name: String,
    /// It is made for the pod's generic ephemeral volume, and belongs to it.
    pub ephemeral: bool,
}

impl PodInfo {
    /// Reads a pod.
    pub fn new(pod: Arc<Pod>) -> Self {
        let requests = Resources::new(pod::requests(&pod));
        Self {
            priority: pod.spec.as_ref().and_then(|spec| spec.priority).unwrap_or_default(),
            scored_requests: scored_requests(&pod).unwrap_or_else(|| requests.clone()),
            host_ports: host_ports(&pod),
            affinity: PodAffinity::of(&pod).map(Arc::new),
            claims: claims(&pod).into(),
            requests,
            pod,
        }
    }

    /// This pod after a change of its status or metadata alone.
    #[must_use]
    pub fn with_status_of(&self, pod: Arc<Pod>) -> Self {
        Self { pod, ..self.clone() }
    }

    /// The pod's identity; empty before the apiserver has given it one.
    pub fn uid(&self) -> &str {
        self.pod.metadata.uid.as_deref().unwrap_or_default()
    }

    /// Its namespace.
    pub fn namespace(&self) -> &str {
        self.pod.metadata.namespace.as_deref().unwrap_or_default()
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.pod.metadata.name.as_deref().unwrap_or_default()
    }

    /// Its labels.
    pub fn labels(&self) -> Option<&BTreeMap<String, String>> {
        self.pod.metadata.labels.as_ref()
    }

    /// Who is to schedule it.
    pub fn scheduler_name(&self) -> &str {
        let name = self.spec().and_then(|spec| spec.scheduler_name.as_deref()).unwrap_or_default();
        if name.is_empty() { DEFAULT_SCHEDULER } else { name }
    }

    /// The node on which preemption makes room for it.
    pub fn nominated_node(&self) -> Option<&str> {
        self.pod.status.as_ref()?.nominated_node_name.as_deref().filter(|name| !name.is_empty())
    }

    /// The taints that it bears.
    pub fn tolerations(&self) -> &[Toleration] {
        self.spec().and_then(|spec| spec.tolerations.as_deref()).unwrap_or_default()
    }

    /// It is being deleted.
    pub fn is_terminating(&self) -> bool {
        self.pod.metadata.deletion_timestamp.is_some()
    }

    /// What it shall be. A pod has one, or the apiserver would have refused it.
    pub fn spec(&self) -> Option<&PodSpec> {
        self.pod.spec.as_ref()
    }
}

/// Source of the names of claims for ephemeral volumes: KEP-1698.
fn claims(pod: &Pod) -> Vec<Claim> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    volumes
        .filter_map(|volume| match (&volume.persistent_volume_claim, &volume.ephemeral) {
            (Some(claim), _) => Some(Claim { name: claim.claim_name.clone(), ephemeral: false }),
            (None, Some(_)) => Some(Claim { name: format!("{name}-{}", volume.name), ephemeral: true }),
            (None, None) => None,
        })
        .collect()
}

fn host_ports(pod: &Pod) -> Vec<HostPort> {
    let Some(spec) = &pod.spec else { return Vec::new() };
    let sidecars = spec.init_containers.iter().flatten().filter(|container| pod::is_sidecar(container));
    let ports = sidecars.chain(&spec.containers).flat_map(|container| container.ports.iter().flatten());
    ports
        .filter_map(|port| {
            let number = port.host_port.filter(|number| *number > 0)?;
            let or = |text: &Option<String>, default: &str| {
                text.clone().filter(|text| !text.is_empty()).unwrap_or_else(|| default.to_owned())
            };
            Some(HostPort { ip: or(&port.host_ip, "0.0.0.0"), protocol: or(&port.protocol, "TCP"), port: number })
        })
        .collect()
}

/// The requests with defaults filled in; `None` if nothing is missing.
fn scored_requests(pod: &Pod) -> Option<Resources> {
    let spec = pod.spec.as_ref()?;
    let missing = |container: &Container| {
        let requests = container.resources.as_ref().and_then(|resources| resources.requests.as_ref());
        requests.is_none_or(|requests| !requests.contains_key("cpu") || !requests.contains_key("memory"))
    };
    if !pod::containers(pod).any(missing) {
        return None;
    }
    let fill = |container: &Container| {
        let mut requests = container.resources.as_ref().and_then(|resources| resources.requests.clone());
        for (name, default) in [("cpu", DEFAULT_CPU), ("memory", DEFAULT_MEMORY)] {
            requests.get_or_insert_default().entry(name.into()).or_insert_with(|| Text(default.into()));
        }
        Container {
            restart_policy: container.restart_policy.clone(),
            resources: Some(ResourceRequirements { requests, ..Default::default() }),
            ..Container::default()
        }
    };
    let filled = Pod {
        spec: Some(PodSpec {
            containers: spec.containers.iter().map(fill).collect(),
            init_containers: spec.init_containers.as_ref().map(|containers| containers.iter().map(fill).collect()),
            resources: spec.resources.clone(),
            overhead: spec.overhead.clone(),
            ..PodSpec::default()
        }),
        ..Pod::default()
    };
    Some(Resources::new(pod::requests(&filled)))
}
