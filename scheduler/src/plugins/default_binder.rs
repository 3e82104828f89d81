//! Binds a pod through its binding subresource.

use k8s_openapi::{
    api::core::v1::{Binding, ObjectReference},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kubelab_client::Client;

use crate::framework::{Bind, BindFuture, Plugin, PodInfo};

/// Upstream: `DefaultBinder`.
pub struct DefaultBinder;

impl Plugin for DefaultBinder {
    fn name(&self) -> &'static str {
        "DefaultBinder"
    }
}

impl Bind for DefaultBinder {
    /// The uid is a precondition: the apiserver binds this pod, not another of its name, and only once.
    fn bind<'a>(&self, client: &'a Client, pod: &'a PodInfo, node: &'a str) -> BindFuture<'a> {
        let binding = Binding {
            metadata: ObjectMeta {
                namespace: pod.pod.metadata.namespace.clone(),
                name: pod.pod.metadata.name.clone(),
                uid: pod.pod.metadata.uid.clone(),
                ..ObjectMeta::default()
            },
            target: ObjectReference {
                kind: Some("Node".to_owned()),
                name: Some(node.to_owned()),
                ..ObjectReference::default()
            },
        };
        Box::pin(async move { client.bind(&binding).await })
    }
}
