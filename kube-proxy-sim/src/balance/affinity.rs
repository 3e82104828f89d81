//! `sessionAffinity: ClientIP`: what clients were given.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use kubelab_client::clock::Instant;

use super::Server;
use crate::rules::Endpoint;

/// Clients remembered at a time. As iptables' `recent` module, it forgets rather than grows.
const MAX_CLIENTS: usize = 16 * 1024;

/// What a client was given, and until when it keeps it.
#[derive(Clone, Copy, Debug)]
struct Stay {
    endpoint: SocketAddr,
    until: Instant,
}

/// What clients were given.
#[derive(Debug, Default)]
pub struct Affinity {
    clients: Mutex<HashMap<(Server, IpAddr), Stay>>,
}

impl Affinity {
    /// The endpoint that the client had within the time that the Service says, if it is among these; or else a new one.
    pub fn choose<'a>(
        &self,
        server: Server,
        client: IpAddr,
        timeout: Duration,
        now: Instant,
        endpoints: &[&'a Endpoint],
        otherwise: impl FnOnce() -> Option<&'a Endpoint>,
    ) -> Option<&'a Endpoint> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (server, client);
        let before = clients.get(&key).filter(|stay| now < stay.until);
        let before = before.and_then(|stay| endpoints.iter().find(|endpoint| endpoint.address == stay.endpoint));
        let chosen = before.copied().or_else(otherwise)?;
        if clients.len() >= MAX_CLIENTS && !clients.contains_key(&key) {
            clients.retain(|_, stay| now < stay.until);
        }
        if clients.len() >= MAX_CLIENTS && !clients.contains_key(&key) {
            clients.clear();
        }
        clients.insert(key, Stay { endpoint: chosen.address, until: now + timeout });
        Some(chosen)
    }
}
