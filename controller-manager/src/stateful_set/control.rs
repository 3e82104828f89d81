//! Does what is planned about a StatefulSet's pods and claims, and tells of it in events about the set.
//! Source: `pkg/controller/statefulset/stateful_pod_control.go` in Kubernetes.

use futures::future::join_all;
use k8s_openapi::{
    api::{
        apps::v1::StatefulSet,
        core::v1::{PersistentVolumeClaim, Pod},
    },
    apimachinery::pkg::apis::meta::v1::{DeleteOptions, Preconditions},
};
use kubelab_api::{Error, Reason, meta::is_deleting};
use kubelab_client::{Cache, Client, Recorder, controller::Key, recorder::Kind};

use super::{
    claims::{self, Owners},
    identity,
    plan::Step,
    revisions::Present,
};
use crate::pods::namespace_is_terminating;

/// Writes pods and claims.
pub struct Control {
    client: Client,
    recorder: Recorder,
    claims: Cache<PersistentVolumeClaim>,
}

impl Control {
    /// Events come from `recorder`'s component.
    pub fn new(client: &Client, recorder: Recorder, claims: &Cache<PersistentVolumeClaim>) -> Self {
        Self { client: client.clone(), recorder, claims: claims.clone() }
    }

    /// Does this. False if there was nothing left to do: the pod to delete is gone.
    pub async fn take(&self, set: &StatefulSet, present: &Present, step: &Step) -> Result<bool, Error> {
        match step {
            Step::Create(ordinal) => self.create(set, present, *ordinal).await.map(|()| true),
            Step::Delete(pod) => self.delete(set, pod).await,
            Step::Claims(pod) => {
                let ordinal = identity::ordinal(set, pod).unwrap_or(-1);
                self.create_claims(set, pod, ordinal).await?;
                self.own_claims(set, pod).await.map(|()| true)
            }
            Step::Restore(pod) => self.restore(set, pod).await.map(|()| true),
            Step::Owners(pod) => self.own_claims(set, pod).await.map(|()| true),
        }
    }

    async fn create(&self, set: &StatefulSet, present: &Present, ordinal: i32) -> Result<(), Error> {
        let (template, revision) = present.for_new_pod(set, ordinal)?;
        let pod = identity::new_pod(set, &template, &revision, ordinal);
        let result = match self.create_claims(set, &pod, ordinal).await {
            Ok(()) => self.client.create(&pod).await.map(drop),
            Err(error) => Err(error),
        };
        if !result.as_ref().is_err_and(|error| error.reason == Reason::AlreadyExists) {
            self.tell("create", set, &pod, result.as_ref().err());
        }
        result
    }

    async fn delete(&self, set: &StatefulSet, pod: &Pod) -> Result<bool, Error> {
        let key = Key::of(pod);
        let preconditions = Some(Preconditions { uid: pod.metadata.uid.clone(), resource_version: None });
        let options = DeleteOptions { preconditions, ..Default::default() };
        match self.client.delete::<Pod>(&key.namespace, &key.name, options).await {
            Err(error) if error.reason == Reason::NotFound => Ok(false),
            result => {
                self.tell("delete", set, pod, result.as_ref().err());
                result.map(|()| true)
            }
        }
    }

    async fn restore(&self, set: &StatefulSet, pod: &Pod) -> Result<(), Error> {
        let ordinal = identity::ordinal(set, pod).unwrap_or(-1);
        let is_restored = identity::restored(set, pod.clone(), ordinal) == *pod;
        let result = async {
            if !identity::has_storage(set, pod, ordinal) {
                self.create_claims(set, pod, ordinal).await?;
            }
            self.own_claims(set, pod).await?;
            if !is_restored {
                // The cache has only a part of it.
                let Key { namespace, name } = Key::of(pod);
                let whole: Pod = self.client.get(&namespace, &name).await?;
                self.client.update(&identity::restored(set, whole, ordinal)).await?;
            }
            Ok::<(), Error>(())
        }
        .await;
        self.tell("update", set, pod, result.as_ref().err());
        result
    }

    /// Creates the claims that the pod lacks.
    async fn create_claims(&self, set: &StatefulSet, pod: &Pod, ordinal: i32) -> Result<(), Error> {
        let claims = claims::make(set, ordinal);
        let creations = claims.iter().map(|claim| self.create_claim(set, pod, claim));
        join_all(creations).await.into_iter().find_map(Result::err).map_or(Ok(()), Err)
    }

    async fn create_claim(&self, set: &StatefulSet, pod: &Pod, claim: &PersistentVolumeClaim) -> Result<(), Error> {
        let Key { namespace, name } = Key::of(claim);
        match self.claims.get(&namespace, &name) {
            Some(present) if is_deleting(&present.metadata) => {
                return Err(Error::internal(format!("pvc {name} is being deleted")));
            }
            Some(_) => return Ok(()),
            None => {}
        }
        let (pod, owner) = (pod.metadata.name.as_deref().unwrap_or_default(), identity::name(set));
        match self.client.create(claim).await {
            Ok(_) => {
                let message = format!("create Claim {name} Pod {pod} in StatefulSet {owner} success");
                self.recorder.event(set, Kind::Normal, "SuccessfulCreate", message);
                Ok(())
            }
            Err(error) if error.reason == Reason::AlreadyExists => Ok(()),
            Err(error) if namespace_is_terminating(&error) => Err(error),
            Err(error) => {
                let message = format!("create Claim {name} for Pod {pod} in StatefulSet {owner} failed error: {error}");
                self.recorder.event(set, Kind::Warning, "FailedCreate", message);
                Err(Error { message: format!("failed to create PVC {name}: {error}"), ..error })
            }
        }
    }

    /// Sets the owners of the pod's claims as the set's policy wants them.
    async fn own_claims(&self, set: &StatefulSet, pod: &Pod) -> Result<(), Error> {
        let Some(ordinal) = identity::ordinal(set, pod) else { return Ok(()) };
        let namespace = set.metadata.namespace.as_deref().unwrap_or_default();
        for claim in claims::names(set, ordinal).filter_map(|name| self.claims.get(namespace, &name)) {
            let Owners::Change { owners, conflict } = claims::owners(set, pod, &claim) else { continue };
            let name = claim.metadata.name.as_deref().unwrap_or_default();
            if conflict {
                let message = format!(
                    "PersistentVolumeClaim {name} has a conflicting OwnerReference that acts as a managing controller, \
                     the retention policy is ignored for this claim"
                );
                self.recorder.event(set, Kind::Warning, "ConflictingController", message);
            }
            let mut next = PersistentVolumeClaim::clone(&claim);
            next.metadata.owner_references = Some(owners).filter(|owners| !owners.is_empty());
            self.client.update(&next).await.map_err(|error| {
                let message = format!("could not update claim {name} for delete policy ownerRefs: {error}");
                Error { message, ..error }
            })?;
        }
        Ok(())
    }

    fn tell(&self, verb: &str, set: &StatefulSet, pod: &Pod, error: Option<&Error>) {
        let (pod, name) = (pod.metadata.name.as_deref().unwrap_or_default(), identity::name(set));
        let title = format!("{}{}", verb[..1].to_ascii_uppercase(), &verb[1..]);
        match error {
            None => {
                let message = format!("{verb} Pod {pod} in StatefulSet {name} successful");
                self.recorder.event(set, Kind::Normal, &format!("Successful{title}"), message);
            }
            Some(error) if namespace_is_terminating(error) => {}
            Some(error) => {
                let message = format!("{verb} Pod {pod} in StatefulSet {name} failed error: {error}");
                self.recorder.event(set, Kind::Warning, &format!("Failed{title}"), message);
            }
        }
    }
}
