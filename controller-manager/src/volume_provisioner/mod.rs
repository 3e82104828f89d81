//! Makes volumes for claims, and deletes them again: what the provisioners of a real cluster do beside Kubernetes, each for
//! the classes that name it. This one does it for all of them, whatever their name, but for
//! `kubernetes.io/no-provisioner`. What it makes are CSI volumes, whose content the simulated nodes keep.
//!
//! Watches claims, volumes, classes, nodes and attachments. Creates and deletes volumes.
//! Source: `kubernetes-sigs/sig-storage-lib-external-provisioner` and `kubernetes-csi/external-provisioner`.
//!
//! | module | what it is |
//! | --- | --- |
//! | `volume` | the volume that is made for a claim |
//! | `content` | what nodes keep of a volume |
//!
//! A class can say that it fails, to be looked at: with the parameter `kubelab.dev/provision-error`.

mod content;
mod volume;

use std::{path::PathBuf, sync::Arc, time::Duration};

use k8s_openapi::{
    api::{
        core::v1::{Node, PersistentVolume, PersistentVolumeClaim},
        storage::v1::{StorageClass, VolumeAttachment},
    },
    apimachinery::pkg::apis::meta::v1::{DeleteOptions, Preconditions},
};
use kubelab_api::{
    Error, Reason,
    meta::{annotation, has_finalizer, is_deleting, key},
};
use kubelab_client::{
    Action, Cache, Change, Client, Controller, Recorder, controller::Key, queue::Queue, recorder::Kind,
};

use self::volume::{FINALIZER, NotThere, name_for, volume_for};
use crate::{
    Context,
    claims::{
        NO_PROVISIONER,
        annotations::{PROVISIONED_BY, PROVISIONER, PROVISIONER_BETA, SELECTED_NODE},
        class_of_claim, phase, reclaim_policy, volume_of, waits_for_consumer,
    },
};

const NAME: &str = "volume-provisioner";
/// Upstream's recorders bear their driver's and their process' names.
const COMPONENT: &str = "kubelab-provisioner";
const WORKERS: usize = 4;
/// How soon a failed attempt is made again.
const RETRY: Duration = Duration::from_secs(15);
/// The parameter of a class whose volumes cannot be made, and why.
const FAILS: &str = "kubelab.dev/provision-error";

/// Runs the loop.
pub async fn run(context: Context) {
    let this = Arc::new(Loop {
        client: context.client.clone(),
        recorder: context.recorder(COMPONENT),
        folder: context.options.volumes_dir.clone(),
        claims: context.caches.of(),
        volumes: context.caches.of(),
        classes: context.caches.of(),
        nodes: context.caches.of(),
        attachments: context.caches.of(),
        queue: Queue::new(NAME),
    });
    tokio::join!(
        this.claims.synced(),
        this.volumes.synced(),
        this.classes.synced(),
        this.nodes.synced(),
        this.attachments.synced()
    );
    this.watch();
    Controller::new(NAME, this.queue.clone())
        .run(WORKERS, move |key| {
            let this = Arc::clone(&this);
            async move {
                if key.namespace.is_empty() {
                    this.reconcile_volume(key).await
                } else {
                    this.reconcile_claim(key).await
                }
            }
        })
        .await;
}

struct Loop {
    client: Client,
    recorder: Recorder,
    /// Where nodes keep the content of volumes.
    folder: Option<PathBuf>,
    claims: Cache<PersistentVolumeClaim>,
    volumes: Cache<PersistentVolume>,
    classes: Cache<StorageClass>,
    nodes: Cache<Node>,
    attachments: Cache<VolumeAttachment>,
    /// Claims; and volumes, whose keys have no namespace.
    queue: Queue<Key>,
}

impl Loop {
    fn watch(&self) {
        let queue = self.queue.clone();
        self.claims.on_change(move |change| {
            let claim = change.object();
            if !matches!(change, Change::Deleted(_)) && wants_volume(claim) {
                queue.add(Key::of(&**claim));
            }
        });
        let queue = self.queue.clone();
        self.volumes.on_change(move |change| {
            if is_ours(change.object()) {
                queue.add(Key::of(&**change.object()));
            }
        });
        let queue = self.queue.clone();
        self.attachments.on_change(move |change| {
            // A volume may have waited for this to be deleted.
            if let Change::Deleted(attachment) = change
                && let Some(name) = attachment.spec.source.persistent_volume_name.clone()
            {
                queue.add(Key { namespace: String::new(), name });
            }
        });
    }

    async fn reconcile_claim(&self, key: Key) -> Result<Action, Error> {
        let Some(claim) = self.claims.get(&key.namespace, &key.name).filter(|claim| wants_volume(claim)) else {
            return Ok(Action::Done);
        };
        let name = class_of_claim(&claim);
        let Some(class) = self.classes.get("", name) else { return Ok(Action::After(RETRY)) };
        let selected = annotation(&claim.metadata, SELECTED_NODE);
        let waits = waits_for_consumer(&class) && selected.is_none();
        if waits || self.volumes.get("", &name_for(&claim)).is_some() {
            return Ok(Action::Done);
        }
        let node = match selected {
            None => None,
            Some(name) => match self.node(name).await? {
                Some(node) => Some(node),
                None => return self.reschedule(&claim, name, &format!("node {name:?} not found")).await,
            },
        };
        let about = format!(
            "External provisioner is provisioning volume for claim {:?}",
            kubelab_api::meta::key(&claim.metadata)
        );
        self.recorder.event(&*claim, Kind::Normal, "Provisioning", about);
        if let Some(why) = class.parameters.as_ref().and_then(|parameters| parameters.get(FAILS)) {
            self.tell_of_failure(&claim, why);
            return Ok(Action::After(RETRY));
        }
        let volume = match volume_for(&claim, &class, node.as_deref()) {
            Ok(volume) => volume,
            Err(NotThere(why)) => return self.reschedule(&claim, selected.unwrap_or_default(), &why).await,
        };
        match self.client.create(&volume).await {
            Ok(made) => {
                let name = made.metadata.name.as_deref().unwrap_or_default();
                let message = format!("Successfully provisioned volume {name}");
                self.recorder.event(&*claim, Kind::Normal, "ProvisioningSucceeded", message);
                Ok(Action::Done)
            }
            Err(error) if error.reason == Reason::AlreadyExists => Ok(Action::Done),
            Err(error) => {
                self.tell_of_failure(&claim, &error.message);
                Err(error)
            }
        }
    }

    /// Only the apiserver knows that a node does not exist.
    async fn node(&self, name: &str) -> Result<Option<Arc<Node>>, Error> {
        if let Some(node) = self.nodes.get("", name) {
            return Ok(Some(node));
        }
        match self.client.get("", name).await {
            Ok(node) => Ok(Some(Arc::new(node))),
            Err(error) if error.reason == Reason::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Lets the scheduler choose another node.
    async fn reschedule(&self, claim: &PersistentVolumeClaim, node: &str, why: &str) -> Result<Action, Error> {
        self.tell_of_failure(claim, why);
        tracing::info!(claim = %Key::of(claim), node, why, "no volume can be made there: the scheduler may choose again");
        let mut claim = claim.clone();
        claim.metadata.annotations.get_or_insert_default().remove(SELECTED_NODE);
        self.client.update(&claim).await?;
        Ok(Action::Done)
    }

    fn tell_of_failure(&self, claim: &PersistentVolumeClaim, why: &str) {
        let message = format!("failed to provision volume with StorageClass {:?}: {why}", class_of_claim(claim));
        self.recorder.event(claim, Kind::Warning, "ProvisioningFailed", message);
    }

    async fn reconcile_volume(&self, key: Key) -> Result<Action, Error> {
        let Some(volume) = self.volumes.get("", &key.name).filter(|volume| is_ours(volume)) else {
            return Ok(Action::Done);
        };
        match next(&volume) {
            Next::Nothing => Ok(Action::Done),
            Next::Protect | Next::Unprotect => {
                self.set_finalizer(&volume, next(&volume) == Next::Protect).await?;
                Ok(Action::Done)
            }
            Next::Delete => {
                let holder = self
                    .attachments
                    .list()
                    .into_iter()
                    .find(|attachment| attachment.spec.source.persistent_volume_name.as_deref() == Some(&key.name));
                if let Some(holder) = holder {
                    let message =
                        format!("persistentvolume {} is still attached to node {}", key.name, holder.spec.node_name);
                    self.recorder.event(&*volume, Kind::Warning, "VolumeFailedDelete", message);
                    return Ok(Action::After(RETRY));
                }
                self.delete(&volume).await?;
                Ok(Action::Done)
            }
        }
    }

    /// Its object stays until its content is deleted.
    async fn delete(&self, volume: &PersistentVolume) -> Result<(), Error> {
        if is_deleting(&volume.metadata) {
            if let Some(folder) = &self.folder {
                content::delete(folder, volume);
            }
            return self.set_finalizer(volume, false).await;
        }
        let preconditions = Some(Preconditions { uid: volume.metadata.uid.clone(), resource_version: None });
        let options = DeleteOptions { preconditions, ..DeleteOptions::default() };
        match self.client.delete::<PersistentVolume>("", &key(&volume.metadata), options).await {
            Err(error) if error.reason != Reason::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    async fn set_finalizer(&self, volume: &PersistentVolume, present: bool) -> Result<(), Error> {
        let mut volume = volume.clone();
        let finalizers = volume.metadata.finalizers.get_or_insert_default();
        finalizers.retain(|finalizer| finalizer != FINALIZER);
        if present {
            finalizers.push(FINALIZER.to_owned());
        }
        match self.client.update(&volume).await {
            Err(error) if error.reason != Reason::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// The claim asks for a volume to be made. Source: `shouldProvision`.
fn wants_volume(claim: &PersistentVolumeClaim) -> bool {
    let provisioner =
        annotation(&claim.metadata, PROVISIONER).or_else(|| annotation(&claim.metadata, PROVISIONER_BETA));
    // Of the things that a volume can be filled from, this one knows other volumes.
    let source = claim.spec.as_ref().and_then(|spec| spec.data_source_ref.as_ref());
    provisioner.is_some_and(|provisioner| provisioner != NO_PROVISIONER)
        && source.is_none_or(|source| source.kind == "PersistentVolumeClaim")
        && volume_of(claim).is_empty()
        && !is_deleting(&claim.metadata)
}

/// The volume was made here.
fn is_ours(volume: &PersistentVolume) -> bool {
    annotation(&volume.metadata, PROVISIONED_BY).is_some_and(|by| !by.is_empty() && by != NO_PROVISIONER)
}

/// What is to be done about a volume.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Nothing,
    /// It may be deleted one day, and must not vanish before its content.
    Protect,
    /// It is to be kept: there is nothing to wait for.
    Unprotect,
    Delete,
}

/// Source: `handleProtectionFinalizer`, `shouldDelete`.
fn next(volume: &PersistentVolume) -> Next {
    let meta = &volume.metadata;
    let (deletable, protected) = (reclaim_policy(volume) == "Delete", has_finalizer(meta, FINALIZER));
    match phase(volume) {
        _ if !deletable && protected => Next::Unprotect,
        "Bound" if deletable && !protected && !is_deleting(meta) => Next::Protect,
        "Released" if deletable && (protected || !is_deleting(meta)) => Next::Delete,
        _ => Next::Nothing,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    #[test]
    fn a_volume_is_deleted_once_it_is_released() {
        for (phase, policy, protected, deleting, expected) in [
            ("Bound", "Delete", true, false, Next::Nothing),
            ("Bound", "Delete", false, false, Next::Protect),
            ("Bound", "Delete", true, true, Next::Nothing),
            ("Bound", "Retain", true, false, Next::Unprotect),
            ("Released", "Retain", false, false, Next::Nothing),
            ("Released", "Delete", true, false, Next::Delete),
            ("Released", "Delete", true, true, Next::Delete),
            ("Released", "Delete", false, true, Next::Nothing),
            ("Failed", "Delete", true, false, Next::Nothing),
        ] {
            let volume = serde_json::from_value(json!({
                "metadata": {
                    "name": "pv",
                    "finalizers": if protected { vec![FINALIZER] } else { vec![] },
                    "deletionTimestamp": deleting.then_some("2026-11-20T12:00:00Z"),
                },
                "spec": {"persistentVolumeReclaimPolicy": policy},
                "status": {"phase": phase},
            }));
            assert_eq!(next(&volume.unwrap()), expected, "{phase} {policy} {protected} {deleting}");
        }
    }

    #[test]
    fn a_claim_asks_by_an_annotation() {
        for (provisioner, volume, source, expected) in [
            (None, "", None, false),
            (Some("disk.example.com"), "", None, true),
            (Some(NO_PROVISIONER), "", None, false),
            (Some("disk.example.com"), "pv", None, false),
            (Some("disk.example.com"), "", Some("PersistentVolumeClaim"), true),
            (Some("disk.example.com"), "", Some("VolumeSnapshot"), false),
        ] {
            let claim = serde_json::from_value(json!({
                "metadata": {"name": "data", "annotations": provisioner.map(|by| json!({PROVISIONER: by}))},
                "spec": {"volumeName": volume, "dataSourceRef": source.map(|kind| json!({"kind": kind, "name": "x"}))},
            }));
            assert_eq!(wants_volume(&claim.unwrap()), expected, "{provisioner:?} {volume} {source:?}");
        }
    }
}
