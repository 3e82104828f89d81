//! Disruption budgets and those who respect them, and autoscalers, which need metrics.

use futures::StreamExt;
use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    Api,
    runtime::{WatchStreamExt, watcher},
};
use serde_json::json;

use crate::{
    harness::{Lab, PATIENCE},
    story::Story,
};

/// What is printed in columns, with one space between.
fn squeezed(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn a_drain_waits_for_the_budget() {
    let lab = Lab::with(&["--apiservers", "1", "--nodes", "2"]);
    let kubectl = lab.kubectl();
    kubectl.run("create deployment web --image=nginx --replicas=2");
    kubectl.run("create poddisruptionbudget web --selector=app=web --min-available=2");
    kubectl.run("rollout status deployment/web --timeout=120s");
    let counts = "get pdb web -o jsonpath={.status.expectedPods},{.status.desiredHealthy},{.status.currentHealthy},\
                  {.status.disruptionsAllowed},{.status.conditions[0].reason}";
    kubectl.wait_until(counts, |text| text == "2,2,2,0,InsufficientPods");
    let node = kubectl.run("get pods -l app=web -o jsonpath={.items[0].spec.nodeName}");
    let held = kubectl.says(&format!("drain {node} --timeout=3s"));
    assert!(held.contains("Cannot evict pod as it would violate the pod's disruption budget."), "{held}");
    assert_eq!(kubectl.run("get pods -l app=web -o name").lines().count(), 2);

    kubectl.run("scale deployment web --replicas=3");
    kubectl.wait_until(counts, |text| text == "3,2,3,1,SufficientPods");
    assert!(squeezed(&kubectl.run("get pdb web")).contains("web 2 N/A 1"));
    let drained = kubectl.run(&format!("drain {node} --timeout=120s"));
    assert!(drained.ends_with(&format!("node/{node} drained\n")), "{drained}");
    kubectl.wait_until(counts, |text| text == "3,2,3,1,SufficientPods");
    let nodes = kubectl.run("get pods -l app=web -o jsonpath={.items[*].spec.nodeName}");
    assert!(!nodes.contains(&node), "{nodes}");

    // A share is of what the Deployment wants, whatever there is.
    kubectl.run("delete pdb web");
    kubectl.run("create poddisruptionbudget web --selector=app=web --max-unavailable=34%");
    kubectl.wait_until(counts, |text| text == "3,1,3,2,SufficientPods");
    // Nobody says how many there should be of a bare pod.
    kubectl.run("run bare --image=nginx --labels=app=web");
    kubectl.wait_until("describe pdb web", |text| text.contains("UnmanagedPods"));
}

#[test]
fn an_autoscaler_keeps_its_bounds_and_tells_that_it_has_no_metrics() {
    let lab = Lab::with(&["--apiservers", "1", "--nodes", "1"]);
    let kubectl = lab.kubectl();
    kubectl.run("create deployment web --image=nginx");
    kubectl.run("set resources deployment web --requests=cpu=100m");
    kubectl.run("autoscale deployment web --min=2 --max=4 --cpu-percent=80");
    kubectl.wait_until("get deployment web -o jsonpath={.status.readyReplicas}", |text| text == "2");
    let story = squeezed(&kubectl.wait_until("describe hpa web", |text| text.contains("ScalingActive")));
    for part in [
        "New size: 2; reason: Current number of replicas below Spec.MinReplicas",
        "AbleToScale True SucceededGetScale the HPA controller was able to get the target's current scale",
        "ScalingActive False FailedGetResourceMetric the HPA was unable to compute the replica count: failed to get \
         cpu utilization: unable to get metrics for resource cpu: unable to fetch metrics from resource metrics API: the \
         server could not find the requested resource (get pods.metrics.k8s.io)",
    ] {
        assert!(story.contains(part), "{part} in {story}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_autoscaler_follows_the_load() {
    use std::sync::atomic::Ordering;

    let lab = Lab::with(&["--apiservers", "1", "--nodes", "1"]);
    let metrics = crate::metrics_server::MetricsServer::start(lab.client().await).await;
    metrics.millis.store(200, Ordering::Relaxed);
    let kubectl = lab.kubectl();
    tokio::task::block_in_place(|| {
        kubectl.wait_until("get apiservice v1beta1.metrics.k8s.io", |text| text.contains("True"));
        kubectl.run("create deployment web --image=nginx");
        kubectl.run("set resources deployment web --requests=cpu=100m");
        kubectl.run("rollout status deployment/web --timeout=120s");
        kubectl.run("autoscale deployment web --min=1 --max=3 --cpu-percent=80");
        // Twice what it requests, with eighty percent wanted: two and a half times as many.
        kubectl.wait_until("get deployment web -o jsonpath={.status.readyReplicas}", |text| text == "3");
        let story = kubectl.wait_until("describe hpa web", |text| text.contains("SuccessfulRescale"));
        assert!(
            story.contains("New size: 3; reason: cpu resource utilization (percentage of request) above target"),
            "{story}"
        );
        kubectl.wait_until("describe hpa web", |text| text.contains("TooManyReplicas"));
        assert!(kubectl.run("get hpa web").contains("200%/80%"));

        // The load goes, the replicas stay for five minutes.
        metrics.millis.store(10, Ordering::Relaxed);
        kubectl.wait_until("describe hpa web", |text| text.contains("ScaleDownStabilized"));
        assert_eq!(kubectl.run("get deployment web -o jsonpath={.spec.replicas}"), "3");
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_leaves_enough_pods_at_every_moment() {
    let lab = Lab::with(&["--apiservers", "1", "--nodes", "3"]);
    let (kubectl, client) = (lab.kubectl(), lab.client().await);
    kubectl.run("create deployment web --image=nginx --replicas=4");
    kubectl.run("create poddisruptionbudget web --selector=app=web --min-available=3");
    kubectl.run("rollout status deployment/web --timeout=120s");
    kubectl.wait_until("get pdb web -o jsonpath={.status.disruptionsAllowed}", |text| text == "1");
    let mut story = Story::begin(&client, "app=web").await;
    let nodes = kubectl.run("get pods -l app=web -o jsonpath={.items[*].spec.nodeName}");
    let most = |node: &str| nodes.split(' ').filter(|other| *other == node).count();
    let node = ["node-1", "node-2", "node-3"].into_iter().max_by_key(|node| most(node)).unwrap();
    assert!(most(node) >= 2, "{nodes}");
    kubectl.run(&format!("drain {node} --timeout=120s"));
    let (mut ready, mut least) = (4, 4);
    for line in story.until_count("ready ", most(node)).await {
        ready += i32::from(line.starts_with("ready ")) - i32::from(line.starts_with("ends "));
        least = least.min(ready);
    }
    assert_eq!((ready, least), (4, 3), "they went one after the other");
}

#[test]
fn a_pod_with_two_budgets_is_not_evicted() {
    let lab = Lab::with(&["--apiservers", "1", "--nodes", "1"]);
    let kubectl = lab.kubectl();
    for name in ["one", "two"] {
        kubectl.run(&format!("create poddisruptionbudget {name} --selector=app=web --min-available=0"));
    }
    kubectl.run("run web --image=nginx --labels=app=web");
    kubectl.run("wait pod/web --for=condition=Ready --timeout=120s");
    let told = kubectl.wait_until("describe pod web", |text| text.contains("MultiplePodDisruptionBudgets"));
    let message = r#"Pod "default"/"web" matches multiple PodDisruptionBudgets.  Chose "one" arbitrarily."#;
    assert!(told.contains(message) && told.contains("controllermanager"), "{told}");
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "web"}}).to_string();
    let refused = kubectl.fail("create --raw /api/v1/namespaces/default/pods/web/eviction -f -", &eviction);
    let why = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
    assert_eq!(refused.trim(), format!("Error from server: {why}"));
    kubectl.run("delete pdb two");
    kubectl.run_with("create --raw /api/v1/namespaces/default/pods/web/eviction -f -", &eviction);
    kubectl.run("wait --for=delete pod/web --timeout=120s");
}

/// Up with the load and down again, where nobody asks to wait.
#[tokio::test(flavor = "multi_thread")]
async fn replicas_follow_the_load_in_both_directions() {
    use std::sync::atomic::Ordering;

    let lab = Lab::with(&["--apiservers", "1", "--nodes", "1"]);
    let client = lab.client().await;
    let metrics = crate::metrics_server::MetricsServer::start(client.clone()).await;
    metrics.millis.store(200, Ordering::Relaxed);
    let kubectl = lab.kubectl();
    kubectl.wait_until("get apiservice v1beta1.metrics.k8s.io", |text| text.contains("True"));
    kubectl.run("create deployment web --image=nginx");
    kubectl.run("set resources deployment web --requests=cpu=100m");
    kubectl.run("rollout status deployment/web --timeout=120s");

    let deployments: Api<Deployment> = Api::default_namespaced(client);
    let mut changes = std::pin::pin!(watcher(deployments, watcher::Config::default()).applied_objects());
    let mut seen: Vec<i32> = Vec::new();
    let cpu = json!({"type": "Resource", "resource": {"name": "cpu",
        "target": {"type": "Utilization", "averageUtilization": 80}}});
    let down = json!({"scaleDown": {"stabilizationWindowSeconds": 0}});
    let scaler = json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "web"},
        "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "minReplicas": 1, "maxReplicas": 3, "metrics": [cpu], "behavior": down},
    });
    kubectl.run_with("apply -f -", &scaler.to_string());
    let follow = async {
        while seen != [1, 3, 1] {
            let Some(Ok(deployment)) = changes.next().await else { continue };
            let wanted = deployment.spec.replicas.unwrap();
            if seen.last() != Some(&wanted) {
                seen.push(wanted);
            }
            if deployment.status.and_then(|status| status.ready_replicas) == Some(3) {
                metrics.millis.store(10, Ordering::Relaxed);
            }
        }
    };
    let ended = tokio::time::timeout(PATIENCE, follow).await;
    assert!(ended.is_ok(), "waited too long; the replicas were {seen:?}");
    let told = kubectl.wait_until("describe hpa web", |text| text.contains("New size: 1"));
    assert!(told.contains("New size: 1; reason: All metrics below target"), "{told}");
}
