//! The sequence of states that a pod's containers go through, from one write of its status to the next.

use serde_json::{Value, json};

use crate::{
    fake::Fake,
    rig::{Rig, condition, events},
};

/// The states of a container in the order in which the API saw them: `waiting ContainerCreating`, `running`,
/// `terminated 1 Error`.
fn states(rig: &Rig, pod: &str, list: &str, name: &str) -> Vec<String> {
    let mut seen: Vec<String> = Vec::new();
    for version in rig.api.versions("pods", pod) {
        let statuses = version["status"][list].as_array().cloned().unwrap_or_default();
        let Some(status) = statuses.iter().find(|status| status["name"] == name) else { continue };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let state = match status["state"].as_object().and_then(|state| state.iter().next()) {
            Some((kind, about)) if kind == "waiting" => format!("waiting {}", text(&about["reason"])),
            Some((kind, about)) if kind == "terminated" => {
                format!("terminated {} {}", about["exitCode"], text(&about["reason"]))
            }
            _ => format!("running{}", if status["ready"] == true { " ready" } else { "" }),
        };
        if seen.last() != Some(&state) {
            seen.push(state);
        }
    }
    seen
}

fn shell(name: &str, script: &str) -> Value {
    json!({"name": name, "image": "busybox", "command": ["sh", "-c", script]})
}

const REASON: &str = "/status/containerStatuses/0/state/waiting/reason";

#[tokio::test]
async fn init_containers_run_first_and_leave_their_files() {
    let rig = Rig::new().await;
    let mounts = json!([{"name": "data", "mountPath": "/data"}]);
    let (mut init, mut main) =
        (shell("init", "sleep 0.3; echo made > /data/x"), shell("main", "test -f /data/x && sleep 60"));
    init["volumeMounts"] = mounts.clone();
    main["volumeMounts"] = mounts;
    let volumes = json!([{"name": "data", "emptyDir": {}}]);
    rig.run("web", json!({}), json!({"initContainers": [init], "containers": [main], "volumes": volumes}));
    rig.until("web", "/status/phase", json!("Running")).await;
    assert_eq!(states(&rig, "web", "containerStatuses", "main"), ["waiting PodInitializing", "running ready"]);
    let init = states(&rig, "web", "initContainerStatuses", "init");
    assert_eq!(init, ["waiting PodInitializing", "running", "terminated 0 Completed"]);
}

#[tokio::test]
async fn a_program_that_is_not_there_is_told_of_and_backs_off() {
    let rig = Rig::new().await;
    let spec = json!({"containers": [{"name": "web", "image": "busybox", "command": ["no-such-program"]}]});
    rig.run("bad", json!({}), spec.clone());
    let pod = rig.until("bad", REASON, json!("CrashLoopBackOff")).await;
    let ended = &pod["status"]["containerStatuses"][0]["lastState"]["terminated"];
    assert_eq!((&ended["exitCode"], &ended["reason"]), (&json!(128), &json!("StartError")));
    assert_eq!(ended["startedAt"], "1970-01-01T00:00:00Z");
    let message = ended["message"].as_str().unwrap();
    assert!(message.ends_with("exec: \"no-such-program\": executable file not found in $PATH"), "{message}");
    rig.until_event("Failed", &format!("Error: {message}")).await;
    let seen = states(&rig, "bad", "containerStatuses", "web");
    assert_eq!(seen[..2], ["waiting ContainerCreating", "waiting RunContainerError"], "{seen:?}");

    let mut once = spec;
    once["restartPolicy"] = json!("Never");
    rig.run("once", json!({}), once);
    let pod = rig.until("once", "/status/phase", json!("Failed")).await;
    assert_eq!(pod["status"]["containerStatuses"][0]["state"]["terminated"]["reason"], "StartError");
}

#[tokio::test]
async fn a_container_says_why_it_ends() {
    let rig = Rig::new().await;
    let mut own = shell("own", "echo the disk is full > /dev/termination-log; exit 3");
    own["terminationMessagePolicy"] = json!("FallbackToLogsOnError");
    let mut log = shell("log", "echo first; echo last words; exit 4");
    log["terminationMessagePolicy"] = json!("FallbackToLogsOnError");
    let silent = shell("silent", "echo not told; exit 5");
    rig.run("ends", json!({}), json!({"restartPolicy": "Never", "containers": [own, log, silent]}));
    let pod = rig.until("ends", "/status/phase", json!("Failed")).await;
    let messages: Vec<&Value> = pod["status"]["containerStatuses"]
        .as_array()
        .unwrap()
        .iter()
        .map(|status| &status["state"]["terminated"]["message"])
        .collect();
    assert_eq!(messages, [&json!("the disk is full\n"), &json!("first\nlast words\n"), &Value::Null]);
}

#[tokio::test]
async fn a_pod_that_needs_too_much_memory_is_killed() {
    let rig = Rig::new().await;
    let container = json!({"name": "web", "resources": {"limits": {"memory": "100Mi"}}});
    let annotations = json!({"kubelab.dev/memory-usage": "0s:10Mi,600ms:200Mi"});
    rig.run("big", annotations, json!({"restartPolicy": "OnFailure", "containers": [container]}));
    let pod = rig.until("big", REASON, json!("CrashLoopBackOff")).await;
    let ended = &pod["status"]["containerStatuses"][0]["lastState"]["terminated"];
    assert_eq!((&ended["exitCode"], &ended["reason"]), (&json!(137), &json!("OOMKilled")));
    let seen = states(&rig, "big", "containerStatuses", "web");
    assert_eq!(seen[..3], ["waiting ContainerCreating", "running ready", "terminated 137 OOMKilled"], "{seen:?}");
}

#[tokio::test]
async fn a_probe_by_command_looks_at_the_containers_files() {
    let rig = Rig::new().await;
    let mut main = shell("main", "touch /tmp/healthy; sleep 1.5; rm -f /tmp/healthy; sleep 600");
    main["livenessProbe"] =
        json!({"exec": {"command": ["cat", "/tmp/healthy"]}, "periodSeconds": 1, "failureThreshold": 1});
    rig.run("web", json!({}), json!({"terminationGracePeriodSeconds": 0, "containers": [main]}));
    rig.until("web", "/status/containerStatuses/0/restartCount", json!(1)).await;
    rig.until_event("Unhealthy", "Liveness probe failed: cat: can't open '/tmp/healthy': No such file or directory\n")
        .await;
    rig.until_event("Killing", "Container main failed liveness probe, will be restarted").await;
}

#[tokio::test]
async fn hooks_run_after_the_start_and_before_the_end() {
    let rig = Rig::new().await;
    let mut main = shell("main", "trap 'cat /data/log; exit 0' TERM; sleep 600 & wait");
    main["volumeMounts"] = json!([{"name": "data", "mountPath": "/data"}]);
    main["lifecycle"] = json!({
        "postStart": {"exec": {"command": ["sh", "-c", "sleep 0.5; echo started >> /data/log"]}},
        "preStop": {"exec": {"command": ["sh", "-c", "sleep 0.5; echo stopping >> /data/log"]}},
    });
    main["terminationMessagePath"] = json!("/data/log");
    rig.run("web", json!({}), json!({"containers": [main], "volumes": [{"name": "data", "emptyDir": {}}]}));
    rig.until("web", "/status/phase", json!("Running")).await;
    assert_eq!(states(&rig, "web", "containerStatuses", "main"), ["waiting ContainerCreating", "running ready"]);
    rig.delete("web", 30);
    rig.until_gone("web").await;
    let last = rig.api.versions("pods", "web").pop().unwrap();
    let ended = &last["status"]["containerStatuses"][0]["state"]["terminated"];
    assert_eq!((&ended["exitCode"], &ended["message"]), (&json!(0), &json!("started\nstopping\n")));
}

#[tokio::test]
async fn hooks_that_fail_are_told_of() {
    let rig = Rig::new().await;
    let lifecycle = json!({"postStart": {"exec": {"command": ["false"]}}});
    rig.run("start", json!({}), json!({"containers": [{"name": "web", "lifecycle": lifecycle}]}));
    rig.until_event("FailedPostStartHook", "PostStartHook failed").await;
    rig.until_event("Killing", "FailedPostStartHook").await;
    rig.until("start", REASON, json!("CrashLoopBackOff")).await;
    let seen = states(&rig, "start", "containerStatuses", "web");
    assert!(seen.contains(&"waiting PostStartHookError".to_owned()), "{seen:?}");
    assert!(!seen.contains(&"running ready".to_owned()), "{seen:?}");

    let lifecycle = json!({"preStop": {"httpGet": {"port": 81, "path": "/bye"}}});
    rig.run("stop", json!({}), json!({"containers": [{"name": "web", "lifecycle": lifecycle}]}));
    rig.until("stop", "/status/phase", json!("Running")).await;
    rig.delete("stop", 30);
    rig.until_gone("stop").await;
    rig.until_event("FailedPreStopHook", "PreStopHook failed").await;
}

#[tokio::test]
async fn sidecars_start_before_the_others_and_end_after_them_last_one_first() {
    let rig = Rig::new().await;
    let sidecar = |name: &str| json!({"name": name, "image": "nginx-unprivileged", "restartPolicy": "Always"});
    let spec = json!({"initContainers": [sidecar("one"), sidecar("two")], "containers": [{"name": "main"}]});
    rig.run("web", json!({}), spec);
    rig.until("web", "/status/containerStatuses/0/ready", json!(true)).await;
    rig.delete("web", 30);
    rig.until_gone("web").await;
    let count = |api: &Fake, reason: &str| events(api).iter().filter(|(told, _)| told == reason).count();
    rig.api.until("all is told", |api| count(api, "Started") == 3 && count(api, "Killing") == 3).await;
    let told = |reason: &str| -> Vec<String> {
        let told = rig.api.objects("events");
        let mut told: Vec<&Value> = told.iter().filter(|event| event["reason"] == reason).collect();
        told.sort_by_key(|event| event["metadata"]["name"].as_str().unwrap_or_default().to_owned());
        told.iter().map(|event| event["involvedObject"]["fieldPath"].as_str().unwrap().to_owned()).collect()
    };
    let order = ["spec.initContainers{one}", "spec.initContainers{two}", "spec.containers{main}"];
    assert_eq!(told("Started"), order);
    assert_eq!(told("Killing"), order.into_iter().rev().collect::<Vec<_>>());
}

#[tokio::test]
async fn a_pod_may_be_active_only_for_so_long() {
    let rig = Rig::new().await;
    rig.run(
        "late",
        json!({}),
        json!({"activeDeadlineSeconds": 1, "terminationGracePeriodSeconds": 0, "containers": [{"name": "web"}]}),
    );
    rig.until("late", "/status/phase", json!("Running")).await;
    let pod = rig.until("late", "/status/phase", json!("Failed")).await;
    assert_eq!(pod["status"]["reason"], "DeadlineExceeded");
    assert_eq!(pod["status"]["message"], "Pod was active on the node longer than the specified deadline");
    rig.until_event("DeadlineExceeded", "Pod was active on the node longer than the specified deadline").await;
}

#[tokio::test]
async fn who_must_not_be_root_is_not() {
    let rig = Rig::new().await;
    let context = json!({"runAsNonRoot": true});
    rig.run("root", json!({}), json!({"securityContext": context, "containers": [{"name": "web", "image": "nginx"}]}));
    rig.until("root", REASON, json!("CreateContainerConfigError")).await;
    rig.run(
        "user",
        json!({}),
        json!({"securityContext": context, "containers": [{"name": "web", "image": "nginx-unprivileged"}]}),
    );
    rig.until("user", "/status/phase", json!("Running")).await;
}

#[tokio::test]
async fn a_container_may_have_a_restart_policy_of_its_own() {
    let rig = Rig::new().await;
    let mut again = shell("again", "exit 42");
    again["restartPolicy"] = json!("Never");
    again["restartPolicyRules"] = json!([{"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}]);
    rig.run("mixed", json!({}), json!({"restartPolicy": "Never", "containers": [again, shell("once", "exit 1")]}));
    let pod = rig.until("mixed", REASON, json!("CrashLoopBackOff")).await;
    assert_eq!(pod["status"]["phase"], "Running");
    assert_eq!(pod["status"]["containerStatuses"][1]["state"]["terminated"]["exitCode"], 1);
}

#[tokio::test]
async fn a_change_of_resources_waits_for_room() {
    let rig = Rig::new().await;
    let cpu = |cpu: &str| json!({"requests": {"cpu": cpu}});
    let policy = json!([{"resourceName": "cpu", "restartPolicy": "RestartContainer"}]);
    rig.run("other", json!({}), json!({"containers": [{"name": "c", "resources": cpu("2")}]}));
    rig.run("web", json!({}), json!({"containers": [{"name": "c", "resources": cpu("1"), "resizePolicy": policy}]}));
    rig.until("other", "/status/phase", json!("Running")).await;
    rig.until("web", "/status/phase", json!("Running")).await;
    let resize = |amount: &str| {
        rig.change("pods", "default", "web", |pod| pod["spec"]["containers"][0]["resources"] = cpu(amount));
    };
    let pending = |pod: &Value| {
        let conditions = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions.iter().find(|condition| condition["type"] == "PodResizePending").map(|found| found["reason"].clone())
    };
    resize("3");
    let wanted = r#"{"containers":[{"name":"c","resources":{"requests":{"cpu":"3"}}}],"generation":0,"error":"#;
    let why = "Node didn't have enough resource: cpu, requested: 3000, used: 2000, capacity: 4000";
    rig.until_event("ResizeDeferred", &format!("Pod resize Deferred: {wanted}{why:?}}}")).await;
    let deferred = |api: &crate::fake::Fake| {
        api.object("pods", "default", "web").is_some_and(|pod| pending(&pod) == Some(json!("Deferred")))
    };
    rig.api.until("the change is deferred", deferred).await;
    let had = "/status/containerStatuses/0/allocatedResources/cpu";
    assert_eq!(rig.pod("web").pointer(had), Some(&json!("1")));
    rig.delete("other", 0);
    rig.until_gone("other").await;
    resize("3000m");
    rig.until("web", had, json!("3000m")).await;
    rig.until_event("Killing", "Container c resize requires restart").await;
    let pod = rig.until("web", "/status/containerStatuses/0/restartCount", json!(1)).await;
    assert_eq!(pending(&pod), None);
    let done = r#"{"containers":[{"name":"c","resources":{"requests":{"cpu":"3000m"}}}],"generation":0}"#;
    rig.until_event("ResizeStarted", &format!("Pod resize started: {done}")).await;
    rig.until_event("ResizeCompleted", &format!("Pod resize completed: {done}")).await;
    let in_progress = |pod: &Value| condition(pod, "PodResizeInProgress") == "True";
    assert!(rig.api.versions("pods", "web").iter().any(in_progress), "the pod says so meanwhile");
    let is_over = |api: &crate::fake::Fake| api.object("pods", "default", "web").is_some_and(|pod| !in_progress(&pod));
    rig.api.until("the change is done", is_over).await;
}

#[tokio::test]
async fn static_pods_are_those_of_their_manifests() {
    let mut rig = Rig::new().await;
    let folder = rig.manifests();
    std::fs::create_dir_all(&folder).unwrap();
    let write = |image: &str| {
        let text = format!("metadata: {{name: web}}\nspec: {{containers: [{{name: c, image: {image}}}]}}\n");
        std::fs::write(folder.join("web.yaml"), text).unwrap();
    };
    write("nginx");
    std::fs::write(folder.join("broken.yaml"), "[").unwrap();
    // It looks as it starts, and then every 20 s.
    rig.kill();
    rig.start();
    let pod = rig.until("web-node-1", "/status/phase", json!("Running")).await;
    assert_eq!(pod["metadata"]["annotations"]["kubernetes.io/config.source"], "file");
    // Who deletes it gets another one.
    let uid = pod["metadata"]["uid"].clone();
    rig.delete("web-node-1", 0);
    let is_another = |api: &crate::fake::Fake| {
        api.object("pods", "default", "web-node-1").is_some_and(|pod| pod["metadata"]["uid"] != uid)
    };
    rig.api.until("another pod is there", is_another).await;
    rig.until("web-node-1", "/status/phase", json!("Running")).await;
    // Another manifest makes another pod, once something happens to the one that is there.
    write("httpd");
    rig.change("pods", "default", "web-node-1", |pod| pod["metadata"]["labels"] = json!({"a": "b"}));
    let is_new = |api: &crate::fake::Fake| {
        let pod = api.object("pods", "default", "web-node-1");
        pod.is_none_or(|pod| {
            pod["spec"]["containers"][0]["image"] == "httpd" || !pod["metadata"]["deletionTimestamp"].is_null()
        })
    };
    rig.api.until("the old pod goes", is_new).await;
}
