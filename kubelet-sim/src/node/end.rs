//! The end of a pod: its address is free again, and what the API was asked to delete is deleted.

use std::sync::Arc;

use k8s_openapi::{
    api::core::v1::{Pod, PodSpec},
    apimachinery::pkg::apis::meta::v1::{DeleteOptions, Preconditions},
};
use kubelab_api::error::Reason;
use kubelab_client::{Error, clock};

use super::{Node, lock, worker::Worker};
use crate::{
    pod::plan,
    runtime::{PodRef, Sandbox},
};

impl Node {
    /// A pod in its last phase: once nothing runs, it gives up its address, and its object goes if it was deleted.
    pub(super) async fn finish(self: &Arc<Self>, key: &PodRef, worker: &Worker, pod: &Arc<Pod>) -> Result<(), Error> {
        let sandbox = self.runtime.sandbox(&key.uid);
        if let Some(sandbox) = sandbox.as_ref().filter(|sandbox| sandbox.is_running()) {
            // Somebody else ended the pod: the node life-cycle controller, or a person.
            let default_spec = PodSpec::default();
            let spec = pod.spec.as_ref().unwrap_or(&default_spec);
            let mut state = worker.state();
            state.stop_starting();
            for kill in plan::terminate(spec, sandbox, plan::grace(spec)) {
                self.kill(key, pod, &mut state, &kill, clock::now_micro().0);
            }
            return Ok(());
        }
        worker.state().stop_starting();
        self.release(key, sandbox.as_deref());
        self.leave_volumes(&key.uid);
        if pod.metadata.deletion_timestamp.is_none() || worker.state().deleted {
            return Ok(());
        }
        let options = DeleteOptions {
            grace_period_seconds: Some(0),
            preconditions: Some(Preconditions { uid: Some(key.uid.clone()), ..Default::default() }),
            ..Default::default()
        };
        match self.client.delete::<Pod>(&key.namespace, &key.name, options).await {
            Err(error) if !matches!(error.reason, Reason::NotFound | Reason::Conflict) => return Err(error),
            _ => {}
        }
        // With finalizers it stays for a while; it need not be deleted twice.
        worker.state().deleted = true;
        Ok(())
    }

    /// A pod that the API does not know any more: what still runs is killed, then all of it is forgotten.
    pub(super) fn forget(&self, key: &PodRef) {
        let worker = self.worker(&key.uid);
        let mut state = worker.state();
        state.stop_starting();
        let sandbox = self.runtime.sandbox(&key.uid);
        if let Some(sandbox) = sandbox.as_ref().filter(|sandbox| sandbox.is_running()) {
            for run in sandbox.containers.iter().filter(|run| run.is_running()) {
                self.runtime.stop(&key.uid, &run.id, plan::MINIMUM_GRACE);
            }
            return;
        }
        self.release(key, sandbox.as_deref());
        self.leave_volumes(&key.uid);
        self.runtime.remove(&key.uid);
        lock(&self.workers).remove(&key.uid);
        self.queue.forget(key);
    }

    fn release(&self, key: &PodRef, sandbox: Option<&Sandbox>) {
        let Some(sandbox) = sandbox.filter(|sandbox| !sandbox.released) else { return };
        self.runtime.release(&key.uid);
        if sandbox.address != self.config.ip
            && let Some(pool) = &mut *lock(&self.addresses)
        {
            pool.give_back(sandbox.address);
        }
    }
}
