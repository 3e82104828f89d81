//! A pod's phase. Source: `getPhase` in `pkg/kubelet/kubelet_pods.go` of Kubernetes.

use k8s_openapi::api::core::v1::{ContainerState, ContainerStatus, PodSpec};
use kubelab_api::pod::is_sidecar;

use super::super::restart::restarts;

/// The phase of a pod whose containers have these statuses. `over`: nothing will run any more, whatever the policy says.
pub fn phase(spec: &PodSpec, init: &[ContainerStatus], statuses: &[ContainerStatus], over: bool) -> &'static str {
    let (mut initializing, mut init_failed, mut init_ended) = (0, 0, false);
    for (container, status) in spec.init_containers.iter().flatten().zip(init) {
        let state = status.state.clone().unwrap_or_default();
        if is_sidecar(container) {
            if status.started != Some(true) && state.terminated.is_none() {
                initializing += 1;
            }
        } else if let Some(ended) = state.terminated {
            init_failed += usize::from(ended.exit_code != 0);
            init_ended |= ended.exit_code != 0 && !restarts(spec, container, ended.exit_code);
        } else if state.waiting.is_some() && last_exit_code(status).is_some_and(|code| code != 0) {
            init_failed += 1;
        } else {
            initializing += 1;
        }
    }
    let (mut waiting, mut running, mut stopped, mut succeeded, mut restarting) = (0, 0, 0, 0, false);
    for (container, status) in spec.containers.iter().zip(statuses) {
        match status.state.clone().unwrap_or_default() {
            ContainerState { running: Some(_), .. } => running += 1,
            ContainerState { terminated: Some(ended), .. } => {
                stopped += 1;
                succeeded += usize::from(ended.exit_code == 0);
                restarting |= restarts(spec, container, ended.exit_code);
            }
            _ if last_exit_code(status).is_some() => {
                stopped += 1;
                restarting = true;
            }
            _ => waiting += 1,
        }
    }
    if init_ended {
        return "Failed";
    }
    if over {
        // Upstream's status manager: what never ran did not succeed.
        return if stopped > 0 && stopped == succeeded && waiting == 0 { "Succeeded" } else { "Failed" };
    }
    let was_initialized = running > 0 || stopped > 0;
    if (init_failed > 0 || initializing > 0) && !was_initialized || waiting > 0 {
        "Pending"
    } else if running > 0 {
        "Running"
    } else if restarting {
        "Running"
    } else if stopped == succeeded {
        "Succeeded"
    } else {
        "Failed"
    }
}

fn last_exit_code(status: &ContainerStatus) -> Option<i32> {
    status.last_state.as_ref()?.terminated.as_ref().map(|ended| ended.exit_code)
}
