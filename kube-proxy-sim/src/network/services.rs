//! A Service's address, and the endpoint behind it.

use std::{net::SocketAddr, sync::Arc};

use kubelab_client::clock;
use tokio::sync::watch;

use super::Call;
use crate::{
    balance::{self, Balancer, Connection},
    rules::{Table, Via},
};

/// The Service that the apiservers are behind.
const KUBERNETES: (&str, &str) = ("default", "kubernetes");

/// The node's rules, as they are for connections from its pods.
pub struct Services {
    table: watch::Receiver<Arc<Table>>,
    balancer: Arc<Balancer>,
}

/// What the rules say of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It is no Service's.
    Elsewhere,
    /// It is a Service's, and a policy lets nobody in, or not from there.
    Dropped,
    /// It is a Service's.
    Service,
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
    /// The rules of this table, followed as this balancer chooses.
    pub fn new(table: watch::Receiver<Arc<Table>>, balancer: Arc<Balancer>) -> Self {
        Self { table, balancer }
    }

    /// Whether a call is to a Service, and may be.
    pub fn admit(&self, call: &Call) -> Admission {
        let table = self.table.borrow();
        let Some(target) = table.find(call.to, call.protocol) else { return Admission::Elsewhere };
        let rule = target.rule;
        let dropped = rule.usable.any && rule.endpoints(target.via, true).is_empty();
        if dropped || (target.via == Via::LoadBalancer && !rule.admits(call.from)) {
            Admission::Dropped
        } else {
            Admission::Service
        }
    }

    /// One of the endpoints that were not tried yet.
    pub fn choose(&self, call: &Call, tried: &[SocketAddr]) -> Option<Found> {
        let table = self.table.borrow().clone();
        let target = table.find(call.to, call.protocol)?;
        let wanted = balance::Call { target, to: call.to, client: call.from, from_pod: true };
        let chosen = self.balancer.choose(&wanted, tried, clock::instant())?;
        let is_apiserver = (target.name.namespace.as_str(), target.name.service.as_str()) == KUBERNETES;
        Some(Found { address: chosen.endpoint.address, is_apiserver, connection: chosen.connection })
    }
}
