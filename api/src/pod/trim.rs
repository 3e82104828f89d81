//! What of a pod matters to nobody but its kubelet.

use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod, Volume};

/// The annotation in which `kubectl apply` keeps what was applied: often the largest part of a pod's metadata.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Drops from a pod what nobody but its kubelet reads: how its containers are started and probed, what is mounted where,
/// volumes that come from nowhere but the node. For caches of components that keep many pods; what is left must not be
/// written back. Upstream's informers drop `managedFields` alone.
pub fn trim(pod: &mut Pod) {
    if let Some(annotations) = &mut pod.metadata.annotations {
        annotations.remove(LAST_APPLIED);
    }
    fit(&mut pod.metadata.owner_references);
    fit(&mut pod.metadata.finalizers);
    if let Some(spec) = &mut pod.spec {
        spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()).for_each(trim_container);
        spec.containers.shrink_to_fit();
        fit(&mut spec.init_containers);
        spec.ephemeral_containers = None;
        if let Some(volumes) = &mut spec.volumes {
            volumes.retain(|volume| !is_local(volume));
        }
        fit(&mut spec.volumes);
        fit(&mut spec.tolerations);
        spec.security_context = None;
        spec.dns_config = None;
        spec.host_aliases = None;
        spec.image_pull_secrets = None;
        spec.readiness_gates = None;
    }
    if let Some(status) = &mut pod.status {
        for statuses in [&mut status.init_container_statuses, &mut status.container_statuses] {
            statuses.iter_mut().flatten().for_each(trim_status);
            fit(statuses);
        }
        status.ephemeral_container_statuses = None;
        fit(&mut status.conditions);
        fit(&mut status.pod_ips);
        fit(&mut status.host_ips);
    }
}

fn trim_container(container: &mut Container) {
    fit(&mut container.ports);
    *container = Container {
        name: std::mem::take(&mut container.name),
        image: container.image.take(),
        ports: container.ports.take(),
        resize_policy: container.resize_policy.take(),
        resources: container.resources.take(),
        restart_policy: container.restart_policy.take(),
        ..Container::default()
    };
}

fn trim_status(status: &mut ContainerStatus) {
    status.container_id = None;
    status.image.clear();
    status.image_id.clear();
    status.user = None;
    status.volume_mounts = None;
}

/// Its content comes from the node itself or from objects that only the kubelet fetches.
fn is_local(volume: &Volume) -> bool {
    volume.config_map.is_some()
        || volume.downward_api.is_some()
        || volume.empty_dir.is_some()
        || volume.host_path.is_some()
        || volume.image.is_some()
        || volume.projected.is_some()
        || volume.secret.is_some()
}

fn fit<T>(list: &mut Option<Vec<T>>) {
    match list {
        Some(some) if some.is_empty() => *list = None,
        Some(some) => some.shrink_to_fit(),
        None => {}
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    #[test]
    fn what_loops_and_the_scheduler_read_stays() {
        let kept = json!({
            "metadata": {"name": "web", "labels": {"app": "web"}, "annotations": {"cost": "1"}},
            "spec": {
                "containers": [{
                    "name": "main", "image": "nginx",
                    "ports": [{"name": "http", "containerPort": 80, "hostPort": 8080}],
                    "resources": {"requests": {"cpu": "1"}, "limits": {"memory": "1Gi"}},
                }],
                "initContainers": [{"name": "side", "restartPolicy": "Always"}],
                "nodeName": "node-1", "schedulerName": "mine", "priority": 7,
                "tolerations": [{"operator": "Exists"}],
                "affinity": {"podAntiAffinity": {}},
                "volumes": [
                    {"name": "data", "persistentVolumeClaim": {"claimName": "data"}},
                    {"name": "own", "ephemeral": {}},
                    {"name": "disk", "gcePersistentDisk": {"pdName": "d"}},
                ],
            },
            "status": {
                "phase": "Running",
                "conditions": [{"type": "Ready", "status": "True"}],
                "podIPs": [{"ip": "10.0.0.1"}],
                "containerStatuses": [{
                    "name": "main", "ready": true, "restartCount": 2, "image": "", "imageID": "",
                    "state": {"terminated": {"exitCode": 42}},
                }],
            },
        });
        let mut whole = kept.clone();
        let container = whole["spec"]["containers"][0].as_object_mut().unwrap();
        container.insert("env".to_owned(), json!([{"name": "A", "value": "b"}]));
        container.insert("command".to_owned(), json!(["sh"]));
        container.insert("livenessProbe".to_owned(), json!({"periodSeconds": 3}));
        container.insert("volumeMounts".to_owned(), json!([{"name": "data", "mountPath": "/data"}]));
        let volumes = whole["spec"]["volumes"].as_array_mut().unwrap();
        volumes.push(json!({"name": "kube-api-access", "projected": {"sources": []}}));
        volumes.push(json!({"name": "tmp", "emptyDir": {}}));
        whole["metadata"]["annotations"][LAST_APPLIED] = json!("{}");
        whole["status"]["containerStatuses"][0]["imageID"] = json!("sha256:1");

        let mut pod: Pod = serde_json::from_value(whole).unwrap();
        trim(&mut pod);
        assert_eq!(pod, serde_json::from_value(kept).unwrap());
        let status = pod.status.unwrap();
        assert_eq!(status.container_statuses.unwrap().capacity(), 1, "no room is kept for more");
        assert_eq!(status.conditions.unwrap().capacity(), 1);
    }
}
