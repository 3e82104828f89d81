#![allow(clippy::unwrap_used)]

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Service};
use serde_json::{Value, json};

use super::*;

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

fn pod(spec: Value) -> Pod {
    serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": spec})).unwrap()
}

fn container(requests: Value, limits: Value) -> Value {
    json!({"containers": [{"name": "c", "resources": {"requests": requests, "limits": limits}}]})
}

fn told(amounts: &Amounts) -> String {
    amounts.iter().map(|(name, amount)| format!("{name}={amount}")).collect::<Vec<_>>().join(",")
}

fn quota(spec: Value, used: Value) -> ResourceQuota {
    let hard = spec["hard"].clone();
    serde_json::from_value(json!({"metadata": {"name": "q"}, "spec": spec, "status": {"hard": hard, "used": used}}))
        .unwrap()
}

#[test]
fn kinds_use_what_they_use() {
    let asks =
        pod(container(json!({"cpu": "1", "example.com/gpu": "2", "hugepages-2Mi": "4Mi"}), json!({"memory": "1Gi"})));
    assert_eq!(
        told(&Item::Pod(&asks).usage(NOW)),
        "count/pods=1,cpu=1,hugepages-2Mi=4Mi,limits.memory=1Gi,pods=1,requests.cpu=1,requests.example.com/gpu=2,\
         requests.hugepages-2Mi=4Mi"
    );
    let mut ended = asks.clone();
    ended.status.get_or_insert_default().phase = Some("Succeeded".into());
    assert_eq!(told(&Item::Pod(&ended).usage(NOW)), "count/pods=1");
    let mut lost = asks;
    lost.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(NOW));
    lost.metadata.deletion_grace_period_seconds = Some(30);
    let later = |seconds| NOW + jiff::SignedDuration::from_secs(seconds);
    assert!(Item::Pod(&lost).usage(later(30)).contains_key("pods"));
    assert!(!Item::Pod(&lost).usage(later(31)).contains_key("pods"));

    let service = |spec: Value| serde_json::from_value::<Service>(json!({"spec": spec})).unwrap();
    let ports = json!([{"port": 80, "nodePort": 30080}, {"port": 81}]);
    for (spec, wanted) in [
        (json!({"type": "ClusterIP", "ports": ports}), (0, 0)),
        (json!({"type": "NodePort", "ports": ports}), (2, 0)),
        (json!({"type": "LoadBalancer", "ports": ports}), (2, 1)),
        (json!({"type": "LoadBalancer", "ports": ports, "allocateLoadBalancerNodePorts": false}), (1, 1)),
    ] {
        let usage = Item::Service(&service(spec.clone())).usage(NOW);
        assert_eq!((usage["services.nodeports"].value(), usage["services.loadbalancers"].value()), wanted, "{spec}");
    }

    let claim = json!({"spec": {"storageClassName": "gold", "resources": {"requests": {"storage": "1500m"}}},
                       "status": {"allocatedResources": {"storage": "10Gi"}}});
    let claim: PersistentVolumeClaim = serde_json::from_value(claim).unwrap();
    assert_eq!(
        told(&Item::Claim(&claim).usage(NOW)),
        "count/persistentvolumeclaims=1,gold.storageclass.storage.k8s.io/persistentvolumeclaims=1,\
         gold.storageclass.storage.k8s.io/requests.storage=10Gi,persistentvolumeclaims=1,requests.storage=10Gi"
    );
    assert_eq!(told(&Item::Other("secrets").usage(NOW)), "count/secrets=1,secrets=1");
    assert_eq!(told(&Item::Other("jobs.batch").usage(NOW)), "count/jobs.batch=1");
}

#[test]
fn names_belong_to_kinds() {
    let (pod, service) = (Pod::default(), Service::default());
    let claim = PersistentVolumeClaim::default();
    for (name, owners) in [
        ("requests.cpu", [true, false, false, false]),
        ("requests.example.com/gpu", [true, false, false, false]),
        ("requests.storage", [false, false, true, false]),
        ("gold.storageclass.storage.k8s.io/requests.storage", [false, false, true, false]),
        ("gold.storageclass.storage.k8s.io/other", [false; 4]),
        ("services.nodeports", [false, true, false, false]),
        ("configmaps", [false, false, false, true]),
        ("count/configmaps", [false, false, false, true]),
        ("count/jobs.batch", [false; 4]),
    ] {
        let items = [Item::Pod(&pod), Item::Service(&service), Item::Claim(&claim), Item::Other("configmaps")];
        assert_eq!(items.map(|item| item.tracks(name)), owners, "{name}");
    }
}

#[test]
fn scopes_choose_claims_by_their_attributes() {
    let scope = |operator: &str, values: Value| {
        json!({"hard": {"persistentvolumeclaims": "1"}, "scopeSelector": {"matchExpressions": [
            {"scopeName": "VolumeAttributesClass", "operator": operator, "values": values}]}})
    };
    let asks = json!({"spec": {"volumeAttributesClassName": "gold"}});
    let leaves = json!({"spec": {"volumeAttributesClassName": "gold"}, "status": {
        "currentVolumeAttributesClassName": "silver", "modifyVolumeStatus": {
            "status": "InProgress", "targetVolumeAttributesClassName": "gold"}}});
    for (scope, claim, matches) in [
        (scope("In", json!(["gold"])), &asks, true),
        (scope("In", json!(["silver"])), &asks, false),
        (scope("In", json!(["silver"])), &leaves, true),
        (scope("Exists", Value::Null), &asks, true),
        (scope("Exists", Value::Null), &json!({}), false),
        (scope("DoesNotExist", Value::Null), &json!({}), true),
        (scope("NotIn", json!(["gold"])), &json!({}), true),
        (json!({"hard": {"persistentvolumeclaims": "1"}, "scopes": ["BestEffort"]}), &asks, false),
    ] {
        let claim = serde_json::from_value(claim.clone()).unwrap();
        assert_eq!(Item::Claim(&claim).is_limited_by(&quota(scope.clone(), json!({}))), matches, "{scope}");
    }
}

#[test]
fn scopes_choose_pods() {
    let best_effort = json!({"containers": [{"name": "c"}]});
    let burstable = container(json!({"cpu": "1"}), json!({}));
    let with = |key: &str, value: Value| {
        let mut spec = best_effort.clone();
        spec[key] = value;
        spec
    };
    let affinity = json!({"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "x", "namespaces": ["a"]}]}});
    let class = |operator: &str, values: Value| json!({"scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": operator, "values": values}]}});
    for (scopes, spec, matches) in [
        (json!({"scopes": ["BestEffort"]}), best_effort.clone(), true),
        (json!({"scopes": ["BestEffort"]}), burstable.clone(), false),
        (json!({"scopes": ["NotBestEffort", "NotTerminating"]}), burstable.clone(), true),
        (json!({"scopes": ["Terminating"]}), with("activeDeadlineSeconds", json!(5)), true),
        (json!({"scopes": ["NotTerminating"]}), with("activeDeadlineSeconds", json!(5)), false),
        (json!({"scopes": ["PriorityClass"]}), with("priorityClassName", json!("high")), true),
        (json!({"scopes": ["PriorityClass"]}), best_effort.clone(), false),
        (class("In", json!(["high"])), with("priorityClassName", json!("high")), true),
        (class("In", json!(["low"])), with("priorityClassName", json!("high")), false),
        (class("NotIn", json!(["low"])), best_effort.clone(), true),
        (class("DoesNotExist", Value::Null), best_effort.clone(), true),
        (json!({"scopes": ["CrossNamespacePodAffinity"]}), with("affinity", affinity), true),
        (json!({"scopes": ["CrossNamespacePodAffinity"]}), best_effort.clone(), false),
    ] {
        let mut quota_spec = scopes.clone();
        quota_spec["hard"] = json!({"pods": "1"});
        let pod = pod(spec);
        assert_eq!(Item::Pod(&pod).is_limited_by(&quota(quota_spec, json!({}))), matches, "{scopes}");
    }
}

#[test]
fn charges_are_told_in_upstreams_words() {
    let asks = pod(container(json!({"cpu": "1"}), json!({})));
    let silent = pod(json!({"containers": [{"name": "b"}, {"name": "a"}], "initContainers": [{"name": "i"}]}));
    let hard = |hard: Value| json!({"hard": hard});
    for (quota, pod, wanted) in [
        (quota(hard(json!({"pods": "2"})), json!({"pods": "1"})), &asks, Ok(Some("pods=2"))),
        (quota(hard(json!({"secrets": "2"})), json!({})), &asks, Ok(None)),
        (
            quota(hard(json!({"pods": "1", "requests.cpu": "1500m"})), json!({"pods": "1", "requests.cpu": "1"})),
            &asks,
            Err("exceeded quota: q, requested: pods=1,requests.cpu=1, used: pods=1,requests.cpu=1, limited: pods=1,\
                 requests.cpu=1500m"),
        ),
        (
            quota(hard(json!({"limits.cpu": "4"})), json!({"limits.cpu": "0"})),
            &asks,
            Err("failed quota: q: must specify limits.cpu for: c"),
        ),
        (
            quota(hard(json!({"cpu": "4", "limits.memory": "1Gi"})), json!({"cpu": "0", "limits.memory": "0"})),
            &silent,
            Err("failed quota: q: must specify cpu for: a,b,i; limits.memory for: a,b,i"),
        ),
        (
            quota(hard(json!({"pods": "2", "count/pods": "3"})), json!({})),
            &asks,
            Err("status unknown for quota: q, resources: count/pods,pods"),
        ),
    ] {
        let change = Change { new: Item::Pod(pod), old: None, noted_only: false, now: NOW };
        let found = charge(&quota, &change).map(|next| next.as_ref().map(told));
        assert_eq!(found, wanted.map(|next| next.map(str::to_owned)).map_err(str::to_owned));
    }
}

#[test]
fn an_update_pays_for_what_it_adds() {
    let service = |type_: &str| {
        serde_json::from_value::<Service>(json!({"spec": {"type": type_, "ports": [{"port": 80}]}})).unwrap()
    };
    let (plain, node_port) = (service("ClusterIP"), service("NodePort"));
    let quota = quota(
        json!({"hard": {"services": "1", "services.nodeports": "0"}}),
        json!({"services": "1", "services.nodeports": "0"}),
    );
    let change =
        |new, old| Change { new: Item::Service(new), old: Some(Item::Service(old)), noted_only: false, now: NOW };
    assert_eq!(charge(&quota, &change(&plain, &plain)), Ok(None));
    assert_eq!(charge(&quota, &change(&plain, &node_port)), Ok(None));
    assert_eq!(
        charge(&quota, &change(&node_port, &plain)),
        Err("exceeded quota: q, requested: services.nodeports=1, used: services.nodeports=0, limited: services.nodeports=0".into())
    );
    let noted = Change { noted_only: true, ..change(&node_port, &plain) };
    assert_eq!(charge(&quota, &noted).unwrap().as_ref().map(told).as_deref(), Some("services=1,services.nodeports=1"));
}

#[test]
fn usage_is_summed_within_the_scopes() {
    let asks = pod(container(json!({"cpu": "100m"}), json!({})));
    let silent = pod(json!({"containers": [{"name": "c"}]}));
    let items = || [Item::Pod(&asks), Item::Pod(&asks), Item::Pod(&silent), Item::Other("secrets")].into_iter();
    let all = quota(json!({"hard": {"pods": "9", "requests.cpu": "9", "secrets": "9", "services": "9"}}), json!({}));
    assert_eq!(told(&used(&all, items(), NOW)), "pods=3,requests.cpu=200m,secrets=1,services=0");
    let scoped = quota(json!({"hard": {"pods": "9"}, "scopes": ["BestEffort"]}), json!({}));
    assert_eq!(told(&used(&scoped, items(), NOW)), "pods=1");
}
