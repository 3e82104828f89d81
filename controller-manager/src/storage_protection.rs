//! Lets go of claims that no pod uses, and of volumes that no claim has, once they are being deleted.
//!
//! Watches claims, volumes and pods; removes the finalizers that the apiserver gave to claims and volumes.
//! Source: `pkg/controller/volume/pvcprotection`, `pkg/controller/volume/pvprotection` in Kubernetes.

use k8s_openapi::{
    api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kubelab_api::{
    Error, Reason,
    meta::is_deleting,
    pod::{is_terminal, node_name},
    well_known::finalizer::{PV_PROTECTION, PVC_PROTECTION},
};
use kubelab_client::{Action, Cache, Change, Client, Controller, controller::Key, queue::Queue};

use crate::{Context, claims::claims_of};

const CLAIMS: &str = "persistentvolumeclaim-protection-controller";
const VOLUMES: &str = "persistentvolume-protection-controller";

/// Runs the loop for claims.
pub async fn run_for_claims(context: Context) {
    let (claims, pods): (Cache<PersistentVolumeClaim>, Cache<Pod>) = (context.caches.of(), context.caches.of());
    tokio::join!(claims.synced(), pods.synced());
    let queue = Queue::new("pvcprotection");
    let changed = queue.clone();
    claims.on_change(move |change| {
        if is_released(&change.object().metadata, PVC_PROTECTION) {
            changed.add(Key::of(&**change.object()));
        }
    });
    let freed = queue.clone();
    pods.on_change(move |change| {
        // A pod that has ended, or is gone, may have been the last one to use its claims.
        let pod = change.object();
        if matches!(change, Change::Deleted(_)) || is_terminal(pod) {
            let namespace = pod.metadata.namespace.clone().unwrap_or_default();
            claims_of(pod).for_each(|name| freed.add(Key { namespace: namespace.clone(), name }));
        }
    });
    let client = context.client;
    Controller::new(CLAIMS, queue).run(1, move |key| release_claim(client.clone(), claims.clone(), key)).await;
}

/// Only the apiserver's own word on the pods is good enough to let go of a claim.
async fn release_claim(client: Client, claims: Cache<PersistentVolumeClaim>, key: Key) -> Result<Action, Error> {
    let Some(claim) = claims.get(&key.namespace, &key.name) else { return Ok(Action::Done) };
    if !is_released(&claim.metadata, PVC_PROTECTION) {
        return Ok(Action::Done);
    }
    let pods: Vec<Pod> = client.list(&key.namespace).await?;
    if pods.iter().any(|pod| uses(pod, &key.name)) {
        return Ok(Action::Done);
    }
    let mut claim = (*claim).clone();
    remove(&mut claim.metadata, PVC_PROTECTION);
    done(client.update(&claim).await)
}

/// Runs the loop for volumes.
pub async fn run_for_volumes(context: Context) {
    let volumes: Cache<PersistentVolume> = context.caches.of();
    volumes.synced().await;
    let queue = Queue::new("pvprotection");
    let changed = queue.clone();
    volumes.on_change(move |change| {
        if is_released(&change.object().metadata, PV_PROTECTION) {
            changed.add(Key::of(&**change.object()));
        }
    });
    let client = context.client;
    Controller::new(VOLUMES, queue).run(1, move |key| release_volume(client.clone(), volumes.clone(), key)).await;
}

async fn release_volume(client: Client, volumes: Cache<PersistentVolume>, key: Key) -> Result<Action, Error> {
    let Some(volume) = volumes.get("", &key.name) else { return Ok(Action::Done) };
    let bound = volume.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Bound");
    if bound || !is_released(&volume.metadata, PV_PROTECTION) {
        return Ok(Action::Done);
    }
    let mut volume = (*volume).clone();
    remove(&mut volume.metadata, PV_PROTECTION);
    done(client.update(&volume).await)
}

fn done<T>(written: Result<T, Error>) -> Result<Action, Error> {
    match written {
        Err(error) if error.reason != Reason::NotFound => Err(error),
        _ => Ok(Action::Done),
    }
}

/// It is being deleted, and waits for this loop.
fn is_released(meta: &ObjectMeta, finalizer: &str) -> bool {
    is_deleting(meta) && meta.finalizers.iter().flatten().any(|present| present == finalizer)
}

fn remove(meta: &mut ObjectMeta, finalizer: &str) {
    if let Some(finalizers) = &mut meta.finalizers {
        finalizers.retain(|present| present != finalizer);
    }
}

/// The pod is on a node, has not ended, and uses the claim. Source: `podUsesPVC`, `podIsShutDown`.
fn uses(pod: &Pod, claim: &str) -> bool {
    node_name(pod).is_some() && !is_terminal(pod) && claims_of(pod).any(|name| name == claim)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_pod_uses_its_claims_until_it_has_ended() {
        let pod = |node: Value, phase: &str| -> Pod {
            serde_json::from_value(json!({
                "metadata": {"name": "db"},
                "spec": {"nodeName": node, "containers": [], "volumes": [
                    {"name": "data", "persistentVolumeClaim": {"claimName": "disk"}}, {"name": "tmp", "ephemeral": {}}]},
                "status": {"phase": phase},
            }))
            .unwrap()
        };
        for (pod, claim, wanted) in [
            (pod(json!("n1"), "Running"), "disk", true),
            (pod(json!("n1"), "Running"), "db-tmp", true),
            (pod(json!("n1"), "Running"), "tmp", false),
            (pod(json!("n1"), "Succeeded"), "disk", false),
            (pod(Value::Null, "Pending"), "disk", false),
        ] {
            assert_eq!(uses(&pod, claim), wanted, "{pod:?} {claim}");
        }
    }

    #[test]
    fn only_what_is_being_deleted_is_released() {
        let mut meta = ObjectMeta { finalizers: Some(vec![PVC_PROTECTION.into(), "a/b".into()]), ..Default::default() };
        assert!(!is_released(&meta, PVC_PROTECTION));
        meta.deletion_timestamp = Some(kubelab_client::clock::now());
        assert!(is_released(&meta, PVC_PROTECTION) && !is_released(&meta, PV_PROTECTION));
        remove(&mut meta, PVC_PROTECTION);
        assert_eq!(meta.finalizers, Some(vec!["a/b".to_owned()]));
    }
}
