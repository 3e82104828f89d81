//! What is wrong with a pod, in upstream's words.

use kubelab_api::field::Errors;

use super::*;
use crate::registry::validation::tests::{new_errors, update_errors};

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
