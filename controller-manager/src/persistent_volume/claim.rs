//! What is to be done about a claim. Source: `syncUnboundClaim` and `syncBoundClaim` in `pv_controller.go` of Kubernetes.

use std::sync::Arc;

use k8s_openapi::api::{
    core::v1::{PersistentVolume, PersistentVolumeClaim},
    storage::v1::StorageClass,
};
use kubelab_api::meta::annotation;
use kubelab_client::{Cache, controller::Key, recorder::Kind};

use super::matching::{best, objection};
use crate::claims::{
    NO_PROVISIONER,
    annotations::{BIND_COMPLETED, SELECTED_NODE},
    claim_of, class_of_claim, default_class, is_for, says_class, volume_of, waits_for_consumer,
};

/// Where the volumes are.
pub trait Volumes {
    /// One of them.
    fn find(&self, name: &str) -> Option<Arc<PersistentVolume>>;
    /// All of them.
    fn all(&self) -> Vec<Arc<PersistentVolume>>;
}

impl Volumes for Cache<PersistentVolume> {
    fn find(&self, name: &str) -> Option<Arc<PersistentVolume>> {
        self.get("", name)
    }
    fn all(&self) -> Vec<Arc<PersistentVolume>> {
        self.list()
    }
}

/// An event about a claim or a volume.
#[derive(Clone, Debug, PartialEq)]
pub struct Telling {
    /// Whether something is wrong.
    pub kind: Kind,
    /// One word.
    pub reason: &'static str,
    /// A sentence.
    pub message: String,
}

impl Telling {
    /// Something that is wrong.
    pub fn warning(reason: &'static str, message: impl Into<String>) -> Self {
        Self { kind: Kind::Warning, reason, message: message.into() }
    }

    /// Something that is as it should be.
    pub fn normal(reason: &'static str, message: impl Into<String>) -> Self {
        Self { kind: Kind::Normal, reason, message: message.into() }
    }
}

/// What is to be done about a claim.
#[derive(Debug)]
pub enum Step {
    /// The two belong together: what is missing of that is written.
    Bind(Arc<PersistentVolume>),
    /// It named no class, and there is a default by now.
    GiveClass(String),
    /// Nothing before a pod that uses it is placed.
    AwaitConsumer,
    /// A volume is to be made for it.
    Provision(Arc<StorageClass>),
    /// No volume can be made for it.
    CannotProvision(Telling),
    /// It waits.
    Wait(Option<Telling>),
    /// Its volume is gone, or another's.
    Lose(Telling),
}

/// What is to be done about a claim, as things stand in the caches.
pub fn decide(claim: &PersistentVolumeClaim, volumes: &impl Volumes, classes: &[Arc<StorageClass>]) -> Step {
    let name = volume_of(claim);
    if annotation(&claim.metadata, BIND_COMPLETED).is_some() {
        return bound(claim, (!name.is_empty()).then(|| volumes.find(name)));
    }
    if name.is_empty() { unbound(claim, &volumes.all(), classes) } else { requested(claim, volumes.find(name)) }
}

fn unbound(claim: &PersistentVolumeClaim, volumes: &[Arc<PersistentVolume>], classes: &[Arc<StorageClass>]) -> Step {
    let name = class_of_claim(claim);
    let class = classes.iter().find(|class| class.metadata.name.as_deref() == Some(name));
    let waits = class.is_some_and(|class| waits_for_consumer(class));
    if let Some(volume) = best(claim, volumes, waits) {
        return Step::Bind(Arc::clone(volume));
    }
    if !says_class(claim)
        && let Some(default) = default_class(classes)
    {
        return Step::GiveClass(default.metadata.name.clone().unwrap_or_default());
    }
    if name.is_empty() {
        let message = "no persistent volumes available for this claim and no storage class is set";
        return Step::Wait(Some(Telling::normal("FailedBinding", message)));
    }
    if waits && annotation(&claim.metadata, SELECTED_NODE).is_none() {
        return Step::AwaitConsumer;
    }
    match class {
        None => {
            let message = format!("storageclass.storage.k8s.io {name:?} not found");
            Step::CannotProvision(Telling::warning("ProvisioningFailed", message))
        }
        Some(class) if class.provisioner == NO_PROVISIONER => {
            let message = format!("no volume plugin matched name: {NO_PROVISIONER}");
            Step::CannotProvision(Telling::warning("ProvisioningFailed", message))
        }
        Some(class) => Step::Provision(Arc::clone(class)),
    }
}

/// The user asked for this volume.
fn requested(claim: &PersistentVolumeClaim, volume: Option<Arc<PersistentVolume>>) -> Step {
    let Some(volume) = volume else { return Step::Wait(None) };
    let name = volume.metadata.name.as_deref().unwrap_or_default();
    if is_for(&volume, claim) {
        return Step::Bind(volume);
    }
    if claim_of(&volume).is_some() {
        let message = format!("volume {name:?} already bound to a different claim.");
        return Step::Wait(Some(Telling::warning("FailedBinding", message)));
    }
    match objection(&volume, claim) {
        None => Step::Bind(volume),
        Some(why) => {
            let message = format!("Cannot bind to requested volume {name:?}: {why}");
            Step::Wait(Some(Telling::warning("VolumeMismatch", message)))
        }
    }
}

/// The claim was bound before. `volume` is `None` where it names none any more.
fn bound(claim: &PersistentVolumeClaim, volume: Option<Option<Arc<PersistentVolume>>>) -> Step {
    let lost = |message: &str| Step::Lose(Telling::warning("ClaimLost", message));
    match volume {
        None => lost("Bound claim has lost reference to PersistentVolume. Data on the volume is lost!"),
        Some(None) => lost("Bound claim has lost its PersistentVolume. Data on the volume is lost!"),
        Some(Some(volume)) => match claim_of(&volume) {
            // Either it came loose, or what was written of it is not seen yet.
            None => Step::Bind(volume),
            Some((key, uid)) if key == Key::of(claim) && uid == claim.metadata.uid.as_deref() => Step::Bind(volume),
            Some((key, None)) if key == Key::of(claim) => Step::Bind(volume),
            Some(_) => Step::Lose(Telling::warning(
                "ClaimMisbound",
                "Two claims are bound to the same volume, this one is bound incorrectly",
            )),
        },
    }
}

/// The event that a claim waits for its consumer; for those pods, where there are some.
pub fn waiting_for(pods: &[&str]) -> Telling {
    match pods {
        [] => Telling::normal("WaitForFirstConsumer", "waiting for first consumer to be created before binding"),
        [pod] => Telling::normal("WaitForPodScheduled", format!("waiting for pod {pod} to be scheduled")),
        pods => Telling::normal("WaitForPodScheduled", format!("waiting for pods {} to be scheduled", pods.join(","))),
    }
}

/// The event that somebody is asked to make a volume.
pub fn asking(provisioner: &str) -> Telling {
    let message = format!(
        "Waiting for a volume to be created either by the external provisioner '{provisioner}' or manually by the system \
         administrator. If volume creation is delayed, please verify that the provisioner is running and correctly \
         registered."
    );
    Telling::normal("ExternalProvisioning", message)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Value, json};

    use super::*;

    impl Volumes for Vec<Arc<PersistentVolume>> {
        fn find(&self, name: &str) -> Option<Arc<PersistentVolume>> {
            self.iter().find(|volume| volume.metadata.name.as_deref() == Some(name)).cloned()
        }
        fn all(&self) -> Vec<Arc<PersistentVolume>> {
            self.clone()
        }
    }

    fn claim(volume: &str, class: Option<&str>, annotations: &[&str]) -> PersistentVolumeClaim {
        let annotations: serde_json::Map<String, Value> =
            annotations.iter().map(|key| ((*key).to_owned(), "yes".into())).collect();
        serde_json::from_value(json!({
            "metadata": {"namespace": "shop", "name": "data", "uid": "u1", "annotations": annotations},
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": "5Gi"}},
                "storageClassName": class,
                "volumeName": volume,
            },
        }))
        .unwrap()
    }

    fn volume(name: &str, size: &str, class: &str, reference: Value) -> Arc<PersistentVolume> {
        Arc::new(
            serde_json::from_value(json!({
                "metadata": {"name": name},
                "spec": {
                    "accessModes": ["ReadWriteOnce"],
                    "capacity": {"storage": size},
                    "claimRef": reference,
                    "storageClassName": class,
                },
                "status": {"phase": "Available"},
            }))
            .unwrap(),
        )
    }

    fn class(name: &str, provisioner: &str, mode: &str, default: bool) -> Arc<StorageClass> {
        Arc::new(
            serde_json::from_value(json!({
                "metadata": {"name": name, "annotations": {
                    "storageclass.kubernetes.io/is-default-class": default.to_string()}},
                "provisioner": provisioner,
                "volumeBindingMode": mode,
            }))
            .unwrap(),
        )
    }

    fn shown(step: &Step) -> String {
        match step {
            Step::Bind(volume) => format!("bind {}", volume.metadata.name.as_deref().unwrap()),
            Step::GiveClass(name) => format!("class {name}"),
            Step::AwaitConsumer => "await".into(),
            Step::Provision(class) => format!("provision {}", class.provisioner),
            Step::CannotProvision(telling) => format!("cannot: {}", telling.message),
            Step::Wait(None) => "wait".into(),
            Step::Wait(Some(telling)) => format!("wait, {}: {}", telling.reason, telling.message),
            Step::Lose(telling) => format!("lose, {}", telling.reason),
        }
    }

    #[test]
    fn a_claim_that_is_not_bound() {
        let free = || vec![volume("pv", "5Gi", "", Value::Null)];
        let standard = || class("standard", "disk.example.com", "Immediate", true);
        let late = || class("late", "disk.example.com", "WaitForFirstConsumer", false);
        let local = || class("local", NO_PROVISIONER, "Immediate", false);
        let nothing = "wait, FailedBinding: no persistent volumes available for this claim and no storage class is set";
        let none = Vec::new;
        for (why, claim, volumes, classes, expected) in [
            ("a volume is there", claim("", Some(""), &[]), free(), vec![], "bind pv"),
            ("none is there", claim("", Some(""), &[]), none(), vec![standard()], nothing),
            ("nothing is said of a class, and there is none", claim("", None, &[]), none(), vec![], nothing),
            ("a default came later", claim("", None, &[]), none(), vec![late(), standard()], "class standard"),
            ("a volume goes before a default", claim("", None, &[]), free(), vec![standard()], "bind pv"),
            (
                "a volume is made",
                claim("", Some("standard"), &[]),
                none(),
                vec![standard()],
                "provision disk.example.com",
            ),
            (
                "its class is unknown",
                claim("", Some("fast"), &[]),
                free(),
                vec![standard()],
                "cannot: storageclass.storage.k8s.io \"fast\" not found",
            ),
            (
                "its class makes none",
                claim("", Some("local"), &[]),
                none(),
                vec![local()],
                "cannot: no volume plugin matched name: kubernetes.io/no-provisioner",
            ),
            (
                "nobody uses it yet",
                claim("", Some("late"), &[]),
                vec![volume("pv", "5Gi", "late", Value::Null)],
                vec![late()],
                "await",
            ),
            (
                "the scheduler has chosen a node",
                claim("", Some("late"), &[SELECTED_NODE]),
                none(),
                vec![late()],
                "provision disk.example.com",
            ),
            (
                "the scheduler has chosen a volume",
                claim("", Some("late"), &[]),
                vec![volume("pv", "5Gi", "late", json!({"namespace": "shop", "name": "data", "uid": "u1"}))],
                vec![late()],
                "bind pv",
            ),
        ] {
            assert_eq!(shown(&decide(&claim, &volumes, &classes)), expected, "{why}");
        }
    }

    #[test]
    fn a_claim_that_names_its_volume() {
        let asks = || claim("pv", Some(""), &[]);
        let other = json!({"namespace": "shop", "name": "logs"});
        for (why, claim, volumes, expected) in [
            ("it is not there", asks(), vec![], "wait"),
            ("it is free", asks(), vec![volume("pv", "9Gi", "", Value::Null)], "bind pv"),
            (
                "it is too small",
                asks(),
                vec![volume("pv", "1Gi", "", Value::Null)],
                "wait, VolumeMismatch: Cannot bind to requested volume \"pv\": requested PV is too small",
            ),
            (
                "it is another's",
                asks(),
                vec![volume("pv", "5Gi", "", other)],
                "wait, FailedBinding: volume \"pv\" already bound to a different claim.",
            ),
            (
                "it is reserved for this claim, so its size was looked at before",
                asks(),
                vec![volume("pv", "1Gi", "", json!({"namespace": "shop", "name": "data"}))],
                "bind pv",
            ),
        ] {
            assert_eq!(shown(&decide(&claim, &volumes, &[])), expected, "{why}");
        }
    }

    #[test]
    fn a_claim_that_was_bound() {
        let was = |volume: &str| claim(volume, Some(""), &[BIND_COMPLETED]);
        let own = |uid: &str| json!({"namespace": "shop", "name": "data", "uid": uid});
        for (why, claim, volumes, expected) in [
            ("all is well", was("pv"), vec![volume("pv", "5Gi", "", own("u1"))], "bind pv"),
            ("the volume came loose", was("pv"), vec![volume("pv", "5Gi", "", Value::Null)], "bind pv"),
            ("it names none any more", was(""), vec![], "lose, ClaimLost"),
            ("the volume is gone", was("pv"), vec![], "lose, ClaimLost"),
            ("the volume is another's", was("pv"), vec![volume("pv", "5Gi", "", own("u2"))], "lose, ClaimMisbound"),
        ] {
            assert_eq!(shown(&decide(&claim, &volumes, &[])), expected, "{why}");
        }
    }

    #[test]
    fn who_is_waited_for() {
        for (pods, expected) in [
            (&[][..], "waiting for first consumer to be created before binding"),
            (&["web-0"], "waiting for pod web-0 to be scheduled"),
            (&["web-0", "web-1"], "waiting for pods web-0,web-1 to be scheduled"),
        ] {
            assert_eq!(waiting_for(pods).message, expected);
        }
    }
}
