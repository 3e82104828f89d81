#![allow(clippy::unwrap_used)]

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use serde_json::json;

use super::*;
use crate::{
    pod::memory::Ending,
    runtime::{Container, PodRef},
};

fn pod(spec: Value) -> Pod {
    let meta = json!({"name": "web", "namespace": "default", "uid": "u-1", "generation": 1});
    serde_json::from_value(json!({"metadata": meta, "spec": spec})).unwrap()
}

fn sandbox(pod: &Pod, runs: &[&str]) -> Sandbox {
    let run = |name: &&str| Container {
        id: format!("{name}-id"),
        name: (*name).to_owned(),
        attempt: 0,
        image: "nginx".into(),
        full_image: "docker.io/library/nginx:latest".into(),
        image_id: "docker.io/library/nginx@sha256:0".into(),
        started_at: MicroTime(Timestamp::UNIX_EPOCH),
        exit: None,
        retired: false,
    };
    let address = "10.244.1.7".parse().unwrap();
    Sandbox { pod: PodRef::of(pod), address, released: false, containers: runs.iter().map(run).collect() }
}

fn shown(pod: &Pod, sandbox: Option<&Sandbox>, memory: &Memory, second: i64) -> PodStatus {
    status(&Input {
        pod,
        sandbox,
        memory,
        backing_off: &BTreeMap::new(),
        restarts_all: false,
        host_ip: "127.0.0.1".parse().unwrap(),
        over: false,
        now: Time(Timestamp::from_second(second).unwrap()),
    })
}

/// Each condition as `Type=Status(Reason: message)`.
fn conditions(status: &PodStatus) -> Vec<String> {
    let show = |condition: &k8s_openapi::api::core::v1::PodCondition| {
        let why = condition.reason.clone().map(|reason| {
            let message = condition.message.clone().map(|message| format!(": {message}"));
            format!("({reason}{})", message.unwrap_or_default())
        });
        format!("{}={}{}", condition.type_, condition.status, why.unwrap_or_default())
    };
    status.conditions.iter().flatten().map(show).collect()
}

#[test]
fn conditions_tell_how_far_a_pod_is() {
    let pod = pod(json!({"containers": [{"name": "a"}, {"name": "b"}], "readinessGates": [{"conditionType": "x/y"}]}));
    let memory = Memory::default();
    let unready = "ContainersNotReady: containers with unready status";
    assert_eq!(
        conditions(&shown(&pod, None, &memory, 0)),
        [
            "PodReadyToStartContainers=False".to_owned(),
            "Initialized=True".to_owned(),
            format!("Ready=False({unready}: [a b])"),
            format!("ContainersReady=False({unready}: [a b])"),
        ]
    );
    assert_eq!(
        conditions(&shown(&pod, Some(&sandbox(&pod, &["a"])), &memory, 0))[2],
        format!("Ready=False({unready}: [b])")
    );
    assert_eq!(
        conditions(&shown(&pod, Some(&sandbox(&pod, &["a", "b"])), &memory, 0)),
        [
            "PodReadyToStartContainers=True",
            "Initialized=True",
            r#"Ready=False(ReadinessGatesNotReady: corresponding condition of pod readiness gate "x/y" does not exist.)"#,
            "ContainersReady=True",
        ]
    );
}

#[test]
fn init_containers_that_have_not_run_are_named() {
    let pod = pod(json!({"containers": [{"name": "web"}], "initContainers": [{"name": "init"}]}));
    let shown = shown(&pod, Some(&sandbox(&pod, &[])), &Memory::default(), 0);
    let expected = "Initialized=False(ContainersNotInitialized: containers with incomplete status: [init])";
    assert_eq!(conditions(&shown)[1], expected);
}

#[test]
fn transition_times_change_with_the_condition_alone() {
    let mut pod = pod(json!({"containers": [{"name": "web"}]}));
    let memory = Memory::default();
    pod.status = Some(shown(&pod, Some(&sandbox(&pod, &[])), &memory, 5));
    let later = shown(&pod, Some(&sandbox(&pod, &["web"])), &memory, 9);
    let since = |kind: &str| {
        let condition = later.conditions.iter().flatten().find(|condition| condition.type_ == kind).unwrap();
        condition.last_transition_time.clone().unwrap().0.as_second()
    };
    assert_eq!((since("PodReadyToStartContainers"), since("Ready")), (5, 9));
}

#[test]
fn a_rejected_pod_fails_and_says_why() {
    let pod = pod(json!({"containers": [{"name": "web"}]}));
    let ending = Ending { reason: "OutOfcpu".into(), message: "no".into(), rejected: true, grace: None };
    let mut memory = Memory::default();
    memory.ending = Some(ending);
    let shown = shown(&pod, None, &memory, 0);
    assert_eq!(shown.phase.as_deref(), Some("Failed"));
    assert_eq!((shown.reason.as_deref(), shown.message.as_deref()), (Some("OutOfcpu"), Some("Pod was rejected: no")));
}

#[test]
fn a_patch_holds_what_changed_and_clears_what_is_gone() {
    let mut pod = pod(json!({"containers": [{"name": "web"}]}));
    let memory = Memory::default();
    let old = shown(&pod, Some(&sandbox(&pod, &[])), &memory, 5);
    assert_eq!(patch("u-1", &old, &old), None);
    pod.status = Some(old.clone());
    let new = shown(&pod, Some(&sandbox(&pod, &["web"])), &memory, 9);
    let patch = super::patch("u-1", &old, &new).unwrap();
    assert_eq!(patch["metadata"]["uid"], "u-1");
    let fields: Vec<&String> = patch["status"].as_object().unwrap().keys().collect();
    assert_eq!(fields, ["conditions", "containerStatuses", "phase"]);
    let ready = &patch["status"]["conditions"][0];
    assert_eq!(
        *ready,
        json!({"type": "Ready", "status": "True", "reason": null, "message": null,
               "lastTransitionTime": "1970-01-01T00:00:09Z", "observedGeneration": 1})
    );
    let failed = PodStatus { reason: Some("Evicted".into()), ..old.clone() };
    assert_eq!(super::patch("u-1", &failed, &old).unwrap()["status"], json!({"reason": null}));
}

#[test]
fn fractions_of_seconds_are_no_news() {
    let pod = pod(json!({"containers": [{"name": "web"}]}));
    let mut box_ = sandbox(&pod, &["web"]);
    box_.containers[0].started_at = MicroTime(Timestamp::from_millisecond(1_500).unwrap());
    let new = shown(&pod, Some(&box_), &Memory::default(), 5);
    let stored: PodStatus = serde_json::from_value(serde_json::to_value(&new).unwrap()).unwrap();
    assert_ne!(stored, new);
    assert_eq!(patch("u-1", &stored, &new), None);
}
