//! What containers do after their start and before their end. Source: `pkg/kubelet/lifecycle/handlers.go` of Kubernetes.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use k8s_openapi::{
    api::core::v1::{Container as ContainerSpec, HTTPGetAction, LifecycleHandler, Pod},
    apimachinery::pkg::util::intstr::IntOrString,
};
use kubelab_client::{Cause, clock, recorder::Kind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::Node;
use crate::{
    pod::plan::{self, Kill},
    probe,
    runtime::PodRef,
    shell::{session::Session, streams::Output},
};

/// The most of an answer that is read.
const MAX_ANSWER: u64 = 10 << 10;

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
            return self.get(&key, container, http).await;
        }
        if let Some(sleep) = &hook.sleep {
            clock::sleep(Duration::from_secs(u64::try_from(sleep.seconds).unwrap_or(0))).await;
            return Ok(());
        }
        Err("invalid handler: only exec, httpGet and sleep can be run".to_owned())
    }

    /// Any answer is a good one.
    async fn get(&self, key: &PodRef, container: &ContainerSpec, http: &HTTPGetAction) -> Result<(), String> {
        let sandbox = self.runtime.sandbox(&key.uid).ok_or("failed to find networking container")?;
        let host = http.host.as_deref().filter(|host| !host.is_empty());
        let address: IpAddr = match host {
            Some(host) => host.parse().map_err(|_| format!("dial tcp: lookup {host}: no such host"))?,
            None => sandbox.address,
        };
        let port = match &http.port {
            IntOrString::String(name) if name.is_empty() => 80,
            port => probe::port(port, container)?,
        };
        let path = http.path.as_deref().unwrap_or_default().trim_start_matches('/');
        let address = SocketAddr::new(address, port);
        let mut connection = self.runtime.dial(address.into()).map_err(|error| error.to_string())?;
        let mut request = format!("GET /{path} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: kube-lifecycle/1.37\r\n");
        for header in http.http_headers.iter().flatten() {
            request.push_str(&format!("{}: {}\r\n", header.name, header.value));
        }
        request.push_str("Connection: close\r\n\r\n");
        connection.write_all(request.as_bytes()).await.map_err(|error| error.to_string())?;
        let mut answer = Vec::new();
        connection.take(MAX_ANSWER).read_to_end(&mut answer).await.map_err(|error| error.to_string())?;
        if answer.starts_with(b"HTTP/") { Ok(()) } else { Err(format!("Get \"http://{address}/{path}\": EOF")) }
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
