//! What runs pods, and what counts and finds them.

use crate::harness::Kubectl;

pub const LOOPS: &[&str] = &[
    "deployment-controller",
    "replicaset-controller",
    "replicationcontroller-controller",
    "daemonset-controller",
    "statefulset-controller",
    "job-controller",
    "cronjob-controller",
    "ttl-after-finished-controller",
    "disruption-controller",
    "horizontal-pod-autoscaler-controller",
    "endpoints-controller",
    "endpointslice-controller",
    "garbage-collector-controller",
];

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
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web}
spec: {minAvailable: 2, selector: {matchLabels: {app: web}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: scaled}
spec:
  selector: {matchLabels: {app: scaled}}
  template:
    metadata: {labels: {app: scaled}}
    spec: {containers: [{name: main, image: "nginx:1"}]}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: scaled}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: scaled}
  minReplicas: 2
  maxReplicas: 4
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
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  replicas: 2
  serviceName: db
  selector: {matchLabels: {app: db}}
  persistentVolumeClaimRetentionPolicy: {whenDeleted: Delete, whenScaled: Delete}
  template:
    metadata: {labels: {app: db}}
    spec: {terminationGracePeriodSeconds: 1, containers: [{name: main, image: "postgres:16"}]}
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec: {terminationGracePeriodSeconds: 1, containers: [{name: main, image: "agent:1"}]}
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
---
apiVersion: batch/v1
kind: Job
metadata: {name: parts}
spec:
  completions: 3
  parallelism: 3
  completionMode: Indexed
  template:
    metadata: {labels: {app: parts}}
    spec: {restartPolicy: Never, containers: [{name: main, image: busybox, command: [sh, -c, "echo 1"]}]}
---
apiVersion: batch/v1
kind: Job
metadata: {name: brief}
spec:
  ttlSecondsAfterFinished: 0
  template:
    metadata: {labels: {app: brief}}
    spec: {restartPolicy: Never, containers: [{name: main, image: busybox, command: [sh, -c, "echo 1"]}]}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: tick}
spec:
  schedule: "@every 2s"
  # None of its jobs is cleared away before it is counted.
  successfulJobsHistoryLimit: 50
  jobTemplate:
    spec:
      template:
        metadata: {labels: {app: tick}}
        spec: {restartPolicy: Never, containers: [{name: main, image: busybox, command: [sh, -c, "echo 1"]}]}
"#;

#[test]
fn workloads_come_out_as_wanted() {
    let mut ticks = 0;
    let made = super::survive(&[], LOOPS, |_, kubectl| ticks = scenario(kubectl));
    let wanted = super::counts([
        ("agent", 4),
        ("brief", 1),
        ("db", 4),
        ("old", 2),
        ("parts", 3),
        ("scaled", 2),
        ("sums", 3),
        ("tick", ticks),
        ("volume of data-db-0", 1),
        ("volume of data-db-1", 1),
        ("web", 7),
    ]);
    assert_eq!(made, wanted, "what was ever made");
}

/// Gives how many jobs the CronJob made.
fn scenario(kubectl: &Kubectl) -> usize {
    kubectl.run_with("apply -f -", OBJECTS);
    kubectl.wait_until("get jobs -o name", |text| text.contains("/tick-"));
    kubectl.run(r#"patch cronjob tick -p '{"spec":{"suspend":true}}'"#);
    let sets = ["deployment/web", "deployment/scaled", "statefulset/db", "daemonset/agent"];
    let settle = || sets.iter().for_each(|set| drop(kubectl.run(&format!("rollout status {set} --timeout=180s"))));
    settle();
    kubectl.run("wait --for=condition=Complete job/sums job/parts --timeout=180s");
    kubectl.wait_until("get jobs brief", |text| text.contains("not found"));
    kubectl.wait_until("get replicationcontroller old -o jsonpath={.status.readyReplicas}", |text| text == "2");
    kubectl.wait_until("get deployment scaled -o jsonpath={.status.readyReplicas}", |text| text == "2");
    kubectl.wait_until("get cronjob tick -o jsonpath={.status.lastSuccessfulTime}/{.status.active}", |text| {
        text.len() > 1 && text.ends_with('/')
    });
    let jobs = kubectl.run("get jobs -o name");
    let ticks = jobs.lines().filter(|name| name.contains("/tick-")).count();

    for update in ["deployment/web main=nginx:2", "statefulset/db main=postgres:17", "daemonset/agent main=agent:2"] {
        kubectl.run(&format!("set image {update}"));
    }
    settle();
    kubectl.run("scale statefulset db --replicas=1");
    kubectl.wait_until("get pvc -o jsonpath={.items[*].metadata.name}", |text| text == "data-db-0");

    let ready =
        "get endpointslices -l kubernetes.io/service-name=web -o jsonpath={.items[*].endpoints[*].conditions.ready}";
    let addresses = "get endpoints web -o jsonpath={.subsets[*].addresses[*].ip}";
    let budget = "get pdb web -o jsonpath={.status.currentHealthy}/{.status.disruptionsAllowed}";
    let all_ready = || {
        kubectl.wait_until(ready, |text| text == "true true true");
        // What follows is a warning that Endpoints are deprecated.
        let count = |text: &str| text.split("Warning").next().unwrap_or_default().split_whitespace().count();
        kubectl.wait_until(addresses, |text| count(text) == 3);
        kubectl.wait_until(budget, |text| text == "3/1");
    };
    all_ready();
    let evicted = kubectl.run("get pods -l app=web -o jsonpath={.items[0].metadata.name}");
    let eviction = format!(r#"{{"apiVersion":"policy/v1","kind":"Eviction","metadata":{{"name":"{evicted}"}}}}"#);
    let path = format!("/api/v1/namespaces/default/pods/{evicted}/eviction");
    kubectl.run_with(&format!("create --raw {path} -f -"), &eviction);
    kubectl.run(&format!("wait --for=delete pod/{evicted} --timeout=120s"));
    all_ready();

    kubectl.run("delete deployment web --cascade=foreground --timeout=180s");
    assert_eq!(kubectl.run("get replicasets,pods -l app=web -o name"), "", "the owner goes last");
    kubectl.run("delete replicationcontroller old --cascade=orphan");
    kubectl.wait_until("get pods -l app=old -o jsonpath={.items[*].metadata.ownerReferences}", str::is_empty);
    kubectl.wait_until("get pods -l app=old -o name", |text| text.lines().count() == 2);
    kubectl.run("delete statefulset/db cronjob/tick --timeout=180s");
    kubectl.wait_until("get pvc -o name", str::is_empty);
    kubectl.wait_until("get pods -l 'app in (db,tick)' -o name", str::is_empty);
    ticks
}
