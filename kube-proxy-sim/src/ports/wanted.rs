//! What a node has to listen on (pure).

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash, Hasher},
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use super::health::Health;
use crate::{
    cluster::NodeFacts,
    rules::{PortName, Protocol, Services, Table, Via, tracker::Port},
};

/// How many nodes listen at a load balancer's address, so that the loss of one is not seen. Cloud providers use subsets
/// of the nodes as well, larger ones.
const BALANCING_NODES: usize = 3;
/// The same with `externalTrafficPolicy: Local`, where a node reaches its own endpoints only.
const MAX_LOCAL_NODES: usize = 64;

/// Where to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The address.
    pub address: SocketAddr,
    /// What is spoken there.
    pub protocol: Protocol,
}

/// What for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Connections are taken to a Service's port.
    Forward {
        /// Which.
        name: PortName,
        /// By which of its addresses.
        via: Via,
    },
    /// Nobody answers, as if packets were dropped.
    Silence {
        /// Whose port it is.
        name: PortName,
    },
    /// It is told how many endpoints the node has.
    Health(Health),
}

impl Purpose {
    /// The Service that it is for: its namespace and name.
    pub fn service(&self) -> (&str, &str) {
        match self {
            Self::Forward { name, .. } | Self::Silence { name } => (&name.namespace, &name.service),
            Self::Health(health) => (&health.namespace, &health.service),
        }
    }

    /// The same listener goes on.
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Health(a), Self::Health(b)) => (&a.namespace, &a.service) == (&b.namespace, &b.service),
            _ => self == other,
        }
    }
}

/// All that a node has to listen on. A port that leads nowhere is closed, so that clients are refused as by iptables'
/// REJECT. The addresses of load balancers are opened by several nodes at once; which ones is the same on all of them.
pub fn wanted(table: &Table, balancers: &Balancers) -> BTreeMap<Place, Purpose> {
    let mut wanted = BTreeMap::new();
    let Some(ip) = table.place().ip else { return wanted };
    let mut endpoints_here: BTreeMap<(&str, &str), BTreeSet<IpAddr>> = BTreeMap::new();
    for (name, rule) in table.exposed().filter(|(_, rule)| rule.protocol != Protocol::Sctp) {
        if let Some(port) = rule.node_port {
            let place = Place { address: SocketAddr::new(ip, port), protocol: rule.protocol };
            if !rule.external().is_empty() {
                wanted.insert(place, Purpose::Forward { name: name.clone(), via: Via::NodePort });
            } else if rule.drops(Via::NodePort) && rule.protocol == Protocol::Tcp {
                wanted.insert(place, Purpose::Silence { name: name.clone() });
            }
        }
        let addresses = rule.load_balancer_ips.iter().filter(|ip| ip.is_loopback());
        for ip in addresses.filter(|_| !rule.external().is_empty() && balancers.listens(name, &table.place().node)) {
            let place = Place { address: SocketAddr::new(*ip, rule.port), protocol: rule.protocol };
            wanted.insert(place, Purpose::Forward { name: name.clone(), via: Via::LoadBalancer });
        }
        if rule.health_check_node_port.is_some() {
            let here = rule.usable.local.iter().take(rule.usable.local_ready).map(|endpoint| endpoint.address.ip());
            endpoints_here.entry((&name.namespace, &name.service)).or_default().extend(here);
        }
    }
    for (name, rule) in table.exposed() {
        if let Some(port) = rule.health_check_node_port {
            let endpoints = endpoints_here.get(&(&*name.namespace, &*name.service)).map_or(0, BTreeSet::len);
            let health =
                Health { namespace: name.namespace.clone(), service: name.service.clone(), local_endpoints: endpoints };
            let place = Place { address: SocketAddr::new(ip, port), protocol: Protocol::Tcp };
            wanted.insert(place, Purpose::Health(health));
        }
    }
    wanted
}

/// Which nodes listen at the addresses of which load balancers.
#[derive(Clone, Debug, Default)]
pub struct Balancers(BTreeMap<Arc<PortName>, Choice>);

/// The nodes that were chosen for a port.
#[derive(Clone, Debug)]
struct Choice {
    port: Arc<Port>,
    nodes: Arc<BTreeSet<String>>,
}

impl Balancers {
    /// Chosen among the nodes that are well, so that all come to the same choice. `before`: what was chosen among the same
    /// nodes; it holds for what has not changed.
    pub fn choose(services: &Services, nodes: &[NodeFacts], before: Option<&Self>) -> Self {
        let balanced = services.ports.iter().filter(|(_, port)| !port.wanted.load_balancer_ips.is_empty());
        let choice = |(name, port): (&Arc<PortName>, &Arc<Port>)| {
            let known = before.and_then(|before| before.0.get(name)).filter(|known| Arc::ptr_eq(&known.port, port));
            let choice =
                known.cloned().unwrap_or_else(|| Choice { port: port.clone(), nodes: Arc::new(chosen(port, nodes)) });
            (name.clone(), choice)
        };
        Self(balanced.map(choice).collect())
    }

    fn listens(&self, name: &PortName, node: &str) -> bool {
        self.0.get(name).is_some_and(|choice| choice.nodes.contains(node))
    }
}

fn chosen(port: &Port, nodes: &[NodeFacts]) -> BTreeSet<String> {
    let local = port.wanted.external_local;
    let hosts: BTreeSet<&str> = port.choices.hosts().collect();
    let can = |node: &&NodeFacts| !node.excluded && (!local || hosts.contains(node.name.as_str()));
    let ready: Vec<&NodeFacts> = nodes.iter().filter(can).filter(|node| node.ready).collect();
    // As load balancers do: when no node seems well, all are tried.
    let mut able = if ready.is_empty() { nodes.iter().filter(can).collect() } else { ready };
    able.sort_by_cached_key(|node| (rank(&port.name, &node.name), node.name.clone()));
    able.truncate(if local { MAX_LOCAL_NODES } else { BALANCING_NODES });
    able.into_iter().map(|node| node.name.clone()).collect()
}

/// A node's place in the order of a Service's nodes. With each Service it is another, and the loss of a node leaves the
/// others where they are (rendezvous hashing). All proxies of a lab are the same program, and so come to the same numbers.
fn rank(name: &PortName, node: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&name.namespace, &name.service, node).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use k8s_openapi::api::{core::v1::Service, discovery::v1::EndpointSlice};
    use serde_json::{Value, json};

    use super::*;
    use crate::rules::{self, Tracker};

    fn services(spec: &Value) -> Arc<Services> {
        let mut service = json!({
            "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"type": "LoadBalancer", "clusterIP": "10.96.0.10", "ports": [{"port": 80, "nodePort": 30080}]},
            "status": {"loadBalancer": {"ingress": [{"ip": "127.20.251.1"}]}},
        });
        service["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        let labels = json!({"kubernetes.io/service-name": "web"});
        let slice: EndpointSlice = serde_json::from_value(json!({
            "metadata": {"name": "web-1", "namespace": "shop", "labels": labels}, "addressType": "IPv4",
            "ports": [{"name": "", "port": 8080}],
            "endpoints": [{"addresses": ["10.244.1.2"], "nodeName": "n1"}, {"addresses": ["10.244.1.3"], "nodeName": "n1"}],
        }))
        .unwrap();
        let service: Service = serde_json::from_value(service).unwrap();
        let mut tracker = Tracker::default();
        tracker.put_service(&Arc::new(service));
        tracker.put_slice(&Arc::new(slice));
        Arc::new(tracker.services())
    }

    fn nodes(well: &str) -> Vec<NodeFacts> {
        let node = |(i, letter): (usize, char)| NodeFacts {
            name: format!("n{}", i + 1),
            zone: None,
            ready: letter == 'R',
            excluded: letter == 'X',
        };
        well.chars().enumerate().map(node).collect()
    }

    fn shown(spec: &Value, well: &str) -> Vec<(String, Vec<String>)> {
        let (services, nodes) = (services(spec), nodes(well));
        let balancers = Balancers::choose(&services, &nodes, None);
        let on = |(i, node): (usize, &NodeFacts)| {
            let ip = Some([127, 20, 0, i as u8 + 1].into());
            let place = rules::Place { node: node.name.clone(), ip, ..rules::Place::default() };
            let wanted = wanted(&Table::new(place, services.clone()), &balancers);
            let listed = wanted.iter().map(|(place, purpose)| {
                let what = match purpose {
                    Purpose::Forward { via, .. } => format!("{via:?}"),
                    Purpose::Silence { .. } => "silence".into(),
                    Purpose::Health(health) => format!("health {}", health.local_endpoints),
                };
                format!("{} {what}", place.address.port())
            });
            (node.name.clone(), listed.collect())
        };
        nodes.iter().enumerate().map(on).collect()
    }

    #[test]
    fn every_node_has_its_node_port_and_a_few_the_balancers() {
        let listening = |well: &str| {
            let all = shown(&json!({}), well);
            assert!(all.iter().all(|(_, ports)| ports.contains(&"30080 NodePort".to_owned())), "{all:?}");
            let balancing = all.into_iter().filter(|(_, ports)| ports.contains(&"80 LoadBalancer".to_owned()));
            balancing.map(|(node, _)| node).collect::<Vec<_>>()
        };
        let all = listening("RRRRRR");
        assert_eq!(all.len(), 3);
        // One that is lost is replaced, and the others stay.
        let lost = all[0].trim_start_matches('n').parse::<usize>().unwrap() - 1;
        let mut well = "RRRRRR".to_owned();
        well.replace_range(lost..=lost, "N");
        let left = listening(&well);
        assert!(left.len() == 3 && !left.contains(&all[0]), "{left:?}");
        assert!(all[1..].iter().all(|node| left.contains(node)), "{all:?} {left:?}");
        assert_eq!(listening("NN"), ["n1", "n2"], "none is well: all are tried");
        assert_eq!(listening("RXR"), ["n1", "n3"]);
    }

    #[test]
    fn nodes_are_chosen_anew_only_for_what_has_changed() {
        let (services, nodes) = (services(&json!({})), nodes("RRRR"));
        let before = Balancers::choose(&services, &nodes, None);
        let after = Balancers::choose(&services, &nodes, Some(&before));
        let [before, after] = [&before, &after].map(|it| it.0.values().next().unwrap().nodes.clone());
        assert!(Arc::ptr_eq(&before, &after));
    }

    #[test]
    fn a_local_policy_leaves_nodes_without_endpoints_silent() {
        let spec = json!({"externalTrafficPolicy": "Local", "healthCheckNodePort": 30999});
        let here = ["80 LoadBalancer", "30080 NodePort", "30999 health 2"].map(str::to_owned);
        let elsewhere = ["30080 silence", "30999 health 0"].map(str::to_owned);
        let sorted = |mut ports: Vec<String>| {
            ports.sort_by_key(|port| port.split(' ').next().unwrap().parse::<u16>().unwrap());
            ports
        };
        let all = shown(&spec, "RR");
        assert_eq!((sorted(all[0].1.clone()), sorted(all[1].1.clone())), (here.to_vec(), elsewhere.to_vec()));
    }
}
