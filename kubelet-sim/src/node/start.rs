//! Starting containers: volumes, image, environment, and the events that tell of each. Source of the steps and their
//! wording: `startContainer` in `pkg/kubelet/kuberuntime` and `pkg/kubelet/images` of Kubernetes.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::{ConfigMap, Container as ContainerSpec, Pod, Secret};
use kubelab_api::error::Reason;
use kubelab_client::{Error, Object, clock, recorder::Kind};

use super::{Node, worker::Worker};
use crate::{
    behavior::images,
    duration,
    pod::{
        backoff::Backoff,
        env::{self, Needs, Sources},
        ephemeral,
        memory::{Failure, Later},
        plan::{self, Kill, Start},
        security, services,
    },
    runtime::{Launch, PodRef},
    volumes::{image, mounts::Source},
};

/// How soon a failed start is tried again. Source: the pod workers' `backOffPeriod`.
const RETRY: Duration = Duration::from_secs(10);
/// How long a failed pull is called `ErrImagePull` before it is called `ImagePullBackOff`. Upstream renames it at its next
/// look at the pod, which comes about this soon.
const PULL_ERROR_SHOWN: Duration = Duration::from_secs(1);
/// How long a container whose program could not be started is called so, before it waits as one that crashed.
const RUN_ERROR_SHOWN: Duration = Duration::from_secs(1);

impl Node {
    /// Starts containers one after the other. Each that has started, or could not be, makes the pod be looked at.
    pub(super) async fn start_all(self: Arc<Self>, worker: Arc<Worker>, pod: Arc<Pod>, starts: Vec<Start>) {
        let key = PodRef::of(&pod);
        let mounted = self.mount(&worker, &pod).await;
        for start in &starts {
            let started = match &mounted {
                Ok(volumes) => self.start(&worker, &pod, start, volumes).await,
                Err(failure) => Err(failure.clone()),
            };
            worker.state().memory.end_start(&start.name, started);
            self.queue.add(key.clone());
        }
        worker.state().starting = None;
        self.queue.add(key);
    }

    async fn start(
        self: &Arc<Self>,
        worker: &Worker,
        pod: &Arc<Pod>,
        start: &Start,
        volumes: &BTreeMap<String, Source>,
    ) -> Result<(), Failure> {
        let own = kubelab_api::pod::containers(pod).find(|container| container.name == start.name).cloned();
        let added = || pod.spec.iter().flat_map(ephemeral::containers).find(|container| container.name == start.name);
        let Some(container) = own.or_else(added) else { return Ok(()) };
        let container = &container;
        let name = &container.name;
        self.ensure_volumes(worker, pod, container).await?;
        let image = container.image.as_deref().unwrap_or_default();
        let policy = container.image_pull_policy.as_deref().unwrap_or("IfNotPresent");
        let tell = |kind, reason: &str, message: String| self.tell(pod, name, kind, reason, message);
        self.ensure_image(worker, pod, container, image, policy, &tell).await?;
        let misconfigured = |why: String| {
            self.tell(pod, name, Kind::Warning, "Failed", format!("Error: {why}"));
            failure("CreateContainerConfigError", why)
        };
        let user = images::user(container.image.as_deref().unwrap_or_default());
        security::check(pod, container, user).map_err(misconfigured)?;
        let env = self.environment(pod, container).await.map_err(misconfigured)?;
        let mounts = self.mounts(pod, container, volumes, &env).await.map_err(misconfigured)?;
        self.tell(pod, name, Kind::Normal, "Created", "Container created".to_owned());
        let launch = Launch { pod: pod.clone(), container: container.clone(), attempt: start.attempt, env, mounts };
        self.runtime.start(launch).await.map_err(|error| {
            self.tell(pod, name, Kind::Warning, "Failed", format!("Error: {error}"));
            let retry_at = clock::now_micro().0 + RUN_ERROR_SHOWN;
            Failure { retry_at, ..failure("RunContainerError", error.to_string()) }
        })?;
        self.tell(pod, name, Kind::Normal, "Started", "Container started".to_owned());
        let Some(hook) = container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.post_start.as_ref()) else {
            return Ok(());
        };
        let Err(why) = self.run_hook(pod, container, hook).await else { return Ok(()) };
        // What the hook said may be secret, so upstream's event does not repeat it.
        tracing::debug!(pod = pod.metadata.name, container = name, why, "a postStart hook failed");
        self.tell(pod, name, Kind::Warning, "FailedPostStartHook", "PostStartHook failed".to_owned());
        let key = PodRef::of(pod);
        if let Some(run) = self.runtime.sandbox(&key.uid).and_then(|sandbox| sandbox.latest(name).cloned()) {
            let grace = pod.spec.as_ref().map_or(plan::MINIMUM_GRACE, plan::grace);
            let kill = Kill { id: run.id, name: name.clone(), message: "FailedPostStartHook".to_owned(), grace };
            self.kill(&key, pod, &mut worker.state(), &kill, clock::now_micro().0);
        }
        let retry_at = clock::now_micro().0 + RUN_ERROR_SHOWN;
        Err(Failure { retry_at, ..failure("PostStartHookError", why) })
    }

    /// Makes sure that the images are on the node that a container mounts as volumes. What is told of them is told of the
    /// pod. Source: `getImageVolumes` in `pkg/kubelet/kuberuntime` of Kubernetes.
    async fn ensure_volumes(&self, worker: &Worker, pod: &Pod, container: &ContainerSpec) -> Result<(), Failure> {
        let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
        let mounted = |name: &str| container.volume_mounts.iter().flatten().any(|mount| mount.name == name);
        for volume in volumes.filter(|volume| mounted(&volume.name)) {
            let Some(source) = &volume.image else { continue };
            let image = source.reference.as_deref().unwrap_or_default();
            let policy = source.pull_policy.as_deref().unwrap_or("IfNotPresent");
            let puller =
                ContainerSpec { name: container.name.clone(), image: source.reference.clone(), ..Default::default() };
            let tell = |kind, reason: &str, message: String| self.recorder.event(pod, kind, reason, message);
            self.ensure_image(worker, pod, &puller, image, policy, &tell).await?;
            let folder = self.runtime.volumes(pod.metadata.uid.as_deref().unwrap_or_default()).join(&volume.name);
            if let Err(error) = image::write(image, &folder) {
                let message = format!("Error: {error}");
                tell(Kind::Warning, "Failed", message.clone());
                return Err(failure("CreateContainerError", message));
            }
        }
        Ok(())
    }

    /// Makes sure that an image is on the node, as the pull policy says.
    async fn ensure_image(
        &self,
        worker: &Worker,
        pod: &Pod,
        container: &ContainerSpec,
        image: &str,
        policy: &str,
        tell: &(dyn Fn(Kind, &str, String) + Sync),
    ) -> Result<(), Failure> {
        if !images::is_valid(image) {
            let message = format!(
                "Failed to apply default image tag {image:?}: couldn't parse image name {image:?}: invalid reference format"
            );
            tell(Kind::Warning, "InspectFailed", message.clone());
            tell(Kind::Warning, "Failed", "Error: InvalidImageName".to_owned());
            return Err(failure("InvalidImageName", message));
        }
        let is_here = self.runtime.image(image).is_some();
        if is_here && policy != "Always" {
            let message =
                format!("Container image {image:?} already present on machine and can be accessed by the pod");
            tell(Kind::Normal, "Pulled", message);
            return Ok(());
        }
        if policy == "Never" {
            let message = format!("Container image {image:?} is not present with pull policy of Never");
            tell(Kind::Warning, "ErrImageNeverPull", message.clone());
            tell(Kind::Warning, "Failed", "Error: ErrImageNeverPull".to_owned());
            return Err(failure("ErrImageNeverPull", message));
        }
        tell(Kind::Normal, "Pulling", format!("Pulling image {image:?}"));
        let began = clock::instant();
        match self.runtime.pull(pod, container).await {
            Ok(pulled) => {
                let took = duration::format(began.elapsed());
                tell(
                    Kind::Normal,
                    "Pulled",
                    format!(
                        "Successfully pulled image {image:?} in {took} ({took} including waiting). Image size: {} bytes.",
                        pulled.size
                    ),
                );
                worker.state().memory.pulls.remove(image);
                Ok(())
            }
            Err(error) => {
                tell(Kind::Warning, "Failed", format!("Failed to pull image {image:?}: {error}"));
                tell(Kind::Warning, "Failed", "Error: ErrImagePull".to_owned());
                Err(failed_pull(worker, image, error))
            }
        }
    }

    /// Tells that a failed pull waits for its next try.
    pub(super) fn tell_of_back_off(&self, pod: &Pod, name: &str, waits: &Later) {
        self.tell(pod, name, Kind::Normal, "BackOff", format!("Back-off pulling image {:?}", waits.image));
        self.tell(pod, name, Kind::Warning, "Failed", format!("Error: {}", waits.reason));
    }

    async fn environment(&self, pod: &Pod, container: &ContainerSpec) -> Result<Vec<(String, String)>, String> {
        let sources = self.fetch(pod, Needs::of(container)).await.map_err(|error| error.to_string())?;
        let services = self.services.known(&self.client).await;
        let facts = self.facts(pod, services::variables(pod, &services));
        env::resolve(pod, container, &sources, &facts).map_err(|error| error.to_string())
    }

    /// Fetches ConfigMaps and Secrets, as they are now.
    pub(super) async fn fetch(&self, pod: &Pod, needs: Needs) -> Result<Sources, Error> {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let mut sources = Sources::default();
        self.read_files(pod, &needs, &mut sources);
        for name in needs.config_maps {
            let found = self.find::<ConfigMap>(namespace, &name).await?;
            sources.config_maps.insert(name, found);
        }
        for name in needs.secrets {
            let found = self.find::<Secret>(namespace, &name).await?;
            sources.secrets.insert(name, found);
        }
        Ok(sources)
    }

    async fn find<K: Object>(&self, namespace: &str, name: &str) -> Result<Option<K>, Error> {
        match self.client.get(namespace, name).await {
            Ok(object) => Ok(Some(object)),
            Err(error) if error.reason == Reason::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn failure(reason: &str, message: String) -> Failure {
    let retry_at = clock::now_micro().0 + RETRY;
    Failure { reason: reason.to_owned(), message: Some(message), retry_at, later: None }
}

fn failed_pull(worker: &Worker, image: &str, error: String) -> Failure {
    let now = clock::now_micro().0;
    let pulls = &mut worker.state().memory.pulls;
    let backoff = Backoff::next(pulls.get(image), now, now);
    pulls.insert(image.to_owned(), backoff);
    let later = Later {
        at: now + PULL_ERROR_SHOWN,
        reason: "ImagePullBackOff".to_owned(),
        message: format!("Back-off pulling image {image:?}: ErrImagePull: {error}"),
        image: image.to_owned(),
    };
    Failure {
        reason: "ErrImagePull".to_owned(),
        message: Some(error),
        retry_at: now + backoff.delay(),
        later: Some(later),
    }
}
