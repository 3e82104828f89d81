//! Pods that have a job's finalizer, and no job that will count them and remove it.

use kubelab_api::Error;
use kubelab_client::{Action, controller::Key};

use super::{
    Loop, job_of, may_be_a_jobs,
    spec::{finished, is_managed_elsewhere},
};

pub(super) const NAME: &str = "job-orphan-pod";

impl Loop {
    pub(super) async fn release_orphan(&self, key: Key) -> Result<Action, Error> {
        let Some(pod) = self.pods.get(&key.namespace, &key.name) else { return Ok(Action::Done) };
        let is_counted =
            job_of(&self.jobs, &pod).is_some_and(|job| is_managed_elsewhere(&job) || finished(&job).is_none());
        if may_be_a_jobs(&pod) && !is_counted {
            self.release(&pod).await?;
        }
        Ok(Action::Done)
    }
}
