//! What is kept of a pod between two looks at it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use tokio::task::AbortHandle;

use super::{lock, mount::Shown};
use crate::{pod::Memory, volumes::mounts::Source};

/// A pod's worker. Queues work on a pod one at a time; the lock is for the tasks beside them, which start containers and
/// ask probes, and is never held across an await.
#[derive(Default)]
pub struct Worker {
    state: Mutex<State>,
    /// By volume. Held while files are written, so that programs that look at the same time wait for each other.
    shown: tokio::sync::Mutex<BTreeMap<String, Shown>>,
}

/// A pod's state in the kubelet.
#[derive(Default)]
pub struct State {
    /// What decisions are made from.
    pub memory: Memory,
    /// It has been looked at.
    pub met: bool,
    /// Where its volumes are, once they can be used.
    pub mounted: Option<Arc<BTreeMap<String, Source>>>,
    /// When its volumes were measured last.
    pub measured_at: Option<Timestamp>,
    /// The task that starts its containers.
    pub starting: Option<AbortHandle>,
    /// The version that the runtime has taken in.
    pub taken_in: Option<String>,
    /// What the last write made of it, until the cache has it too.
    written: Option<Arc<Pod>>,
    /// The API has been asked to forget it.
    pub deleted: bool,
}

impl Worker {
    /// The state.
    pub fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// The volumes whose files were written.
    pub async fn shown(&self) -> tokio::sync::MutexGuard<'_, BTreeMap<String, Shown>> {
        self.shown.lock().await
    }

    /// The newer of what the cache has and what was written last.
    pub fn newest(&self, cached: Arc<Pod>) -> Arc<Pod> {
        let mut state = self.state();
        if let Some(written) = &state.written
            && version(written) > version(&cached)
        {
            return written.clone();
        }
        state.written = None;
        cached
    }

    /// Remembers what a write made of the pod.
    pub fn wrote(&self, pod: Arc<Pod>) {
        self.state().written = Some(pod);
    }
}

impl State {
    /// Gives up starting containers.
    pub fn stop_starting(&mut self) {
        if let Some(task) = self.starting.take() {
            task.abort();
        }
        self.memory.starting.clear();
    }
}

/// An object's version; since v1.35 clients may compare them as numbers (KEP-5504).
fn version(pod: &Pod) -> u64 {
    pod.metadata.resource_version.as_deref().and_then(|version| version.parse().ok()).unwrap_or(0)
}
