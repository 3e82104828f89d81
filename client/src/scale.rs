//! How many replicas an object has, whatever its kind: the subresource `scale`.

use k8s_openapi::api::autoscaling::v1::Scale;
use kubelab_api::{Resource, error::Error};
use kubelab_proto::objects::Target;

use crate::{
    Client,
    client::{dynamic_target, read},
};

fn target(resource: &Resource, namespace: &str, name: &str) -> Target {
    Target { subresource: "scale".to_owned(), ..dynamic_target(resource, namespace, name) }
}

impl Client {
    /// How many replicas an object has, and is to have.
    pub async fn get_scale(&self, resource: &Resource, namespace: &str, name: &str) -> Result<Scale, Error> {
        read(&self.get_target(target(resource, namespace, name)).await?)
    }

    /// Sets how many replicas an object is to have. The scale's resourceVersion, if set, must be current.
    pub async fn update_scale(&self, resource: &Resource, scale: &Scale) -> Result<Scale, Error> {
        let meta = &scale.metadata;
        let (namespace, name) = (meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref());
        let target = target(resource, namespace, name.unwrap_or_default());
        read(&self.update_target(target, meta, scale).await?)
    }
}
