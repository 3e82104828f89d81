//! Ephemeral containers: what `kubectl debug` adds to a running pod. They are started once and never again.
//! Source: KEP-277.

use k8s_openapi::api::core::v1::{Container, PodSpec};

/// A pod's ephemeral containers as containers; which container they look at does not matter here.
pub fn containers(spec: &PodSpec) -> impl Iterator<Item = Container> {
    let ephemeral = spec.ephemeral_containers.iter().flatten();
    // All fields but the target have the same names in both types.
    ephemeral.filter_map(|container| serde_json::from_value(serde_json::to_value(container).ok()?).ok())
}

/// Whether a pod has an ephemeral container with this name.
pub fn has(spec: &PodSpec, name: &str) -> bool {
    spec.ephemeral_containers.iter().flatten().any(|container| container.name == name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn an_ephemeral_container_is_a_container() {
        let spec: PodSpec = serde_json::from_value(json!({"containers": [], "ephemeralContainers": [
            {"name": "debugger", "image": "busybox", "stdin": true, "tty": true, "targetContainerName": "web"}]}))
        .unwrap();
        let found: Vec<Container> = containers(&spec).collect();
        assert_eq!((found[0].name.as_str(), found[0].tty), ("debugger", Some(true)));
        assert!(has(&spec, "debugger") && !has(&spec, "web"));
    }
}
