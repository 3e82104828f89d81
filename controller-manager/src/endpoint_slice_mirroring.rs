//! Copies the Endpoints that people keep by hand, for Services without a selector, into EndpointSlices, which is what
//! proxies read.
//!
//! Watches endpoints, services and slices. Writes slices. Source: `pkg/controller/endpointslicemirroring` in Kubernetes.

use std::sync::Arc;

use k8s_openapi::{
    api::{
        core::v1::{EndpointAddress, EndpointSubset, Endpoints, Service},
        discovery::v1::{Endpoint, EndpointConditions, EndpointSlice},
    },
    apimachinery::pkg::apis::meta::v1::{DeleteOptions, ObjectMeta},
};
use kubelab_api::{
    Error, Reason,
    meta::{annotation, is_deleting, label},
    well_known::{annotation::LEADER, label::ENDPOINT_SLICE_SKIP_MIRROR},
};
use kubelab_client::{Action, Cache, Client, Controller, Recorder, controller::Key, queue::Queue, recorder::Kind};

use crate::{
    Context,
    endpoint_slice::{
        kept_by, metadata,
        plan::{Plan, PortKey, Wanted, plan},
    },
    pods::namespace_is_terminating,
};

const NAME: &str = "endpoint-slice-mirroring-controller";
const MANAGER: &str = "endpointslicemirroring-controller.k8s.io";
/// Source: `MirroringConcurrentServiceEndpointSyncs` in the controller manager's defaults.
const WORKERS: usize = 5;
/// How many addresses of a subset are copied. Source: `MirroringMaxEndpointsPerSubset`'s default.
const MAX_ADDRESSES: usize = 1000;

/// Runs the loop.
pub async fn run(context: Context) {
    let this = Arc::new(Loop {
        client: context.client.clone(),
        recorder: context.recorder(NAME),
        services: context.caches.of(),
        endpoints: context.caches.of(),
        slices: context.caches.of(),
        queue: Queue::new("endpoint_slice_mirroring"),
    });
    tokio::join!(this.services.synced(), this.endpoints.synced(), this.slices.synced());
    this.watch();
    Controller::new(NAME, this.queue.clone())
        .run_on(WORKERS, this, |this, key| async move { this.reconcile(key).await })
        .await;
}

struct Loop {
    client: Client,
    recorder: Recorder,
    services: Cache<Service>,
    endpoints: Cache<Endpoints>,
    slices: Cache<EndpointSlice>,
    queue: Queue<Key>,
}

impl Loop {
    fn watch(&self) {
        let queue = self.queue.clone();
        self.services.on_change(move |change| queue.add(Key::of(&**change.object())));
        let queue = self.queue.clone();
        self.endpoints.on_change(move |change| queue.add(Key::of(&**change.object())));
        let queue = self.queue.clone();
        self.slices.on_change(move |change| {
            if let Some(key) = mirrored(change.object()) {
                queue.add(key);
            }
        });
    }

    async fn reconcile(&self, key: Key) -> Result<Action, Error> {
        let endpoints = self.endpoints.get(&key.namespace, &key.name);
        let service = self.services.get(&key.namespace, &key.name);
        let mut existing = self.slices.list_in(&key.namespace);
        existing.retain(|slice| mirrored(slice).as_ref() == Some(&key) && !is_deleting(&slice.metadata));
        let wanted = match (&endpoints, &service) {
            (Some(endpoints), Some(service)) if is_mirrored(endpoints, service) => wanted(endpoints),
            _ => Wanted::new(),
        };
        let plan = match &endpoints {
            Some(endpoints) if !wanted.is_empty() => plan(&template(endpoints), wanted, &existing),
            _ => Plan { delete: existing, ..Plan::default() },
        };
        match self.carry_out(plan).await {
            Err(error) if namespace_is_terminating(&error) => Ok(Action::Done),
            Err(error) => {
                if let Some(endpoints) = endpoints.filter(|_| error.reason != Reason::Conflict) {
                    let message = format!("Error updating Endpoint Slices for Endpoints {key}: {error}");
                    self.recorder.event(&*endpoints, Kind::Warning, "FailedToUpdateEndpointSlices", message);
                }
                Err(error)
            }
            Ok(()) => Ok(Action::Done),
        }
    }

    /// New slices come first, so that no endpoint is missing in between. A slice that is made twice, because the mirror does
    /// not show the first yet, holds what the other holds, and goes with the next look.
    async fn carry_out(&self, plan: Plan) -> Result<(), Error> {
        for slice in &plan.create {
            self.client.create(slice).await?;
        }
        for slice in &plan.update {
            self.client.update(slice).await?;
        }
        for slice in &plan.delete {
            let Key { namespace, name } = Key::of(&**slice);
            match self.client.delete::<EndpointSlice>(&namespace, &name, DeleteOptions::default()).await {
                Err(error) if error.reason != Reason::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Endpoints are copied unless a selector fills them, their keeper does not want it, or they are some leader's lock.
fn is_mirrored(endpoints: &Endpoints, service: &Service) -> bool {
    let has_selector = service.spec.as_ref().is_some_and(|spec| spec.selector.is_some());
    !has_selector
        && label(&endpoints.metadata, ENDPOINT_SLICE_SKIP_MIRROR) != Some("true")
        && annotation(&endpoints.metadata, LEADER).is_none()
        && !is_deleting(&endpoints.metadata)
}

/// The endpoints of each combination of ports.
fn wanted(endpoints: &Endpoints) -> Wanted {
    let mut wanted = Wanted::new();
    for subset in endpoints.subsets.iter().flatten() {
        let ready = subset.addresses.iter().flatten().map(|address| endpoint(address, true));
        let not_ready = subset.not_ready_addresses.iter().flatten().map(|address| endpoint(address, false));
        let all: Vec<Endpoint> = ready.chain(not_ready).flatten().take(MAX_ADDRESSES).collect();
        if !all.is_empty() {
            wanted.entry(ports(subset)).or_default().extend(all);
        }
    }
    wanted
}

fn ports(subset: &EndpointSubset) -> Vec<PortKey> {
    let ports = subset.ports.iter().flatten().map(|port| PortKey {
        name: port.name.clone().unwrap_or_default(),
        protocol: port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
        port: port.port,
        app_protocol: port.app_protocol.clone(),
    });
    let mut ports: Vec<PortKey> = ports.collect();
    ports.sort();
    ports
}

fn endpoint(address: &EndpointAddress, ready: bool) -> Option<Endpoint> {
    let ip: std::net::Ipv4Addr = address.ip.parse().ok()?;
    Some(Endpoint {
        addresses: vec![ip.to_string()],
        conditions: Some(EndpointConditions { ready: Some(ready), ..EndpointConditions::default() }),
        hostname: address.hostname.clone(),
        node_name: address.node_name.clone(),
        target_ref: address.target_ref.clone(),
        ..Endpoint::default()
    })
}

/// What the metadata of the slices says.
fn template(endpoints: &Endpoints) -> ObjectMeta {
    metadata(endpoints, endpoints.metadata.labels.clone().unwrap_or_default(), MANAGER)
}

/// The Endpoints of a slice that is a copy.
fn mirrored(slice: &EndpointSlice) -> Option<Key> {
    kept_by(MANAGER, slice)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use kubelab_api::well_known::label::SERVICE_NAME;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_people_keep_is_copied_and_nothing_else() {
        for (why, metadata, spec, expected) in [
            ("kept by hand", json!({}), json!({}), true),
            ("filled by a selector", json!({}), json!({"selector": {"app": "web"}}), false),
            ("not wanted", json!({"labels": {ENDPOINT_SLICE_SKIP_MIRROR: "true"}}), json!({}), false),
            ("a leader's lock", json!({"annotations": {LEADER: "{}"}}), json!({}), false),
        ] {
            let endpoints: Endpoints = serde_json::from_value(json!({"metadata": metadata})).unwrap();
            let service: Service = serde_json::from_value(json!({"metadata": {}, "spec": spec})).unwrap();
            assert_eq!(is_mirrored(&endpoints, &service), expected, "{why}");
        }
    }

    #[test]
    fn subsets_become_slices_by_their_ports() {
        let endpoints: Endpoints = serde_json::from_value(json!({
            "metadata": {"name": "db", "namespace": "shop", "labels": {"a": "b"}},
            "subsets": [
                {"addresses": [{"ip": "10.244.1.2", "hostname": "one"}], "notReadyAddresses": [{"ip": "10.244.1.3"}],
                 "ports": [{"name": "sql", "port": 5432}]},
                {"addresses": [{"ip": "10.244.1.4"}, {"ip": "fd00::4"}], "ports": [{"name": "sql", "port": 5432}]},
                {"addresses": [{"ip": "10.244.1.5"}], "ports": [{"name": "sql", "port": 6432}]},
            ],
        }))
        .unwrap();
        let shown: Vec<String> = wanted(&endpoints)
            .iter()
            .map(|(ports, endpoints)| {
                let ready = |it: &Endpoint| it.conditions.as_ref().unwrap().ready.unwrap();
                let all = endpoints.iter().map(|it| format!("{} {}", it.addresses[0], ready(it)));
                format!("{}: {}", ports[0].port, all.collect::<Vec<_>>().join(", "))
            })
            .collect();
        assert_eq!(shown, ["5432: 10.244.1.2 true, 10.244.1.3 false, 10.244.1.4 true", "6432: 10.244.1.5 true"]);
        let labels = template(&endpoints).labels.unwrap();
        assert_eq!((labels[SERVICE_NAME].as_str(), labels["a"].as_str()), ("db", "b"));
    }
}
