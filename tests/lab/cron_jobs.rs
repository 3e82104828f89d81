//! CronJobs: jobs by the clock, and by hand.

use crate::harness::Lab;

#[test]
fn a_schedule_makes_jobs_and_their_history_is_bounded() {
    let lab = Lab::with(&["--apiservers", "1", "--nodes", "1"]);
    let kubectl = lab.kubectl();
    // Its time comes two seconds after it is made, and again and again within a minute, which has one job all the same.
    kubectl.run("create cronjob tick --image=busybox '--schedule=@every 2s' -- sleep 1");
    let name = kubectl.wait_until("get jobs -o jsonpath={.items[0].metadata.name}", |text| text.starts_with("tick-"));
    kubectl.run(r#"patch cronjob tick --type=merge -p '{"spec":{"suspend":true}}'"#);
    let minute: i64 = name.trim_start_matches("tick-").parse().unwrap();
    let at = kubectl.run("get cronjob tick -o jsonpath={.status.lastScheduleTime}");
    let at: jiff::Timestamp = at.parse().unwrap();
    assert!((0..=1).contains(&(at.as_second() / 60 - minute)), "{name} at {at}");
    let made = kubectl.json(&format!("get job {name}"));
    assert_eq!(made["metadata"]["ownerReferences"][0]["kind"], "CronJob");
    assert!(made["metadata"]["annotations"]["batch.kubernetes.io/cronjob-scheduled-timestamp"].is_string());

    kubectl.run(&format!("wait --for=condition=complete job/{name} --timeout=90s"));
    kubectl.wait_until("get cronjob tick -o jsonpath={.status.lastSuccessfulTime}", |text| !text.is_empty());
    kubectl.wait_until("get cronjob tick -o jsonpath={.status.active}", str::is_empty);
    let story = kubectl.wait_until("describe cronjob tick", |text| text.contains("SawCompletedJob"));
    assert!(story.contains(&format!("Created job {name}")), "{story}");
    assert!(story.contains(&format!("Saw completed job: {name}, condition: Complete")), "{story}");

    // By hand: a job of the same template, which the schedule did not make.
    assert_eq!(kubectl.run("create job now --from=cronjob/tick"), "job.batch/now created\n");
    kubectl.run("wait --for=condition=complete job/now --timeout=90s");
    assert_eq!(kubectl.run("get job now -o jsonpath={.spec.template.spec.containers[0].command}"), r#"["sleep","1"]"#);

    // No history at all: whatever has ended goes.
    kubectl.run(r#"patch cronjob tick --type=merge -p '{"spec":{"successfulJobsHistoryLimit":0}}'"#);
    kubectl.wait_until("get jobs,pods -o name", str::is_empty);
    kubectl.wait_until("describe cronjob tick", |text| text.contains(&format!("Deleted job {name}")));
}
