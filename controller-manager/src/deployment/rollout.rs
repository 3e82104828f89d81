//! One deployment and its replica sets while they are brought one step further.

use std::{cmp::Reverse, sync::Arc};

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentStatus, ReplicaSet},
        core::v1::Pod,
    },
    apimachinery::pkg::apis::meta::v1::{DeleteOptions, Preconditions},
};
use kubelab_api::{Error, Reason, hash, meta::controller_of, pod::is_terminal, well_known::annotation::REVISION};
use kubelab_client::{Cache, Client, Patch, Recorder, clock, controller::Key, recorder::Kind};
use serde_json::json;

use super::{
    limits::{Limits, replicas},
    proportional::{self, Share},
    revisions,
    rolling::{self, Size},
    status::{self, PROGRESSING, available, present, wanted},
};
use crate::pods::namespace_is_terminating;

/// A deployment with the replica set of its present template and all others, oldest first.
pub struct Rollout<'a> {
    client: &'a Client,
    recorder: &'a Recorder,
    deployment: Deployment,
    /// The status as it is stored: conditions that are set on the way are written together, at the end.
    stored: Option<DeploymentStatus>,
    new: Option<Arc<ReplicaSet>>,
    old: Vec<Arc<ReplicaSet>>,
}

impl<'a> Rollout<'a> {
    /// A deployment with all its replica sets.
    pub fn of(client: &'a Client, recorder: &'a Recorder, deployment: &Deployment, sets: Vec<Arc<ReplicaSet>>) -> Self {
        let (new, old) = revisions::split(deployment, sets);
        Self { client, recorder, deployment: deployment.clone(), stored: deployment.status.clone(), new, old }
    }

    /// Says in the conditions that the deployment was paused, or no longer is, so that the time in between does not count
    /// against its deadline.
    pub fn note_pause(&mut self) {
        let paused = self.deployment.spec.paused.unwrap_or(false);
        let has_deadline = status::deadline(&self.deployment).is_some();
        let status = self.deployment.status.get_or_insert_default();
        let reason = status::find(status, PROGRESSING).and_then(|condition| condition.reason.as_deref());
        if !has_deadline || reason == Some(status::TIMED_OUT) {
            return;
        }
        let (reason, message) = match (paused, reason == Some(status::PAUSED)) {
            (true, false) => (status::PAUSED, "Deployment is paused"),
            (false, true) => (status::RESUMED, "Deployment is resumed"),
            _ => return,
        };
        status::set(status, status::condition(PROGRESSING, "Unknown", reason, message, &clock::now()));
    }

    /// Brings the numbers of the history up to date: the new replica set has the highest, and its deployment the same.
    pub async fn sync_revisions(&mut self) -> Result<(), Error> {
        let Some(new) = &self.new else { return Ok(()) };
        let mut set = ReplicaSet::clone(new);
        let min_ready_seconds = self.deployment.spec.min_ready_seconds;
        let spec = &mut set.spec;
        let mut changed = spec.min_ready_seconds.unwrap_or(0) != min_ready_seconds.unwrap_or(0);
        spec.min_ready_seconds = min_ready_seconds;
        changed |= revisions::annotate_new(&self.deployment, &mut set, revisions::last_revision(&self.old) + 1);
        if changed {
            set = self.client.update(&set).await?;
        }
        let name = set.metadata.name.clone().unwrap_or_default();
        self.new = Some(Arc::new(set));
        self.set_first_progress("FoundNewReplicaSet", format!("Found new replica set {name:?}"));
        self.copy_revision().await
    }

    fn set_first_progress(&mut self, reason: &str, message: String) {
        let has_deadline = status::deadline(&self.deployment).is_some();
        let status = self.deployment.status.get_or_insert_default();
        if has_deadline && status::find(status, PROGRESSING).is_none() {
            status::set(status, status::condition(PROGRESSING, "True", reason, message, &clock::now()));
        }
    }

    async fn copy_revision(&mut self) -> Result<(), Error> {
        let revision = self.new.as_ref().map_or(0, |set| revisions::revision(&set.metadata));
        if revision == 0 || revision == revisions::revision(&self.deployment.metadata) {
            return Ok(());
        }
        let version = &self.deployment.metadata.resource_version;
        let annotations = json!({REVISION: revision.to_string()});
        let patch = Patch::Merge(json!({"metadata": {"resourceVersion": version, "annotations": annotations}}));
        let key = Key::of(&self.deployment);
        let patched: Deployment = self.client.patch(&key.namespace, &key.name, patch).await?;
        self.deployment.metadata = patched.metadata;
        Ok(())
    }

    /// Someone changed the number of replicas since the replica sets were scaled.
    pub fn is_scaled(&self) -> bool {
        let wants = replicas(&self.deployment);
        self.sets()
            .any(|set| wanted(set) > 0 && revisions::desired_replicas(set).is_some_and(|desired| desired != wants))
    }

    /// Scales without rolling out: while paused, or before a rollout goes on with another number.
    pub async fn scale(&mut self) -> Result<(), Error> {
        let limits = Limits::of(&self.deployment);
        let active: Vec<Arc<ReplicaSet>> = self.sets().filter(|set| wanted(set) > 0).cloned().collect();
        let latest = match active.as_slice() {
            [] => self.new.clone().or_else(|| self.old.last().cloned()),
            [only] => Some(Arc::clone(only)),
            _ => None,
        };
        if let Some(set) = latest {
            return self.resize(&set, limits.replicas).await;
        }
        if self.is_saturated(limits) {
            return self.empty_old().await.map(drop);
        }
        if self.is_recreate() {
            return Ok(());
        }
        let shares: Vec<Share> = active
            .iter()
            .map(|set| Share {
                wanted: wanted(set),
                most_before: revisions::max_replicas(set),
                created: set.metadata.creation_timestamp.clone(),
                name: set.metadata.name.clone().unwrap_or_default(),
            })
            .collect();
        let counted = self.deployment.status.as_ref().and_then(|status| status.replicas).unwrap_or(0);
        for (set, size) in active.iter().zip(proportional::sizes(limits, counted, &shares)) {
            self.resize(set, size).await?;
        }
        Ok(())
    }

    fn is_saturated(&self, limits: Limits) -> bool {
        self.new.as_ref().is_some_and(|set| {
            revisions::desired_replicas(set) == Some(limits.replicas)
                && wanted(set) == limits.replicas
                && available(set) == limits.replicas
        })
    }

    fn is_recreate(&self) -> bool {
        let strategy = &self.deployment.spec.strategy;
        strategy.as_ref().and_then(|strategy| strategy.type_.as_deref()) == Some("Recreate")
    }

    /// One step of the deployment's strategy. `pods` tell what still runs.
    pub async fn step(&mut self, pods: &Cache<Pod>) -> Result<(), Error> {
        if self.is_recreate() { self.step_recreate(pods).await } else { self.step_rolling().await }
    }

    async fn step_rolling(&mut self) -> Result<(), Error> {
        self.ensure_new().await?;
        let Some(new) = self.new.clone() else { return Ok(()) };
        let limits = Limits::of(&self.deployment);
        let size = rolling::grow_new(limits, wanted(&new), self.sets().map(|set| wanted(set)).sum());
        if size != wanted(&new) {
            return self.resize(&new, size).await;
        }
        let of = |set: &Arc<ReplicaSet>| Size { wanted: wanted(set), available: available(set) };
        let old: Vec<Size> = self.old.iter().map(of).collect();
        let Some(sizes) = rolling::shrink_old(limits, of(&new), &old) else { return Ok(()) };
        for (set, size) in self.old.clone().iter().zip(sizes).filter(|(set, size)| wanted(set) != *size) {
            self.resize(set, size).await?;
        }
        Ok(())
    }

    async fn step_recreate(&mut self, pods: &Cache<Pod>) -> Result<(), Error> {
        if self.empty_old().await? || self.old_pods_remain(pods) {
            return Ok(());
        }
        self.ensure_new().await?;
        match self.new.clone() {
            Some(new) => self.resize(&new, replicas(&self.deployment)).await,
            None => Ok(()),
        }
    }

    async fn empty_old(&mut self) -> Result<bool, Error> {
        let active: Vec<_> = self.old.iter().filter(|set| wanted(set) > 0).cloned().collect();
        for set in &active {
            self.resize(set, 0).await?;
        }
        Ok(!active.is_empty())
    }

    fn old_pods_remain(&self, pods: &Cache<Pod>) -> bool {
        self.old.iter().any(|set| {
            let uid = set.metadata.uid.as_deref().unwrap_or_default();
            present(set) > 0 || pods.controlled_by(uid).iter().any(|pod| !is_terminal(pod))
        })
    }

    /// Makes the replica set of the present template, if there is none.
    async fn ensure_new(&mut self) -> Result<(), Error> {
        if self.new.is_some() {
            return Ok(());
        }
        let limits = Limits::of(&self.deployment);
        let collisions = self.deployment.status.as_ref().and_then(|status| status.collision_count);
        let hash = hash::object(&self.deployment.spec.template, collisions).map_err(Error::internal)?;
        let mut set = revisions::make(&self.deployment, &hash);
        revisions::annotate_new(&self.deployment, &mut set, revisions::last_revision(&self.old) + 1);
        revisions::note_replicas(&mut set, limits);
        let size = rolling::grow_new(limits, 0, self.old.iter().map(|set| wanted(set)).sum());
        set.spec.replicas = Some(size);
        let name = set.metadata.name.clone().unwrap_or_default();

        let set = match self.client.create(&set).await {
            Ok(set) => {
                if size > 0 {
                    self.tell_scaled(&name, 0, size);
                }
                let message = format!("Created new replica set {name:?}");
                self.set_progress("True", "NewReplicaSetCreated", message);
                set
            }
            Err(error) if error.reason == Reason::AlreadyExists => self.existing(&name, error).await?,
            Err(error) if namespace_is_terminating(&error) => return Ok(()),
            Err(error) => {
                let message = format!("Failed to create new replica set {name:?}: {error}");
                self.recorder.event(&self.deployment, Kind::Warning, "ReplicaSetCreateError", message.clone());
                self.set_progress("False", "ReplicaSetCreateError", message);
                self.write(self.deployment.status.clone().unwrap_or_default()).await?;
                return Err(error);
            }
        };
        self.new = Some(Arc::new(set));
        self.copy_revision().await
    }

    fn set_progress(&mut self, value: &str, reason: &str, message: String) {
        if status::deadline(&self.deployment).is_some() {
            let condition = status::condition(PROGRESSING, value, reason, message, &clock::now());
            status::set(self.deployment.status.get_or_insert_default(), condition);
        }
    }

    /// The replica set that has the new one's name: ours, which the cache does not show yet, or one whose template has the
    /// same hash, in which case the next attempt hashes with a higher collision count.
    async fn existing(&mut self, name: &str, error: Error) -> Result<ReplicaSet, Error> {
        let namespace = self.deployment.metadata.namespace.as_deref().unwrap_or_default();
        let set: ReplicaSet = self.client.get(namespace, name).await?;
        let is_ours = controller_of(&set.metadata).map(|owner| &owner.uid) == self.deployment.metadata.uid.as_ref();
        let template = &self.deployment.spec.template;
        if is_ours && set.spec.template.as_ref().is_some_and(|other| revisions::same_template(other, template)) {
            return Ok(set);
        }
        let mut status = self.deployment.status.clone().unwrap_or_default();
        status.collision_count = Some(status.collision_count.unwrap_or(0) + 1);
        self.write(status).await?;
        Err(error)
    }

    async fn resize(&mut self, set: &Arc<ReplicaSet>, size: i32) -> Result<(), Error> {
        let before = wanted(set);
        let mut next = ReplicaSet::clone(set);
        next.spec.replicas = Some(size);
        let noted = revisions::note_replicas(&mut next, Limits::of(&self.deployment));
        if size == before && !noted {
            return Ok(());
        }
        let next = Arc::new(self.client.update(&next).await?);
        if size != before {
            self.tell_scaled(next.metadata.name.as_deref().unwrap_or_default(), before, size);
        }
        for place in self.new.iter_mut().chain(&mut self.old) {
            if place.metadata.uid == next.metadata.uid {
                *place = Arc::clone(&next);
            }
        }
        Ok(())
    }

    fn tell_scaled(&self, name: &str, from: i32, to: i32) {
        let direction = if to > from { "up" } else { "down" };
        let message = format!("Scaled {direction} replica set {name} from {from} to {to}");
        self.recorder.event(&self.deployment, Kind::Normal, "ScalingReplicaSet", message);
    }

    /// Deletes the oldest of those replica sets that are only history, beyond what the deployment wants to remember.
    pub async fn clean_up(&mut self) -> Result<(), Error> {
        let limit = self.deployment.spec.revision_history_limit.unwrap_or(10);
        let mut history: Vec<_> = self.old.iter().filter(|set| set.metadata.deletion_timestamp.is_none()).collect();
        let excess = history.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
        history.sort_by_key(|set| revisions::revision(&set.metadata));
        for set in history.into_iter().take(excess).filter(|set| is_only_history(set)) {
            let key = Key::of(&**set);
            let preconditions = Preconditions { uid: set.metadata.uid.clone(), resource_version: None };
            let options = DeleteOptions { preconditions: Some(preconditions), ..Default::default() };
            match self.client.delete::<ReplicaSet>(&key.namespace, &key.name, options).await {
                Err(error) if error.reason != Reason::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// The rollout has reached its end.
    pub fn is_complete(&self) -> bool {
        let counts = status::counts(&self.deployment, self.new.as_deref(), &self.all(), &clock::now());
        status::is_complete(&self.deployment, &counts)
    }

    /// Writes the status; `progressing` while the deployment rolls out by itself. Returns the status.
    pub async fn write_status(&mut self, progressing: bool) -> Result<DeploymentStatus, Error> {
        let (now, all) = (clock::now(), self.all());
        let mut status = status::counts(&self.deployment, self.new.as_deref(), &all, &now);
        if progressing {
            status::progress(&self.deployment, self.new.as_deref(), &all, &mut status, &now);
        }
        self.write(status.clone()).await?;
        Ok(status)
    }

    async fn write(&mut self, status: DeploymentStatus) -> Result<(), Error> {
        if self.stored.as_ref() != Some(&status) {
            self.deployment.status = Some(status);
            self.client.update_status(&self.deployment).await?;
        }
        Ok(())
    }

    fn sets(&self) -> impl Iterator<Item = &Arc<ReplicaSet>> {
        self.old.iter().chain(&self.new)
    }

    fn all(&self) -> Vec<Arc<ReplicaSet>> {
        let mut all: Vec<_> = self.sets().cloned().collect();
        all.sort_by_key(|set| Reverse(set.metadata.creation_timestamp.clone()));
        all
    }
}

fn is_only_history(set: &ReplicaSet) -> bool {
    let observed = set.status.as_ref().and_then(|status| status.observed_generation);
    wanted(set) == 0 && present(set) == 0 && set.metadata.generation <= observed
}
