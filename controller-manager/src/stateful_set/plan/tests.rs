#![allow(clippy::unwrap_used)]

use std::collections::HashMap;

use serde_json::{Value, json};

use super::*;

const NOW: &str = "2026-11-20T12:00:30Z";

fn set(spec: Value) -> StatefulSet {
    let mut set = json!({
        "metadata": {"name": "web", "namespace": "shop", "uid": "set"},
        "spec": {
            "replicas": 3, "podManagementPolicy": "OrderedReady",
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
            "selector": {"matchLabels": {"app": "web"}}, "template": {},
        },
    });
    for (name, value) in spec.as_object().unwrap() {
        set["spec"][name] = value.clone();
    }
    serde_json::from_value(set).unwrap()
}

/// `2 new ready`: ordinal, revision, state.
fn pod(text: &str) -> Arc<Pod> {
    let [ordinal, revision, state] = text.split(' ').collect::<Vec<_>>()[..] else { panic!("{text}") };
    let (phase, ready, since, deleted) = match state {
        "ready" => ("Running", "True", "2026-11-20T12:00:00Z", false),
        "fresh" => ("Running", "True", "2026-11-20T12:00:25Z", false),
        "running" => ("Running", "False", "2026-11-20T12:00:00Z", false),
        "pending" => ("Pending", "False", "2026-11-20T12:00:00Z", false),
        "failed" => ("Failed", "False", "2026-11-20T12:00:00Z", false),
        "succeeded" => ("Succeeded", "False", "2026-11-20T12:00:00Z", false),
        "going" => ("Running", "True", "2026-11-20T12:00:00Z", true),
        _ => panic!("{state}"),
    };
    let name = format!("web-{ordinal}");
    let mut pod = json!({
        "metadata": {"name": name, "uid": name, "labels": {
            "statefulset.kubernetes.io/pod-name": name, "controller-revision-hash": revision,
        }},
        "spec": {"containers": [], "volumes": [
            {"name": "www", "persistentVolumeClaim": {"claimName": format!("www-{name}")}},
        ]},
        "status": {"phase": phase, "conditions": [{"type": "Ready", "status": ready, "lastTransitionTime": since}]},
    });
    if deleted {
        pod["metadata"]["deletionTimestamp"] = json!(NOW);
    }
    Arc::new(serde_json::from_value(pod).unwrap())
}

fn told(set: &StatefulSet, pods: &[Arc<Pod>], claims: &HashMap<String, Arc<PersistentVolumeClaim>>) -> String {
    let claim = |name: &str| claims.get(name).cloned();
    let view = View { set, pods, update: "new", claim: &claim, now: NOW.parse().unwrap() };
    let name = |pod: &Pod| pod.metadata.name.clone().unwrap().split_off(4);
    let told = |step: &Step| match step {
        Step::Create(ordinal) => format!("+{ordinal}"),
        Step::Delete(pod) => format!("-{}", name(pod)),
        Step::Claims(pod) => format!("claims {}", name(pod)),
        Step::Restore(pod) => format!("restore {}", name(pod)),
        Step::Owners(pod) => format!("owners {}", name(pod)),
    };
    let phases = plan(&view).phases;
    phases.iter().flatten().map(told).collect::<Vec<_>>().join(", ")
}

fn planned(spec: Value, pods: &[&str]) -> String {
    told(&set(spec), &pods.iter().map(|text| pod(text)).collect::<Vec<_>>(), &HashMap::new())
}

#[test]
fn an_ordered_set_takes_one_step_at_a_time() {
    for (why, pods, expected) in [
        ("the first", &[][..], "+0"),
        ("not before it is ready", &["0 new running"], ""),
        ("the second", &["0 new ready"], "+1"),
        ("a gap", &["0 new ready", "2 new ready"], "+1"),
        ("a gap below what is not ready", &["1 new running"], "+0"),
        ("one goes", &["0 new going", "1 new ready"], ""),
        ("one failed", &["0 new failed", "1 new ready"], "-0"),
        ("one ended well", &["0 new ready", "1 new succeeded"], "-1"),
        ("all there", &["0 new ready", "1 new ready", "2 new ready"], ""),
        ("one too many", &["0 new ready", "1 new ready", "2 new ready", "3 new ready", "4 new ready"], "-4"),
        ("it goes", &["0 new ready", "1 new ready", "2 new ready", "3 new ready", "4 new going"], ""),
        ("too many, but one is missing", &["0 new ready", "1 new ready", "3 new ready"], "+2"),
        (
            "the next lower is not ready",
            &["0 new ready", "1 new ready", "2 new ready", "3 new running", "4 new running"],
            "",
        ),
        ("itself is not ready", &["0 new ready", "1 new ready", "2 new ready", "3 new ready", "4 new running"], "-4"),
    ] {
        assert_eq!(planned(json!({}), pods), expected, "{why}");
    }
}

#[test]
fn a_parallel_set_does_all_at_once() {
    for (why, pods, expected) in [
        ("all", &[][..], "+0, +1, +2"),
        ("what is missing", &["1 new running"], "+0, +2"),
        (
            "failed ones and those too many",
            &["0 new failed", "1 new going", "3 new ready", "4 new running"],
            "-0, +2, -4, -3",
        ),
        (
            "an update does not wait for a broken pod of the former revision",
            &["0 old ready", "1 old running", "2 new ready"],
            "-1",
        ),
        ("but for one of the next", &["0 old ready", "1 old ready", "2 new running"], ""),
        ("nor for several broken ones", &["0 old running", "1 old ready", "2 old running"], "-2, -0"),
    ] {
        assert_eq!(planned(json!({"podManagementPolicy": "Parallel"}), pods), expected, "{why}");
    }
}

#[test]
fn updates_go_downwards() {
    let rolling = |fields: Value| json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": fields}});
    let old: &[&str] = &["0 old ready", "1 old ready", "2 old ready"];
    for (why, spec, pods, expected) in [
        ("the highest first", json!({}), old, "-2"),
        ("the next", json!({}), &["0 old ready", "1 old ready", "2 new ready"], "-1"),
        ("not while one is not ready", json!({}), &["0 old ready", "1 old ready", "2 new running"], ""),
        ("not below the partition", rolling(json!({"partition": 2})), old, "-2"),
        ("nothing below it", rolling(json!({"partition": 2})), &["0 old ready", "1 old ready", "2 new ready"], ""),
        ("a partition above all", rolling(json!({"partition": 5})), old, ""),
        ("two at a time", rolling(json!({"partition": 0, "maxUnavailable": 2})), old, "-2, -1"),
        ("a share, at least one", rolling(json!({"partition": 0, "maxUnavailable": "10%"})), old, "-2"),
        ("only by hand", json!({"updateStrategy": {"type": "OnDelete"}}), old, ""),
        ("scaling down comes first", json!({"replicas": 2}), old, "-2"),
    ] {
        assert_eq!(planned(spec, pods), expected, "{why}");
    }
    let parallel = json!({"podManagementPolicy": "Parallel", "replicas": 4, "updateStrategy":
        {"type": "RollingUpdate", "rollingUpdate": {"partition": 1, "maxUnavailable": 2}}});
    let pods = ["0 old ready", "1 old ready", "2 old ready", "3 new running"];
    assert_eq!(planned(parallel, &pods), "-2", "one of two may still be missing");
}

#[test]
fn a_pod_counts_once_it_was_ready_for_long_enough() {
    let spec = || json!({"minReadySeconds": 10});
    assert_eq!(planned(spec(), &["0 new fresh"]), "");
    assert_eq!(planned(spec(), &["0 new ready"]), "+1");
    let pods = ["0 old ready", "1 old ready", "2 new fresh"];
    assert_eq!(planned(spec(), &pods), "");
    let parallel = json!({"minReadySeconds": 10, "podManagementPolicy": "Parallel"});
    assert_eq!(planned(parallel, &pods), "");
}

#[test]
fn ordinals_may_start_elsewhere() {
    let spec = || json!({"replicas": 2, "ordinals": {"start": 5}});
    assert_eq!(planned(spec(), &[]), "+5");
    assert_eq!(planned(spec(), &["5 new ready", "6 new ready", "0 new ready"]), "-0");
    assert_eq!(planned(spec(), &["5 old ready", "6 old ready"]), "-6");
    let partition = json!({"replicas": 2, "ordinals": {"start": 5}, "updateStrategy":
        {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}});
    assert_eq!(planned(partition, &["5 old ready", "6 new ready"]), "", "the partition counts from the first ordinal");
}

#[test]
fn claims_are_made_owned_and_waited_for() {
    let spec = |deleted: &str, scaled: &str, replicas: i32| {
        set(json!({
            "replicas": replicas,
            "persistentVolumeClaimRetentionPolicy": {"whenDeleted": deleted, "whenScaled": scaled},
            "volumeClaimTemplates": [{"metadata": {"name": "www"}, "spec": {}}],
        }))
    };
    let claims = |owners: &[(&str, Value)]| -> HashMap<_, _> {
        let claim = |(name, owner): &(&str, Value)| {
            let owners = if owner.is_null() { json!([]) } else { json!([owner]) };
            let claim = json!({"metadata": {"name": name, "ownerReferences": owners}});
            ((*name).to_owned(), Arc::new(serde_json::from_value(claim).unwrap()))
        };
        owners.iter().map(claim).collect()
    };
    let by_set =
        || json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web", "uid": "set", "controller": true});
    let by_pod =
        |uid: &str| json!({"apiVersion": "v1", "kind": "Pod", "name": "web-1", "uid": uid, "controller": true});
    for (why, set, pods, claims, expected) in [
        ("a pending pod lacks one", spec("Retain", "Retain", 1), &["0 new pending"][..], claims(&[]), "claims 0"),
        ("it has it", spec("Retain", "Retain", 1), &["0 new pending"], claims(&[("www-web-0", json!(null))]), ""),
        (
            "without its owner",
            spec("Delete", "Retain", 1),
            &["0 new pending"],
            claims(&[("www-web-0", json!(null))]),
            "claims 0",
        ),
        (
            "the policy changed",
            spec("Delete", "Retain", 1),
            &["0 new ready"],
            claims(&[("www-web-0", json!(null))]),
            "restore 0",
        ),
        (
            "scaled",
            spec("Retain", "Delete", 1),
            &["0 new ready", "1 new ready"],
            claims(&[("www-web-1", json!(null))]),
            "owners 1, -1",
        ),
        (
            "scaled, owned",
            spec("Retain", "Delete", 1),
            &["0 new ready", "1 new ready"],
            claims(&[("www-web-1", by_pod("web-1"))]),
            "-1",
        ),
        (
            "the former's claim is still there",
            spec("Retain", "Delete", 2),
            &["0 new ready"],
            claims(&[("www-web-1", by_pod("old"))]),
            "",
        ),
        ("it is the set's", spec("Delete", "Delete", 2), &["0 new ready"], claims(&[("www-web-1", by_set())]), "+1"),
    ] {
        let pods: Vec<_> = pods.iter().map(|text| pod(text)).collect();
        assert_eq!(told(&set, &pods, &claims), expected, "{why}");
    }
}

#[test]
fn what_was_changed_by_hand_is_restored() {
    let mut changed = Pod::clone(&pod("0 new ready"));
    changed.metadata.labels.as_mut().unwrap().remove("statefulset.kubernetes.io/pod-name");
    assert_eq!(told(&set(json!({"replicas": 1})), &[Arc::new(changed)], &HashMap::new()), "restore 0");
}

/// Runs the plan against pods that become ready one after the other, and says what happened.
fn simulated(spec: Value, before: &[&str]) -> Vec<String> {
    let set = set(spec);
    let mut pods: Vec<Arc<Pod>> = before.iter().map(|text| pod(text)).collect();
    let mut happened = Vec::new();
    for _ in 0..100 {
        let claim = |_: &str| None;
        let view = View { set: &set, pods: &pods, update: "new", claim: &claim, now: NOW.parse().unwrap() };
        let steps: Vec<Step> = plan(&view).phases.into_iter().flatten().collect();
        let unready = pods.iter().position(|pod| !is_ready(pod));
        match (steps.is_empty(), unready) {
            (true, None) => return happened,
            (true, Some(index)) => {
                let name = pods[index].metadata.name.clone().unwrap();
                pods[index] = pod(&format!("{} {} ready", &name[4..], identity::revision(&pods[index])));
                happened.push(format!("ready {}", &name[4..]));
            }
            (false, _) => {
                for step in steps {
                    match step {
                        Step::Create(ordinal) => {
                            pods.push(pod(&format!("{ordinal} new running")));
                            happened.push(format!("+{ordinal}"));
                        }
                        Step::Delete(gone) => {
                            pods.retain(|pod| pod.metadata.name != gone.metadata.name);
                            happened.push(format!("-{}", &gone.metadata.name.clone().unwrap()[4..]));
                        }
                        other => panic!("{other:?}"),
                    }
                }
            }
        }
    }
    panic!("this never ends: {happened:?}");
}

#[test]
fn whole_stories() {
    assert_eq!(simulated(json!({}), &[]), ["+0", "ready 0", "+1", "ready 1", "+2", "ready 2"]);
    let old = ["0 old ready", "1 old ready", "2 old ready"];
    let downwards = ["-2", "+2", "ready 2", "-1", "+1", "ready 1", "-0", "+0", "ready 0"];
    assert_eq!(simulated(json!({}), &old), downwards);
    assert_eq!(simulated(json!({"replicas": 0}), &old), ["-2", "-1", "-0"]);
    let parallel = json!({"podManagementPolicy": "Parallel"});
    assert_eq!(simulated(parallel.clone(), &[]), ["+0", "+1", "+2", "ready 0", "ready 1", "ready 2"]);
    assert_eq!(simulated(parallel, &old), downwards, "an update keeps its order");
}
