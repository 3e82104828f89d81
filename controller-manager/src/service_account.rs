//! Gives every namespace its service account `default`.
//!
//! Watches namespaces and service accounts. Writes service accounts.
//! Source: `pkg/controller/serviceaccount/serviceaccounts_controller.go` in Kubernetes.

use std::sync::Arc;

use k8s_openapi::{
    api::core::v1::{Namespace, ServiceAccount},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kubelab_api::{Error, Reason, meta::is_deleting};
use kubelab_client::{Action, Cache, Change, Client, Controller, controller::Key, queue::Queue};

use crate::{Context, pods::namespace_is_terminating};

const NAME: &str = "serviceaccount-controller";
const DEFAULT: &str = "default";
const WORKERS: usize = 1;

/// Runs the loop.
pub async fn run(context: Context) {
    let this = Arc::new(Loop {
        client: context.client.clone(),
        namespaces: context.caches.of(),
        accounts: context.caches.of(),
        queue: Queue::new("serviceaccount"),
    });
    tokio::join!(this.namespaces.synced(), this.accounts.synced());
    this.watch();
    Controller::new(NAME, this.queue.clone())
        .run_on(WORKERS, this, |this, key| async move { this.reconcile(key).await })
        .await;
}

struct Loop {
    client: Client,
    namespaces: Cache<Namespace>,
    accounts: Cache<ServiceAccount>,
    /// Namespaces.
    queue: Queue<Key>,
}

impl Loop {
    fn watch(&self) {
        let queue = self.queue.clone();
        self.namespaces.on_change(move |change| {
            if matches!(change, Change::Added(_)) {
                queue.add(Key::of(&**change.object()));
            }
        });
        let queue = self.queue.clone();
        self.accounts.on_change(move |change| {
            if let Change::Deleted(account) = change
                && account.metadata.name.as_deref() == Some(DEFAULT)
            {
                let name = account.metadata.namespace.clone().unwrap_or_default();
                queue.add(Key { namespace: String::new(), name });
            }
        });
    }

    async fn reconcile(&self, key: Key) -> Result<Action, Error> {
        let namespace = self.namespaces.get("", &key.name).filter(|namespace| !is_deleting(&namespace.metadata));
        if namespace.is_none() || self.accounts.get(&key.name, DEFAULT).is_some() {
            return Ok(Action::Done);
        }
        let metadata =
            ObjectMeta { name: Some(DEFAULT.to_owned()), namespace: Some(key.name.clone()), ..Default::default() };
        match self.client.create(&ServiceAccount { metadata, ..Default::default() }).await {
            Err(error) if error.reason != Reason::AlreadyExists && !namespace_is_terminating(&error) => Err(error),
            _ => Ok(Action::Done),
        }
    }
}
