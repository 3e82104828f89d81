//! Empties namespaces that are being deleted, then lets them go.
//!
//! Watches namespaces and pods. Deletes everything in a namespace, pods first (KEP-5080: what pods rely on, NetworkPolicies
//! say, must outlive them), tells in the namespace's conditions what is left, and removes its finalizer `kubernetes`.
//! Source: `pkg/controller/namespace/deletion` in Kubernetes.

mod conditions;

use std::{sync::Arc, time::Duration};

use k8s_openapi::{
    api::core::v1::{Namespace, NamespaceStatus, Pod},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
    apimachinery::pkg::apis::meta::v1::{DeleteOptions, ObjectMeta, Preconditions},
};
use kubelab_api::{
    Error, Reason, Resource, custom,
    meta::is_deleting,
    resource::{BUILT_IN, Verbs},
    well_known::finalizer::KUBERNETES,
};
use kubelab_client::{Action, Cache, Change, Client, Controller, Partial, clock, controller::Key, queue::Queue};
use serde::Deserialize;

use self::conditions::Findings;
use crate::Context;

const NAME: &str = "namespace-controller";
/// Source: `ConcurrentNamespaceSyncs` in the controller manager's defaults.
const WORKERS: usize = 10;
/// How long until another look where nothing tells that the content is gone.
const PATIENCE: Duration = Duration::from_secs(5);

/// Runs the loop.
pub async fn run(context: Context) {
    let this = Arc::new(Loop {
        client: context.client.clone(),
        namespaces: context.caches.of(),
        pods: context.caches.of(),
        queue: Queue::new("namespace"),
    });
    tokio::join!(this.namespaces.synced(), this.pods.synced());
    this.watch();
    Controller::new(NAME, this.queue.clone())
        .run_on(WORKERS, this, |this, key| async move { this.reconcile(key).await })
        .await;
}

struct Loop {
    client: Client,
    namespaces: Cache<Namespace>,
    pods: Cache<Pod>,
    queue: Queue<Key>,
}

impl Loop {
    fn watch(&self) {
        let queue = self.queue.clone();
        self.namespaces.on_change(move |change| {
            let namespace = change.object();
            if is_deleting(&namespace.metadata) {
                queue.add(Key::of(&**namespace));
            }
        });
        // Pods take the longest to go: the last one's end is the moment to look again.
        let (queue, namespaces) = (self.queue.clone(), self.namespaces.clone());
        self.pods.on_change(move |change| {
            if let Change::Deleted(pod) = change
                && let Some(namespace) = namespaces.get("", pod.metadata.namespace.as_deref().unwrap_or_default())
                && is_deleting(&namespace.metadata)
            {
                queue.add(Key::of(&*namespace));
            }
        });
    }

    async fn reconcile(&self, key: Key) -> Result<Action, Error> {
        let Some(cached) = self.namespaces.get("", &key.name) else { return Ok(Action::Done) };
        // Everything in it is about to be deleted: only the apiserver's own word is good enough for that.
        let namespace: Namespace = match self.client.get("", &key.name).await {
            Err(error) if error.reason == Reason::NotFound => return Ok(Action::Done),
            result => result?,
        };
        let is_same = namespace.metadata.uid == cached.metadata.uid;
        if !is_same || !is_deleting(&namespace.metadata) || !has_finalizer(&namespace) {
            return Ok(Action::Done);
        }
        let findings = self.empty(&key.name).await;
        let namespace = self.write_conditions(namespace, &findings).await?;
        if findings.is_empty() {
            self.finalize(namespace).await?;
            return Ok(Action::Done);
        }
        Ok(Action::After(PATIENCE))
    }

    async fn empty(&self, namespace: &str) -> Findings {
        let mut findings = Findings::default();
        // A definition may be newer than any mirror of it.
        let definitions = match self.client.list::<CustomResourceDefinition>("").await {
            Ok(definitions) => definitions,
            Err(error) => {
                findings.failures.push(format!("customresourcedefinitions.apiextensions.k8s.io: {error}"));
                return findings;
            }
        };
        let custom = definitions.iter().filter_map(|definition| custom::resources(definition).into_iter().next());
        let custom: Vec<Resource> = custom.filter(|resource| resource.namespaced).collect();
        let (pods, others): (Vec<_>, Vec<_>) = contents().partition(|resource| *resource.plural == *"pods");
        for resource in pods {
            self.empty_of(resource, namespace, &mut findings).await;
        }
        if findings.is_empty() {
            for resource in others.into_iter().chain(&custom) {
                self.empty_of(resource, namespace, &mut findings).await;
            }
        }
        findings
    }

    async fn empty_of(&self, resource: &Resource, namespace: &str, findings: &mut Findings) {
        // A resource that is not served has no objects.
        if let Err(error) = self.try_empty_of(resource, namespace, findings).await
            && error.reason != Reason::NotFound
        {
            findings.failures.push(format!("{}: {error}", resource.group_resource()));
        }
    }

    /// Deletes all objects of a resource and notes which are still there afterwards.
    async fn try_empty_of(&self, resource: &Resource, namespace: &str, findings: &mut Findings) -> Result<(), Error> {
        if self.metadata(resource, namespace).await?.is_empty() {
            return Ok(());
        }
        let options = DeleteOptions { propagation_policy: Some("Background".to_owned()), ..Default::default() };
        // Without a name, the whole collection.
        self.client.delete_dynamic(resource, namespace, "", options).await?;
        let left = self.metadata(resource, namespace).await?;
        if !left.is_empty() {
            // Upstream's messages name a resource with its group after a dot, even where the group's name is empty.
            let name = format!("{}.{}", resource.plural, resource.group);
            findings.remaining.insert(name, left.len());
            for finalizer in left.iter().flat_map(|meta| meta.finalizers.iter().flatten()) {
                *findings.finalizers.entry(finalizer.clone()).or_default() += 1;
            }
        }
        Ok(())
    }

    async fn metadata(&self, resource: &Resource, namespace: &str) -> Result<Vec<ObjectMeta>, Error> {
        let list = self.client.list_dynamic(resource, namespace).await?;
        let meta = |object| Partial::deserialize(object).map(|object| object.metadata).map_err(Error::internal);
        list.iter().map(meta).collect()
    }

    async fn write_conditions(&self, mut namespace: Namespace, findings: &Findings) -> Result<Namespace, Error> {
        match conditions::after(&namespace, findings, &clock::now()) {
            None => Ok(namespace),
            Some(conditions) => {
                let phase = namespace.status.take().and_then(|status| status.phase);
                namespace.status = Some(NamespaceStatus { conditions: Some(conditions), phase });
                self.client.update_status(&namespace).await
            }
        }
    }

    /// Once its last finalizer is removed, the apiserver removes the namespace.
    async fn finalize(&self, mut namespace: Namespace) -> Result<(), Error> {
        if let Some(finalizers) = namespace.spec.as_mut().and_then(|spec| spec.finalizers.as_mut()) {
            finalizers.retain(|finalizer| finalizer != KUBERNETES);
        }
        let key = Key::of(&namespace);
        let preconditions = Some(Preconditions { uid: namespace.metadata.uid.clone(), resource_version: None });
        self.client.update_subresource("finalize", &namespace).await?;
        let options = DeleteOptions { preconditions, ..Default::default() };
        match self.client.delete::<Namespace>("", &key.name, options).await {
            Err(error) if !matches!(error.reason, Reason::NotFound | Reason::Conflict) => Err(error),
            _ => Ok(()),
        }
    }
}

fn has_finalizer(namespace: &Namespace) -> bool {
    let finalizers = namespace.spec.iter().flat_map(|spec| spec.finalizers.iter().flatten());
    finalizers.into_iter().any(|finalizer| finalizer == KUBERNETES)
}

/// Every resource whose objects live in namespaces, once: versions of one resource share their objects, and so do the two
/// groups of Events.
fn contents() -> impl Iterator<Item = &'static Resource> {
    let is_first = |index: usize, resource: &Resource| {
        !BUILT_IN[..index].iter().any(|other| other.topic() == resource.topic())
            && (&*resource.plural, &*resource.group) != ("events", "events.k8s.io")
    };
    BUILT_IN
        .iter()
        .enumerate()
        .filter(|(_, resource)| resource.namespaced && resource.verbs == Verbs::All)
        .filter(move |(index, resource)| is_first(*index, resource))
        .map(|(_, resource)| resource)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_in_a_namespace_is_deleted_once() {
        let names: Vec<String> = contents().map(Resource::group_resource).collect();
        let count = |name: &str| names.iter().filter(|other| *other == name).count();
        for name in ["pods", "secrets", "events", "horizontalpodautoscalers.autoscaling", "leases.coordination.k8s.io"]
        {
            assert_eq!(count(name), 1, "{name}");
        }
        for name in ["nodes", "bindings", "events.events.k8s.io"] {
            assert_eq!(count(name), 0, "{name}");
        }
    }
}
