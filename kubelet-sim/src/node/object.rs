//! The Node object: what the node is and how it is. Source of names, reasons and messages:
//! `pkg/kubelet/nodestatus/setters.go` and `pkg/kubelet/kubelet_node_status.go` of Kubernetes.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{
        ContainerImage, DaemonEndpoint, Node, NodeAddress, NodeCondition, NodeDaemonEndpoints, NodeStatus,
        NodeSystemInfo,
    },
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{ObjectMeta, Time},
    },
};
use kubelab_api::well_known::label;

use super::Config;
use crate::runtime::Image;

/// The version that the kubelet says it has.
pub const KUBELET_VERSION: &str = "v1.37.0";

/// A node's status names no more images than this. Source: the kubelet's `nodeStatusMaxImages`.
const MAX_IMAGES: usize = 50;

const OS: &str = "linux";

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// The labels that every node has, and its own.
pub fn labels(config: &Config) -> BTreeMap<String, String> {
    let always = [
        (label::HOSTNAME, config.name.as_str()),
        (label::OS, OS),
        (label::OS_BETA, OS),
        (label::ARCH, architecture()),
        (label::ARCH_BETA, architecture()),
    ];
    let always = always.map(|(key, value)| (key.to_owned(), value.to_owned()));
    always.into_iter().chain(config.labels.clone()).collect()
}

/// A new node.
pub fn node(config: &Config, status: NodeStatus) -> Node {
    Node {
        metadata: ObjectMeta {
            name: Some(config.name.clone()),
            labels: Some(labels(config)),
            annotations: Some(
                [("volumes.kubernetes.io/controller-managed-attach-detach".into(), "true".into())].into(),
            ),
            ..Default::default()
        },
        status: Some(status),
        ..Default::default()
    }
}

/// How a node is.
#[derive(Clone, Copy, Debug)]
pub struct Health {
    /// It has a network for its pods.
    pub has_network: bool,
    /// It has too little memory.
    pub is_short_of_memory: bool,
}

/// A node's status. Conditions keep the time of their last transition from the `old` status.
pub fn status(config: &Config, images: &[Image], health: Health, old: Option<&NodeStatus>, now: &Time) -> NodeStatus {
    let amounts: BTreeMap<String, Quantity> =
        config.capacity.iter().map(|(resource, amount)| (resource.clone(), (*amount).into())).collect();
    let images = images.iter().take(MAX_IMAGES).map(|image| ContainerImage {
        names: Some(vec![image.id.clone(), image.name.clone()]),
        size_bytes: i64::try_from(image.size).ok(),
    });
    let images: Vec<ContainerImage> = images.collect();
    NodeStatus {
        addresses: Some(vec![address("InternalIP", config.ip.to_string()), address("Hostname", config.name.clone())]),
        capacity: Some(amounts.clone()),
        allocatable: Some(amounts),
        conditions: Some(conditions(health, old, now)),
        daemon_endpoints: Some(NodeDaemonEndpoints {
            kubelet_endpoint: Some(DaemonEndpoint { port: i32::from(config.port) }),
        }),
        images: (!images.is_empty()).then_some(images),
        node_info: Some(node_info(config)),
        ..Default::default()
    }
}

fn address(type_: &str, address: String) -> NodeAddress {
    NodeAddress { type_: type_.to_owned(), address }
}

fn node_info(config: &Config) -> NodeSystemInfo {
    NodeSystemInfo {
        architecture: architecture().to_owned(),
        container_runtime_version: concat!("kubelab://", env!("CARGO_PKG_VERSION")).to_owned(),
        kernel_version: "6.12.0-kubelab".to_owned(),
        kubelet_version: KUBELET_VERSION.to_owned(),
        operating_system: OS.to_owned(),
        os_image: "kubelab (simulated)".to_owned(),
        machine_id: config.name.clone(),
        system_uuid: config.name.clone(),
        boot_id: config.name.clone(),
        ..Default::default()
    }
}

/// Why a node without a pod CIDR is not ready: no network plugin can be set up without one.
pub const NETWORK_NOT_READY: &str = "container runtime network not ready: NetworkReady=false \
     reason:NetworkPluginNotReady message:Network plugin returns error: cni plugin not initialized";

fn conditions(health: Health, old: Option<&NodeStatus>, now: &Time) -> Vec<NodeCondition> {
    let ready = if health.has_network {
        ("Ready", "True", "KubeletReady", "kubelet is posting ready status")
    } else {
        ("Ready", "False", "KubeletNotReady", NETWORK_NOT_READY)
    };
    let memory = if health.is_short_of_memory {
        ("MemoryPressure", "True", "KubeletHasInsufficientMemory", "kubelet has insufficient memory available")
    } else {
        ("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available")
    };
    [
        memory,
        ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        ready,
    ]
    .map(|(type_, status, reason, message)| {
        let before = old.and_then(|old| old.conditions.iter().flatten().find(|before| before.type_ == type_));
        let since =
            before.filter(|before| before.status == status).and_then(|before| before.last_transition_time.clone());
        NodeCondition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message.to_owned()),
            last_heartbeat_time: Some(now.clone()),
            last_transition_time: Some(since.unwrap_or_else(|| now.clone())),
        }
    })
    .to_vec()
}

/// Whether two statuses say the same, whenever they were posted. Only what the kubelet owns is compared.
pub fn says_the_same(posted: &NodeStatus, new: &NodeStatus) -> bool {
    let own = |status: &NodeStatus| NodeStatus {
        conditions: None,
        volumes_attached: None,
        volumes_in_use: status.volumes_in_use.clone().filter(|volumes| !volumes.is_empty()),
        config: None,
        phase: None,
        // Written by others, or not at all.
        features: None,
        runtime_handlers: None,
        declared_features: None,
        // Not compared as text: the API may write amounts in another form.
        capacity: None,
        allocatable: None,
        ..status.clone()
    };
    let amounts = |amounts: &Option<BTreeMap<String, Quantity>>| -> BTreeMap<String, Option<kubelab_api::Quantity>> {
        amounts.iter().flatten().map(|(resource, amount)| (resource.clone(), amount.0.parse().ok())).collect()
    };
    let same_condition = |new: &NodeCondition| {
        posted.conditions.iter().flatten().any(|posted| {
            (&posted.type_, &posted.status, &posted.reason, &posted.message)
                == (&new.type_, &new.status, &new.reason, &new.message)
        })
    };
    own(posted) == own(new)
        && amounts(&posted.capacity) == amounts(&new.capacity)
        && amounts(&posted.allocatable) == amounts(&new.allocatable)
        && new.conditions.iter().flatten().all(same_condition)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use jiff::Timestamp;

    use super::*;

    fn config() -> Config {
        Config {
            name: "node-1".into(),
            ip: "127.0.0.1".parse().unwrap(),
            port: 10250,
            capacity: [("cpu".to_owned(), "4".parse().unwrap())].into(),
            labels: [("disk".to_owned(), "ssd".to_owned())].into(),
            manifests: None,
            places: Default::default(),
        }
    }

    fn health(has_network: bool) -> Health {
        Health { has_network, is_short_of_memory: false }
    }

    fn at(second: i64) -> Time {
        Time(Timestamp::from_second(second).unwrap())
    }

    #[test]
    fn a_node_is_ready_once_it_has_a_network() {
        let before = status(&config(), &[], health(false), None, &at(1));
        let after = status(&config(), &[], health(true), Some(&before), &at(9));
        let ready = |status: &NodeStatus| status.conditions.clone().unwrap().pop().unwrap();
        assert_eq!((ready(&before).status.as_str(), ready(&after).status.as_str()), ("False", "True"));
        assert_eq!(ready(&after).last_transition_time, Some(at(9)));
        let pressure = after.conditions.as_ref().unwrap()[0].clone();
        assert_eq!((pressure.last_transition_time, pressure.last_heartbeat_time), (Some(at(1)), Some(at(9))));
        assert!(!says_the_same(&before, &after));
    }

    #[test]
    fn only_what_changed_is_news() {
        let posted = status(&config(), &[], health(true), None, &at(1));
        let mut seen = posted.clone();
        seen.capacity = Some([("cpu".to_owned(), Quantity("4000m".into()))].into());
        seen.volumes_in_use = Some(Vec::new());
        seen.phase = Some("Running".into());
        assert!(says_the_same(&seen, &status(&config(), &[], health(true), Some(&posted), &at(99))));
        let uses = NodeStatus { volumes_in_use: Some(vec!["v".into()]), ..posted.clone() };
        assert!(!says_the_same(&seen, &uses));
        let image = Image { name: "docker.io/library/nginx:latest".into(), id: "nginx@sha256:0".into(), size: 7 };
        assert!(!says_the_same(&seen, &status(&config(), &[image], health(true), Some(&posted), &at(99))));
    }

    #[test]
    fn labels_are_upstreams_and_the_nodes_own() {
        let labels = labels(&config());
        assert_eq!(labels["kubernetes.io/hostname"], "node-1");
        assert_eq!(labels["kubernetes.io/os"], "linux");
        assert_eq!(labels["disk"], "ssd");
    }
}
