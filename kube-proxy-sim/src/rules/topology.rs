//! Which endpoints a node uses. Source: `CategorizeEndpoints` in `pkg/proxy/topology.go`; KEP-1669 for endpoints that are
//! being deleted, KEP-2433 and KEP-3015 for hints.

use std::sync::Arc;

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

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Everywhere,
    SameZone,
    SameNode,
}

/// These endpoints are used alike on every node.
pub fn is_same_everywhere(port: &ServicePort, candidates: &[Candidate]) -> bool {
    let mut ready = candidates.iter().filter(|candidate| candidate.ready).peekable();
    let (mut zones, mut nodes) = (ready.peek().is_some(), ready.peek().is_some());
    for candidate in ready {
        zones &= !candidate.zone_hints.is_empty();
        nodes &= !candidate.node_hints.is_empty();
    }
    !port.uses_local_endpoints() && !zones && !nodes
}

/// The endpoints that a node uses; none in particular: those that every node uses.
pub fn usable(port: &ServicePort, candidates: &[Candidate], place: Option<&Place>) -> Usable {
    let pick = |wanted: &dyn Fn(&Candidate) -> bool| -> Arc<[Endpoint]> {
        candidates.iter().filter(|candidate| wanted(candidate)).map(|candidate| candidate.endpoint.clone()).collect()
    };
    let mut usable = Usable::default();
    if port.uses_cluster_endpoints() {
        let mode = place.map_or(Mode::Everywhere, |place| mode(candidates, place));
        usable.cluster = pick(&|candidate| candidate.ready && is_meant(candidate, mode, place));
        if usable.cluster.is_empty() {
            usable.cluster = pick(&|candidate| candidate.serving_while_terminating);
        }
    }
    if let Some(place) = place.filter(|_| port.uses_local_endpoints()) {
        let is_here = |candidate: &Candidate| *candidate.endpoint.node == *place.node;
        usable.local = pick(&|candidate| is_here(candidate) && candidate.ready);
        usable.local_ready = usable.local.len();
        if usable.local.is_empty() {
            usable.local = pick(&|candidate| is_here(candidate) && candidate.serving_while_terminating);
        }
    }
    usable.any = candidates.iter().any(|candidate| candidate.ready || candidate.serving_while_terminating);
    usable
}

/// Hints count only where every ready endpoint has one, and this node or its zone is named by one.
fn mode(candidates: &[Candidate], place: &Place) -> Mode {
    let ready = || candidates.iter().filter(|candidate| candidate.ready);
    let zone = place.zone.as_deref().unwrap_or_default();
    if ready().all(|candidate| !candidate.node_hints.is_empty())
        && ready().any(|candidate| candidate.node_hints.iter().any(|hint| **hint == *place.node))
    {
        Mode::SameNode
    } else if ready().all(|candidate| !candidate.zone_hints.is_empty())
        && ready().any(|candidate| candidate.zone_hints.iter().any(|hint| **hint == *zone))
    {
        Mode::SameZone
    } else {
        Mode::Everywhere
    }
}

fn is_meant(candidate: &Candidate, mode: Mode, place: Option<&Place>) -> bool {
    let Some(place) = place else { return true };
    match mode {
        Mode::Everywhere => true,
        Mode::SameNode => candidate.node_hints.iter().any(|hint| **hint == *place.node),
        Mode::SameZone => candidate.zone_hints.iter().any(|hint| Some(&**hint) == place.zone.as_deref()),
    }
}
