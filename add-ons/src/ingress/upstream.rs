//! The endpoints behind a backend.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use k8s_openapi::api::{core::v1::Service, discovery::v1::EndpointSlice};
use kubelab_client::Cache;

use super::routes::{Backend, Port};
use crate::dns::zone::service_of;

/// A backend's endpoints, and whose turn it is.
#[derive(Debug, Default)]
pub struct Upstream {
    endpoints: Vec<SocketAddr>,
    next: AtomicUsize,
}

impl Upstream {
    fn new(endpoints: Vec<SocketAddr>) -> Arc<Self> {
        // Several controllers do not all begin with the same one.
        let next = AtomicUsize::new(rand::random_range(0..endpoints.len().max(1)));
        Arc::new(Self { endpoints, next })
    }

    /// All of them.
    pub fn endpoints(&self) -> &[SocketAddr] {
        &self.endpoints
    }

    /// The one whose turn it is, and those that come after it. Source: ingress-nginx' `load-balance: round_robin`.
    pub fn turn(&self, count: usize) -> Vec<SocketAddr> {
        let first = self.next.fetch_add(1, Ordering::Relaxed) % self.endpoints.len().max(1);
        self.endpoints.iter().cycle().skip(first).take(count.min(self.endpoints.len())).copied().collect()
    }
}

/// The endpoints of all backends, each worked out when it is first asked for after a change.
#[derive(Clone)]
pub struct Upstreams {
    services: Cache<Service>,
    slices: Cache<EndpointSlice>,
    known: Arc<Mutex<Known>>,
}

#[derive(Default)]
struct Known {
    /// Counts changes, so that nothing old is kept that was made while something changed.
    changes: u64,
    upstreams: HashMap<Backend, Arc<Upstream>>,
}

impl Upstreams {
    /// The endpoints that these mirrors show.
    pub fn follow(services: Cache<Service>, slices: Cache<EndpointSlice>) -> Self {
        let known: Arc<Mutex<Known>> = Arc::default();
        let forget = move |known: &Mutex<Known>, namespace: Option<&str>, service: Option<&str>| {
            let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
            known.changes += 1;
            known
                .upstreams
                .retain(|backend, _| (Some(&*backend.namespace), Some(&*backend.service)) != (namespace, service));
        };
        let own = known.clone();
        services.on_change(move |change| {
            let meta = &change.object().metadata;
            forget(&own, meta.namespace.as_deref(), meta.name.as_deref());
        });
        let own = known.clone();
        slices.on_change(move |change| {
            let slice = change.object();
            forget(&own, slice.metadata.namespace.as_deref(), service_of(slice));
        });
        Self { services, slices, known }
    }

    /// The endpoints of a backend now.
    pub fn of(&self, backend: &Backend) -> Arc<Upstream> {
        let changes = {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(upstream) = known.upstreams.get(backend) {
                return upstream.clone();
            }
            known.changes
        };
        let Some(service) = self.services.get(&backend.namespace, &backend.service) else { return Arc::default() };
        let mut slices = self.slices.list_in(&backend.namespace);
        slices.retain(|slice| service_of(slice) == Some(&backend.service));
        let upstream = Upstream::new(endpoints(&service, &slices, &backend.port));
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.changes == changes {
            known.upstreams.insert(backend.clone(), upstream.clone());
        }
        upstream
    }
}

/// The ready endpoints of a Service's port. Like nginx, the controller goes to them itself, not to the Service's address.
fn endpoints(service: &Service, slices: &[Arc<EndpointSlice>], port: &Port) -> Vec<SocketAddr> {
    let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
    let Some(port) = ports.into_iter().find(|candidate| match port {
        Port::Number(number) => candidate.port == *number,
        Port::Name(name) => candidate.name.as_ref() == Some(name),
        Port::First => true,
    }) else {
        return Vec::new();
    };
    let name = port.name.as_deref().unwrap_or_default();
    let mut found = Vec::new();
    for slice in slices {
        let number = slice.ports.iter().flatten().find(|port| port.name.as_deref().unwrap_or_default() == name);
        let Some(number) = number.and_then(|port| u16::try_from(port.port?).ok()) else { continue };
        let ready = slice
            .endpoints
            .iter()
            .flatten()
            .filter(|endpoint| endpoint.conditions.as_ref().and_then(|conditions| conditions.ready) != Some(false));
        let addresses = ready.filter_map(|endpoint| endpoint.addresses.first()?.parse().ok());
        found.extend(addresses.map(|ip| SocketAddr::new(ip, number)));
    }
    found.sort();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn a_backend_is_its_ready_endpoints() {
        let ports = json!([{"name": "http", "port": 80}, {"name": "admin", "port": 81}]);
        let service: Service = serde_json::from_value(json!({"spec": {"ports": ports}})).unwrap();
        let slice: EndpointSlice = serde_json::from_value(json!({"metadata": {}, "addressType": "IPv4",
            "ports": [{"name": "http", "port": 8080}],
            "endpoints": [{"addresses": ["10.0.0.2"]}, {"addresses": ["10.0.0.1"], "conditions": {"ready": true}},
                          {"addresses": ["10.0.0.3"], "conditions": {"ready": false}}]}))
        .unwrap();
        let slices = [Arc::new(slice)];
        let found = |port| endpoints(&service, &slices, &port).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(found(Port::Number(80)), ["10.0.0.1:8080", "10.0.0.2:8080"]);
        assert_eq!(found(Port::Name("http".into())).len(), 2);
        assert_eq!(found(Port::First).len(), 2);
        assert!(found(Port::Number(81)).is_empty() && found(Port::Number(8080)).is_empty());
    }

    #[test]
    fn endpoints_take_turns() {
        let all: Vec<SocketAddr> = (0..3).map(|i| SocketAddr::from(([10, 0, 0, i], 80))).collect();
        let upstream = Upstream::new(all.clone());
        let turns: Vec<Vec<SocketAddr>> = (0..3).map(|_| upstream.turn(5)).collect();
        let firsts: std::collections::BTreeSet<SocketAddr> = turns.iter().map(|turn| turn[0]).collect();
        assert_eq!(firsts.len(), 3);
        assert!(
            turns
                .iter()
                .all(|turn| turn.len() == 3
                    && turn[1] == all[(all.iter().position(|it| *it == turn[0]).unwrap() + 1) % 3])
        );
        assert!(Upstream::default().turn(3).is_empty());
    }
}
