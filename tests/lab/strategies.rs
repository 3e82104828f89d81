//! The ways in which one version gives way to the next, each as its pods and endpoints show it.

use serde_json::json;

use crate::{
    harness::{Kubectl, Lab},
    manifests::{labelled, workload},
    story::Story,
};

/// What happens to pods from the change of the image until all five new ones are ready and all old ones are gone.
async fn rollout(strategy: serde_json::Value) -> Vec<String> {
    let lab = Lab::with(&["--apiservers", "1", "--nodes", "2"]);
    let (kubectl, client) = (lab.kubectl(), lab.client().await);
    let spec = json!({"replicas": 5, "strategy": strategy, "minReadySeconds": 1, "revisionHistoryLimit": 5});
    kubectl.run_with("apply -f -", &workload("Deployment", "rolling", "nginx:1", spec).to_string());
    kubectl.run("rollout status deployment/rolling --timeout=120s");
    let mut story = Story::begin(&client, "app=rolling").await;
    kubectl.run("set image deployment/rolling main=nginx:2");
    let mut told = story.until_count("ready ", 5).await;
    let gone = told.iter().filter(|line| line.starts_with('-')).count();
    told.extend(story.until_count("-", 5 - gone).await);
    kubectl.run("rollout status deployment/rolling --timeout=120s");
    told
}

/// The fewest pods that were ready and not told to end, and the most that there were which were not told to end.
fn extremes(told: &[String], begin: i32) -> (i32, i32) {
    let (mut ready, mut present, mut extremes) = (begin, begin, (begin, begin));
    for line in told {
        match line.split_at(1).0 {
            "+" => present += 1,
            "r" => ready += 1,
            "e" => (ready, present) = (ready - 1, present - 1),
            _ => {}
        }
        extremes = (extremes.0.min(ready), extremes.1.max(present));
    }
    extremes
}

#[tokio::test(flavor = "multi_thread")]
async fn surging_by_one_never_lacks_a_pod() {
    let told = rollout(json!({"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}})).await;
    assert_eq!(extremes(&told, 5), (5, 6), "{told:?}");
    assert!(told[0].starts_with('+'), "a new one comes before an old one goes: {told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn lacking_one_never_has_a_pod_too_many() {
    let told = rollout(json!({"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}})).await;
    assert_eq!(extremes(&told, 5), (4, 5), "{told:?}");
    assert!(told[0].starts_with("ends "), "an old one goes before a new one comes: {told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn recreation_begins_when_all_is_gone() {
    let told = rollout(json!({"type": "Recreate"})).await;
    let last_gone = told.iter().rposition(|line| line.starts_with('-')).unwrap();
    let first_new = told.iter().position(|line| line.starts_with('+')).unwrap();
    assert!(last_gone < first_new, "{told:?}");
    assert_eq!(extremes(&told, 5), (0, 5), "{told:?}");
}

/// The names of the Deployments whose pods a Service has behind it, each once, with how many.
fn behind(kubectl: &Kubectl, wanted: &str) {
    let targets = "get endpointslices -l kubernetes.io/service-name=myapp -o \
                   jsonpath={.items[*].endpoints[*].targetRef.name}";
    kubectl.wait_until(targets, |text| {
        let count = |name: &str| text.split(' ').filter(|pod| pod.starts_with(&format!("{name}-"))).count();
        ["blue", "green", "canary"].map(|name| format!("{name}={}", count(name))).join(" ") == wanted
    });
}

#[test]
fn a_service_turns_from_blue_to_green_and_canaries_share_it() {
    let lab = Lab::with(&["--apiservers", "1", "--nodes", "2"]);
    let kubectl = lab.kubectl();
    let version = |version: &str| json!({"app": "myapp", "version": version});
    let deployment = |name: &str, replicas: i32| {
        labelled("Deployment", name, &version(name), "nginx:1", json!({"replicas": replicas})).to_string()
    };
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "myapp"},
        "spec": {"selector": version("blue"), "ports": [{"port": 80}]}});
    kubectl.run_with("apply -f -", &service.to_string());
    kubectl.run_with("apply -f -", &deployment("blue", 3));
    behind(&kubectl, "blue=3 green=0 canary=0");
    kubectl.run_with("apply -f -", &deployment("green", 3));
    kubectl.run("rollout status deployment/green --timeout=120s");
    behind(&kubectl, "blue=3 green=0 canary=0");
    kubectl.run(r#"patch service myapp -p '{"spec":{"selector":{"version":"green"}}}'"#);
    behind(&kubectl, "blue=0 green=3 canary=0");
    kubectl.run(r#"patch service myapp -p '{"spec":{"selector":{"version":"blue"}}}'"#);
    behind(&kubectl, "blue=3 green=0 canary=0");

    // One of four requests goes to the next version.
    kubectl.run("delete deployment green");
    kubectl.run_with("apply -f -", &deployment("canary", 1));
    kubectl.run(r#"patch service myapp -p '{"spec":{"selector":{"version":null}}}'"#);
    behind(&kubectl, "blue=3 green=0 canary=1");
    kubectl.run("scale deployment canary --replicas=3");
    kubectl.run("scale deployment blue --replicas=0");
    behind(&kubectl, "blue=0 green=0 canary=3");
}
