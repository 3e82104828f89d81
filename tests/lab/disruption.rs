//! Disruption budgets and those who respect them, and autoscalers, which need metrics.

use crate::harness::Lab;

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
