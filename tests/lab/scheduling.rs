//! Where pods go, and why: the scheduler as kubectl and `kubelab explain` meet it.

use std::fs;

use serde_json::{Value, json};

use crate::harness::{Kubectl, Lab};

fn pod(name: &str, labels: Value, cpu: &str, more: Value) -> Value {
    let requests = json!({ "requests": { "cpu": cpu } });
    let mut spec = json!({ "containers": [{ "name": "main", "image": "nginx", "resources": requests }] });
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name, "labels": labels }, "spec": spec })
}

fn apply(kubectl: &Kubectl, objects: &[Value]) {
    kubectl.run_with("apply -f -", &json!({ "apiVersion": "v1", "kind": "List", "items": objects }).to_string());
}

fn node_of(kubectl: &Kubectl, pod: &str) -> String {
    kubectl.wait_until(&format!("get pod {pod} -o jsonpath={{.spec.nodeName}}"), |text| text.starts_with("node-"))
}

fn why_pending(kubectl: &Kubectl, pod: &str) -> String {
    let condition = "'jsonpath={.status.conditions[?(@.type==\"PodScheduled\")].message}'";
    kubectl.wait_until(&format!("get pod {pod} -o {condition}"), |text| text.contains("nodes are available"))
}

fn explained(lab: &Lab, pod: &str) -> Value {
    serde_json::from_str(&lab.kubelab(&["explain", &format!("pod/{pod}"), "-o", "json"])).unwrap()
}

fn terms(kind: &str, app: &str) -> Value {
    let term = json!({ "labelSelector": { "matchLabels": { "app": app } }, "topologyKey": "kubernetes.io/hostname" });
    json!({ "affinity": { kind: { "requiredDuringSchedulingIgnoredDuringExecution": [term] } } })
}

#[test]
fn pods_go_where_their_rules_let_them_and_explain_tells_why() {
    let lab = Lab::with(&["--apiservers", "1"]);
    let kubectl = lab.kubectl();
    for (node, zone) in [("node-1", "a"), ("node-2", "a"), ("node-3", "b")] {
        kubectl.run(&format!("label node {node} topology.kubernetes.io/zone={zone}"));
    }

    apply(
        &kubectl,
        &[pod("db", json!({ "app": "db" }), "100m", json!({ "nodeSelector": { "topology.kubernetes.io/zone": "b" } }))],
    );
    assert_eq!(node_of(&kubectl, "db"), "node-3");
    apply(
        &kubectl,
        &[
            pod("beside", json!({ "app": "x" }), "100m", terms("podAffinity", "db")),
            pod("away", json!({ "app": "y" }), "100m", terms("podAntiAffinity", "db")),
        ],
    );
    assert_eq!(node_of(&kubectl, "beside"), "node-3");
    assert_ne!(node_of(&kubectl, "away"), "node-3");

    // Four pods over two zones: two each, though one zone has twice the nodes.
    let spread = json!({ "topologySpreadConstraints": [{
        "maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": { "matchLabels": { "app": "even" } },
    }] });
    let template = pod("even", json!({ "app": "even" }), "100m", spread);
    let mut deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "even" },
        "spec": { "replicas": 4, "selector": { "matchLabels": { "app": "even" } } },
    });
    deployment["spec"]["template"] = json!({ "metadata": template["metadata"], "spec": template["spec"] });
    deployment["spec"]["template"]["metadata"].as_object_mut().unwrap().remove("name");
    apply(&kubectl, &[deployment]);
    kubectl.run("rollout status deployment/even --timeout=120s");
    let pods = kubectl.json("get pods -l app=even");
    let in_b = pods["items"].as_array().unwrap().iter().filter(|pod| pod["spec"]["nodeName"] == "node-3").count();
    assert_eq!(in_b, 2);

    // Gates hold a pod back until they are gone.
    apply(
        &kubectl,
        &[pod("gated", json!({}), "100m", json!({ "schedulingGates": [{ "name": "example.com/later" }] }))],
    );
    let shown = kubectl.wait_until("get pod gated", |text| text.contains("SchedulingGated"));
    assert!(!shown.contains("Running"), "{shown}");
    assert_eq!(explained(&lab, "gated")["gated"], "waiting for scheduling gates: [example.com/later]");
    kubectl.run(r#"patch pod gated --type=json -p '[{"op":"remove","path":"/spec/schedulingGates"}]'"#);
    node_of(&kubectl, "gated");

    // Nowhere: one node is cordoned, the others are refused by the pod itself.
    kubectl.run("cordon node-1");
    let away_from_all = json!({ "affinity": {
        "podAntiAffinity": terms("podAntiAffinity", "db")["affinity"]["podAntiAffinity"],
        "podAffinity": terms("podAffinity", "db")["affinity"]["podAffinity"],
    } });
    apply(&kubectl, &[pod("torn", json!({}), "100m", away_from_all)]);
    assert_eq!(
        why_pending(&kubectl, "torn"),
        "0/3 nodes are available: 1 node(s) didn't match pod affinity rules, 1 node(s) didn't match pod anti-affinity \
         rules, 1 node(s) were unschedulable. preemption: 0/3 nodes are available: 1 No preemption victims found for \
         incoming pod, 2 Preemption is not helpful for scheduling.",
    );
    let told = kubectl.wait_until("describe pod torn", |text| text.contains("FailedScheduling"));
    assert!(told.contains("default-scheduler  0/3 nodes are available: 1 node(s) didn't match pod affinity"), "{told}");
    let table = lab.kubelab(&["explain", "pod/torn"]);
    for part in
        ["waits; as things are now", "node-1", "NodeUnschedulable", "InterPodAffinity", "0/3 nodes are available"]
    {
        assert!(table.contains(part), "{part} in\n{table}");
    }

    // A pod that runs: where it would go now, with the scores.
    let running = explained(&lab, "beside");
    assert_eq!((&running["boundTo"], &running["nodes"][0]["node"]), (&json!("node-3"), &json!("node-3")));
    let scores = running["nodes"][0]["scores"].as_array().unwrap();
    assert!(scores.iter().any(|score| score["plugin"] == "NodeResourcesFit" && score["weight"] == 1), "{scores:?}");
    let total: i64 = scores.iter().map(|it| it["score"].as_i64().unwrap() * it["weight"].as_i64().unwrap()).sum();
    assert_eq!(running["nodes"][0]["total"], total);
    assert!(lab.kubelab(&["explain", "pod/beside"]).contains("runs on node-3"));

    let wrong = |what: &str| String::from_utf8(lab.try_kubelab(&["explain", what]).stderr).unwrap();
    assert!(wrong("pod/none").contains("pods \"none\" not found"));
    assert!(wrong("deployment/even").contains("only pods are scheduled"));

    // What was in the way goes: the pod that waits is tried again by itself.
    kubectl.run("delete pod torn --wait=false");
    apply(
        &kubectl,
        &[pod(
            "waits",
            json!({}),
            "100m",
            json!({ "nodeName": null, "nodeSelector": { "kubernetes.io/hostname": "node-1" } }),
        )],
    );
    assert!(why_pending(&kubectl, "waits").contains("1 node(s) were unschedulable"));
    kubectl.run("uncordon node-1");
    assert_eq!(node_of(&kubectl, "waits"), "node-1");
}

#[test]
fn important_pods_make_room_and_budgets_are_kept() {
    let lab = Lab::with(&["--apiservers", "1", "--nodes", "2"]);
    let kubectl = lab.kubectl();
    let cpu: i64 = kubectl.run("get node node-1 -o jsonpath={.status.allocatable.cpu}").trim().parse().unwrap();
    let most = format!("{}m", cpu * 1000 * 6 / 10);
    apply(
        &kubectl,
        &[
            json!({ "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": { "name": "high" }, "value": 1000 }),
            json!({
                "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": { "name": "polite" },
                "value": 1000, "preemptionPolicy": "Never",
            }),
            json!({
                "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": { "name": "guard" },
                "spec": { "minAvailable": 1, "selector": { "matchLabels": { "app": "guarded" } } },
            }),
            pod("guarded", json!({ "app": "guarded" }), &most, json!({})),
            pod("free", json!({ "app": "free" }), &most, json!({})),
        ],
    );
    kubectl.run("wait pod/guarded pod/free --for=condition=Ready --timeout=120s");
    let freed = node_of(&kubectl, "free");
    assert_ne!(freed, node_of(&kubectl, "guarded"));

    apply(&kubectl, &[pod("polite", json!({}), &most, json!({ "priorityClassName": "polite" }))]);
    let why = why_pending(&kubectl, "polite");
    assert!(why.ends_with("2 Insufficient cpu. preemption: not eligible due to preemptionPolicy=Never."), "{why}");
    kubectl.run("delete pod polite");

    apply(&kubectl, &[pod("vip", json!({}), &most, json!({ "priorityClassName": "high" }))]);
    assert_eq!(node_of(&kubectl, "vip"), freed, "the other one is protected");
    kubectl.run("wait pod/vip --for=condition=Ready --timeout=120s");
    assert!(kubectl.fail("get pod free", "").contains("not found"));
    kubectl.run("get pod guarded");
    let events = kubectl.wait_until("get events", |text| text.contains("Preempted"));
    let uid = kubectl.run("get pod vip -o jsonpath={.metadata.uid}");
    assert!(events.contains(&format!("Preempted by pod {uid} on node {freed}")), "{events}");
}

#[test]
fn a_configuration_changes_where_pods_go() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("scheduler.yaml");
    let write = |strategy: &str| {
        let text = format!(
            "apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
profiles:
- schedulerName: default-scheduler
- schedulerName: packer
  plugins:
    score:
      disabled: [{{name: '*'}}]
      enabled: [{{name: NodeResourcesFit}}]
  pluginConfig:
  - name: NodeResourcesFit
    args: {{scoringStrategy: {{type: {strategy}}}}}
"
        );
        fs::write(&file, text).unwrap();
        file.to_str().unwrap().to_owned()
    };
    let lab = Lab::with(&["--apiservers", "1", "--scheduler-config", &write("MostAllocated")]);
    let kubectl = lab.kubectl();
    let packed = ["one", "two", "three"];
    for name in packed {
        apply(&kubectl, &[pod(name, json!({}), "500m", json!({ "schedulerName": "packer" }))]);
        node_of(&kubectl, name);
    }
    let first = node_of(&kubectl, "one");
    assert!(packed.iter().all(|name| node_of(&kubectl, name) == first), "all on one node");
    let story = kubectl.wait_until("describe pod two", |text| text.contains("Scheduled"));
    assert!(story.contains("packer"), "its events are the profile's: {story}");
    let told = explained(&lab, "two");
    assert_eq!(told["scheduler"], "packer");
    assert_eq!(told["nodes"][0]["scores"].as_array().unwrap().len(), 1);
    apply(&kubectl, &[pod("spread", json!({}), "500m", json!({}))]);
    assert_ne!(node_of(&kubectl, "spread"), first, "the default profile prefers emptier nodes");

    lab.kubelab(&["down"]);
    let port = lab.port.to_string();
    let refused = lab.try_kubelab(&["up", "--detach", "--port", &port, "--scheduler-config", &write("Densest")]);
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(
        said.contains("profiles[1].pluginConfig[0].args.scoringStrategy.type: Unsupported value: \"Densest\""),
        "{said}"
    );
}
