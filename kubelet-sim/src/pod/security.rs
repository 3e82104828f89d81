//! Whether a container may run as the user that it would run as. Source: `verifyRunAsNonRoot` in
//! `pkg/kubelet/kuberuntime/security_context.go` of Kubernetes.

use k8s_openapi::api::core::v1::{Container, Pod};

use crate::{behavior::images::User, runtime::PodRef};

/// Refuses a container that must not run as root, but would.
pub fn check(pod: &Pod, container: &Container, user: User) -> Result<(), String> {
    let of_pod = pod.spec.as_ref().and_then(|spec| spec.security_context.as_ref());
    let own = container.security_context.as_ref();
    let non_root =
        own.and_then(|own| own.run_as_non_root).or_else(|| of_pod.and_then(|context| context.run_as_non_root));
    if non_root != Some(true) {
        return Ok(());
    }
    let asked = own.and_then(|own| own.run_as_user).or_else(|| of_pod.and_then(|context| context.run_as_user));
    let why = match (asked, user) {
        (Some(0), _) => "container's runAsUser breaks non-root policy".to_owned(),
        (Some(_), _) | (None, User::Number) => return Ok(()),
        (None, User::Root) => "container has runAsNonRoot and image will run as root".to_owned(),
        (None, User::Named(name)) => {
            format!(
                "container has runAsNonRoot and image has non-numeric user ({name}), cannot verify user is non-root"
            )
        }
    };
    Err(format!("{why} (pod: \"{}\", container: {})", PodRef::of(pod), container.name))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn root_is_refused_where_it_must_not_be() {
        let root = "container has runAsNonRoot and image will run as root (pod: \"web_default(u)\", container: c)";
        let asked = "container's runAsUser breaks non-root policy (pod: \"web_default(u)\", container: c)";
        for (of_pod, own, user, expected) in [
            (json!({}), json!({}), User::Root, None),
            (json!({"runAsNonRoot": true}), json!({}), User::Root, Some(root)),
            (json!({"runAsNonRoot": true}), json!({}), User::Number, None),
            (json!({"runAsNonRoot": true}), json!({"runAsNonRoot": false}), User::Root, None),
            (json!({"runAsNonRoot": true, "runAsUser": 1000}), json!({}), User::Root, None),
            (json!({"runAsUser": 1000}), json!({"runAsNonRoot": true, "runAsUser": 0}), User::Number, Some(asked)),
        ] {
            let pod = json!({"metadata": {"name": "web", "namespace": "default", "uid": "u"},
                "spec": {"securityContext": of_pod, "containers": [{"name": "c", "securityContext": own}]}});
            let pod: Pod = serde_json::from_value(pod).unwrap();
            let container = &pod.spec.as_ref().unwrap().containers[0];
            assert_eq!(check(&pod, container, user).err().as_deref(), expected, "{of_pod} {own}");
        }
    }
}
