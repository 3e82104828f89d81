//! Lets volumes grow with what their claims ask for: the part of Kubernetes, and that of the resizer which a real cluster
//! runs for each driver. The simulated drivers grow a file system along with its volume, so no node has to.
//!
//! Watches claims and volumes. Writes volumes' capacities and claims' statuses.
//! Source: `pkg/controller/volume/expand` in Kubernetes, `kubernetes-csi/external-resizer`, KEP-1790.

use std::sync::Arc;

use k8s_openapi::{
    api::core::v1::{PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimCondition},
    apimachinery::pkg::apis::meta::v1::Time,
};
use kubelab_api::{Error, Quantity, meta::is_deleting};
use kubelab_client::{
    Action, Cache, Client, Controller, Recorder, clock, controller::Key, queue::Queue, recorder::Kind,
};

use crate::{
    Context,
    claims::{STORAGE, amount, capacity, claim_of, requested, volume_of},
};

const NAME: &str = "persistentvolume-expander-controller";
/// The recorders upstream: of the loop, and of a resizer, which bears its driver's name there.
const COMPONENT: &str = "volume_expand";
const RESIZER: &str = "kubelab-resizer";
const WORKERS: usize = 4;

const IN_PROGRESS: &str = "ControllerResizeInProgress";
/// The conditions that tell of growing.
const RESIZING: &str = "Resizing";
const FILE_SYSTEM_PENDING: &str = "FileSystemResizePending";

/// Runs the loop.
pub async fn run(context: Context) {
    let this = Arc::new(Loop {
        client: context.client.clone(),
        recorder: context.recorder(COMPONENT),
        resizer: context.recorder(RESIZER),
        claims: context.caches.of(),
        volumes: context.caches.of(),
        queue: Queue::new("volume_expand"),
    });
    tokio::join!(this.claims.synced(), this.volumes.synced());
    let queue = this.queue.clone();
    this.claims.on_change(move |change| {
        let claim = change.object();
        if requested(claim) > known_size(claim) || state(claim).is_some() {
            queue.add(Key::of(&**claim));
        }
    });
    Controller::new(NAME, this.queue.clone())
        .run_on(WORKERS, this, |this, key| async move { this.reconcile(key).await })
        .await;
}

struct Loop {
    client: Client,
    /// Of the loop.
    recorder: Recorder,
    /// Of the simulated resizer.
    resizer: Recorder,
    claims: Cache<PersistentVolumeClaim>,
    volumes: Cache<PersistentVolume>,
    queue: Queue<Key>,
}

impl Loop {
    async fn reconcile(&self, key: Key) -> Result<Action, Error> {
        let Some(claim) = self.claims.get(&key.namespace, &key.name) else { return Ok(Action::Done) };
        let Some(volume) = self.volumes.get("", volume_of(&claim)) else { return Ok(Action::Done) };
        let (mut claim, mut volume) = ((*claim).clone(), (*volume).clone());
        // Each write leads to the next; whoever comes after a crash finds the one that is due.
        loop {
            match next(&claim, &volume) {
                Step::Nothing => return Ok(Action::Done),
                Step::Ignore => {
                    let message = "Ignoring the PVC: didn't find a plugin capable of expanding the volume; waiting for an \
                                   external controller to process this PVC.";
                    self.recorder.event(&claim, Kind::Warning, "ExternalExpanding", message);
                    return Ok(Action::Done);
                }
                Step::Begin(size) => {
                    let message = "waiting for an external controller to expand this PVC";
                    self.recorder.event(&claim, Kind::Normal, "ExternalExpanding", message);
                    claim = self.client.update_status(&begun(&claim, size, clock::now())).await?;
                    let name = volume.metadata.name.as_deref().unwrap_or_default();
                    let message = format!("External resizer is resizing volume {name}");
                    self.resizer.event(&claim, Kind::Normal, "Resizing", message);
                }
                Step::Grow(size) => volume = self.client.update(&grown(&volume, size)).await?,
                Step::Finish(size) => {
                    claim = self.client.update_status(&finished(&claim, size)).await?;
                    self.resizer.event(&claim, Kind::Normal, "VolumeResizeSuccessful", "Resize volume succeeded");
                }
            }
        }
    }
}

/// What is to be written next.
#[derive(Debug, PartialEq)]
enum Step {
    /// All is as it should be.
    Nothing,
    /// No driver can make this volume grow.
    Ignore,
    /// That the volume grows to this size.
    Begin(Quantity),
    /// That the volume is of this size.
    Grow(Quantity),
    /// That the claim has it.
    Finish(Quantity),
}

/// What is to be written next. Source: `expandAndRecover`.
fn next(claim: &PersistentVolumeClaim, volume: &PersistentVolume) -> Step {
    let is_bound = claim.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Bound");
    let is_own = claim_of(volume).is_some_and(|(_, uid)| uid.is_some() && uid == claim.metadata.uid.as_deref());
    if !is_bound || !is_own || is_deleting(&claim.metadata) {
        return Step::Nothing;
    }
    let (wanted, known, state) = (requested(claim), known_size(claim), state(claim));
    if wanted <= known && state.is_none() {
        return Step::Nothing;
    }
    if volume.spec.as_ref().is_none_or(|spec| spec.csi.is_none()) {
        return Step::Ignore;
    }
    let status = claim.status.as_ref();
    let allocated = amount(status.and_then(|status| status.allocated_resources.as_ref()?.get(STORAGE)));
    // What has grown already does not shrink, although the claim asks for less by now.
    let size = if capacity(volume) >= wanted && state.is_some() { allocated.max(wanted) } else { wanted };
    if state != Some(IN_PROGRESS) || allocated != size {
        Step::Begin(size)
    } else if capacity(volume) < size {
        Step::Grow(size)
    } else {
        Step::Finish(size)
    }
}

fn known_size(claim: &PersistentVolumeClaim) -> Quantity {
    amount(claim.status.as_ref().and_then(|status| status.capacity.as_ref()?.get(STORAGE)))
}

fn state(claim: &PersistentVolumeClaim) -> Option<&str> {
    let states = claim.status.as_ref()?.allocated_resource_statuses.as_ref()?;
    states.get(STORAGE).map(String::as_str)
}

fn begun(claim: &PersistentVolumeClaim, size: Quantity, now: Time) -> PersistentVolumeClaim {
    let mut claim = claim.clone();
    let status = claim.status.get_or_insert_default();
    status.allocated_resource_statuses.get_or_insert_default().insert(STORAGE.to_owned(), IN_PROGRESS.to_owned());
    status.allocated_resources.get_or_insert_default().insert(STORAGE.to_owned(), size.into());
    let conditions = status.conditions.get_or_insert_default();
    conditions.retain(|condition| condition.type_ != FILE_SYSTEM_PENDING);
    if !conditions.iter().any(|condition| condition.type_ == RESIZING && condition.status == "True") {
        conditions.retain(|condition| condition.type_ != RESIZING);
        conditions.push(PersistentVolumeClaimCondition {
            type_: RESIZING.to_owned(),
            status: "True".to_owned(),
            last_transition_time: Some(now),
            ..PersistentVolumeClaimCondition::default()
        });
    }
    claim
}

fn grown(volume: &PersistentVolume, size: Quantity) -> PersistentVolume {
    let mut volume = volume.clone();
    let spec = volume.spec.get_or_insert_default();
    spec.capacity.get_or_insert_default().insert(STORAGE.to_owned(), size.into());
    volume
}

fn finished(claim: &PersistentVolumeClaim, size: Quantity) -> PersistentVolumeClaim {
    let mut claim = claim.clone();
    let status = claim.status.get_or_insert_default();
    status.capacity.get_or_insert_default().insert(STORAGE.to_owned(), size.into());
    if let Some(states) = &mut status.allocated_resource_statuses {
        states.remove(STORAGE);
    }
    status.allocated_resource_statuses.take_if(|states| states.is_empty());
    if let Some(conditions) = &mut status.conditions {
        conditions.retain(|condition| condition.type_ != RESIZING && condition.type_ != FILE_SYSTEM_PENDING);
    }
    status.conditions.take_if(|conditions| conditions.is_empty());
    claim
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Value, json};

    use super::*;

    fn claim(wanted: &str, size: &str) -> PersistentVolumeClaim {
        serde_json::from_value(json!({
            "metadata": {"namespace": "shop", "name": "data", "uid": "u1"},
            "spec": {"volumeName": "pv", "resources": {"requests": {"storage": wanted}}},
            "status": {"phase": "Bound", "capacity": {"storage": size}},
        }))
        .unwrap()
    }

    fn volume(size: &str, source: Value) -> PersistentVolume {
        let mut spec = source;
        spec["capacity"] = json!({"storage": size});
        spec["claimRef"] = json!({"namespace": "shop", "name": "data", "uid": "u1"});
        serde_json::from_value(json!({"metadata": {"name": "pv"}, "spec": spec})).unwrap()
    }

    fn disk(size: &str) -> PersistentVolume {
        volume(size, json!({"csi": {"driver": "disk.example.com", "volumeHandle": "d"}}))
    }

    #[test]
    fn growing_goes_step_by_step() {
        let size: Quantity = "5Gi".parse().unwrap();
        let (mut claim, mut volume) = (claim("5Gi", "1Gi"), disk("1Gi"));
        assert_eq!(next(&claim, &volume), Step::Begin(size));
        claim = begun(&claim, size, clock::now());
        assert_eq!(next(&claim, &volume), Step::Grow(size));
        volume = grown(&volume, size);
        assert_eq!(next(&claim, &volume), Step::Finish(size));
        let status = serde_json::to_value(&claim.status).unwrap();
        assert_eq!(status["conditions"][0]["type"], RESIZING);
        claim = finished(&claim, size);
        assert_eq!(next(&claim, &volume), Step::Nothing);
        let status = serde_json::to_value(&claim.status).unwrap();
        assert_eq!(
            status,
            json!({"phase": "Bound", "capacity": {"storage": "5Gi"}, "allocatedResources": {"storage": "5Gi"}})
        );
    }

    #[test]
    fn who_changes_the_mind_meanwhile() {
        let (five, nine): (Quantity, Quantity) = ("5Gi".parse().unwrap(), "9Gi".parse().unwrap());
        let more = begun(&claim("9Gi", "1Gi"), five, clock::now());
        assert_eq!(next(&more, &disk("1Gi")), Step::Begin(nine));
        let less = begun(&claim("2Gi", "1Gi"), five, clock::now());
        assert_eq!(next(&less, &disk("5Gi")), Step::Finish(five), "it has grown already");
        assert_eq!(next(&less, &disk("1Gi")), Step::Begin("2Gi".parse().unwrap()));
    }

    #[test]
    fn not_every_volume_grows() {
        assert_eq!(next(&claim("1Gi", "1Gi"), &disk("1Gi")), Step::Nothing);
        assert_eq!(next(&claim("1Gi", "5Gi"), &disk("5Gi")), Step::Nothing, "it was given more than it asked for");
        let path = volume("1Gi", json!({"hostPath": {"path": "/tmp/a"}}));
        assert_eq!(next(&claim("5Gi", "1Gi"), &path), Step::Ignore);
        let mut pending = claim("5Gi", "1Gi");
        pending.status.as_mut().unwrap().phase = Some("Pending".into());
        assert_eq!(next(&pending, &disk("1Gi")), Step::Nothing);
    }
}
