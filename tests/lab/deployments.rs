//! Deployments: the states that a rollout goes through, scaling amid it, deadlines, history, and owners that come and go.

use std::collections::BTreeMap;

use futures::StreamExt;
use k8s_openapi::api::apps::v1::ReplicaSet;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
    runtime::{WatchStreamExt, watcher},
};
use serde_json::{Value, json};

use crate::{
    harness::{Kubectl, Lab, PATIENCE},
    manifests::workload,
};

fn deployment(name: &str, replicas: i32, image: &str, mut spec: Value) -> String {
    spec["replicas"] = json!(replicas);
    workload("Deployment", name, image, spec).to_string()
}

fn small_lab() -> Lab {
    Lab::with(&["--apiservers", "1", "--nodes", "2"])
}

/// How many pods the replica set of each image is told to have, and how many are available.
type Sizes = BTreeMap<String, (i32, i32)>;

/// Every state that the replica sets with these labels go through until `done`.
async fn states(client: &Client, labels: &str, done: impl Fn(&Sizes) -> bool) -> Vec<Sizes> {
    let sets: Api<ReplicaSet> = Api::default_namespaced(client.clone());
    let mut changes = std::pin::pin!(watcher(sets, watcher::Config::default().labels(labels)).applied_objects());
    let (mut states, mut sizes) = (Vec::new(), Sizes::new());
    let follow = async {
        while !done(&sizes) {
            let Some(Ok(set)) = changes.next().await else { continue };
            let template = set.spec.template.unwrap().spec.unwrap();
            let available = set.status.and_then(|status| status.available_replicas).unwrap_or(0);
            let image = template.containers[0].image.clone().unwrap();
            sizes.insert(image, (set.spec.replicas.unwrap(), available));
            states.push(sizes.clone());
        }
    };
    let ended = tokio::time::timeout(PATIENCE, follow).await;
    assert!(ended.is_ok(), "waited too long; the states were {states:?}");
    states
}

/// The picture of the seed: five pods, surge 2, unavailable 1.
#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_goes_through_its_states() {
    let lab = small_lab();
    let (kubectl, client) = (lab.kubectl(), lab.client().await);
    let rolling = json!({"maxUnavailable": 1, "maxSurge": 2});
    let spec = json!({"strategy": {"type": "RollingUpdate", "rollingUpdate": rolling}});
    kubectl.run_with("apply -f -", &deployment("nginx", 5, "nginx:1.20", spec));
    kubectl.run("rollout status deployment/nginx --timeout=120s");
    kubectl.run("wait deployment/nginx --for=jsonpath={.status.availableReplicas}=5 --timeout=120s");

    let watching = client.clone();
    let (begins, begun) = tokio::sync::oneshot::channel();
    let watch = tokio::spawn(async move {
        let begins = std::sync::Mutex::new(Some(begins));
        let done = |sizes: &Sizes| {
            if sizes.contains_key("nginx:1.20")
                && let Some(begins) = begins.lock().unwrap().take()
            {
                let _ = begins.send(());
            }
            sizes.get("nginx:1.20").is_some_and(|size| size.0 == 0) && sizes.get("nginx:1.21") == Some(&(5, 5))
        };
        states(&watching, "app=nginx", done).await
    });
    begun.await.unwrap();
    kubectl.run("set image deployment/nginx main=nginx:1.21");
    let states = watch.await.unwrap();

    let mut wanted: Vec<(i32, i32)> =
        states.iter().map(|sizes| (sizes["nginx:1.20"].0, sizes.get("nginx:1.21").map_or(0, |size| size.0))).collect();
    wanted.dedup();
    assert_eq!(wanted[..3], [(5, 0), (5, 2), (4, 2)], "two are added, then one may go: {wanted:?}");
    assert_eq!(wanted.last(), Some(&(0, 5)), "{wanted:?}");
    for pair in wanted.windows(2) {
        assert!(pair[1].0 <= pair[0].0 && pair[1].1 >= pair[0].1, "it never goes back: {wanted:?}");
        assert!(pair[1].0 + pair[1].1 <= 7, "no more than two too many: {wanted:?}");
    }
    kubectl.run("rollout status deployment/nginx --timeout=120s");
    let told =
        kubectl.wait_until("describe deployment nginx", |text| text.contains("from 1 to 0") || text.contains("to 0\n"));
    assert!(told.contains("Scaled up replica set nginx-") && told.contains("from 0 to 2"), "{told}");
    assert!(told.contains("from 5 to 4"), "{told}");
}

fn sizes(kubectl: &Kubectl, name: &str) -> String {
    let path = "{range .items[*]}{.spec.template.spec.containers[0].image}={.spec.replicas} {end}";
    let text = kubectl
        .run(&format!("get replicasets -l app={name} --sort-by=.metadata.creationTimestamp -o 'jsonpath={path}'"));
    let mut parts: Vec<_> = text.split_whitespace().map(str::to_owned).collect();
    parts.sort();
    parts.join(" ")
}

fn sizes_become(kubectl: &Kubectl, name: &str, wanted: &str) {
    crate::harness::wait_for(&format!("{name} to have {wanted}"), || {
        let now = sizes(kubectl, name);
        if now == wanted { Ok(()) } else { Err(crate::harness::Seen(now)) }
    });
}

/// The example of <https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#proportional-scaling>.
#[test]
fn scaling_amid_a_rollout_is_proportional() {
    let lab = small_lab();
    let kubectl = lab.kubectl();
    let spec = json!({"strategy": {"rollingUpdate": {"maxUnavailable": 2, "maxSurge": 3}}});
    kubectl.run_with("apply -f -", &deployment("web", 10, "nginx:1", spec));
    kubectl.run("rollout status deployment/web --timeout=120s");
    kubectl.run("set image deployment/web main=nginx:missing");
    sizes_become(&kubectl, "web", "nginx:1=8 nginx:missing=5");
    kubectl.run("scale deployment/web --replicas=15");
    sizes_become(&kubectl, "web", "nginx:1=11 nginx:missing=7");
    kubectl.run("rollout undo deployment/web");
    kubectl.run("rollout status deployment/web --timeout=120s");
    sizes_become(&kubectl, "web", "nginx:1=15 nginx:missing=0");
    let history = kubectl.run("rollout history deployment/web");
    assert_eq!(history.trim_end(), "deployment.apps/web \nREVISION  CHANGE-CAUSE\n2         <none>\n3         <none>");

    // While paused nothing rolls out, and all scales.
    kubectl.run("rollout pause deployment/web");
    kubectl.run("set image deployment/web main=nginx:2");
    kubectl.run("scale deployment/web --replicas=4");
    sizes_become(&kubectl, "web", "nginx:1=4 nginx:missing=0");
    kubectl.run("rollout resume deployment/web");
    kubectl.run("rollout status deployment/web --timeout=120s");
    sizes_become(&kubectl, "web", "nginx:1=0 nginx:2=4 nginx:missing=0");
}

fn reason(kubectl: &Kubectl, kind: &str) -> String {
    let object = kubectl.json("get deployment web");
    let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let found = conditions.iter().find(|condition| condition["type"] == kind).cloned().unwrap_or(Value::Null);
    format!("{} {}", found["status"].as_str().unwrap_or("-"), found["reason"].as_str().unwrap_or("-"))
}

#[test]
fn a_rollout_has_a_deadline_and_a_memory() {
    let lab = small_lab();
    let kubectl = lab.kubectl();
    let spec = json!({"progressDeadlineSeconds": 3, "minReadySeconds": 1, "revisionHistoryLimit": 1});
    kubectl.run_with("apply -f -", &deployment("web", 2, "nginx:1", spec));
    kubectl.run("rollout status deployment/web --timeout=120s");
    assert_eq!(reason(&kubectl, "Progressing"), "True NewReplicaSetAvailable");
    kubectl.run("annotate deployment/web kubernetes.io/change-cause=broken");
    kubectl.run("set image deployment/web main=nginx:missing");
    let failed = kubectl.fail("rollout status deployment/web --timeout=120s", "");
    assert_eq!(failed, "error: deployment \"web\" exceeded its progress deadline\n");
    assert_eq!(reason(&kubectl, "Progressing"), "False ProgressDeadlineExceeded");
    assert_eq!(reason(&kubectl, "Available"), "True MinimumReplicasAvailable");
    let history = kubectl.run("rollout history deployment/web");
    assert!(history.contains("\n2         broken\n"), "{history}");
    assert_eq!(kubectl.run("rollout undo deployment/web --to-revision=1"), "deployment.apps/web rolled back\n");
    kubectl.run("rollout status deployment/web --timeout=120s");
    assert_eq!(reason(&kubectl, "Progressing"), "True NewReplicaSetAvailable");

    for image in ["nginx:2", "nginx:3"] {
        kubectl.run(&format!("set image deployment/web main={image}"));
        kubectl.run("rollout status deployment/web --timeout=120s");
    }
    sizes_become(&kubectl, "web", "nginx:2=0 nginx:3=2");
}

#[tokio::test(flavor = "multi_thread")]
async fn owners_come_and_go() {
    let lab = small_lab();
    let (kubectl, client) = (lab.kubectl(), lab.client().await);
    let manifest = deployment("web", 2, "nginx:1", json!({}));
    kubectl.run_with("apply -f -", &manifest);
    kubectl.run("rollout status deployment/web --timeout=120s");
    let names = |what: &str| kubectl.run(&format!("get {what} -l app=web -o name"));
    let (sets, pods) = (names("replicasets"), names("pods"));

    // Orphans are adopted, all the way down.
    kubectl.run("delete deployment web --cascade=orphan");
    kubectl.wait_until("get replicasets -o jsonpath={.items[*].metadata.ownerReferences}", str::is_empty);
    kubectl.run_with("apply -f -", &manifest);
    kubectl.run("rollout status deployment/web --timeout=120s");
    assert_eq!((names("replicasets"), names("pods")), (sets, pods.clone()));

    // A pod that no longer matches is let go and replaced.
    let freed = pods.lines().next().unwrap();
    kubectl.run(&format!("label {freed} app=other --overwrite"));
    kubectl.wait_until(&format!("get {freed} -o jsonpath={{.metadata.ownerReferences}}"), str::is_empty);
    kubectl.wait_until("get deployment web -o jsonpath={.status.readyReplicas}", |text| text == "2");
    kubectl.wait_until("get pods -l app=web -o name", |text| text.lines().count() == 2 && !text.contains(freed));
    kubectl.run(&format!("label {freed} app=web --overwrite"));
    kubectl.wait_until("get pods -l app=web -o name", |text| text.lines().count() == 2);

    // A replica set of the name that the next template would have, but of another template.
    let sets: Api<ReplicaSet> = Api::default_namespaced(client.clone());
    kubectl.run("set image deployment/web main=nginx:2");
    kubectl.run("rollout status deployment/web --timeout=120s");
    let all = sets.list(&Default::default()).await.unwrap().items;
    let second = all.iter().find(|set| set.spec.replicas == Some(2)).unwrap();
    let mut other = ReplicaSet { status: None, ..second.clone() };
    kubectl.run("set image deployment/web main=nginx:3");
    kubectl.run("rollout status deployment/web --timeout=120s");
    let name = second.metadata.name.clone().unwrap();
    kubectl.run(&format!("delete replicaset {name}"));
    other.metadata = serde_json::from_value(json!({"name": name})).unwrap();
    let template = other.spec.template.as_mut().unwrap();
    template.spec.as_mut().unwrap().containers[0].image = Some("nginx:other".to_owned());
    let labels = json!({"app": "stranger"});
    template.metadata.as_mut().unwrap().labels = serde_json::from_value(labels.clone()).unwrap();
    other.spec.selector = serde_json::from_value(json!({"matchLabels": labels})).unwrap();
    other.spec.replicas = Some(0);
    sets.patch(
        &name,
        &PatchParams::apply("test"),
        &Patch::Apply(json!({
            "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": other.metadata, "spec": other.spec,
        })),
    )
    .await
    .unwrap();
    kubectl.run("set image deployment/web main=nginx:2");
    kubectl.run("rollout status deployment/web --timeout=120s");
    assert_eq!(kubectl.run("get deployment web -o jsonpath={.status.collisionCount}"), "1");
    let image = "get pods -l app=web -o jsonpath={.items[*].spec.containers[0].image}";
    kubectl.wait_until(image, |text| text == "nginx:2 nginx:2");
}
