//! CronJobs: jobs by the clock, and by hand.

use futures::StreamExt;
use k8s_openapi::api::batch::v1::CronJob;
use kube::{
    Api,
    runtime::{WatchStreamExt, watcher},
};

use crate::harness::{Lab, PATIENCE};

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

/// The example of the seed, which is due at two in the morning: nothing happens until its schedule says now.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_active_until_it_is_done() {
    let lab = Lab::with(&["--apiservers", "1", "--nodes", "1"]);
    let (kubectl, client) = (lab.kubectl(), lab.client().await);
    let cron_jobs: Api<CronJob> = Api::default_namespaced(client);
    let mut changes = std::pin::pin!(watcher(cron_jobs, watcher::Config::default()).applied_objects());
    kubectl.run("create cronjob backup-job --image=busybox '--schedule=0 2 31 2 *' -- sleep 2");
    kubectl.run(r#"patch cronjob backup-job -p '{"spec":{"concurrencyPolicy":"Forbid","schedule":"@every 2s"}}'"#);
    // How many jobs are active, and whether any was started or has succeeded.
    let mut states: Vec<(usize, bool, bool)> = Vec::new();
    let follow = async {
        while !states.last().is_some_and(|(active, _, succeeded)| *succeeded && *active == 0) {
            let Some(Ok(cron_job)) = changes.next().await else { continue };
            let status = cron_job.status.unwrap_or_default();
            let active = status.active.iter().flatten().count();
            if active == 1 && cron_job.spec.suspend != Some(true) {
                kubectl.run(r#"patch cronjob backup-job -p '{"spec":{"suspend":true}}'"#);
            }
            let state = (active, status.last_schedule_time.is_some(), status.last_successful_time.is_some());
            if states.last() != Some(&state) {
                states.push(state);
            }
        }
    };
    let ended = tokio::time::timeout(PATIENCE, follow).await;
    assert!(ended.is_ok(), "waited too long; the states were {states:?}");
    assert_eq!(states, [(0, false, false), (1, true, false), (0, true, true)]);
    assert_eq!(kubectl.run("get jobs -o name").lines().count(), 1, "it is kept as history");
}
