//! What the controller-manager and the scheduler count, under upstream's names.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
};

use crate::harness::{Lab, Seen, wait_for};

/// What a component's /metrics shows.
fn figures(lab: &Lab, component: &str) -> String {
    let flags = fs::read_to_string(format!("/proc/{}/cmdline", lab.pid(component))).unwrap();
    let address = flags.split('\0').find_map(|flag| flag.strip_prefix("--metrics-listen="));
    let address: SocketAddr = address.unwrap().parse().unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

/// Waits until each of these lines is there: a name with its labels, and how it must not be 0.
fn counted(lab: &Lab, component: &str, lines: &[&str]) {
    wait_for(&format!("the figures of {component}"), || {
        let text = figures(lab, component);
        let is_there = |wanted: &&&str| {
            text.lines().any(|line| {
                let (name, value) = line.rsplit_once(' ').unwrap_or_default();
                name == **wanted && value.parse::<f64>().is_ok_and(|value| value > 0.0)
            })
        };
        match lines.iter().find(|wanted| !is_there(wanted)) {
            None => Ok(()),
            Some(missing) => Err(Seen(format!("no {missing} in\n{text}"))),
        }
    });
}

#[test]
fn loops_and_the_scheduler_count_what_they_do() {
    let lab = Lab::with(&["--apiservers", "1", "--nodes", "2"]);
    let kubectl = lab.kubectl();
    kubectl.run("create deployment web --image=nginx --replicas=12");
    kubectl.run("expose deployment web --port=80");
    kubectl.run("create job sums --image=busybox -- sh -c 'echo 1'");
    kubectl.run("create cronjob tick --image=busybox '--schedule=@every 2s' -- sh -c 'echo 1'");
    kubectl.run("autoscale deployment web --min=12 --max=14 --cpu-percent=80");
    kubectl.run(r#"run large --image=nginx --overrides={"spec":{"nodeSelector":{"disk":"ssd"}}}"#);
    kubectl.run("rollout status deployment/web --timeout=120s");
    kubectl.run("wait --for=condition=complete job/sums --timeout=90s");
    counted(
        &lab,
        "controller-manager-1",
        &[
            r#"leader_election_master_status{name="kube-controller-manager"}"#,
            r#"running_managed_controllers{name="deployment-controller",manager="kube-controller-manager"}"#,
            r#"workqueue_adds_total{name="deployment"}"#,
            r#"job_controller_jobs_finished_total{completion_mode="NonIndexed",result="succeeded",reason="CompletionsReached"}"#,
            r#"job_controller_job_pods_finished_total{completion_mode="NonIndexed",result="succeeded"}"#,
            r#"job_controller_job_pods_creation_total{reason="new",status="succeeded"}"#,
            r#"job_controller_job_syncs_total{completion_mode="NonIndexed",result="success",action="pods_created"}"#,
            r#"job_controller_terminated_pods_tracking_finalizer_total{event="delete"}"#,
            "cronjob_controller_job_creation_skew_duration_seconds_count",
            r#"endpoint_slice_controller_changes_total{operation="create"}"#,
            "endpoint_slice_controller_endpoints_desired",
            r#"node_collector_zone_size{zone=""}"#,
            r#"node_collector_zone_health{zone=""}"#,
            r#"horizontal_pod_autoscaler_controller_reconciliations_total{action="none",error="internal"}"#,
            "process_resident_memory_bytes",
        ],
    );
    let plugin = r#"scheduler_plugin_execution_duration_seconds_count{plugin="NodeResourcesFit",extension_point="Filter",status="Success"}"#;
    let point = |name: &str| {
        format!(
            "scheduler_framework_extension_point_duration_seconds_count{{extension_point=\"{name}\",status=\"Success\",\
             profile=\"default-scheduler\"}}"
        )
    };
    let [filter, score] = ["Filter", "Score"].map(point);
    counted(
        &lab,
        "scheduler-1",
        &[
            r#"leader_election_master_status{name="kube-scheduler"}"#,
            r#"scheduler_schedule_attempts_total{result="scheduled",profile="default-scheduler"}"#,
            r#"scheduler_scheduling_attempt_duration_seconds_count{result="scheduled",profile="default-scheduler"}"#,
            r#"scheduler_pod_scheduling_sli_duration_seconds_count{attempts="1"}"#,
            r#"scheduler_queue_incoming_pods_total{queue="active",event="PodAdd"}"#,
            r#"scheduler_queue_incoming_pods_total{queue="unschedulable",event="ScheduleAttemptFailure"}"#,
            r#"scheduler_unschedulable_pods{plugin="NodeAffinity",profile="default-scheduler"}"#,
            r#"scheduler_pending_pods{queue="unschedulable"}"#,
            r#"scheduler_cache_size{type="nodes"}"#,
            &filter,
            &score,
            plugin,
        ],
    );
}
