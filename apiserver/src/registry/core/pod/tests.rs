#![allow(clippy::unwrap_used)]

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kubelab_api::field::Errors;
use serde_json::{Value, json};

use super::PodKind;
use crate::registry::{
    kind::Kind,
    validation::tests::{merged, new_errors, object, update_errors},
};

fn minimal() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"},
        "spec": {"containers": [{"name": "web", "image": "nginx"}]},
    })
}

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
        assert_eq!(super::defaults::is_latest(image), latest, "{image}");
    }
}

/// The containers of [`minimal`], with these fields in the first.
fn container(fields: Value) -> Value {
    let container = merged(&json!({"name": "web", "image": "nginx"}), fields);
    json!({"spec": {"containers": [container]}})
}

#[test]
fn a_bad_pod_is_refused_in_upstreams_words() {
    let label = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start \
                 and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
                 '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
    let cases = [
        (json!({"spec": {"containers": []}}), vec!["spec.containers: Required value".to_owned()]),
        (
            container(json!({"name": "Web"})),
            vec![format!("spec.containers[0].name: Invalid value: \"Web\": {label}")],
        ),
        (container(json!({"image": ""})), vec!["spec.containers[0].image: Required value".into()]),
        (
            container(json!({"image": " nginx"})),
            vec![
                "spec.containers[0].image: Invalid value: \" nginx\": must not have leading or trailing whitespace"
                    .into(),
            ],
        ),
        (
            json!({"spec": {"containers": [{"name": "a", "image": "x"}, {"name": "a", "image": "x"}]}}),
            vec!["spec.containers[1].name: Duplicate value: \"a\"".into()],
        ),
        (
            container(json!({"imagePullPolicy": "Sometimes"})),
            vec![
                "spec.containers[0].imagePullPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \
                 \"IfNotPresent\", \"Never\""
                    .into(),
            ],
        ),
        (
            container(json!({"ports": [{"containerPort": 70000}, {"containerPort": 80, "name": "x", "protocol": "X"}]})),
            vec![
                "spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive"
                    .into(),
                "spec.containers[0].ports[1].protocol: Unsupported value: \"X\": supported values: \"SCTP\", \"TCP\", \
                 \"UDP\""
                    .into(),
            ],
        ),
        (
            container(json!({"ports": [{"containerPort": 80, "hostPort": 8080}, {"containerPort": 81, "hostPort": 8080}]})),
            vec!["spec.containers[0].ports[1].hostPort: Duplicate value: \"TCP//8080\"".into()],
        ),
        (
            container(json!({"env": [{"name": ""}, {"name": "X", "valueFrom": {}}]})),
            vec![
                "spec.containers[0].env[0].name: Required value".into(),
                "spec.containers[0].env[1].valueFrom: Invalid value: \"\": must specify one of: `fieldRef`, \
                 `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`"
                    .into(),
            ],
        ),
        (
            container(json!({"env": [{"name": "X", "valueFrom": {"fieldRef": {"fieldPath": "spec.nothing"}}}]})),
            vec![
                "spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Invalid value: \"spec.nothing\": error \
                 converting fieldPath: field label not supported: spec.nothing"
                    .into(),
            ],
        ),
        (
            container(json!({"volumeMounts": [{"name": "data", "mountPath": "/data"}]})),
            vec!["spec.containers[0].volumeMounts[0].name: Not found: \"data\"".into()],
        ),
        (
            container(json!({"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}})),
            vec![
                "spec.containers[0].resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit \
                 of 1"
                    .into(),
            ],
        ),
        (
            container(json!({"resources": {"limits": {"disk": "1", "memory": "-1"}}})),
            vec![
                "spec.containers[0].resources.limits[disk]: Invalid value: \"disk\": must be a standard resource type or \
                 fully qualified"
                    .into(),
                "spec.containers[0].resources.limits[disk]: Invalid value: \"disk\": must be a standard resource for \
                 containers"
                    .into(),
                "spec.containers[0].resources.limits[memory]: Invalid value: \"-1\": must be greater than or equal to 0"
                    .into(),
                "spec.containers[0].resources.requests[disk]: Invalid value: \"disk\": must be a standard resource type or \
                 fully qualified"
                    .into(),
                "spec.containers[0].resources.requests[disk]: Invalid value: \"disk\": must be a standard resource for \
                 containers"
                    .into(),
                "spec.containers[0].resources.requests[memory]: Invalid value: \"-1\": must be greater than or equal to \
                 0"
                .into(),
            ],
        ),
        (
            container(json!({"livenessProbe": {"periodSeconds": -1, "successThreshold": 2, "tcpSocket": {"port": 80},
                "exec": {"command": ["true"]}}})),
            vec![
                "spec.containers[0].livenessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type".into(),
                "spec.containers[0].livenessProbe.periodSeconds: Invalid value: -1: must be greater than or equal to 0"
                    .into(),
                "spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1".into(),
            ],
        ),
        (
            json!({"spec": {"initContainers": [{"name": "web", "image": "x", "readinessProbe": {"tcpSocket": {"port": 1}}}]}}),
            vec![
                "spec.initContainers[0].name: Duplicate value: \"web\"".into(),
                "spec.initContainers[0].readinessProbe: Forbidden: may not be set for init containers without \
                 restartPolicy=Always"
                    .into(),
            ],
        ),
        (
            json!({"spec": {"volumes": [{"name": "v", "emptyDir": {}, "hostPath": {"path": "/x"}}, {"name": "s", "secret": {}}]}}),
            vec![
                "spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type".into(),
                "spec.volumes[1].secret.secretName: Required value".into(),
            ],
        ),
        (
            json!({"spec": {"restartPolicy": "Maybe", "dnsPolicy": "X"}}),
            vec![
                "spec.restartPolicy: Unsupported value: \"Maybe\": supported values: \"Always\", \"OnFailure\", \
                 \"Never\""
                    .into(),
                "spec.dnsPolicy: Unsupported value: \"X\": supported values: \
                 \"ClusterFirstWithHostNet\", \"ClusterFirst\", \"Default\", \"None\""
                    .into(),
            ],
        ),
        (
            json!({"spec": {"tolerations": [{"value": "x"}, {"key": "a", "effect": "Never"}]}}),
            vec![
                "spec.tolerations[0].operator: Invalid value: \"\": operator must be Exists when `key` is empty, which \
                 means \"match all values and all keys\""
                    .into(),
                "spec.tolerations[1].effect: Unsupported value: \"Never\": supported values: \"NoSchedule\", \
                 \"PreferNoSchedule\", \"NoExecute\""
                    .into(),
            ],
        ),
        (
            json!({"spec": {"affinity": {
                "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}},
                "podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
                    {"weight": 0, "podAffinityTerm": {"topologyKey": "zone"}}]}}}}),
            vec![
                "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms: Required \
                 value: must have at least one node selector term"
                    .into(),
                "spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight: Invalid \
                 value: 0: must be in the range 1-100"
                    .into(),
            ],
        ),
        (
            json!({"spec": {"topologySpreadConstraints": [
                {"maxSkew": 0, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway", "minDomains": 2}]}}),
            vec![
                "spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero".into(),
                "spec.topologySpreadConstraints[0].minDomains: Invalid value: 2: can only use minDomains if \
                 whenUnsatisfiable=DoNotSchedule, not ScheduleAnyway"
                    .into(),
            ],
        ),
        (
            json!({"spec": {"nodeName": "node-1", "schedulingGates": [{"name": "wait"}]}}),
            vec!["spec.nodeName: Forbidden: cannot be set until all schedulingGates have been cleared".into()],
        ),
        (
            json!({"spec": {"activeDeadlineSeconds": 0}}),
            vec!["spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive".into()],
        ),
        (
            container(json!({"securityContext": {"privileged": true, "allowPrivilegeEscalation": false}})),
            vec![
                "spec.containers[0].securityContext: Invalid value: \
                 {\"allowPrivilegeEscalation\":false,\"privileged\":true}: cannot set `allowPrivilegeEscalation` to \
                 false and `privileged` to true"
                    .into(),
            ],
        ),
    ];
    assert_eq!(new_errors::<PodKind>(minimal()), Vec::<String>::new());
    for (patch, expected) in cases {
        assert_eq!(new_errors::<PodKind>(merged(&minimal(), patch.clone())), expected, "{patch}");
    }
}

#[test]
fn an_update_may_change_little() {
    let errors = |patch: Value| update_errors::<PodKind>(minimal(), merged(&minimal(), patch));
    assert_eq!(errors(container(json!({"image": "nginx:2", "imagePullPolicy": "Always"}))), Vec::<String>::new());
    assert_eq!(errors(json!({"spec": {"activeDeadlineSeconds": 5}})), Vec::<String>::new());
    assert_eq!(errors(json!({"spec": {"tolerations": [{"operator": "Exists"}]}})), Vec::<String>::new());
    let two = json!({"spec": {"containers": [{"name": "web", "image": "nginx"}, {"name": "b", "image": "x"}]}});
    assert_eq!(errors(two), ["spec.containers: Forbidden: pod updates may not add or remove containers"]);
    assert_eq!(
        errors(json!({"spec": {"hostname": "other"}})),
        ["spec: Forbidden: pod updates may not change fields other than \
          `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` \
          (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it \
          was previously negative)\n  core.PodSpec{\n  \t... // identical fields\n+ \thostname: \"other\",\n  }\n"]
    );
    assert_eq!(
        errors(json!({"spec": {"schedulingGates": [{"name": "wait"}]}})),
        ["spec.schedulingGates[0].name: Forbidden: only deletion is allowed, but found new scheduling gate 'wait'"]
    );
}

#[test]
fn an_ended_container_stays_ended() {
    let with = |state: Value| {
        let status = json!({"qosClass": "BestEffort", "containerStatuses": [
            {"name": "web", "ready": false, "restartCount": 0, "image": "", "imageID": "", "state": state}]});
        object::<PodKind>(merged(&minimal(), json!({"spec": {"restartPolicy": "Never"}, "status": status})))
    };
    let mut errors = Errors::default();
    let old = with(json!({"terminated": {"exitCode": 0}}));
    PodKind::validate_status_update(&with(json!({"running": {}})), &old, &mut errors);
    assert_eq!(
        errors.to_string(),
        "status.containerStatuses[0].state: Forbidden: may not be transitioned to non-terminated state"
    );
}

#[test]
fn columns_tell_what_upstreams_tell() {
    let now: Timestamp = "2026-01-01T00:10:00Z".parse().unwrap();
    let running = json!({"running": {}});
    let backing_off = json!({"waiting": {"reason": "CrashLoopBackOff"}});
    let completed = json!({"terminated": {"exitCode": 0, "reason": "Completed"}});
    let status = |name: &str, ready: bool, restarts: i32, state: &Value| {
        json!({"name": name, "ready": ready, "restartCount": restarts, "image": "", "imageID": "", "state": state,
            "lastState": if restarts > 0 {
                json!({"terminated": {"exitCode": 1, "finishedAt": "2026-01-01T00:05:00Z"}})
            } else { json!({}) }})
    };
    let two_inits = json!([{"name": "i1"}, {"name": "i2"}]);
    let sidecar = json!([{"name": "s", "restartPolicy": "Always"}]);
    // (patch, ready, status, restarts)
    let cases = [
        (json!({"status": {"phase": "Pending"}}), "0/1", "Pending", "0"),
        (
            json!({"status": {"phase": "Pending", "conditions": [
            {"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]}}),
            "0/1",
            "SchedulingGated",
            "0",
        ),
        (
            json!({"status": {"phase": "Running", "containerStatuses": [status("web", true, 0, &running)]}}),
            "1/1",
            "Running",
            "0",
        ),
        (
            json!({"status": {"phase": "Running", "containerStatuses": [status("web", false, 3, &backing_off)]}}),
            "0/1",
            "CrashLoopBackOff",
            "3 (5m ago)",
        ),
        (
            json!({"status": {"phase": "Pending", "containerStatuses": [
            status("web", false, 0, &json!({"waiting": {"reason": "ImagePullBackOff"}}))]}}),
            "0/1",
            "ImagePullBackOff",
            "0",
        ),
        (
            json!({"status": {"phase": "Succeeded", "containerStatuses": [status("web", false, 0, &completed)]}}),
            "0/1",
            "Completed",
            "0",
        ),
        (
            json!({"status": {"phase": "Failed", "containerStatuses": [
            status("web", false, 0, &json!({"terminated": {"exitCode": 3}}))]}}),
            "0/1",
            "ExitCode:3",
            "0",
        ),
        (
            json!({"status": {"phase": "Failed", "containerStatuses": [
            status("web", false, 0, &json!({"terminated": {"exitCode": 137, "signal": 9}}))]}}),
            "0/1",
            "Signal:9",
            "0",
        ),
        (json!({"status": {"phase": "Failed", "reason": "Evicted"}}), "0/1", "Evicted", "0"),
        (
            json!({"spec": {"initContainers": two_inits}, "status": {"phase": "Pending", "initContainerStatuses": [
            status("i1", false, 0, &completed), status("i2", false, 0, &running)]}}),
            "0/1",
            "Init:1/2",
            "0",
        ),
        (
            json!({"spec": {"initContainers": two_inits}, "status": {"phase": "Pending", "initContainerStatuses": [
            status("i1", false, 2, &json!({"terminated": {"exitCode": 1, "reason": "Error"}}))]}}),
            "0/1",
            "Init:Error",
            "2 (5m ago)",
        ),
        (
            json!({"spec": {"initContainers": two_inits}, "status": {"phase": "Pending", "initContainerStatuses": [
            status("i1", false, 2, &backing_off)]}}),
            "0/1",
            "Init:CrashLoopBackOff",
            "2 (5m ago)",
        ),
        (
            json!({"spec": {"initContainers": two_inits}, "status": {"phase": "Pending", "initContainerStatuses": [
            status("i1", true, 2, &completed), status("i2", true, 0, &completed)], "containerStatuses": [
            status("web", false, 0, &json!({"waiting": {"reason": "PodInitializing"}}))]}}),
            "0/1",
            "PodInitializing",
            "0",
        ),
        (
            json!({"spec": {"initContainers": sidecar}, "status": {"phase": "Running",
            "initContainerStatuses": [merged(&status("s", true, 1, &running), json!({"started": true}))],
            "containerStatuses": [status("web", true, 0, &running)]}}),
            "2/2",
            "Running",
            "1 (5m ago)",
        ),
        (
            json!({"spec": {"containers": [{"name": "a"}, {"name": "b"}]}, "status": {"phase": "Running",
            "containerStatuses": [status("a", false, 0, &completed), status("b", true, 0, &running)]}}),
            "1/2",
            "NotReady",
            "0",
        ),
        (
            json!({"metadata": {"deletionTimestamp": "2026-01-01T00:09:00Z"}, "status": {"phase": "Running",
            "containerStatuses": [status("web", true, 0, &running)]}}),
            "1/1",
            "Terminating",
            "0",
        ),
        (
            json!({"metadata": {"deletionTimestamp": "2026-01-01T00:09:00Z"}, "status": {"phase": "Succeeded",
            "containerStatuses": [status("web", false, 0, &completed)]}}),
            "0/1",
            "Completed",
            "0",
        ),
        (
            json!({"metadata": {"deletionTimestamp": "2026-01-01T00:09:00Z"}, "status": {"phase": "Running",
            "reason": "NodeLost"}}),
            "0/1",
            "Unknown",
            "0",
        ),
    ];
    for (patch, ready, status, restarts) in cases {
        let base = merged(&minimal(), json!({"metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"}}));
        let pod: Pod = serde_json::from_value(merged(&base, patch.clone())).unwrap();
        let cells = PodKind::cells(&pod, now);
        assert_eq!(cells[..5], [json!("web"), json!(ready), json!(status), json!(restarts), json!("10m")], "{patch}");
        assert_eq!(cells.len(), PodKind::COLUMNS.len());
    }
    let placed = merged(
        &minimal(),
        json!({
            "spec": {"nodeName": "node-1", "readinessGates": [{"conditionType": "a"}, {"conditionType": "b"}]},
            "status": {"podIPs": [{"ip": "10.244.1.2"}], "conditions": [{"type": "a", "status": "True"}]},
        }),
    );
    let pod: Pod = serde_json::from_value(placed).unwrap();
    let cells = PodKind::cells(&pod, now);
    assert_eq!(cells[4..], [json!("<unknown>"), json!("10.244.1.2"), json!("node-1"), json!("<none>"), json!("1/2")]);
    assert_eq!(PodKind::index(&pod).as_deref(), Some("node-1"));
}

#[test]
fn notes_tell_the_story() {
    let pod = |patch: Value| object::<PodKind>(merged(&minimal(), patch));
    let pending = pod(json!({"status": {"phase": "Pending"}}));
    let bound = pod(json!({"spec": {"nodeName": "node-2"}, "status": {"phase": "Pending"}}));
    let running = pod(json!({"spec": {"nodeName": "node-2"}, "status": {"phase": "Running", "containerStatuses": [
        {"name": "web", "ready": true, "restartCount": 0, "image": "", "imageID": "", "state": {"running": {}}}]}}));
    assert_eq!(PodKind::note(&pending, None), "created");
    assert_eq!(PodKind::note(&bound, Some(&pending)), "bound to node-2");
    assert_eq!(PodKind::note(&running, Some(&bound)), "Pending → Running, ready 0/1 → 1/1");
    assert_eq!(PodKind::note(&running, Some(&running)), "");
}

#[test]
fn label_keys_become_requirements() {
    let mut pod = object::<PodKind>(merged(
        &minimal(),
        json!({"metadata": {"labels": {"hash": "1"}}, "spec": {
            "affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
                {"topologyKey": "zone", "labelSelector": {}, "matchLabelKeys": ["hash", "none"]}]}},
            "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule",
                "labelSelector": {"matchLabels": {"app": "web"}}, "matchLabelKeys": ["hash"]}],
        }}),
    ));
    PodKind::prepare_create(&mut pod);
    let spec = serde_json::to_value(pod.spec.unwrap()).unwrap();
    let required = json!([{"key": "hash", "operator": "In", "values": ["1"]}]);
    let term = &spec["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][0];
    assert_eq!(term["labelSelector"]["matchExpressions"], required);
    assert_eq!(spec["topologySpreadConstraints"][0]["labelSelector"]["matchExpressions"], required);
}

#[test]
fn what_is_hardly_meant_is_warned_of() {
    let pod = object::<PodKind>(merged(
        &minimal(),
        json!({"spec": {
            "nodeSelector": {"beta.kubernetes.io/os": "linux"},
            "containers": [{"name": "web", "image": "nginx",
                "env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}, {"name": "A", "value": "$(A)3"}],
                "ports": [{"containerPort": 80}, {"containerPort": 80}]}],
        }}),
    ));
    assert_eq!(
        PodKind::warnings(&pod),
        [
            "spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use \"kubernetes.io/os\" instead",
            "spec.containers[0].env[1]: hides previous definition of \"A\", which may be dropped when using apply",
            "spec.containers[0].ports[1]: duplicate port definition with spec.containers[0].ports[0]",
        ]
    );
}

#[test]
fn a_pod_is_given_the_time_it_asks_for() {
    let running = object::<PodKind>(merged(&minimal(), json!({"spec": {"nodeName": "n"}})));
    let pending = object::<PodKind>(minimal());
    let ended =
        object::<PodKind>(merged(&minimal(), json!({"spec": {"nodeName": "n"}, "status": {"phase": "Failed"}})));
    for (pod, asked, given) in [
        (&running, None, 30),
        (&running, Some(5), 5),
        (&running, Some(0), 0),
        (&running, Some(-3), 1),
        (&pending, None, 0),
        (&ended, Some(9), 0),
    ] {
        assert_eq!(PodKind::grace_seconds(pod, asked), Some(given), "{asked:?}");
    }
}
