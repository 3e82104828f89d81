//! Keeps the EndpointSlices of each Service: which addresses stand behind it, in pieces of a hundred.
//!
//! Watches services, pods, nodes and slices. Writes slices. A slice that its service has left behind is the garbage
//! collector's. Source: `pkg/controller/endpointslice` and `k8s.io/endpointslice` in Kubernetes.

mod hints;
mod metrics;
pub(crate) mod plan;
mod topology;

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::{
    api::{
        core::v1::{Node, Pod, Service},
        discovery::v1::{Endpoint, EndpointConditions, EndpointSlice},
    },
    apimachinery::pkg::apis::meta::v1::{DeleteOptions, ObjectMeta},
};
use kubelab_api::{
    Error, Reason,
    meta::{controller_reference, is_deleting, label},
    pod::{find_port, is_ready, node_name},
    well_known::label::{ENDPOINT_SLICE_MANAGED_BY, HEADLESS_SERVICE, SERVICE_NAME, ZONE},
};
use kubelab_client::{
    Action, Cache, Change, Client, Controller, Object, Recorder, controller::Key, queue::Queue, recorder::Kind,
};

use self::plan::{Plan, PortKey, Wanted, plan};
use crate::{
    Context,
    expectations::{self, Expectations},
    pods::namespace_is_terminating,
    service_pods,
};

const NAME: &str = "endpoint-slice-controller";
const MANAGER: &str = "endpointslice-controller.k8s.io";
/// Source: `ConcurrentServiceEndpointSyncs` in the controller manager's defaults.
const WORKERS: usize = 5;

/// Runs the loop.
pub async fn run(context: Context) {
    let this = Arc::new(Loop {
        client: context.client.clone(),
        recorder: context.recorder(NAME),
        services: context.caches.of(),
        pods: context.caches.of(),
        nodes: context.caches.of(),
        slices: context.caches.of(),
        expectations: Arc::default(),
        queue: Queue::new("endpoint_slice"),
    });
    tokio::join!(this.services.synced(), this.pods.synced(), this.nodes.synced(), this.slices.synced());
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
    nodes: Cache<Node>,
    slices: Cache<EndpointSlice>,
    expectations: Arc<Expectations>,
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
        let (queue, services) = (self.queue.clone(), self.services.clone());
        self.nodes.on_change(move |change| match change {
            Change::Modified { old, new } if topology::counts(old) == topology::counts(new) => {}
            _ => services.list().iter().filter(|it| topology::is_wanted(it)).for_each(|it| queue.add(Key::of(&**it))),
        });
        let (queue, expectations) = (self.queue.clone(), Arc::clone(&self.expectations));
        self.slices.on_change(move |change| {
            let slice = change.object();
            if let Some(key) = service_of(slice) {
                if matches!(change, Change::Added(_)) {
                    expectations.creations_observed(&key, 1);
                }
                queue.add(key);
            }
        });
    }

    async fn reconcile(&self, key: Key) -> Result<Action, Error> {
        let Some(service) = self.services.get(&key.namespace, &key.name) else {
            self.expectations.forget(&key);
            metrics::forget(&key);
            return Ok(Action::Done);
        };
        if !service_pods::has_selector(&service) || is_deleting(&service.metadata) {
            return Ok(Action::Done);
        }
        if !self.expectations.settled(&key) {
            return Ok(Action::After(expectations::TIMEOUT));
        }
        let mut existing = self.slices.controlled_by(service.metadata.uid.as_deref().unwrap_or_default());
        existing.retain(|slice| service_of(slice).as_ref() == Some(&key) && !is_deleting(&slice.metadata));
        let mut wanted = self.wanted(&service);
        if topology::is_wanted(&service) {
            self.hint(&service, &mut wanted, &existing);
        }
        let present = existing.iter().map(|slice| slice.endpoints.as_ref().map_or(0, Vec::len)).sum();
        metrics::planned(&key, &wanted, present, existing.len());
        let plan = plan(&template(&service), wanted, &existing);
        let result = self.carry_out(&key, &plan).await;
        metrics::synced(&plan, result.is_ok());
        match result {
            Err(error) if namespace_is_terminating(&error) => Ok(Action::Done),
            Err(error) => {
                if error.reason != Reason::Conflict {
                    let message = format!("Error updating Endpoint Slices for Service {key}: {error}");
                    self.recorder.event(&*service, Kind::Warning, "FailedToUpdateEndpointSlices", message);
                }
                Err(error)
            }
            Ok(()) => Ok(Action::Done),
        }
    }

    /// Gives endpoints hints by their zones' shares, and tells the Service when they begin or end.
    fn hint(&self, service: &Service, wanted: &mut Wanted, existing: &[Arc<EndpointSlice>]) {
        const SUFFIX: &str = ", addressType: IPv4";
        let (nodes, had) = (
            self.nodes.list(),
            existing.iter().flat_map(|slice| &slice.endpoints).flatten().any(|it| it.hints.is_some()),
        );
        let shares = topology::shares(nodes.iter().map(|node| &**node));
        for endpoints in wanted.values_mut() {
            match topology::hint(&mut endpoints.iter_mut().collect::<Vec<_>>(), shares.as_ref()) {
                Ok(()) if had => {}
                Ok(()) => {
                    let message = format!("Topology Aware Hints has been enabled{SUFFIX}");
                    self.recorder.event(service, Kind::Normal, "TopologyAwareHintsEnabled", message);
                }
                Err(why) => {
                    self.recorder.event(service, Kind::Warning, "TopologyAwareHintsDisabled", format!("{why}{SUFFIX}"));
                }
            }
        }
    }

    /// New slices come first, so that no endpoint is missing in between.
    async fn carry_out(&self, key: &Key, plan: &Plan) -> Result<(), Error> {
        if !plan.create.is_empty() {
            self.expectations.expect_creations(key, plan.create.len());
            for (done, slice) in plan.create.iter().enumerate() {
                if let Err(error) = self.client.create(slice).await {
                    self.expectations.creations_observed(key, plan.create.len() - done);
                    return Err(error);
                }
            }
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

    fn wanted(&self, service: &Service) -> Wanted {
        let mut wanted = Wanted::new();
        for pod in service_pods::pods_of(service, &self.pods) {
            if service_pods::is_endpoint(&pod, true)
                && let Some(endpoint) = self.endpoint(service, &pod)
            {
                wanted.entry(ports(service, &pod)).or_default().push(endpoint);
            }
        }
        // Only a headless service may have no ports at all; elsewhere it means that the pods lack the service's.
        if !service_pods::is_headless(service) {
            wanted.remove(&Vec::new());
        }
        wanted
    }

    fn endpoint(&self, service: &Service, pod: &Pod) -> Option<Endpoint> {
        let node = node_name(pod);
        let zone = node.and_then(|node| label(&self.nodes.get("", node)?.metadata, ZONE).map(str::to_owned));
        let endpoint = Endpoint {
            addresses: vec![service_pods::address_of(pod)?.to_string()],
            conditions: Some(conditions(service, pod)),
            hostname: service_pods::hostname_of(pod, service),
            node_name: node.map(str::to_owned),
            target_ref: Some(service_pods::reference_to(pod)),
            zone,
            ..Default::default()
        };
        // Source: the annotation comes before `trafficDistribution`.
        let hints = if topology::is_wanted(service) { None } else { hints::hints(service, &endpoint) };
        Some(Endpoint { hints, ..endpoint })
    }
}

/// Source: KEP-1672: a pod that is being deleted may serve on, but is not `ready` for new connections.
fn conditions(service: &Service, pod: &Pod) -> EndpointConditions {
    let (serving, terminating) = (is_ready(pod), is_deleting(&pod.metadata));
    let ready = service_pods::publishes_not_ready(service) || (serving && !terminating);
    EndpointConditions { ready: Some(ready), serving: Some(serving), terminating: Some(terminating) }
}

fn ports(service: &Service, pod: &Pod) -> Vec<PortKey> {
    let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
    let mut found: Vec<PortKey> = ports
        .filter_map(|port| {
            Some(PortKey {
                name: port.name.clone().unwrap_or_default(),
                protocol: port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
                port: find_port(pod, port)?,
                app_protocol: port.app_protocol.clone(),
            })
        })
        .collect();
    found.sort();
    found
}

/// What the metadata of a service's slices says.
fn template(service: &Service) -> ObjectMeta {
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.remove(HEADLESS_SERVICE);
    if service_pods::is_headless(service) {
        labels.insert(HEADLESS_SERVICE.to_owned(), String::new());
    }
    metadata(service, labels, MANAGER)
}

/// The metadata of the slices that a manager keeps for a Service, which `owner` is named after or is.
pub(crate) fn metadata<O: Object>(owner: &O, mut labels: BTreeMap<String, String>, manager: &str) -> ObjectMeta {
    let name = owner.metadata().name.clone().unwrap_or_default();
    labels.insert(ENDPOINT_SLICE_MANAGED_BY.to_owned(), manager.to_owned());
    labels.insert(SERVICE_NAME.to_owned(), name.clone());
    ObjectMeta {
        generate_name: Some(format!("{name}-")),
        namespace: owner.metadata().namespace.clone(),
        labels: Some(labels),
        owner_references: Some(vec![controller_reference(owner)]),
        ..Default::default()
    }
}

/// The Service of a slice that this manager keeps.
pub(crate) fn kept_by(manager: &str, slice: &EndpointSlice) -> Option<Key> {
    let ours = label(&slice.metadata, ENDPOINT_SLICE_MANAGED_BY) == Some(manager);
    let name = label(&slice.metadata, SERVICE_NAME).filter(|_| ours)?;
    Some(Key { namespace: slice.metadata.namespace.clone().unwrap_or_default(), name: name.to_owned() })
}

/// The service of a slice that is kept here.
fn service_of(slice: &EndpointSlice) -> Option<Key> {
    kept_by(MANAGER, slice)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    #[test]
    fn conditions_tell_ready_from_serving() {
        for (publish, ready, deleting, expected) in [
            (false, "True", false, (true, true, false)),
            (false, "False", false, (false, false, false)),
            (false, "True", true, (false, true, true)),
            (true, "False", false, (true, false, false)),
            (true, "True", true, (true, true, true)),
        ] {
            let service: Service =
                serde_json::from_value(json!({"metadata": {}, "spec": {"publishNotReadyAddresses": publish}})).unwrap();
            let deletion = deleting.then_some("2026-11-20T12:00:00Z");
            let status = json!({"conditions": [{"type": "Ready", "status": ready}]});
            let pod: Pod =
                serde_json::from_value(json!({"metadata": {"deletionTimestamp": deletion}, "status": status})).unwrap();
            let conditions = conditions(&service, &pod);
            let shown = (conditions.ready.unwrap(), conditions.serving.unwrap(), conditions.terminating.unwrap());
            assert_eq!(shown, expected);
        }
    }
}
