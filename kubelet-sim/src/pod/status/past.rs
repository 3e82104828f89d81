//! What a pod's status tells of containers of which nothing is left. Source: `convertToAPIContainerStatuses` in
//! `pkg/kubelet/kubelet_pods.go` of Kubernetes.

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};

use crate::runtime::{Container, Exit};

/// The reason of an end that nobody has seen.
pub const UNKNOWN: &str = "ContainerStatusUnknown";
const MESSAGE: &str = "The container could not be located when the pod was terminated";
/// As if it had been killed.
const CODE: i32 = 137;

/// The last runs of a pod's containers, as its status tells of them; those that ran have ended meanwhile, nobody knows how.
pub fn past(pod: &Pod, now: Timestamp) -> Vec<Container> {
    let Some(status) = &pod.status else { return Vec::new() };
    let of = |statuses: &Option<Vec<ContainerStatus>>| statuses.iter().flatten().cloned().collect::<Vec<_>>();
    let all = [of(&status.init_container_statuses), of(&status.container_statuses)].concat();
    all.into_iter().filter_map(|status| run(pod, status, now)).collect()
}

fn run(pod: &Pod, status: ContainerStatus, now: Timestamp) -> Option<Container> {
    let state = status.state.unwrap_or_default();
    let ended = state.terminated.or_else(|| status.last_state?.terminated.filter(|_| state.running.is_none()));
    let (started_at, exit) = match (&state.running, ended) {
        (Some(running), _) => {
            let (reason, message) = (Some(UNKNOWN.to_owned()), Some(MESSAGE.to_owned()));
            let exit = Exit { code: CODE, finished_at: MicroTime(now), reason, message };
            (running.started_at.as_ref().map(|at| at.0), exit)
        }
        (None, Some(ended)) => {
            let ContainerStateTerminated { exit_code, finished_at, reason, message, .. } = ended;
            let finished_at = MicroTime(finished_at.map_or(now, |at| at.0));
            (ended.started_at.map(|at| at.0), Exit { code: exit_code, finished_at, reason, message })
        }
        (None, None) => return None,
    };
    let spec = kubelab_api::pod::containers(pod).find(|container| container.name == status.name)?;
    let id = status.container_id.unwrap_or_default();
    Some(Container {
        id: id.split_once("://").map_or("", |(_, id)| id).to_owned(),
        attempt: u32::try_from(status.restart_count).unwrap_or(0),
        image: spec.image.clone().unwrap_or_default(),
        full_image: status.image,
        image_id: status.image_id,
        started_at: MicroTime(started_at.unwrap_or(now)),
        exit: Some(exit),
        retired: false,
        name: status.name,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn what_ran_has_ended_and_what_ended_is_remembered() {
        let pod = |state: serde_json::Value| -> Pod {
            let status = json!({"name": "web", "restartCount": 2, "image": "nginx", "imageID": "", "ready": false,
                "containerID": "kubelab://abc", "state": state, "lastState": {"terminated": {"exitCode": 3, "reason": "Error"}}});
            let spec = json!({"containers": [{"name": "web", "image": "nginx"}]});
            serde_json::from_value(json!({"spec": spec, "status": {"containerStatuses": [status]}})).unwrap()
        };
        for (state, code, reason) in [
            (json!({"running": {"startedAt": "2026-01-01T00:00:00Z"}}), 137, UNKNOWN),
            (json!({"terminated": {"exitCode": 0, "reason": "Completed"}}), 0, "Completed"),
            (json!({"waiting": {"reason": "CrashLoopBackOff"}}), 3, "Error"),
        ] {
            let runs = past(&pod(state.clone()), Timestamp::UNIX_EPOCH);
            let exit = runs[0].exit.clone().unwrap();
            assert_eq!((exit.code, exit.reason(), runs[0].attempt), (code, reason, 2), "{state}");
            assert_eq!(runs[0].id, "abc");
        }
        let fresh: Pod = serde_json::from_value(json!({"spec": {"containers": [{"name": "web"}]}})).unwrap();
        assert!(past(&fresh, Timestamp::UNIX_EPOCH).is_empty());
    }
}
