//! Does what VolumeAttachments ask for: what the attacher of each driver does beside a real cluster. The simulated drivers
//! attach and detach at once, and never fail.
//!
//! Watches attachments, volumes and nodes. Writes the statuses of attachments, and finalizers.
//! Source: `kubernetes-csi/external-attacher`.

use std::sync::Arc;

use k8s_openapi::{
    api::{
        core::v1::{Node, PersistentVolume},
        storage::v1::{VolumeAttachment, VolumeAttachmentStatus},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kubelab_api::{
    Error, Reason,
    meta::{has_finalizer, is_deleting},
};
use kubelab_client::{Action, Cache, Change, Client, Controller, controller::Key, queue::Queue};

use super::{by_volume, cluster_key, names};
use crate::{Context, relation::Relation};

const NAME: &str = "volume-attacher";
const WORKERS: usize = 4;

/// Runs the loop.
pub async fn run(context: Context) {
    let attachments: Cache<VolumeAttachment> = context.caches.of();
    let this = Arc::new(Loop {
        client: context.client.clone(),
        by_volume: by_volume(&attachments),
        attachments,
        volumes: context.caches.of(),
        nodes: context.caches.of(),
        queue: Queue::new(NAME),
    });
    tokio::join!(this.attachments.synced(), this.volumes.synced(), this.nodes.synced());
    this.watch();
    Controller::new(NAME, this.queue.clone())
        .run_on(WORKERS, this, |this, key| async move { this.reconcile(key).await })
        .await;
}

struct Loop {
    client: Client,
    attachments: Cache<VolumeAttachment>,
    by_volume: Relation<VolumeAttachment>,
    volumes: Cache<PersistentVolume>,
    nodes: Cache<Node>,
    /// Volumes: what is done about one of their attachments concerns the others.
    queue: Queue<Key>,
}

impl Loop {
    fn watch(&self) {
        let queue = self.queue.clone();
        self.attachments.on_change(move |change| {
            change.object().spec.source.persistent_volume_name.iter().for_each(|name| queue.add(cluster_key(name)));
        });
        let queue = self.queue.clone();
        self.volumes.on_change(move |change| {
            let volume = change.object();
            if matches!(change, Change::Added(_)) || is_deleting(&volume.metadata) {
                queue.add(Key::of(&**volume));
            }
        });
    }

    async fn reconcile(&self, key: Key) -> Result<Action, Error> {
        let volume = self.volumes.get("", &key.name);
        let attachments = self.by_volume.naming(&key);
        for attachment in &attachments {
            if is_deleting(&attachment.metadata) {
                self.detach(attachment).await?;
            } else if let Some(volume) = volume.as_ref().filter(|volume| !is_deleting(&volume.metadata)) {
                self.attach(attachment, volume).await?;
            }
        }
        if let Some(volume) = volume.filter(|volume| is_deleting(&volume.metadata) && attachments.is_empty()) {
            self.let_go(&volume).await?;
        }
        Ok(Action::Done)
    }

    async fn attach(&self, attachment: &VolumeAttachment, volume: &PersistentVolume) -> Result<(), Error> {
        let driver = &attachment.spec.attacher;
        let is_attached = attachment.status.as_ref().is_some_and(|status| status.attached);
        let is_ours = names::source(volume).is_some_and(|source| source.driver == *driver);
        // Nothing can be attached to a node that is not there.
        if is_attached || !is_ours || self.nodes.get("", &attachment.spec.node_name).is_none() {
            return Ok(());
        }
        let finalizer = names::finalizer(driver);
        if let Some(metadata) = with(&volume.metadata, &finalizer) {
            self.client.update(&PersistentVolume { metadata, ..volume.clone() }).await?;
        }
        let mut attachment = attachment.clone();
        if let Some(metadata) = with(&attachment.metadata, &finalizer) {
            attachment = self.client.update(&VolumeAttachment { metadata, ..attachment }).await?;
        }
        attachment.status = Some(VolumeAttachmentStatus { attached: true, ..VolumeAttachmentStatus::default() });
        self.client.update_status(&attachment).await.map(drop)
    }

    async fn detach(&self, attachment: &VolumeAttachment) -> Result<(), Error> {
        let finalizer = names::finalizer(&attachment.spec.attacher);
        if !has_finalizer(&attachment.metadata, &finalizer) {
            return Ok(());
        }
        let mut attachment = attachment.clone();
        if attachment.status.as_ref().is_some_and(|status| status.attached) {
            attachment.status = Some(VolumeAttachmentStatus::default());
            attachment = self.client.update_status(&attachment).await?;
        }
        attachment.metadata.finalizers.iter_mut().for_each(|finalizers| finalizers.retain(|f| *f != finalizer));
        match self.client.update(&attachment).await {
            Err(error) if error.reason != Reason::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// A volume that is attached nowhere may go.
    async fn let_go(&self, volume: &PersistentVolume) -> Result<(), Error> {
        let Some(source) = names::source(volume) else { return Ok(()) };
        let finalizer = names::finalizer(&source.driver);
        if !has_finalizer(&volume.metadata, &finalizer) {
            return Ok(());
        }
        let mut volume = volume.clone();
        volume.metadata.finalizers.iter_mut().for_each(|finalizers| finalizers.retain(|f| *f != finalizer));
        match self.client.update(&volume).await {
            Err(error) if error.reason != Reason::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// The metadata with this finalizer, if it lacks it.
fn with(meta: &ObjectMeta, finalizer: &str) -> Option<ObjectMeta> {
    if has_finalizer(meta, finalizer) {
        return None;
    }
    let mut meta = meta.clone();
    meta.finalizers.get_or_insert_default().push(finalizer.to_owned());
    Some(meta)
}
