//! Makes the claims of pods' ephemeral volumes, which go with their pods.
//!
//! Watches pods and claims. Creates claims. Source: `pkg/controller/volume/ephemeral` in Kubernetes.

use std::sync::{Arc, LazyLock};

use k8s_openapi::{
    api::core::v1::{PersistentVolumeClaim, PersistentVolumeClaimTemplate, Pod},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kubelab_api::{
    Error, Reason,
    meta::{controller_reference, is_controlled_by, is_deleting},
};
use kubelab_client::{
    Action, Cache, Change, Client, Controller, Recorder,
    controller::Key,
    metrics::{Counter, shown},
    queue::Queue,
    recorder::Kind,
};

use crate::{Context, pods::namespace_is_terminating};

const NAME: &str = "ephemeral-volume-controller";
/// The recorder of these events upstream.
const COMPONENT: &str = "ephemeral_volume";
/// Source: `--concurrent-ephemeralvolume-syncs`.
const WORKERS: usize = 5;

/// Runs the loop.
pub async fn run(context: Context) {
    let (pods, claims): (Cache<Pod>, Cache<PersistentVolumeClaim>) = (context.caches.of(), context.caches.of());
    tokio::join!(pods.synced(), claims.synced());
    let queue = Queue::new("ephemeral_volume");
    let changed = queue.clone();
    pods.on_change(move |change| {
        if let Change::Added(pod) = change
            && templates(pod).next().is_some()
        {
            changed.add(Key::of(&**pod));
        }
    });
    let removed = queue.clone();
    claims.on_change(move |change| {
        let owner = change.object().metadata.owner_references.iter().flatten().find(|owner| owner.kind == "Pod");
        if let (Change::Deleted(claim), Some(owner)) = (change, owner) {
            let namespace = claim.metadata.namespace.clone().unwrap_or_default();
            removed.add(Key { namespace, name: owner.name.clone() });
        }
    });
    let recorder = context.recorder(COMPONENT);
    let this = Arc::new(Loop { client: context.client, recorder, pods, claims });
    Controller::new(NAME, queue).run_on(WORKERS, this, |this, key| async move { this.reconcile(key).await }).await;
}

/// Claims that were to be made, and those that were not. Source of the names: `pkg/controller/volume/ephemeral/metrics` in
/// Kubernetes.
static METRICS: LazyLock<(Counter, Counter)> = LazyLock::new(|| {
    let all = "Number of PersistentVolumeClaims creation requests";
    let failed = "Number of PersistentVolumeClaims creation failed requests";
    (
        shown("ephemeral_volume_controller_create", all, Counter::default()),
        shown("ephemeral_volume_controller_create_failures", failed, Counter::default()),
    )
});

struct Loop {
    client: Client,
    recorder: Recorder,
    pods: Cache<Pod>,
    claims: Cache<PersistentVolumeClaim>,
}

impl Loop {
    async fn reconcile(&self, key: Key) -> Result<Action, Error> {
        let Some(pod) = self.pods.get(&key.namespace, &key.name).filter(|pod| !is_deleting(&pod.metadata)) else {
            return Ok(Action::Done);
        };
        for (name, template) in templates(&pod) {
            match self.claims.get(&key.namespace, &name) {
                Some(present) => check(&pod, &present)?,
                None => self.create(&pod, &claim(&pod, name, template)).await?,
            }
        }
        Ok(Action::Done)
    }

    async fn create(&self, pod: &Pod, claim: &PersistentVolumeClaim) -> Result<(), Error> {
        let key = Key::of(claim);
        let result = self.client.create(claim).await;
        METRICS.0.inc();
        if result.is_err() {
            METRICS.1.inc();
        }
        match result {
            Err(error) if error.reason == Reason::AlreadyExists => {
                check(pod, &self.client.get(&key.namespace, &key.name).await?)
            }
            Err(error) if namespace_is_terminating(&error) => Ok(()),
            Err(error) => {
                let message = format!("ephemeral volume create failed: {error}");
                self.recorder.event(pod, Kind::Warning, "FailedBinding", message);
                Err(error)
            }
            Ok(_) => Ok(()),
        }
    }
}

/// A claim that happens to have the name is not the pod's. Source: `VolumeIsForPod`.
fn check(pod: &Pod, claim: &PersistentVolumeClaim) -> Result<(), Error> {
    if is_controlled_by(&claim.metadata, pod.metadata.uid.as_deref().unwrap_or_default()) {
        return Ok(());
    }
    Err(Error::internal(format!("PVC {} was not created for pod {} (pod is not owner)", Key::of(claim), Key::of(pod))))
}

/// The claims that a pod needs, by name.
fn templates(pod: &Pod) -> impl Iterator<Item = (String, &PersistentVolumeClaimTemplate)> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten()).filter_map(move |volume| {
        let template = volume.ephemeral.as_ref()?.volume_claim_template.as_ref()?;
        Some((format!("{name}-{}", volume.name), template))
    })
}

fn claim(pod: &Pod, name: String, template: &PersistentVolumeClaimTemplate) -> PersistentVolumeClaim {
    let meta = template.metadata.clone().unwrap_or_default();
    PersistentVolumeClaim {
        metadata: ObjectMeta {
            namespace: pod.metadata.namespace.clone(),
            name: Some(name),
            labels: meta.labels,
            annotations: meta.annotations,
            owner_references: Some(vec![controller_reference(pod)]),
            ..ObjectMeta::default()
        },
        spec: Some(template.spec.clone()),
        status: None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    #[test]
    fn a_claim_is_made_of_the_template_and_belongs_to_the_pod() {
        let template = json!({
            "metadata": {"labels": {"of": "scratch"}},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        });
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"namespace": "shop", "name": "web", "uid": "u1"},
            "spec": {"containers": [], "volumes": [
                {"name": "scratch", "ephemeral": {"volumeClaimTemplate": template}}, {"name": "none", "emptyDir": {}}]},
        }))
        .unwrap();
        let made: Vec<_> = templates(&pod).map(|(name, template)| claim(&pod, name, template)).collect();
        assert_eq!(made.len(), 1);
        let metadata = &made[0].metadata;
        assert_eq!((metadata.namespace.as_deref(), metadata.name.as_deref()), (Some("shop"), Some("web-scratch")));
        assert_eq!(metadata.labels.as_ref().unwrap()["of"], "scratch");
        assert!(check(&pod, &made[0]).is_ok());
        let stranger = PersistentVolumeClaim::default();
        assert!(check(&pod, &stranger).is_err());
    }
}
