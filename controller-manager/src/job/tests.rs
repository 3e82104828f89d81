//! How jobs stand, what they do next and how their pods are counted, in tables.

#![allow(clippy::unwrap_used)]

use std::{collections::HashSet, sync::Arc};

use jiff::Timestamp;
use k8s_openapi::{
    api::{
        batch::v1::{Job, JobStatus},
        core::v1::Pod,
    },
    apimachinery::pkg::apis::meta::v1::Time,
};
use serde_json::{Value, json};

use super::{
    assessment::{Assessment, View},
    backoff::Failures,
    plan::{self, Step},
    pod::INDEX_FAILURES,
    spec::{TRACKING_FINALIZER, Wants},
    tracking,
};

const NOW: &str = "2026-11-20T12:00:00Z";

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

fn job(spec: Value, status: Value) -> Job {
    let mut full = json!({"parallelism": 1, "completions": 1, "backoffLimit": 6, "template": {}});
    full.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    let mut full_status = json!({"startTime": "2026-11-20T11:59:00Z"});
    full_status.as_object_mut().unwrap().extend(status.as_object().unwrap().clone());
    serde_json::from_value(json!({"metadata": {"name": "j", "namespace": "n"}, "spec": full, "status": full_status}))
        .unwrap()
}

/// A pod from a short description: its phase, `#1` for its index, `-` for one that is being deleted, `!2` for the
/// failures before it, `.` for one without the finalizer, `^` for one that is ready.
fn pod(i: usize, text: &str) -> Arc<Pod> {
    let phase = match text.chars().next().unwrap() {
        'P' => "Pending",
        'R' => "Running",
        'S' => "Succeeded",
        'F' => "Failed",
        other => panic!("no phase {other}"),
    };
    let number = |mark: char| {
        let digits: String = text.split_once(mark)?.1.chars().take_while(char::is_ascii_digit).collect();
        Some(digits)
    };
    let mut pod = json!({
        "metadata": {"name": format!("p{i}"), "uid": format!("u{i}"), "creationTimestamp": NOW, "annotations": {}},
        "status": {"phase": phase},
    });
    if !text.contains('.') {
        pod["metadata"]["finalizers"] = json!([TRACKING_FINALIZER]);
    }
    if text.contains('-') {
        pod["metadata"]["deletionTimestamp"] = json!(NOW);
    }
    if text.contains('^') {
        pod["status"]["conditions"] = json!([{"type": "Ready", "status": "True"}]);
    }
    if let Some(index) = number('#') {
        pod["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"] = json!(index);
    }
    if let Some(count) = number('!') {
        pod["metadata"]["annotations"][INDEX_FAILURES] = json!(count);
    }
    Arc::new(serde_json::from_value(pod).unwrap())
}

fn pods(text: &str) -> Vec<Arc<Pod>> {
    text.split_whitespace().enumerate().map(|(i, text)| pod(i, text)).collect()
}

fn with_view<R>(job: &Job, pods: &[Arc<Pod>], look: impl FnOnce(&View<'_>, &Assessment) -> R) -> R {
    let released = HashSet::new();
    let (wants, status) = (Wants::of(job).unwrap(), job.status.as_ref().unwrap());
    let view = View { wants, status, pods, released: &released, now: now() };
    let this = view.assess(Failures::default());
    look(&view, &this)
}

#[test]
fn the_pods_and_the_status_say_how_a_job_stands() {
    for (why, spec, status, all, expected) in [
        ("nothing yet", json!({}), json!({}), "", (0, 0, 0, 0, 0)),
        ("two run, one is ready", json!({}), json!({}), "R^ P", (2, 1, 0, 0, 0)),
        ("ended and not counted", json!({}), json!({"succeeded": 1, "failed": 1}), "S F F", (0, 0, 0, 2, 3)),
        ("counted before", json!({}), json!({"succeeded": 1}), "S.", (0, 0, 0, 1, 0)),
        (
            "half counted",
            json!({}),
            json!({"uncountedTerminatedPods": {"succeeded": ["u0"], "failed": ["gone"]}}),
            "S",
            (0, 0, 0, 1, 1),
        ),
        ("being deleted counts as failed", json!({}), json!({}), "R-", (0, 0, 1, 0, 1)),
        (
            "unless only failed pods are replaced",
            json!({"podReplacementPolicy": "Failed"}),
            json!({}),
            "R-",
            (0, 0, 1, 0, 0),
        ),
        (
            "indexes count once",
            json!({"completionMode": "Indexed", "completions": 3}),
            json!({"completedIndexes": "0", "succeeded": 1}),
            "S#0 S#1 S#1 S#7 F#2 R#2 S",
            (1, 0, 0, 2, 1),
        ),
    ] {
        let found = with_view(&job(spec, status), &pods(all), |_, this| {
            (this.active.len(), this.ready, this.terminating, this.succeeded, this.failed)
        });
        assert_eq!(found, expected, "{why}");
    }
}

#[test]
fn a_job_ends_for_upstreams_reasons() {
    let per_index = json!({"completionMode": "Indexed", "completions": 3, "backoffLimitPerIndex": 1});
    let with = |more: Value| {
        let mut spec = per_index.clone();
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        spec
    };
    let fail_job = json!({"podFailurePolicy": {"rules": [
        {"action": "FailJob", "onPodConditions": [{"type": "Ready", "status": "True"}]}]}});
    let restarting = json!({"backoffLimit": 2, "template": {"spec": {"containers": [], "restartPolicy": "OnFailure"}}});
    let target = json!({"conditions": [{"type": "FailureTarget", "status": "True", "reason": "Before"}]});
    for (why, spec, status, all, expected) in [
        ("it runs", json!({}), json!({}), "R", None),
        ("as many failures as may be", json!({"backoffLimit": 1}), json!({"failed": 1}), "", None),
        ("one more", json!({"backoffLimit": 1}), json!({"failed": 1}), "F", Some("BackoffLimitExceeded")),
        ("restarts count", restarting.clone(), json!({}), "R R", Some("BackoffLimitExceeded")),
        ("past the deadline", json!({"activeDeadlineSeconds": 60}), json!({}), "R", Some("DeadlineExceeded")),
        ("before it", json!({"activeDeadlineSeconds": 61}), json!({}), "R", None),
        ("suspended", json!({"activeDeadlineSeconds": 1, "suspend": true}), json!({}), "", None),
        ("by the failure policy", fail_job, json!({}), "F^", Some("PodFailurePolicy")),
        ("what was told stands", json!({}), target, "", Some("Before")),
        ("an index fails again", per_index.clone(), json!({}), "F#0!0", None),
        ("too often, but others run", per_index.clone(), json!({}), "F#0!1 R#1", None),
        (
            "all indexes have ended",
            per_index.clone(),
            json!({"completedIndexes": "1,2"}),
            "F#0!1",
            Some("FailedIndexes"),
        ),
        (
            "too many failed",
            with(json!({"maxFailedIndexes": 1})),
            json!({"failedIndexes": "2"}),
            "F#0!1 R#1",
            Some("MaxFailedIndexesExceeded"),
        ),
        (
            "the success policy",
            with(json!({"successPolicy": {"rules": [{"succeededIndexes": "1"}]}})),
            json!({}),
            "S#1 R#0",
            Some("SuccessPolicy"),
        ),
    ] {
        let mut all = pods(all);
        if spec == restarting {
            for pod in &mut all {
                let status = json!([{"name": "c", "image": "", "imageID": "", "ready": true, "restartCount": 1}]);
                Arc::make_mut(pod).status.as_mut().unwrap().container_statuses =
                    serde_json::from_value(status).unwrap();
            }
        }
        let job = job(spec, status);
        let reason = with_view(&job, &all, |_, this| this.verdict.clone().map(|verdict| verdict.reason));
        assert_eq!(reason.as_deref(), expected, "{why}");
    }
}

fn step(job: &Job, pods: &[Arc<Pod>]) -> String {
    with_view(job, pods, |view, this| match plan::next(view, this) {
        Step::Nothing => "nothing".to_owned(),
        Step::Wait(wait) => format!("wait {}", wait.as_secs()),
        Step::Add(count) => format!("add {count}"),
        Step::AddIndexes(indexes) => format!("add {indexes:?}"),
        Step::Remove(pods) => {
            let mut names: Vec<_> = pods.iter().filter_map(|pod| pod.metadata.name.clone()).collect();
            names.sort();
            format!("remove {}", names.join(" "))
        }
    })
}

#[test]
fn as_many_pods_run_as_are_wanted() {
    let indexed = |more: Value| {
        let mut spec = json!({"completionMode": "Indexed", "completions": 5, "parallelism": 3});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        spec
    };
    for (why, spec, status, all, expected) in [
        ("at first", json!({"completions": 5, "parallelism": 2}), json!({}), "", "add 2"),
        ("one has ended", json!({"completions": 5, "parallelism": 2}), json!({}), "S R", "add 1"),
        ("no more than remain", json!({"completions": 5, "parallelism": 3}), json!({"succeeded": 4}), "", "add 1"),
        ("enough", json!({"completions": 5, "parallelism": 2}), json!({}), "R R", "nothing"),
        ("too many: the least useful goes", json!({"parallelism": 1}), json!({}), "R P", "remove p1"),
        ("scaled to none", json!({"parallelism": 0}), json!({}), "R", "remove p0"),
        ("suspended", json!({"suspend": true, "parallelism": 2, "completions": 5}), json!({}), "R P", "remove p0 p1"),
        ("suspended and idle", json!({"suspend": true}), json!({}), "", "nothing"),
        ("a work queue", json!({"completions": null, "parallelism": 2}), json!({}), "R", "add 1"),
        ("one success tells of all", json!({"completions": null, "parallelism": 2}), json!({}), "S R", "nothing"),
        ("after a failure", json!({}), json!({}), "F", "wait 10"),
        ("after two", json!({}), json!({}), "F F", "wait 20"),
        (
            "it is replaced while it ends",
            json!({"podReplacementPolicy": "TerminatingOrFailed"}),
            json!({}),
            "R-",
            "wait 10",
        ),
        ("or once it has", json!({"podReplacementPolicy": "Failed"}), json!({}), "R-", "nothing"),
        ("indexes in order", indexed(json!({})), json!({"completedIndexes": "0"}), "R#2", "add [1, 3]"),
        ("an index twice", indexed(json!({})), json!({}), "R#0 P#0 R#1", "remove p1"),
        ("an index too many", indexed(json!({})), json!({}), "R#0 R#5 R#1 R", "remove p1 p3"),
        (
            "a failed index waits, others do not",
            indexed(json!({"backoffLimitPerIndex": 2})),
            json!({"failedIndexes": "3"}),
            "F#0!1 F#1!2 R#2",
            "add [4]",
        ),
        (
            "all wait",
            indexed(json!({"backoffLimitPerIndex": 3, "completions": 2})),
            json!({}),
            "F#0!1 F#1!0",
            "wait 10",
        ),
        (
            "an index that ends is not replaced yet",
            indexed(json!({"podReplacementPolicy": "Failed", "completions": 2})),
            json!({}),
            "R#0- R#1",
            "nothing",
        ),
    ] {
        assert_eq!(step(&job(spec, status), &pods(all)), expected, "{why}");
    }
}

/// Ends counting in one go: the status first, the finalizers, the status again.
fn track(job: &mut Job, pods: &mut [Arc<Pod>]) -> Vec<String> {
    let mut count =
        with_view(job, pods, |view, this| tracking::count(view, this, false, job.status.clone().unwrap_or_default()));
    let released: Vec<String> = count.release.iter().map(|pod| pod.metadata.name.clone().unwrap()).collect();
    for pod in pods.iter_mut().filter(|pod| released.contains(pod.metadata.name.as_ref().unwrap())) {
        count.tracked.remove(pod.metadata.uid.as_deref().unwrap());
        Arc::make_mut(pod).metadata.finalizers = None;
    }
    let mut status = count.status;
    tracking::settle(&mut status, &count.tracked);
    job.status = Some(status);
    released
}

#[test]
fn each_pod_is_counted_once() {
    for (why, spec, status, all, released, counted) in [
        ("ended pods", json!({"completions": 3}), json!({}), "S F R", "p0 p1", json!({"succeeded": 1, "failed": 1})),
        ("a pod counted before", json!({}), json!({"succeeded": 1}), "S.", "", json!({"succeeded": 1})),
        (
            "killed after the first write",
            json!({}),
            json!({"uncountedTerminatedPods": {"succeeded": ["u0"]}}),
            "S",
            "p0",
            json!({"succeeded": 1}),
        ),
        (
            "killed after the finalizer went",
            json!({}),
            json!({"uncountedTerminatedPods": {"succeeded": ["u0"], "failed": ["gone"]}}),
            "S.",
            "",
            json!({"succeeded": 1, "failed": 1}),
        ),
        (
            "indexes",
            json!({"completionMode": "Indexed", "completions": 4}),
            json!({"completedIndexes": "0", "succeeded": 1}),
            "S#2 S#1 S#0 S#9 F#3",
            "p3 p2 p1 p0 p4",
            json!({"succeeded": 3, "completedIndexes": "0-2", "failed": 1}),
        ),
        (
            "a failed pod waits for its successor",
            json!({"completionMode": "Indexed", "completions": 2, "backoffLimitPerIndex": 3}),
            json!({}),
            "F#0 F#1 R#1",
            "p1",
            json!({"failed": 1, "failedIndexes": ""}),
        ),
        (
            "an ignored failure",
            json!({"podFailurePolicy": {"rules": [
                {"action": "Ignore", "onPodConditions": [{"type": "Ready", "status": "True"}]}]}}),
            json!({}),
            "F^ F",
            "p0 p1",
            json!({"failed": 1}),
        ),
        (
            "when the job fails, what still ran has failed",
            json!({"activeDeadlineSeconds": 1}),
            json!({}),
            "R-",
            "p0",
            json!({"failed": 1}),
        ),
    ] {
        let mut job = job(spec, status);
        let mut pods = pods(all);
        let mut names = track(&mut job, &mut pods);
        names.sort();
        let mut wanted: Vec<&str> = released.split_whitespace().collect();
        wanted.sort_unstable();
        assert_eq!(names, wanted, "{why}");
        let mut status = serde_json::to_value(job.status.as_ref().unwrap()).unwrap();
        let fields = status.as_object_mut().unwrap();
        fields.retain(|field, _| !matches!(field.as_str(), "startTime" | "uncountedTerminatedPods" | "conditions"));
        assert_eq!(status, counted, "{why}");
        let before = job.status.clone();
        track(&mut job, &mut pods);
        assert_eq!(job.status, before, "{why}: again");
    }
}

#[test]
fn a_job_is_finished_when_nothing_is_left() {
    let verdict = super::conditions::Verdict::completed();
    let uncounted = json!({"uncountedTerminatedPods": {"failed": ["u1"]}});
    for (status, terminating, expected) in [(json!({}), 0, true), (json!({}), 1, false), (uncounted, 0, false)] {
        let mut status: JobStatus = serde_json::from_value(status).unwrap();
        assert_eq!(tracking::finish(&mut status, &verdict, terminating, &Time(now())), expected);
        assert_eq!(status.completion_time.is_some(), expected);
    }
}
