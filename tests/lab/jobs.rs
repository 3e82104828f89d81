//! Jobs from their first pod to their end.

use std::pin::pin;

use futures::TryStreamExt;
use k8s_openapi::api::batch::v1::Job;
use kube::{
    Api,
    api::{PostParams, WatchEvent, WatchParams},
};
use serde_json::{Value, json};

use crate::harness::Lab;

fn small() -> Lab {
    Lab::with(&["--apiservers", "1", "--nodes", "2"])
}

/// A job whose pods run this script.
fn job(name: &str, script: &str, spec: Value) -> Value {
    let container = json!({"name": "c", "image": "busybox", "command": ["sh", "-c", script]});
    let mut whole = json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name},
        "spec": {"template": {"spec": {"restartPolicy": "Never", "terminationGracePeriodSeconds": 1,
            "containers": [container]}}},
    });
    let fields = spec.as_object().unwrap().clone();
    whole["spec"].as_object_mut().unwrap().extend(fields);
    whole
}

#[tokio::test(flavor = "multi_thread")]
async fn five_completions_two_at_a_time() {
    let lab = small();
    let jobs: Api<Job> = Api::default_namespaced(lab.client().await);
    let wanted = job("five", "sleep 0.5", json!({"completions": 5, "parallelism": 2}));
    let made = jobs.create(&PostParams::default(), &serde_json::from_value(wanted).unwrap()).await.unwrap();

    let params = WatchParams::default().fields("metadata.name=five");
    let mut changes = pin!(jobs.watch(&params, &made.metadata.resource_version.unwrap()).await.unwrap());
    let (mut succeeded, mut conditions) = (vec![0], Vec::new());
    while !conditions.contains(&"Complete".to_owned()) {
        let change = changes.try_next().await.unwrap().expect("the watch goes on");
        let WatchEvent::Modified(job) = change else { continue };
        let status = job.status.unwrap();
        assert!(status.active.unwrap_or(0) <= 2, "{status:?}");
        let known = status.conditions.iter().flatten().filter(|condition| condition.status == "True");
        conditions = known.map(|condition| condition.type_.clone()).collect();
        let now = status.succeeded.unwrap_or(0);
        if succeeded.last() != Some(&now) {
            succeeded.push(now);
        }
    }
    assert_eq!(conditions, ["SuccessCriteriaMet", "Complete"]);
    assert!(succeeded.is_sorted() && succeeded.last() == Some(&5) && succeeded.len() > 3, "{succeeded:?}");

    let kubectl = lab.kubectl();
    kubectl.run("wait --for=condition=complete job/five --timeout=60s");
    let pods = kubectl.json("get pods -l job-name=five");
    let pods = pods["items"].as_array().unwrap();
    assert_eq!(pods.len(), 5);
    assert!(pods.iter().all(|pod| pod["metadata"]["finalizers"].is_null()), "every pod is counted and let go");
    let printed = kubectl.run("get job five");
    assert!(printed.contains("Complete") && printed.contains("5/5"), "{printed}");
    let story = kubectl.wait_until("describe job five", |text| text.contains("Job completed"));
    let story = story.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in ["Pods Statuses: 0 Active (0 Ready) / 5 Succeeded / 0 Failed", "Created pod: five-"] {
        assert!(story.contains(part), "{part} in {story}");
    }
    kubectl.run("delete job five");
    kubectl.wait_until("get pods -o name", str::is_empty);
}

#[test]
fn each_index_is_worked_on_by_its_own_pod() {
    let lab = small();
    let kubectl = lab.kubectl();
    let indexed = json!({"completions": 3, "parallelism": 3, "completionMode": "Indexed"});
    kubectl.run_with("create -f -", &job("parts", "echo part $JOB_COMPLETION_INDEX", indexed).to_string());
    kubectl.run("wait --for=condition=complete job/parts --timeout=90s");
    assert_eq!(kubectl.run("get job parts -o jsonpath={.status.completedIndexes},{.status.succeeded}"), "0-2,3");
    let label = "batch.kubernetes.io/job-completion-index";
    for index in 0..3 {
        let pod = kubectl.json(&format!("get pods -l {label}={index}"))["items"][0].clone();
        let name = pod["metadata"]["name"].as_str().unwrap();
        assert!(name.starts_with(&format!("parts-{index}-")), "{name}");
        assert_eq!(pod["metadata"]["annotations"][label], index.to_string());
        assert_eq!(pod["spec"]["hostname"], format!("parts-{index}"));
        assert_eq!(kubectl.run(&format!("logs {name}")).trim(), format!("part {index}"));
    }

    // One index fails for good; the others go on to their end.
    let per_index = json!({"completions": 3, "parallelism": 3, "completionMode": "Indexed", "backoffLimitPerIndex": 0});
    kubectl.run_with("create -f -", &job("mixed", "sleep 15", per_index).to_string());
    let second = format!("get pods -l job-name=mixed,{label}=1 --field-selector status.phase=Running -o name");
    let second = kubectl.wait_until(&second, |text| !text.is_empty());
    kubectl.run(&format!(r#"patch {} -p '{{"spec":{{"activeDeadlineSeconds":1}}}}'"#, second.trim()));
    kubectl.run("wait --for=condition=failed job/mixed --timeout=90s");
    let status =
        "get job mixed -o jsonpath={.status.completedIndexes};{.status.failedIndexes};{.status.conditions[*].reason}";
    assert_eq!(kubectl.run(status), "0,2;1;FailedIndexes FailedIndexes");
}

#[test]
fn a_job_fails_for_a_reason() {
    let lab = small();
    let kubectl = lab.kubectl();
    let create = |name: &str, script: &str, spec: Value| {
        kubectl.run_with("create -f -", &job(name, script, spec).to_string());
    };
    let rule = json!({"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}});
    create("again", "exit 3", json!({"backoffLimit": 1}));
    create("late", "sleep 1000", json!({"activeDeadlineSeconds": 2}));
    create("never", "exit 42", json!({"podFailurePolicy": {"rules": [rule]}}));
    for (name, reason, message) in [
        ("late", "DeadlineExceeded", "Job was active longer than specified deadline"),
        ("never", "PodFailurePolicy", "failed with exit code 42 matching FailJob rule at index 0"),
        ("again", "BackoffLimitExceeded", "Job has reached the specified backoff limit"),
    ] {
        kubectl.run(&format!("wait --for=condition=failed job/{name} --timeout=90s"));
        let told = kubectl.run(&format!(
            "get job {name} -o 'jsonpath={{range .status.conditions[*]}}{{.type}}={{.reason}}:{{.message}};{{end}}'"
        ));
        assert!(told.contains(&format!("FailureTarget={reason}:")), "{told}");
        assert!(told.contains(&format!(";Failed={reason}:")) && told.contains(message), "{told}");
        kubectl.wait_until(&format!("describe job {name}"), |text| text.contains(&format!("Warning  {reason}")));
    }
    assert_eq!(kubectl.run("get job again -o jsonpath={.status.failed}"), "2");
    // The second try came ten seconds after the first one failed.
    let times = kubectl.run("get pods -l job-name=again -o jsonpath={.items[*].metadata.creationTimestamp}");
    let times: Vec<jiff::Timestamp> = times.split(' ').map(|time| time.parse().unwrap()).collect();
    let apart = times[0].duration_since(times[1]).abs().as_secs();
    assert!((10..40).contains(&apart), "{times:?}");
    kubectl.wait_until("get pods -l job-name=late -o name", str::is_empty);
}

#[test]
fn a_job_is_suspended_resumed_and_cleared_away() {
    let lab = small();
    let kubectl = lab.kubectl();
    let spec = json!({"suspend": true, "parallelism": 2, "completions": 2, "ttlSecondsAfterFinished": 2});
    kubectl.run_with("create -f -", &job("held", "sleep 3", spec).to_string());
    kubectl.run("wait --for=condition=suspended job/held --timeout=60s");
    assert_eq!(kubectl.run("get pods -o name"), "");
    assert_eq!(kubectl.run("get job held -o jsonpath={.status.startTime}"), "");

    let suspend =
        |value: &str| kubectl.run(&format!(r#"patch job held --type=merge -p '{{"spec":{{"suspend":{value}}}}}'"#));
    suspend("false");
    kubectl.wait_until("get job held -o jsonpath={.status.active}", |text| text == "2");
    suspend("true");
    kubectl.wait_until("get pods -o name", str::is_empty);
    kubectl.wait_until("get job held -o jsonpath={.status.active}", |text| text.is_empty() || text == "0");
    assert_eq!(kubectl.run("get job held -o jsonpath={.status.failed}"), "", "what is suspended has not failed");
    suspend("false");
    kubectl.run("wait --for=condition=complete job/held --timeout=90s");
    kubectl.run("wait --for=delete job/held --timeout=60s");
    kubectl.wait_until("get pods -o name", str::is_empty);
    let told = "get events --field-selector involvedObject.name=held -o jsonpath={.items[*].reason}";
    for reason in ["Suspended", "Resumed", "SuccessfulCreate", "SuccessfulDelete", "Completed"] {
        kubectl.wait_until(told, |text| text.contains(reason));
    }
}
