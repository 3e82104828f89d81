//! What pods request of a resource, of which their use is a share. Source: `calculatePodRequests` in Kubernetes.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Container, Pod};
use kubelab_api::pod::is_sidecar;

use super::{metrics::millis, replicas::Values};

/// The requests in thousandths, by the names of pods; of one container where that is named.
pub fn of(pods: &[Arc<Pod>], resource: &str, container: Option<&str>) -> Result<Values, String> {
    let request = |pod: &Arc<Pod>| Ok((name(pod).to_owned(), of_pod(pod, resource, container)?));
    pods.iter().map(request).collect()
}

fn of_pod(pod: &Pod, resource: &str, container: Option<&str>) -> Result<i64, String> {
    let Some(spec) = &pod.spec else { return Ok(0) };
    let whole = spec.resources.as_ref().and_then(|resources| resources.requests.as_ref()?.get(resource));
    if let Some(whole) = whole.filter(|_| container.is_none()) {
        return millis(whole);
    }
    let sidecars = spec.init_containers.iter().flatten().filter(|container| is_sidecar(container));
    let mut meant =
        spec.containers.iter().chain(sidecars).filter(|found| container.is_none_or(|name| name == found.name));
    let request = |found: &Container| {
        let request = found.resources.as_ref().and_then(|resources| resources.requests.as_ref()?.get(resource));
        let missing = || format!("missing request for {resource} in container {} of Pod {}", found.name, name(pod));
        millis(request.ok_or_else(missing)?)
    };
    match container {
        None => meant.try_fold(0i64, |sum, found| Ok(sum.saturating_add(request(found)?))),
        Some(wanted) => match meant.next() {
            Some(found) => request(found),
            None => Err(format!("container {wanted} not found in Pod {}", name(pod))),
        },
    }
}

fn name(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn every_container_must_request_what_is_shared() {
        let container = |name: &str, requests: Value| json!({"name": name, "resources": {"requests": requests}});
        let sidecar = json!({"name": "s", "restartPolicy": "Always", "resources": {"requests": {"cpu": "50m"}}});
        let both = json!({"containers": [container("a", json!({"cpu": "100m"})), container("b", json!({"cpu": "1"}))]});
        let with_sidecar = json!({"containers": [container("a", json!({"cpu": "100m"}))], "initContainers": [sidecar,
            container("i", json!({}))]});
        let none = json!({"containers": [container("a", json!({"memory": "1Mi"}))]});
        let whole = json!({"containers": [container("a", json!({}))], "resources": {"requests": {"cpu": "2"}}});
        for (spec, container, expected) in [
            (both.clone(), None, Ok(1100)),
            (both.clone(), Some("b"), Ok(1000)),
            (both, Some("x"), Err("container x not found in Pod p")),
            (with_sidecar, None, Ok(150)),
            (none.clone(), None, Err("missing request for cpu in container a of Pod p")),
            (whole, None, Ok(2000)),
        ] {
            let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": spec})).unwrap();
            let found = of(&[Arc::new(pod)], "cpu", container).map(|values| values["p"]);
            assert_eq!(found, expected.map_err(str::to_owned), "{container:?}");
        }
    }
}
