//! What the user may leave out.

use super::*;

#[test]
fn a_minimal_pod_is_completed() {
    let mut pod = object::<PodKind>(minimal());
    PodKind::prepare_create(&mut pod);
    let expected = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"},
        "spec": {
            "containers": [{
                "name": "web", "image": "nginx", "imagePullPolicy": "Always", "resources": {},
                "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
            }],
            "dnsPolicy": "ClusterFirst", "enableServiceLinks": true, "restartPolicy": "Always",
            "schedulerName": "default-scheduler", "securityContext": {}, "terminationGracePeriodSeconds": 30,
        },
        "status": {"phase": "Pending", "qosClass": "BestEffort"},
    });
    assert_eq!(serde_json::to_value(&pod).unwrap(), expected);

    let again = pod.clone();
    PodKind::default(&mut pod);
    assert_eq!(pod, again, "defaults must be idempotent");
}

#[test]
fn defaults_reach_every_part() {
    let pod = object::<PodKind>(json!({
        "metadata": {"name": "web"},
        "spec": {
            "hostNetwork": true,
            "serviceAccount": "old-name",
            "containers": [{
                "name": "web", "image": "registry:5000/nginx:1.27",
                "ports": [{"containerPort": 80}],
                "resources": {"limits": {"cpu": "1000m", "memory": "1024Mi"}, "requests": {"cpu": "0.5"}},
                "env": [{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
                "livenessProbe": {"httpGet": {"port": 80}},
                "readinessProbe": {"grpc": {"port": 80}},
                "lifecycle": {"preStop": {"httpGet": {"port": 80}}},
            }],
            "volumes": [
                {"name": "scratch"},
                {"name": "secret", "secret": {"secretName": "s"}},
                {"name": "host", "hostPath": {"path": "/data"}},
                {"name": "all", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}},
            ],
        },
    }));
    let json = serde_json::to_value(&pod).unwrap();
    for (pointer, expected) in [
        ("/spec/serviceAccountName", json!("old-name")),
        ("/spec/containers/0/imagePullPolicy", json!("IfNotPresent")),
        ("/spec/containers/0/ports/0", json!({"containerPort": 80, "hostPort": 80, "protocol": "TCP"})),
        (
            "/spec/containers/0/resources",
            json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m", "memory": "1Gi"}}),
        ),
        ("/spec/containers/0/env/0/valueFrom", json!({"fieldRef": {"apiVersion": "v1", "fieldPath": "status.podIP"}})),
        (
            "/spec/containers/0/livenessProbe",
            json!({"httpGet": {"path": "/", "port": 80, "scheme": "HTTP"}, "timeoutSeconds": 1, "periodSeconds": 10,
                "successThreshold": 1, "failureThreshold": 3}),
        ),
        ("/spec/containers/0/readinessProbe/grpc", json!({"port": 80, "service": ""})),
        ("/spec/containers/0/lifecycle/preStop/httpGet", json!({"path": "/", "port": 80, "scheme": "HTTP"})),
        ("/spec/volumes/0", json!({"name": "scratch", "emptyDir": {}})),
        ("/spec/volumes/1/secret", json!({"secretName": "s", "defaultMode": 420})),
        ("/spec/volumes/2/hostPath", json!({"path": "/data", "type": ""})),
        (
            "/spec/volumes/3/projected",
            json!({"defaultMode": 420,
                "sources": [{"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}}]}),
        ),
    ] {
        assert_eq!(json.pointer(pointer), Some(&expected), "{pointer}");
    }
}

#[test]
fn only_latest_images_are_pulled_always() {
    for (image, latest) in [
        ("nginx", true),
        ("nginx:latest", true),
        ("nginx:1.27", false),
        ("localhost:5000/nginx", true),
        ("nginx@sha256:0123", false),
        ("nginx:latest@sha256:0123", true),
        ("", false),
    ] {
        assert_eq!(crate::registry::core::pod::defaults::is_latest(image), latest, "{image}");
    }
}
