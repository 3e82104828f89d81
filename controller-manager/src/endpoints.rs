//! Fills the Endpoints of each Service with the addresses of its pods.
//!
//! Watches services, pods and endpoints. Writes endpoints.
//! Source: `pkg/controller/endpoint/endpoints_controller.go` in Kubernetes.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use k8s_openapi::{
    api::core::v1::{EndpointAddress, EndpointPort, EndpointSubset, Endpoints, Pod, Service},
    apimachinery::pkg::apis::meta::v1::{DeleteOptions, ObjectMeta, Preconditions},
};
use kubelab_api::{
    Error, Reason,
    meta::annotation,
    pod::{find_port, is_ready, node_name},
    well_known::{
        annotation::{ENDPOINTS_OVER_CAPACITY, LEADER},
        label::HEADLESS_SERVICE,
    },
};
use kubelab_client::{
    Action, Cache, Change, Client, Controller, Recorder, controller::Key, queue::Queue, recorder::Kind,
};

use crate::{Context, pods::namespace_is_terminating, service_pods};

const NAME: &str = "endpoint-controller";
/// Source: `ConcurrentEndpointSyncs` in the controller manager's defaults.
const WORKERS: usize = 5;
/// More addresses than this an Endpoints object cannot hold. Source: `maxCapacity`.
const CAPACITY: usize = 1000;
/// Source: KEP-4974, which has users find out who made an Endpoints object.
const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";

/// Runs the loop.
pub async fn run(context: Context) {
    let this = Arc::new(Loop {
        client: context.client.clone(),
        recorder: context.recorder(NAME),
        services: context.caches.of(),
        pods: context.caches.of(),
        endpoints: context.caches.of(),
        queue: Queue::new("endpoint"),
    });
    tokio::join!(this.services.synced(), this.pods.synced(), this.endpoints.synced());
    this.watch();
    Controller::new(NAME, this.queue.clone())
        .run_on(WORKERS, this, |this, key| async move { this.reconcile(key).await })
        .await;
}

struct Loop {
    client: Client,
    recorder: Recorder,
    services: Cache<Service>,
    pods: Cache<Pod>,
    endpoints: Cache<Endpoints>,
    queue: Queue<Key>,
}

impl Loop {
    fn watch(&self) {
        let queue = self.queue.clone();
        self.services.on_change(move |change| queue.add(Key::of(&**change.object())));
        let (queue, services) = (self.queue.clone(), self.services.clone());
        self.pods.on_change(move |change| {
            for key in service_pods::affected(&services, change) {
                queue.add(key);
            }
        });
        // Endpoints may have outlived their service while nobody looked; a lock that is kept in one is not a service's.
        for endpoints in self.endpoints.list() {
            if annotation(&endpoints.metadata, LEADER).is_none() {
                self.queue.add(Key::of(&*endpoints));
            }
        }
        let queue = self.queue.clone();
        self.endpoints.on_change(move |change| {
            if let Change::Deleted(endpoints) = change {
                queue.add(Key::of(&**endpoints));
            }
        });
    }

    async fn reconcile(&self, key: Key) -> Result<Action, Error> {
        let current = self.endpoints.get(&key.namespace, &key.name);
        let Some(service) = self.services.get(&key.namespace, &key.name) else {
            if let Some(current) = current {
                self.delete_leftover(&key, &current).await?;
            }
            return Ok(Action::Done);
        };
        if !service_pods::has_selector(&service) {
            return Ok(Action::Done);
        }
        let wanted = endpoints_of(&service, &service_pods::pods_of(&service, &self.pods), current.as_deref());
        let (result, verb) = match &current {
            Some(current) if is_same(current, &wanted) => return Ok(Action::Done),
            Some(_) => (self.client.update(&wanted).await, "Update"),
            None => (self.client.create(&wanted).await, "Create"),
        };
        match result {
            Ok(_) => Ok(Action::Done),
            Err(error) if namespace_is_terminating(&error) => Ok(Action::Done),
            Err(error) => {
                if error.reason != Reason::Conflict {
                    let message = format!("Failed to {} endpoint {key}: {error}", verb.to_lowercase());
                    self.recorder.event(&wanted, Kind::Warning, &format!("FailedTo{verb}Endpoint"), message);
                }
                Err(error)
            }
        }
    }

    /// Deletes Endpoints whose service is gone. The mirrors of the two are not equally fast, and a service's first endpoints
    /// may be seen before it: so the apiserver is asked.
    async fn delete_leftover(&self, key: &Key, endpoints: &Endpoints) -> Result<(), Error> {
        match self.client.get::<Service>(&key.namespace, &key.name).await {
            Err(error) if error.reason == Reason::NotFound => {}
            result => return result.map(drop),
        }
        let preconditions = Some(Preconditions { uid: endpoints.metadata.uid.clone(), resource_version: None });
        let options = DeleteOptions { preconditions, ..Default::default() };
        match self.client.delete::<Endpoints>(&key.namespace, &key.name, options).await {
            Err(error) if error.reason != Reason::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// What the Endpoints of a service should be, given its pods and what they are now.
fn endpoints_of(service: &Service, pods: &[Arc<Pod>], current: Option<&Endpoints>) -> Endpoints {
    let mut subsets = subsets(service, pods);
    let truncated = truncate(&mut subsets);
    let mut metadata = current.map_or_else(
        || ObjectMeta {
            name: service.metadata.name.clone(),
            namespace: service.metadata.namespace.clone(),
            ..Default::default()
        },
        |current| current.metadata.clone(),
    );
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.insert(MANAGED_BY.to_owned(), NAME.to_owned());
    if service_pods::is_headless(service) {
        labels.insert(HEADLESS_SERVICE.to_owned(), String::new());
    } else {
        labels.remove(HEADLESS_SERVICE);
    }
    metadata.labels = Some(labels);
    let mut annotations = metadata.annotations.take().unwrap_or_default();
    if truncated {
        annotations.insert(ENDPOINTS_OVER_CAPACITY.to_owned(), "truncated".to_owned());
    } else {
        annotations.remove(ENDPOINTS_OVER_CAPACITY);
    }
    metadata.annotations = Some(annotations).filter(|annotations| !annotations.is_empty());
    Endpoints { metadata, subsets: Some(subsets).filter(|subsets| !subsets.is_empty()) }
}

fn is_same(current: &Endpoints, wanted: &Endpoints) -> bool {
    let annotations = |endpoints: &Endpoints| endpoints.metadata.annotations.clone().unwrap_or_default();
    current.subsets.as_deref().unwrap_or_default() == wanted.subsets.as_deref().unwrap_or_default()
        && current.metadata.labels == wanted.metadata.labels
        && annotations(current) == annotations(wanted)
}

/// The pods' addresses, grouped by the ports that they are reached at: a named port may differ from pod to pod. All is in
/// a definite order, so that nothing is written when nothing changed.
fn subsets(service: &Service, pods: &[Arc<Pod>]) -> Vec<EndpointSubset> {
    let even_not_ready = service_pods::publishes_not_ready(service);
    let has_ports =
        service.spec.as_ref().is_some_and(|spec| spec.ports.as_ref().is_some_and(|ports| !ports.is_empty()));
    let mut groups: BTreeMap<Vec<Port>, (Addresses, Addresses)> = BTreeMap::new();
    for pod in pods.iter().filter(|pod| service_pods::is_endpoint(pod, even_not_ready)) {
        let (Some(ip), ports) = (service_pods::address_of(pod), ports(service, pod)) else { continue };
        // Only a headless service may have no ports at all.
        if ports.is_empty() && (has_ports || !service_pods::is_headless(service)) {
            continue;
        }
        let (ready, not_ready) = groups.entry(ports).or_default();
        let addresses = if even_not_ready || is_ready(pod) { ready } else { not_ready };
        addresses.insert((ip, pod.metadata.uid.clone()), address(ip, pod, service));
    }
    groups.into_iter().map(|(ports, (ready, not_ready))| subset(ports, ready, not_ready)).collect()
}

type Addresses = BTreeMap<(IpAddr, Option<String>), EndpointAddress>;
/// Name, number, protocol, application protocol.
type Port = (String, i32, String, Option<String>);

fn ports(service: &Service, pod: &Pod) -> Vec<Port> {
    let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
    let mut found: Vec<Port> = ports
        .filter_map(|port| {
            let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
            Some((port.name.clone().unwrap_or_default(), find_port(pod, port)?, protocol, port.app_protocol.clone()))
        })
        .collect();
    found.sort();
    found
}

fn address(ip: IpAddr, pod: &Pod, service: &Service) -> EndpointAddress {
    EndpointAddress {
        ip: ip.to_string(),
        node_name: node_name(pod).map(str::to_owned),
        hostname: service_pods::hostname_of(pod, service),
        target_ref: Some(service_pods::reference_to(pod)),
    }
}

fn subset(ports: Vec<Port>, ready: Addresses, not_ready: Addresses) -> EndpointSubset {
    let list = |addresses: Addresses| Some(addresses.into_values().collect()).filter(|list: &Vec<_>| !list.is_empty());
    let port = |(name, port, protocol, app_protocol): Port| EndpointPort {
        name: Some(name).filter(|name| !name.is_empty()),
        port,
        protocol: Some(protocol),
        app_protocol,
    };
    EndpointSubset {
        addresses: list(ready),
        not_ready_addresses: list(not_ready),
        ports: Some(ports.into_iter().map(port).collect()).filter(|ports: &Vec<_>| !ports.is_empty()),
    }
}

/// Drops what an Endpoints object cannot hold: addresses that are not ready go first. True if something had to go.
fn truncate(subsets: &mut Vec<EndpointSubset>) -> bool {
    let (mut room, mut dropped) = (CAPACITY, false);
    let mut cut = |list: &mut Option<Vec<EndpointAddress>>| {
        let Some(addresses) = list else { return };
        dropped |= addresses.len() > room;
        addresses.truncate(room);
        room -= addresses.len();
        if addresses.is_empty() {
            *list = None;
        }
    };
    subsets.iter_mut().for_each(|subset| cut(&mut subset.addresses));
    subsets.iter_mut().for_each(|subset| cut(&mut subset.not_ready_addresses));
    subsets.retain(|subset| subset.addresses.is_some() || subset.not_ready_addresses.is_some());
    dropped
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Value, json};

    use super::*;

    fn service(spec: Value) -> Service {
        serde_json::from_value(json!({"metadata": {"name": "web", "namespace": "default"}, "spec": spec})).unwrap()
    }

    fn pod(name: &str, ip: &str, ready: &str, port: i32) -> Arc<Pod> {
        Arc::new(
            serde_json::from_value(json!({
                "metadata": {"name": name, "namespace": "default", "uid": name},
                "spec": {"nodeName": "node-1", "hostname": name, "subdomain": "web",
                    "containers": [{"name": "c", "ports": [{"name": "http", "containerPort": port}]}]},
                "status": {"phase": "Running", "podIP": ip, "conditions": [{"type": "Ready", "status": ready}]},
            }))
            .unwrap(),
        )
    }

    fn shown(subsets: &[EndpointSubset]) -> Vec<String> {
        let ips = |list: &Option<Vec<EndpointAddress>>| {
            list.iter().flatten().map(|address| address.ip.clone()).collect::<Vec<_>>().join(",")
        };
        let ports = |subset: &EndpointSubset| {
            subset.ports.iter().flatten().map(|port| port.port.to_string()).collect::<Vec<_>>().join(",")
        };
        subsets
            .iter()
            .map(|subset| format!("{}|{}:{}", ips(&subset.addresses), ips(&subset.not_ready_addresses), ports(subset)))
            .collect()
    }

    #[test]
    fn addresses_are_grouped_by_ports_and_readiness() {
        let pods = [
            pod("c", "10.244.0.10", "True", 8080),
            pod("a", "10.244.0.9", "True", 8080),
            pod("b", "10.244.0.3", "False", 8080),
            pod("d", "10.244.0.4", "True", 9090),
            pod("no-ip", "", "True", 8080),
        ];
        for (spec, expected, why) in [
            (
                json!({"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}]}),
                vec!["10.244.0.9,10.244.0.10|10.244.0.3:8080", "10.244.0.4|:9090"],
                "a named port",
            ),
            (
                json!({"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 1}, {"port": 81}]}),
                vec!["10.244.0.4,10.244.0.9,10.244.0.10|10.244.0.3:1,81"],
                "numbered ports",
            ),
            (
                json!({"selector": {"app": "web"}, "publishNotReadyAddresses": true, "ports": [{"port": 80}]}),
                vec!["10.244.0.3,10.244.0.4,10.244.0.9,10.244.0.10|:80"],
                "not ready ones published",
            ),
            (
                json!({"selector": {"app": "web"}, "clusterIP": "None"}),
                vec!["10.244.0.4,10.244.0.9,10.244.0.10|10.244.0.3:"],
                "headless without ports",
            ),
            (
                json!({"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "none"}]}),
                vec![],
                "a port that no pod has",
            ),
        ] {
            assert_eq!(shown(&subsets(&service(spec), &pods)), expected, "{why}");
        }
    }

    #[test]
    fn nothing_is_written_when_nothing_changed() {
        let service = service(json!({"selector": {"app": "web"}, "clusterIP": "None", "ports": [{"port": 80}]}));
        let pods = [pod("a", "10.244.0.9", "True", 80)];
        let first = endpoints_of(&service, &pods, None);
        assert_eq!(first.metadata.labels.clone().unwrap()[HEADLESS_SERVICE], "");
        assert_eq!(first.subsets.clone().unwrap()[0].addresses.clone().unwrap()[0].hostname.as_deref(), Some("a"));
        assert!(is_same(&first, &endpoints_of(&service, &pods, Some(&first))));
        let unready = [pod("a", "10.244.0.9", "False", 80)];
        assert!(!is_same(&first, &endpoints_of(&service, &unready, Some(&first))));
    }

    #[test]
    fn too_many_addresses_are_cut() {
        let service = service(json!({"selector": {"app": "web"}, "ports": [{"port": 80}]}));
        let ready = (0..999).map(|n| pod(&format!("r{n}"), &format!("10.0.{}.{}", n / 256, n % 256), "True", 80));
        let unready = (0..9).map(|n| pod(&format!("u{n}"), &format!("10.1.0.{n}"), "False", 80));
        let endpoints = endpoints_of(&service, &ready.chain(unready).collect::<Vec<_>>(), None);
        let subset = &endpoints.subsets.unwrap()[0];
        assert_eq!(subset.addresses.as_ref().unwrap().len(), 999);
        assert_eq!(subset.not_ready_addresses.as_ref().unwrap().len(), 1);
        assert_eq!(endpoints.metadata.annotations.unwrap()[ENDPOINTS_OVER_CAPACITY], "truncated");
    }
}
