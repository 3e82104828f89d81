//! Typed requests.

use k8s_openapi::{
    Metadata, Resource,
    api::core::v1::{Binding, Pod},
    apimachinery::pkg::apis::meta::v1::{DeleteOptions, ObjectMeta},
};
use kubelab_api::Error;
use serde::{Serialize, de::DeserializeOwned};

/// A Kubernetes type that can be sent and received.
pub trait Object:
    Resource + Metadata<Ty = ObjectMeta> + Serialize + DeserializeOwned + Clone + Send + Sync + 'static
{
}
impl<T> Object for T where
    T: Resource + Metadata<Ty = ObjectMeta> + Serialize + DeserializeOwned + Clone + Send + Sync + 'static
{
}

/// A change to send instead of a whole object.
#[derive(Clone, Debug)]
pub enum Patch {
    /// RFC 7386.
    Merge(serde_json::Value),
    /// Kubernetes' own: lists merge by key.
    Strategic(serde_json::Value),
    /// RFC 6902.
    Json(serde_json::Value),
}

/// A connection to the lab's apiservers. Cheap to clone. Every call fails over to another apiserver while that is safe,
/// has a deadline (30 s), and sends the running task's [`crate::Cause`]. `namespace` is empty for cluster-scoped kinds.
#[derive(Clone)]
pub struct Client {}

#[allow(unused_variables)]
impl Client {
    /// A client for these apiservers with this identity. Connects when first used.
    pub fn new(connection: &crate::process::Connection) -> Result<Self, Error> {
        unimplemented!()
    }
    /// The latest version of an object.
    pub async fn get<K: Object>(&self, namespace: &str, name: &str) -> Result<K, Error> {
        unimplemented!()
    }
    /// All objects of a kind; `namespace` empty for all namespaces.
    pub async fn list<K: Object>(&self, namespace: &str) -> Result<Vec<K>, Error> {
        unimplemented!()
    }
    /// A new object.
    pub async fn create<K: Object>(&self, object: &K) -> Result<K, Error> {
        unimplemented!()
    }
    /// Replaces an object; its resourceVersion, if set, must be current.
    pub async fn update<K: Object>(&self, object: &K) -> Result<K, Error> {
        unimplemented!()
    }
    /// Replaces an object's status.
    pub async fn update_status<K: Object>(&self, object: &K) -> Result<K, Error> {
        unimplemented!()
    }
    /// Replaces a subresource by any body ("finalize", "approval", …).
    pub async fn update_subresource<K: Object>(&self, subresource: &str, object: &K) -> Result<K, Error> {
        unimplemented!()
    }
    /// Changes an object.
    pub async fn patch<K: Object>(&self, namespace: &str, name: &str, patch: Patch) -> Result<K, Error> {
        unimplemented!()
    }
    /// Changes an object's status.
    pub async fn patch_status<K: Object>(&self, namespace: &str, name: &str, patch: Patch) -> Result<K, Error> {
        unimplemented!()
    }
    /// Deletes an object. `NotFound` is an error here too.
    pub async fn delete<K: Object>(&self, namespace: &str, name: &str, options: DeleteOptions) -> Result<(), Error> {
        unimplemented!()
    }
    /// Binds a pod to a node.
    pub async fn bind(&self, binding: &Binding) -> Result<(), Error> {
        unimplemented!()
    }
    /// Evicts a pod, respecting disruption budgets.
    pub async fn evict(&self, pod: &Pod, options: DeleteOptions) -> Result<(), Error> {
        unimplemented!()
    }
    /// Deletes an object of a resource known only at run time.
    pub async fn delete_dynamic(
        &self,
        resource: &kubelab_api::Resource,
        namespace: &str,
        name: &str,
        options: DeleteOptions,
    ) -> Result<(), Error> {
        unimplemented!()
    }
    /// Changes an object of a resource known only at run time.
    pub async fn patch_dynamic(
        &self,
        resource: &kubelab_api::Resource,
        namespace: &str,
        name: &str,
        patch: Patch,
    ) -> Result<serde_json::Value, Error> {
        unimplemented!()
    }
    /// An object of a resource known only at run time.
    pub async fn get_dynamic(
        &self,
        resource: &kubelab_api::Resource,
        namespace: &str,
        name: &str,
    ) -> Result<serde_json::Value, Error> {
        unimplemented!()
    }
    /// All objects of a resource known only at run time.
    pub async fn list_dynamic(
        &self,
        resource: &kubelab_api::Resource,
        namespace: &str,
    ) -> Result<Vec<serde_json::Value>, Error> {
        unimplemented!()
    }
}
