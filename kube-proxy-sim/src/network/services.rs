//! A Service's address, and the endpoint behind it.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use kubelab_client::clock;
use tokio::sync::watch;

use super::{Call, Protocol};
use crate::{
    balance::Affinity,
    rules::{PortName, Table},
};

/// The Service that the apiservers are behind.
const KUBERNETES: (&str, &str) = ("default", "kubernetes");

/// The virtual addresses of a table.
type Index = HashMap<(SocketAddr, Protocol), PortName>;

/// The node's rules, as they are for connections from its pods.
pub struct Services {
    table: watch::Receiver<Arc<Table>>,
    affinity: Affinity,
    /// Of the table that it was made from.
    index: Mutex<(Arc<Table>, Arc<Index>)>,
}

/// Where a connection to a Service goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// There.
    pub address: SocketAddr,
    /// That is an apiserver, which is a real process.
    pub is_apiserver: bool,
}

impl Services {
    /// The rules of this table.
    pub fn new(table: watch::Receiver<Arc<Table>>) -> Self {
        let now = table.borrow().clone();
        let index = Mutex::new((now.clone(), Arc::new(index(&now))));
        Self { table, affinity: Affinity::default(), index }
    }

    fn now(&self) -> (Arc<Table>, Arc<Index>) {
        let table = self.table.borrow().clone();
        let mut known = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        if !Arc::ptr_eq(&known.0, &table) {
            *known = (table.clone(), Arc::new(index(&table)));
        }
        known.clone()
    }

    /// Whether this is the address of a Service.
    pub fn has(&self, to: SocketAddr, protocol: Protocol) -> bool {
        self.now().1.contains_key(&(to, protocol))
    }

    /// One of the endpoints that were not tried yet.
    pub fn choose(&self, call: &Call, tried: &[SocketAddr]) -> Option<Found> {
        let (table, index) = self.now();
        let name = index.get(&(call.to, call.protocol))?;
        let rule = table.0.get(name)?;
        let chosen = self.affinity.choose(name, rule, &rule.cluster, tried, call.from, clock::instant())?;
        let is_apiserver = (name.namespace.as_str(), name.service.as_str()) == KUBERNETES;
        Some(Found { address: chosen.address, is_apiserver })
    }
}

fn index(table: &Table) -> Index {
    let rules = table.0.iter().filter_map(|(name, rule)| {
        let protocol = match rule.protocol.as_str() {
            "TCP" => Protocol::Tcp,
            "UDP" => Protocol::Udp,
            _ => return None,
        };
        Some(((SocketAddr::new(rule.cluster_ip, rule.port), protocol), name.clone()))
    });
    rules.collect()
}
