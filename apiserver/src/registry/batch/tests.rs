#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};

use super::{cron_job::CronJobKind, job::JobKind};
use crate::registry::{
    kind::Kind,
    validation::tests::{merged, new_errors, object, update_errors},
};

fn template() -> Value {
    json!({"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "busybox"}]}})
}

fn job() -> Value {
    json!({"metadata": {"name": "pi", "uid": "42"}, "spec": {"template": template()}})
}

#[test]
fn a_job_selects_its_own_pods() {
    let mut job = object::<JobKind>(job());
    JobKind::prepare_create(&mut job);
    let json = serde_json::to_value(&job).unwrap();
    assert_eq!(json["spec"]["selector"], json!({"matchLabels": {"batch.kubernetes.io/controller-uid": "42"}}));
    assert_eq!(
        json["spec"]["template"]["metadata"]["labels"],
        json!({"batch.kubernetes.io/controller-uid": "42", "batch.kubernetes.io/job-name": "pi",
            "controller-uid": "42", "job-name": "pi"})
    );
    for (field, value) in [
        ("backoffLimit", json!(6)),
        ("completionMode", json!("NonIndexed")),
        ("completions", json!(1)),
        ("manualSelector", json!(false)),
        ("parallelism", json!(1)),
        ("podReplacementPolicy", json!("TerminatingOrFailed")),
        ("suspend", json!(false)),
    ] {
        assert_eq!(json["spec"][field], value, "{field}");
    }
    let mut errors = Default::default();
    JobKind::validate(&job, &mut errors);
    assert!(errors.is_empty(), "{errors}");
}

#[test]
fn bad_jobs_are_refused_in_upstreams_words() {
    let manual = |patch: Value| {
        let base = json!({"spec": {"manualSelector": true, "selector": {"matchLabels": {"a": "b"}},
            "template": {"metadata": {"labels": {"a": "b"}}}}});
        merged(&merged(&job(), base), patch)
    };
    let cases = [
        (json!({}), vec![]),
        (
            json!({"spec": {"template": {"spec": {"restartPolicy": null}}}}),
            vec!["spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\""],
        ),
        (
            json!({"spec": {"parallelism": -1, "completionMode": "Indexed"}}),
            vec![
                "spec.parallelism: Invalid value: -1: must be greater than or equal to 0",
                "spec.completions: Required value: when completion mode is Indexed",
            ],
        ),
        (
            json!({"spec": {"podFailurePolicy": {"rules": [{"action": "Ignore"}]}}}),
            vec![
                "spec.podFailurePolicy.rules[0]: Invalid value: specifying one of OnExitCodes and OnPodConditions is \
                 required",
            ],
        ),
    ];
    for (patch, expected) in cases {
        assert_eq!(new_errors::<JobKind>(manual(patch.clone())), expected, "{patch}");
    }
    assert_eq!(
        update_errors::<JobKind>(manual(json!({})), manual(json!({"spec": {"completions": 5}}))),
        ["spec.completions: Invalid value: 5: field is immutable"]
    );
}

#[test]
fn job_columns_tell_what_upstreams_tell() {
    let now = "2026-01-01T00:01:30Z".parse().unwrap();
    let cases = [
        (json!({}), ["Running", "0/1", ""]),
        (json!({"status": {"startTime": "2026-01-01T00:00:00Z"}}), ["Running", "0/1", "90s"]),
        (
            json!({"status": {"succeeded": 1, "startTime": "2026-01-01T00:00:00Z",
                "completionTime": "2026-01-01T00:00:05Z", "conditions": [{"type": "Complete", "status": "True"}]}}),
            ["Complete", "1/1", "5s"],
        ),
        (json!({"spec": {"parallelism": 3}}), ["Running", "0/1 of 3", ""]),
        (json!({"status": {"conditions": [{"type": "Suspended", "status": "True"}]}}), ["Suspended", "0/1", ""]),
    ];
    for (patch, expected) in cases {
        let cells = JobKind::cells(&object::<JobKind>(merged(&job(), patch.clone())), now);
        assert_eq!(cells[1..4], expected.map(Value::from), "{patch}");
    }
}

#[test]
fn cron_jobs_are_completed_and_checked() {
    let base = json!({"metadata": {"name": "tick"},
        "spec": {"schedule": "*/1 * * * *", "jobTemplate": {"spec": {"template": template()}}}});
    let json = serde_json::to_value(object::<CronJobKind>(base.clone())).unwrap();
    for (field, value) in [
        ("concurrencyPolicy", json!("Allow")),
        ("failedJobsHistoryLimit", json!(1)),
        ("successfulJobsHistoryLimit", json!(3)),
        ("suspend", json!(false)),
    ] {
        assert_eq!(json["spec"][field], value, "{field}");
    }
    let cases = [
        (json!({}), vec![]),
        (json!({"spec": {"schedule": ""}}), vec!["spec.schedule: Required value".to_owned()]),
        (
            json!({"spec": {"schedule": "* * *", "timeZone": "Mars/Olympus"}}),
            vec![
                "spec.schedule: Invalid value: \"* * *\": expected exactly 5 fields, found 3: [* * *]".into(),
                "spec.timeZone: Invalid value: \"Mars/Olympus\": unknown time zone Mars/Olympus".into(),
            ],
        ),
        (
            json!({"metadata": {"name": "x".repeat(53)}}),
            vec![format!("metadata.name: Invalid value: \"{}\": must be no more than 52 characters", "x".repeat(53))],
        ),
        (
            json!({"spec": {"jobTemplate": {"spec": {"template": {"spec": {"restartPolicy": "Always"}}}}}}),
            vec![
                "spec.jobTemplate.spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \
                 \"Never\""
                    .into(),
            ],
        ),
    ];
    for (patch, expected) in cases {
        assert_eq!(new_errors::<CronJobKind>(merged(&base, patch.clone())), expected, "{patch}");
    }
    let now = "2026-01-01T00:01:30Z".parse().unwrap();
    let cells = CronJobKind::cells(&object::<CronJobKind>(base), now);
    let shown = ["tick", "*/1 * * * *", "<none>", "False"].map(Value::from);
    assert_eq!(cells[..4], shown);
    assert_eq!(cells[4..6], [json!(0), json!("<none>")]);
}
