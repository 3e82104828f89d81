//! Writing a pod's status: only when it changed, and only what changed.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Pod, PodStatus};
use kubelab_api::error::Reason;
use kubelab_client::{Error, Patch};

use super::{Node, worker::Worker};
use crate::pod::status;

impl Node {
    /// Makes the API's status of a pod this one. Returns the pod as it is then.
    pub(super) async fn report(&self, worker: &Worker, pod: Arc<Pod>, new: PodStatus) -> Result<Arc<Pod>, Error> {
        let meta = &pod.metadata;
        let (namespace, name) =
            (meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default());
        let uid = meta.uid.as_deref().unwrap_or_default();
        let empty = PodStatus::default();
        let Some(patch) = status::patch(uid, pod.status.as_ref().unwrap_or(&empty), &new) else { return Ok(pod) };
        match self.client.patch_status_unread::<Pod>(namespace, name, Patch::Strategic(patch)).await {
            Ok(revision) => {
                tracing::debug!(pod = name, phase = new.phase, "wrote the pod's status");
                let mut written = Pod::clone(&pod);
                written.metadata.resource_version = Some(revision.to_string());
                written.status = Some(new);
                let written = Arc::new(written);
                worker.wrote(written.clone());
                Ok(written)
            }
            // The cache is about to say so too.
            Err(error) if error.reason == Reason::NotFound => {
                tracing::debug!(pod = name, %error, "the pod is gone");
                Ok(pod)
            }
            Err(error) => Err(error),
        }
    }
}
