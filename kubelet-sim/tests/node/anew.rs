//! Containers that begin anew: because one of them wants it, or because nothing is left of them.

use serde_json::{Value, json};

use crate::{
    fake::Fake,
    rig::{Rig, condition},
};

const STATUS: &str = "/status/containerStatuses/0";

fn shell(name: &str, script: &str) -> Value {
    json!({"name": name, "image": "busybox", "command": ["sh", "-c", script]})
}

#[tokio::test]
async fn containers_that_are_gone_have_ended_somehow() {
    let mut rig = Rig::new().await;
    let pod = |policy: &str| json!({"restartPolicy": policy, "containers": [{"name": "c", "image": "nginx"}]});
    for (name, policy) in [("always", "Always"), ("never", "Never")] {
        rig.run(name, json!({}), pod(policy));
        rig.until(name, "/status/phase", json!("Running")).await;
    }
    rig.kill();
    rig.lose_containers();
    rig.start();
    let unknown = |ended: &Value| {
        assert_eq!((&ended["exitCode"], &ended["reason"]), (&json!(137), &json!("ContainerStatusUnknown")), "{ended}");
        assert_eq!(ended["message"], "The container could not be located when the pod was terminated");
        assert!(ended["startedAt"].is_null() && ended["finishedAt"].is_null(), "{ended}");
    };
    let pod = rig.until("always", &format!("{STATUS}/restartCount"), json!(1)).await;
    unknown(&pod["status"]["containerStatuses"][0]["lastState"]["terminated"]);
    rig.until("always", &format!("{STATUS}/ready"), json!(true)).await;
    let pod = rig.until("never", "/status/phase", json!("Failed")).await;
    unknown(&pod["status"]["containerStatuses"][0]["state"]["terminated"]);
}

#[tokio::test]
async fn one_container_has_all_begin_anew() {
    // https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#restart-all-containers
    let rig = Rig::new().await;
    let mounts = json!([{"name": "data", "mountPath": "/data"}]);
    let mut init = shell("setup", "echo set >> /data/log");
    let mut main = shell("main", "echo main >> /data/log; trap 'echo told >> /data/log' TERM; sleep 600 & wait");
    let mut watcher = shell("watcher", "until test -f /data/go; do sleep 0.1; done; rm /data/go; exit 88");
    for container in [&mut init, &mut main, &mut watcher] {
        container["volumeMounts"] = mounts.clone();
    }
    main["lifecycle"] = json!({"preStop": {"exec": {"command": ["sh", "-c", "echo stopping >> /data/log"]}}});
    watcher["restartPolicy"] = json!("Never");
    let rule = json!({"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [88]}});
    watcher["restartPolicyRules"] = json!([rule]);
    let volumes = json!([{"name": "data", "emptyDir": {}}]);
    let spec =
        json!({"restartPolicy": "Never", "initContainers": [init], "containers": [main, watcher], "volumes": volumes});
    rig.run("web", json!({}), spec);
    let pod = rig.until("web", &format!("{STATUS}/ready"), json!(true)).await;
    assert_eq!(condition(&pod, "AllContainersRestarting"), "False");
    let address = pod["status"]["podIP"].clone();
    rig.exec("web", "main", &["touch", "/data/go"]).await;

    let pod = rig.until("web", &format!("{STATUS}/restartCount"), json!(1)).await;
    rig.until("web", &format!("{STATUS}/ready"), json!(true)).await;
    assert_eq!(pod["status"]["podIP"], address);
    let restarting = |api: &Fake| {
        let versions = api.versions("pods", "web");
        versions
            .iter()
            .any(|pod| condition(pod, "AllContainersRestarting") == "True" && pod["status"]["phase"] == "Running")
    };
    assert!(restarting(&rig.api), "the pod says so meanwhile");
    rig.until("web", "/status/initContainerStatuses/0/restartCount", json!(1)).await;
    let pod = rig.until("web", "/status/containerStatuses/1/restartCount", json!(1)).await;
    assert_eq!(condition(&pod, "AllContainersRestarting"), "False");
    let ended = &pod["status"]["containerStatuses"][1]["lastState"]["terminated"];
    assert_eq!(ended["exitCode"], 88, "{pod}");
    // The volume stays, no hook runs, and nobody is asked to end.
    assert_eq!(rig.exec("web", "main", &["cat", "/data/log"]).await, "set\nmain\nset\nmain\n");
}
