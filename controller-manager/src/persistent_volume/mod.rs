//! Brings claims and volumes together, asks for volumes where there are none, and does with released ones as their policy
//! says.
//!
//! Watches claims, volumes, classes and pods. Writes claims and volumes, and their statuses.
//! Source: `pkg/controller/volume/persistentvolume` in Kubernetes.
//!
//! | module | what it is |
//! | --- | --- |
//! | `claim` | what is to be done about a claim |
//! | `matching` | which volume a claim gets |
//! | `volume` | what is to be done about a volume, also once it is released |
//! | `binding` | what is written when the two come together or part |
//!
//! ```text
//! volume:  Pending ─▶ Available ─▶ Bound ─▶ Released ─▶ deleted, or Available again
//!                                              └─▶ Failed
//! claim:   Pending ─▶ Bound ─▶ Lost
//! ```
//!
//! A binding is four writes: the volume's claim, its phase, the claim's volume, its phase. Each is derived from what is, so
//! that whoever comes next finishes what was begun. Unlike upstream, which looks at everything every 15 s, a volume that
//! becomes free wakes the claims that wait for it; a recycled volume is emptied without a pod that does so.

mod binding;
mod claim;
mod matching;
mod volume;

use std::{sync::Arc, time::Duration};

use k8s_openapi::{
    api::{
        core::v1::{PersistentVolume, PersistentVolumeClaim, Pod},
        storage::v1::StorageClass,
    },
    apimachinery::pkg::apis::meta::v1::{DeleteOptions, Preconditions},
};
use kubelab_api::{
    Error, Reason,
    meta::{annotation, is_deleting, key},
    pod::node_name,
};
use kubelab_client::{
    Action, Cache, Change, Client, Controller, Object, Recorder, clock, controller::Key, queue::Queue,
};

use self::{
    binding::{claim_asking, claim_in, claim_with, volume_alone, volume_for, volume_in},
    claim::{Step, Telling, asking, waiting_for},
    volume::Reclaim,
};
use crate::{
    Context,
    claims::{
        annotations::BIND_COMPLETED, claim_of, class_of_claim, class_of_volume, has_ended, phase, users, volume_of,
    },
    relation::Relation,
};

const NAME: &str = "persistentvolume-binder-controller";
/// The recorder of these events upstream.
const COMPONENT: &str = "persistentvolume-controller";
/// Upstream has one for claims and one for volumes, as its workers share a store of what they wrote. These do not: two that
/// choose the same volume meet in a conflict.
const WORKERS: usize = 4;
/// How often what waits is looked at again. Source: `--pvclaimbinder-sync-period`.
const RESYNC: Duration = Duration::from_secs(15);

/// Runs the loop.
pub async fn run(context: Context) {
    let pods: Cache<Pod> = context.caches.of();
    let this = Arc::new(Loop {
        client: context.client.clone(),
        recorder: context.recorder(COMPONENT),
        claims: context.caches.of(),
        volumes: context.caches.of(),
        classes: context.caches.of(),
        users: users(&pods),
        queue: Queue::new(NAME),
    });
    tokio::join!(this.claims.synced(), this.volumes.synced(), this.classes.synced(), pods.synced());
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
    claims: Cache<PersistentVolumeClaim>,
    volumes: Cache<PersistentVolume>,
    classes: Cache<StorageClass>,
    users: Relation<Pod>,
    /// Claims; and volumes, whose keys have no namespace.
    queue: Queue<Key>,
}

impl Loop {
    fn watch(&self) {
        let (queue, volumes) = (self.queue.clone(), self.volumes.clone());
        self.claims.on_change(move |change| {
            let claim = change.object();
            queue.add(Key::of(&**claim));
            if matches!(change, Change::Deleted(_)) {
                let key = Key::of(&**claim);
                let held =
                    volumes.list().into_iter().filter(|volume| claim_of(volume).is_some_and(|(of, _)| of == key));
                held.for_each(|volume| queue.add(Key::of(&*volume)));
            }
        });
        let (queue, claims) = (self.queue.clone(), self.claims.clone());
        self.volumes.on_change(move |change| {
            let volume = change.object();
            queue.add(Key::of(&**volume));
            match claim_of(volume) {
                Some((key, _)) => queue.add(key),
                None => waiting(&claims)
                    .filter(|claim| may_have(claim, volume))
                    .for_each(|claim| queue.add(Key::of(&*claim))),
            }
        });
        let (queue, claims) = (self.queue.clone(), self.claims.clone());
        self.classes.on_change(move |change| {
            if !matches!(change, Change::Deleted(_)) {
                waiting(&claims).for_each(|claim| queue.add(Key::of(&*claim)));
            }
        });
    }

    async fn reconcile_claim(&self, key: Key) -> Result<Action, Error> {
        let Some(claim) = self.claims.get(&key.namespace, &key.name) else { return Ok(Action::Done) };
        if is_deleting(&claim.metadata) && annotation(&claim.metadata, BIND_COMPLETED).is_none() {
            return Ok(Action::Done);
        }
        match claim::decide(&claim, &self.volumes, &self.classes.list()) {
            Step::Bind(volume) => return self.bind(&volume, &claim).await,
            Step::GiveClass(name) => {
                let mut claim = (*claim).clone();
                claim.spec.get_or_insert_default().storage_class_name = Some(name);
                self.client.update(&claim).await?;
                return Ok(Action::Done);
            }
            Step::AwaitConsumer => {
                let pods = self.users.naming(&key);
                let unplaced = pods.iter().filter(|pod| !has_ended(pod) && node_name(pod).is_none());
                let names: Vec<&str> = unplaced.filter_map(|pod| pod.metadata.name.as_deref()).collect();
                self.tell(&*claim, waiting_for(&names));
                self.set_claim(&claim, "Pending").await?;
            }
            Step::Provision(class) => {
                if let Some(asking) = claim_asking(&claim, &class.provisioner) {
                    self.client.update(&asking).await?;
                }
                self.tell(&*claim, asking(&class.provisioner));
            }
            Step::CannotProvision(why) => self.tell(&*claim, why),
            Step::Wait(why) => {
                why.into_iter().for_each(|why| self.tell(&*claim, why));
                self.set_claim(&claim, "Pending").await?;
            }
            Step::Lose(why) => return self.lose(&claim, why).await,
        }
        Ok(Action::After(RESYNC))
    }

    async fn bind(&self, volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> Result<Action, Error> {
        let volume = match volume_for(volume, claim) {
            Some(volume) => self.client.update(&volume).await?,
            None => volume.clone(),
        };
        let volume = self.set_volume(volume, "Bound", "").await?;
        let claim = match claim_with(claim, &volume) {
            Some(claim) => self.client.update(&claim).await?,
            None => claim.clone(),
        };
        if let Some(claim) = claim_in(&claim, "Bound", Some(&volume)) {
            self.client.update_status(&claim).await?;
        }
        Ok(Action::Done)
    }

    /// A claim does not come back from being lost, so only the apiserver's own word on its volume is good enough.
    async fn lose(&self, claim: &PersistentVolumeClaim, why: Telling) -> Result<Action, Error> {
        let name = volume_of(claim);
        if !name.is_empty() {
            match self.client.get::<PersistentVolume>("", name).await {
                Ok(volume) if claim_of(&volume).is_none_or(|(_, uid)| uid == claim.metadata.uid.as_deref()) => {
                    return self.bind(&volume, claim).await;
                }
                Err(error) if error.reason != Reason::NotFound => return Err(error),
                _ => {}
            }
        }
        let is_new = claim.status.as_ref().and_then(|status| status.phase.as_deref()) != Some("Lost");
        if is_new {
            self.set_claim(claim, "Lost").await?;
            self.tell(claim, why);
        }
        Ok(Action::Done)
    }

    async fn reconcile_volume(&self, key: Key) -> Result<Action, Error> {
        let Some(volume) = self.volumes.get("", &key.name) else { return Ok(Action::Done) };
        let claim = self.claim_for(&volume).await?;
        match volume::decide(&volume, claim.as_deref()) {
            volume::Step::Phase(phase) => drop(self.set_volume((*volume).clone(), phase, "").await?),
            volume::Step::LookAtClaim => claim.iter().for_each(|claim| self.queue.add(Key::of(&**claim))),
            volume::Step::Mismatch => {
                let Some(claim) = claim else { return Ok(Action::Done) };
                let name = claim.metadata.name.as_deref().unwrap_or_default();
                let message = format!(
                    "Cannot bind PersistentVolume to requested PersistentVolumeClaim {name:?} due to incompatible volumeMode."
                );
                self.tell(&*volume, Telling::warning("VolumeMismatch", message));
                let message = format!(
                    "Cannot bind PersistentVolume {:?} to requested PersistentVolumeClaim due to incompatible volumeMode.",
                    key.name
                );
                self.tell(&*claim, Telling::warning("VolumeMismatch", message));
            }
            volume::Step::Release => return self.release(&volume).await,
            volume::Step::Unbind => self.unbind(&volume).await?,
        }
        Ok(Action::Done)
    }

    /// A volume's claim. Before a volume is released, only the apiserver's own word that its claim is gone is good enough:
    /// the volume may have been made for a claim that is not seen yet.
    async fn claim_for(&self, volume: &PersistentVolume) -> Result<Option<Arc<PersistentVolumeClaim>>, Error> {
        let Some((key, Some(uid))) = claim_of(volume) else { return Ok(None) };
        let seen = self.claims.get(&key.namespace, &key.name);
        if seen.as_ref().is_some_and(|claim| claim.metadata.uid.as_deref() == Some(uid))
            || matches!(phase(volume), "Released" | "Failed")
        {
            return Ok(seen);
        }
        match self.client.get(&key.namespace, &key.name).await {
            Ok(claim) => Ok(Some(Arc::new(claim))),
            Err(error) if error.reason == Reason::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn release(&self, volume: &PersistentVolume) -> Result<Action, Error> {
        let volume = match phase(volume) {
            // That it failed stays to be seen.
            "Released" | "Failed" => volume.clone(),
            _ => self.set_volume(volume.clone(), "Released", "").await?,
        };
        let users = claim_of(&volume).map(|(claim, _)| self.users_of(&claim)).unwrap_or_default();
        match volume::reclaim(&volume, &users) {
            Reclaim::Leave => {}
            Reclaim::Delete if is_deleting(&volume.metadata) => {}
            Reclaim::Delete => {
                let name = volume.metadata.name.as_deref().unwrap_or_default();
                let preconditions = Some(Preconditions { uid: volume.metadata.uid.clone(), resource_version: None });
                let options = DeleteOptions { preconditions, ..DeleteOptions::default() };
                match self.client.delete::<PersistentVolume>("", name, options).await {
                    Err(error) if error.reason != Reason::NotFound => return Err(error),
                    _ => {}
                }
            }
            Reclaim::Recycle => {
                self.unbind(&volume).await?;
                self.tell(&volume, Telling::normal("VolumeRecycled", "Volume recycled"));
            }
            Reclaim::Postpone(why) => {
                self.tell(&volume, why);
                return Ok(Action::After(RESYNC));
            }
            Reclaim::Fail(why) if phase(&volume) == "Failed" => drop(why),
            Reclaim::Fail(why) => {
                let volume = self.set_volume(volume, "Failed", &why.message).await?;
                self.tell(&volume, why);
            }
        }
        Ok(Action::Done)
    }

    /// The pods that use a claim that is gone. Once a namesake of it is there, they are that one's.
    fn users_of(&self, claim: &Key) -> Vec<String> {
        if self.claims.get(&claim.namespace, &claim.name).is_some() {
            return Vec::new();
        }
        let pods = self.users.naming(claim);
        pods.iter().filter(|pod| !has_ended(pod)).map(|pod| key(&pod.metadata)).collect()
    }

    async fn unbind(&self, volume: &PersistentVolume) -> Result<(), Error> {
        let volume = self.client.update(&volume_alone(volume)).await?;
        self.set_volume(volume, "Available", "").await.map(drop)
    }

    async fn set_volume(
        &self,
        volume: PersistentVolume,
        phase: &str,
        message: &str,
    ) -> Result<PersistentVolume, Error> {
        match volume_in(&volume, phase, message, &clock::now()) {
            Some(volume) => self.client.update_status(&volume).await,
            None => Ok(volume),
        }
    }

    async fn set_claim(&self, claim: &PersistentVolumeClaim, phase: &str) -> Result<(), Error> {
        match claim_in(claim, phase, None) {
            Some(claim) => self.client.update_status(&claim).await.map(drop),
            None => Ok(()),
        }
    }

    fn tell<K: Object>(&self, object: &K, what: Telling) {
        self.recorder.event(object, what.kind, what.reason, what.message);
    }
}

/// The claims that were never bound.
fn waiting(claims: &Cache<PersistentVolumeClaim>) -> impl Iterator<Item = Arc<PersistentVolumeClaim>> {
    claims.list().into_iter().filter(|claim| annotation(&claim.metadata, BIND_COMPLETED).is_none())
}

/// A volume that is free may be what the claim waits for.
fn may_have(claim: &PersistentVolumeClaim, volume: &PersistentVolume) -> bool {
    match volume_of(claim) {
        "" => phase(volume) == "Available" && class_of_volume(volume) == class_of_claim(claim),
        name => Some(name) == volume.metadata.name.as_deref(),
    }
}
