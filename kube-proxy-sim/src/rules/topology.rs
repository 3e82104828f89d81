//! Which endpoints a node uses. Source: `CategorizeEndpoints` in `pkg/proxy/topology.go`; KEP-1669 for endpoints that are
//! being deleted, KEP-2433 and KEP-3015 for hints.

use std::{collections::HashMap, sync::Arc};

use super::{Endpoint, Place, ServicePort, endpoint::Candidate};

/// The endpoints that a node uses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usable {
    /// Where connections go that may leave the node.
    pub cluster: Arc<[Endpoint]>,
    /// Where connections go that may not.
    pub local: Arc<[Endpoint]>,
    /// How many endpoints on this node are ready.
    pub local_ready: usize,
    /// Somewhere there is an endpoint that a connection could go to.
    pub any: bool,
}

/// The endpoints of one node.
#[derive(Clone, Debug, Default)]
struct Local {
    endpoints: Arc<[Endpoint]>,
    ready: usize,
}

/// What the nodes of a cluster use of a Service's port. The endpoints are gone through once, when they change; what one node
/// uses is then looked up, however many nodes a process has.
#[derive(Debug, Default)]
pub struct Choices {
    any: bool,
    cluster: Arc<[Endpoint]>,
    /// By zone, where each ready endpoint is meant for some.
    zones: HashMap<Arc<str>, Arc<[Endpoint]>>,
    /// By node, where each ready endpoint is meant for some.
    nodes: HashMap<Arc<str>, Arc<[Endpoint]>>,
    /// By node, where connections may have to stay on one.
    local: HashMap<Arc<str>, Local>,
}

impl Choices {
    /// What these endpoints come to.
    pub fn of(port: &ServicePort, candidates: &[Candidate]) -> Self {
        let pick = |wanted: fn(&Candidate) -> bool| -> Vec<&Candidate> {
            candidates.iter().filter(|candidate| wanted(candidate)).collect()
        };
        let (ready, last) = (pick(|it| it.state.ready), pick(|it| it.state.serving_while_terminating));
        let mut choices = Self { any: !(ready.is_empty() && last.is_empty()), ..Self::default() };
        if port.uses_cluster_endpoints() {
            choices.cluster = endpoints(if ready.is_empty() { &last } else { &ready });
            choices.zones = meant(&ready, |candidate| &candidate.state.zone_hints);
            choices.nodes = meant(&ready, |candidate| &candidate.state.node_hints);
        }
        if port.uses_local_endpoints() {
            choices.local = local(&ready, &last);
        }
        choices
    }

    /// On some nodes it is not what it is on others.
    pub fn differ(&self) -> bool {
        !(self.zones.is_empty() && self.nodes.is_empty() && self.local.is_empty())
    }

    /// The nodes that have ready endpoints, where connections may have to stay on one.
    pub fn hosts(&self) -> impl Iterator<Item = &str> {
        self.local.iter().filter(|(_, local)| local.ready > 0).map(|(node, _)| &**node)
    }

    /// The endpoints that a node uses that has nothing special.
    pub fn anywhere(&self) -> Usable {
        Usable { cluster: self.cluster.clone(), any: self.any, ..Usable::default() }
    }

    /// The endpoints that a node uses. Hints count where they name the node, or else its zone.
    pub fn on(&self, place: &Place) -> Usable {
        let near = self.nodes.get(&*place.node).or_else(|| self.zones.get(place.zone.as_deref()?));
        let local = self.local.get(&*place.node).cloned().unwrap_or_default();
        Usable {
            cluster: near.unwrap_or(&self.cluster).clone(),
            local: local.endpoints,
            local_ready: local.ready,
            any: self.any,
        }
    }
}

fn endpoints(candidates: &[&Candidate]) -> Arc<[Endpoint]> {
    candidates.iter().map(|candidate| candidate.endpoint.clone()).collect()
}

/// By what hints name; nothing unless every ready endpoint has some.
fn meant(ready: &[&Candidate], hints: fn(&Candidate) -> &[Arc<str>]) -> HashMap<Arc<str>, Arc<[Endpoint]>> {
    if ready.iter().any(|candidate| hints(candidate).is_empty()) {
        return HashMap::new();
    }
    let pairs = ready.iter().copied().flat_map(|candidate| hints(candidate).iter().map(move |hint| (hint, candidate)));
    grouped(pairs).into_iter().map(|(hint, candidates)| (hint, endpoints(&candidates))).collect()
}

/// By the nodes that have endpoints: the ready ones, or those that still serve where there is no other.
fn local(ready: &[&Candidate], last: &[&Candidate]) -> HashMap<Arc<str>, Local> {
    let by_node = |candidates: &[&Candidate]| -> HashMap<Arc<str>, Local> {
        let groups = grouped(candidates.iter().copied().map(|candidate| (&candidate.endpoint.node, candidate)));
        let local = |candidates: Vec<&Candidate>| Local { endpoints: endpoints(&candidates), ready: candidates.len() };
        groups.into_iter().map(|(node, candidates)| (node, local(candidates))).collect()
    };
    let mut found = by_node(last);
    found.values_mut().for_each(|local| local.ready = 0);
    found.extend(by_node(ready));
    found
}

fn grouped<'a>(pairs: impl Iterator<Item = (&'a Arc<str>, &'a Candidate)>) -> HashMap<Arc<str>, Vec<&'a Candidate>> {
    let mut groups: HashMap<Arc<str>, Vec<&Candidate>> = HashMap::new();
    for (name, candidate) in pairs {
        // An endpoint that names something twice is there once.
        let group = groups.entry(name.clone()).or_default();
        if group.last().is_none_or(|last| last.endpoint.address != candidate.endpoint.address) {
            group.push(candidate);
        }
    }
    groups
}
