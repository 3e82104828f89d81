//! The metrics API: what containers use, as `kubectl top` shows it and autoscalers act on it.

use serde_json::{Value, json};

use crate::harness::{Kubectl, Lab};

fn lab() -> Lab {
    Lab::with(&["--apiservers", "1", "--nodes", "2", "--add-ons", "metrics"])
}

fn available(kubectl: &Kubectl) {
    kubectl.wait_until("get apiservice v1beta1.metrics.k8s.io", |text| text.contains("True"));
}

/// A pod whose containers use this.
fn pod(name: &str, containers: &[(&str, &str, &str)]) -> String {
    let annotations: serde_json::Map<String, Value> = containers
        .iter()
        .flat_map(|(container, cpu, memory)| {
            [
                (format!("kubelab.dev/{container}.cpu-usage"), json!(cpu)),
                (format!("kubelab.dev/{container}.memory-usage"), json!(memory)),
            ]
        })
        .collect();
    let containers: Vec<Value> = containers.iter().map(|(name, ..)| json!({"name": name, "image": "nginx"})).collect();
    let meta = json!({"name": name, "labels": {"app": name}, "annotations": annotations});
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": {"containers": containers}}).to_string()
}

/// The words of each line, but for the first one.
fn table(text: &str) -> Vec<Vec<&str>> {
    text.lines().skip(1).map(|line| line.split_whitespace().collect()).collect()
}

#[test]
fn top_shows_what_is_used() {
    let lab = lab();
    let kubectl = lab.kubectl();
    available(&kubectl);
    kubectl.run_with("create -f -", &pod("web", &[("a", "250m", "64Mi"), ("b", "50m", "16Mi")]));
    kubectl.run_with("create -f -", &pod("db", &[("a", "20m", "512Mi")]));
    kubectl.run("wait pod/web pod/db --for=condition=Ready --timeout=120s");
    for version in crate::harness::KUBECTLS {
        let kubectl = lab.kubectl_of(version);
        let pods = kubectl.wait_until("top pods --sort-by=cpu", |text| text.contains("web") && text.contains("db"));
        assert_eq!(table(&pods), [["web", "300m", "80Mi"], ["db", "20m", "512Mi"]], "{pods}");
        let by_memory = kubectl.run("top pods --sort-by=memory");
        assert_eq!(table(&by_memory)[0][0], "db", "{by_memory}");
        let containers = kubectl.run("top pods web --containers");
        assert_eq!(table(&containers), [["web", "a", "250m", "64Mi"], ["web", "b", "50m", "16Mi"]], "{containers}");
        let chosen = kubectl.run("top pods -l app=db");
        assert_eq!(table(&chosen), [["db", "20m", "512Mi"]], "{chosen}");
        let all = kubectl.run("top pods -A");
        assert!(all.contains("kube-system"), "{all}");
        let nodes = kubectl.run("top nodes");
        let nodes = table(&nodes);
        let millis = |line: &Vec<&str>| line[1].trim_end_matches('m').parse::<u32>().unwrap();
        assert_eq!(nodes.len(), 2, "{nodes:?}");
        assert!(nodes.iter().map(millis).sum::<u32>() >= 320, "what pods use is used on nodes: {nodes:?}");
        assert!(nodes.iter().all(|line| line[2].ends_with('%') && line[4].ends_with('%')), "{nodes:?}");
    }

    // Kubelets tell it as well.
    let node = kubectl.run("get pod web -o jsonpath={.spec.nodeName}");
    let page = |page: &str| kubectl.run(&format!("get --raw /api/v1/nodes/{node}/proxy/{page}"));
    let summary: Value = serde_json::from_str(&page("stats/summary")).unwrap();
    assert_eq!(summary["node"]["nodeName"], node.as_str());
    let found = summary["pods"].as_array().unwrap().iter().find(|pod| pod["podRef"]["name"] == "web").unwrap();
    assert_eq!(found["cpu"]["usageNanoCores"], 300_000_000);
    let series = r#"container_memory_working_set_bytes{container="b",namespace="default",pod="web"} 16777216 "#;
    let resource = page("metrics/resource");
    assert!(resource.lines().any(|line| line.starts_with(series)), "{resource}");
    assert!(page("metrics/cadvisor").contains("container_cpu_usage_seconds_total{container=\"a\""));

    // It does not listen to whoever comes along.
    kubectl.run("create serviceaccount nobody");
    let token = kubectl.run("create token nobody");
    let refused = lab.kubectl_with_token("1.33", &token).says("top pods");
    assert!(refused.contains("pods.metrics.k8s.io is forbidden"), "{refused}");
}

#[test]
fn an_autoscaler_follows_the_load() {
    let lab = lab();
    let kubectl = lab.kubectl();
    available(&kubectl);
    kubectl.run("create deployment web --image=nginx");
    let annotations = json!({"kubelab.dev/cpu-usage": "200m"});
    let patch = json!({"spec": {"template": {"metadata": {"annotations": annotations}}}});
    kubectl.run(&format!("patch deployment web -p {patch}"));
    kubectl.run("set resources deployment web --requests=cpu=100m");
    kubectl.run("rollout status deployment/web --timeout=120s");
    kubectl.run("autoscale deployment web --min=1 --max=3 --cpu-percent=80");
    // Twice what it requests, with eighty percent wanted: two and a half times as many.
    kubectl.wait_until("get deployment web -o jsonpath={.status.readyReplicas}", |text| text == "3");
    let story = kubectl.wait_until("describe hpa web", |text| text.contains("SuccessfulRescale"));
    let why = "New size: 3; reason: cpu resource utilization (percentage of request) above target";
    assert!(story.contains(why), "{story}");
    kubectl.wait_until("get hpa web", |text| text.contains("200%/80%"));
    // The load goes, the replicas stay for five minutes.
    kubectl.run("annotate pods -l app=web kubelab.dev/cpu-usage=10m --overwrite");
    kubectl.wait_until("describe hpa web", |text| text.contains("ScaleDownStabilized"));
    assert_eq!(kubectl.run("get deployment web -o jsonpath={.spec.replicas}"), "3");
}
