//! How many pods the controllers of pods want. Source: the `podControllerFinder`s in Kubernetes' `disruption.go`.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::apis::meta::v1::OwnerReference};
use kubelab_api::{Error, Reason, meta::controller_of};
use kubelab_client::Object;

use super::Loop;
use crate::scalable::group_and_version;

/// What the controllers of some pods want together.
#[derive(Debug, Default)]
pub(super) struct Expected {
    pub replicas: i32,
    /// Pods that nobody manages.
    pub unmanaged: Vec<String>,
}

impl Loop {
    pub(super) async fn expected(&self, pods: &[Arc<Pod>]) -> Result<Expected, Error> {
        let mut expected = Expected::default();
        let mut asked: HashSet<&str> = HashSet::new();
        let mut scales: HashMap<String, i32> = HashMap::new();
        for pod in pods {
            let name = pod.metadata.name.clone().unwrap_or_default();
            let Some(controller) = controller_of(&pod.metadata) else {
                expected.unmanaged.push(name);
                continue;
            };
            if !asked.insert(&controller.uid) {
                continue;
            }
            let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
            let (uid, replicas) = self
                .scale_of(namespace, controller)
                .await?
                .ok_or_else(|| unclear(format!("found no controllers for pod {name:?}")))?;
            scales.insert(uid, replicas);
        }
        expected.replicas = scales.into_values().fold(0, i32::saturating_add);
        Ok(expected)
    }

    /// The uid and the wanted number of pods of whoever controls pods in the end: a ReplicaSet's Deployment, not the set.
    async fn scale_of(&self, namespace: &str, controller: &OwnerReference) -> Result<Option<(String, i32)>, Error> {
        let (group, _) = group_and_version(&controller.api_version);
        let name = controller.name.as_str();
        match (group, controller.kind.as_str()) {
            ("", "ReplicationController") => {
                let found = self.replication_controllers.get(namespace, name);
                Ok(found.and_then(|found| {
                    same(&*found, controller)?;
                    Some((uid(&*found), found.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)))
                }))
            }
            ("apps", "StatefulSet") => {
                let found = self.stateful_sets.get(namespace, name);
                Ok(found.and_then(|found| {
                    same(&*found, controller)?;
                    Some((uid(&*found), found.spec.replicas.unwrap_or(1)))
                }))
            }
            ("apps", "ReplicaSet") => Ok(self.scale_of_set(namespace, controller)),
            _ => self.scale_of_any(namespace, controller).await,
        }
    }

    fn scale_of_set(&self, namespace: &str, controller: &OwnerReference) -> Option<(String, i32)> {
        let set = self.replica_sets.get(namespace, &controller.name)?;
        same(&*set, controller)?;
        match controller_of(&set.metadata).filter(|owner| owner.kind == "Deployment") {
            None => Some((uid(&*set), set.spec.replicas.unwrap_or(1))),
            Some(owner) => {
                let deployment = self.deployments.get(namespace, &owner.name)?;
                same(&*deployment, owner)?;
                Some((uid(&*deployment), deployment.spec.replicas.unwrap_or(1)))
            }
        }
    }

    async fn scale_of_any(&self, namespace: &str, controller: &OwnerReference) -> Result<Option<(String, i32)>, Error> {
        let (api_version, kind) = (&controller.api_version, &controller.kind);
        let resource = self.kinds.find(api_version, kind).ok_or_else(|| {
            let (group, version) = group_and_version(api_version);
            let group = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
            unclear(format!("no matches for kind {kind:?} in version {group:?}"))
        })?;
        if !resource.has("scale") {
            return Err(unclear(format!("{} does not implement the scale subresource", resource.group_resource())));
        }
        match self.client.get_scale(&resource, namespace, &controller.name).await {
            Err(error) if error.reason == Reason::NotFound => Ok(None),
            Err(error) => Err(error),
            Ok(scale) => {
                let wanted = scale.spec.and_then(|spec| spec.replicas).unwrap_or(0);
                let is_same = scale.metadata.uid.as_deref() == Some(controller.uid.as_str());
                Ok(is_same.then(|| (controller.uid.clone(), wanted)))
            }
        }
    }
}

/// Nobody can say how many pods there are to be.
fn unclear(why: String) -> Error {
    Error::new(Reason::InternalError, why)
}

fn same<K: Object>(object: &K, reference: &OwnerReference) -> Option<()> {
    (object.metadata().uid.as_deref() == Some(reference.uid.as_str())).then_some(())
}

fn uid<K: Object>(object: &K) -> String {
    object.metadata().uid.clone().unwrap_or_default()
}
