//! Pods a second through the scheduling cycle, without an apiserver: `cargo bench -p kubelab-scheduler`.
//!
//! The workloads have the shapes of upstream's `scheduler_perf` (`SchedulingBasic`, `SchedulingPodAffinity`, …): nodes of 4
//! CPUs, 32 GiB and 110 pods in three zones; pods of 100m and 500Mi. A name as argument runs that workload alone.

#![allow(clippy::disallowed_methods, clippy::unwrap_used)] // see clippy.toml

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use kubelab_scheduler::{
    cluster::Cluster,
    cycle::{Cycle, Failure},
    framework::{Nomination, Objects, PodInfo, Profile, Snapshot},
};
use serde_json::{Value, json};

const NODES: [usize; 3] = [100, 1000, 5000];
/// Every node has this many pods before the measurement, of those that a workload begins with.
const PODS: usize = 2000;

struct Workload {
    name: &'static str,
    /// How many pods are measured at most, for this many nodes.
    pods: fn(usize) -> usize,
    /// The pods that run before, for this many nodes.
    before: fn(usize) -> Vec<(Value, usize)>,
    pod: fn(usize) -> Value,
    objects: fn(&Objects),
}

fn pod(at: usize, labels: Value, cpu: &str, more: Value) -> Value {
    let requests = json!({ "cpu": cpu, "memory": "500Mi" });
    let mut spec =
        json!({ "containers": [{ "name": "pause", "image": "pause:1", "resources": { "requests": requests } }] });
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let owner =
        json!([{ "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "set", "uid": "set", "controller": true }]);
    let metadata = json!({
        "namespace": "bench", "name": format!("pod-{at}"), "uid": format!("pod-{at}"), "labels": labels,
        "ownerReferences": owner,
    });
    json!({ "metadata": metadata, "spec": spec })
}

fn term(color: &str, key: &str) -> Value {
    json!([{ "labelSelector": { "matchLabels": { "color": color } }, "topologyKey": key }])
}

fn required(kind: &str, terms: Value) -> Value {
    json!({ "affinity": { kind: { "requiredDuringSchedulingIgnoredDuringExecution": terms } } })
}

fn preferred(kind: &str, terms: Value) -> Value {
    let terms = json!([{ "weight": 1, "podAffinityTerm": terms[0] }]);
    json!({ "affinity": { kind: { "preferredDuringSchedulingIgnoredDuringExecution": terms } } })
}

fn spread(wish: &str) -> Value {
    json!({ "topologySpreadConstraints": [{
        "maxSkew": 5, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": wish,
        "labelSelector": { "matchLabels": { "color": "blue" } },
    }] })
}

fn workloads() -> Vec<Workload> {
    let basic = Workload {
        name: "basic",
        pods: |nodes| PODS.min(nodes * 30),
        before: |nodes| vec![(pod(0, json!({}), "100m", json!({})), nodes)],
        pod: |at| pod(at, json!({}), "100m", json!({})),
        objects: |_| {},
    };
    let like = |name, pod: fn(usize) -> Value| Workload { name, pod, ..basic_of(&basic) };
    vec![
        Workload {
            name: "deployment",
            pod: |at| pod(at, json!({ "app": "web" }), "100m", json!({})),
            objects: |objects| {
                let set = json!({
                    "metadata": { "namespace": "bench", "name": "set" },
                    "spec": { "selector": { "matchLabels": { "app": "web" } } },
                });
                objects.replica_sets.put(Arc::new(serde_json::from_value(set).unwrap()));
            },
            ..basic_of(&basic)
        },
        like("affinity", |at| {
            let terms = term("blue", "topology.kubernetes.io/zone");
            pod(at, json!({ "color": "blue" }), "100m", required("podAffinity", terms))
        }),
        like("preferred affinity", |at| {
            let terms = term("red", "kubernetes.io/hostname");
            pod(at, json!({ "color": "red" }), "100m", preferred("podAffinity", terms))
        }),
        Workload {
            pods: |nodes| PODS.min(nodes * 9 / 10),
            ..like("anti-affinity", |at| {
                let terms = term("green", "kubernetes.io/hostname");
                pod(at, json!({ "color": "green" }), "100m", required("podAntiAffinity", terms))
            })
        },
        like("spread", |at| pod(at, json!({ "color": "blue" }), "100m", spread("DoNotSchedule"))),
        like("preferred spread", |at| pod(at, json!({ "color": "blue" }), "100m", spread("ScheduleAnyway"))),
        Workload {
            name: "preemption",
            pods: |nodes| 500.min(nodes),
            before: |nodes| vec![(pod(0, json!({}), "900m", json!({})), 4 * nodes)],
            pod: |at| pod(at, json!({}), "3", json!({ "priority": 10 })),
            objects: |_| {},
        },
        Workload {
            name: "unschedulable",
            pods: |_| 200,
            pod: |at| pod(at, json!({}), "9", json!({})),
            ..basic_of(&basic)
        },
        basic,
    ]
}

fn basic_of(basic: &Workload) -> Workload {
    Workload { name: basic.name, pods: basic.pods, before: basic.before, pod: basic.pod, objects: basic.objects }
}

fn info(value: Value) -> Arc<PodInfo> {
    Arc::new(PodInfo::new(Arc::new(serde_json::from_value(value).unwrap())))
}

fn cluster(nodes: usize, workload: &Workload) -> Cluster {
    let objects = Objects::default();
    (workload.objects)(&objects);
    let mut cluster = Cluster::new(Arc::new(objects));
    for at in 0..nodes {
        let name = format!("node-{at}");
        let labels = json!({
            "kubernetes.io/hostname": name, "topology.kubernetes.io/zone": format!("zone-{}", at % 3),
        });
        let node = json!({
            "metadata": { "name": name, "labels": labels },
            "status": { "allocatable": { "cpu": "4", "memory": "32Gi", "pods": "110" } },
        });
        cluster.put_node(Arc::new(serde_json::from_value(node).unwrap()));
    }
    let mut placed = 0;
    for (mut template, count) in (workload.before)(nodes) {
        for _ in 0..count {
            template["metadata"]["uid"] = json!(format!("before-{placed}"));
            cluster.put_pod(info(template.clone()), &format!("node-{}", placed % nodes));
            placed += 1;
        }
    }
    cluster
}

/// The time for all pods, and how many found their node.
fn run(nodes: usize, workload: &Workload) -> (Duration, usize, usize) {
    let mut cluster = cluster(nodes, workload);
    let pods: Vec<Arc<PodInfo>> = (0..(workload.pods)(nodes)).map(|at| info((workload.pod)(at))).collect();
    let (profile, mut cycle, mut snapshot) = (Profile::default(), Cycle::default(), Snapshot::default());
    cluster.update(&mut snapshot);
    let start = Instant::now();
    let mut placed = 0;
    for pod in &pods {
        loop {
            cluster.update(&mut snapshot);
            match cycle.place(&profile, &snapshot, pod) {
                Ok(placement) => {
                    cluster.assume(pod.clone(), &placement.node);
                    placed += 1;
                }
                // Victims go at once here; the pod comes back to its node in a second cycle.
                Err(Failure::Unfit(_, Nomination::Node(preemption))) => {
                    cluster.nominate(pod.clone(), Some(&preemption.node));
                    preemption.victims.iter().for_each(|victim| drop(cluster.remove_pod(victim.uid())));
                    continue;
                }
                Err(_) => {}
            }
            break;
        }
    }
    (start.elapsed(), placed, pods.len())
}

fn main() {
    let wanted = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    println!(
        "{:<20} {:>6} {:>6} {:>10} {:>10} {:>14}",
        "workload", "nodes", "pods", "pods/s", "µs a pod", "ns more a node"
    );
    for workload in workloads().iter().filter(|it| wanted.as_ref().is_none_or(|wanted| it.name == wanted)) {
        let mut last: Option<(usize, f64)> = None;
        for nodes in NODES {
            let (time, placed, pods) = run(nodes, workload);
            let each = time.as_secs_f64() / pods as f64;
            let growth = last.map(|(fewer, before)| (each - before) * 1e9 / (nodes - fewer) as f64);
            let growth = growth.map_or_else(|| "-".to_owned(), |growth| format!("{growth:.1}"));
            println!(
                "{:<20} {nodes:>6} {placed:>6} {:>10.0} {:>10.1} {growth:>14}",
                workload.name,
                1.0 / each,
                each * 1e6,
            );
            last = Some((nodes, each));
        }
    }
}
