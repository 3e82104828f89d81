//! A Service's address, and the endpoint behind it.

use std::{net::SocketAddr, sync::Arc};

use kubelab_client::clock;
use tokio::sync::watch;

use super::Call;
use crate::{
    balance::{self, Balancer, Connection},
    rules::{Protocol, Table},
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

    /// Whether connections are dropped in silence: there are endpoints, but a policy keeps them from here.
    pub fn drops(&self, to: SocketAddr, protocol: Protocol) -> bool {
        let table = self.table();
        table
            .find(to, protocol)
            .is_some_and(|target| target.rule.usable.any && target.rule.endpoints(target.via, true).is_empty())
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
