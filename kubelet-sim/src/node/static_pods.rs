//! Keeps the pods of the node's manifests. Unlike upstream's, they live in the API alone: without an apiserver those that run
//! go on, and new ones wait. Source of the timing: the kubelet's `fileCheckFrequency`.

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use k8s_openapi::{
    api::core::v1::Pod,
    apimachinery::pkg::apis::meta::v1::{DeleteOptions, Preconditions},
};
use kubelab_api::error::Reason;
use kubelab_client::{Error, clock};

use super::Node;
use crate::pod::manifest;

const LOOK: Duration = Duration::from_secs(20);
const RETRY: Duration = Duration::from_secs(1);

/// The largest manifest.
const MAX_MANIFEST: u64 = 1 << 20;

impl Node {
    /// Looks at the manifests for as long as the node runs, and whenever one of their pods changes.
    pub(super) async fn keep_static_pods(&self) {
        let Some(folder) = self.config.manifests.clone() else { return };
        self.pods.synced().await;
        let changed = self.static_changed.clone();
        self.pods.on_change(move |change| {
            if manifest::hash_of(change.object()).is_some() {
                changed.notify_one();
            }
        });
        loop {
            let wait = match self.keep_manifests(&folder).await {
                Ok(true) => LOOK,
                // The node's object is not there yet.
                Ok(false) => RETRY,
                Err(error) => {
                    tracing::warn!(folder = %folder.display(), %error, "cannot keep static pods; will try again");
                    RETRY
                }
            };
            tokio::select! {
                () = clock::sleep(wait) => {}
                () = self.static_changed.notified() => {}
            }
        }
    }

    /// Makes the pods that are missing, and deletes those whose manifest is gone or another. Says whether that was possible.
    async fn keep_manifests(&self, folder: &Path) -> Result<bool, Error> {
        let Some(node) = self.object.get("", &self.config.name) else { return Ok(false) };
        let mut wanted = BTreeMap::new();
        for (path, text) in read(folder) {
            match manifest::mirror(&text, &node, clock::now_micro().0) {
                Ok(pod) => {
                    let key = (pod.metadata.namespace.clone(), pod.metadata.name.clone());
                    wanted.insert(key, pod);
                }
                Err(error) => tracing::warn!(file = path, %error, "this manifest is passed over"),
            }
        }
        for pod in self.pods.list().iter().filter(|pod| manifest::hash_of(pod).is_some()) {
            let key = (pod.metadata.namespace.clone(), pod.metadata.name.clone());
            match wanted.get(&key) {
                Some(same) if manifest::hash_of(same) == manifest::hash_of(pod) => {
                    wanted.remove(&key);
                }
                // Once it is gone, the new one is made.
                Some(_) => {
                    wanted.remove(&key);
                    self.delete_static(pod).await?;
                }
                None => self.delete_static(pod).await?,
            }
        }
        for pod in wanted.values() {
            match self.client.create(pod).await {
                Err(error) if error.reason != Reason::AlreadyExists => return Err(error),
                _ => {}
            }
        }
        Ok(true)
    }

    async fn delete_static(&self, pod: &Pod) -> Result<(), Error> {
        if pod.metadata.deletion_timestamp.is_some() {
            return Ok(());
        }
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let options = DeleteOptions {
            preconditions: Some(Preconditions { uid: pod.metadata.uid.clone(), ..Default::default() }),
            ..Default::default()
        };
        match self.client.delete::<Pod>(&text(&pod.metadata.namespace), &text(&pod.metadata.name), options).await {
            Err(error) if !matches!(error.reason, Reason::NotFound | Reason::Conflict) => Err(error),
            _ => Ok(()),
        }
    }
}

/// The manifests in a folder, or in a file; hidden files are none. What cannot be read is passed over.
fn read(place: &Path) -> Vec<(String, String)> {
    let mut paths = Vec::new();
    match fs::read_dir(place) {
        Ok(entries) => paths.extend(entries.flatten().map(|entry| entry.path())),
        Err(_) => paths.push(place.to_owned()),
    }
    paths.sort();
    let mut texts = Vec::new();
    for path in paths {
        let is_hidden = path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'));
        let is_small = fs::metadata(&path).is_ok_and(|about| about.is_file() && about.len() <= MAX_MANIFEST);
        if let (false, true, Ok(text)) = (is_hidden, is_small, fs::read_to_string(&path)) {
            texts.push((path.display().to_string(), text));
        }
    }
    texts
}
