//! Pods on a running node.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    fake::Fake,
    rig::{Rig, condition, events},
};

const STATE: &str = "/status/containerStatuses/0/state";

#[tokio::test]
async fn a_pod_starts_runs_and_is_deleted() {
    let rig = Rig::new().await;
    rig.run("web", json!({}), json!({"containers": [{"name": "web", "image": "nginx:1.21"}]}));
    let pod = rig.until("web", "/status/phase", json!("Running")).await;
    assert_eq!(
        (pod["status"]["podIP"].as_str(), pod["status"]["hostIP"].as_str()),
        (Some("10.244.1.2"), Some("127.0.0.1"))
    );
    for kind in ["PodReadyToStartContainers", "Initialized", "ContainersReady", "Ready"] {
        assert_eq!(condition(&pod, kind), "True", "{kind}");
    }
    let container = &pod["status"]["containerStatuses"][0];
    assert!(container["containerID"].as_str().unwrap().starts_with("kubelab://"));
    assert_eq!(container["image"], "docker.io/library/nginx:1.21");
    assert_eq!(
        (&container["ready"], &container["started"], &container["restartCount"]),
        (&json!(true), &json!(true), &json!(0))
    );
    for (reason, message) in [
        ("Pulling", "Pulling image \"nginx:1.21\""),
        ("Created", "Container created"),
        ("Started", "Container started"),
    ] {
        rig.until_event(reason, message).await;
    }
    let tells_of_pull = |(reason, message): &(String, String)| {
        reason == "Pulled" && message.ends_with("including waiting). Image size: 72000000 bytes.")
    };
    let pulled = |api: &Fake| events(api).iter().any(tells_of_pull);
    rig.api.until("the pull is told of", pulled).await;

    rig.delete("web", 30);
    rig.until_gone("web").await;
    rig.until_event("Killing", "Stopping container web").await;
    rig.run("next", json!({}), json!({"containers": [{"name": "web"}]}));
    let pod = rig.until("next", "/status/phase", json!("Running")).await;
    assert_eq!(pod["status"]["podIP"], "10.244.1.3", "addresses go round");
}

#[tokio::test]
async fn each_visible_step_is_one_write() {
    let rig = Rig::new().await;
    rig.run("web", json!({}), json!({"containers": [{"name": "web"}]}));
    rig.until("web", "/status/phase", json!("Running")).await;
    rig.until_event("Started", "Container started").await;
    rig.delete("web", 30);
    rig.until_gone("web").await;
    let phases: Vec<Value> = rig.api.versions("pods", "web").iter().map(|pod| pod["status"]["phase"].clone()).collect();
    // Made by the test; waiting; running; deleted by the test; ended; gone.
    assert_eq!(json!(phases), json!([null, "Pending", "Running", "Running", "Succeeded", "Succeeded"]));
}

#[tokio::test]
async fn a_crash_is_restarted_and_shown() {
    let rig = Rig::new().await;
    let annotations = json!({"kubelab.dev/exit-code": "3"});
    rig.run("crash", annotations, json!({"containers": [{"name": "web"}]}));
    let pod = rig.until("crash", &format!("{STATE}/waiting/reason"), json!("CrashLoopBackOff")).await;
    let container = &pod["status"]["containerStatuses"][0];
    assert_eq!(container["restartCount"], 1);
    assert_eq!(container["lastState"]["terminated"]["exitCode"], 3);
    let uid = pod["metadata"]["uid"].as_str().unwrap();
    let message = format!("back-off 10s restarting failed container=web pod=crash_default({uid})");
    assert_eq!(container["state"]["waiting"]["message"], message);
    let message = format!("Back-off restarting failed container web in pod crash_default({uid})");
    rig.until_event("BackOff", &message).await;
}

#[tokio::test]
async fn a_job_s_pod_succeeds() {
    let rig = Rig::new().await;
    let spec =
        json!({"restartPolicy": "Never", "containers": [{"name": "work", "image": "busybox", "command": ["true"]}]});
    rig.run("work", json!({}), spec);
    let pod = rig.until("work", "/status/phase", json!("Succeeded")).await;
    assert_eq!(pod["status"]["containerStatuses"][0]["state"]["terminated"]["reason"], "Completed");
    assert_eq!(condition(&pod, "Ready"), "False");
    rig.delete("work", 30);
    rig.until_gone("work").await;
}

#[tokio::test]
async fn an_image_that_is_nowhere_backs_off() {
    let rig = Rig::new().await;
    rig.run("bad", json!({}), json!({"containers": [{"name": "web", "image": "nginx:missing"}]}));
    let reason = format!("{STATE}/waiting/reason");
    rig.until("bad", &reason, json!("ErrImagePull")).await;
    let pod = rig.until("bad", &reason, json!("ImagePullBackOff")).await;
    assert_eq!(pod["status"]["phase"], "Pending");
    rig.until_event("BackOff", "Back-off pulling image \"nginx:missing\"").await;
    rig.until_event("Failed", "Error: ImagePullBackOff").await;
    rig.delete("bad", 30);
    rig.until_gone("bad").await;
}

#[tokio::test]
async fn a_missing_config_map_holds_a_container_back() {
    let rig = Rig::new().await;
    let reference = json!({"configMapKeyRef": {"name": "config", "key": "host"}});
    let env = json!([{"name": "HOST", "valueFrom": reference}]);
    rig.run("config", json!({}), json!({"containers": [{"name": "web", "env": env}]}));
    let pod = rig.until("config", &format!("{STATE}/waiting/reason"), json!("CreateContainerConfigError")).await;
    assert_eq!(pod.pointer(&format!("{STATE}/waiting/message")), Some(&json!("configmap \"config\" not found")));
    rig.until_event("Failed", "Error: configmap \"config\" not found").await;
}

#[tokio::test]
async fn a_volume_waits_for_what_it_shows() {
    let rig = Rig::new().await;
    let volumes = json!([{"name": "v", "secret": {"secretName": "tls"}}]);
    rig.run("volume", json!({}), json!({"containers": [{"name": "web"}], "volumes": volumes}));
    rig.until_event("FailedMount", "MountVolume.SetUp failed for volume \"v\" : secret \"tls\" not found").await;
    rig.api.put("secrets", json!({"metadata": {"name": "tls", "namespace": "default"}, "data": {}}));
    rig.until("volume", "/status/phase", json!("Running")).await;
}

#[tokio::test]
async fn a_probe_made_to_fail_takes_a_running_pod_out() {
    let rig = Rig::new().await;
    let probe = json!({"httpGet": {"port": 80}, "periodSeconds": 1, "failureThreshold": 1});
    rig.run("web", json!({}), json!({"containers": [{"name": "web", "readinessProbe": probe}]}));
    let ready = "/status/containerStatuses/0/ready";
    rig.until("web", ready, json!(true)).await;
    let annotate = |answer: Value| {
        rig.change("pods", "default", "web", |pod| {
            pod["metadata"]["annotations"] = json!({"kubelab.dev/probe-readiness": answer})
        });
    };
    annotate(json!("fail"));
    let pod = rig.until("web", ready, json!(false)).await;
    assert_eq!(condition(&pod, "Ready"), "False");
    rig.until_event("Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 503").await;
    annotate(json!("pass"));
    rig.until("web", ready, json!(true)).await;
}

#[tokio::test]
async fn annotations_that_make_no_sense_are_told_of() {
    let rig = Rig::new().await;
    rig.run("odd", json!({"kubelab.dev/exit-code": "many"}), json!({"containers": [{"name": "web"}]}));
    let message = "annotation \"kubelab.dev/exit-code\" has the value \"many\", but needs a number from 0 to 255";
    rig.until_event("InvalidBehavior", message).await;
    rig.until("odd", "/status/phase", json!("Running")).await;
}

#[tokio::test]
async fn a_pod_that_does_not_fit_is_rejected() {
    let rig = Rig::new().await;
    let requests = json!({"requests": {"cpu": "5"}});
    rig.run("big", json!({}), json!({"containers": [{"name": "web", "resources": requests}]}));
    let pod = rig.until("big", "/status/phase", json!("Failed")).await;
    assert_eq!(pod["status"]["reason"], "OutOfcpu");
    let message = "Node didn't have enough resource: cpu, requested: 5000, used: 0, capacity: 4000";
    assert_eq!(pod["status"]["message"], format!("Pod was rejected: {message}"));
    rig.until_event("OutOfcpu", message).await;
}

#[tokio::test]
async fn containers_outlive_a_killed_kubelet() {
    let mut rig = Rig::new().await;
    let probe = json!({"httpGet": {"port": 80}, "periodSeconds": 1});
    rig.run("stays", json!({}), json!({"containers": [{"name": "web", "readinessProbe": probe}]}));
    rig.run("goes", json!({}), json!({"containers": [{"name": "web"}]}));
    rig.run("ends", json!({}), json!({"restartPolicy": "Never", "containers": [{"name": "web", "image": "busybox", "command": ["sleep", "1"]}]}));
    rig.until("goes", "/status/phase", json!("Running")).await;
    rig.until("ends", "/status/phase", json!("Running")).await;
    let before = rig.until("stays", "/status/containerStatuses/0/ready", json!(true)).await;

    rig.kill();
    rig.api.delete_now("pods", "default", "goes");
    let writes = rig.api.writes().len();
    rig.start();
    rig.run("new", json!({}), json!({"containers": [{"name": "web"}]}));
    let new = rig.until("new", "/status/phase", json!("Running")).await;
    rig.until("ends", "/status/phase", json!("Succeeded")).await;

    assert_eq!(rig.pod("stays")["status"], before["status"], "nothing changed, not even readiness");
    assert_ne!(new["status"]["podIP"], before["status"]["podIP"]);
    assert!(rig.api.writes().len() > writes);
    let runtime = rig.runtime.clone().unwrap();
    let is_there = |name: &str| runtime.pods().iter().any(|pod| pod.name == name);
    let orphan_is_gone = async {
        while is_there("goes") {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), orphan_is_gone).await.expect("the orphan is killed");
    assert!(is_there("stays"));
}
