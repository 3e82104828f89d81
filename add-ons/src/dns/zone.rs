//! The objects that records are made from.

use std::{
    net::IpAddr,
    sync::{Arc, OnceLock},
};

use k8s_openapi::api::{
    core::v1::{Namespace, Pod, Service},
    discovery::v1::EndpointSlice,
};
use kubelab_api::well_known::label;
use kubelab_client::{Cache, Client, Scope};

/// What a DNS server knows of the cluster.
pub trait Zone {
    /// A Service.
    fn service(&self, namespace: &str, name: &str) -> Option<Arc<Service>>;
    /// The slices of a Service.
    fn slices(&self, namespace: &str, service: &str) -> Vec<Arc<EndpointSlice>>;
    /// Whether a namespace exists.
    fn has_namespace(&self, name: &str) -> bool;
    /// Whether a pod of this namespace has this address.
    fn has_pod(&self, _namespace: &str, _address: IpAddr) -> bool {
        false
    }
    /// The Services with this address.
    fn services_at(&self, address: IpAddr) -> Vec<Arc<Service>>;
    /// The slices with this address.
    fn slices_with(&self, address: IpAddr) -> Vec<Arc<EndpointSlice>>;
}

/// The cluster as it is watched.
pub struct Watched {
    client: Client,
    services: Cache<Service>,
    slices: Cache<EndpointSlice>,
    namespaces: Cache<Namespace>,
    /// Watched once a Corefile wants names of pods to be verified.
    pods: OnceLock<Cache<Pod>>,
}

impl Watched {
    /// Begins to watch.
    pub fn start(client: &Client) -> Self {
        Self {
            client: client.clone(),
            services: Cache::start(client, Scope::default()),
            slices: Cache::start(client, Scope::default()),
            namespaces: Cache::start(client, Scope::default()),
            pods: OnceLock::new(),
        }
    }

    /// Begins to watch pods, too.
    pub fn watch_pods(&self) {
        self.pods.get_or_init(|| Cache::start(&self.client, Scope::default()));
    }

    /// Waits until all is known.
    pub async fn synced(&self) {
        tokio::join!(self.services.synced(), self.slices.synced(), self.namespaces.synced());
        if let Some(pods) = self.pods.get() {
            pods.synced().await;
        }
    }
}

impl Zone for Watched {
    fn service(&self, namespace: &str, name: &str) -> Option<Arc<Service>> {
        self.services.get(namespace, name)
    }

    fn slices(&self, namespace: &str, service: &str) -> Vec<Arc<EndpointSlice>> {
        let mut slices = self.slices.list_in(namespace);
        slices.retain(|slice| service_of(slice) == Some(service));
        slices
    }

    fn has_namespace(&self, name: &str) -> bool {
        self.namespaces.get("", name).is_some()
    }

    fn has_pod(&self, namespace: &str, address: IpAddr) -> bool {
        let text = address.to_string();
        let pods = self.pods.get().map(|pods| pods.list_in(namespace)).unwrap_or_default();
        pods.iter().any(|pod| pod.status.as_ref().and_then(|status| status.pod_ip.as_deref()) == Some(&text))
    }

    fn services_at(&self, address: IpAddr) -> Vec<Arc<Service>> {
        let mut services = self.services.list();
        services.retain(|service| addresses(service).any(|own| own == address));
        services
    }

    fn slices_with(&self, address: IpAddr) -> Vec<Arc<EndpointSlice>> {
        let text = address.to_string();
        let mut slices = self.slices.list();
        slices
            .retain(|slice| slice.endpoints.iter().flatten().any(|endpoint| endpoint.addresses.first() == Some(&text)));
        slices
    }
}

/// The Service that a slice is for.
pub fn service_of(slice: &EndpointSlice) -> Option<&str> {
    slice.metadata.labels.as_ref()?.get(label::SERVICE_NAME).map(String::as_str)
}

/// A Service's own addresses; none for headless and external ones.
pub fn addresses(service: &Service) -> impl Iterator<Item = IpAddr> + '_ {
    let spec = service.spec.iter();
    spec.flat_map(|spec| {
        spec.cluster_ips.iter().flatten().chain(spec.cluster_ip.iter().filter(|_| spec.cluster_ips.is_none()))
    })
    .filter_map(|address| address.parse().ok())
}
