//! A Service's address, and the endpoint behind it.

use std::{net::SocketAddr, sync::Arc};

use kubelab_client::clock;
use tokio::sync::watch;

use super::Call;
use crate::{
    balance::{self, Balancer, Connection},
    rules::{Protocol, Table, Via},
};

/// The Service that the apiservers are behind.
const KUBERNETES: (&str, &str) = ("default", "kubernetes");

/// The node's rules, as they are for connections from its pods.
pub struct Services {
    table: watch::Receiver<Arc<Table>>,
    balancer: Arc<Balancer>,
}

/// Where a connection to a Service goes.
#[derive(Debug)]
pub struct Found {
    /// There.
    pub address: SocketAddr,
    /// That is an apiserver, which is a real process.
    pub is_apiserver: bool,
    /// Counts as a connection of the endpoint until it is dropped.
    pub connection: Option<Connection>,
}

impl Services {
    /// The rules of this table, and how one of several endpoints is chosen.
    pub fn new(table: watch::Receiver<Arc<Table>>, balancer: Arc<Balancer>) -> Self {
        Self { table, balancer }
    }

    fn table(&self) -> Arc<Table> {
        self.table.borrow().clone()
    }

    /// Whether this is the address of a Service.
    pub fn has(&self, to: SocketAddr, protocol: Protocol) -> bool {
        self.table().find(to, protocol).is_some()
    }

    /// Whether a connection is dropped in silence: there are endpoints, but a policy keeps them from here, or the pod is
    /// not among those that may use the load balancer.
    pub fn drops(&self, call: &Call) -> bool {
        let table = self.table();
        table.find(call.to, call.protocol).is_some_and(|target| {
            let stranger = target.via == Via::LoadBalancer && !target.rule.admits(call.from);
            target.rule.usable.any && (stranger || target.rule.endpoints(target.via, true).is_empty())
        })
    }

    /// Whether an apiserver listens at this address, which pods may also use without the Service.
    pub fn is_apiserver(&self, address: SocketAddr) -> bool {
        let table = self.table();
        let mut rules = table.of_service(KUBERNETES.0, KUBERNETES.1);
        rules.any(|rule| rule.usable.cluster.iter().any(|endpoint| endpoint.address == address))
    }

    /// One of the endpoints that were not tried yet.
    pub fn choose(&self, call: &Call, tried: &[SocketAddr]) -> Option<Found> {
        let table = self.table();
        let target = table.find(call.to, call.protocol)?;
        let asked = balance::Call { target, to: call.to, client: call.from, from_pod: true };
        let chosen = self.balancer.choose(&asked, tried, clock::instant())?;
        let is_apiserver = (target.name.namespace.as_str(), target.name.service.as_str()) == KUBERNETES;
        Some(Found { address: chosen.endpoint.address, is_apiserver, connection: chosen.connection })
    }
}
