//! DaemonSets: a pod on every node that they are meant for, and how these are updated.

use serde_json::json;

use crate::{
    harness::{Kubectl, Lab},
    story::Story,
};

const LOGS: &str = "\
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: logs}
spec:
  selector:
    matchLabels: {app: logs}
  template:
    metadata:
      labels: {app: logs}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{name: main, image: 'fluentd:1'}]
";

fn nodes_of(kubectl: &Kubectl) -> Vec<String> {
    let names = kubectl.run("get pods -l app=logs -o jsonpath={.items[*].spec.nodeName}");
    let mut names: Vec<String> = names.split_whitespace().map(str::to_owned).collect();
    names.sort();
    names
}

#[test]
fn every_node_has_its_pod() {
    let lab = Lab::with(&["--apiservers", "1", "--nodes", "2"]);
    let kubectl = lab.kubectl();
    // Nobody schedules here but DaemonSets.
    kubectl.run("cordon node-2");
    kubectl.run_with("apply -f -", LOGS);
    let status = kubectl.run("rollout status daemonset/logs --timeout=120s");
    assert!(status.ends_with("daemon set \"logs\" successfully rolled out\n"), "{status}");
    assert_eq!(nodes_of(&kubectl), ["node-1", "node-2"]);

    lab.kubelab(&["add", "node"]);
    kubectl.wait_until("get daemonset logs -o jsonpath={.status.numberReady}", |text| text == "3");
    assert_eq!(nodes_of(&kubectl), ["node-1", "node-2", "node-3"]);
    lab.kubelab(&["remove", "node", "node-3"]);
    kubectl.wait_until("get pods -l app=logs -o jsonpath={.items[*].spec.nodeName}", |text| !text.contains("node-3"));
    kubectl.wait_until("get daemonset logs -o jsonpath={.status.desiredNumberScheduled}", |text| text == "2");

    let pod = &kubectl.json("get pods -l app=logs --field-selector=spec.nodeName=node-2")["items"][0];
    let fields = json!([{"key": "metadata.name", "operator": "In", "values": ["node-2"]}]);
    let required = json!({"nodeSelectorTerms": [{"matchFields": fields}]});
    let affinity = json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}});
    assert_eq!(pod["spec"]["affinity"], affinity);
    let tolerated: Vec<_> =
        pod["spec"]["tolerations"].as_array().unwrap().iter().map(|one| one["key"].as_str().unwrap()).collect();
    let expected = ["not-ready", "unreachable", "disk-pressure", "memory-pressure", "pid-pressure", "unschedulable"];
    assert_eq!(tolerated, expected.map(|key| format!("node.kubernetes.io/{key}")));

    // A pod that fails is replaced; one that is deleted too.
    let name = pod["metadata"]["name"].as_str().unwrap().to_owned();
    kubectl.run(&format!("delete pod {name}"));
    kubectl.wait_until("get daemonset logs -o jsonpath={.status.numberReady}", |text| text == "2");
    let told = kubectl.wait_until("describe daemonset logs", |text| text.contains("Created pod: logs-"));
    assert!(told.contains("daemonset-controller") && told.contains("SuccessfulCreate"), "{told}");

    kubectl.run("taint node node-2 gpu=yes:NoExecute");
    kubectl.wait_until("get daemonset logs -o jsonpath={.status.desiredNumberScheduled}", |text| text == "1");
    kubectl.wait_until("get pods -l app=logs -o jsonpath={.items[*].spec.nodeName}", |text| text == "node-1");
    kubectl.run("taint node node-2 gpu-");
    kubectl.wait_until("get daemonset logs -o jsonpath={.status.numberReady}", |text| text == "2");

    let select = r#"{"spec":{"template":{"spec":{"nodeSelector":{"logs":"yes"}}}}}"#;
    kubectl.run(&format!("patch daemonset logs -p '{select}'"));
    kubectl.wait_until("get pods -l app=logs -o name", |text| text.contains("No resources found") || text.is_empty());
    kubectl.run("label node node-2 logs=yes");
    kubectl.run("rollout status daemonset/logs --timeout=120s");
    kubectl.wait_until("get pods -l app=logs -o jsonpath={.items[*].spec.nodeName}", |text| text == "node-2");
    let table = kubectl.wait_until("get daemonset logs", |text| text.contains("logs   1         1         1       1 "));
    assert!(table.contains("logs=yes"), "{table}");
    kubectl.run("delete daemonset logs");
    kubectl.wait_until("get pods,controllerrevisions", |text| text.contains("No resources found"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_node_gets_its_pod_and_takes_it_along() {
    let lab = Lab::with(&["--apiservers", "1", "--nodes", "1"]);
    let (kubectl, client) = (lab.kubectl(), lab.client().await);
    let mut story = Story::begin(&client, "app=logs").await;
    kubectl.run_with("apply -f -", LOGS);
    story.until_count("ready ", 1).await;
    lab.kubelab(&["add", "node"]);
    let told = story.until_count("ready ", 1).await;
    assert!(told.len() == 2 && told[0].starts_with('+'), "{told:?}");
    let pod = told[1].trim_start_matches("ready ").to_owned();
    assert_eq!(kubectl.run(&format!("get pod {pod} -o jsonpath={{.spec.nodeName}}")), "node-2");
    lab.kubelab(&["remove", "node", "node-2"]);
    let told = story.until(&format!("-{pod}")).await;
    assert!(told.iter().all(|line| line.ends_with(&pod)), "no other is touched: {told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn updates_replace_pods_within_limits_and_are_undone() {
    let lab = Lab::with(&["--apiservers", "1", "--nodes", "3"]);
    let (kubectl, client) = (lab.kubectl(), lab.client().await);
    kubectl.run_with("apply -f -", LOGS);
    kubectl.run("rollout status daemonset/logs --timeout=120s");
    let mut story = Story::begin(&client, "app=logs").await;

    // One may be missing: an old one ends, a new one is ready, and so on.
    kubectl.run("annotate daemonset logs kubernetes.io/change-cause=two");
    kubectl.run("set image daemonset/logs main=fluentd:2");
    let told = of_an_update(&mut story, 3).await;
    assert_eq!(told, ["ends", "+", "ready", "ends", "+", "ready", "ends", "+", "ready"]);
    kubectl.run("rollout status daemonset/logs --timeout=120s");
    let expected = "daemonset.apps/logs \nREVISION  CHANGE-CAUSE\n1         <none>\n2         two";
    assert_eq!(kubectl.run("rollout history daemonset/logs").trim_end(), expected);
    let image = "-o jsonpath={.spec.template.spec.containers[0].image}";
    assert_eq!(kubectl.run(&format!("rollout history daemonset/logs --revision=1 {image}")), "fluentd:1");

    assert_eq!(kubectl.run("rollout undo daemonset/logs --to-revision=1"), "daemonset.apps/logs rolled back\n");
    of_an_update(&mut story, 3).await;
    assert_eq!(kubectl.run(&format!("get daemonset logs {image}")), "fluentd:1");
    let expected = "daemonset.apps/logs \nREVISION  CHANGE-CAUSE\n2         two\n3         <none>";
    assert_eq!(kubectl.run("rollout history daemonset/logs").trim_end(), expected);

    // With surge: a new one is ready before its elder ends.
    let surge = r#"{"spec":{"updateStrategy":{"rollingUpdate":{"maxSurge":1,"maxUnavailable":0}}}}"#;
    kubectl.run(&format!("patch daemonset logs -p '{surge}'"));
    kubectl.run("set image daemonset/logs main=fluentd:3");
    let told = of_an_update(&mut story, 3).await;
    let (mut ready, mut lowest) = (3, 3);
    for what in &told {
        ready += i32::from(what == "ready") - i32::from(what == "ends");
        lowest = lowest.min(ready);
    }
    assert_eq!((told.iter().filter(|what| *what == "ends").count(), lowest), (3, 3), "{told:?}");
    let status = kubectl.run("rollout status daemonset/logs --timeout=120s");
    assert!(status.ends_with("daemon set \"logs\" successfully rolled out\n"), "{status}");

    // By hand.
    kubectl.run(r#"patch daemonset logs -p '{"spec":{"updateStrategy":{"type":"OnDelete","rollingUpdate":null}}}'"#);
    kubectl.run("set image daemonset/logs main=fluentd:4");
    kubectl.wait_until("get daemonset logs -o jsonpath={.status.updatedNumberScheduled}", str::is_empty);
    let pod = kubectl.run("get pods -l app=logs -o jsonpath={.items[0].metadata.name}");
    kubectl.run(&format!("delete pod {pod}"));
    kubectl.wait_until("get daemonset logs -o jsonpath={.status.updatedNumberScheduled}", |text| text == "1");
}

/// What happens, without names, until so many pods became ready and as many were told to end.
async fn of_an_update(story: &mut Story, pods: usize) -> Vec<String> {
    let what = |line: &str| if line.starts_with('+') { "+" } else { line.split(' ').next().unwrap() }.to_owned();
    let mut told = Vec::new();
    let count = |told: &[String], kind: &str| told.iter().filter(|line| *line == kind).count();
    while count(&told, "ready") < pods || count(&told, "ends") < pods {
        let line = story.next().await;
        if !line.starts_with('-') {
            told.push(what(&line));
        }
    }
    told
}
