//! Random clusters: no node is overcommitted, no hard constraint is broken, and a pod that is said to fit nowhere does fit
//! nowhere. What is right is said here a second time, as plainly as possible.

use std::{collections::BTreeMap, sync::Arc};

use kubelab_scheduler::{
    cluster::Cluster,
    cycle::{Cycle, Failure},
    framework::{Nomination, PodInfo, Profile, Snapshot},
};
use proptest::{collection::vec, option, prelude::*};
use serde_json::{Value, json};

#[derive(Clone, Debug)]
struct Node {
    zone: Option<u8>,
    cpu: u32,
    pods: u32,
    tainted: bool,
    cordoned: bool,
}

#[derive(Clone, Debug)]
struct Pod {
    app: u8,
    cpu: u32,
    port: Option<u16>,
    priority: i32,
    tolerates: bool,
    zone: Option<u8>,
    /// App and whether it is the zone or the host that counts.
    beside: Option<(u8, bool)>,
    away: Option<(u8, bool)>,
    /// The skew that is allowed over zones, of its own app.
    skew: Option<u8>,
}

fn nodes() -> impl Strategy<Value = Vec<Node>> {
    let node = (option::weighted(0.8, 0..3u8), 1..8u32, 1..6u32, prop::bool::weighted(0.2), prop::bool::weighted(0.1));
    vec(node.prop_map(|(zone, cpu, pods, tainted, cordoned)| Node { zone, cpu, pods, tainted, cordoned }), 1..10)
}

fn pods() -> impl Strategy<Value = Vec<Pod>> {
    let about = |weight| option::weighted(weight, (0..3u8, any::<bool>()));
    let pod = (
        (0..3u8, 0..4u32, option::weighted(0.2, 8000..8003u16), 0..4i32, any::<bool>()),
        (option::weighted(0.1, 0..3u8), about(0.2), about(0.3), option::weighted(0.3, 1..3u8)),
    );
    let make = |((app, cpu, port, priority, tolerates), (zone, beside, away, skew))| Pod {
        app,
        cpu,
        port,
        priority,
        tolerates,
        zone,
        beside,
        away,
        skew,
    };
    vec(pod.prop_map(make), 1..30)
}

fn node_object(at: usize, node: &Node) -> Value {
    let mut labels = json!({ "host": format!("n{at}") });
    if let Some(zone) = node.zone {
        labels["zone"] = json!(zone.to_string());
    }
    let taints = if node.tainted { json!([{ "key": "t", "effect": "NoSchedule" }]) } else { json!([]) };
    json!({
        "metadata": { "name": format!("n{at}"), "labels": labels },
        "spec": { "taints": taints, "unschedulable": node.cordoned },
        "status": { "allocatable": { "cpu": node.cpu.to_string(), "memory": "1Gi", "pods": node.pods.to_string() } },
    })
}

fn pod_object(at: usize, pod: &Pod) -> Value {
    let key = |zone: bool| if zone { "zone" } else { "host" };
    let selector = |app: u8| json!({ "matchLabels": { "app": app.to_string() } });
    let terms = |(app, zone): (u8, bool)| {
        json!({ "requiredDuringSchedulingIgnoredDuringExecution": [
            { "labelSelector": selector(app), "topologyKey": key(zone) },
        ] })
    };
    let ports = pod.port.map(|port| json!([{ "containerPort": 80, "hostPort": port }]));
    let requests = json!({ "cpu": pod.cpu.to_string() });
    let mut spec = json!({
        "containers": [{ "name": "c", "ports": ports, "resources": { "requests": requests } }],
        "priority": pod.priority,
        "affinity": { "podAffinity": pod.beside.map(terms), "podAntiAffinity": pod.away.map(terms) },
    });
    if pod.tolerates {
        spec["tolerations"] = json!([{ "key": "t", "operator": "Exists" }]);
    }
    if let Some(zone) = pod.zone {
        spec["nodeSelector"] = json!({ "zone": zone.to_string() });
    }
    if let Some(skew) = pod.skew {
        spec["topologySpreadConstraints"] = json!([{
            "maxSkew": skew, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": selector(pod.app), "nodeAffinityPolicy": "Ignore",
        }]);
    }
    let metadata = json!({ "namespace": "x", "name": format!("p{at}"), "uid": format!("p{at}"), "labels": { "app": pod.app.to_string() } });
    json!({ "metadata": metadata, "spec": spec })
}

/// Which pod runs where.
type Running = BTreeMap<usize, usize>;

struct World<'a> {
    nodes: &'a [Node],
    pods: &'a [Pod],
    running: Running,
}

impl World<'_> {
    fn same_place(&self, one: usize, other: usize, zone: bool) -> bool {
        if !zone {
            return one == other;
        }
        self.nodes[one].zone.is_some() && self.nodes[one].zone == self.nodes[other].zone
    }

    fn on(&self, node: usize) -> impl Iterator<Item = &Pod> {
        self.running.iter().filter(move |(_, at)| **at == node).map(|(pod, _)| &self.pods[*pod])
    }

    /// The first rule that the pod would break on this node, which it is not on yet.
    fn broken(&self, pod: usize, at: usize) -> Option<&'static str> {
        let (own, node) = (&self.pods[pod], &self.nodes[at]);
        let has = |(app, zone): (u8, bool)| {
            self.running.iter().any(|(other, on)| self.pods[*other].app == app && self.same_place(*on, at, zone))
        };
        if node.cordoned {
            return Some("cordoned");
        }
        if node.tainted && !own.tolerates {
            return Some("taint");
        }
        if own.zone.is_some() && own.zone != node.zone {
            return Some("node selector");
        }
        if self.on(at).map(|pod| pod.cpu).sum::<u32>() + own.cpu > node.cpu && own.cpu > 0 {
            return Some("cpu");
        }
        if self.on(at).count() as u32 >= node.pods {
            return Some("number of pods");
        }
        if own.port.is_some() && self.on(at).any(|other| other.port == own.port) {
            return Some("port");
        }
        if own.away.is_some_and(has) {
            return Some("anti-affinity");
        }
        let refused = self.running.iter().any(|(other, on)| {
            self.pods[*other].away.is_some_and(|(app, zone)| app == own.app && self.same_place(*on, at, zone))
        });
        if refused {
            return Some("anti-affinity of another");
        }
        if let Some((app, zone)) = own.beside {
            let labelled = |node: &Node| !zone || node.zone.is_some();
            let anywhere =
                self.running.iter().any(|(other, on)| self.pods[*other].app == app && labelled(&self.nodes[*on]));
            let first = !anywhere && app == own.app;
            if !labelled(node) || !(has((app, zone)) || first) {
                return Some("affinity");
            }
        }
        if let Some(skew) = own.skew {
            let count = |zone: u8| {
                let like = |(other, on): &(&usize, &usize)| {
                    self.pods[**other].app == own.app && self.nodes[**on].zone == Some(zone)
                };
                self.running.iter().filter(like).count()
            };
            let least = self.nodes.iter().filter_map(|node| node.zone).map(count).min();
            match node.zone {
                Some(zone) if count(zone) + 1 - least.unwrap_or(0) <= usize::from(skew) => {}
                _ => return Some("spread"),
            }
        }
        None
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn no_constraint_is_ever_broken(nodes in nodes(), pods in pods()) {
        let mut cluster = Cluster::default();
        for (at, node) in nodes.iter().enumerate() {
            cluster.put_node(Arc::new(serde_json::from_value(node_object(at, node)).unwrap()));
        }
        let mut world = World { nodes: &nodes, pods: &pods, running: Running::new() };
        let (profile, mut cycle, mut snapshot) = (Profile::default(), Cycle::default(), Snapshot::default());
        let number = |name: &str| name[1..].parse::<usize>().unwrap();
        for (at, pod) in pods.iter().enumerate() {
            let info = Arc::new(PodInfo::new(Arc::new(serde_json::from_value(pod_object(at, pod)).unwrap())));
            for attempt in 0..2 {
                cluster.update(&mut snapshot);
                match cycle.place(&profile, &snapshot, &info) {
                    Ok(placement) => {
                        let node = number(&placement.node);
                        prop_assert_eq!(world.broken(at, node), None, "p{} on n{} with {:?}", at, node, world.running);
                        cluster.assume(info.clone(), &placement.node);
                        world.running.insert(at, node);
                        break;
                    }
                    Err(Failure::Unfit(_, nomination)) => {
                        for node in 0..nodes.len() {
                            let broken = world.broken(at, node);
                            prop_assert!(broken.is_some(), "p{} fits on n{} with {:?}", at, node, world.running);
                        }
                        let Nomination::Node(preemption) = nomination else { break };
                        prop_assert_eq!(attempt, 0, "room was made, and there is none");
                        prop_assert!(!preemption.victims.is_empty());
                        for victim in &preemption.victims {
                            prop_assert!(victim.priority < info.priority);
                            cluster.remove_pod(victim.uid()).unwrap();
                            world.running.remove(&number(victim.name()));
                        }
                        prop_assert_eq!(world.broken(at, number(&preemption.node)), None, "room was made for p{}", at);
                    }
                    Err(Failure::NoNodes) => unreachable!("there is a node"),
                }
            }
        }
    }
}
