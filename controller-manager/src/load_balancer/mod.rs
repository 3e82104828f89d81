//! Gives Services of type LoadBalancer an address, as a cloud does.
//!
//! Watches services. Writes their statuses and a finalizer. Source: `k8s.io/cloud-provider/controllers/service` in
//! Kubernetes, with a pool of addresses (`--load-balancer-pool`) in the cloud's place. Without a pool services wait, as in
//! a cluster that is in no cloud.
//!
//! | module | what it is |
//! | --- | --- |
//! | `pool` | which service has which address |
//!
//! Services that name a class are left to whoever serves that class.

mod pool;

use std::{
    collections::HashMap,
    net::Ipv4Addr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use k8s_openapi::api::core::v1::{LoadBalancerIngress, LoadBalancerStatus, Service, ServiceSpec};
use kubelab_api::{
    Error, Reason,
    meta::{has_finalizer, is_deleting},
};
use kubelab_client::{
    Action, Cache, Change, Client, Controller, Patch, Recorder, controller::Key, queue::Queue, recorder::Kind,
};
use serde_json::json;

use self::pool::Pool;
use crate::Context;

const NAME: &str = "service-lb-controller";
/// The recorder of these events upstream.
const COMPONENT: &str = "service-controller";
/// Source: `--concurrent-service-syncs`.
const WORKERS: usize = 1;
/// Keeps a service until its address is given back.
const FINALIZER: &str = "service.kubernetes.io/load-balancer-cleanup";

/// Runs the loop.
pub async fn run(context: Context) {
    let Some(range) = context.options.load_balancer_pool else {
        tracing::info!("no --load-balancer-pool is given: services of type LoadBalancer get no address");
        return std::future::pending().await;
    };
    let this = Arc::new(Loop {
        client: context.client.clone(),
        recorder: context.recorder(COMPONENT),
        services: context.caches.of(),
        pool: Arc::new(Mutex::new(Pool::new(range))),
        ensured: Arc::default(),
        queue: Queue::new("service"),
    });
    // What services have must be known before anything is given.
    this.services.synced().await;
    this.watch();
    Controller::new(NAME, this.queue.clone())
        .run_on(WORKERS, this, |this, key| async move { this.reconcile(key).await })
        .await;
}

struct Loop {
    client: Client,
    recorder: Recorder,
    services: Cache<Service>,
    pool: Arc<Mutex<Pool>>,
    /// What the load balancers were told last.
    ensured: Arc<Mutex<HashMap<Key, Facts>>>,
    queue: Queue<Key>,
}

impl Loop {
    fn watch(&self) {
        for service in self.services.list().iter().filter(|service| is_balanced(service)) {
            address(service).into_iter().for_each(|ip| lock(&self.pool).occupy(&Key::of(&**service), ip));
        }
        let (queue, recorder) = (self.queue.clone(), self.recorder.clone());
        let (pool, ensured) = (Arc::clone(&self.pool), Arc::clone(&self.ensured));
        self.services.on_change(move |change| {
            let service = change.object();
            match change {
                Change::Added(new) if is_balanced(new) || has_finalizer(&new.metadata, FINALIZER) => {}
                Change::Added(_) => return,
                Change::Modified { old, new } => {
                    if !is_balanced(new) && !is_balanced(old) && !has_finalizer(&new.metadata, FINALIZER) {
                        return;
                    }
                    for (reason, message) in changes(&spec(old), &spec(new)) {
                        recorder.event(&**new, Kind::Normal, reason, message);
                    }
                }
                Change::Deleted(old) => {
                    let key = Key::of(&**old);
                    lock(&pool).release(&key);
                    lock(&ensured).remove(&key);
                    return;
                }
            }
            queue.add(Key::of(&**service));
        });
    }

    async fn reconcile(&self, key: Key) -> Result<Action, Error> {
        let Some(service) = self.services.get(&key.namespace, &key.name) else { return Ok(Action::Done) };
        let result =
            if is_balanced(&service) { self.ensure(&key, &service).await } else { self.withdraw(&key, &service).await };
        match result {
            Err(error) if error.reason == Reason::NotFound => Ok(Action::Done),
            Err(error) => Err(error),
            Ok(()) => Ok(Action::Done),
        }
    }

    async fn ensure(&self, key: &Key, service: &Service) -> Result<(), Error> {
        let facts = facts(&spec(service));
        let settled = has_finalizer(&service.metadata, FINALIZER) && address(service).is_some();
        let known = lock(&self.ensured).get(key).cloned();
        let wanted = spec(service).load_balancer_ip.filter(|ip| !ip.is_empty());
        let given = lock(&self.pool).give(key, wanted.as_deref(), address(service));
        // After a restart, what is as it should be needs no word.
        if settled && given.as_ref().ok() == address(service).as_ref() && known.is_none_or(|known| known == facts) {
            lock(&self.ensured).insert(key.clone(), facts);
            return Ok(());
        }
        self.recorder.event(service, Kind::Normal, "EnsuringLoadBalancer", "Ensuring load balancer");
        self.set_finalizer(key, service, true).await?;
        let ip = match given {
            Ok(ip) => ip,
            Err(why) => {
                let why = format!("failed to ensure load balancer: {why}");
                let message = format!("Error syncing load balancer: {why}");
                self.recorder.event(service, Kind::Warning, "SyncLoadBalancerFailed", message);
                return Err(Error::internal(why));
            }
        };
        if address(service) != Some(ip) {
            self.set_status(key, service, &[ip]).await?;
        }
        lock(&self.ensured).insert(key.clone(), facts);
        self.recorder.event(service, Kind::Normal, "EnsuredLoadBalancer", "Ensured load balancer");
        Ok(())
    }

    async fn withdraw(&self, key: &Key, service: &Service) -> Result<(), Error> {
        if !has_finalizer(&service.metadata, FINALIZER) {
            return Ok(());
        }
        self.recorder.event(service, Kind::Normal, "DeletingLoadBalancer", "Deleting load balancer");
        if address(service).is_some() {
            self.set_status(key, service, &[]).await?;
        }
        lock(&self.ensured).remove(key);
        self.recorder.event(service, Kind::Normal, "DeletedLoadBalancer", "Deleted load balancer");
        self.set_finalizer(key, service, false).await?;
        // Only now may another have it: before, this service might still be said to.
        lock(&self.pool).release(key);
        let others = self.services.list().into_iter().filter(|other| is_balanced(other) && address(other).is_none());
        others.for_each(|other| self.queue.add(Key::of(&*other)));
        Ok(())
    }

    async fn set_status(&self, key: &Key, service: &Service, addresses: &[Ipv4Addr]) -> Result<(), Error> {
        let ingress = addresses.iter().map(|ip| LoadBalancerIngress {
            ip: Some(ip.to_string()),
            ip_mode: Some("VIP".to_owned()),
            ..LoadBalancerIngress::default()
        });
        let ingress: Vec<LoadBalancerIngress> = ingress.collect();
        let status = LoadBalancerStatus { ingress: (!ingress.is_empty()).then_some(ingress) };
        let mut patch = json!({"metadata": {"uid": service.metadata.uid}, "status": {"loadBalancer": status}});
        if addresses.is_empty() {
            patch["status"]["loadBalancer"] = json!({"ingress": null});
        }
        self.client.patch_status::<Service>(&key.namespace, &key.name, Patch::Merge(patch)).await.map(drop)
    }

    async fn set_finalizer(&self, key: &Key, service: &Service, present: bool) -> Result<(), Error> {
        if has_finalizer(&service.metadata, FINALIZER) == present {
            return Ok(());
        }
        let patch = if present {
            json!({"metadata": {"uid": service.metadata.uid, "finalizers": [FINALIZER]}})
        } else {
            json!({"metadata": {"uid": service.metadata.uid, "$deleteFromPrimitiveList/finalizers": [FINALIZER]}})
        };
        self.client.patch::<Service>(&key.namespace, &key.name, Patch::Strategic(patch)).await.map(drop)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn spec(service: &Service) -> ServiceSpec {
    service.spec.clone().unwrap_or_default()
}

/// The service wants an address from here. Source: `wantsLoadBalancer`, `needsCleanup`.
fn is_balanced(service: &Service) -> bool {
    let spec = service.spec.as_ref();
    spec.is_some_and(|spec| {
        spec.type_.as_deref() == Some("LoadBalancer")
            && spec.load_balancer_class.as_deref().unwrap_or_default().is_empty()
    }) && !is_deleting(&service.metadata)
}

/// The address that a service's status says.
fn address(service: &Service) -> Option<Ipv4Addr> {
    let ingress = service.status.as_ref()?.load_balancer.as_ref()?.ingress.as_ref()?;
    ingress.iter().find_map(|point| point.ip.as_ref()?.parse().ok())
}

/// What a load balancer has to be told again when it changes.
#[derive(Clone, Debug, PartialEq)]
struct Facts {
    ports: serde_json::Value,
    affinity: Option<String>,
    ranges: Option<Vec<String>>,
    policy: Option<String>,
    address: Option<String>,
}

fn facts(spec: &ServiceSpec) -> Facts {
    Facts {
        ports: json!(spec.ports),
        affinity: spec.session_affinity.clone(),
        ranges: spec.load_balancer_source_ranges.clone(),
        policy: spec.external_traffic_policy.clone(),
        address: spec.load_balancer_ip.clone(),
    }
}

/// What is told of a changed spec. Source: `needsUpdate`.
fn changes(old: &ServiceSpec, new: &ServiceSpec) -> Vec<(&'static str, String)> {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let list = |list: &Option<Vec<String>>| format!("[{}]", list.clone().unwrap_or_default().join(" "));
    let rows = [
        ("Type", text(&old.type_), text(&new.type_)),
        ("LoadBalancerSourceRanges", list(&old.load_balancer_source_ranges), list(&new.load_balancer_source_ranges)),
        ("LoadbalancerIP", text(&old.load_balancer_ip), text(&new.load_balancer_ip)),
        ("ExternalTrafficPolicy", text(&old.external_traffic_policy), text(&new.external_traffic_policy)),
    ];
    let changed = rows.into_iter().filter(|(_, old, new)| old != new);
    // With its type, the rest of a service changes too; that goes without saying.
    changed
        .map(|(reason, old, new)| (reason, format!("{old} -> {new}")))
        .take(if old.type_ == new.type_ { 4 } else { 1 })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::Value;

    use super::*;

    fn service(more: Value) -> Service {
        let mut service = json!({"metadata": {"name": "web"}, "spec": {"type": "LoadBalancer"}});
        json_patch(&mut service, more);
        serde_json::from_value(service).unwrap()
    }

    fn json_patch(target: &mut Value, patch: Value) {
        for (key, value) in patch.as_object().unwrap() {
            if value.is_object() && target[key].is_object() {
                json_patch(&mut target[key], value.clone());
            } else {
                target[key] = value.clone();
            }
        }
    }

    #[test]
    fn who_gets_an_address() {
        for (why, service, expected) in [
            ("asks for one", service(json!({})), true),
            ("does not", service(json!({"spec": {"type": "NodePort"}})), false),
            ("asks somebody else", service(json!({"spec": {"loadBalancerClass": "example.com/lb"}})), false),
            ("goes", service(json!({"metadata": {"deletionTimestamp": "2026-11-20T12:00:00Z"}})), false),
        ] {
            assert_eq!(is_balanced(&service), expected, "{why}");
        }
        let given = service(json!({"status": {"loadBalancer": {"ingress": [{"ip": "127.20.251.1"}]}}}));
        assert_eq!(address(&given), Some(Ipv4Addr::new(127, 20, 251, 1)));
    }

    #[test]
    fn changes_are_told() {
        let old = spec(&service(json!({"spec": {"externalTrafficPolicy": "Cluster"}})));
        for (new, expected) in [
            (json!({"externalTrafficPolicy": "Cluster"}), vec![]),
            (json!({"externalTrafficPolicy": "Local"}), vec![("ExternalTrafficPolicy", "Cluster -> Local".to_owned())]),
            (json!({"type": "ClusterIP"}), vec![("Type", "LoadBalancer -> ClusterIP".to_owned())]),
            (
                json!({"externalTrafficPolicy": "Cluster", "loadBalancerSourceRanges": ["10.0.0.0/8"]}),
                vec![("LoadBalancerSourceRanges", "[] -> [10.0.0.0/8]".to_owned())],
            ),
        ] {
            assert_eq!(changes(&old, &spec(&service(json!({"spec": new})))), expected);
        }
    }
}
