//! StatefulSets: the order in which pods come, go and are updated, their names, their claims, their history.

use serde_json::{Value, json};

use crate::{
    harness::{KUBECTLS, Kubectl, Lab},
    manifests::{claim_template, stateful_set},
    story::Story,
};

fn set(name: &str, spec: Value) -> String {
    stateful_set(name, "nginx:1", spec)
}

fn small_lab() -> Lab {
    Lab::with(&["--apiservers", "1", "--nodes", "2"])
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_come_in_order_and_go_in_reverse() {
    let lab = small_lab();
    let (kubectl, client) = (lab.kubectl(), lab.client().await);
    let mut story = Story::begin(&client, "app=mysql").await;
    kubectl.run_with("apply -f -", &set("mysql", json!({"replicas": 3})));
    let begins = story.until("ready mysql-2").await;
    assert_eq!(begins, ["+mysql-0", "ready mysql-0", "+mysql-1", "ready mysql-1", "+mysql-2", "ready mysql-2"]);
    let status = kubectl.run("rollout status statefulset/mysql --timeout=120s");
    assert!(status.ends_with("partitioned roll out complete: 3 new pods have been updated...\n"), "{status}");

    let pod = kubectl.json("get pod mysql-1");
    let revision = kubectl.run("get statefulset mysql -o jsonpath={.status.updateRevision}");
    let labels = json!({
        "app": "mysql", "apps.kubernetes.io/pod-index": "1", "controller-revision-hash": revision,
        "statefulset.kubernetes.io/pod-name": "mysql-1",
    });
    assert_eq!(pod["metadata"]["labels"], labels);
    assert_eq!((&pod["spec"]["hostname"], &pod["spec"]["subdomain"]), (&json!("mysql-1"), &json!("mysql")));
    kubectl.run("wait statefulset/mysql --for=jsonpath={.status.availableReplicas}=3 --timeout=120s");
    let status = &kubectl.json("get statefulset mysql")["status"];
    let expected = json!({
        "observedGeneration": 1, "replicas": 3, "readyReplicas": 3, "availableReplicas": 3, "currentReplicas": 3,
        "updatedReplicas": 3, "currentRevision": revision, "updateRevision": revision, "collisionCount": 0,
    });
    assert_eq!(*status, expected);
    let told = kubectl.wait_until("describe statefulset mysql", |text| text.contains("Pod mysql-2"));
    assert!(told.contains("SuccessfulCreate  ") && told.contains("statefulset-controller"), "{told}");
    assert!(told.contains("create Pod mysql-0 in StatefulSet mysql successful"), "{told}");

    kubectl.run("delete pod mysql-1 --wait=false");
    let replaced = story.until("ready mysql-1").await;
    assert_eq!(replaced, ["ends mysql-1", "-mysql-1", "+mysql-1", "ready mysql-1"], "the same name again");

    kubectl.run("scale statefulset mysql --replicas=1");
    assert_eq!(story.until("-mysql-1").await, ["ends mysql-2", "-mysql-2", "ends mysql-1", "-mysql-1"]);
    kubectl.run("delete statefulset mysql");
    story.until("-mysql-0").await;
    kubectl.wait_until("get controllerrevisions", |text| text.contains("No resources found"));
}

#[tokio::test(flavor = "multi_thread")]
async fn updates_go_downwards_to_the_partition_and_are_undone() {
    let lab = small_lab();
    let (kubectl, client) = (lab.kubectl(), lab.client().await);
    kubectl.run_with("apply -f -", &set("web", json!({"replicas": 3})));
    kubectl.run("rollout status statefulset/web --timeout=120s");
    let first = kubectl.run("get statefulset web -o jsonpath={.status.currentRevision}");
    let mut story = Story::begin(&client, "app=web").await;
    let partition = |at: i32| {
        let patch = json!({"spec": {"updateStrategy": {"rollingUpdate": {"partition": at}}}});
        kubectl.run(&format!("patch statefulset web -p '{patch}'"));
    };
    let one = |name: &str| [format!("ends {name}"), format!("-{name}"), format!("+{name}"), format!("ready {name}")];

    partition(2);
    kubectl.run("set image statefulset/web main=nginx:2");
    assert_eq!(story.until("ready web-2").await, one("web-2"));
    let status = kubectl.run("rollout status statefulset/web --timeout=120s");
    assert!(status.ends_with("partitioned roll out complete: 1 new pods have been updated...\n"), "{status}");
    let second = kubectl.run("get statefulset web -o jsonpath={.status.updateRevision}");
    let counts =
        "get statefulset web -o jsonpath={.status.currentRevision}/{.status.currentReplicas}/{.status.updatedReplicas}";
    kubectl.wait_until(counts, |text| text == format!("{first}/2/1"));
    assert_ne!(first, second);

    // A pod below the partition comes back as it was, one above it as it is to be.
    kubectl.run("delete pod web-0 --wait=false");
    assert_eq!(story.until("ready web-0").await, one("web-0"));
    let revision = "-o jsonpath={.metadata.labels.controller-revision-hash}";
    assert_eq!(kubectl.run(&format!("get pod web-0 {revision}")), first);
    assert_eq!(kubectl.run(&format!("get pod web-2 {revision}")), second);

    partition(0);
    assert_eq!(story.until("ready web-0").await, [one("web-1"), one("web-0")].concat());
    kubectl.wait_until(counts, |text| text == format!("{second}/3/3"));
    let history = kubectl.run("rollout history statefulset/web");
    assert_eq!(history.trim_end(), "statefulset.apps/web \nREVISION  CHANGE-CAUSE\n1         <none>\n2         <none>");
    let image = "-o jsonpath={.spec.template.spec.containers[0].image}";
    assert_eq!(kubectl.run(&format!("rollout history statefulset/web --revision=1 {image}")), "nginx:1");

    assert_eq!(kubectl.run("rollout undo statefulset/web"), "statefulset.apps/web rolled back\n");
    assert_eq!(story.until("ready web-0").await, [one("web-2"), one("web-1"), one("web-0")].concat());
    kubectl.wait_until(counts, |text| text == format!("{first}/3/3"));
    let history = kubectl.run("rollout history statefulset/web");
    assert_eq!(history.trim_end(), "statefulset.apps/web \nREVISION  CHANGE-CAUSE\n2         <none>\n3         <none>");

    let patch = r#"{"spec":{"updateStrategy":{"type":"OnDelete","rollingUpdate":null}}}"#;
    kubectl.run(&format!("patch statefulset web -p '{patch}'"));
    kubectl.run("set image statefulset/web main=nginx:3");
    let refused = kubectl.fail("rollout status statefulset/web", "");
    assert_eq!(refused, "error: rollout status is only available for RollingUpdate strategy type\n");
    kubectl.wait_until("get controllerrevisions -o jsonpath={.items[*].revision}", |text| text.contains('4'));
    kubectl.run("delete pod web-1 --wait=false");
    assert_eq!(story.until("ready web-1").await, one("web-1"), "and no other");
    let third = kubectl.run("get statefulset web -o jsonpath={.status.updateRevision}");
    assert_eq!(kubectl.run(&format!("get pod web-1 {revision}")), third);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parallel_set_waits_for_nobody() {
    let lab = small_lab();
    let (kubectl, client) = (lab.kubectl(), lab.client().await);
    let mut story = Story::begin(&client, "app in (slow, quick)").await;
    let broken = |name: &str, policy: &str| {
        stateful_set(name, "nginx:missing", json!({"replicas": 3, "podManagementPolicy": policy}))
    };
    kubectl.run_with("apply -f -", &broken("slow", "OrderedReady"));
    story.until("+slow-0").await;
    kubectl.run_with("apply -f -", &broken("quick", "Parallel"));
    let mut seen = story.until_all(&["+quick-0", "+quick-1", "+quick-2"]).await;
    seen.sort();
    assert_eq!(seen, ["+quick-0", "+quick-1", "+quick-2"], "the other set waits for its first");

    // What was broken is replaced at once when the fault is mended, but only in a parallel set. kubernetes/kubernetes#67250
    for name in ["slow", "quick"] {
        kubectl.run(&format!("set image statefulset/{name} main=nginx:1"));
    }
    let seen = story.until_all(&["ready quick-0", "ready quick-1", "ready quick-2"]).await;
    assert!(seen.iter().all(|line| !line.contains("slow")), "{seen:?}");
    kubectl.run("delete pod slow-0 --wait=false");
    let seen = story.until("ready slow-2").await;
    let expected = ["ends", "-", "+", "ready"]
        .map(|what| if what.len() > 1 { format!("{what} slow-0") } else { format!("{what}slow-0") });
    assert_eq!(seen[..4], expected, "{seen:?}");
}

#[test]
fn each_pod_has_claims_of_its_own() {
    let lab = small_lab();
    for version in KUBECTLS {
        let kubectl = lab.kubectl_of(version).within(&format!("v{}", version.replace('.', "-")));
        claims_follow_the_policy(&kubectl);
    }
}

fn claims_follow_the_policy(kubectl: &Kubectl) {
    let spec = json!({
        "replicas": 2,
        "podManagementPolicy": "Parallel",
        "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete", "whenScaled": "Delete"},
        "volumeClaimTemplates": [claim_template("www")],
    });
    kubectl.run_with("apply -f -", &set("web", spec));
    kubectl.wait_until("get pvc -o jsonpath={.items[*].metadata.name}", |text| text == "www-web-0 www-web-1");
    let claim = kubectl.json("get pvc www-web-1");
    assert_eq!(claim["metadata"]["labels"], json!({"app": "web"}));
    let owner = |claim: &str| {
        let path = "{.metadata.ownerReferences[0].kind}/{.metadata.ownerReferences[0].name}";
        format!("get pvc {claim} -o jsonpath={path}")
    };
    assert_eq!(kubectl.run(&owner("www-web-1")), "StatefulSet/web");
    let volumes = kubectl.run("get pod web-1 -o jsonpath={.spec.volumes[0].persistentVolumeClaim.claimName}");
    assert_eq!(volumes, "www-web-1");

    kubectl.run("scale statefulset web --replicas=1");
    kubectl.wait_until("get pvc -o name", |text| text == "persistentvolumeclaim/www-web-0\n");
    let policy = r#"{"spec":{"persistentVolumeClaimRetentionPolicy":{"whenDeleted":"Retain","whenScaled":"Delete"}}}"#;
    kubectl.run(&format!("patch statefulset web -p '{policy}'"));
    kubectl.wait_until(&owner("www-web-0"), |text| text == "/");
    let policy = r#"{"spec":{"persistentVolumeClaimRetentionPolicy":{"whenDeleted":"Delete","whenScaled":"Retain"}}}"#;
    kubectl.run(&format!("patch statefulset web -p '{policy}'"));
    kubectl.wait_until(&owner("www-web-0"), |text| text == "StatefulSet/web");
    kubectl.run("delete statefulset web");
    kubectl.wait_until("get pvc,pods", |text| text.contains("No resources found"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_comes_back_to_its_claim() {
    let lab = small_lab();
    let (kubectl, client) = (lab.kubectl(), lab.client().await);
    let spec = json!({"replicas": 2, "volumeClaimTemplates": [claim_template("www")]});
    let mut story = Story::begin(&client, "app=web").await;
    kubectl.run_with("apply -f -", &set("web", spec));
    story.until("ready web-1").await;
    let claims = || kubectl.run("get pvc -o jsonpath={.items[*].metadata.uid}/{.items[*].spec.volumeName}");
    let before = claims();
    kubectl.run("delete pod web-1 --wait=false");
    story.until("ready web-1").await;
    kubectl.run("scale statefulset web --replicas=0");
    assert_eq!(story.until("-web-0").await, ["ends web-1", "-web-1", "ends web-0", "-web-0"]);
    kubectl.run("scale statefulset web --replicas=2");
    assert_eq!(story.until("ready web-1").await, ["+web-0", "ready web-0", "+web-1", "ready web-1"]);
    assert_eq!(claims(), before, "the same claims, bound to the same volumes");
}
