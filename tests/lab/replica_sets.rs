//! ReplicaSets and ReplicationControllers on their own: as many pods as they are told, whatever becomes of these.

use crate::{harness::Lab, story::Story};

const FRONTEND: &str = r#"
apiVersion: apps/v1
kind: ReplicaSet
metadata: {name: nginx-replicaset}
spec:
  replicas: 3
  selector:
    matchLabels: {app: nginx}
    matchExpressions:
    - {key: tier, operator: In, values: [frontend]}
  template:
    metadata: {labels: {app: nginx, tier: frontend}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: nginx
        image: nginx:1.21
        resources:
          requests: {cpu: 100m, memory: 128Mi}
          limits: {cpu: 200m, memory: 256Mi}
---
apiVersion: v1
kind: ReplicationController
metadata: {name: old}
spec:
  replicas: 2
  selector: {app: old}
  template:
    metadata: {labels: {app: old}}
    spec: {terminationGracePeriodSeconds: 1, containers: [{name: main, image: "nginx:1"}]}
"#;

/// How many pods came, became ready, were told to end, and are gone.
fn counts(told: &[String]) -> [usize; 4] {
    ["+", "ready ", "ends ", "-"].map(|what| told.iter().filter(|line| line.starts_with(what)).count())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_made_and_what_is_too_much_goes() {
    let lab = Lab::with(&["--apiservers", "1", "--nodes", "2"]);
    let (kubectl, client) = (lab.kubectl(), lab.client().await);
    let mut story = Story::begin(&client, "tier=frontend").await;
    kubectl.run_with("apply -f -", FRONTEND);
    let told = story.until_count("ready ", 3).await;
    assert_eq!(counts(&told), [3, 3, 0, 0], "{told:?}");
    kubectl.wait_until("get rs nginx-replicaset", |text| text.contains("nginx-replicaset   3         3         3"));

    kubectl.run("scale rs nginx-replicaset --replicas=5");
    let told = story.until_count("ready ", 2).await;
    assert_eq!(counts(&told), [2, 2, 0, 0], "{told:?}");

    // Deleted: its successor does not wait until it is gone.
    let first = kubectl.run("get pods -l tier=frontend -o jsonpath={.items[0].metadata.name}");
    kubectl.run(&format!("delete pod {first} --wait=false"));
    let told = story.until_count("ready ", 1).await;
    let at = |what: &str| told.iter().position(|line| line.starts_with(what));
    assert_eq!(at(&format!("ends {first}")), Some(0), "{told:?}");
    assert!(at("+") < at(&format!("-{first}")) || at("-").is_none(), "{told:?}");
    story.until_gone(&first).await;

    // Failed: it is replaced, and stays to be looked at.
    let failed = kubectl.run("get pods -l tier=frontend -o jsonpath={.items[0].metadata.name}");
    kubectl.run(&format!(r#"patch pod {failed} -p '{{"spec":{{"activeDeadlineSeconds":1}}}}'"#));
    story.until_count("ready ", 1).await;
    let status = format!("get pod {failed} -o jsonpath={{.status.phase}}/{{.status.reason}}");
    assert_eq!(kubectl.run(&status), "Failed/DeadlineExceeded");
    kubectl.wait_until("get rs nginx-replicaset -o jsonpath={.status.replicas}/{.status.readyReplicas}", |text| {
        text == "5/5"
    });

    // Whoever takes a label off has a pod of his own, and the set another one.
    let freed = kubectl.run("get pods -l tier=frontend --field-selector status.phase=Running -o name");
    let freed = freed.lines().next().unwrap().to_owned();
    kubectl.run(&format!("label {freed} tier-"));
    story.until_count("ready ", 1).await;
    assert_eq!(kubectl.run(&format!("get {freed} -o jsonpath={{.metadata.ownerReferences}}")), "");

    kubectl.run("scale rs nginx-replicaset --replicas=1");
    let told = story.until_count("ends ", 4).await;
    assert_eq!(counts(&told)[..2], [0, 0], "{told:?}");
    let told = kubectl.wait_until("describe rs nginx-replicaset", |text| text.contains("SuccessfulDelete"));
    assert!(told.contains("Created pod: nginx-replicaset-") && told.contains("replicaset-controller"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replication_controller_does_the_same() {
    let lab = Lab::with(&["--apiservers", "1", "--nodes", "1"]);
    let (kubectl, client) = (lab.kubectl(), lab.client().await);
    let mut story = Story::begin(&client, "app=old").await;
    kubectl.run_with("apply -f -", FRONTEND.split("---").nth(1).unwrap());
    let told = story.until_count("ready ", 2).await;
    assert_eq!(counts(&told), [2, 2, 0, 0], "{told:?}");
    kubectl.run("scale rc old --replicas=3");
    story.until_count("ready ", 1).await;
    kubectl.run("delete rc old");
    let told = story.until_count("-", 3).await;
    assert_eq!(counts(&told), [0, 0, 3, 3], "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_leaves_it_short_until_there_is_room() {
    let lab = Lab::with(&["--apiservers", "1", "--nodes", "1"]);
    let (kubectl, client) = (lab.kubectl(), lab.client().await);
    kubectl.run("create quota few --hard=pods=2,requests.cpu=1");
    kubectl.wait_until("get quota few -o jsonpath={.status.used.pods}", |text| text == "0");
    let mut story = Story::begin(&client, "tier=frontend").await;
    kubectl.run_with("apply -f -", FRONTEND.split("---").next().unwrap());
    story.until_count("ready ", 2).await;
    kubectl.wait_until("get quota few -o 'jsonpath={.status.used.pods} {.status.used.requests\\.cpu}'", |text| {
        text == "2 200m"
    });
    let conditions = "get rs nginx-replicaset -o jsonpath={.status.conditions[*].type}/{.status.conditions[*].reason}";
    kubectl.wait_until(conditions, |text| text == "ReplicaFailure/FailedCreate");
    let told = kubectl.wait_until("describe rs nginx-replicaset", |text| text.contains("FailedCreate"));
    assert!(told.contains("exceeded quota: few, requested: pods=1, used: pods=2, limited: pods=2"), "{told}");

    kubectl.run(r#"patch quota few -p '{"spec":{"hard":{"pods":"5"}}}'"#);
    let told = story.until_count("ready ", 1).await;
    assert_eq!(counts(&told), [1, 1, 0, 0], "{told:?}");
    kubectl.wait_until(conditions, |text| text == "/");
}
