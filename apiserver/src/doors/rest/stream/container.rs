//! Which container of a pod is meant, and which run of it has the log. Source of rules and wording: `validateContainer` in
//! `pkg/registry/core/pod/strategy.go`, and `validateContainerLogStatus` in `pkg/kubelet/kubelet_pods.go`.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kubelab_api::Error;

/// The container with this name; without a name the only one.
pub fn choose(pod: &Pod, name: &str) -> Result<String, Error> {
    let spec = pod.spec.as_ref();
    let names = |kind: fn(&k8s_openapi::api::core::v1::PodSpec) -> Vec<String>| spec.map(kind).unwrap_or_default();
    let main = names(|spec| spec.containers.iter().map(|container| container.name.clone()).collect());
    let init = names(|spec| spec.init_containers.iter().flatten().map(|container| container.name.clone()).collect());
    let ephemeral =
        names(|spec| spec.ephemeral_containers.iter().flatten().map(|container| container.name.clone()).collect());
    let pod_name = pod.metadata.name.as_deref().unwrap_or_default();
    if !name.is_empty() {
        let known = main.iter().chain(&init).chain(&ephemeral).any(|known| known == name);
        return match known {
            true => Ok(name.to_owned()),
            false => Err(Error::bad_request(format!("container {name} is not valid for pod {pod_name}"))),
        };
    }
    match main.as_slice() {
        [only] => Ok(only.clone()),
        [] => Err(Error::bad_request(format!("a container name must be specified for pod {pod_name}"))),
        several => {
            let mut message = format!(
                "a container name must be specified for pod {pod_name}, choose one of: [{}]",
                several.join(" ")
            );
            if !init.is_empty() {
                message.push_str(&format!(" or one of the init containers: [{}]", init.join(" ")));
            }
            if !ephemeral.is_empty() {
                message.push_str(&format!(" or one of the ephemeral containers: [{}]", ephemeral.join(" ")));
            }
            Err(Error::bad_request(message))
        }
    }
}

/// The run whose log is meant, by its id.
pub fn run(pod: &Pod, container: &str, previous: bool) -> Result<String, Error> {
    let pod_name = pod.metadata.name.as_deref().unwrap_or_default();
    let refused = |what: &str| Err(Error::bad_request(format!("container {container:?} in pod {pod_name:?} {what}")));
    let statuses = pod.status.iter().flat_map(|status| {
        let lists = [&status.container_statuses, &status.init_container_statuses, &status.ephemeral_container_statuses];
        lists.into_iter().flatten().flatten()
    });
    let Some(status) = statuses.into_iter().find(|status| status.name == container) else {
        return refused("is not available");
    };
    let state = status.state.clone().unwrap_or_default();
    let id = |terminated: Option<String>| terminated.filter(|id| !id.is_empty());
    let last = last_id(status);
    let found = if previous {
        let Some(last) = last else {
            return Err(Error::bad_request(format!(
                "previous terminated container {container:?} in pod {pod_name:?} not found"
            )));
        };
        Some(last)
    } else if state.running.is_some() {
        id(status.container_id.clone())
    } else if let Some(terminated) = state.terminated {
        match id(terminated.container_id).or(last) {
            Some(found) => Some(found),
            None => return refused("is terminated"),
        }
    } else {
        last
    };
    if let Some(found) = found {
        return Ok(found.rsplit_once("://").map_or(found.clone(), |(_, id)| id.to_owned()));
    }
    match state.waiting.and_then(|waiting| waiting.reason).as_deref() {
        Some("ErrImagePull") => refused("is waiting to start: image can't be pulled"),
        Some("ImagePullBackOff") => refused("is waiting to start: trying and failing to pull image"),
        Some(reason) => refused(&format!("is waiting to start: {reason}")),
        None => refused("is waiting to start - no logs yet"),
    }
}

/// The id of the run before.
fn last_id(status: &ContainerStatus) -> Option<String> {
    let last = status.last_state.as_ref()?.terminated.as_ref()?;
    last.container_id.clone().filter(|id| !id.is_empty())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::{Value, json};

    use super::*;

    fn pod(containers: &[&str], init: &[&str], statuses: Value) -> Pod {
        let named = |names: &[&str]| -> Vec<Value> { names.iter().map(|name| json!({ "name": name })).collect() };
        serde_json::from_value(json!({
            "metadata": {"name": "p"},
            "spec": {"containers": named(containers), "initContainers": named(init)},
            "status": {"containerStatuses": statuses},
        }))
        .unwrap()
    }

    #[test]
    fn a_container_is_named_where_there_are_several() {
        for (containers, init, name, expected) in [
            (&["a"][..], &["i"][..], "", Ok("a")),
            (&["a"], &["i"], "i", Ok("i")),
            (&["a"], &[], "x", Err("container x is not valid for pod p")),
            (&["a", "b"], &[], "", Err("a container name must be specified for pod p, choose one of: [a b]")),
            (
                &["a", "b"],
                &["i"],
                "",
                Err(
                    "a container name must be specified for pod p, choose one of: [a b] or one of the init containers: [i]",
                ),
            ),
            (&["a", "b"], &[], "b", Ok("b")),
        ] {
            let chosen = choose(&pod(containers, init, json!([])), name).map_err(|error| error.message);
            assert_eq!(chosen, expected.map(str::to_owned).map_err(str::to_owned), "{containers:?} {name}");
        }
    }

    #[test]
    fn a_run_is_found_or_the_refusal_says_why_not() {
        let last = json!({"terminated": {"exitCode": 1, "containerID": "kubelab://old"}});
        for (status, previous, expected) in [
            (json!({"containerID": "kubelab://new", "state": {"running": {}}}), false, Ok("new")),
            (json!({"containerID": "kubelab://new", "state": {"running": {}}, "lastState": last}), true, Ok("old")),
            (
                json!({"containerID": "kubelab://new", "state": {"running": {}}}),
                true,
                Err("previous terminated container \"c\" in pod \"p\" not found"),
            ),
            (json!({"state": {"terminated": {"exitCode": 0, "containerID": "kubelab://x"}}}), false, Ok("x")),
            (
                json!({"state": {"terminated": {"exitCode": 0}}}),
                false,
                Err("container \"c\" in pod \"p\" is terminated"),
            ),
            (json!({"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": last}), false, Ok("old")),
            (
                json!({"state": {"waiting": {"reason": "ContainerCreating"}}}),
                false,
                Err("container \"c\" in pod \"p\" is waiting to start: ContainerCreating"),
            ),
            (
                json!({"state": {"waiting": {"reason": "ErrImagePull"}}}),
                false,
                Err("container \"c\" in pod \"p\" is waiting to start: image can't be pulled"),
            ),
            (
                json!({"state": {"waiting": {"reason": "ImagePullBackOff"}}}),
                false,
                Err("container \"c\" in pod \"p\" is waiting to start: trying and failing to pull image"),
            ),
            (json!({}), false, Err("container \"c\" in pod \"p\" is waiting to start - no logs yet")),
        ] {
            let mut status = status;
            for (field, value) in [
                ("name", json!("c")),
                ("image", json!("")),
                ("imageID", json!("")),
                ("ready", json!(false)),
                ("restartCount", json!(0)),
            ] {
                status[field] = value;
            }
            let found = run(&pod(&["c"], &[], json!([status])), "c", previous).map_err(|error| error.message);
            assert_eq!(found, expected.map(str::to_owned).map_err(str::to_owned), "{status}");
        }
        let unknown = run(&pod(&["c"], &[], json!([])), "c", false).unwrap_err();
        assert_eq!((unknown.code(), &*unknown.message), (400, "container \"c\" in pod \"p\" is not available"));
    }
}
