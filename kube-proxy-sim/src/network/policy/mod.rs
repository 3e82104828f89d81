//! NetworkPolicies: which connections they allow. While there is none, nothing here costs anything: pods and namespaces
//! are watched once the first policy is there.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`decide`] | whether policies allow a connection (pure) |

pub mod decide;

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, PoisonError, RwLock},
};

use k8s_openapi::api::{
    core::v1::{Namespace, Pod},
    networking::v1::NetworkPolicy,
};
use kubelab_client::{Cache, Client, Scope, cache::Change};
use tokio::sync::OnceCell;

use self::decide::{End, allows};
use super::Protocol;

/// One end of a connection.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its address.
    pub ip: IpAddr,
    /// The pod's namespace and name, where they are known.
    pub pod: Option<(String, String)>,
}

/// The policies of the cluster.
pub struct Policies {
    client: Client,
    policies: Cache<NetworkPolicy>,
    subjects: OnceCell<Subjects>,
}

/// Whom policies are about.
struct Subjects {
    pods: Cache<Pod>,
    namespaces: Cache<Namespace>,
    by_address: Arc<RwLock<HashMap<IpAddr, Arc<Pod>>>>,
}

impl Policies {
    /// These policies.
    pub fn new(client: Client, policies: Cache<NetworkPolicy>) -> Self {
        Self { client, policies, subjects: OnceCell::new() }
    }

    /// Whether all policies allow a connection.
    pub async fn allow(&self, from: Peer, to: SocketAddr, protocol: Protocol) -> bool {
        self.policies.synced().await;
        let policies = self.policies.list();
        if policies.is_empty() {
            return true;
        }
        let subjects = self.subjects.get_or_init(|| Subjects::watch(&self.client)).await;
        let source = match &from.pod {
            Some((namespace, name)) => subjects.pods.get(namespace, name),
            None => subjects.at(from.ip),
        };
        let target = subjects.at(to.ip());
        let (source_namespace, target_namespace) =
            (subjects.namespace(source.as_deref()), subjects.namespace(target.as_deref()));
        let source = End { ip: from.ip, pod: source.as_deref(), namespace: source_namespace.as_deref() };
        let target = End { ip: to.ip(), pod: target.as_deref(), namespace: target_namespace.as_deref() };
        allows(&policies, &source, &target, to.port(), &protocol.to_string())
    }
}

impl Subjects {
    async fn watch(client: &Client) -> Self {
        let (pods, namespaces): (Cache<Pod>, Cache<Namespace>) =
            (Cache::start(client, Scope::default()), Cache::start(client, Scope::default()));
        let by_address: Arc<RwLock<HashMap<IpAddr, Arc<Pod>>>> = Arc::default();
        let index = by_address.clone();
        pods.on_change(move |change| {
            let mut index = index.write().unwrap_or_else(PoisonError::into_inner);
            if let Change::Modified { old: pod, .. } | Change::Deleted(pod) = change
                && let Some(ip) = address(pod)
                && index.get(&ip).is_some_and(|known| known.metadata.uid == pod.metadata.uid)
            {
                index.remove(&ip);
            }
            if let Change::Modified { new: pod, .. } | Change::Added(pod) = change
                && let Some(ip) = address(pod)
            {
                index.insert(ip, pod.clone());
            }
        });
        tokio::join!(pods.synced(), namespaces.synced());
        Self { pods, namespaces, by_address }
    }

    fn at(&self, ip: IpAddr) -> Option<Arc<Pod>> {
        self.by_address.read().unwrap_or_else(PoisonError::into_inner).get(&ip).cloned()
    }

    fn namespace(&self, pod: Option<&Pod>) -> Option<Arc<Namespace>> {
        self.namespaces.get("", pod?.metadata.namespace.as_deref()?)
    }
}

/// The address that is a pod's alone, for as long as it lives. Pods on their node's network have none; policies do not
/// concern them.
fn address(pod: &Pod) -> Option<IpAddr> {
    let status = pod.status.as_ref()?;
    let on_node = pod.spec.as_ref().and_then(|spec| spec.host_network) == Some(true);
    let is_over = matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"));
    if on_node || is_over { None } else { status.pod_ip.as_deref()?.parse().ok() }
}
