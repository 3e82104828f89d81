#![allow(clippy::unwrap_used)]

use k8s_openapi::api::{
    apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet},
    core::v1::PodTemplateSpec,
};
use kubelab_api::field::Errors;
use serde_json::{Value, json};

use super::{
    daemon_set::DaemonSetKind, deployment::DeploymentKind, replica_set::ReplicaSetKind, stateful_set::StatefulSetKind,
};
use crate::registry::{
    kind::Kind,
    validation::tests::{merged, new_errors, object, update_errors},
};

fn workload(kind: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "web"},
        "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "web", "image": "nginx:1"}]},
            },
        },
    })
}

/// The template of [`workload`] with its defaults.
fn template() -> Value {
    let mut template: PodTemplateSpec = serde_json::from_value(workload("X")["spec"]["template"].clone()).unwrap();
    crate::registry::core::pod::defaults::template(&mut template);
    let json = serde_json::to_value(&template).unwrap();
    assert_eq!(json["spec"]["restartPolicy"], "Always");
    assert_eq!(json["spec"].get("enableServiceLinks"), None, "that is for pods only");
    json
}

fn created<K: Kind>(json: Value) -> Value {
    let mut object = object::<K>(json);
    K::prepare_create(&mut object);
    serde_json::to_value(&object).unwrap()
}

#[test]
fn minimal_workloads_are_completed() {
    let selector = json!({"matchLabels": {"app": "web"}});
    assert_eq!(
        created::<DeploymentKind>(workload("Deployment")),
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
            "spec": {
                "progressDeadlineSeconds": 600, "replicas": 1, "revisionHistoryLimit": 10, "selector": selector,
                "strategy": {"rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}, "type": "RollingUpdate"},
                "template": template(),
            },
            "status": {},
        })
    );
    assert_eq!(
        created::<ReplicaSetKind>(workload("ReplicaSet")),
        json!({
            "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "web"},
            "spec": {"replicas": 1, "selector": selector, "template": template()},
            "status": {"replicas": 0},
        })
    );
    assert_eq!(
        created::<DaemonSetKind>(workload("DaemonSet")),
        json!({
            "apiVersion": "apps/v1", "kind": "DaemonSet",
            "metadata": {"name": "web", "annotations": {"deprecated.daemonset.template.generation": "1"}},
            "spec": {
                "revisionHistoryLimit": 10, "selector": selector, "template": template(),
                "updateStrategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}, "type": "RollingUpdate"},
            },
            "status": {"currentNumberScheduled": 0, "desiredNumberScheduled": 0, "numberMisscheduled": 0, "numberReady": 0},
        })
    );
    let claim = json!({"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1024Mi"}}}});
    assert_eq!(
        created::<StatefulSetKind>(merged(
            &workload("StatefulSet"),
            json!({"spec": {"serviceName": "web", "volumeClaimTemplates": [claim]}})
        )),
        json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "web"},
            "spec": {
                "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
                "podManagementPolicy": "OrderedReady", "replicas": 1, "revisionHistoryLimit": 10,
                "selector": selector, "serviceName": "web", "template": template(),
                "updateStrategy": {"rollingUpdate": {"partition": 0}, "type": "RollingUpdate"},
                "volumeClaimTemplates": [{
                    "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"},
                    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}},
                        "volumeMode": "Filesystem"},
                    "status": {"phase": "Pending"},
                }],
            },
            "status": {"replicas": 0},
        })
    );
}

#[test]
fn bad_deployments_are_refused_in_upstreams_words() {
    let mismatch = "spec.template.metadata.labels: Invalid value: {\"app\":\"web\"}: `selector` does not match template \
                    `labels`";
    let cases = [
        (
            json!({"spec": {"replicas": -1}}),
            vec!["spec.replicas: Invalid value: -1: must be greater than or equal to 0"],
        ),
        (json!({"spec": {"selector": null}}), vec!["spec.selector: Required value", mismatch]),
        (json!({"spec": {"selector": {"matchLabels": {"app": "other"}}}}), vec![mismatch]),
        (
            json!({"spec": {"strategy": {"type": "Recreate", "rollingUpdate": {"maxSurge": 1}}}}),
            vec!["spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'"],
        ),
        (
            json!({"spec": {"strategy": {"type": "Blue"}}}),
            vec![
                "spec.strategy: Unsupported value: {\"Type\":\"Blue\",\"RollingUpdate\":null}: supported values: \"Recreate\", \"RollingUpdate\"",
            ],
        ),
        (
            json!({"spec": {"strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "0%"}}}}),
            vec![
                "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: \"0%\": may not be 0 when `maxSurge` is 0",
            ],
        ),
        (
            json!({"spec": {"strategy": {"rollingUpdate": {"maxUnavailable": "101%", "maxSurge": "many"}}}}),
            vec![
                "spec.strategy.rollingUpdate.maxSurge: Invalid value: \"many\": a valid percent string must be a numeric \
                 string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')",
                "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: \"101%\": must not be greater than 100%",
            ],
        ),
        (
            json!({"spec": {"progressDeadlineSeconds": 5, "minReadySeconds": 5}}),
            vec!["spec.progressDeadlineSeconds: Invalid value: 5: must be greater than minReadySeconds"],
        ),
        (
            json!({"spec": {"template": {"spec": {"restartPolicy": "Never", "activeDeadlineSeconds": 1}}}}),
            vec![
                "spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\"",
                "spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in ReplicaSet is not \
                 Supported",
            ],
        ),
        (
            json!({"spec": {"template": {"spec": {"containers": null}}}}),
            vec!["spec.template.spec.containers: Required value"],
        ),
    ];
    let base = workload("Deployment");
    assert_eq!(new_errors::<DeploymentKind>(base.clone()), Vec::<String>::new());
    for (patch, expected) in cases {
        assert_eq!(new_errors::<DeploymentKind>(merged(&base, patch.clone())), expected, "{patch}");
    }
    let other = json!({"spec": {"selector": {"matchLabels": {"a": "b", "app": null}}, "template": {"metadata": {"labels": {"a": "b"}}}}});
    assert_eq!(
        update_errors::<DeploymentKind>(base.clone(), merged(&base, other)),
        ["spec.selector: Invalid value: {\"matchLabels\":{\"a\":\"b\"}}: field is immutable"]
    );
}

#[test]
fn a_stateful_set_keeps_what_its_pods_are_built_on() {
    let base = merged(&workload("StatefulSet"), json!({"spec": {"serviceName": "web"}}));
    let errors = |patch: Value| update_errors::<StatefulSetKind>(base.clone(), merged(&base, patch));
    assert_eq!(errors(json!({"spec": {"replicas": 5, "minReadySeconds": 1}})), Vec::<String>::new());
    assert_eq!(
        errors(json!({"spec": {"serviceName": "other"}})),
        ["spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', \
          'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are \
          forbidden"]
    );
}

#[test]
fn a_status_may_not_count_more_than_there_is() {
    let with = |status: Value| object::<DeploymentKind>(merged(&workload("Deployment"), json!({"status": status})));
    let mut errors = Errors::default();
    let new = with(json!({"replicas": 1, "readyReplicas": 2, "collisionCount": 1}));
    DeploymentKind::validate_status_update(&new, &with(json!({"collisionCount": 2})), &mut errors);
    assert_eq!(
        errors.to_string(),
        "[status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas, status.collisionCount: \
         Invalid value: 1: cannot be decremented]"
    );
}

#[test]
fn columns_tell_what_upstreams_tell() {
    let now = "2026-01-01T00:00:30Z".parse().unwrap();
    let made = json!({"metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"}});
    let wide = [json!("web"), json!("nginx:1"), json!("app=web")];

    let status = json!({"status": {"replicas": 3, "readyReplicas": 2, "updatedReplicas": 3, "availableReplicas": 1}});
    let deployment: Deployment = serde_json::from_value(merged(
        &merged(&workload("Deployment"), made.clone()),
        merged(&status, json!({"spec": {"replicas": 3}})),
    ))
    .unwrap();
    let cells = DeploymentKind::cells(&deployment, now);
    assert_eq!(cells[..5], [json!("web"), json!("2/3"), json!(3), json!(1), json!("30s")]);
    assert_eq!(cells[5..], wide);
    let scale = DeploymentKind::scale(&deployment).unwrap();
    assert_eq!((scale.replicas, scale.observed, scale.selector.as_str()), (3, 3, "app=web"));

    let set: ReplicaSet = serde_json::from_value(merged(
        &merged(&workload("ReplicaSet"), made.clone()),
        json!({"spec": {"replicas": 3}, "status": {"replicas": 2, "readyReplicas": 1}}),
    ))
    .unwrap();
    let cells = ReplicaSetKind::cells(&set, now);
    assert_eq!(cells[..5], [json!("web"), json!(3), json!(2), json!(1), json!("30s")]);

    let set: StatefulSet = serde_json::from_value(merged(
        &merged(&workload("StatefulSet"), made.clone()),
        json!({"spec": {"replicas": 3}, "status": {"replicas": 2, "readyReplicas": 1}}),
    ))
    .unwrap();
    assert_eq!(StatefulSetKind::cells(&set, now)[..3], [json!("web"), json!("1/3"), json!("30s")]);

    let set: DaemonSet = serde_json::from_value(merged(
        &merged(&workload("DaemonSet"), made),
        json!({"status": {"desiredNumberScheduled": 3, "currentNumberScheduled": 2, "numberReady": 1}}),
    ))
    .unwrap();
    assert_eq!(
        DaemonSetKind::cells(&set, now)[1..8],
        [json!(3), json!(2), json!(1), json!(0), json!(0), json!("<none>"), json!("30s")]
    );
}

#[test]
fn notes_tell_the_story() {
    let base = workload("Deployment");
    let with = |patch: Value| object::<DeploymentKind>(merged(&base, patch));
    let old = with(json!({"spec": {"replicas": 0}}));
    let new = with(
        json!({"spec": {"replicas": 3, "template": {"spec": {"containers": [{"name": "web", "image": "nginx:2"}]}}},
        "status": {"readyReplicas": 1}}),
    );
    assert_eq!(DeploymentKind::note(&old, None), "created with 0 replicas");
    assert_eq!(DeploymentKind::note(&new, Some(&old)), "scaled 0 → 3, image nginx:1 → nginx:2, ready 0/3 → 1/3");
    assert_eq!(DeploymentKind::note(&new, Some(&new)), "");
}

#[test]
fn a_generation_counts_specs() {
    let base = workload("Deployment");
    let old = object::<DeploymentKind>(base.clone());
    for (patch, counts) in [
        (json!({"spec": {"replicas": 2}}), true),
        (json!({"metadata": {"annotations": {"a": "b"}}}), true),
        (json!({"metadata": {"labels": {"a": "b"}}}), false),
        (json!({"status": {"replicas": 2}}), false),
    ] {
        let new = object::<DeploymentKind>(merged(&base, patch.clone()));
        assert_eq!(DeploymentKind::spec_changed(&new, &old), counts, "{patch}");
    }
}
