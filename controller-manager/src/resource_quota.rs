//! Finds out what is used of each ResourceQuota.
//!
//! The apiservers charge a quota in the transaction that creates an object, so usage only has to be found out when a quota
//! is new or changed, and when objects go, end or shrink. Watches quotas, pods, services, claims, and the metadata of
//! whatever else a quota counts; writes the status of quotas. Source: `pkg/controller/resourcequota` in Kubernetes.
//!
//! A quota is read before the objects are listed, and written only if nobody charged it since: what is written is never
//! less than what is used.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use k8s_openapi::{
    api::core::v1::{PersistentVolumeClaim, Pod, ResourceQuota, ResourceQuotaStatus, Service},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
    apimachinery::pkg::api::resource::Quantity as Text,
};
use kubelab_api::{
    Error, Quantity, Reason, Resource, custom,
    quota::{Amounts, Item, used},
    resource::{BUILT_IN, Verbs},
};
use kubelab_client::{
    Action, Cache, Change, Client, Controller, Object, Partial, Scope, clock, controller::Key, queue::Queue,
};

use crate::Context;

const NAME: &str = "resourcequota-controller";
/// Source: `ConcurrentResourceQuotaSyncs` in the controller manager's defaults.
const WORKERS: usize = 5;
/// Source: `ResourceQuotaSyncPeriod` in the controller manager's defaults.
const RESYNC: Duration = Duration::from_secs(5 * 60);

/// Runs the loop.
pub async fn run(context: Context) {
    let this = Arc::new(Loop {
        client: context.client.clone(),
        quotas: context.caches.of(),
        definitions: context.caches.of(),
        queue: Queue::new("resourcequota_primary"),
        counted: Mutex::default(),
    });
    let (pods, services, claims): (Cache<Pod>, Cache<Service>, Cache<PersistentVolumeClaim>) =
        (context.caches.of(), context.caches.of(), context.caches.of());
    tokio::join!(this.quotas.synced(), this.definitions.synced(), pods.synced(), services.synced(), claims.synced());
    let queue = this.queue.clone();
    this.quotas.on_change(move |change| {
        if is_to_be_found_out(change) {
            queue.add(Key::of(&**change.object()));
        }
    });
    let following = Arc::downgrade(&this);
    this.definitions.on_change(move |change| {
        if let Some(this) = following.upgrade() {
            this.follow(change);
        }
    });
    this.watch(&pods, |pod| Item::Pod(pod));
    this.watch(&services, |service| Item::Service(service));
    this.watch(&claims, |claim| Item::Claim(claim));
    Controller::new(NAME, this.queue.clone())
        .run_on(WORKERS, this, |this, key| async move { this.reconcile(key).await })
        .await;
}

/// What it limits has changed. Its usage changes all the time, by charges, which are right.
fn is_to_be_found_out(change: &Change<ResourceQuota>) -> bool {
    match change {
        Change::Added(_) => true,
        Change::Modified { old, new } => old.spec != new.spec,
        Change::Deleted(_) => false,
    }
}

struct Loop {
    client: Client,
    quotas: Cache<ResourceQuota>,
    definitions: Cache<CustomResourceDefinition>,
    queue: Queue<Key>,
    /// Mirrors of what some quota has counted, by resource, and in which version: at most one for each.
    counted: Mutex<HashMap<String, (String, Cache<Partial>)>>,
}

impl Loop {
    fn watch<K: Object>(&self, cache: &Cache<K>, item: fn(&K) -> Item<'_>) {
        let (queue, quotas) = (self.queue.clone(), self.quotas.clone());
        cache.on_change(move |change| {
            let freed = match change {
                Change::Added(_) => false,
                Change::Modified { old, new } => frees(item(old), item(new)),
                Change::Deleted(_) => true,
            };
            if freed {
                wake(&queue, &quotas, Key::of(&**change.object()).namespace.as_str(), item(change.object()));
            }
        });
    }

    /// From now on, the end of any object of this resource is noticed.
    fn count(&self, resource: &Resource) {
        let name = resource.group_resource();
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        if counted.get(&name).is_some_and(|(version, _)| *version == resource.version) {
            return;
        }
        let cache = Cache::start_dynamic(&self.client, resource, Scope::default());
        let (queue, quotas, item) = (self.queue.clone(), self.quotas.clone(), name.clone());
        cache.on_change(move |change| {
            if let Change::Deleted(object) = change {
                wake(&queue, &quotas, &Key::of(&**object).namespace, Item::Other(&item));
            }
        });
        counted.insert(name, (resource.version.to_string(), cache));
    }

    /// What a definition brings can be counted from now on, or no longer.
    fn follow(&self, change: &Change<CustomResourceDefinition>) {
        let definition = change.object();
        let Some(name) = definition.metadata.name.as_deref() else { return };
        let is_served = |definition: &CustomResourceDefinition| custom::resources(definition).into_iter().next();
        match change {
            Change::Deleted(_) => {
                self.counted.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
            }
            Change::Modified { old, new } if is_served(old) == is_served(new) => {}
            Change::Added(_) | Change::Modified { .. } => {
                for quota in self.quotas.list() {
                    let hard = quota.spec.as_ref().and_then(|spec| spec.hard.as_ref());
                    if hard.is_some_and(|hard| hard.keys().any(|key| Item::Other(name).tracks(key))) {
                        self.queue.add(Key::of(&*quota));
                    }
                }
            }
        }
    }

    /// The custom resources of namespaces, each in its preferred version.
    fn custom(&self) -> Vec<Resource> {
        let definitions = self.definitions.list();
        let resources = definitions.iter().filter_map(|definition| custom::resources(definition).into_iter().next());
        resources.filter(|resource| resource.namespaced).collect()
    }

    async fn reconcile(&self, key: Key) -> Result<Action, Error> {
        let mut quota: ResourceQuota = match self.client.get(&key.namespace, &key.name).await {
            Err(error) if error.reason == Reason::NotFound => return Ok(Action::Done),
            result => result?,
        };
        let hard = quota.spec.as_ref().and_then(|spec| spec.hard.clone()).unwrap_or_default();
        let custom = self.custom();
        let counted: Vec<&Resource> = hard.keys().filter_map(|name| counted_as(name, &custom)).collect();
        counted.iter().for_each(|resource| self.count(resource));

        let (pod, service, claim) = (Pod::default(), Service::default(), PersistentVolumeClaim::default());
        let limits = |item: Item<'_>| hard.keys().any(|name| item.tracks(name));
        let namespace = key.namespace.as_str();
        let pods: Vec<Pod> = self.list_if(limits(Item::Pod(&pod)), namespace).await?;
        let services: Vec<Service> = self.list_if(limits(Item::Service(&service)), namespace).await?;
        let claims: Vec<PersistentVolumeClaim> = self.list_if(limits(Item::Claim(&claim)), namespace).await?;
        let mut others: BTreeMap<String, usize> = BTreeMap::new();
        for resource in counted {
            others.insert(resource.group_resource(), self.client.list_dynamic(resource, namespace).await?.len());
        }
        let items = pods.iter().map(Item::Pod).chain(services.iter().map(Item::Service));
        let items = items.chain(claims.iter().map(Item::Claim));
        let others = others.iter().flat_map(|(name, count)| std::iter::repeat_n(Item::Other(name), *count));
        let used = used(&quota, items.chain(others), clock::now().0);
        if let Some(status) = after(&quota, used, &custom) {
            quota.status = Some(status);
            self.client.update_status(&quota).await?;
        }
        Ok(Action::After(RESYNC))
    }

    async fn list_if<K: Object>(&self, wanted: bool, namespace: &str) -> Result<Vec<K>, Error> {
        if wanted { self.client.list(namespace).await } else { Ok(Vec::new()) }
    }
}

/// The object uses less than before, or uses it within another scope.
fn frees(old: Item<'_>, new: Item<'_>) -> bool {
    if new.has_moved(&old) {
        return true;
    }
    let now = clock::now().0;
    let (before, after) = (old.usage(now), new.usage(now));
    before.iter().any(|(name, amount)| after.get(name).is_none_or(|after| after < amount))
}

/// The quotas of a namespace that limit this.
fn wake(queue: &Queue<Key>, quotas: &Cache<ResourceQuota>, namespace: &str, item: Item<'_>) {
    for quota in quotas.list_in(namespace) {
        let hard = quota.spec.as_ref().and_then(|spec| spec.hard.as_ref());
        if hard.is_some_and(|hard| hard.keys().any(|name| item.tracks(name))) {
            queue.add(Key::of(&*quota));
        }
    }
}

/// The resource, if it is only counted, whose number is known under this name.
fn counted_as<'a>(name: &str, custom: &'a [Resource]) -> Option<&'a Resource> {
    let has_own_rules = |resource: &Resource| {
        resource.group.is_empty() && matches!(&*resource.plural, "pods" | "services" | "persistentvolumeclaims")
    };
    let built_in: &'a [Resource] = &BUILT_IN;
    built_in
        .iter()
        .chain(custom)
        .filter(|resource| resource.namespaced && resource.verbs == Verbs::All && !has_own_rules(resource))
        .find(|resource| Item::Other(&resource.group_resource()).tracks(name))
}

/// The status after a count; `None` where it says that already. What this loop cannot count stays as it is.
fn after(quota: &ResourceQuota, counted: Amounts, custom: &[Resource]) -> Option<ResourceQuotaStatus> {
    let hard = quota.spec.as_ref().and_then(|spec| spec.hard.clone());
    let before = quota.status.clone().unwrap_or_default();
    let (pod, service, claim) = (Pod::default(), Service::default(), PersistentVolumeClaim::default());
    let is_known = |name: &str| {
        let items = [Item::Pod(&pod), Item::Service(&service), Item::Claim(&claim)];
        items.iter().any(|item| item.tracks(name)) || counted_as(name, custom).is_some()
    };
    let used: BTreeMap<String, Text> = counted
        .into_iter()
        .map(|(name, amount)| {
            let present = before.used.as_ref().and_then(|used| used.get(&name));
            let same = present.is_some_and(|text| Quantity::try_from(text).is_ok_and(|present| present == amount));
            match present {
                // The same amount keeps its spelling.
                Some(present) if same || !is_known(&name) => (name, present.clone()),
                _ => (name, amount.into()),
            }
        })
        .collect();
    let status = ResourceQuotaStatus { hard, used: Some(used) };
    (status != before).then_some(status)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Value, json};

    use super::*;

    fn quota(hard: Value, status: Value) -> ResourceQuota {
        serde_json::from_value(json!({"metadata": {"name": "q"}, "spec": {"hard": hard}, "status": status})).unwrap()
    }

    fn widgets() -> Resource {
        let mut resource = BUILT_IN.iter().find(|resource| resource.plural == "configmaps").unwrap().clone();
        (resource.group, resource.plural) = ("example.com".into(), "widgets".into());
        resource
    }

    #[test]
    fn what_is_counted_is_known() {
        for (name, resource) in [
            ("count/deployments.apps", Some("deployments.apps")),
            ("secrets", Some("secrets")),
            ("count/secrets", Some("secrets")),
            ("pods", None),
            ("count/pods", None),
            ("count/nodes", None),
            ("count/widgets.example.com", Some("widgets.example.com")),
            ("count/gadgets.example.com", None),
        ] {
            assert_eq!(counted_as(name, &[widgets()]).map(Resource::group_resource).as_deref(), resource, "{name}");
        }
    }

    #[test]
    fn a_status_says_what_was_counted() {
        let counted = |quota: &ResourceQuota, pods: i64| {
            let mut amounts = used(quota, std::iter::empty(), clock::now().0);
            amounts.entry("pods".into()).and_modify(|amount| *amount = Quantity::new(pods, Default::default()));
            after(quota, amounts, &[]).map(|status| serde_json::to_value(status).unwrap())
        };
        let hard = json!({"pods": "2", "count/widgets.example.com": "3"});
        let wanted = json!({"hard": hard, "used": {"pods": "1", "count/widgets.example.com": "0"}});
        assert_eq!(counted(&quota(hard.clone(), json!({})), 1), Some(wanted.clone()));
        assert_eq!(counted(&quota(hard.clone(), wanted.clone()), 1), None);
        let charged = json!({"hard": hard, "used": {"pods": "2", "count/widgets.example.com": "2"}});
        let kept = json!({"hard": hard, "used": {"pods": "1", "count/widgets.example.com": "2"}});
        assert_eq!(counted(&quota(hard.clone(), charged.clone()), 1), Some(kept));
        // Once the definition is known, what it brings is counted.
        let charged = quota(hard, charged);
        let status = after(&charged, used(&charged, std::iter::empty(), clock::now().0), &[widgets()]).unwrap();
        assert_eq!(status.used.unwrap()["count/widgets.example.com"].0, "0");
    }

    #[test]
    fn ended_pods_and_shrunk_services_free_something() {
        let pod = |phase: &str| serde_json::from_value::<Pod>(json!({"status": {"phase": phase}})).unwrap();
        let (running, ended) = (pod("Running"), pod("Succeeded"));
        assert!(frees(Item::Pod(&running), Item::Pod(&ended)));
        assert!(!frees(Item::Pod(&ended), Item::Pod(&ended)));
        let service = |type_: &str| {
            let spec = json!({"spec": {"type": type_, "ports": [{"port": 80}]}});
            serde_json::from_value::<Service>(spec).unwrap()
        };
        let (plain, node_port) = (service("ClusterIP"), service("NodePort"));
        assert!(frees(Item::Service(&node_port), Item::Service(&plain)));
        assert!(!frees(Item::Service(&plain), Item::Service(&node_port)));
        let claim = |class: &str| {
            let spec = json!({"spec": {"volumeAttributesClassName": class}});
            serde_json::from_value::<PersistentVolumeClaim>(spec).unwrap()
        };
        let (gold, silver) = (claim("gold"), claim("silver"));
        assert!(frees(Item::Claim(&gold), Item::Claim(&silver)));
        assert!(!frees(Item::Claim(&gold), Item::Claim(&gold)));
    }
}
