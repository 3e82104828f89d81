//! Volumes of pods: where they are, whether all is there that they show, and their files as soon as a program looks.
//! Source of the steps and their wording: `pkg/kubelet/volumemanager` and `pkg/volume` of Kubernetes.

use std::{
    collections::BTreeMap,
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    io,
    path::Path,
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::api::{
    core::v1::{Container, Pod, Volume},
    storage::v1::CSIDriver,
};
use kubelab_api::error::Reason;
use kubelab_client::{
    clock::{self, Instant},
    recorder::Kind,
};

use super::{
    Node,
    worker::{State, Worker},
};
use crate::{
    pod::{
        env::{Facts, Needs, Sources},
        memory::{Ending, Failure},
        status::first_reason,
    },
    runtime::{Mount, PodRef},
    volumes::{
        host, limits,
        mounts::{Source, mounts},
        payload::{self, Given, Payload, is_access, is_written, needs, payload},
        token::Token,
        writer,
    },
};

/// Waits between tries to mount: 500 ms, doubling to 2 min 2 s. Source: `pkg/util/goroutinemap/exponentialbackoff`.
const FIRST_RETRY: Duration = Duration::from_millis(500);
const LAST_RETRY: Duration = Duration::from_secs(122);

/// For how long files are taken to be as the API has them. Upstream's kubelets look every minute or so; here, only when
/// somebody looks at the files.
const FRESH: Duration = Duration::from_secs(1);

/// How long a program waits for files that were there before to be brought up to date, and for those that were not.
const PATIENCE: Duration = Duration::from_secs(2);
const FIRST_PATIENCE: Duration = Duration::from_secs(10);

/// How often volumes with a limit are measured. Source: the eviction manager's `monitoringInterval`.
const MEASURE: Duration = Duration::from_secs(10);

/// Where a pod's logs are, from the place of their link in the node's file system.
const LOGS: &str = "../../../logs";

/// A volume's files, as they were written last.
#[derive(Default)]
pub struct Shown {
    looked_at: Option<Instant>,
    written: Option<u64>,
    tokens: BTreeMap<crate::volumes::token::Wanted, Token>,
}

impl Node {
    /// Waits until a pod's volumes can be used; says where they are.
    pub(super) async fn mount(&self, worker: &Worker, pod: &Pod) -> Result<Arc<BTreeMap<String, Source>>, Failure> {
        if let Some(mounted) = worker.state().mounted.clone() {
            return Ok(mounted);
        }
        let messages = match self.set_up(pod).await {
            Ok(sources) => {
                let sources = Arc::new(sources);
                let state = &mut *worker.state();
                state.memory.failed_mounts = 0;
                state.mounted = Some(sources.clone());
                return Ok(sources);
            }
            Err(messages) => messages,
        };
        for message in messages {
            self.recorder.event(pod, Kind::Warning, "FailedMount", message);
        }
        let memory = &mut worker.state().memory;
        let wait = FIRST_RETRY.saturating_mul(1 << memory.failed_mounts.min(10)).min(LAST_RETRY);
        memory.failed_mounts += 1;
        let reason = pod.spec.as_ref().map_or("ContainerCreating", first_reason).to_owned();
        Err(Failure { reason, message: None, retry_at: clock::now_micro().0 + wait, later: None })
    }

    /// Where a pod's volumes are; or why they cannot be used, for its owner to read.
    async fn set_up(&self, pod: &Pod) -> Result<BTreeMap<String, Source>, Vec<String>> {
        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
        let folder = self.runtime.volumes(uid);
        let mut failed = self.check_written(pod).await;
        let mut sources = BTreeMap::new();
        for volume in pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten()) {
            let own = |mode, read_only| Source::folder(folder.join(&volume.name), mode, read_only);
            let source = if let Some(host) = &volume.host_path {
                match self.host_path(&host.path, host.type_.as_deref().unwrap_or_default()) {
                    Ok(path) => Source::folder(path, 0o755, false),
                    Err(why) => {
                        failed.push(format!("MountVolume.SetUp failed for volume {:?} : {why}", volume.name));
                        continue;
                    }
                }
            } else if let Some(nfs) = &volume.nfs {
                Source::folder(self.config.places.nfs(nfs), 0o755, nfs.read_only == Some(true))
            } else if let Some(csi) = &volume.csi {
                if let Err(why) = self.inline_driver(&csi.driver).await {
                    failed.push(format!(
                        "MountVolume.NewMounter initialization failed for volume {:?} : {why}",
                        volume.name
                    ));
                    continue;
                }
                own(0o755, csi.read_only == Some(true))
            } else if is_written(volume) {
                Source { written: true, ..own(0o755, true) }
            } else {
                own(if volume.empty_dir.is_some() { 0o777 } else { 0o755 }, volume.image.is_some())
            };
            sources.insert(volume.name.clone(), source);
        }
        if !failed.is_empty() {
            return Err(failed);
        }
        sources.extend(self.claimed(pod).await.map_err(|why| vec![why])?);
        Ok(sources)
    }

    /// Whether a driver makes volumes for single pods; or why not. A driver is there if its CSIDriver is. Source of the
    /// wording: `supportsVolumeLifecycleMode` in `pkg/volume/csi` of Kubernetes.
    async fn inline_driver(&self, driver: &str) -> Result<(), String> {
        let found: Result<CSIDriver, _> = self.client.get("", driver).await;
        let modes = match found {
            Ok(found) => found.spec.volume_lifecycle_modes.unwrap_or_else(|| vec!["Persistent".to_owned()]),
            Err(error) if error.reason == Reason::NotFound => {
                return Err(format!(
                    "volume mode \"Ephemeral\" not supported by driver {driver} (no CSIDriver object)"
                ));
            }
            Err(error) => return Err(error.message),
        };
        if modes.iter().any(|mode| mode == "Ephemeral") {
            return Ok(());
        }
        let modes: Vec<String> = modes.iter().map(|mode| format!("{mode:?}")).collect();
        let modes = modes.join(" ");
        Err(format!("volume mode \"Ephemeral\" not supported by driver {driver} (only supports [{modes}])"))
    }

    fn host_path(&self, path: &str, type_: &str) -> Result<std::path::PathBuf, String> {
        let places = &self.config.places;
        host::prepare(&places.host, &self.config.name, LOGS)
            .map_err(|error| format!("cannot lay out the node's files: {error}"))?;
        let place = places.host_path(path);
        host::check(&place, path, type_).map(|()| place)
    }

    /// What is not there of what volumes show. What every pod gets is not looked at: see [`is_access`].
    async fn check_written(&self, pod: &Pod) -> Vec<String> {
        let volumes = || pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
        let checked = || volumes().filter(|volume| is_written(volume) && !is_access(volume));
        let mut wanted = Needs::default();
        checked().for_each(|volume| wanted.extend(needs(volume)));
        let sources = match self.fetch(pod, wanted).await {
            Ok(sources) => sources,
            Err(error) => return vec![error.to_string()],
        };
        let facts = self.facts(pod, Vec::new());
        let failed = checked().filter_map(|volume| {
            let tokens = payload::tokens(volume).into_iter().map(|wanted| (wanted, Ok(String::new()))).collect();
            let given = Given { sources: &sources, tokens: &tokens, facts: &facts };
            let error = payload(pod, volume, &given).err()?;
            Some(format!("MountVolume.SetUp failed for volume {:?} : {error}", volume.name))
        });
        failed.collect()
    }

    /// The mounts of a container. Parts of files that are written when somebody looks are written now, and stay as they
    /// are now.
    pub(super) async fn mounts(
        &self,
        pod: &Pod,
        container: &Container,
        sources: &BTreeMap<String, Source>,
        env: &[(String, String)],
    ) -> Result<Vec<Mount>, String> {
        let mut mounts = mounts(container, sources, env).map_err(|error| error.to_string())?;
        let key = PodRef::of(pod);
        let names = container.volume_mounts.iter().flatten().map(|mount| &mount.name);
        for (index, (mount, name)) in mounts.iter_mut().zip(names).enumerate() {
            if mount.volume.is_some() || !sources.get(name).is_some_and(|source| source.written) {
                continue;
            }
            self.refresh(&key, name).await;
            let part = self.runtime.volumes(&key.uid).join("..parts").join(&container.name).join(index.to_string());
            let copied = copy_part(&mount.source, &part);
            copied.map_err(|error| format!("failed to prepare subPath for volumeMount {name:?}: {error}"))?;
            mount.source = part;
        }
        Ok(mounts)
    }

    /// Brings a volume's files up to date, as a program is about to look at them.
    pub(super) async fn refresh(&self, key: &PodRef, name: &str) {
        let pod = self.pods.get(&key.namespace, &key.name);
        let Some(pod) = pod.filter(|pod| pod.metadata.uid.as_deref() == Some(&key.uid)) else { return };
        if self.runtime.sandbox(&key.uid).is_none() {
            return;
        }
        let worker = self.worker(&key.uid);
        let mut volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
        let Some(volume) = volumes.find(|volume| volume.name == name) else { return };
        let mut all = worker.shown().await;
        let shown = all.entry(name.to_owned()).or_default();
        if shown.looked_at.is_some_and(|looked| looked.elapsed() < FRESH) {
            return;
        }
        let patience = if shown.written.is_some() { PATIENCE } else { FIRST_PATIENCE };
        let made = tokio::select! {
            made = self.make(&pod, volume, shown) => made,
            () = clock::sleep(patience) => Err("timed out waiting for the API".to_owned()),
        };
        shown.looked_at = Some(clock::instant());
        let written = made.and_then(|files| self.show(key, name, &files, shown).map_err(|error| error.to_string()));
        if let Err(why) = written {
            let message = format!("MountVolume.SetUp failed for volume {name:?} : {why}");
            self.recorder.event(&*pod, Kind::Warning, "FailedMount", message);
        }
    }

    async fn make(&self, pod: &Pod, volume: &Volume, shown: &mut Shown) -> Result<Payload, String> {
        let sources = self.fetch(pod, needs(volume)).await.map_err(|error| error.to_string())?;
        let mut tokens = BTreeMap::new();
        for wanted in payload::tokens(volume) {
            let now = clock::now_micro().0;
            let known = shown.tokens.get(&wanted);
            if known.is_none_or(|token| token.is_due(now)) {
                match self.token(pod, &wanted).await {
                    Ok(token) => drop(shown.tokens.insert(wanted.clone(), token)),
                    Err(_) if known.is_some_and(|token| token.is_valid(now)) => {}
                    Err(error) => {
                        tokens.insert(wanted, Err(error));
                        continue;
                    }
                }
            }
            let token = shown.tokens.get(&wanted).map(|token| token.text.clone()).unwrap_or_default();
            tokens.insert(wanted, Ok(token));
        }
        let facts = self.facts(pod, Vec::new());
        let given = Given { sources: &sources, tokens: &tokens, facts: &facts };
        payload(pod, volume, &given).map_err(|error| error.to_string())
    }

    fn show(&self, key: &PodRef, name: &str, files: &Payload, shown: &mut Shown) -> io::Result<()> {
        let mut hasher = DefaultHasher::new();
        files.hash(&mut hasher);
        let hash = hasher.finish();
        if shown.written != Some(hash) {
            writer::write(&self.runtime.volumes(&key.uid).join(name), files, clock::now_micro().0)?;
            shown.written = Some(hash);
        }
        Ok(())
    }

    /// Evicts a pod that has put more into a volume than that may have. Returns when to look again.
    pub(super) fn keep_limits(&self, pod: &Pod, state: &mut State, now: Timestamp) -> Option<Timestamp> {
        if !limits::has_any(pod) || state.memory.ending.is_some() {
            return None;
        }
        let next = state.measured_at.map(|measured| measured + MEASURE);
        if next.is_some_and(|next| now < next) {
            return next;
        }
        state.measured_at = Some(now);
        let folder = self.runtime.volumes(pod.metadata.uid.as_deref().unwrap_or_default());
        if let Some(message) = limits::exceeded(pod, &folder, &folder.with_file_name("containers")) {
            self.recorder.event(pod, Kind::Warning, "Evicted", message.clone());
            state.memory.ending = Some(Ending { reason: "Evicted".to_owned(), message, rejected: false, grace: None });
        }
        Some(now + MEASURE)
    }

    /// What the node knows that environments and volumes ask for.
    pub(super) fn facts(&self, pod: &Pod, services: Vec<(String, String)>) -> Facts {
        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
        Facts {
            pod_ip: self.runtime.sandbox(uid).map_or(self.config.ip, |sandbox| sandbox.address),
            host_ip: self.config.ip,
            allocatable: self.config.capacity.clone(),
            services,
        }
    }

    /// What is in files of a pod's volumes.
    pub(super) fn read_files(&self, pod: &Pod, needs: &Needs, sources: &mut Sources) {
        let folder = self.runtime.volumes(pod.metadata.uid.as_deref().unwrap_or_default());
        for (volume, path) in &needs.files {
            let path_in_volume = crate::shell::files::normalize("/", path);
            let file = folder.join(volume).join(path_in_volume.trim_start_matches('/'));
            let small = fs::metadata(&file).is_ok_and(|about| about.len() <= crate::pod::env_file::MAX_BYTES);
            let text = small.then(|| fs::read(&file).ok()).flatten();
            let text = text.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
            sources.files.insert((volume.clone(), path.clone()), text);
        }
    }
}

/// Copies what a part of a volume is now, a file or a folder; a part that is not there is an empty folder.
fn copy_part(from: &Path, to: &Path) -> io::Result<()> {
    if to.is_dir() {
        fs::remove_dir_all(to)?;
    } else if to.exists() {
        fs::remove_file(to)?;
    }
    if from.is_file() {
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent)?;
        }
        return fs::copy(from, to).map(drop);
    }
    fs::create_dir_all(to)?;
    if from.is_dir() {
        for entry in fs::read_dir(from)? {
            let name = entry?.file_name();
            copy_part(&from.join(&name), &to.join(&name))?;
        }
    }
    Ok(())
}
