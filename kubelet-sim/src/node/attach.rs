//! Claims of pods: the volumes that they stand for, and their way to the node. The node says which volumes it uses, and
//! waits until the attach-detach controller has said that they are attached. Source: `pkg/kubelet/volumemanager` of Kubernetes.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use k8s_openapi::api::{
    authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec},
    core::v1::{Node as NodeObject, PersistentVolume, PersistentVolumeClaim, Pod, ServiceAccount, Volume},
    storage::v1::CSIDriver,
};
use kubelab_client::clock;

use super::{Node, lock};
use crate::volumes::{
    claim::{self, Error},
    mounts::Source,
    token::{Token, Wanted},
};

/// How long a pod waits for its volumes before it begins anew. Source: `podAttachAndMountTimeout`.
const LONGEST_WAIT: Duration = Duration::from_secs(123);

/// The file of a volume that is a block device.
const DEVICE: &str = "device";

/// A volume that a pod claims.
struct Claimed {
    volume: PersistentVolume,
    read_only: bool,
    /// A block device.
    device: bool,
}

impl Node {
    /// Where the volumes are that a pod claims, once they can be used; or why they cannot.
    pub(super) async fn claimed(&self, pod: &Pod) -> Result<BTreeMap<String, Source>, String> {
        let mut sources = BTreeMap::new();
        let mut failed = Vec::new();
        let mut attached = Vec::new();
        for volume in pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten()) {
            let Some((name, own)) = claim::name(pod, volume) else { continue };
            match self.resolve(pod, volume, &name, own).await {
                Ok(claimed) => {
                    attached.extend(self.to_attach(&claimed.volume).await);
                    let folder = self.config.places.persistent(&claimed.volume);
                    let source = match claimed.device {
                        true => {
                            Source { device: true, ..Source::folder(folder.join(DEVICE), 0o660, claimed.read_only) }
                        }
                        false => Source::folder(folder, 0o755, claimed.read_only),
                    };
                    sources.insert(volume.name.clone(), source);
                }
                Err(error) => failed.push((volume.name.clone(), name, error)),
            }
        }
        if !failed.is_empty() {
            return Err(claim::message(pod, &failed));
        }
        self.use_volumes(pod, &attached);
        if !self.until_attached(&attached).await {
            let names: Vec<&str> = sources.keys().map(String::as_str).collect();
            let names = names.join(" ");
            return Err(format!(
                "Unable to attach or mount volumes: unmounted volumes=[{names}], unattached volumes=[{names}], failed to \
                 process volumes=[]: context deadline exceeded"
            ));
        }
        Ok(sources)
    }

    /// Says again that the volumes of a pod are used that has run before the kubelet was restarted.
    pub(super) async fn hold(self: Arc<Self>, pod: Arc<Pod>) {
        let mut names = Vec::new();
        for volume in pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten()) {
            let Some((name, own)) = claim::name(&pod, volume) else { continue };
            if let Ok(claimed) = self.resolve(&pod, volume, &name, own).await {
                names.extend(self.to_attach(&claimed.volume).await);
            }
        }
        self.use_volumes(&pod, &names);
    }

    async fn resolve(&self, pod: &Pod, volume: &Volume, name: &str, own: bool) -> Result<Claimed, Error> {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let found: PersistentVolumeClaim =
            self.client.get(namespace, name).await.map_err(|error| Error::NoClaim(error.message))?;
        let bound_to = claim::volume_name(pod, &found, own)?;
        let bound: PersistentVolume =
            self.client.get("", &bound_to).await.map_err(|error| Error::NoVolume(bound_to, error.message))?;
        claim::check(&bound, &found)?;
        let device = claim::is_block(pod, &volume.name, &found)?;
        let by_pod = volume.persistent_volume_claim.as_ref().and_then(|source| source.read_only);
        let by_driver = bound.spec.as_ref().and_then(|spec| spec.csi.as_ref()).and_then(|csi| csi.read_only);
        Ok(Claimed { volume: bound, read_only: by_pod == Some(true) || by_driver == Some(true), device })
    }

    /// The name under which a volume is attached, if it has to be.
    async fn to_attach(&self, volume: &PersistentVolume) -> Option<String> {
        let name = claim::unique_name(volume)?;
        let driver = &volume.spec.as_ref()?.csi.as_ref()?.driver;
        match self.client.get::<CSIDriver>("", driver).await {
            Ok(driver) if driver.spec.attach_required == Some(false) => None,
            _ => Some(name),
        }
    }

    fn use_volumes(&self, pod: &Pod, names: &[String]) {
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let mut in_use = lock(&self.in_use);
        for name in names {
            in_use.entry(name.clone()).or_default().insert(uid.clone());
        }
        drop(in_use);
        if !names.is_empty() {
            self.object_changed.notify_one();
        }
    }

    /// A pod's volumes are not used any more.
    pub(super) fn leave_volumes(&self, uid: &str) {
        let mut left = false;
        lock(&self.in_use).retain(|_, users| {
            left |= users.remove(uid);
            !users.is_empty()
        });
        if left {
            self.object_changed.notify_one();
        }
    }

    /// The attached volumes that are used here.
    pub(super) fn volumes_in_use(&self) -> Vec<String> {
        lock(&self.in_use).keys().cloned().collect()
    }

    /// Waits until all know that these are used, and the node that they are attached.
    async fn until_attached(&self, names: &[String]) -> bool {
        if names.is_empty() {
            return true;
        }
        let mut changes = self.changes.subscribe();
        let deadline = clock::instant() + LONGEST_WAIT;
        loop {
            if self.object.get("", &self.config.name).is_some_and(|node| has_all(&node, names)) {
                return true;
            }
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return false },
                () = clock::sleep_until(deadline) => return false,
            }
        }
    }

    /// A new token of a pod's service account.
    pub(super) async fn token(&self, pod: &Pod, wanted: &Wanted) -> Result<Token, String> {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let (namespace, meta) = (text(&pod.metadata.namespace), &pod.metadata);
        let account = pod.spec.as_ref().and_then(|spec| spec.service_account_name.clone());
        let account = account.filter(|name| !name.is_empty()).unwrap_or_else(|| "default".to_owned());
        let request = TokenRequest {
            spec: Some(TokenRequestSpec {
                audiences: (!wanted.audience.is_empty()).then(|| vec![wanted.audience.clone()]),
                expiration_seconds: Some(wanted.seconds),
                bound_object_ref: Some(BoundObjectReference {
                    api_version: Some("v1".to_owned()),
                    kind: Some("Pod".to_owned()),
                    name: meta.name.clone(),
                    uid: meta.uid.clone(),
                }),
                ..TokenRequestSpec::default()
            }),
            ..TokenRequest::default()
        };
        let given_at = clock::now_micro().0;
        let given = self.client.create_subresource::<ServiceAccount, _>(&namespace, &account, "token", &request).await;
        let status = given.map_err(|error| error.message)?.status.unwrap_or_default();
        match (status.token, status.expiration_timestamp) {
            (Some(text), Some(end)) => Ok(Token { text, given_at, ends_at: end.0 }),
            _ => Err("the API gave no token".to_owned()),
        }
    }
}

fn has_all(node: &NodeObject, names: &[String]) -> bool {
    let Some(status) = &node.status else { return false };
    let attached = |name: &String| status.volumes_attached.iter().flatten().any(|volume| volume.name == *name);
    let used = |name: &String| status.volumes_in_use.iter().flatten().any(|used| used == name);
    names.iter().all(|name| attached(name) && used(name))
}
