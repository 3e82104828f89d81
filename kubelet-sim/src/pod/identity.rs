//! Who a container's programs run as: a user, a group, and more groups. Source: `runAsUser` and its kin of the API, as
//! containerd and the kernel take them.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Container, Pod};
use serde::{Deserialize, Serialize};

/// A user and his groups, by their numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The user; 0 is root.
    pub user: i64,
    /// His group.
    pub group: i64,
    /// All groups, that one among them.
    pub groups: BTreeSet<i64>,
}

impl Identity {
    /// Of a container of a pod. An image's own user counts as root, since its number is not known.
    pub fn of(pod: &Pod, container: &Container) -> Self {
        let of_pod = pod.spec.as_ref().and_then(|spec| spec.security_context.as_ref());
        let own = container.security_context.as_ref();
        let user = own.and_then(|own| own.run_as_user).or_else(|| of_pod.and_then(|pod| pod.run_as_user)).unwrap_or(0);
        let group =
            own.and_then(|own| own.run_as_group).or_else(|| of_pod.and_then(|pod| pod.run_as_group)).unwrap_or(0);
        let more = of_pod.iter().flat_map(|pod| pod.supplemental_groups.iter().flatten().chain(&pod.fs_group)).copied();
        Self { user, group, groups: more.chain([group]).collect() }
    }

    /// The user's name, if he has one.
    pub fn name(&self) -> Option<&'static str> {
        (self.user == 0).then_some("root")
    }
}

impl std::fmt::Display for Identity {
    /// As `id` prints it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let named = |number: i64| if number == 0 { "0(root)".to_owned() } else { number.to_string() };
        let groups: Vec<String> = self.groups.iter().map(|group| named(*group)).collect();
        write!(f, "uid={} gid={} groups={}", named(self.user), named(self.group), groups.join(","))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn contexts_say_who_a_program_is() {
        for (of_pod, own, expected) in [
            (json!({}), json!({}), "uid=0(root) gid=0(root) groups=0(root)"),
            // https://kubernetes.io/docs/tasks/configure-pod-container/security-context/
            (
                json!({"runAsUser": 1000, "runAsGroup": 3000, "fsGroup": 2000, "supplementalGroups": [4000]}),
                json!({}),
                "uid=1000 gid=3000 groups=2000,3000,4000",
            ),
            (json!({"runAsUser": 1000}), json!({"runAsUser": 2000}), "uid=2000 gid=0(root) groups=0(root)"),
        ] {
            let pod =
                json!({"spec": {"securityContext": of_pod, "containers": [{"name": "c", "securityContext": own}]}});
            let pod: Pod = serde_json::from_value(pod).unwrap();
            let identity = Identity::of(&pod, &pod.spec.as_ref().unwrap().containers[0]);
            assert_eq!(identity.to_string(), expected, "{of_pod} {own}");
        }
    }
}
