//! Carrying out what was decided, and waiting until it is so. Source: `BindPodVolumes`, `checkBindings`.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::{ObjectReference, PersistentVolume, PersistentVolumeClaim};
use kubelab_api::{
    meta::annotation,
    // The binder may undo what a controller did, but not what a person did.
    volume::annotations::{BOUND_BY_CONTROLLER, SELECTED_NODE},
};
use kubelab_client::clock;

use super::claims::{Decision, is_bound};
use crate::framework::{Handle, Objects};

/// What will be written.
#[derive(Default)]
pub struct Bindings {
    /// Volumes that name their claims.
    volumes: Vec<(Arc<PersistentVolume>, Arc<PersistentVolumeClaim>)>,
    /// Claims that name their node.
    claims: Vec<Arc<PersistentVolumeClaim>>,
}

impl Bindings {
    /// What the decisions come to on this node.
    pub fn of(decisions: &[Decision], node: &str) -> Self {
        let mut bindings = Self::default();
        for decision in decisions {
            match decision {
                Decision::Bind(claim, volume) => {
                    bindings.volumes.push((Arc::new(naming_claim(volume, claim)), claim.clone()));
                }
                Decision::Provision(claim) => {
                    let mut claim = (**claim).clone();
                    let annotations = claim.metadata.annotations.get_or_insert_default();
                    annotations.insert(SELECTED_NODE.to_owned(), node.to_owned());
                    bindings.claims.push(Arc::new(claim));
                }
            }
        }
        bindings
    }

    /// There is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.volumes.is_empty() && self.claims.is_empty()
    }

    /// Others are to see it as done.
    pub fn assume(&self, objects: &Objects) {
        self.volumes.iter().for_each(|(volume, _)| objects.volumes.assume(volume.clone()));
        self.claims.iter().for_each(|claim| objects.claims.assume(claim.clone()));
    }

    /// Others are to see what is.
    pub fn restore(&self, objects: &Objects) {
        self.volumes.iter().for_each(|(volume, _)| objects.volumes.restore(volume));
        self.claims.iter().for_each(|claim| objects.claims.restore(claim));
    }
}

fn naming_claim(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> PersistentVolume {
    let mut volume = volume.clone();
    let annotations = volume.metadata.annotations.get_or_insert_default();
    let spec = volume.spec.get_or_insert_default();
    if spec.claim_ref.is_none() {
        annotations.insert(BOUND_BY_CONTROLLER.to_owned(), "yes".to_owned());
    }
    let meta = &claim.metadata;
    spec.claim_ref = Some(ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("PersistentVolumeClaim".to_owned()),
        namespace: meta.namespace.clone(),
        name: meta.name.clone(),
        uid: meta.uid.clone(),
        resource_version: meta.resource_version.clone(),
        field_path: None,
    });
    volume
}

/// Writes it, and waits until the binder has bound all claims. Errors are told to the pod's owner.
pub async fn bind(bindings: &Bindings, node: &str, handle: &Handle, timeout: Duration) -> Result<(), String> {
    for (volume, _) in &bindings.volumes {
        handle.client.update(&**volume).await.map_err(|error| error.to_string())?;
    }
    for claim in &bindings.claims {
        // Another attempt may have chosen the same node.
        if objects_say(handle, claim) != Some(node.to_owned()) {
            handle.client.update(&**claim).await.map_err(|error| error.to_string())?;
        }
    }
    let deadline = clock::instant() + timeout;
    let mut chosen = false;
    loop {
        let changed = handle.changed.notified();
        tokio::pin!(changed);
        changed.as_mut().enable();
        match check(bindings, node, &handle.objects, &mut chosen) {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(why) => return Err(format!("binding volumes: {why}")),
        }
        tokio::select! {
            () = changed => {}
            () = clock::sleep_until(deadline) => return Err("binding volumes: context deadline exceeded".to_owned()),
        }
    }
}

fn objects_say(handle: &Handle, claim: &PersistentVolumeClaim) -> Option<String> {
    let meta = &claim.metadata;
    let real = handle.objects.claims.get_real(meta.namespace.as_deref()?, meta.name.as_deref()?)?;
    annotation(&real.metadata, SELECTED_NODE).map(str::to_owned)
}

/// All is bound, is not yet, or cannot be. `chosen` becomes true once the mirror shows that the claims name the node: a
/// provisioner that gives up takes the name away again.
pub fn check(bindings: &Bindings, node: &str, objects: &Objects, chosen: &mut bool) -> Result<bool, String> {
    let real = |claim: &PersistentVolumeClaim| {
        let meta = &claim.metadata;
        let name = meta.name.as_deref().unwrap_or_default();
        objects
            .claims
            .get_real(meta.namespace.as_deref().unwrap_or_default(), name)
            .ok_or_else(|| format!("failed to check provisioning pvc: could not find PVC {name:?}"))
    };
    let mut bound = true;
    for (volume, claim) in &bindings.volumes {
        let name = volume.metadata.name.as_deref().unwrap_or_default();
        let present =
            objects.volumes.get("", name).ok_or_else(|| format!("failed to check binding: {name:?} is gone"))?;
        if present.spec.as_ref().is_none_or(|spec| spec.claim_ref.is_none()) {
            return Err(format!("ClaimRef got reset for pv {name:?}"));
        }
        bound &= is_bound(&*real(claim)?);
    }
    let mut named = true;
    for claim in &bindings.claims {
        let (present, name) = (real(claim)?, claim.metadata.name.as_deref().unwrap_or_default());
        match annotation(&present.metadata, SELECTED_NODE) {
            Some(selected) if selected == node => {}
            _ if *chosen => return Err(format!("provisioning failed for PVC {name:?}")),
            _ => named = false,
        }
        bound &= is_bound(&present);
        let volume = present.spec.as_ref().and_then(|spec| spec.volume_name.as_deref()).unwrap_or_default();
        if is_bound(&present) && objects.volumes.get("", volume).is_none() {
            // The mirror of volumes is late.
            bound = false;
        }
    }
    *chosen |= named;
    Ok(bound && named)
}
