//! Attaches volumes to the nodes whose pods use them, and detaches them when none does.
//!
//! Watches pods, claims, volumes, nodes, attachments and CSI drivers. Creates and deletes VolumeAttachments; writes what
//! is attached into nodes' statuses, where kubelets wait for it. Source: `pkg/controller/volume/attachdetach` in Kubernetes.
//!
//! | module | what it is |
//! | --- | --- |
//! | `plan` | where a volume is to be attached and detached |
//! | `names` | the names of attachments |
//! | [`attacher`] | what an attachment asks for is done |
//!
//! ```text
//! pod on a node ─▶ VolumeAttachment ─▶ attacher: attached ─▶ node.status.volumesAttached ─▶ the kubelet mounts
//! pod is gone   ─▶ node.status, without it ─▶ VolumeAttachment is deleted ─▶ attacher: detached
//! ```
//!
//! Only CSI volumes are attached, and of those all but the ones whose CSIDriver says that they need not be.

pub mod attacher;
mod names;
mod plan;

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use k8s_openapi::{
    api::{
        core::v1::{AttachedVolume, Node, PersistentVolume, PersistentVolumeClaim, Pod},
        storage::v1::{CSIDriver, VolumeAttachment, VolumeAttachmentSource, VolumeAttachmentSpec},
    },
    apimachinery::pkg::apis::meta::v1::{DeleteOptions, ObjectMeta, Preconditions},
};
use kubelab_api::{
    Error, Reason,
    meta::{annotation, is_deleting},
    pod::node_name,
};
use kubelab_client::{
    Action, Cache, Change, Client, Controller, Patch, Recorder,
    clock::{self, Instant},
    controller::Key,
    queue::Queue,
    recorder::Kind,
};
use serde_json::json;

use self::plan::{Present, is_exclusive, is_out_of_service, may_leave, plan, refusal};
use crate::{
    Context,
    claims::{claim_of, claims_of, has_ended, users, volume_of},
    node_lifecycle::is_ready,
    relation::Relation,
};

const NAME: &str = "persistentvolume-attach-detach-controller";
/// The recorder of these events upstream.
const COMPONENT: &str = "attachdetach-controller";
/// One, as what is attached to a node is one list in its status.
const WORKERS: usize = 1;
/// On a node whose kubelet leaves attaching to this loop.
const MANAGED: &str = "volumes.kubernetes.io/controller-managed-attach-detach";
/// How often a volume is looked at again that a node still uses.
const RECHECK: Duration = Duration::from_secs(10);

/// Runs the loop.
pub async fn run(context: Context) {
    let pods: Cache<Pod> = context.caches.of();
    let attachments: Cache<VolumeAttachment> = context.caches.of();
    let this = Arc::new(Loop {
        client: context.client.clone(),
        recorder: context.recorder(COMPONENT),
        claims: context.caches.of(),
        volumes: context.caches.of(),
        nodes: context.caches.of(),
        drivers: context.caches.of(),
        users: users(&pods),
        by_volume: by_volume(&attachments),
        by_node: Relation::of(&attachments, |attachment| vec![cluster_key(&attachment.spec.node_name)]),
        unwanted: Mutex::default(),
        refused: Mutex::default(),
        queue: Queue::new(NAME),
    });
    tokio::join!(
        this.claims.synced(),
        this.volumes.synced(),
        this.nodes.synced(),
        this.drivers.synced(),
        pods.synced(),
        attachments.synced()
    );
    this.watch(&pods, &attachments);
    Controller::new(NAME, this.queue.clone())
        .run_on(WORKERS, this, |this, key| async move { this.reconcile(key).await })
        .await;
}

/// The attachments of each volume.
fn by_volume(attachments: &Cache<VolumeAttachment>) -> Relation<VolumeAttachment> {
    Relation::of(attachments, |attachment| {
        attachment.spec.source.persistent_volume_name.iter().map(|name| cluster_key(name)).collect()
    })
}

fn cluster_key(name: &str) -> Key {
    Key { namespace: String::new(), name: name.to_owned() }
}

struct Loop {
    client: Client,
    recorder: Recorder,
    claims: Cache<PersistentVolumeClaim>,
    volumes: Cache<PersistentVolume>,
    nodes: Cache<Node>,
    drivers: Cache<CSIDriver>,
    users: Relation<Pod>,
    by_volume: Relation<VolumeAttachment>,
    by_node: Relation<VolumeAttachment>,
    /// Since when attachments are not wanted, by name.
    unwanted: Mutex<HashMap<String, Instant>>,
    /// The volumes and nodes of which it was told that they cannot come together.
    refused: Mutex<HashSet<(String, String)>>,
    /// Volumes.
    queue: Queue<Key>,
}

impl Loop {
    fn watch(&self, pods: &Cache<Pod>, attachments: &Cache<VolumeAttachment>) {
        let queue = self.queue.clone();
        self.volumes.on_change(move |change| {
            let settled = |volume: &PersistentVolume| volume.spec.as_ref().and_then(|spec| spec.claim_ref.clone());
            match change {
                Change::Modified { old, new } if settled(old) == settled(new) => {}
                _ => queue.add(Key::of(&**change.object())),
            }
        });
        let queue = self.queue.clone();
        self.claims.on_change(move |change| {
            let claim = change.object();
            match change {
                Change::Modified { old, new } if volume_of(old) == volume_of(new) => {}
                _ if volume_of(claim).is_empty() => {}
                _ => queue.add(cluster_key(volume_of(claim))),
            }
        });
        let (queue, claims) = (self.queue.clone(), self.claims.clone());
        pods.on_change(move |change| {
            let pod = change.object();
            // Most pods have none, and all of them change often.
            let names: Vec<String> = claims_of(pod).collect();
            let place = |pod: &Pod| (node_name(pod).map(str::to_owned), has_ended(pod));
            match change {
                _ if names.is_empty() => return,
                Change::Modified { old, new } if place(old) == place(new) => return,
                _ => {}
            }
            let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
            let claims = names.iter().filter_map(|name| claims.get(namespace, name));
            let bound = claims.filter(|claim| !volume_of(claim).is_empty());
            bound.for_each(|claim| queue.add(cluster_key(volume_of(&claim))));
        });
        let queue = self.queue.clone();
        attachments.on_change(move |change| {
            change.object().spec.source.persistent_volume_name.iter().for_each(|name| queue.add(cluster_key(name)));
        });
        let (queue, by_node) = (self.queue.clone(), self.by_node.clone());
        self.nodes.on_change(move |change| {
            if let Change::Modified { old, new } = change
                && facts(old) == facts(new)
            {
                return;
            }
            for attachment in by_node.naming(&Key::of(&**change.object())) {
                attachment.spec.source.persistent_volume_name.iter().for_each(|name| queue.add(cluster_key(name)));
            }
        });
    }

    async fn reconcile(&self, key: Key) -> Result<Action, Error> {
        let volume = self.volumes.get("", &key.name);
        let attachments = self.by_volume.naming(&key);
        let Some((volume, source)) = volume.as_ref().and_then(|volume| Some((volume, names::source(volume)?))) else {
            return self.abandon(&attachments).await;
        };
        let pods = if self.needs_attaching(&source.driver) { self.pods_of(volume) } else { Vec::new() };
        let wanted: BTreeSet<String> = pods.iter().filter_map(|pod| node_name(pod)).map(str::to_owned).collect();
        let own = |node: &str| names::attachment(source, node);
        let present: Vec<Present> = attachments
            .iter()
            .filter(|attachment| attachment.metadata.name.as_deref() == Some(&own(&attachment.spec.node_name)))
            .map(|attachment| Present {
                node: attachment.spec.node_name.clone(),
                leaving: is_deleting(&attachment.metadata),
            })
            .collect();
        let unique = names::unique(source);
        let since = self.note_unwanted(&present, &wanted, own);
        let plan = plan(&wanted, &present, is_exclusive(volume), |name| {
            let waited = since.get(name).map(|since| clock::instant().saturating_duration_since(*since));
            may_leave(self.nodes.get("", name).as_deref(), &unique, waited.unwrap_or_default())
        });

        for node in &plan.detach {
            // Nobody may begin to use it while it goes.
            self.report(node, Some(&unique)).await?;
            self.detach(&own(node), &attachments).await?;
        }
        for node in &plan.attach {
            self.attach(&key.name, own(node), source.driver.clone(), node).await?;
        }
        self.tell_refused(&key.name, &plan.refused, &pods);
        for at in present.iter().filter(|at| !at.leaving && !plan.detach.contains(&at.node)) {
            if self.report(&at.node, None).await?.contains(&unique) {
                let message = format!("AttachVolume.Attach succeeded for volume {:?} ", key.name);
                for pod in pods.iter().filter(|pod| node_name(pod) == Some(&at.node)) {
                    self.recorder.event(&**pod, Kind::Normal, "SuccessfulAttachVolume", message.as_str());
                }
            }
        }
        Ok(if plan.held.is_empty() { Action::Done } else { Action::After(RECHECK) })
    }

    /// Source: `CanAttach`, `skipAttach`: a driver of which nothing is known is attached.
    fn needs_attaching(&self, driver: &str) -> bool {
        self.drivers.get("", driver).is_none_or(|driver| driver.spec.attach_required != Some(false))
    }

    /// The pods for which a volume has to be at a node.
    fn pods_of(&self, volume: &PersistentVolume) -> Vec<Arc<Pod>> {
        let name = volume.metadata.name.as_deref().unwrap_or_default();
        let claim = claim_of(volume).and_then(|(key, uid)| {
            let claim = self.claims.get(&key.namespace, &key.name)?;
            let is_bound = volume_of(&claim) == name && uid == claim.metadata.uid.as_deref();
            is_bound.then_some(key)
        });
        let pods = claim.map(|claim| self.users.naming(&claim)).unwrap_or_default();
        let is_managed = |name: &str| {
            let node = self.nodes.get("", name);
            node.is_some_and(|node| annotation(&node.metadata, MANAGED) == Some("true"))
        };
        pods.into_iter().filter(|pod| !has_ended(pod) && node_name(pod).is_some_and(is_managed)).collect()
    }

    /// Remembers since when a volume should leave nodes; gives that by node.
    fn note_unwanted(
        &self,
        present: &[Present],
        wanted: &BTreeSet<String>,
        own: impl Fn(&str) -> String,
    ) -> HashMap<String, Instant> {
        let mut unwanted = self.unwanted.lock().unwrap_or_else(PoisonError::into_inner);
        let mut since = HashMap::new();
        for at in present {
            let name = own(&at.node);
            if wanted.contains(&at.node) || at.leaving {
                unwanted.remove(&name);
            } else {
                since.insert(at.node.clone(), *unwanted.entry(name).or_insert_with(clock::instant));
            }
        }
        since
    }

    async fn attach(&self, volume: &str, name: String, driver: String, node: &str) -> Result<(), Error> {
        let attachment = VolumeAttachment {
            metadata: ObjectMeta { name: Some(name), ..ObjectMeta::default() },
            spec: VolumeAttachmentSpec {
                attacher: driver,
                node_name: node.to_owned(),
                source: VolumeAttachmentSource {
                    persistent_volume_name: Some(volume.to_owned()),
                    inline_volume_spec: None,
                },
            },
            status: None,
        };
        match self.client.create(&attachment).await {
            Err(error) if error.reason != Reason::AlreadyExists => Err(error),
            _ => Ok(()),
        }
    }

    async fn detach(&self, name: &str, attachments: &[Arc<VolumeAttachment>]) -> Result<(), Error> {
        let uid = attachments
            .iter()
            .find(|attachment| attachment.metadata.name.as_deref() == Some(name))
            .and_then(|attachment| attachment.metadata.uid.clone());
        let preconditions = Some(Preconditions { uid, resource_version: None });
        let options = DeleteOptions { preconditions, ..DeleteOptions::default() };
        match self.client.delete::<VolumeAttachment>("", name, options).await {
            Err(error) if error.reason != Reason::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// The volume is gone: nothing is left that could be attached.
    async fn abandon(&self, attachments: &[Arc<VolumeAttachment>]) -> Result<Action, Error> {
        for attachment in attachments.iter().filter(|attachment| !is_deleting(&attachment.metadata)) {
            let name = attachment.metadata.name.as_deref().unwrap_or_default();
            if names::is_attachment(name) {
                self.report(&attachment.spec.node_name, None).await?;
                self.detach(name, attachments).await?;
            }
        }
        Ok(Action::Done)
    }

    fn tell_refused(&self, volume: &str, refused: &[String], pods: &[Arc<Pod>]) {
        let mut told = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        told.retain(|(of, node)| of != volume || refused.contains(node));
        for node in refused {
            if !told.insert((volume.to_owned(), node.clone())) {
                continue;
            }
            let elsewhere = pods.iter().filter(|pod| node_name(pod) != Some(node));
            let holders: Vec<(String, String)> =
                elsewhere.map(|pod| Key::of(&**pod)).map(|key| (key.namespace, key.name)).collect();
            for pod in pods.iter().filter(|pod| node_name(pod) == Some(node)) {
                let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
                let message = refusal(volume, namespace, &holders);
                self.recorder.event(&**pod, Kind::Warning, "FailedAttachVolume", message);
            }
        }
    }

    /// Writes into a node's status what is attached to it, but for a volume that is to leave. Gives what is new there.
    async fn report(&self, name: &str, leaving: Option<&str>) -> Result<Vec<String>, Error> {
        let Some(node) = self.nodes.get("", name) else { return Ok(Vec::new()) };
        let attached = |attachment: &Arc<VolumeAttachment>| {
            let is_attached = attachment.status.as_ref().is_some_and(|status| status.attached);
            (is_attached && !is_deleting(&attachment.metadata)).then_some(())?;
            let volume = self.volumes.get("", attachment.spec.source.persistent_volume_name.as_deref()?)?;
            let source = names::source(&volume)?;
            let is_own = attachment.metadata.name.as_deref() == Some(&names::attachment(source, name));
            is_own.then(|| names::unique(source))
        };
        let mut volumes: Vec<String> = self.by_node.naming(&cluster_key(name)).iter().filter_map(attached).collect();
        volumes.retain(|volume| Some(volume.as_str()) != leaving);
        volumes.sort();
        let known = node.status.iter().flat_map(|status| status.volumes_attached.iter().flatten());
        let mut known: Vec<String> = known.map(|volume| volume.name.clone()).collect();
        known.sort();
        if volumes == known {
            return Ok(Vec::new());
        }
        let new = volumes.iter().filter(|volume| !known.contains(volume)).cloned().collect();
        let volumes: Vec<AttachedVolume> =
            volumes.into_iter().map(|name| AttachedVolume { name, device_path: String::new() }).collect();
        let patch = json!({
            "metadata": {"resourceVersion": node.metadata.resource_version},
            "status": {"volumesAttached": volumes},
        });
        self.client.patch_status::<Node>("", name, Patch::Merge(patch)).await?;
        Ok(new)
    }
}

/// All about a node that decides whether volumes may leave it, or are said to be there.
fn facts(node: &Node) -> (bool, bool, Vec<String>, Vec<String>) {
    let status = node.status.as_ref();
    let in_use = status.and_then(|status| status.volumes_in_use.clone()).unwrap_or_default();
    let attached = status.iter().flat_map(|status| status.volumes_attached.iter().flatten());
    (is_ready(node), is_out_of_service(node), in_use, attached.map(|volume| volume.name.clone()).collect())
}
