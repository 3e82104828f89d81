//! The controller-manager is killed right after each of its writes, again and again. Every loop goes on from whatever was
//! written so far: all comes out exactly as wanted, and no pod is made twice.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::TryStreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api,
    api::{WatchEvent, WatchParams},
};

use crate::harness::{Kubectl, Lab};

const MANAGER: &str = "controller-manager-1";

const OBJECTS: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 3
  strategy: {rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: main, image: "nginx:1"}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  replicas: 2
  serviceName: db
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec: {containers: [{name: main, image: "postgres:16"}]}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec: {containers: [{name: main, image: "agent:1"}]}
---
apiVersion: batch/v1
kind: Job
metadata: {name: sums}
spec:
  completions: 3
  parallelism: 2
  template:
    metadata: {labels: {app: sums}}
    spec: {restartPolicy: Never, containers: [{name: main, image: busybox, command: [sh, -c, "echo 1"]}]}
"#;

/// The pods that were ever made, by their label `app`: each one's uid.
type Made = Arc<Mutex<BTreeMap<String, Vec<String>>>>;

/// Follows the pods from before the first one.
async fn follow(pods: Api<Pod>, after: String, made: Made) {
    let mut revision = after;
    loop {
        let Ok(stream) = pods.watch(&WatchParams::default(), &revision).await else { continue };
        let mut stream = std::pin::pin!(stream);
        while let Ok(Some(event)) = stream.try_next().await {
            let (WatchEvent::Added(pod) | WatchEvent::Modified(pod) | WatchEvent::Deleted(pod)) = &event else {
                continue;
            };
            revision = pod.metadata.resource_version.clone().unwrap();
            if let WatchEvent::Added(pod) = event {
                let app = pod.metadata.labels.unwrap()["app"].clone();
                made.lock().unwrap().entry(app).or_default().push(pod.metadata.uid.unwrap());
            }
        }
    }
}

/// Starts the controller-manager again whenever it has died, at once; how often it had to.
fn keep_starting(lab: &Lab, stop: &AtomicBool) -> usize {
    let mut deaths = 0;
    while !stop.load(Ordering::Relaxed) {
        let status = lab.status();
        let manager = status["components"].as_array().unwrap().iter().find(|c| c["name"] == MANAGER).unwrap().clone();
        if manager["pid"].is_null() {
            deaths += 1;
            lab.kubelab(&["restart", MANAGER]);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    deaths
}

fn scenario(kubectl: &Kubectl) {
    kubectl.run_with("apply -f -", OBJECTS);
    for set in ["deployment/web", "statefulset/db", "daemonset/agent"] {
        kubectl.run(&format!("rollout status {set} --timeout=180s"));
    }
    kubectl.run("wait --for=condition=Complete job/sums --timeout=180s");
    kubectl.run("set image deployment/web main=nginx:2");
    kubectl.run("rollout status deployment/web --timeout=180s");
    let ready =
        "get endpointslices -l kubernetes.io/service-name=web -o jsonpath={.items[*].endpoints[*].conditions.ready}";
    kubectl.wait_until(ready, |text| text == "true true true");
    kubectl.run("delete deployment web --cascade=foreground --timeout=180s");
}

#[test]
fn the_controller_manager_may_die_after_any_write() {
    let lab = Lab::with(&["--nodes", "2"]);
    lab.kubelab(&["down"]);
    // What a new cluster needs is written; from here on each life of the process is one write long.
    lab.up(&["--extra-config", "controller-manager.crash-after-writes=1"]);
    let kubectl = lab.kubectl();
    let made = Made::default();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let revision = kubectl.json("get pods -o json")["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    let client = runtime.block_on(lab.client());
    runtime.spawn(follow(Api::default_namespaced(client), revision, Arc::clone(&made)));

    let stop = AtomicBool::new(false);
    let deaths = std::thread::scope(|scope| {
        let keeper = scope.spawn(|| keep_starting(&lab, &stop));
        let outcome = std::panic::catch_unwind(|| scenario(&kubectl));
        stop.store(true, Ordering::Relaxed);
        let deaths = keeper.join().unwrap();
        outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        deaths
    });
    println!("the controller-manager died {deaths} times");
    assert!(deaths > 10, "it died only {deaths} times");

    let counts: BTreeMap<_, _> = made.lock().unwrap().iter().map(|(app, uids)| (app.clone(), uids.len())).collect();
    let wanted = [("agent", 2), ("db", 2), ("sums", 3), ("web", 6)].map(|(app, count)| (app.to_owned(), count));
    assert_eq!(counts, BTreeMap::from(wanted), "pods that were ever made");
    kubectl.wait_until("get pods -l app=web -o name", str::is_empty);
    assert_eq!(kubectl.run("get replicasets -o name"), "");
}
