//! The connections that IPVS knows of: for each virtual server, how busy each endpoint is and which was last.

use std::{
    collections::{HashMap, VecDeque},
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use kubelab_client::clock::{self, Instant};

use super::{
    Scheduler, Server,
    scheduler::{Load, Question},
};
use crate::rules::Endpoint;

/// How long an ended connection still counts. Source: `IP_VS_TCP_S_TIME_WAIT` in Linux, two minutes.
const TIME_WAIT: Duration = Duration::from_secs(120);
/// Ended connections remembered for an endpoint; beyond that the oldest are forgotten.
const MAX_INACTIVE: usize = 1024;
/// Virtual servers remembered. Those that nobody uses are forgotten first.
const MAX_SERVERS: usize = 4096;

/// The connections of all virtual servers.
#[derive(Debug, Default)]
pub struct Servers(Mutex<HashMap<Server, State>>);

#[derive(Debug, Default)]
struct State {
    last: Option<SocketAddr>,
    endpoints: HashMap<SocketAddr, Connections>,
}

#[derive(Debug, Default)]
struct Connections {
    active: usize,
    /// When each ended connection is forgotten.
    inactive: VecDeque<Instant>,
}

impl Connections {
    fn load(&mut self, now: Instant) -> Load {
        while self.inactive.front().is_some_and(|until| *until <= now) {
            self.inactive.pop_front();
        }
        Load { active: self.active, inactive: self.inactive.len() }
    }
}

impl Servers {
    /// The endpoint that a scheduler names.
    pub fn schedule<'a>(
        &self,
        scheduler: Scheduler,
        server: Server,
        client: IpAddr,
        endpoints: &[&'a Endpoint],
        now: Instant,
    ) -> Option<&'a Endpoint> {
        let mut servers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if servers.len() >= MAX_SERVERS && !servers.contains_key(&server) {
            servers.retain(|_, state| state.endpoints.values().any(|connections| connections.active > 0));
        }
        let state = servers.entry(server).or_default();
        let addresses: Vec<SocketAddr> = endpoints.iter().map(|endpoint| endpoint.address).collect();
        // Endpoints stand in order.
        let is_there = |address: &SocketAddr| addresses.binary_search(address).is_ok();
        state.endpoints.retain(|address, connections| connections.active > 0 || is_there(address));
        let loads: Vec<Load> = addresses
            .iter()
            .map(|address| state.endpoints.get_mut(address).map(|it| it.load(now)).unwrap_or_default())
            .collect();
        let question = Question { endpoints: &addresses, loads: &loads, last: state.last, client, to: server.0.ip() };
        let chosen = endpoints.get(scheduler.choose(&question)?)?;
        state.last = Some(chosen.address);
        Some(*chosen)
    }

    /// Counts a connection until the guard is dropped.
    pub fn open(this: &Arc<Self>, server: Server, endpoint: SocketAddr) -> Connection {
        this.count(server, endpoint, |connections| connections.active += 1);
        Connection { servers: this.clone(), server, endpoint }
    }

    /// How busy an endpoint is.
    pub fn load(&self, server: Server, endpoint: SocketAddr) -> Load {
        let mut servers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let state = servers.get_mut(&server);
        let connections = state.and_then(|state| state.endpoints.get_mut(&endpoint));
        connections.map(|connections| connections.load(clock::instant())).unwrap_or_default()
    }

    fn count(&self, server: Server, endpoint: SocketAddr, change: impl FnOnce(&mut Connections)) {
        let mut servers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        change(servers.entry(server).or_default().endpoints.entry(endpoint).or_default());
    }
}

/// A connection that counts until it is dropped.
#[derive(Debug)]
pub struct Connection {
    servers: Arc<Servers>,
    server: Server,
    endpoint: SocketAddr,
}

impl Drop for Connection {
    fn drop(&mut self) {
        let until = clock::instant() + TIME_WAIT;
        self.servers.count(self.server, self.endpoint, |connections| {
            connections.active = connections.active.saturating_sub(1);
            if connections.inactive.len() >= MAX_INACTIVE {
                connections.inactive.pop_front();
            }
            connections.inactive.push_back(until);
        });
    }
}
