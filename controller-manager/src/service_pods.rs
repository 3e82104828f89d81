//! Which pods stand behind which services. Source: `k8s.io/endpointslice/util` in Kubernetes.

use std::{net::IpAddr, sync::Arc};

use k8s_openapi::api::core::v1::{ObjectReference, Pod, Service};
use kubelab_api::{
    meta::is_deleting,
    pod::{is_ready, is_terminal, node_name},
};
use kubelab_client::{Cache, Change, controller::Key};

/// The service looks for its pods by labels, and so its endpoints are made here.
pub fn has_selector(service: &Service) -> bool {
    let Some(spec) = &service.spec else { return false };
    spec.type_.as_deref() != Some("ExternalName") && spec.selector.as_ref().is_some_and(|labels| !labels.is_empty())
}

/// The service has no address of its own.
pub fn is_headless(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref()) == Some("None")
}

/// The service wants pods before they are ready, too.
pub fn publishes_not_ready(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.publish_not_ready_addresses).unwrap_or(false)
}

/// The pods that a service selects.
pub fn pods_of(service: &Service, pods: &Cache<Pod>) -> Vec<Arc<Pod>> {
    let mut selected = pods.list_in(service.metadata.namespace.as_deref().unwrap_or_default());
    selected.retain(|pod| selects(service, pod));
    selected
}

/// The pod belongs among a service's endpoints: it has an address and has not ended.
pub fn is_endpoint(pod: &Pod, even_if_deleting: bool) -> bool {
    !is_terminal(pod) && address_of(pod).is_some() && (even_if_deleting || !is_deleting(&pod.metadata))
}

/// The pod's IPv4 address.
pub fn address_of(pod: &Pod) -> Option<IpAddr> {
    let status = pod.status.as_ref()?;
    let all = status.pod_ips.iter().flatten().map(|entry| &entry.ip).chain(&status.pod_ip);
    all.filter_map(|ip| ip.parse().ok()).find(IpAddr::is_ipv4)
}

/// The name under which DNS knows the pod behind this service.
pub fn hostname_of(pod: &Pod, service: &Service) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    let is_ours = spec.subdomain.is_some() && spec.subdomain == service.metadata.name;
    spec.hostname.clone().filter(|hostname| is_ours && !hostname.is_empty())
}

/// How an endpoint refers to its pod.
pub fn reference_to(pod: &Pod) -> ObjectReference {
    ObjectReference {
        kind: Some("Pod".to_owned()),
        namespace: pod.metadata.namespace.clone(),
        name: pod.metadata.name.clone(),
        uid: pod.metadata.uid.clone(),
        ..Default::default()
    }
}

/// The services whose endpoints a change of a pod may change.
pub fn affected(services: &Cache<Service>, change: &Change<Pod>) -> Vec<Key> {
    let of_namespace = |pod: &Pod| services.list_in(pod.metadata.namespace.as_deref().unwrap_or_default());
    let selecting = |service: &Arc<Service>, pod: &Pod| has_selector(service) && selects(service, pod);
    let services = match change {
        Change::Added(pod) | Change::Deleted(pod) => {
            of_namespace(pod).into_iter().filter(|service| selecting(service, pod)).collect()
        }
        Change::Modified { old, new } => {
            let (relabelled, changed) = (old.metadata.labels != new.metadata.labels, facts(old) != facts(new));
            if !relabelled && !changed {
                return Vec::new();
            }
            let is_affected = |service: &Arc<Service>| {
                let (before, after) = (selecting(service, old), selecting(service, new));
                before != after || (after && changed)
            };
            of_namespace(new).into_iter().filter(is_affected).collect::<Vec<_>>()
        }
    };
    services.iter().map(|service| Key::of(&**service)).collect()
}

fn selects(service: &Service, pod: &Pod) -> bool {
    let selector = service.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    let labels = pod.metadata.labels.as_ref();
    selector.is_some_and(|selector| {
        selector.iter().all(|(name, value)| labels.and_then(|labels| labels.get(name)) == Some(value))
    })
}

/// All about a pod that shows in endpoints.
fn facts(pod: &Pod) -> impl PartialEq + use<'_> {
    let spec = pod.spec.as_ref();
    (
        is_ready(pod),
        is_terminal(pod),
        is_deleting(&pod.metadata),
        address_of(pod),
        node_name(pod),
        spec.and_then(|spec| spec.hostname.as_deref()),
        spec.and_then(|spec| spec.subdomain.as_deref()),
        pod.metadata.uid.as_deref(),
    )
}
