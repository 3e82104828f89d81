//! Which endpoint a connection goes to: any, as iptables' rules choose, unless the client has been here.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::{Mutex, PoisonError},
};

use kubelab_client::clock::Instant;
use rand::seq::IndexedRandom;

use crate::rules::{Endpoint, PortName, Rule};

/// Clients remembered at a time. As iptables' `recent` module, it forgets rather than grows.
const MAX_CLIENTS: usize = 16 * 1024;

/// What clients were given.
#[derive(Debug, Default)]
pub struct Affinity {
    clients: Mutex<HashMap<(PortName, IpAddr), (SocketAddr, Instant)>>,
}

impl Affinity {
    /// Chooses among those that were not tried yet.
    pub fn choose<'a>(
        &self,
        name: &PortName,
        rule: &Rule,
        endpoints: &'a [Endpoint],
        tried: &[SocketAddr],
        client: IpAddr,
        now: Instant,
    ) -> Option<&'a Endpoint> {
        let untried: Vec<&Endpoint> = endpoints.iter().filter(|endpoint| !tried.contains(&endpoint.address)).collect();
        let Some(timeout) = rule.affinity else { return untried.choose(&mut rand::rng()).copied() };
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (name.clone(), client);
        let before = clients.get(&key).filter(|(_, since)| now.duration_since(*since) < timeout);
        let before = before.and_then(|(address, _)| untried.iter().find(|endpoint| endpoint.address == *address));
        let chosen = before.or_else(|| untried.choose(&mut rand::rng())).copied()?;
        if clients.len() >= MAX_CLIENTS && !clients.contains_key(&key) {
            clients.retain(|_, (_, since)| now.duration_since(*since) < timeout);
        }
        if clients.len() >= MAX_CLIENTS && !clients.contains_key(&key) {
            clients.clear();
        }
        clients.insert(key, (chosen.address, now));
        Some(chosen)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{collections::BTreeSet, time::Duration};

    use super::*;

    fn endpoints(count: u8) -> Vec<Endpoint> {
        let endpoint = |i| Endpoint {
            address: SocketAddr::from(([10, 244, 1, i], 80)),
            node: "node-1".into(),
            ready: true,
            serving_while_terminating: false,
        };
        (0..count).map(endpoint).collect()
    }

    fn rule(affinity: Option<Duration>) -> Rule {
        Rule {
            cluster_ip: "10.96.0.10".parse().unwrap(),
            port: 80,
            protocol: "TCP".into(),
            node_port: None,
            affinity,
            external_local: false,
            cluster: Vec::new(),
            external: Vec::new(),
        }
    }

    fn name() -> PortName {
        PortName { namespace: "shop".into(), service: "web".into(), port: String::new() }
    }

    #[test]
    fn every_endpoint_gets_its_turn_and_none_twice() {
        let (affinity, endpoints, client) = (Affinity::default(), endpoints(3), IpAddr::from([127, 0, 0, 1]));
        let choose = |tried: &[SocketAddr]| {
            affinity
                .choose(&name(), &rule(None), &endpoints, tried, client, kubelab_client::clock::instant())
                .map(|chosen| chosen.address)
        };
        let chosen: BTreeSet<SocketAddr> = (0..200).filter_map(|_| choose(&[])).collect();
        assert_eq!(chosen.len(), 3);
        let mut tried = Vec::new();
        while let Some(next) = choose(&tried) {
            assert!(!tried.contains(&next));
            tried.push(next);
        }
        assert_eq!(tried.len(), 3);
    }

    #[test]
    fn a_client_stays_with_its_endpoint_for_a_while() {
        let (affinity, endpoints, client) = (Affinity::default(), endpoints(50), IpAddr::from([127, 0, 0, 1]));
        let (start, rule) = (kubelab_client::clock::instant(), rule(Some(Duration::from_secs(60))));
        let choose = |tried: &[SocketAddr], seconds| {
            let now = start + Duration::from_secs(seconds);
            affinity.choose(&name(), &rule, &endpoints, tried, client, now).unwrap().address
        };
        let first = choose(&[], 0);
        for seconds in [30, 80, 130] {
            assert_eq!(choose(&[], seconds), first, "each use renews it");
        }
        assert_ne!(choose(&[first], 131), first, "what does not answer is left");
        let forgotten = (0..20).any(|i| choose(&[], 300 + i * 100) != choose(&[], 350 + i * 100 + 20));
        assert!(forgotten);
    }
}
