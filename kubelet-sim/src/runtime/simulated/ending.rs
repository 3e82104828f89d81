//! How containers end: when their time has come, when they are out of memory, and what is kept of it.

use std::sync::{Arc, Weak};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kubelab_client::{Cause, clock};
use serde::{Deserialize, Serialize};
use tokio::task::AbortHandle;

use super::{Process, Program, Room, Setup, Shared};
use crate::runtime::{Container, Exit, PodRef, log};

/// What a process killed by SIGKILL exits with: 128 + 9.
pub(super) const KILLED: i32 = 137;

/// The longest termination message that is read from its file. Source: `MaxContainerTerminationMessageLength` in
/// `pkg/kubelet/container` of Kubernetes.
const MAX_MESSAGE: usize = 4096;

/// What of the log stands in for a termination message. Source: `MaxContainerTerminationMessageLogLength` and
/// `MaxContainerTerminationMessageLogLines` there.
const MAX_LOG_BYTES: usize = 2048;
const MAX_LOG_LINES: usize = 80;

/// How and when a process will end.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct End {
    pub(super) at: MicroTime,
    code: i32,
    #[serde(default)]
    reason: Option<String>,
}

/// Ends its task with itself.
#[derive(Default)]
pub(super) struct Timer(pub(super) Option<AbortHandle>);

impl Drop for Timer {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

impl Shared {
    pub(super) fn timer(self: &Arc<Self>, pod: &PodRef, id: &str, at: Timestamp, program: &Program) -> Timer {
        let shared = Arc::downgrade(self);
        let last_words = program.last_words();
        let (pod, id, cause) = (pod.clone(), id.to_owned(), Cause::current());
        let task = tokio::spawn(async move {
            clock::sleep(at.duration_since(clock::now_micro().0).try_into().unwrap_or_default()).await;
            if let Some(last_words) = last_words {
                last_words.await;
            }
            if let Some(shared) = Weak::upgrade(&shared) {
                cause.sync_scope(|| shared.end(&pod, &id));
            }
        });
        Timer(Some(task.abort_handle()))
    }

    /// The end that was set for a process has come.
    fn end(self: &Arc<Self>, pod: &PodRef, id: &str) {
        {
            let mut state = self.lock();
            let Some(room) = state.pods.get_mut(&pod.uid) else { return };
            let Some(process) = room.processes.remove(id) else { return };
            let (Some(end), setup) = (process.end.clone(), process.setup.clone()) else { return };
            // Its log is whole once it is gone.
            drop(process);
            let message = self.termination_message(room, id, &setup, &end);
            let mut containers = Arc::make_mut(&mut room.sandbox).containers.iter_mut();
            if let Some(container) = containers.find(|container| container.id == id) {
                container.exit = Some(Exit { code: end.code, finished_at: end.at, reason: end.reason, message });
            }
            self.checkpoint.save_pod(&pod.uid, room);
        }
        if let Some(listener) = self.listener.get() {
            listener(pod);
        }
    }

    /// What a container said of its end. Source: `getTerminationMessage` in `pkg/kubelet/kuberuntime` of Kubernetes.
    fn termination_message(self: &Arc<Self>, room: &Room, id: &str, setup: &Setup, end: &End) -> Option<String> {
        let container = room.sandbox.containers.iter().find(|container| container.id == id)?;
        let files = self.files(&room.sandbox.pod, &container.name, setup);
        let path = crate::shell::files::normalize("/", &setup.message_path);
        let mut message = if path == "/" { Vec::new() } else { files.read(&path).unwrap_or_default() };
        message.truncate(MAX_MESSAGE);
        if message.is_empty() && setup.message_from_log && end.code != 0 {
            message = log::last(&self.log_path(&room.sandbox.pod, container), MAX_LOG_BYTES, MAX_LOG_LINES);
        }
        (!message.is_empty()).then(|| String::from_utf8_lossy(&message).into_owned())
    }

    fn kill_for_memory(self: &Arc<Self>, pod: &PodRef, id: &str) {
        if let Some(process) = self.lock().pods.get_mut(&pod.uid).and_then(|room| room.processes.get_mut(id)) {
            process.end = Some(End { at: clock::now_micro(), code: KILLED, reason: Some("OOMKilled".to_owned()) });
        }
        self.end(pod, id);
    }
}

impl Process {
    /// Sets an end, unless an earlier one is set already.
    pub(super) fn end_at(&mut self, shared: &Arc<Shared>, pod: &PodRef, id: &str, at: Timestamp, code: i32) {
        if self.end.as_ref().is_some_and(|end| end.at.0 <= at) {
            return;
        }
        self.end = Some(End { at: MicroTime(at), code, reason: None });
        self.timer = shared.timer(pod, id, at, &self.program);
    }

    /// Sets when the kernel will kill it for the memory that it uses, if it will.
    pub(super) fn watch_memory(&mut self, shared: &Arc<Shared>, pod: &PodRef, container: &Container) {
        self.out_of_memory = Timer(None);
        let Some(after) = self.behavior.usage.out_of_memory() else { return };
        let at = container.started_at.0 + after;
        let (shared, pod, id) = (Arc::downgrade(shared), pod.clone(), container.id.clone());
        let cause = Cause::current();
        let task = tokio::spawn(async move {
            clock::sleep(at.duration_since(clock::now_micro().0).try_into().unwrap_or_default()).await;
            if let Some(shared) = shared.upgrade() {
                cause.sync_scope(|| shared.kill_for_memory(&pod, &id));
            }
        });
        self.out_of_memory = Timer(Some(task.abort_handle()));
    }
}
