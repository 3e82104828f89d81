//! What containers do after their start and before their end. Source: `pkg/kubelet/lifecycle/handlers.go` of Kubernetes.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use k8s_openapi::api::core::v1::{Container as ContainerSpec, HTTPGetAction, LifecycleHandler, Pod};
use kubelab_client::{Cause, clock, recorder::Kind};

use super::Node;
use crate::{
    pod::plan::{self, Kill},
    probe::{Target, http::Get},
    runtime::PodRef,
    shell::{session::Session, streams::Output},
};

/// For how long a hook's server may keep silent. Upstream waits as long as the pod lives.
const LONGEST_CALL: Duration = Duration::from_secs(3600);

impl Node {
    /// Runs a hook to its end; or why it failed.
    pub(super) async fn run_hook(
        &self,
        pod: &Pod,
        container: &ContainerSpec,
        hook: &LifecycleHandler,
    ) -> Result<(), String> {
        let key = PodRef::of(pod);
        if let Some(exec) = &hook.exec {
            let command = exec.command.clone().unwrap_or_default();
            let said = Arc::new(Mutex::new(Vec::new()));
            let output = || Output::Buffer(said.clone());
            let session =
                Session { command: command.clone(), tty: false, stdin: None, stdout: output(), stderr: output() };
            let run = self.runtime.exec(&key.uid, &container.name, session).map_err(|error| error.to_string())?;
            let status = run.await;
            let said = std::mem::take(&mut *said.lock().unwrap_or_else(PoisonError::into_inner));
            return match status {
                0 => Ok(()),
                status => Err(format!(
                    "command '{}' exited with {status}: {}",
                    command.join(" "),
                    String::from_utf8_lossy(&said)
                )),
            };
        }
        if let Some(http) = &hook.http_get {
            return self.get(pod, container, http).await;
        }
        if let Some(sleep) = &hook.sleep {
            clock::sleep(Duration::from_secs(u64::try_from(sleep.seconds).unwrap_or(0))).await;
            return Ok(());
        }
        Err("invalid handler: only exec, httpGet and sleep can be run".to_owned())
    }

    /// Any answer is a good one.
    async fn get(&self, pod: &Pod, container: &ContainerSpec, http: &HTTPGetAction) -> Result<(), String> {
        let sandbox = self.runtime.sandbox(&PodRef::of(pod).uid).ok_or("failed to find networking container")?;
        let get = Get::new(http, container, sandbox.address, "lifecycle")?;
        if get.call(&*self.runtime.network(), LONGEST_CALL).await? {
            let target = Target { host: get.url.host, port: get.url.port };
            let message =
                format!("request to HTTPS lifecycle hook {target} got HTTP response, retry with HTTP succeeded");
            self.recorder.event(pod, Kind::Warning, "LifecycleHTTPFallback", message);
        }
        Ok(())
    }

    /// Lets a container's preStop hook run before it is asked to end, if it has one. The hook's time is part of the
    /// container's; what is left is for its end.
    pub(super) fn stop_after_hook(self: &Arc<Self>, key: &PodRef, pod: &Arc<Pod>, kill: &Kill) -> bool {
        let container = kubelab_api::pod::containers(pod).find(|container| container.name == kill.name);
        let hook = container.and_then(|container| container.lifecycle.as_ref()?.pre_stop.clone());
        let (Some(container), Some(hook)) = (container.cloned(), hook) else { return false };
        if kill.grace.is_zero() {
            return false;
        }
        let (node, key, pod, kill) = (self.clone(), key.clone(), pod.clone(), kill.clone());
        let stop = async move {
            let begun = clock::instant();
            let ended = tokio::select! {
                ended = node.run_hook(&pod, &container, &hook) => ended,
                // It has had all the time there is; upstream tells nobody.
                () = clock::sleep(kill.grace) => Ok(()),
            };
            if let Err(why) = ended {
                tracing::debug!(pod = key.name, container = kill.name, why, "a preStop hook failed");
                node.tell(&pod, &kill.name, Kind::Warning, "FailedPreStopHook", "PreStopHook failed".to_owned());
            }
            let left = kill.grace.saturating_sub(begun.elapsed()).max(plan::MINIMUM_GRACE);
            node.runtime.stop(&key.uid, &kill.id, left);
        };
        tokio::spawn(Cause::current().scope(stop));
        true
    }
}
