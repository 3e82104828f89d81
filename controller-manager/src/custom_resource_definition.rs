//! Deletes the objects of CustomResourceDefinitions that are being deleted, then lets the definitions go.
//!
//! Watches CustomResourceDefinitions. Tells in the condition `Terminating` how far it has come, and removes the finalizer
//! `customresourcecleanup.apiextensions.k8s.io`. A definition that waits for a name is written anew when others of its
//! group change, for the apiserver to look again. Source: `pkg/controller/{finalizer,status}` of
//! apiextensions-apiserver.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use k8s_openapi::{
    apiextensions_apiserver::pkg::apis::apiextensions::v1::{
        CustomResourceDefinition as Definition, CustomResourceDefinitionCondition as Condition,
    },
    apimachinery::pkg::apis::meta::v1::DeleteOptions,
};
use kubelab_api::{
    Error, Reason, Resource,
    custom::{has_condition, resources},
    meta::{has_finalizer, is_deleting},
    well_known::finalizer::CUSTOM_RESOURCE_CLEANUP as CLEANUP,
};
use kubelab_client::{Action, Cache, Client, Controller, Partial, Patch, clock, controller::Key, queue::Queue};
use serde::Deserialize;
use serde_json::json;

use crate::Context;

const NAME: &str = "custom-resource-definition-controller";
const WORKERS: usize = 2;
/// How long until another look at what is left. Upstream looks every 5 s.
const PATIENCE: Duration = Duration::from_secs(1);

/// Runs the loop.
pub async fn run(context: Context) {
    let this =
        Arc::new(Loop { client: context.client.clone(), definitions: context.caches.of(), queue: Queue::new(NAME) });
    this.definitions.synced().await;
    let queue = this.queue.clone();
    this.definitions.on_change(move |change| queue.add(Key::of(&**change.object())));
    Controller::new(NAME, this.queue.clone())
        .run_on(WORKERS, this, |this, key| async move { this.reconcile(key).await })
        .await;
}

struct Loop {
    client: Client,
    definitions: Cache<Definition>,
    queue: Queue<Key>,
}

impl Loop {
    async fn reconcile(&self, key: Key) -> Result<Action, Error> {
        // The group stands after the plural.
        let group = key.name.split_once('.').map_or("", |(_, group)| group);
        self.let_others_look_again(&key.name, group).await?;
        let Some(cached) = self.definitions.get("", &key.name) else { return Ok(Action::Done) };
        if !is_deleting(&cached.metadata) || !has_finalizer(&cached.metadata, CLEANUP) {
            return Ok(Action::Done);
        }
        // All its objects are about to be deleted: only the apiserver's own word is good enough for that.
        let definition: Definition = match self.client.get("", &key.name).await {
            Err(error) if error.reason == Reason::NotFound => return Ok(Action::Done),
            result => result?,
        };
        if definition.metadata.uid != cached.metadata.uid || !has_finalizer(&definition.metadata, CLEANUP) {
            return Ok(Action::Done);
        }
        self.finish(definition).await
    }

    async fn let_others_look_again(&self, name: &str, group: &str) -> Result<(), Error> {
        let waits = |other: &Arc<Definition>| {
            other.spec.group == group
                && other.metadata.name.as_deref() != Some(name)
                && !has_condition(other, "NamesAccepted")
                && !is_deleting(&other.metadata)
        };
        for other in self.definitions.list().into_iter().filter(waits) {
            let name = other.metadata.name.as_deref().unwrap_or_default();
            match self.client.patch::<Definition>("", name, Patch::Merge(json!({}))).await {
                Err(error) if error.reason != Reason::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    async fn finish(&self, definition: Definition) -> Result<Action, Error> {
        let begun =
            terminating(&definition, true, "InstanceDeletionInProgress", "CustomResource deletion is in progress");
        let definition = match begun {
            Some(begun) => self.client.update_status(&begun).await?,
            None => definition,
        };
        let served = resources(&definition).into_iter().next();
        let (reason, message) = match served {
            Some(resource) if has_condition(&definition, "Established") => match self.empty(&resource).await {
                Ok(0) => ("InstanceDeletionCompleted", "removed all instances"),
                Ok(_) => return Ok(Action::After(PATIENCE)),
                Err(error) => {
                    let message = format!("could not issue all deletes: {error}");
                    if let Some(failed) = terminating(&definition, true, "InstanceDeletionFailed", &message) {
                        self.client.update_status(&failed).await?;
                    }
                    return Err(error);
                }
            },
            _ => ("NeverEstablished", "resource was never established"),
        };
        let mut done = terminating(&definition, false, reason, message).unwrap_or(definition);
        if let Some(finalizers) = &mut done.metadata.finalizers {
            finalizers.retain(|finalizer| finalizer != CLEANUP);
        }
        match self.client.update_status(&done).await {
            Err(error) if error.reason != Reason::NotFound => Err(error),
            _ => Ok(Action::Done),
        }
    }

    /// Deletes all objects of a resource; says how many are still there.
    async fn empty(&self, resource: &Resource) -> Result<usize, Error> {
        let namespace = |object: &serde_json::Value| {
            let object = Partial::deserialize(object).map_err(Error::internal)?;
            Ok::<_, Error>(object.metadata.namespace.unwrap_or_default())
        };
        let list = self.client.list_dynamic(resource, "").await?;
        for namespace in list.iter().map(namespace).collect::<Result<BTreeSet<_>, _>>()? {
            // Without a name, the whole collection.
            self.client.delete_dynamic(resource, &namespace, "", DeleteOptions::default()).await?;
        }
        if list.is_empty() { Ok(0) } else { Ok(self.client.list_dynamic(resource, "").await?.len()) }
    }
}

/// The definition with its condition `Terminating` so; `None` if it says so already.
fn terminating(definition: &Definition, holds: bool, reason: &str, message: &str) -> Option<Definition> {
    let mut changed = definition.clone();
    let status = if holds { "True" } else { "False" };
    let conditions = changed.status.get_or_insert_default().conditions.get_or_insert_default();
    let index = conditions.iter().position(|known| known.type_ == "Terminating").unwrap_or_else(|| {
        conditions.push(Condition { type_: "Terminating".into(), ..Condition::default() });
        conditions.len() - 1
    });
    let condition = &mut conditions[index];
    if condition.status != status {
        condition.last_transition_time = Some(clock::now());
    }
    condition.status = status.to_owned();
    condition.reason = Some(reason.to_owned());
    condition.message = Some(message.to_owned());
    (changed != *definition).then_some(changed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_condition_is_written_once() {
        let definition = Definition::default();
        let begun = terminating(&definition, true, "A", "a").unwrap_or_default();
        let conditions = |definition: &Definition| definition.status.clone().and_then(|status| status.conditions);
        let first = conditions(&begun).unwrap_or_default();
        assert_eq!((first.len(), first[0].status.as_str(), first[0].reason.as_deref()), (1, "True", Some("A")));
        assert_eq!(terminating(&begun, true, "A", "a"), None);
        let further = terminating(&begun, true, "B", "b").unwrap_or_default();
        assert_eq!(conditions(&further).unwrap_or_default()[0].last_transition_time, first[0].last_transition_time);
    }
}
