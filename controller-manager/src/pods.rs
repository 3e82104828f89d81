//! Pods that loops make and remove for their owners. Source: `controller_utils.go` in Kubernetes (`PodControl`).

use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::future::join_all;
use k8s_openapi::{
    api::core::v1::{Pod, PodTemplateSpec},
    apimachinery::pkg::apis::meta::v1::{DeleteOptions, ObjectMeta, Preconditions, Time},
};
use kubelab_api::{
    Error, Reason,
    meta::{controller_reference, is_controlled_by},
    name::generate,
    pod::{condition, get_condition, is_available, is_ready},
};
use kubelab_client::{Client, Failed, Object, Recorder, controller::Key, recorder::Kind};

/// Names drawn for a pod before it is given up. Source: the apiserver's `maxNameGenerationCreateAttempts`.
const NAME_TRIES: usize = 8;

/// Makes and removes pods, and tells of it in events about their owner.
pub struct PodControl {
    client: Client,
    recorder: Recorder,
}

impl PodControl {
    /// Events come from `recorder`'s component.
    pub fn new(client: &Client, recorder: Recorder) -> Self {
        Self { client: client.clone(), recorder }
    }

    /// Creates a pod with a random name. The name is given here, not by the apiserver, so that the request can be repeated
    /// when its answer is lost, and makes one pod all the same.
    pub async fn create<O: Object>(&self, owner: &O, pod: &Pod) -> Result<(), Error> {
        match self.create_named(owner, pod).await {
            Ok(name) => {
                self.recorder.event(owner, Kind::Normal, "SuccessfulCreate", format!("Created pod: {name}"));
                Ok(())
            }
            Err(error) => {
                if !namespace_is_terminating(&error) {
                    self.recorder.event(owner, Kind::Warning, "FailedCreate", format!("Error creating: {error}"));
                }
                Err(error)
            }
        }
    }

    /// A name that is taken is drawn again: among some thousand pods of one owner two often draw the same.
    async fn create_named<O: Object>(&self, owner: &O, pod: &Pod) -> Result<String, Error> {
        let mut pod = pod.clone();
        let mut tries = 0;
        loop {
            let name = generate(pod.metadata.generate_name.as_deref().unwrap_or_default(), rand::random());
            pod.metadata.name = Some(name.clone());
            tries += 1;
            match self.client.try_create(&pod).await {
                Ok(_) => return Ok(name),
                Err(Failed { error, .. }) if error.reason != Reason::AlreadyExists => return Err(error),
                Err(Failed { maybe_done: true, .. }) if self.is_owned(owner, &pod).await? => return Ok(name),
                Err(Failed { error, .. }) if tries == NAME_TRIES => return Err(error),
                Err(_) => {}
            }
        }
    }

    /// A pod of this name exists: the one that an earlier attempt of the same request made, or a stranger's?
    async fn is_owned<O: Object>(&self, owner: &O, pod: &Pod) -> Result<bool, Error> {
        let key = Key::of(pod);
        let present: Pod = self.client.get(&key.namespace, &key.name).await?;
        Ok(is_controlled_by(&present.metadata, owner.metadata().uid.as_deref().unwrap_or_default()))
    }

    /// Deletes a pod; a pod that is gone already is an error.
    pub async fn delete<O: Object>(&self, owner: &O, pod: &Pod) -> Result<(), Error> {
        let key = Key::of(pod);
        let preconditions = Some(Preconditions { uid: pod.metadata.uid.clone(), resource_version: None });
        let options = DeleteOptions { preconditions, ..Default::default() };
        match self.client.delete::<Pod>(&key.namespace, &key.name, options).await {
            Ok(()) => {
                self.recorder.event(owner, Kind::Normal, "SuccessfulDelete", format!("Deleted pod: {}", key.name));
                Ok(())
            }
            Err(error) => {
                if error.reason != Reason::NotFound {
                    self.recorder.event(owner, Kind::Warning, "FailedDelete", format!("Error deleting: {error}"));
                }
                Err(error)
            }
        }
    }
}

/// A pod as `template` describes it, controlled by `owner` and named after it.
pub fn from_template<O: Object>(template: &PodTemplateSpec, owner: &O) -> Pod {
    let meta = template.metadata.clone().unwrap_or_default();
    Pod {
        metadata: ObjectMeta {
            namespace: owner.metadata().namespace.clone(),
            generate_name: Some(format!("{}-", owner.metadata().name.as_deref().unwrap_or_default())),
            labels: meta.labels,
            annotations: meta.annotations,
            finalizers: meta.finalizers,
            owner_references: Some(vec![controller_reference(owner)]),
            ..Default::default()
        },
        spec: template.spec.clone(),
        status: None,
    }
}

/// The namespace takes no new objects because it is being deleted, so there is nothing to retry or to tell of.
pub fn namespace_is_terminating(error: &Error) -> bool {
    let causes = error.details.iter().flat_map(|details| details.causes.iter().flatten());
    causes.into_iter().any(|cause| cause.reason.as_deref() == Some("NamespaceTerminating"))
}

/// Does `create` `count` times in batches of 1, 2, 4, …, and stops after a batch in which one failed: if all are going to
/// fail alike (a quota, say), few requests are wasted. Returns how many succeeded and the first failure.
pub async fn slow_start<F, Fut>(count: usize, create: F) -> (usize, Option<Error>)
where
    F: Fn() -> Fut,
    Fut: Future<Output = Result<(), Error>>,
{
    let (mut done, mut batch) = (0, 1.min(count));
    while batch > 0 {
        let results = join_all((0..batch).map(|_| create())).await;
        done += results.iter().filter(|result| result.is_ok()).count();
        if let Some(error) = results.into_iter().find_map(Result::err) {
            return (done, Some(error));
        }
        batch = (2 * batch).min(count - done);
    }
    (done, None)
}

/// Does `work` on each of these in batches as [`slow_start`] does. Returns how many succeeded and the first failure.
pub async fn slow_start_each<T, F, Fut>(items: impl IntoIterator<Item = T>, work: F) -> (usize, Option<Error>)
where
    F: Fn(T) -> Fut,
    Fut: Future<Output = Result<(), Error>>,
{
    let items: Vec<T> = items.into_iter().collect();
    let (count, items) = (items.len(), Mutex::new(items.into_iter()));
    let work = || {
        let next = items.lock().unwrap_or_else(PoisonError::into_inner).next().map(&work);
        async move {
            match next {
                Some(working) => working.await,
                None => Ok(()),
            }
        }
    };
    slow_start(count, work).await
}

/// How long until the next ready pod becomes available; `None` when all that are ready are available too.
pub fn next_available(pods: &[Arc<Pod>], min_ready_seconds: i32, now: &Time) -> Option<Duration> {
    let wait = Duration::from_secs(u64::try_from(min_ready_seconds).unwrap_or(0));
    let ready_since = |pod: &Arc<Pod>| get_condition(pod, condition::READY)?.last_transition_time.clone();
    pods.iter()
        .filter(|pod| is_ready(pod) && !is_available(pod, min_ready_seconds, now.0))
        .filter_map(ready_since)
        .map(|since| wait.saturating_sub(Duration::try_from(now.0.duration_since(since.0)).unwrap_or_default()))
        .min()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::cell::Cell;

    use serde_json::json;

    use futures::executor::block_on;

    use super::*;

    #[test]
    fn batches_double_until_one_fails() {
        for (count, fails_at, made, calls) in
            [(0, 99, 0, 0), (1, 99, 1, 1), (10, 99, 10, 10), (10, 0, 0, 1), (10, 4, 6, 7), (10, 8, 9, 10)]
        {
            let called = Cell::new(0);
            let create = || {
                let call = called.replace(called.get() + 1);
                async move { if call == fails_at { Err(Error::internal("quota")) } else { Ok(()) } }
            };
            let (done, error) = block_on(slow_start(count, create));
            assert_eq!((done, called.get()), (made, calls), "{count} with a failure at {fails_at}");
            assert_eq!(error.is_some(), fails_at < count);
        }
    }
    #[test]
    fn each_item_is_worked_on_once() {
        let seen = Cell::new(0);
        let work = |item: i32| {
            seen.set(seen.get() + item);
            async { Ok(()) }
        };
        assert_eq!(block_on(slow_start_each([1, 2, 4, 8, 16], work)).0, 5);
        assert_eq!(seen.get(), 31);
    }

    #[test]
    fn the_next_pod_becomes_available_after_the_rest_of_its_time() {
        let now = Time("2026-11-20T12:00:30Z".parse().unwrap());
        let pod = |status: &str, since: &str| {
            let ready = json!([{"type": "Ready", "status": status, "lastTransitionTime": since}]);
            Arc::new(serde_json::from_value::<Pod>(json!({"status": {"conditions": ready}})).unwrap())
        };
        let pods = [
            pod("True", "2026-11-20T12:00:00Z"),
            pod("True", "2026-11-20T12:00:25Z"),
            pod("True", "2026-11-20T12:00:28Z"),
            pod("False", "2026-11-20T12:00:29Z"),
        ];
        assert_eq!(next_available(&pods, 10, &now), Some(Duration::from_secs(5)));
        assert_eq!(next_available(&pods, 0, &now), None);
    }
}
